"""One inspection of untrusted input, in a process that does nothing else and then ends.

    python -m serve.child

Started ahead of time by `serve/isolated.py`; it says `ready`, reads one line of JSON, and writes
lines of JSON: how far it is, and at last the result.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

_OPEN_FILES = 256
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


def main() -> None:
    """Wait for the job, do it, end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer

    from pipeline.inspect import Progress, inspect  # noqa: PLC0415 - after the limits
    from pipeline.report import write_report  # noqa: PLC0415
    from pipeline.settings import Settings  # noqa: PLC0415

    print("ready", file=answers)
    line = sys.stdin.readline()
    if not line:  # nobody wants it any more
        return
    job: dict[str, Any] = json.loads(line)
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


if __name__ == "__main__":
    main()
