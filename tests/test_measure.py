"""The one pass over a frame agrees with its definitions, for every size and pixel format."""

from __future__ import annotations

import av
import numpy as np
import pytest

from pipeline.measure.frame import PictureMeter
from pipeline.measurements import FrameFlag, PictureFormat


def picture_format(width, height, full_range=False) -> PictureFormat:
    return PictureFormat(0, width, height, 25.0, full_range, 8, False, True)


def yuv_frame(y, u=None, v=None) -> av.VideoFrame:
    """A yuv420p frame of planes as given, chroma 128 where none is."""
    height, width = y.shape
    frame = av.VideoFrame(width, height, "yuv420p")
    grey = np.full((-(-height // 2), -(-width // 2)), 128, np.uint8)
    planes = (y, grey if u is None else u, grey if v is None else v)
    for plane, values in zip(frame.planes, planes, strict=True):
        line = np.zeros((values.shape[0], plane.line_size), np.uint8)
        line[:, : values.shape[1]] = values
        rows = plane.buffer_size // plane.line_size
        padded = np.zeros((rows, plane.line_size), np.uint8)
        padded[: line.shape[0]] = line
        plane.update(padded.tobytes())
    return frame


def tiles(values, compared=False):
    """Mean of each 16x16 tile, the last ones smaller; `compared`: of rows 0, 1, 4, 5, 8, 9..."""
    if compared:
        part = values[np.arange(values.shape[0]) % 4 < 2]
        starts = range(0, part.shape[0], 8)
        means = [np.array_split(part[r : r + 8], range(16, part.shape[1], 16), 1) for r in starts]
        return np.array([[tile.mean() for tile in row] for row in means])
    rows, columns = -(-values.shape[0] // 16), -(-values.shape[1] // 16)
    return np.array(
        [
            [values[r * 16 : r * 16 + 16, c * 16 : c * 16 + 16].mean() for c in range(columns)]
            for r in range(rows)
        ]
    )


def few_tiles(values):
    """Mean of each 16x16 tile, of which only every fourth row is given."""
    down, across = range(0, len(values), 4), range(0, values.shape[1], 16)
    return np.array([[values[y : y + 4, x : x + 16].mean() for x in across] for y in down])


def _order(now, before):
    """Even rows of now to odd ones of before, less odd rows of now to even ones of before."""
    height = len(now)
    found = np.zeros_like(now)
    for y in range(height):
        if y % 4 > 1 or (y % 2 == 0 and y + 1 == height):  # not taken, or a last row by itself
            continue
        above, below = y - 1 if y else 1, y + 1 if y + 1 < height else y - 1
        among_before = abs(now[y] - (before[above] + before[below] + 1) // 2)
        among_now = abs(before[y] - (now[above] + now[below] + 1) // 2)
        found[y] = (among_before - among_now) * (-1 if y % 2 else 1)
    return found


@pytest.mark.parametrize("size", [(64, 48), (51, 37), (16, 16), (5, 1), (1, 7), (1, 1), (130, 200)])
def test_statistics_are_what_their_definitions_say(size):
    width, height = size
    rng = np.random.default_rng(width * 1000 + height)
    first, second = rng.integers(0, 256, (2, height, width), dtype=np.uint8)
    meter = PictureMeter(picture_format(width, height))
    meter.add(yuv_frame(first), 0.0, 0.04, FrameFlag.KEY)
    meter.add(yuv_frame(second), 0.04, 0.04, FrameFlag(0))
    measured = meter.take()
    now = second.astype(int)
    up = np.vstack([now[:1], now[:-1]])
    up2 = np.array([now[y - 2] if y > 1 else now[y] for y in range(height)])
    left = np.hstack([now[:, :1], now[:, :-1]])
    comb = np.maximum(0, abs(now - up) - np.minimum(abs(now - up2), 251) - 4)
    np.testing.assert_allclose(measured.luma[1], tiles(now), rtol=1e-5)
    np.testing.assert_allclose(
        measured.motion[1], tiles(abs(now - first.astype(int)), compared=True), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(
        measured.detail[1],
        tiles(abs(now - up) + abs(now - left), compared=True),
        rtol=1e-5,
        atol=1e-5,
    )
    np.testing.assert_allclose(measured.comb[1], few_tiles(comb[::4]), rtol=1e-5, atol=1e-5)
    order = tiles(_order(now, first.astype(int)), compared=True)
    np.testing.assert_allclose(measured.order[1], order, rtol=1e-5, atol=1e-5)
    assert (measured.order[0] == 0).all()
    np.testing.assert_allclose(measured.rows[1], abs(now - up).mean(axis=1), rtol=1e-5, atol=1e-5)
    assert (measured.motion[0] == 0).all()
    frames = measured.frames
    assert frames["luma"][1] == pytest.approx(now.mean(), rel=1e-5)
    area = tiles(np.ones(now.shape)) * np.outer(
        np.minimum(16, height - np.arange(0, height, 16)),
        np.minimum(16, width - np.arange(0, width, 16)),
    )
    moved = (measured.motion[1] * area).sum() / area.sum()
    assert frames["motion"][1] == pytest.approx(moved, rel=1e-4)
    assert list(frames["time"]) == [0.0, 0.04]
    assert list(frames["flags"]) == [FrameFlag.KEY, 0]
    assert meter.take() is None


def test_chroma_tiles():
    u, v = np.full((2, 24, 32), 128, np.uint8)
    u[:8, 8:16], v[8:16, :8] = 200, 30
    meter = PictureMeter(picture_format(64, 48))
    meter.add(yuv_frame(np.full((48, 64), 90, np.uint8), u, v), 0.0, 0.04, FrameFlag(0))
    measured = meter.take()
    assert measured.cb[0].tolist() == [[128, 200, 128, 128], [128] * 4, [128] * 4]
    assert measured.cr[0].tolist() == [[128] * 4, [30, 128, 128, 128], [128] * 4]


@pytest.mark.parametrize(
    "name", ["nv12", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "rgb24", "p010le"]
)
def test_every_pixel_format_measures_the_same_picture(name):
    rng = np.random.default_rng(3)
    smooth = np.kron(rng.integers(70, 180, (6, 8)), np.ones((8, 8))).astype(np.uint8)
    u = np.kron(rng.integers(118, 139, (3, 4)), np.ones((8, 8))).astype(np.uint8)
    source = yuv_frame(smooth, u, 255 - u)
    expected = PictureMeter(picture_format(64, 48))
    expected.add(source, 0.0, 0.04, FrameFlag(0))
    other = PictureMeter(picture_format(64, 48))
    other.add(source.reformat(format=name), 0.0, 0.04, FrameFlag(0))
    a, b = expected.take(), other.take()
    for field in ("luma", "cb", "cr"):
        np.testing.assert_allclose(getattr(a, field), getattr(b, field), atol=2.0)


def test_grey_has_neutral_chroma():
    meter = PictureMeter(picture_format(64, 48))
    grey = av.VideoFrame.from_ndarray(np.full((48, 64), 77, np.uint8), format="gray")
    meter.add(grey, 0.0, 0.04, FrameFlag(0))
    measured = meter.take()
    assert (measured.luma == 77).all()
    assert (measured.cb == 128).all()
    assert (measured.cr == 128).all()


def test_full_range_becomes_limited_range_levels():
    y = np.zeros((16, 32), np.uint8)
    y[:, 16:] = 255
    u = np.full((8, 16), 255, np.uint8)
    meter = PictureMeter(picture_format(32, 16, full_range=True))
    meter.add(yuv_frame(y, u), 0.0, 0.04, FrameFlag(0))
    measured = meter.take()
    np.testing.assert_allclose(measured.luma[0, 0], [16, 235], atol=0.01)
    np.testing.assert_allclose(measured.cb[0, 0], 128 + 127 * 224 / 255, atol=0.01)


def test_looks_come_five_times_a_second():
    meter = PictureMeter(picture_format(64, 48))
    for n in range(50):
        meter.add(yuv_frame(np.full((48, 64), 90, np.uint8)), n / 25, 1 / 25, FrameFlag(0))
    times = [look.time for look in meter.take().looks]
    np.testing.assert_allclose(times, np.arange(10) * 0.2, atol=1e-9)
