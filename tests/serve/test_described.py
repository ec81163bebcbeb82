"""The running service against its own OpenAPI description, by schemathesis."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from serve.client import Client
from serve.config import Config
from serve.keys import make_key
from serve.run import start
from tests.serve.real import MARKS, free_port

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = [*MARKS, pytest.mark.slow, pytest.mark.timeout(590)]


@pytest.fixture
def service(tmp_path):
    """URL and key of an admin."""
    key = make_key(tmp_path / "keys.json", "root", ["admin"])
    config = Config(
        data=tmp_path, keys=tmp_path / "keys.json", cpus=0.5, max_replicas=1, monitor_workers=1,
        monitor_standby=0, max_upload_bytes=4 * 2**20, private_addresses=True,
    )  # fmt: skip
    port = free_port()
    start(config, "127.0.0.1", port)
    yield f"http://127.0.0.1:{port}", key
    ray.serve.shutdown()
    ray.shutdown()


def test_schemathesis_finds_nothing(service, clip, tmp_path):
    url, key = service
    with Client(url, key) as client:
        name = client.submit(clip, only=["black"])
        assert client.wait(name, 120)["state"] == "done"
    command = [Path(sys.executable).with_name("schemathesis"), "--no-color"]
    command += ["--config-file", ROOT / "tests/serve/schemathesis.toml", "run"]
    command += [f"{url}/openapi.json", "--header", f"Authorization: Bearer {key}", "--seed", "1"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=560, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "VIDETTE_INSPECTION": name},
    )  # fmt: skip
    said = done.stdout[-6000:]
    assert done.returncode == 0, said
    assert int(re.search(r"Tested: (\d+)", done.stdout)[1]) >= 22, said
    assert int(re.search(r"(\d+) generated", done.stdout)[1]) > 800, said
