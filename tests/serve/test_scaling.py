"""A service under load: replicas come and go, and a new version rolls out unnoticed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import ray
from ray import serve

from serve.app import build
from serve.client import Client, ServiceError
from serve.config import Config
from serve.run import NAME, start
from tests import media
from tests.serve.load import Load
from tests.serve.real import MARKS, free_port
from tests.waiting import until

pytestmark = [*MARKS, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    media.write(path, media.scene(2.0, 160, 96), 0.1 * media.programme(2.0))
    return path.read_bytes()


@pytest.fixture
def service(tmp_path, request):
    config = Config(
        data=tmp_path / "data", cpus=0.5, max_replicas=2, scores_at_once=1, backlog_seconds=1.0,
        grow_after=2.0, shrink_after=10.0, **getattr(request, "param", {}),
    )  # fmt: skip
    port = free_port()
    start(config, "127.0.0.1", port)
    yield f"http://127.0.0.1:{port}", config
    serve.shutdown()
    ray.shutdown()


def replicas(deployment: str = "Api") -> int:
    application = serve.status().applications[NAME]
    states = application.deployments[deployment].replica_states
    return states.get("RUNNING", 0)


def test_replicas_come_under_load_and_go_after_it_and_listeners_make_none(service, clip):
    url, _ = service
    assert replicas() == 1
    with httpx.Client(base_url=url, timeout=None) as http:
        listening = [http.stream("GET", "/v1/events") for _ in range(20)]
        opened = [one.__enter__() for one in listening]
        time.sleep(8.0)
        assert replicas() == 1  # twenty requests that last and cost nothing
        with Load(url, clip, scorers=8, askers=0) as load:
            until(lambda: replicas() == 2, 60, serve.status)
            time.sleep(5.0)
        assert set(load.answers) <= {200, 429}
        assert load.answers[200] > 5
        for one, response in zip(listening, opened, strict=True):
            response.close()
            one.__exit__(None, None, None)
    until(lambda: replicas() == 1, 90, serve.status)


@pytest.mark.parametrize("service", [{"min_replicas": 0}], indirect=True)
def test_replicas_go_down_to_none_but_for_who_listens(service, clip):
    url, _ = service
    files = {"file": ("clip.mp4", clip)}
    with httpx.Client(base_url=url, timeout=120.0) as http:
        assert http.post("/v1/score", files=files).status_code == 200
        until(lambda: replicas() == 0, 120, serve.status)
        with http.stream("GET", "/v1/events") as told:  # comes first for who asks
            told_by = told.iter_raw()
            next(told_by)
            time.sleep(60.0)  # longer than Serve looks back, and than replicas are kept
            assert replicas() == 1
            next(told_by)  # a sign of life
        until(lambda: replicas() == 0, 120, serve.status)
        assert http.post("/v1/score", files=files).status_code == 200


def test_a_new_version_rolls_out_without_a_failed_request(service, clip):
    url, config = service
    changed = config.model_copy(update={"scores_waiting": 9, "jobs_of_one_key": 99})
    with Load(url, clip, scorers=2, askers=2) as load:
        time.sleep(5.0)
        before = sum(load.answers.values())
        serve.run(build(changed), name=NAME, route_prefix="/")
        time.sleep(5.0)
    assert set(load.answers) == {200}, load.answers
    assert sum(load.answers.values()) > before + 20
    assert httpx.get(f"{url}/health/ready").status_code == 200


def test_what_is_in_work_is_answered_before_its_replica_goes(service, tmp_path):
    """Graceful drain: the application is taken away while a score is made."""
    url, _ = service
    path = tmp_path / "long.mp4"
    media.write(path, media.scene(20.0, 640, 360), 0.1 * media.programme(20.0))
    with ThreadPoolExecutor(1) as pool, Client(url) as client:
        asked = pool.submit(client.score, path)
        time.sleep(2.0)
        assert not asked.done()  # it is in work, for seconds
        serve.delete(NAME)
        assert asked.result().coverage.state == "complete"
        with pytest.raises(ServiceError) as told:
            client.monitors()
        assert (told.value.status, told.value.code) == (404, "not_found")
