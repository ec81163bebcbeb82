"""The files of a deployment are what Ray takes them for."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve.schema import ServeDeploySchema

from serve.config import Config

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def cluster() -> dict:
    return yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())


def test_the_cluster_is_one_of_rays(cluster):
    prepared = prepare_config(cluster)  # what `ray up` does first
    assert prepared["available_node_types"]["head"]["max_workers"] == 0
    assert prepared["available_node_types"]["gpu"]["resources"]["GPU"] == 1
    validate_config(prepared)


def test_a_field_that_ray_does_not_know_is_told(cluster):
    cluster["dashbord"] = True
    with pytest.raises(Exception, match="dashbord"):
        validate_config(cluster)


def test_nobody_joins_without_the_token_and_the_dashboard_stays_inside(cluster):
    head = " ".join(cluster["head_start_ray_commands"])
    started = [*cluster["head_start_ray_commands"], *cluster["worker_start_ray_commands"]]
    assert all("RAY_AUTH_MODE=token" in one for one in started if "ray start" in one)
    assert "--dashboard-host=127.0.0.1" in head
    assert ".ray/auth_token" in str(cluster["file_mounts"])
    assert ".ray-token" in (ROOT / ".gitignore").read_text()
    assert cluster["available_node_types"]["head"]["resources"]["CPU"] == 0
    assert any("shm-size" in option for option in cluster["docker"]["run_options"])


def test_the_image_has_the_ray_that_is_locked(cluster):
    (locked,) = [
        line.removeprefix("ray==")
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if line.startswith("ray==")
    ]
    assert f":{locked}-" in cluster["docker"]["image"]


def test_the_application_is_one_of_serves():
    schema = ServeDeploySchema.model_validate(
        yaml.safe_load((ROOT / "serve/config.yaml").read_text())
    )
    (application,) = schema.applications
    module, _, name = application.import_path.partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    config = Config.model_validate(application.args)
    assert config.keys is not None
    assert schema.http_options.host == "127.0.0.1"
