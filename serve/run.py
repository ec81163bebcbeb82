"""Starting the service on this machine, or on a cluster from here."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import math
import os
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import ray
from ray import serve

from pipeline.errors import UsageError, WorkersError
from pipeline.live.suspects import APART
from serve import proxy
from serve.app import build
from serve.config import Config
from serve.keys import Keys

NAME = "vidette"
_LOOK = 5.0  # seconds between looks whether Ray is there
_LEAVE = 30.0  # seconds until this process ends whose Ray has died
_OF_RAY = ("raylet", "gcs_server")  # without one of these processes none of it works
_FAILED = 2  # exit status: see `vidette.main`


def serve_forever(
    data: Path,
    host: str,
    port: int,
    keys: Path | None,
    replicas: str,
    address: str | None,
    private_addresses: bool,
    database: str | None,
) -> None:
    """Serve until interrupted.

    Args:
        data: folder of accepted work.
        host: to listen on.
        port: to listen on.
        keys: file of bearer keys.
        replicas: "MIN:MAX", or one number.
        address: of a Ray cluster; None: start one here.
        private_addresses: see Config.
        database: see Config.

    Raises:
        UsageError: something of this cannot be.
        WorkersError: Ray has died.
    """
    if keys is None and not _is_loopback(host):
        raise UsageError(f"without --keys it listens on this machine alone, not on {host}")
    if keys is not None:
        Keys(keys)
    least, _, most = replicas.partition(":")
    try:
        config = Config(
            data=data.resolve(),
            keys=None if keys is None else keys.resolve(),
            min_replicas=int(least),
            max_replicas=int(most or least),
            private_addresses=private_addresses,
            database=database,
        )
    except ValueError as error:
        raise UsageError(f"--replicas wants MIN:MAX, not {replicas!r}") from error
    start(config, host, port, address)
    print(f"Vidette answers at http://{host}:{port}, to browsers too (Ctrl-C ends it)", flush=True)
    own = [] if address is not None else _processes_of_ray()
    try:
        while _is_there(own):
            time.sleep(_LOOK)
    except KeyboardInterrupt:
        print("finishing", flush=True)
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
    else:  # whoever starts services starts this one again; Serve cannot be asked any more
        _end_within(_LEAVE)
        raise WorkersError("Ray has died; what was accepted goes on at the next start")


def _processes_of_ray() -> list[psutil.Process]:
    """Those that this process has started."""
    return [one for one in psutil.Process().children() if one.name() in _OF_RAY]


def _is_there(own: list[psutil.Process]) -> bool:
    """Whether our own Ray is there or, without one, a node of the cluster."""
    if own:
        return all(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in own)
    return any(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]


def _end_within(seconds: float) -> None:
    """End this process and those that it has started, though Ray's client waits for the dead."""

    def end() -> None:
        for one in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        os._exit(_FAILED)

    last = threading.Timer(seconds, end)
    last.daemon = True
    last.start()


def start(config: Config, host: str, port: int, address: str | None = None) -> None:
    """Start Ray, the proxy and the application; returns when it answers.

    Raises:
        UsageError: the cluster cannot be joined.
    """
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # our own Ray counts room for all: what answers, what works, and what watches
        cores = len(os.sched_getaffinity(0))
        if not config.monitor_workers:
            config = config.model_copy(update={"monitor_workers": cores})
        workers = config.monitor_workers + config.monitor_standby + APART
        watching = workers * config.monitor_cpus
        answering = (config.max_replicas + config.max_runners) * config.cpus
        options |= {"include_dashboard": False, "num_cpus": math.ceil(watching + answering)}
        os.environ[proxy.VARIABLE] = proxy.CALLBACK  # on a cluster: in that of its nodes
    try:
        ray.init(address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"Ray cannot be reached at {address}: {error}") from error
    serve.start(http_options={"host": host, "port": port})
    serve.run(build(config), name=NAME, route_prefix="/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
