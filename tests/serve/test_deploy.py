"""`serve deploy` of our configuration on several nodes: a new version, a node that dies."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest
import yaml

from serve import proxy
from serve.client import Client, ServiceError
from serve.keys import make_key
from tests import media
from tests.nodes import end_node_of, several_nodes
from tests.serve.load import Load
from tests.serve.real import MARKS, free_port
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = [*MARKS, pytest.mark.slow, pytest.mark.timeout(590)]


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """How to have a head and two nodes with the service on them, and to deploy other args."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # as the image has it
    monkeypatch.setenv(proxy.VARIABLE, proxy.CALLBACK)
    dashboard, port = free_port(), free_port()
    data = tmp_path / "data"
    data.mkdir()
    key = make_key(data / "keys.json", "test", ["admin"])
    written = yaml.safe_load((ROOT / "serve/config.yaml").read_text())
    written["http_options"]["port"] = port
    (application,) = written["applications"]
    application["args"] |= {
        "data": str(data), "keys": str(data / "keys.json"), "cpus": 0.5, "gpus": 0,
        "min_replicas": 2, "max_replicas": 2, "jobs_at_once": 1, "monitor_standby": 0,
        "monitor_workers": 1,
    }  # fmt: skip

    def deploy(**args) -> None:
        application["args"] |= args
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(written))
        command = [Path(sys.executable).with_name("serve"), "deploy", file]
        command += ["--address", f"http://127.0.0.1:{dashboard}"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)

    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{url}/health/ready", timeout=10.0).status_code == 200
        return False

    @contextlib.contextmanager
    def up() -> Iterator[None]:
        """Ray's nodes with the service on them, as after `ray up` and `serve deploy`."""
        with several_nodes(2, cpus=2, dashboard=dashboard):
            until(lambda: _answers(f"http://127.0.0.1:{dashboard}/api/serve/applications/"), 180)
            deploy()
            until(ready, 120)
            yield

    return SimpleNamespace(url=url, key=key, deploy=deploy, up=up)


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, timeout=10.0).status_code == 200
    return False


def replicas(deployment: str) -> set[int]:
    found = set()
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if f"ServeReplica:vidette:{deployment}" in " ".join(one.cmdline()):
                found.add(one.pid)
    return found


@pytest.fixture
def clip(tmp_path) -> Path:
    path = tmp_path / "clip.mp4"
    media.write(path, media.scene(2.0, 160, 96), None)
    return path


def test_a_new_version_rolls_out_and_a_node_dies(cluster, clip, tmp_path):
    with cluster.up():
        until(lambda: len(replicas("Api")) == 2, 60)
        before, (runner,) = replicas("Api"), replicas("Runner")
        long = media.write(tmp_path / "long.mp4", media.scene(8.0, 320, 180) * 6)
        with Client(cluster.url, cluster.key) as client:
            names = [client.submit(long, labels={"n": str(n)}) for n in range(16)]
        with Load(cluster.url, clip.read_bytes(), scorers=2, askers=2, key=cluster.key) as load:
            time.sleep(3.0)
            count = sum(load.answers.values())
            cluster.deploy(scores_waiting=20)
            until(lambda: len(replicas("Api")) == 2 and not replicas("Api") & before, 200)
            time.sleep(3.0)
        assert set(load.answers) == {200}, load.answers
        assert sum(load.answers.values()) > count + 20
        until(lambda: psutil.pid_exists(runner) is False, 60)
        with Client(cluster.url, cluster.key) as client:
            # some were done by the runner before, which gave back what it had in work
            done = [until(lambda name=name: _over(client, name), 200) for name in names]
        ended = psutil.Process(min(replicas("Runner"))).create_time()
        assert min(facts["created"] for facts in done) < ended < max(f["updated"] for f in done)
        assert {(facts["state"], facts["attempts"]) for facts in done} == {("done", 1)}

        with Client(cluster.url, cluster.key) as client:
            names = [client.submit(clip, only=["black"], labels={"n": str(n)}) for n in range(4)]
            (runner,) = replicas("Runner")
            end_node_of(runner)
            for name in names:
                facts = until(lambda name=name: _over(client, name), 200)
                assert facts["state"] == "done", facts
            assert client.score(clip, only=["black"]).coverage.state == "complete"


def test_the_head_dies_and_the_next_cluster_does_what_was_accepted(cluster, clip):
    """Without Redis the state of Ray is gone with it; the store is not."""
    with Client(cluster.url, cluster.key) as client:
        with cluster.up():
            names = [client.submit(clip, idempotency_key=str(n)) for n in range(6)]
            until(lambda: client.facts(names[0])["state"] != "queued", 60)
            assert "queued" in {client.facts(name)["state"] for name in names}
            end_head()
            with pytest.raises(httpx.TransportError):
                client.facts(names[0])
        with cluster.up():
            assert client.submit(clip, idempotency_key="5") == names[5]
            for name in names:
                facts = until(lambda name=name: _over(client, name), 200)
                assert facts["state"] == "done", facts
                assert facts["attempts"] <= 2


def test_runners_come_and_go_with_what_waits_and_share_a_database(cluster, clip, postgres):
    """On two nodes that share a folder and a server: each inspection is done once."""
    args = {
        "database": postgres.fresh(), "max_runners": 2, "runner_backlog_seconds": 2.0,
        "grow_after": 1.0, "shrink_after": 4.0, "min_replicas": 1, "max_replicas": 1,
    }  # fmt: skip
    with cluster.up(), Client(cluster.url, cluster.key) as client:
        cluster.deploy(**args)
        until(lambda: len(replicas("Api")) == 1, 120)
        names = [client.submit(clip, idempotency_key=str(n)) for n in range(24)]
        until(lambda: len(replicas("Runner")) == 2, 120)
        for name in names:
            facts = until(lambda name=name: _over(client, name), 200)
            assert (facts["state"], facts["attempts"]) == ("done", 1), facts
        until(lambda: len(replicas("Runner")) == 1, 120)
        assert client.facts(names[0])["state"] == "done"


def end_head() -> None:
    """Kill the head as when its machine goes: the state of the cluster, its node, its workers."""
    killed = []
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            command = one.cmdline()
            if "gcs_server" in command[0] or (
                "raylet/raylet" in command[0] and "--head" in command
            ):
                killed += [*one.children(recursive=True), one]
    assert len(killed) > 2
    for one in killed:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(killed, 30)


def _over(client, name):
    with contextlib.suppress(ServiceError, httpx.HTTPError):
        facts = client.facts(name)
        return facts if facts["state"] not in ("queued", "running") else None
    return None
