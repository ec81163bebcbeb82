"""The command line, run as a person or a script runs it."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from jsonschema import validate

import vidette
from tests import media

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str | Path, env: dict[str, str] | None = None) -> Done:
    """The command in this process: as the console script calls it, without its start-up time."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"COLUMNS": "160", **(env or {})}.items():
            patch.setenv(name, value)
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            vidette.main([str(argument) for argument in arguments])
    return Done(ended.value.code, out.getvalue(), err.getvalue())


def spawn(*arguments: str | Path, stdin=None) -> Done:
    """The command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "vidette", *map(str, arguments)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=stdin,
        timeout=120,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def clean(tmp_path_factory, clean_scene, clean_programme):
    place = tmp_path_factory.mktemp("cli") / "clean.mp4"
    return media.write(place, clean_scene, clean_programme)


@pytest.fixture(scope="module")
def black(tmp_path_factory, clean_scene, clean_programme):
    """Black from 3 to 5 s."""
    frames = list(clean_scene)
    frames[75:125] = [frames[0] * 0] * 50
    place = tmp_path_factory.mktemp("cli") / "black.mp4"
    return media.write(place, frames, clean_programme)


def test_clean_asset_gives_status_0(clean):
    done = spawn("inspect", clean)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No defects found." in done.stdout
    assert "h264 480x270 25 fps" in done.stdout


def test_defects_give_status_1_and_a_table(black):
    done = run("inspect", black)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "black" in done.stdout
    assert "0:00:03.0" in done.stdout


def test_json_holds_to_the_published_schema(black):
    done = run("inspect", black, "--format", "json")
    result = json.loads(done.stdout)
    schema = json.loads(run("schema").stdout)
    validate(result, schema)
    assert schema == json.loads((ROOT / "docs/schema.json").read_text("utf-8"))
    assert result["schema"] == "vidette.inspection/1"
    assert json.loads(run("schema", "--event").stdout)["title"] == "Event"
    (defect,) = [d for d in result["defects"] if d["kind"] == "black"]
    assert abs(defect["start"] - 3) < 0.1
    assert abs(defect["end"] - 5) < 0.1


def test_jsonl_has_one_line_per_asset_and_status_is_the_worst(clean, black, tmp_path):
    missing = tmp_path / "missing.mp4"
    output = tmp_path / "out" / "results.jsonl"
    done = run("inspect", clean, black, missing, "-f", "jsonl", "-o", output)
    assert done.returncode == 2
    results = [json.loads(line) for line in output.read_text().splitlines()]
    assert [Path(result["uri"]).name for result in results] == [
        "clean.mp4",
        "black.mp4",
        "missing.mp4",
    ]
    assert [result["coverage"]["state"] for result in results] == ["complete", "complete", "none"]
    assert results[2]["coverage"]["problems"][0]["reason"] == "not_found"


def test_globs_and_standard_input(black):
    done = run("inspect", black.parent / "*.mp4", "--only", "black", "-f", "jsonl")
    assert [Path(json.loads(line)["uri"]).name for line in done.stdout.splitlines()] == [
        "black.mp4"
    ]
    with black.open("rb") as stream:
        done = spawn("inspect", "-", "--only", "black", "-f", "json", stdin=stream)
    result = json.loads(done.stdout)
    assert done.returncode == 1
    assert result["uri"] == "-"
    assert [defect["kind"] for defect in result["defects"]] == ["black"]


def test_settings_from_option_environment_and_file(black, tmp_path):
    def count(*arguments, env=None):
        done = run("inspect", black, "--only", "black", "-f", "json", *arguments, env=env)
        return len(json.loads(done.stdout)["defects"])

    config = tmp_path / "vidette.yaml"
    config.write_text("detectors:\n  black:\n    min_duration: 3.0\n")
    shorter = {"VIDETTE_DETECTORS__BLACK__MIN_DURATION": "0.5"}
    assert count("--set", "black.min_duration=3") == 0
    assert count("--config", config) == 0
    assert count("--config", config, env=shorter) == 1
    assert count("--config", config, "--set", "black.min_duration=4", env=shorter) == 0
    assert count("--only", "black,freeze") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Missing argument"),
        (("x.mp4", "--set", "black.min_duration=-1"), "min_duration"),
        (("x.mp4", "--set", "black.no_such=1"), "no_such"),
        (("x.mp4", "--set", "nonsense"), "NAME=VALUE"),
        (("x.mp4", "--only", "blck"), "no detector 'blck'"),
        (("x.mp4", "--format", "xml"), "xml"),
        (("x.mp4", "--config", "no-such.yaml"), "no-such.yaml"),
        (("x.mp4", "--bogus"), "--bogus"),
    ],
)
def test_usage_errors_give_status_64_and_name_the_cause(arguments, words):
    done = run("inspect", *arguments)
    assert done.returncode == 64
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_names_that_are_not_text_and_input_that_never_comes(tmp_path, clean):
    odd = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.mp4"))
    odd.write_bytes(clean.read_bytes())
    done = spawn("inspect", odd, "--only", "black", "-f", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["uri"].endswith("caf\\udce9.mp4")
    reader, writer = os.pipe()
    with os.fdopen(reader) as stdin:
        done = spawn("inspect", "-", "--set", "limits.open_timeout=0.5", "-f", "json", stdin=stdin)
    os.close(writer)
    assert done.returncode == 2, done.stderr
    assert json.loads(done.stdout)["coverage"]["state"] == "none"


def test_a_glob_that_matches_nothing_gives_status_2(tmp_path):
    done = run("inspect", tmp_path / "*.mp4")
    assert done.returncode == 2
    assert "nothing matches" in done.stderr


def test_min_severity_leaves_out_what_is_less_severe(tmp_path, clean_scene):
    frames = list(clean_scene)
    frames[75:90] = [frames[0] * 0] * 15
    asset = media.write(tmp_path / "short-black.mp4", frames)
    arguments = ("inspect", asset, "--only", "black", "-f", "json")
    (defect,) = json.loads(run(*arguments).stdout)["defects"]
    assert defect["severity"] < 0.99
    done = run(*arguments, "--min-severity", "0.99")
    assert done.returncode == 0
    assert json.loads(done.stdout)["defects"] == []


def test_what_cannot_be_opened_gives_status_2(tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"this is not a video")
    done = run("inspect", broken)
    assert done.returncode == 2
    assert "Not examined" in done.stdout
    assert run("inspect", broken, "--allow-partial").returncode == 2


def test_partial_gives_status_2_unless_allowed(tmp_path, clean_scene, clean_programme):
    front = tmp_path / "front.mp4"  # its index comes first, so that the rest can be missing
    first = {"movflags": "+faststart"}
    media.write(front, clean_scene, clean_programme, container_options=first)
    assert run("inspect", front, "--only", "black").returncode == 0
    front.write_bytes(front.read_bytes()[: front.stat().st_size // 2])
    done = run("inspect", front, "--only", "black")
    assert done.returncode == 2, done.stdout
    assert run("inspect", front, "--only", "black", "--allow-partial").returncode == 0


def drain(terminal: int) -> bytes:
    """What waits on a pseudo-terminal; nothing once its other end is closed (EIO)."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def test_interrupt_writes_what_was_found(tmp_path):
    """Ctrl-C during a long asset: the result is there, marked partial."""
    frames = media.scene(4, cuts=0)
    frames[25:75] = [frames[0] * 0] * 50
    asset = media.write(tmp_path / "long.mp4", frames * 40)
    output = tmp_path / "result.json"
    command = [sys.executable, "-m", "vidette", "inspect", str(asset), "-f", "json"]
    master, slave = pty.openpty()
    process = subprocess.Popen([*command, "-o", str(output)], cwd=ROOT, stderr=slave)
    os.close(slave)
    shown, deadline = b"", time.monotonic() + 60
    while b" found" not in shown and time.monotonic() < deadline:
        if select.select([master], [], [], 1)[0]:
            shown += drain(master)
    process.send_signal(signal.SIGINT)
    while process.poll() is None and time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            drain(master)
    os.close(master)
    assert process.returncode == 2
    result = json.loads(output.read_text())
    assert result["coverage"]["state"] == "partial"
    assert result["coverage"]["problems"][-1]["reason"] == "interrupted"
    assert any(defect["kind"] == "black" for defect in result["defects"])


