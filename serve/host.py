"""Inspects what several requests sent, in one process, a thread for each.

    python -m serve.host FD FILE_BYTES DEVICE

What the requests ask of a net at the same time is one batch (`models/batcher.py`), a GPU has one
context for all of them, and no picture leaves the process. It loads all that an inspection needs,
then waits on a socket for jobs. Of each it writes lines of JSON into the pipe that came with it:
how far it is, then the result or why there is none. Where nobody reads them, the job is dropped.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import sys
import threading
from typing import cast

from pipeline.hardware import Device
from pipeline.inspect import Progress, inspect
from pipeline.memory import give_back_regularly
from pipeline.settings import Settings
from pipeline.warm import warm
from serve.tied import MESSAGE, tie

_OPEN_FILES = 4096


def main() -> None:
    """Get ready, say so, work until the socket is closed."""
    tie()
    most = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    files = min(_OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    control = socket.socket(fileno=int(sys.argv[1]))
    device = cast(Device, sys.argv[3])
    warm(device)
    give_back_regularly()
    control.send(b"ready")
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, MESSAGE, 1)
        if not data:
            return
        for descriptor in descriptors:
            threading.Thread(target=work, args=(data, descriptor, device), daemon=True).start()


def work(data: bytes, descriptor: int, device: Device) -> None:
    """One inspection.

    Args:
        data: the job, JSON: path, name, settings.
        descriptor: of the pipe for the answers; closed afterwards.
        device: on which frames are decoded, where it can.
    """
    with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "w", buffering=1) as answers:

        def progress(now: Progress) -> None:
            print(json.dumps({"position": now.position, "duration": now.duration}), file=answers)

        try:
            job = json.loads(data)
            # One decoder thread: what FFmpeg logs in others is nobody's (pipeline/ffmpeg_log.py)
            settings = Settings.model_validate(job["settings"] | {"threads": 1, "device": device})
            result = inspect(job["path"], settings, progress, name=job["name"])
        except BrokenPipeError:
            raise
        except Exception as error:  # this job alone has failed
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers)
            return
        del result.timings["cpu"]  # that of all jobs
        print(json.dumps({"result": result.model_dump(mode="json", by_alias=True)}), file=answers)


if __name__ == "__main__":
    main()
