"""Ray: join a cluster, or start one here."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from typing import Any, Self

import psutil
import ray
from ray.exceptions import RayError

from pipeline.errors import UsageError, WorkersError

_MOST_SAID = 500  # characters of the cause of a death
_OF_RAY = ("raylet", "gcs_server")  # without one of these processes none of it works
_ASK_EVERY = 5.0  # seconds
_LEAVE = 20.0  # seconds that Ray's client has to leave a Ray that has died
_FAILED = 2  # exit status, see `vidette.main`


class Session:
    """Ray, as this process has joined or started it. A context: it is left at its end.

    Args:
        address: of a cluster, "auto" for the one that runs here; None: start one for this process.
        cpus: that our own says it has; None: as many as there are.
        metrics_port: of our own, where Prometheus finds its figures; None: Ray takes any.

    Raises:
        UsageError: there is none, or this process is in a session already.
    """

    def __init__(
        self, address: str | None, cpus: float | None = None, metrics_port: int | None = None
    ) -> None:
        if ray.is_initialized():
            raise UsageError("a Ray session is open in this process already")
        options: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
        if address is None:
            options |= {"include_dashboard": False}
            if cpus is not None:
                options["num_cpus"] = cpus
            if metrics_port is not None:
                options["_metrics_export_port"] = metrics_port
        try:
            ray.init(address=address or "local", **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UsageError(f"Ray cannot be reached at {address}: {error}") from error
        ours = psutil.Process().children() if address is None else []
        self._own = [one for one in ours if one.name() in _OF_RAY]
        self._node = ray.get_runtime_context().get_node_id()
        self._asked = time.monotonic()  # the cluster, for this node
        self._gone = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def check(self) -> None:
        """Whether Ray is there still; cheap enough to be asked each second.

        Nothing that is asked of a Ray that has died needs ever have an answer.

        Raises:
            WorkersError: it is not.
        """
        if not self._is_there():
            raise WorkersError("Ray has died; what was done is kept, and goes on at the next start")

    def leave(self) -> None:
        """Disconnect, in bounded time; a Ray that was started for this process ends."""
        if self._is_there():
            ray.shutdown()
            return
        processes = list(self._own)
        for one in self._own:
            with contextlib.suppress(psutil.NoSuchProcess):
                processes += one.children(recursive=True)
        for one in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        last = threading.Thread(target=ray.shutdown, daemon=True)
        last.start()
        last.join(_LEAVE)
        if last.is_alive():  # at the end of this process Ray would wait once more
            atexit.register(os._exit, _FAILED)

    def _is_there(self) -> bool:
        """Whether our own Ray is, or this node of a cluster."""
        now = time.monotonic()
        if self._own:
            self._gone = not all(_lives(one) for one in self._own)
        elif not self._gone and now - self._asked >= _ASK_EVERY:
            self._asked = now
            nodes = ray.nodes()  # type: ignore[no-untyped-call]
            here = [node for node in nodes if node["NodeID"] == self._node]
            self._gone = not any(node["Alive"] for node in here)
        return not self._gone


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def why_died(error: RayError) -> str:
    """What Ray says of a death, without the lines that name the actor: its cause comes last."""
    lines = [line for line in str(error).splitlines() if line.strip() and line[0] not in " \t"]
    return " ".join(lines)[:_MOST_SAID]


def node_died(error: RayError) -> bool:
    """Whether an actor died with its machine, or with ours; nothing but Ray's words says so."""
    return any(words in str(error) for words in ("its node has died", "Owner's node has crashed"))
