"""The import rule (see MAY_IMPORT), and a core without Ray or FastAPI."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import av
import pytest

from tests import media

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "vidette.py": {"commands", "pipeline"},
    "commands": {"serve", "bench", "faults", "pipeline"},
    "serve": {"pipeline", "models"},
    "pipeline": {"models"},
    "models": set(),
    "faults": {"pipeline"},
    "corpus": {"faults", "pipeline"},
    "training": {"corpus", "faults", "pipeline", "models"},
    "bench": {"serve", "training", "corpus", "faults", "pipeline", "models", "tests"},
}
ROOMS = {name.removesuffix(".py") for name in MAY_IMPORT} | {"tests", "examples", "docs"}
# Thin shells over the core that may know Ray.
SHELLS = {
    "pipeline/cluster.py",
    "pipeline/batch/driver.py",
    "pipeline/live/crew.py",
    "pipeline/live/metrics.py",
}


def modules(room: str) -> list[Path]:
    place = ROOT / room
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level names of all imports in a file, those inside functions included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_run_one_way(room):
    paths = modules(room)
    assert paths, f"{room} is empty"
    own = room.removesuffix(".py")
    for path in paths:
        against = (imported(path) & ROOMS) - MAY_IMPORT[room] - {own}
        assert not against, f"{path.relative_to(ROOT)} imports {against}"


@pytest.mark.parametrize("room", ["pipeline", "models"])
def test_core_knows_neither_ray_nor_fastapi(room):
    for path in modules(room):
        if str(path.relative_to(ROOT)) not in SHELLS:
            against = imported(path) & {"ray", "fastapi", "starlette"}
            assert not against, f"{path.relative_to(ROOT)} imports {against}"


def test_inspecting_loads_neither_ray_nor_torch_nor_plotly():
    """They cost seconds at start-up and a plain inspection needs none of them."""
    code = (
        "import sys, pipeline.inspect, vidette;"
        "print(*{'ray', 'torch', 'plotly', 'fastapi'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_inspecting_a_speaker_on_the_cpu_loads_no_torch(tmp_path):
    """Its nets, those of faces and lips among them, do without: half a gigabyte, two seconds."""
    with av.open(str(media.speaker())) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    larger = [frame.repeat(3, axis=0).repeat(3, axis=1) for frame in frames]
    path = media.write(tmp_path / "speaker.mkv", larger, media.programme(len(frames) / media.RATE))
    code = (
        "import sys, vidette; sync = vidette.inspect(sys.argv[1]).av_sync;"
        "print(sync.state, sync.reason, {'onnxruntime', 'torch'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # chords are not his voice: a net has compared them
    assert done.stdout.split() == ["abstained", "unclear", "{'onnxruntime'}"]
