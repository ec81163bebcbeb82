"""Starting the service on this machine, or on a cluster from here."""

from __future__ import annotations

import ipaddress
import math
import os
import time
from pathlib import Path

from ray import serve

from pipeline.cluster import Session
from pipeline.errors import UsageError
from pipeline.live.suspects import APART
from serve import proxy
from serve.app import build
from serve.config import Config
from serve.keys import Keys

NAME = "vidette"
_PROXY_READY = "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"  # seconds, of the controller
_LOOK = 5.0  # seconds between looks whether Ray is there


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
    with start(config, host, port, address) as session:
        print(
            f"Vidette answers at http://{host}:{port}, to browsers too (Ctrl-C ends it)", flush=True
        )
        try:
            while True:  # whoever starts services starts this one again when its Ray has died
                session.check()
                time.sleep(_LOOK)
        except KeyboardInterrupt:
            print("finishing", flush=True)
            serve.shutdown()  # type: ignore[no-untyped-call]


def start(config: Config, host: str, port: int, address: str | None = None) -> Session:
    """Start Ray, the proxy and the application; returns when it answers.

    Raises:
        UsageError: the cluster cannot be joined.
    """
    cpus = None
    if address is None:
        # our own Ray counts room for all: what answers, what works, and what watches
        cores = len(os.sched_getaffinity(0))
        if not config.monitor_workers:
            config = config.model_copy(update={"monitor_workers": cores})
        workers = config.monitor_workers + config.monitor_standby + APART
        watching = workers * config.monitor_cpus
        answering = (config.max_replicas + config.max_runners) * config.cpus
        cpus = math.ceil(watching + answering)
        os.environ[proxy.VARIABLE] = proxy.CALLBACK  # on a cluster: in that of its nodes
        # Serve kills a proxy that is not ready after 5 s: too soon where the machine is busy
        os.environ.setdefault(_PROXY_READY, "60")
    session = Session(address, cpus)
    serve.start(http_options={"host": host, "port": port})
    serve.run(build(config), name=NAME, route_prefix="/")
    return session


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
