"""A service that watches streams, for the tests of its endpoints and of its page."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import ray

from serve.client import Client
from serve.config import Config
from serve.keys import make_key
from serve.run import start
from tests.live import origin
from tests.serve.real import free_port
from tests.waiting import until

BLACK = [(10.0, 18.0)]  # long enough that it lasts when a busy machine comes to look at it


@pytest.fixture(scope="package")
def service(tmp_path_factory):
    """URL, keys by scope, folder of data."""
    data = tmp_path_factory.mktemp("data")
    file = data / "keys.json"
    keys = {scope: make_key(file, scope, [scope]) for scope in ("read", "submit", "admin")}
    config = Config(
        data=data, keys=file, cpus=0.5, max_replicas=1, private_addresses=True, monitors=3,
        monitor_workers=1, monitor_standby=0, listeners=3, listeners_of_one_key=2,
    )  # fmt: skip
    port = free_port()
    start(config, "127.0.0.1", port)
    try:
        with Client(f"http://127.0.0.1:{port}", keys["admin"]) as client:  # a worker that is there
            client.watch("udp://127.0.0.1:9", "first", only=["black"])
            until(lambda: client.monitor("first")["state"] != "waiting", 180)
            client.unwatch("first")
        yield SimpleNamespace(url=f"http://127.0.0.1:{port}", port=port, keys=keys, data=data)
    finally:
        ray.serve.shutdown()
        ray.shutdown()


@pytest.fixture
def admin(service):
    with Client(service.url, service.keys["admin"]) as made:
        yield made
        for one in made.monitors():
            made.unwatch(one["name"])


@pytest.fixture(scope="package")
def programme(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programme")
    source = origin.programme(folder, 60.0, black=BLACK)
    return folder, origin.segmented(source, folder)
