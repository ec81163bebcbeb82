"""Blockiness: ladders of real encoders, scaled grids, and regular patterns that are no grid."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import Mock

import av
import numpy as np
import pytest

from models.coarseness import places
from pipeline.detectors import blockiness
from pipeline.detectors.blockiness import BlockinessDetector, BlockinessSettings
from pipeline.detectors.comb import Comb
from pipeline.measurements import FRAME_ROW, Observation, PictureFormat
from tests.findings import assert_interval, examine, of_kind, only_one
from tests.media import Frames, bunny, scene, write

CLEAN = scene(2.0, cuts=0, speed=1.0)


def decoded(path: Path, width: int | None = None, height: int | None = None) -> Frames:
    """The frames of a file, perhaps scaled (bilinear, as a set-top box does)."""
    with av.open(str(path)) as container:
        return [
            f.reformat(width or f.width, height or f.height, "rgb24", interpolation="BILINEAR")
            .to_ndarray()
            for f in container.decode(video=0)
        ]  # fmt: skip


def x264(path: Path, frames: Frames, qp: int, *, deblock: bool = False) -> Path:
    options = {"preset": "veryfast", "qp": str(qp)}
    if not deblock:
        options["x264-params"] = "no-deblock=1"
    return write(path, frames, video_options=options)


def mpeg2(path: Path, frames: Frames, bits: int) -> Path:
    options = {"b": str(bits), "maxrate": str(bits), "bufsize": str(bits)}
    return write(path, frames, video_codec="mpeg2video", video_options=options)


def test_ladder_of_x264(tmp_path: Path) -> None:
    severities = []
    for qp in (40, 44, 48):
        result = examine(x264(tmp_path / "a.mp4", CLEAN, qp), "blockiness")
        defect = only_one(result, "blockiness")
        assert defect.evidence["period_px"] in (4, 8, 16)
        assert defect.evidence["phase_px"] % 4 == 0
        severities.append(defect.severity)
    assert severities == sorted(severities)
    assert severities[-1] >= 0.75


def test_mpeg2_and_mjpeg(tmp_path: Path) -> None:
    mpeg = only_one(examine(mpeg2(tmp_path / "a.mpg", CLEAN, 150_000), "blockiness"), "blockiness")
    options = {"qmin": "20", "qmax": "20"}
    path = write(
        tmp_path / "b.mkv", CLEAN, video_codec="mjpeg", pixel_format="yuvj420p",
        video_options=options,
    )  # fmt: skip
    mjpeg = only_one(examine(path, "blockiness"), "blockiness")
    for defect in (mpeg, mjpeg):
        assert defect.evidence["period_px"] == 8
        assert defect.evidence["strength"] > 0.5


def test_a_stretch_of_bad_coding(tmp_path: Path) -> None:
    clean = scene(6.0, cuts=0, speed=1.0)
    bad = decoded(x264(tmp_path / "a.mp4", clean[50:100], 44))
    path = write(tmp_path / "b.mp4", clean[:50] + bad + clean[100:])
    assert_interval(only_one(examine(path, "blockiness"), "blockiness"), 2.0, 4.0, within=0.2)


@pytest.mark.parametrize("ratio", [1.0, 0.75])
def test_a_stretch_that_shows_no_grid(tmp_path: Path, ratio: float) -> None:
    """Deblocked, perhaps scaled, and encoded once more: the net tells it."""
    clean = scene(6.0, cuts=0, speed=1.0)
    height, width = clean[0].shape[:2]
    small = [
        av.VideoFrame.from_ndarray(f, "rgb24")
        .reformat(round(width * ratio / 2) * 2, round(height * ratio / 2) * 2)
        .to_ndarray(format="rgb24")
        for f in clean[50:100]
    ]
    bad = decoded(x264(tmp_path / "a.mp4", small, 47, deblock=True), width, height)
    path = write(tmp_path / "b.mp4", clean[:50] + bad + clean[100:])
    defect = only_one(examine(path, "blockiness"), "blockiness")
    assert_interval(defect, 2.0, 4.0, within=0.2)
    assert defect.evidence["quantiser"] > defect.evidence["usual_quantiser"] + 4


def test_an_asset_that_is_coarse_all_through(tmp_path: Path) -> None:
    path = x264(tmp_path / "a.mp4", CLEAN, 48, deblock=True)
    defect = only_one(examine(path, "blockiness"), "blockiness")
    assert_interval(defect, 0.0, 2.0, within=0.2)
    assert defect.evidence["quantiser"] > 37


def test_a_picture_lower_than_the_net_looks_at_is_judged_by_its_grid(tmp_path: Path) -> None:
    tiny = scene(2.0, 640, 60, cuts=0, speed=1.0)
    assert not examine(write(tmp_path / "a.mp4", tiny), "blockiness").defects
    result = examine(x264(tmp_path / "b.mp4", tiny, 46), "blockiness")
    assert only_one(result, "blockiness").evidence["period_px"] in (4, 8, 16)


@pytest.mark.parametrize("sigma", [4, 8, 12])
def test_what_is_beside_noise_is_not_coarse(tmp_path: Path, sigma: int) -> None:
    rng = np.random.default_rng(1)
    frames = scene(8.0, cuts=0, speed=1.0)
    for n in range(50, 100):
        noisy = frames[n] + rng.normal(0, sigma, (*frames[n].shape[:2], 1))
        frames[n] = noisy.clip(0, 255).astype(np.uint8)
    path = write(tmp_path / "a.mp4", frames, video_options={"crf": "20"})
    assert not examine(path, "blockiness").defects


@pytest.mark.parametrize("size", [(360, 640), (270, 480), (720, 1280), (64, 64)])
def test_texture_is_taken_where_the_net_looks(size: tuple[int, int]) -> None:
    shape = (-(-size[0] // 16), -(-size[1] // 16))
    tiles = blockiness._tiles(shape, 16)
    corners = 16 * np.stack(np.divmod(tiles[:, 0], shape[1]), axis=1)
    assert np.abs(corners - places(*size)).max() <= 16


@pytest.mark.parametrize(("scale", "period"), [(4 / 3, 32 / 3), (1.5, 12.0)])
def test_a_scaled_grid_keeps_its_period(tmp_path: Path, scale: float, period: float) -> None:
    path = write(
        tmp_path / "a.mkv", CLEAN, video_codec="mjpeg", pixel_format="yuvj420p",
        video_options={"qmin": "24", "qmax": "24"},
    )  # fmt: skip
    frames = decoded(path, round(480 * scale), round(270 * scale / 2) * 2)
    result = examine(write(tmp_path / "b.mp4", frames), "blockiness")
    assert only_one(result, "blockiness").evidence["period_px"] == pytest.approx(period, abs=0.01)


def patterns() -> dict[str, Frames]:
    """Regular patterns over and in a moving scene."""
    base = scene(2.0, cuts=0)
    yy, xx = np.mgrid[:270, :480]
    rng = np.random.default_rng(1)

    def over(mask: np.ndarray, level: int) -> Frames:
        return [np.where(mask[..., None], level, f).astype(np.uint8) for f in base]

    checker = np.where((xx // 16 + yy // 16) % 2, 60, 180)[..., None].repeat(3, 2)
    bricks = (yy % 24 < 2) | ((xx + 24 * (yy // 24 % 2)) % 48 < 2)
    windows = (xx % 32 > 8) & (xx % 32 < 24) & (yy % 40 > 10) & (yy % 40 < 30)
    sprite = rng.integers(30, 225, (34, 60, 3)).astype(np.uint8)
    pixels = [np.roll(sprite, n // 5, 1).repeat(8, 0).repeat(8, 1)[:270] for n in range(50)]
    mosaic = []
    for f in base:
        small = f[80:160:8, 200:280:8].repeat(8, 0).repeat(8, 1)
        g = f.copy()
        g[80:160, 200:280] = small
        mosaic.append(g)
    letters = (rng.random((270, 480)) < 0.5) & (yy % 16 < 10) & (xx % 8 < 6)
    weave = [f.copy() for f in base]
    for n in range(1, len(weave)):
        weave[n][1::2] = base[n - 1][1::2]
    box = [f.copy() for f in base]
    for f in box:
        f[:32], f[-32:] = 16, 16
    fade = [
        (a * (1 - n / 50) + b * (n / 50)).astype(np.uint8)
        for n, (a, b) in enumerate(zip(base, scene(2.0, cuts=0, seed=5), strict=True))
    ]
    return {
        "checkerboard": [checker.astype(np.uint8)] * 50,
        "bricks": over(bricks, 170),
        "windows": over(windows, 40),
        "pixel art": pixels,
        "mosaic over a face": mosaic,
        "text": over(letters, 220),
        "interlace": weave,
        "letterbox": box,
        "crossfade": fade,
    }


def test_patterns_are_no_grid(tmp_path: Path) -> None:
    for name, frames in patterns().items():
        result = examine(write(tmp_path / "a.mp4", frames), "blockiness")
        assert not result.defects, (name, result.defects[0].summary)


@pytest.mark.parametrize("crf", [18, 23])
def test_clean(tmp_path: Path, crf: int) -> None:
    options = {"preset": "veryfast", "crf": str(crf)}
    path = write(tmp_path / "a.mp4", scene(3), video_options=options)
    assert not of_kind(examine(path, "blockiness"), "blockiness")
    assert not examine(bunny(), "blockiness").defects


NO_GRID = Comb((0.0,) * 3, (0.0,) * 3, ((8.0, 8.0),) * 3)


def told(
    monkeypatch: pytest.MonkeyPatch,
    levels: list[tuple[float, float]],
    textures: Callable[[float], np.ndarray] = lambda _: np.zeros((3, 23, 40), np.float32),
    spared: Sequence[int] = (),
) -> list[Observation]:
    """What is reported where the net says so many QP up to so many seconds, second by second.

    `spared` crops stay at the first level; `textures` gives noise, first and second differences of
    the tiles at a time. The looks are made up: what is tested is which stretches are told, and
    when.
    """
    noise = np.random.default_rng(1)
    detector = BlockinessDetector(
        BlockinessSettings(), PictureFormat(0, 640, 360, 25.0, False, 8, False, True)
    )
    monkeypatch.setattr(blockiness, "find_grid", lambda _: None)
    monkeypatch.setattr(blockiness, "comb", lambda _: NO_GRID)
    monkeypatch.setattr(
        detector, "_cuts", Mock(around=lambda _: (-np.inf, np.inf), within=lambda *_: False)
    )
    found: list[Observation] = []
    for second in range(round(levels[-1][0])):
        looks = []
        for time in second + np.arange(5) / 5:
            level = next(qp for until, qp in levels if time < until - 1e-6)
            quantisers = np.zeros((16, 2), np.float32)
            quantisers[:, 0] = level
            quantisers[list(spared), 0] = levels[0][1]
            quantisers[:, 0] += noise.normal(0, 0.1, 16)
            maps = dict(zip(("noise", "fine", "curve"), textures(float(time)), strict=True))
            looks.append(Mock(time=float(time), quantisers=quantisers, **maps))
        frames = np.zeros(1, FRAME_ROW)
        frames["time"], frames["duration"] = second + 0.96, 0.04
        found += detector.update(Mock(looks=looks, frames=frames), Mock())
    return sorted([*found, *detector.finish()], key=lambda one: one.start)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        # a worse stretch within what is coarse all through hides no more than itself
        ([(30, 39), (32, 44), (120, 39)], [(0, 30), (30, 32), (32, 120)]),
        # one that is coarse for a part is told once, as the rise that it is
        ([(12, 26), (16, 39), (60, 35.5), (80, 26)], [(12, 60)]),
        ([(10, 26), (14, 41), (40, 26)], [(10, 14)]),
    ],
)
def test_each_moment_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
    levels: list[tuple[float, float]],
    expected: list[tuple[float, float]],
) -> None:
    found = told(monkeypatch, levels)
    assert [(round(one.start), round(one.end)) for one in found] == expected
    for one, other in itertools.pairwise(found):
        assert one.end <= other.start + 1e-6


# of noise, first and second differences, 10 s to 14 s: in what rises, and in what does not
@pytest.mark.parametrize(
    ("kept", "spared_keeps", "told_of"),
    [
        ((0.3, 0.4, 0.3), (1.0, 1.0, 1.0), 0),  # focus is pulled to a subject
        ((0.3, 0.4, 0.3), (0.6, 0.8, 0.7), 1),  # coded at half the size: all of it is soft
        ((0.6, 0.8, 0.7), (1.0, 1.0, 1.0), 1),  # a coarse quantiser, of which little is seen there
    ],
)
def test_what_is_out_of_focus_before_a_sharp_subject_is_not_coarse(
    monkeypatch: pytest.MonkeyPatch,
    kept: tuple[float, float, float],
    spared_keeps: tuple[float, float, float],
    told_of: int,
) -> None:
    def textures(time: float) -> np.ndarray:
        maps = np.repeat(np.array([1.0, 4.0, 4.0], np.float32), 23 * 40).reshape(3, 23, 40)
        if 10 <= time < 14:
            subject = np.zeros((23, 40), bool)
            subject[6:17, 13:27] = True
            maps *= np.where(
                subject, *(np.reshape(keeps, (3, 1, 1)) for keeps in (spared_keeps, kept))
            )
        return maps

    levels = [(10, 26), (14, 34), (24, 26)]
    assert len(told(monkeypatch, levels, textures, spared=(5, 6, 9, 10))) == told_of
