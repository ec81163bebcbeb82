"""Flashing: the limits of BT.1702 and WCAG from both sides, and what is no flashing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.findings import assert_interval, examine, of_kind, only_one
from tests.media import Frames, bunny, scene, write

WIDTH, HEIGHT = 480, 272
LOSSLESS = {"preset": "ultrafast", "qp": "4"}


def grey_of(luminance: float) -> int:
    """RGB grey of a screen luminance in cd/m2: BT.1886, peak 200 cd/m2."""
    return round(255 * (luminance / 200) ** (1 / 2.4))


def flashes(
    hertz: float,
    area: float = 0.5,
    low: float = 20.0,
    high: float = 60.0,
    *,
    seconds: float = 4.0,
    rate: int = 30,
    on: tuple[float, float] = (1.0, 3.0),
    colours: tuple[tuple[int, int, int], tuple[int, int, int]] | None = None,
) -> Frames:
    """A grey picture in which a rectangle of `area` of it flashes between two luminances."""
    dark, bright = colours or ((grey_of(low),) * 3, (grey_of(high),) * 3)
    wide = round(WIDTH * area / 0.75 / 8) * 8 if area < 0.75 else WIDTH
    high_px = round(HEIGHT * area / (wide / WIDTH))
    frames = []
    for n in range(round(seconds * rate)):
        picture = np.full((HEIGHT, WIDTH, 3), dark, np.uint8)
        time = n / rate
        if on[0] <= time < on[1] and int((time - on[0]) * hertz * 2 + 1e-6) % 2 == 0:
            picture[:high_px, :wide] = bright
        frames.append(picture)
    return frames


def found(path: Path, frames: Frames, rate: int = 30, **settings: object) -> list:
    write(path / "a.mp4", frames, rate=rate, video_options=LOSSLESS)
    return of_kind(examine(path / "a.mp4", "flashing", flashing=settings), "flashing")


@pytest.mark.parametrize(
    ("hertz", "area", "low", "high", "harmful"),
    [
        (5, 0.5, 20, 60, True),
        (10, 0.6, 20, 60, True),
        (3.75, 0.5, 20, 60, True),
        (3, 0.5, 20, 60, False),  # three flashes a second are allowed
        (2, 0.5, 20, 60, False),
        (5, 0.28, 20, 60, True),
        (5, 0.22, 20, 60, False),  # less than a quarter of the picture
        (5, 0.5, 20, 43, True),
        (5, 0.5, 20, 37, False),  # less than 20 cd/m2
        (5, 0.5, 150, 190, True),
        (5, 0.5, 165, 195, False),  # the darker picture is not below 160 cd/m2
    ],
)
def test_limits(tmp_path: Path, hertz, area, low, high, harmful) -> None:
    assert bool(found(tmp_path, flashes(hertz, area, low, high))) == harmful


def test_interval_evidence_and_region(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", flashes(5, 0.5, 20, 80), rate=30, video_options=LOSSLESS)
    defect = only_one(examine(tmp_path / "a.mp4", "flashing"), "flashing")
    assert_interval(defect, 1.0, 2.93)  # the last change is back to dark at 2.9
    assert defect.evidence["flashes_per_s"] == pytest.approx(5, abs=0.3)
    assert defect.evidence["share_of_picture"] == pytest.approx(0.5, abs=0.05)
    assert defect.evidence["luminance_step_cdm2"] == pytest.approx(60, abs=6)
    assert defect.severity >= 0.75
    assert defect.region is not None
    assert defect.region.left == 0
    assert defect.region.right == pytest.approx(0.67, abs=0.05)
    faster = found(tmp_path, flashes(10, 0.5, 20, 80))[0]
    assert faster.severity > defect.severity


RED, GREY, BLACK, ORANGE = (230, 8, 8), (120, 120, 120), (0, 0, 0), (230, 120, 8)


@pytest.mark.parametrize(
    ("colours", "hertz", "harmful"),
    [
        ((GREY, RED), 5, True),
        ((BLACK, RED), 5, True),
        ((GREY, RED), 2.5, False),
        ((GREY, (150, 80, 80)), 5, False),  # not a saturated red
        ((ORANGE, RED), 5, False),  # too near in colour, for BT.1702
    ],
)
def test_saturated_red_counts_whatever_its_luminance(tmp_path, colours, hertz, harmful) -> None:
    # a luminance step of less than 20 cd/m2 would be 'clean' without the rule for red
    seen = found(tmp_path, flashes(hertz, 0.5, colours=colours), luminance_step=150.0)
    assert bool(seen) == harmful
    if harmful:
        assert "red" in seen[0].summary


def test_wcag_looks_at_a_ten_degree_field(tmp_path: Path) -> None:
    small = flashes(5, 0.06, 20, 80)
    assert not found(tmp_path, small)
    assert found(tmp_path, small, standard="wcag")
    assert not found(tmp_path, flashes(5, 0.015, 20, 80), standard="wcag")
    assert not found(tmp_path, flashes(5, 0.5, 20, 35), standard="wcag")  # less than 10 %
    assert found(tmp_path, flashes(5, 0.5, colours=(GREY, RED)), standard="wcag")


def test_a_long_sequence_within_the_limits_is_a_risk(tmp_path: Path) -> None:
    assert not found(tmp_path, flashes(2.5, 0.5, seconds=6, on=(0.5, 4.5)))
    assert not found(tmp_path, flashes(1, 0.5, seconds=8, on=(0.5, 7.5)))
    (defect,) = found(tmp_path, flashes(2.5, 0.5, seconds=8, on=(0.5, 7.5)))
    assert defect.severity <= 0.5
    assert "sequence" in defect.summary
    assert defect.evidence["flashes_per_s"] == pytest.approx(2.5, abs=0.2)
    assert_interval(defect, 0.5, 7.53)


def test_flashes_in_different_places_do_not_add_up(tmp_path: Path) -> None:
    frames = flashes(5, 1.0, 20, 20)
    for n, picture in enumerate(frames):
        if 30 <= n < 90 and n % 12 < 6:  # 2.5 Hz, left and right in turn
            half = slice(0, WIDTH // 2) if n // 12 % 2 else slice(WIDTH // 2, WIDTH)
            picture[:, half] = grey_of(80)
    assert not found(tmp_path, frames)


def negatives() -> dict[str, Frames]:
    cuts = [f for seed in range(8) for f in scene(0.5, cuts=0, seed=seed)]
    pan = []
    for n in range(75):  # a fence passes by
        column = (np.arange(WIDTH) + 9 * n) // 24 % 2
        pan.append(np.repeat(np.tile(column * 180 + 30, (HEIGHT, 1))[..., None], 3, 2))
    base = scene(3, cuts=0)
    fade = [(f * abs(np.cos(n / 25 * np.pi))).astype(np.uint8) for n, f in enumerate(base)]
    camera = [np.maximum(f, 240) if n in (30, 31) else f for n, f in enumerate(base)]
    lightning = [np.maximum(f, 230) if n in (30, 31, 34, 35) else f for n, f in enumerate(base)]
    return {
        "cuts twice a second": cuts,
        "pan over a fence": [f.astype(np.uint8) for f in pan],
        "fades": fade,
        "camera flash": camera,
        "lightning twice": lightning,
        "clean": scene(4),
    }


def test_negatives(tmp_path: Path) -> None:
    for name, frames in negatives().items():
        write(tmp_path / "a.mp4", frames)
        for standard in ("bt1702", "wcag"):
            result = examine(tmp_path / "a.mp4", "flashing", flashing={"standard": standard})
            assert not result.defects, (name, standard, result.defects)
    assert not examine(bunny(), "flashing").defects


def test_tiny_and_grey_pictures(tmp_path: Path) -> None:
    frames = [np.full((2, 2, 3), 255 * (n // 2 % 2), np.uint8) for n in range(60)]
    assert found(tmp_path, frames)
    write(tmp_path / "g.mkv", flashes(5), rate=30, video_codec="ffv1", pixel_format="gray")
    assert of_kind(examine(tmp_path / "g.mkv", "flashing"), "flashing")
