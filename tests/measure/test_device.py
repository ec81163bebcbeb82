"""Frames that lie on a device are measured there as the compiled passes measure them."""

from __future__ import annotations

from dataclasses import fields

import av
import numpy as np
import pytest
import torch

from pipeline.measure.device import BATCH, DeviceMeter
from pipeline.measure.frame import MAPS, ORDER, PictureMeter, _luma_pass
from pipeline.measure.look import look
from pipeline.measure.tensors import Looks, look_pass, luma_pass
from pipeline.measurements import FrameFlag, PictureFormat
from tests.media import scene

SIZES = [(64, 48), (51, 37), (16, 16), (5, 1), (1, 7), (1, 1), (13, 13), (130, 200)]
EXACT = {"rtol": 2e-6, "atol": 1e-6}  # sums of integers: only the last division may round otherwise


def planes(width, height):
    """uint8 [5, H, W]: noise, a slope with contours, blocks, a still frame."""
    rng = np.random.default_rng(width * 1000 + height)
    noise = rng.integers(0, 256, (2, height, width), dtype=np.uint8)
    rows, columns = np.mgrid[:height, :width]
    slope = ((rows + columns) // 9 * 4 % 256).astype(np.uint8)
    few = rng.integers(0, 60, (height // 6 + 1, width // 6 + 1), dtype=np.uint8)
    blocks = np.kron(few, np.ones((6, 6), np.uint8))[:height, :width]
    return np.stack([*noise, slope, blocks, blocks])


@pytest.mark.parametrize("size", SIZES)
def test_tensors_give_what_the_compiled_pass_over_every_frame_gives(size):
    width, height = size
    luma = planes(width, height)
    tiles = (-(-height // 16), -(-width // 16))
    maps, profiles = torch.zeros(4, MAPS, *tiles), torch.empty(4, height)
    luma_pass(torch.from_numpy(luma), maps, profiles)
    for n in range(4):
        expected, profile = np.zeros((MAPS, *tiles), np.float32), np.empty(height, np.float32)
        some = (*expected[:4], expected[ORDER])
        _luma_pass(luma[n + 1], luma[n], width, height, *some, profile)
        np.testing.assert_allclose(maps[n], expected, **EXACT)
        np.testing.assert_allclose(profiles[n], profile, **EXACT)


@pytest.mark.parametrize("size", SIZES)
def test_tensors_give_what_the_compiled_closer_look_gives(size):
    width, height = size
    luma = planes(width, height)
    looks = look_pass(torch.from_numpy(luma))
    for n, plane in enumerate(luma):
        expected = look(plane, width, height, 0.0, n)
        for field in fields(Looks):
            made = getattr(looks, field.name)[n].numpy()
            np.testing.assert_allclose(
                made, getattr(expected, field.name), err_msg=field.name, **EXACT
            )
    if width > 64:
        assert looks.contour[2].sum() > 0  # else the test would not have seen one


def frames(name, count):
    """Frames of a moving scene in a pixel format."""
    return [
        av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=name)
        for picture in scene(count / 25, 208, 118)
    ]


def measured(meter, some, first=0):
    for n, frame in enumerate(some, first):
        meter.add(frame, n / 25, 1 / 25, FrameFlag.KEY if n % 12 == 0 else FrameFlag(0))
    return meter.take()


@pytest.mark.parametrize(("name", "within"), [("nv12", 1e-5), ("p010le", 1.0)])
def test_a_stream_is_measured_alike_on_a_device(name, within):
    """Over batches, through a segment that ends within one, looks included."""
    picture = PictureFormat(0, 208, 118, 25.0, False, 8, False, True)
    some = frames(name, 2 * BATCH + 9)
    here, there = (
        PictureMeter(picture, coarseness=True),
        DeviceMeter(picture, "cpu", coarseness=True),
    )
    cut = BATCH + 5
    for part, first in ((some[:cut], 0), (some[cut:], cut)):
        a, b = measured(here, part, first), measured(there, part, first)
        np.testing.assert_array_equal(
            a.frames[["time", "duration", "flags"]], b.frames[["time", "duration", "flags"]]
        )
        for field in ("luma", "motion", "detail", "comb", "order", "cb", "cr", "rows"):
            np.testing.assert_allclose(getattr(a, field), getattr(b, field), atol=within)
        assert [(one.time, one.frame) for one in a.looks] == [(o.time, o.frame) for o in b.looks]
        for one, other in zip(a.looks, b.looks, strict=True):
            np.testing.assert_allclose(one.noise, other.noise, atol=within)
            np.testing.assert_allclose(one.row_mean, other.row_mean, atol=within)
            assert len(one.quantisers)
            np.testing.assert_allclose(one.quantisers, other.quantisers, atol=max(4 * within, 1e-3))
    assert there.take() is None
    if name == "nv12":
        for one, other in zip(here.planes(), there.planes(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_frames_are_given_back_to_the_decoder():
    """It has few of them; one that was copied is not held."""
    picture = PictureFormat(0, 208, 118, 25.0, False, 8, False, True)
    meter = DeviceMeter(picture, "cpu")
    for n, frame in enumerate(frames("nv12", 7)):
        meter.add(frame, n / 25, 1 / 25, FrameFlag(0))
        assert len(meter._lent) <= 2
    meter.take()
    assert not meter._lent


def test_the_last_frame_can_be_asked_for_before_its_batch_is_full():
    picture = PictureFormat(0, 208, 118, 25.0, False, 8, False, True)
    some = frames("nv12", 3)
    here, there = PictureMeter(picture), DeviceMeter(picture, "cpu")
    for n, frame in enumerate(some):
        for meter in (here, there):
            meter.add(frame, n / 25, 1 / 25, FrameFlag(0))
        np.testing.assert_allclose(there.last()[0], here.last()[0], atol=1e-5)
    assert there.last()[2] is None
    with pytest.raises(ValueError, match="no frame"):
        DeviceMeter(picture, "cpu").planes()
