"""Gaps and jumps of timestamps."""

from __future__ import annotations

import numpy as np
import pytest

from tests import media
from tests.damage import join, remux
from tests.findings import assert_interval, examine, of_kind, only_one

NAME = "timestamp_gap"


@pytest.fixture(scope="module")
def small():
    return media.scene(5.0, 160, 90), media.programme(5.0, 1)


@pytest.fixture(scope="module")
def files(tmp_path_factory, small):
    folder = tmp_path_factory.mktemp("timing")
    options = {"preset": "ultrafast", "g": "25", "bf": "0"}
    return {
        suffix: media.write(folder / f"clip.{suffix}", *small, video_options=options)
        for suffix in ("ts", "mkv", "mp4")
    }


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
@pytest.mark.parametrize("frames", [1, 3, 12])
def test_missing_frames(tmp_path, small, suffix, frames):
    kept = [n for n in range(125) if not 50 <= n < 50 + frames]
    path = media.write(
        tmp_path / f"gap.{suffix}",
        [small[0][n] for n in kept],
        times=[n / 25 for n in kept],
    )
    gap = only_one(examine(path, NAME), "timestamp_gap")
    assert_interval(gap, 2.0, 2.0 + frames / 25, within=0.05)
    assert gap.evidence["gap_s"] == pytest.approx(frames / 25, abs=0.01)


def test_longer_gaps_are_worse(tmp_path, small):
    found = []
    for frames in (1, 5, 40):
        kept = [n for n in range(125) if not 50 <= n < 50 + frames]
        path = media.write(
            tmp_path / "gap.mkv", [small[0][n] for n in kept], times=[n / 25 for n in kept]
        )
        found.append(only_one(examine(path, NAME), "timestamp_gap").severity)
    assert found == sorted(set(found))


@pytest.mark.parametrize("seconds", [0.06, 0.5])
def test_missing_sound(tmp_path, files, seconds):
    def drop(packet, time):
        lost = packet.stream.type == "audio" and 2.0 <= time < 2.0 + seconds
        return None if lost else 0.0

    path = remux(files["mkv"], tmp_path / "gap.mkv", drop)
    gap = only_one(examine(path, NAME), "timestamp_gap")
    assert_interval(gap, 2.0, 2.0 + seconds, within=0.05)


@pytest.mark.parametrize("seconds", [600.0, 20_000.0])
def test_jump_forward_moves_all_streams(tmp_path, files, seconds):
    path = remux(files["ts"], tmp_path / "jump.ts", lambda _, time: seconds if time >= 2.0 else 0.0)
    result = examine(path, NAME)
    jump = only_one(result, "timestamp_jump")
    assert_interval(jump, 2.0, 2.0, within=0.2)
    assert jump.evidence["jump_s"] == pytest.approx(seconds, abs=0.1)
    assert result.asset.duration == pytest.approx(5.0, abs=0.2)
    assert of_kind(result, "timestamp_gap") == []


def test_clock_that_starts_again(tmp_path, files):
    """Two recordings joined: the second starts where the first had started."""
    path = join([files["ts"], files["ts"]], tmp_path / "joined.ts")
    result = examine(path, NAME)
    jump = only_one(result, "timestamp_jump")
    assert_interval(jump, 5.0, 5.0, within=0.2)
    assert jump.evidence["jump_s"] == pytest.approx(-5.0, abs=0.2)
    assert result.asset.duration == pytest.approx(10.0, abs=0.3)
    assert result.asset.video[0].frames == 250


def test_33_bit_wrap_is_no_jump(tmp_path, small):
    offset = 2**33 / 90_000 - 1.4 - 2.5
    path = media.write(
        tmp_path / "wrap.ts", *small, container_options={"output_ts_offset": f"{offset:.3f}"}
    )
    result = examine(path, NAME)
    assert result.defects == []
    assert result.asset.duration == pytest.approx(5.0, abs=0.1)


# -------------------------------------------------------------------------------- hard negatives


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4"])
def test_clean(files, suffix):
    assert examine(files[suffix], NAME).defects == []


def test_bunny():
    assert examine(media.bunny(), NAME).defects == []


@pytest.mark.parametrize("kind", ["screen recording", "phone", "telecine", "pause"])
def test_variable_rates(tmp_path, small, kind):
    rng = np.random.default_rng(4)
    steps = {
        "screen recording": rng.choice([1, 2, 5, 20], 125, p=[0.4, 0.3, 0.2, 0.1]) / 60,
        "phone": (1 + (rng.random(125) < 0.03)) / 30 + rng.normal(0, 0.002, 125),
        "telecine": np.tile([2, 3], 63)[:125] / 59.94,
        "pause": rng.choice([1, 2], 125) / 30 + 3.0 * (np.arange(125) == 80),
    }[kind]
    path = media.write(tmp_path / "vfr.mkv", small[0], times=np.cumsum(steps).tolist())
    assert examine(path, NAME).defects == []


def test_rate_that_does_not_divide_milliseconds(tmp_path, small):
    path = media.write(tmp_path / "ntsc.mkv", *small, rate=30_000 / 1001)
    assert examine(path, NAME).defects == []
