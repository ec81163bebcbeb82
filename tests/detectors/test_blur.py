"""Blur: a ladder of kernels, and pictures that are soft on purpose."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter1d

from pipeline.detectors.looks import Cuts
from pipeline.detectors.softer import Steps
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


def leaves(count: int, size: float) -> Frames:
    """The scene behind fine leaves, which a blur takes away together with their contrast."""
    field = np.random.default_rng(2).normal(0, 60, (270, 480 + count, 1))
    if size:
        field = gaussian_filter(field, (size, size, 0))
        field *= 60 / field.std()
    field[162:] = 0
    return [
        np.clip(frame * 0.6 + 50 + field[:, n : n + 480], 0, 255).astype(np.uint8)
        for n, frame in enumerate(CLEAN[:count])
    ]


@pytest.mark.parametrize(("kernel", "size"), [(7, 0.0), (5, 0.6)])
def test_detail_whose_contrast_goes_as_well(tmp_path: Path, kernel: int, size: float) -> None:
    clean = leaves(125, size)
    frames = clean[:50] + blurred(clean[50:100], kernel) + clean[100:]
    defect = only_one(examine(write(tmp_path / "a.mp4", frames), "blur"), "blur")
    assert_interval(defect, 2.0, 4.0)
    assert defect.confidence >= 0.5


def steps_of(softness: list[np.ndarray]) -> Steps:
    """Steps between looks, five a second, whose tiles have lost so much (logarithm) to a blur."""
    rng = np.random.default_rng(3)
    curve, fine = rng.uniform(3, 12, (10, 16)), rng.uniform(6, 8, (10, 16))
    steps = Steps(Cuts())
    for n, lost in enumerate(softness):
        steps.add(n / 5, fine * np.exp(-lost / 2), curve * np.exp(-lost), tiles(100.0))
    steps.finish()
    return steps


def tiles(value: float) -> np.ndarray:
    return np.full((10, 16), value)


def test_a_filter_is_two_steps() -> None:
    for lost in (0.15, 0.4, 1.2):
        looks = [tiles(0.0)] * 5 + [tiles(lost)] * 8 + [tiles(0.0)] * 5
        ((first, last),) = steps_of(looks).pairs(0.9)
        assert (first.before, last.before) == pytest.approx((0.8, 2.4))
        assert (first.change, last.change) == pytest.approx((lost, -lost))
        assert not steps_of(looks).is_focus(1.0, 2.6)
    for apart in (3, 60):  # too short, and too long for one to have to do with the other
        looks = [tiles(0.0)] * 5 + [tiles(0.4)] * apart + [tiles(0.0)] * 5
        assert not list(steps_of(looks).pairs(0.9))
    unlike = [tiles(0.0)] * 5 + [tiles(1.2)] * 8 + [tiles(0.9)] * 5
    assert not list(steps_of(unlike).pairs(0.9))


def test_a_lens_is_no_filter() -> None:
    subject = np.ones((10, 16))
    subject[3:7, 5:10] = 0
    soft = [tiles(0.0)] * 5 + [subject] * 8 + [tiles(0.0)] * 5
    # what is in focus is the sharpest there is
    curve, fine = np.random.default_rng(3).uniform(3, 12, (10, 16)), tiles(7.0)
    curve[subject == 0] = 13
    for moving in (False, True):
        steps = Steps(Cuts())
        for n, lost in enumerate(soft):
            means = tiles(100.0 + (n % 2) * 10 * moving)
            steps.add(n / 5, fine * np.exp(-lost / 2), curve * np.exp(-lost), means)
        steps.finish()
        assert not list(steps.pairs(0.9))
        assert steps.is_focus(1.0, 2.6) is not moving  # a tile that moves tells nothing
    pulled = [tiles(v) for v in (0, 0, 0, 0, 0.5, 1.1, 1.6, *[1.6] * 6, 1.1, 0.5, 0, 0, 0, 0)]
    steps = steps_of(pulled)
    assert not list(steps.pairs(0.9))
    assert steps.is_focus(0.9, 2.7)


def test_the_first_look_of_a_shot_is_coded_better() -> None:
    looks = [tiles(0.0), *[tiles(0.6)] * 8, *[tiles(0.0)] * 5]
    assert not list(steps_of(looks).pairs(0.9))
    assert list(steps_of([tiles(0.0), *looks]).pairs(0.9))


def test_a_fade_and_a_dissolve_are_no_filters() -> None:
    curve = fine = tiles(8.0)
    steps = Steps(Cuts())
    for n in range(18):
        contrast = 0.5 if 5 <= n < 13 else 1.0
        steps.add(n / 5, fine * contrast, curve * contrast, tiles(100.0))
    steps.finish()
    assert not list(steps.pairs(0.9))


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
