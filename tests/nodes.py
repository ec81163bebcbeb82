"""A Ray of several nodes on this machine, of which one may die."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil
from ray.cluster_utils import Cluster

from pipeline.batch.ledger import Ledger
from tests.serve.real import free_port

Result = TypeVar("Result")


@contextmanager
def _without_tokens() -> Iterator[None]:
    """No Ray that starts meanwhile asks for a token, which nobody here has.

    One that this process had before has told all of its children to ask for one: then a dashboard
    answers nothing, and a head believes no driver to live.
    """
    mode = os.environ.get("RAY_AUTH_MODE")
    os.environ["RAY_AUTH_MODE"] = "disabled"
    try:
        yield
    finally:
        if mode is None:
            del os.environ["RAY_AUTH_MODE"]
        else:
            os.environ["RAY_AUTH_MODE"] = mode


def in_a_child(work: Callable[..., Result], *arguments: str) -> Result:
    """What a function of a module returns that joins such a Ray, in a process of its own.

    Ray reads once in a process whether it has a token: one that this process had before counts.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


@contextmanager
def several_nodes(
    count: int, cpus: int = 1, dashboard: int | None = None, gpus: int = 0
) -> Iterator[str]:
    """The address of a head without CPUs and nodes that have them: they get all workers.

    Args:
        count: nodes besides the head.
        cpus: of each.
        dashboard: the port of Ray's dashboard; None: there is none.
        gpus: of each, as Ray counts them: none is needed.
    """
    head = {"num_cpus": 0, "include_dashboard": dashboard is not None}
    if dashboard is not None:
        head["dashboard_port"] = dashboard
        head["dashboard_agent_listen_port"] = free_port()  # the usual one may be another Ray's
    with _without_tokens():
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(count):
                cluster.add_node(num_cpus=cpus, num_gpus=gpus)
            cluster.wait_for_nodes()
            yield cluster.address
        finally:
            cluster.shutdown()


@contextmanager
def growing(most: int, folder: Path) -> Iterator[str]:
    """The address of a head without CPUs, to which Ray's autoscaler adds nodes of one CPU.

    The autoscaler is the real one; what it starts in place of machines are processes here (Ray's
    provider `fake_multinode`). A node that is idle for six seconds is taken away.

    Args:
        most: nodes.
        folder: for its configuration.
    """
    address = f"127.0.0.1:{free_port()}"
    kinds = {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "one": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": most},
    }
    provider = {
        "type": "fake_multinode",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "gcs_address": address,
    }
    lists = ["initialization_commands", "setup_commands", "head_setup_commands",
             "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands",
             "cluster_synced_files", "rsync_exclude", "rsync_filter"]  # fmt: skip
    config = {
        "cluster_name": "growing",
        "max_workers": most,
        "provider": provider,
        "available_node_types": kinds,
        "head_node_type": "ray.head.default",
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.1,
        **{name: [] for name in lists},
    }
    file = folder / "autoscaler.json"
    file.write_text(json.dumps(config))
    environment = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    with _without_tokens(), (folder / "head.log").open("w") as log:
        head = subprocess.Popen(
            [
                Path(sys.executable).parent / "ray", "start", "--head", "--block", "--num-cpus=0",
                f"--port={address.rpartition(':')[2]}", "--node-ip-address=127.0.0.1",
                "--include-dashboard=false", f"--autoscaling-config={file}",
            ],
            env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 60.0
            while "--block" not in (folder / "head.log").read_text():
                assert head.poll() is None, (folder / "head.log").read_text()
                assert time.monotonic() < deadline, "the head did not start"
                time.sleep(0.1)
            yield address
        finally:
            for one in psutil.Process(head.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            head.kill()
            head.wait()


def nodes_of(address: str) -> int:
    """Nodes that have CPUs, as Ray lists them."""
    listed = subprocess.run(
        [
            sys.executable, "-c",
            "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False);"
            "print(sum(n['Alive'] and n['Resources'].get('CPU', 0) > 0 for n in ray.nodes()))",
            address,
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(listed.stdout.split()[-1])


def end_busy_node(ledger: Ledger, after: int, dead: list[int], stop: threading.Event) -> None:
    """Kill the node of a worker that has an asset in work, once some assets are done.

    Args:
        ledger: of the run.
        after: assets that must be done.
        dead: gets the process that was the node.
        stop: ends the waiting.
    """
    while not stop.wait(0.02):
        if len(ledger.ids("results")) < after:
            continue
        for name in ledger.ids("working"):
            working = ledger.read("working", name)
            if working:
                dead.append(end_node_of(working["pid"]))
                return


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
