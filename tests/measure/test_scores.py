"""Which frames are scored: within the budget, the most suspicious first, in any pixel format."""

from __future__ import annotations

import av
import numpy as np
import pytest

from pipeline.measure.frame import PictureMeter
from pipeline.measure.scores import BUDGET, COST, OWED, SAVED, FrameScorer
from pipeline.types import FrameFlag, PictureFormat
from tests import media

RATE = 25
FRAMES = media.scene(4.0, width=192, height=128, cuts=0, speed=2, seed=3)


def picture_format(full_range: bool = False) -> PictureFormat:
    return PictureFormat(0, 192, 128, RATE, full_range, 8, False, True)


def scored(frames, budget, *, pixel_format="yuv420p", flagged=(), full_range=False):
    """Scores of frames [H, W, 3], measured a second at a time."""
    shown = picture_format(full_range)
    meter = PictureMeter(shown, FrameScorer(shown, budget))
    scores = []
    for n, one in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(one, "rgb24")
        target = "JPEG" if full_range else "MPEG"
        frame = frame.reformat(format=pixel_format, dst_color_range=target)
        flags = FrameFlag.CORRUPT if n in flagged else FrameFlag(0)
        meter.add(frame, n / RATE, 1 / RATE, flags)
        if (n + 1) % RATE == 0 or n + 1 == len(frames):
            scores += meter.take().scores
    return scores


def test_scoring_keeps_to_its_budget():
    scores = scored(FRAMES * 10, BUDGET)
    due = BUDGET / COST * 10 * len(FRAMES)
    assert due - SAVED <= len(scores) <= due + SAVED + OWED
    times = [one.time for one in scores]
    assert times == sorted(set(times))


def test_every_frame_where_the_budget_allows():
    assert len(scored(FRAMES[:50], COST)) == 50


def test_the_same_frames_are_scored_again():
    first, second = (scored(FRAMES, BUDGET) for _ in range(2))
    assert [one.time for one in first] == [one.time for one in second]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.corruption, other.corruption)


def test_an_abrupt_change_of_few_tiles_is_looked_at():
    frames = [one.copy() for one in FRAMES]
    for n in range(60, 70):
        frames[n][32:64, 64:128] = FRAMES[n][96:128, 0:64]
    assert any(60 / RATE <= one.time < 70 / RATE for one in scored(frames, BUDGET))


def test_a_frame_that_the_decoder_flags_is_looked_at():
    times = [one.time for one in scored(FRAMES, BUDGET, flagged=(82,))]
    assert any(abs(time - 82 / RATE) < 1e-6 for time in times)


@pytest.mark.parametrize(
    ("pixel_format", "full_range"),
    [("yuv422p", False), ("yuv444p", False), ("nv12", False), ("yuvj420p", True)],
)
def test_pixel_formats_score_alike(pixel_format, full_range):
    plain = scored(FRAMES[:5], COST)
    other = scored(FRAMES[:5], COST, pixel_format=pixel_format, full_range=full_range)
    for one, two in zip(plain, other, strict=True):
        assert np.abs(one.corruption - two.corruption).mean() < 0.02


def test_grey_has_no_chroma():
    (first, *_) = scored(FRAMES[:3], COST, pixel_format="gray")
    assert first.corruption.shape == picture_format().tiles


def test_a_net_that_fails_costs_the_scores_alone(monkeypatch):
    def broken():
        raise RuntimeError("no such device")

    monkeypatch.setattr("pipeline.measure.scores._net", broken)
    shown = picture_format()
    scorer = FrameScorer(shown, None)
    meter = PictureMeter(shown, scorer)
    for n, one in enumerate(FRAMES[:30]):
        frame = av.VideoFrame.from_ndarray(one, "rgb24").reformat(format="yuv420p")
        meter.add(frame, n / RATE, 1 / RATE, FrameFlag(0))
    taken = meter.take()
    assert len(taken.frames) == 30
    assert taken.scores == []
    assert meter.take_failure() == "RuntimeError: no such device"
    assert meter.take_failure() is None
