"""Blur: a ladder of kernels, and pictures that are soft on purpose."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter1d

from tests.findings import assert_interval, examine, only_one
from tests.media import Frames, bunny, scene, write

# more contrast than the plain scene: where none is left after the blur, nothing can be said
CLEAN = [
    np.clip((f.astype(np.int16) - 118) * 2 + 118, 0, 255).astype(np.uint8)
    for f in scene(6.0, cuts=0)
]


def blurred(frames: Frames, kernel: int) -> Frames:
    """Gaussian blur with the sigma that OpenCV gives a kernel of this size."""
    sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8
    return [
        gaussian_filter(f.astype(np.float32), (sigma, sigma, 0)).round().astype(np.uint8)
        for f in frames
    ]


def film() -> Frames:
    """A real clip, half its size: its edges are as soft as lenses and renderers make them."""
    with av.open(str(bunny())) as container:
        return [f.reformat(640, 360, "rgb24").to_ndarray() for f in container.decode(video=0)][:125]


def test_ladder(tmp_path: Path) -> None:
    clean, severities = film(), []
    for kernel in (5, 7, 9):
        frames = clean[:50] + blurred(clean[50:100], kernel) + clean[100:]
        result = examine(write(tmp_path / "a.mp4", frames), "blur")
        defect = only_one(result, "blur")
        assert_interval(defect, 2.0, 4.0, within=0.2)  # the subtlest starts a look late
        assert defect.evidence["sharpness"] < defect.evidence["usual_sharpness"]
        severities.append(defect.severity)
    assert severities == sorted(severities)
    assert severities[-1] > severities[0]


def test_blurred_from_the_start(tmp_path: Path) -> None:
    frames = blurred(CLEAN[:50], 9) + CLEAN[50:]
    result = examine(write(tmp_path / "a.mp4", frames), "blur")
    assert_interval(only_one(result, "blur"), 0.0, 2.0)


def shapes(count: int) -> Frames:
    """Bright and dark objects that move slowly: after a strong blur there is contrast left."""
    rng = np.random.default_rng(1)
    still = np.full((270, 640, 3), 120, np.uint8)
    for _ in range(40):
        (y, x), (high, wide) = rng.integers(0, (240, 600)), rng.integers(15, 60, 2)
        still[y : y + high, x : x + wide] = rng.integers(20, 235, 3)
    return [still[:, n : n + 480] for n in range(count)]


def test_an_asset_that_is_soft_throughout_gets_little_weight(tmp_path: Path) -> None:
    result = examine(write(tmp_path / "a.mp4", blurred(shapes(75), 17)), "blur")
    defect = only_one(result, "blur")
    assert_interval(defect, 0.0, 3.0)
    assert defect.severity <= 0.5
    assert defect.confidence <= 0.4


def negatives() -> dict[str, Frames]:
    yy, xx = np.mgrid[:270, :480]
    subject = (((yy - 150) / 70) ** 2 + ((xx - 240) / 60) ** 2 < 1)[..., None]
    soft = blurred(CLEAN[50:100], 15)
    shallow = [np.where(subject, a, b) for a, b in zip(CLEAN[50:100], soft, strict=True)]
    fade = [(f * max(0.0, 1 - n / 60)).astype(np.uint8) for n, f in enumerate(CLEAN[50:100])]
    fog = [(f * 0.3 + 150).astype(np.uint8) for f in CLEAN[50:100]]
    whip = [
        uniform_filter1d(f.astype(np.float32), 31, axis=1).astype(np.uint8) for f in CLEAN[50:58]
    ]
    title = [f.copy() for f in soft]
    letters = (np.random.default_rng(1).random((6, 30)) < 0.5).repeat(12, 0).repeat(6, 1)
    for f in title:
        f[100:172, 150:330][letters] = 230
    flat = [np.full((270, 480, 3), (90, 140, 200), np.uint8) for _ in range(50)]
    for n, f in enumerate(flat):
        f[60:200, 100 + n : 260 + n] = (220, 90, 60)
        f[120:240, 300 - n : 380 - n] = (30, 30, 30)
    return {
        "shallow depth of field": shallow,
        "fade": fade,
        "fog": fog,
        "whip pan": whip,
        "title over a soft background": title,
        "cartoon": flat,
    }


def test_negatives(tmp_path: Path) -> None:
    for name, frames in negatives().items():
        path = write(tmp_path / "a.mp4", CLEAN[:50] + frames + CLEAN[100:])
        assert not examine(path, "blur").defects, (name, examine(path, "blur").defects[0].summary)


def test_clean(tmp_path: Path) -> None:
    assert not examine(write(tmp_path / "a.mp4", scene(6, cuts=3)), "blur").defects
    assert not examine(bunny(), "blur").defects
