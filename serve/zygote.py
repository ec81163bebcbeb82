"""Forks a process for each inspection of untrusted input.

    python -m serve.zygote FD

It imports all that an inspection needs (five seconds, most of them torch's) and inspects a second
of nothing, so that kernels and nets are loaded; then it waits on a socket for jobs and forks for
each. The process of a job writes lines of JSON into the pipe that came with it: its number, how far
it is, the result. When it is over, whoever waited for it adds how it ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from pipeline.inspect import Progress, inspect
from pipeline.report import write_report
from pipeline.settings import Settings
from pipeline.warm import warm

MESSAGE = 1 << 17  # bytes of a job at most
_OPEN_FILES = 256
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


def main() -> None:
    """Get ready, say so, fork."""
    _tie()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    control = socket.socket(fileno=int(sys.argv[1]))
    warm()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait
    control.send(b"ready")
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, MESSAGE, 1)
        if not data:
            return
        (answers,) = descriptors
        if os.fork() == 0:
            control.close()
            _wait(json.loads(data), answers)
        os.close(answers)


def _tie() -> None:
    """Die when the parent does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _wait(job: dict[str, Any], answers: int) -> NoReturn:
    """Fork once more, and tell how that ended."""
    _tie()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _tie()
            _work(job, answers)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    said = json.dumps({"status": os.waitstatus_to_exitcode(status)})
    os.write(answers, f"\n{said}\n".encode())  # a line of its own, whatever came before
    os._exit(0)


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
