"""Noise: a ladder of sigmas, snow, and what only looks like noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.findings import assert_interval, examine, only_one
from tests.media import Frames, bunny, scene, write

CLEAN = scene(6.0, cuts=0)


def noisy(frames: Frames, sigma: float, seed: int = 1) -> Frames:
    rng = np.random.default_rng(seed)
    return [
        np.clip(f + rng.normal(0, sigma, (*f.shape[:2], 1)), 0, 255).astype(np.uint8)
        for f in frames
    ]


def snow(count: int) -> Frames:
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, (270, 480, 1), np.uint8).repeat(3, 2) for _ in range(count)]


def test_ladder(tmp_path: Path) -> None:
    severities = []
    for sigma in (5, 10, 25, 50):
        frames = CLEAN[:50] + noisy(CLEAN[50:100], sigma) + CLEAN[100:]
        defect = only_one(examine(write(tmp_path / "a.mp4", frames), "noise"), "noise")
        assert_interval(defect, 2.0, 4.0)
        severities.append(defect.severity)
    assert severities == sorted(severities)
    assert severities[0] < 0.5
    assert severities[-1] > 0.9


def test_noise_all_through(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", noisy(CLEAN[:75], 15))
    assert_interval(only_one(examine(path, "noise"), "noise"), 0.0, 3.0)


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_snow(tmp_path: Path, codec: str) -> None:
    options = {} if codec == "libx264" else {"video_options": {"b": "12000000"}}
    path = tmp_path / ("a.mp4" if codec == "libx264" else "a.mpg")
    write(path, CLEAN[:50] + snow(50) + CLEAN[100:], video_codec=codec, **options)
    defect = only_one(examine(path, "noise"), "noise")
    assert_interval(defect, 2.0, 4.0)
    assert defect.severity == 1.0
    assert defect.evidence["lost_signal"] == 1
    assert "snow" in defect.summary


def negatives() -> dict[str, Frames]:
    rng = np.random.default_rng(3)
    grass = rng.normal(110, 30, (300, 640, 1)).repeat(3, 2)
    still = [np.clip(grass[:270, :480], 0, 255).astype(np.uint8)] * 75
    rain = []
    for f in CLEAN[:75]:
        g = f.astype(np.int16)
        for _ in range(150):
            y, x = rng.integers(0, 240), rng.integers(0, 479)
            g[y : y + 24, x] += 40
        rain.append(np.clip(g, 0, 255).astype(np.uint8))
    confetti = [f.copy() for f in CLEAN[:75]]
    places = rng.integers(0, 480, (400, 2))
    for n, f in enumerate(confetti):
        for y, x in (places + np.array([3 * n, n])) % [262, 472]:
            f[y : y + 6, x : x + 6] = (y * 7 % 255, x * 5 % 255, 160)
    titles = [np.full((270, 480, 3), 60, np.uint8)] * 75
    return {
        "film grain": noisy(CLEAN[:75], 3.5),
        "grain after a title": titles + noisy(CLEAN, 3.5),
        "grass that stands still": still,
        "rain": rain,
        "confetti": confetti,
    }


def test_negatives(tmp_path: Path) -> None:
    for name, frames in negatives().items():
        result = examine(write(tmp_path / "a.mp4", frames), "noise")
        assert not result.defects, (name, result.defects[0].summary)


def test_clean(tmp_path: Path) -> None:
    assert not examine(write(tmp_path / "a.mp4", scene(4)), "noise").defects
    assert not examine(bunny(), "noise").defects
