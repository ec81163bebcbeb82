"""Databases of the tests: a PostgreSQL server of their own, where its programs are installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PLACES = "/usr/lib/postgresql/*/bin"  # where Debian puts what is not for everybody


class Server:
    """A running server.

    Args:
        programs: folder of its programs.
        folder: of its files, which are the user's that it runs as.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._data = programs, folder / "data"
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self._port = found.getsockname()[1]
        self._run("initdb", "--pgdata", self._data, "--auth", "trust", "--no-sync", "-U", "vidette")
        self.start()

    def _run(self, program: str, *arguments: str | Path) -> None:
        # it does not run as root
        user: dict[str, Any] = {"user": "postgres", "group": "postgres"} if not os.getuid() else {}
        subprocess.run(
            [self._programs / program, *arguments], check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, cwd="/", **user,
        )  # fmt: skip

    def start(self) -> None:
        """Start it; returns when it answers."""
        options = f"-h 127.0.0.1 -p {self._port} -k {self._data} -F"
        log = self._data / "log"
        self._run("pg_ctl", "-D", self._data, "-o", options, "-l", log, "-w", "start")

    def stop(self) -> None:
        """End it at once, with all connections."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def fresh(self) -> str:
        """URL of an empty database."""
        name = f"test_{uuid.uuid4().hex}"
        at = f"-h127.0.0.1 -p{self._port}".split()
        self._run("createdb", *at, "-U", "vidette", name)
        return f"postgresql://vidette@127.0.0.1:{self._port}/{name}"


def at_once(work: Callable[[], None], count: int = 4) -> None:
    """Let threads do the same at the same time; returns when all are done."""
    started = [threading.Thread(target=work) for _ in range(count)]
    for one in started:
        one.start()
    for one in started:
        one.join()


@contextmanager
def server() -> Iterator[Server | None]:
    """A server, or None where there are no programs of one."""
    here = shutil.which("initdb")
    found = [Path(here).resolve().parent] if here else sorted(Path("/").glob(_PLACES[1:]))
    if not found or not (found[-1] / "initdb").is_file():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="vidette-postgres-", dir="/tmp") as name:
        folder = Path(name)
        if not os.getuid():
            shutil.chown(folder, "postgres", "postgres")
        one = Server(found[-1], folder)
        try:
            yield one
        finally:
            one.stop()
