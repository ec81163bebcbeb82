"""The files of a deployment are what Ray takes them for."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr,
)
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start as ray_start
from ray.serve.schema import ServeDeploySchema

from serve import proxy
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


def test_every_node_and_its_container_see_the_volume_of_the_service(cluster):
    args = yaml.safe_load((ROOT / "serve/config.yaml").read_text())["applications"][0]["args"]
    assert f"-v {args['data']}:{args['data']}" in cluster["docker"]["run_options"]
    (mounted,) = [one for one in cluster["initialization_commands"] if "mount -t nfs4" in one]
    assert f"efs.eu-central-1.amazonaws.com:/ {args['data']})" in mounted


def test_the_proxy_of_every_node_speaks_in_problem_documents(cluster):
    setting = f"{proxy.VARIABLE}={proxy.CALLBACK}"
    started = [*cluster["head_start_ray_commands"], *cluster["worker_start_ray_commands"]]
    assert all(setting in one for one in started if "ray start" in one)
    assert f"ENV {setting}" in (ROOT / "deploy/Dockerfile").read_text()
    module, _, name = proxy.CALLBACK.partition(":")
    assert getattr(importlib.import_module(module), name)()[0].cls is proxy.Problems


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


def test_the_documented_redis_is_one_that_ray_takes(cluster):
    """The commands of docs/operations.md, as far as they can be looked at without a Redis."""
    text = (ROOT / "docs/operations.md").read_text()
    kubernetes, ray_up = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    redis = kubernetes["gcsFaultToleranceOptions"]
    assert set(redis) == {"redisAddress", "redisPassword", "externalStorageNamespace"}
    validate_config(prepare_config(cluster | ray_up))
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        (_, ours), (_, documented) = cluster[key], ray_up[key]
        assert set(ours.split()) <= set(documented.split())  # nothing of ours is lost
        taken = {option for one in ray_start.params for option in one.opts}
        assert set(re.findall(r"--[\w-]+", documented)) <= taken


# ---------------------------------------------------------------------------- Kubernetes, Docker


@pytest.fixture
def ray_service() -> dict:
    return yaml.safe_load((ROOT / "deploy/rayservice.yaml").read_text())


def test_the_kubernetes_service_is_one_that_ray_can_scale(ray_service):
    assert (ray_service["apiVersion"], ray_service["kind"]) == ("ray.io/v1", "RayService")
    cluster = {
        "metadata": {"name": "vidette", "namespace": "default"},
        "spec": ray_service["spec"]["rayClusterConfig"],
    }
    derived = _derive_autoscaling_config_from_ray_cr(cluster)  # what its autoscaler does first
    nodes = derived["available_node_types"]
    assert derived["idle_timeout_minutes"] == 10
    assert nodes["headgroup"]["resources"]["CPU"] == 0
    assert nodes["gpu"]["resources"] | {"CPU": 8, "GPU": 1} == nodes["gpu"]["resources"]
    assert (nodes["gpu"]["min_workers"], nodes["gpu"]["max_workers"]) == (0, 8)


def test_the_kubernetes_service_runs_our_application_with_a_token_and_keys(ray_service):
    schema = ServeDeploySchema.model_validate(yaml.safe_load(ray_service["spec"]["serveConfigV2"]))
    (application,) = schema.applications
    config = Config.model_validate(application.args)
    cluster = ray_service["spec"]["rayClusterConfig"]
    assert config.keys is not None
    assert cluster["authOptions"] == {"mode": "token"}
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert str(config.data) in [mount["mountPath"] for mount in container["volumeMounts"]]
        named = {volume["name"] for volume in group["template"]["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == named


def test_replicas_of_a_node_have_room_in_its_memory(ray_service):
    """As many as its GPU and its CPUs allow, each with all that it may take, once more 1 GiB."""
    of_the_cluster = yaml.safe_load((ROOT / "serve/config.yaml").read_text())["applications"]
    pods = yaml.safe_load(ray_service["spec"]["serveConfigV2"])["applications"]
    (worker,) = ray_service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (container,) = worker["template"]["spec"]["containers"]
    limits = container["resources"]["limits"]
    assert limits["memory"] == "32Gi"  # as g6.2xlarge has
    for (application,) in (of_the_cluster, pods):
        config = Config.model_validate(application["args"])
        replicas = min(int(limits["cpu"]) // config.cpus, 1 // config.gpus)
        apart = config.scores_at_once * config.score.memory_bytes
        each = max(config.together_memory_bytes, apart) + 2**30
        assert replicas * each <= 32 * 2**30


def test_the_image_has_what_the_code_needs(cluster, ray_service):
    """Its base is the Ray that is locked, it copies what there is, every room that is imported."""
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    (base,) = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert base == cluster["docker"]["image"]
    version = ray_service["spec"]["rayClusterConfig"]["rayVersion"]
    assert f":{version}-" in base
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[2:-1]]
    assert all((ROOT / name).exists() for name in copied)
    rooms = {"commands", "models", "pipeline", "serve", "vidette.py"}
    assert rooms | {"requirements.lock"} <= set(copied)
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER ray"
