"""A Ray of several nodes on this machine, of which one may die."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ray.cluster_utils import Cluster


@contextmanager
def several_nodes(count: int, cpus: int = 1, dashboard: int | None = None) -> Iterator[str]:
    """The address of a head without CPUs and nodes that have them: they get all workers.

    Args:
        count: nodes besides the head.
        cpus: of each.
        dashboard: the port of Ray's dashboard; None: there is none.
    """
    head = {"num_cpus": 0, "include_dashboard": dashboard is not None}
    if dashboard is not None:
        head["dashboard_port"] = dashboard
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(count):
            cluster.add_node(num_cpus=cpus)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        cluster.shutdown()


def end_node_of(pid: int) -> int:
    """Kill the node whose worker a process is, as when its machine goes: raylet and all workers.

    Returns:
        The process that was the node.
    """
    raylet = _parent(pid)
    assert "raylet" in Path(f"/proc/{raylet}/comm").read_text()
    workers = [int(p.name) for p in Path("/proc").glob("[0-9]*") if _parent(int(p.name)) == raylet]
    os.kill(raylet, signal.SIGKILL)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    return raylet


def _parent(pid: int) -> int:
    try:
        found = re.search(r"^PPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found[1]) if found else 0
