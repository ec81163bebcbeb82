"""Damage that was encoded again: what begins and is mended at one place of a shot."""

from __future__ import annotations

import numpy as np
import pytest

from faults.lookalikes import LOOKALIKES
from faults.media import Clean, Encoding, encode
from pipeline.detectors.recoded import BOTH, LONGEST, Recodings
from pipeline.measurements import UNASKED
from tests import media
from tests.findings import assert_interval, examine, of_kind, only_one

RATE = 25
SHAPE = (12, 20)
ASKED = {"block_corruption": {"encoded_again": True}}
HERE, THERE = np.s_[2:5, 3:8], np.s_[8:11, 12:18]


def found(events, seconds=6.0, cut=None):
    """What is told of frames with these (second, 0 for begun or 1 for mended, tiles, log odds)."""
    recodings, told = Recodings(), []
    for n in range(round(seconds * RATE)):
        steps = np.full((2, *SHAPE), UNASKED, np.float32)
        for at, which, tiles, odds in events:
            if n == round(at * RATE) + 1:  # what is said of a frame comes with the next one
                steps[which][tiles] = odds
        motion = np.full(SHAPE, 1.0, np.float32)
        if cut is not None and n == round(cut * RATE):
            motion += 30
        told += recodings.look(n / RATE, motion, steps)
    return [*told, *recodings.finish()]


def test_begun_and_mended_at_one_place():
    (one,) = found([(1, 0, HERE, 8.0), (3, 1, HERE, 5.5)])
    assert one.start == pytest.approx(1)
    assert one.end == pytest.approx(3)
    assert one.odds == pytest.approx(13.5)
    assert one.tiles[HERE].all()
    assert one.tiles.sum() == 15


def test_more_of_it_on_the_way():
    """What begins and is mended in between is of the same damage."""
    (one,) = found(
        [(1, 0, HERE, 9.0), (1.4, 1, HERE, 3.0), (1.5, 0, THERE, 5.0), (2, 0, HERE, 5.0),
         (3, 1, HERE, 4.0), (3, 1, THERE, 4.0)]
    )  # fmt: skip
    assert (one.start, one.end) == (pytest.approx(1), pytest.approx(3))


@pytest.mark.parametrize(
    "events",
    [
        [(1, 0, HERE, 9.0)],
        [(3, 1, HERE, 9.0)],
        [(1, 0, HERE, 9.0), (3, 1, THERE, 9.0)],
        [(3, 0, HERE, 9.0), (1, 1, HERE, 9.0)],
        [(1, 0, HERE, 1.0), (3, 1, HERE, 9.0)],
        [(1, 0, HERE, 9.0), (3, 1, HERE, 0.5)],
    ],
    ids=["begun", "mended", "elsewhere", "other way round", "hardly begun", "hardly mended"],
)
def test_not_both(events):
    assert not found(events)


def test_not_over_a_cut():
    assert not found([(1, 0, HERE, 9.0), (3, 1, HERE, 9.0)], cut=2)


def test_not_after_long():
    assert not found([(1, 0, HERE, 9.0), (1.5 + LONGEST, 1, HERE, 9.0)], seconds=14)


def _pan(damaged, seconds=4):
    """A smooth picture that moves; blocks of it are wrong from one frame to another."""
    rng = np.random.default_rng(3)
    values = rng.uniform(20, 230, (6, 12, 1)).repeat(3, 2)
    blocks = values.repeat(16, 0).repeat(16, 1)
    for n in range(seconds * RATE):
        y, x = np.mgrid[:288, :480].astype(np.float32)
        x += 1.5 * n
        picture = 120 + 50 * np.sin(x / 23) + 40 * np.cos(y / 17 + x / 40)
        picture = picture[..., None].repeat(3, 2) + rng.normal(0, 1, (288, 480, 1))
        if n in damaged:
            picture[96:192, 160:352] = blocks
        yield picture.clip(0, 255).astype(np.uint8)


def test_seen_in_a_flawless_stream(tmp_path):
    path = media.write(tmp_path / "a.mp4", list(_pan(range(30, 70))))
    result = examine(path, "block_corruption", **ASKED)
    assert not result.coverage.problems
    defect = only_one(result, "block_corruption")
    assert_interval(defect, 30 / RATE, 70 / RATE, within=0.05)
    assert defect.evidence["log_odds"] >= BOTH
    assert 0.05 < defect.evidence["share_of_picture"] < 0.5
    assert defect.region is not None
    # on trial: only where it is asked for
    assert not of_kind(examine(path, "block_corruption"), "block_corruption")


def test_nothing_in_an_intact_one(tmp_path):
    path = media.write(tmp_path / "a.mp4", list(_pan(())))
    assert not of_kind(examine(path, "block_corruption", **ASKED), "block_corruption")


def test_subtitles_are_no_damage(tmp_path):
    path = media.write(tmp_path / "clean.mkv", list(_pan(())))
    clean = Clean(path)
    pictures = LOOKALIKES["subtitles"](clean, 5).pictures(clean.pictures())
    target = tmp_path / "a.mp4"
    encode(target, pictures, None, rate=clean.rate, encoding=Encoding("libx264", (("crf", "23"),)))
    assert not of_kind(examine(target, "block_corruption", **ASKED), "block_corruption")