def test_detectors_lists_every_setting_with_unit_default_and_source():
    from pipeline.detectors import DETECTORS

    facts = [json.loads(line) for line in run("detectors", "-f", "jsonl").stdout.splitlines()]
    assert [fact["name"] for fact in facts] == list(DETECTORS)
    for fact in facts:
        assert len(fact["summary"]) > 10, fact["name"]
        for name, one in fact["settings"].items():
            assert one["description"], (fact["name"], name)
            assert one["source"], (fact["name"], name)
    table = run("detectors", "black").stdout
    assert "black.min_duration" in table
    assert run("detectors", "nonsense").returncode == 64


def test_help_teaches():
    for arguments in ((), ("inspect",), ("detectors",), ("schema",)):
        done = run(*arguments, "--help")
        assert done.returncode == 0
        assert "Usage" in done.stdout
    assert "Exit status" in run("inspect", "--help").stdout


def test_python_api(black, tmp_path):
    seen = []
    report = tmp_path / "report.html"
    result = vidette.inspect(
        black,
        only=["black"],
        settings={"black.min_duration": 0.5},
        report=report,
        progress=seen.append,
    )
    assert [defect.kind for defect in result.defects] == ["black"]
    assert result.uri == str(black)
    assert seen[-1].position == pytest.approx(8, abs=0.1)
    assert "<html" in report.read_text()[:1000].lower()


def test_calibrate_explains_what_it_needs(tmp_path):
    done = run("calibrate", tmp_path / "nowhere")
    assert done.returncode == 64
    assert "there is no folder" in done.stderr
    done = run("calibrate", tmp_path, "--work", tmp_path / "work")
    assert done.returncode == 64
    assert "no clean clip" in done.stderr
