"""Banding: quantised skies, and gradients and graphics that are as they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.findings import assert_interval, examine, of_kind, only_one
from tests.media import Frames, bunny, scene, write

HEIGHT, WIDTH = 270, 480
YY, XX = np.mgrid[:HEIGHT, :WIDTH]


def sky(count: int = 150, grain: float = 0.0, seed: int = 1) -> list[np.ndarray]:
    """A slow gradient with a dark hill before it, as float grey [H, W]."""
    rng = np.random.default_rng(seed)
    hill = 220 + 25 * np.sin(XX / 60) + 6 * np.sin(XX / 7) < YY
    texture = rng.normal(50, 14, (HEIGHT, WIDTH))
    frames = []
    for n in range(count):
        picture = 70 + 60 * YY / HEIGHT + 25 * np.sin(XX / WIDTH * 2.2 + n / 200) + n / 30
        picture = picture + rng.normal(0, grain, picture.shape) if grain else picture
        frames.append(np.where(hill, texture, picture))
    return frames


def grey(frames: list[np.ndarray], quantum: int = 1) -> Frames:
    """To RGB in steps of `quantum` luma values."""
    scale = quantum * 255 / 219
    return [
        np.clip(np.floor(f / scale) * scale if quantum > 1 else f, 0, 255)
        .round()
        .astype(np.uint8)[..., None]
        .repeat(3, 2)
        for f in frames
    ]


@pytest.mark.parametrize("crf", [18, 23])
def test_ladder(tmp_path: Path, crf: int) -> None:
    for quantum in (3, 4, 5):
        options = {"preset": "veryfast", "crf": str(crf)}
        path = write(tmp_path / "a.mp4", grey(sky(50), quantum), video_options=options)
        defect = only_one(examine(path, "banding"), "banding")
        assert_interval(defect, 0.0, 2.0)
        assert defect.severity >= 0.3


def test_a_stretch_of_banding(tmp_path: Path) -> None:
    frames = sky()
    made = grey(frames[:50]) + grey(frames[50:100], 4) + grey(frames[100:])
    defect = only_one(examine(write(tmp_path / "a.mp4", made), "banding"), "banding")
    assert_interval(defect, 2.0, 4.0)
    assert defect.region is not None
    assert defect.region.bottom < 0.95  # the sky, not the hill


def test_steps_of_two_values_come_and_go(tmp_path: Path) -> None:
    """Too few contours to tell by themselves; the histogram is a comb meanwhile."""
    frames = sky(150, grain=0.6)
    smooth = sky(150)
    made = grey(frames[:50]) + grey(smooth[50:100], 2) + grey(frames[100:])
    defect = only_one(examine(write(tmp_path / "a.mp4", made), "banding"), "banding")
    assert_interval(defect, 2.0, 4.0, within=0.2)
    assert defect.evidence["comb"] > 0.1


def negatives() -> dict[str, Frames]:
    cartoon = np.full((HEIGHT, WIDTH, 3), (120, 170, 220), np.uint8)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        y, x = rng.integers(0, 200), rng.integers(0, 400)
        cartoon[y : y + rng.integers(20, 80), x : x + rng.integers(20, 90)] = rng.integers(
            0, 255, 3
        )
    black = [np.full((HEIGHT, WIDTH), 16.0)] * 50
    return {
        "smooth gradient": grey(sky(50)),
        "gradient with grain": grey(sky(50, grain=1.5)),
        "cartoon": [np.roll(cartoon, n, 1) for n in range(50)],
        "black": grey(black),
        "scene": scene(3),
    }


@pytest.mark.parametrize("crf", [18, 23])
def test_negatives(tmp_path: Path, crf: int) -> None:
    for name, frames in negatives().items():
        options = {"preset": "veryfast", "crf": str(crf)}
        result = examine(write(tmp_path / "a.mp4", frames, video_options=options), "banding")
        assert not result.defects, (name, result.defects[0].summary)


def test_blocks_are_not_bands(tmp_path: Path) -> None:
    options = {"preset": "veryfast", "qp": "42", "x264-params": "no-deblock=1"}
    path = write(tmp_path / "a.mp4", scene(2, cuts=0, grain=0), video_options=options)
    assert not of_kind(examine(path, "banding"), "banding")


def test_clean() -> None:
    assert not examine(bunny(), "banding").defects
