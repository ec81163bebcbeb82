"""Forks a process for each inspection of untrusted input.

    python -m serve.zygote FD

It imports all that an inspection needs and inspects a clip of its own making, so that kernels and
nets are loaded (three seconds); then it waits on a socket for jobs and forks for each. The process
of a job writes lines of JSON into the pipe that came with it: its number, how far it is, the
result. When it is over, the one that forked it adds how it ended.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from pipeline.inspect import Progress, inspect
from pipeline.report import write_report
from pipeline.settings import Settings
from pipeline.warm import warm
from serve.tied import MESSAGE, tie

_OPEN_FILES = 256


def main() -> None:
    """Get ready, say so, fork."""
    tie()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    control = socket.socket(fileno=int(sys.argv[1]))
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # it is the descriptor that tells
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    warm()
    # what is there stays: a collection in a child would copy every page that it looks at
    gc.collect()
    gc.freeze()
    control.send(b"ready")
    jobs: dict[int, int] = {}  # process: where it answers
    while True:
        ready, _, _ = select.select([control.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _bury(jobs)
        if control.fileno() in ready:
            data, descriptors, _, _ = socket.recv_fds(control, MESSAGE, 1)
            if not data:
                return
            (answers,) = descriptors
            try:
                child = os.fork()
            except OSError:  # no memory or no numbers: whoever reads sees that nothing comes
                os.close(answers)
                continue
            if child == 0:
                _begin(data, answers, [control.fileno(), ended, wake, *jobs.values()])
            jobs[child] = answers


def _bury(jobs: dict[int, int]) -> None:
    """Tell how those ended that did."""
    while jobs:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        answers = jobs.pop(child)
        said = json.dumps({"status": os.waitstatus_to_exitcode(status)})
        with contextlib.suppress(OSError):  # nobody reads any more, or it was filled to the brim
            os.set_blocking(answers, False)
            os.write(answers, f"\n{said}\n".encode())  # a line of its own, whatever came before
        os.close(answers)


def _begin(job: bytes, answers: int, others: list[int]) -> NoReturn:
    """The life of a process that has been forked."""
    status = 1
    try:
        tie()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in others:
            os.close(descriptor)
        _work(json.loads(job), answers)
        status = 0
    finally:
        os._exit(status)  # an interpreter that ends looks for threads that are not here


def _work(job: dict[str, Any], descriptor: int) -> None:
    """One inspection."""
    answers = os.fdopen(descriptor, "w", buffering=1, closefd=False)
    print(json.dumps({"pid": os.getpid()}), file=answers)
    resource.setrlimit(resource.RLIMIT_CPU, (job["cpu_seconds"], job["cpu_seconds"] + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_bytes"], job["file_bytes"]))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    settings = Settings.model_validate(job["settings"])

    def progress(now: Progress) -> None:
        print(json.dumps({"position": now.position, "duration": now.duration}), file=answers)

    result = inspect(job["path"], settings, progress, name=job["name"])
    if job["report"]:
        write_report(result, Path(job["report"]), job["path"], settings.limits)
    print(json.dumps({"result": result.model_dump(mode="json", by_alias=True)}), file=answers)
    answers.flush()


if __name__ == "__main__":
    main()
