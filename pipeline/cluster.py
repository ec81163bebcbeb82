"""Ray: join a cluster, or start one here."""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import RayError

from pipeline.errors import UsageError

_MOST_SAID = 500  # characters of the cause of a death


def join(address: str | None, cpus: float | None = None, metrics_port: int | None = None) -> None:
    """Connect this process to Ray.

    Args:
        address: of a cluster, "auto" for the one that runs here; None: start one for this process.
        cpus: that our own says it has; None: as many as there are.
        metrics_port: of our own, where Prometheus finds its figures; None: Ray takes any.

    Raises:
        UsageError: there is none, or this process is in a session already.
    """
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


def why_died(error: RayError) -> str:
    """What Ray says of a death, without the lines that name the actor: its cause comes last."""
    lines = [line for line in str(error).splitlines() if line.strip() and line[0] not in " \t"]
    return " ".join(lines)[:_MOST_SAID]


def node_died(error: RayError) -> bool:
    """Whether an actor died with its machine; nothing but Ray's words says so."""
    return "its node has died" in str(error)


def leave() -> None:
    """Disconnect; a Ray that was started for this process ends."""
    ray.shutdown()
