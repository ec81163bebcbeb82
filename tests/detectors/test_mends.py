"""Damage of which no decoder tells: seen by what key frames mend."""

from __future__ import annotations

import numpy as np
import pytest

from tests import media
from tests.findings import assert_interval, examine, of_kind, only_one

NAME = "block_corruption"
GOP = 25
REGULAR = {
    "libx264": {"g": str(GOP), "sc_threshold": "0", "crf": "22", "preset": "veryfast"},
    "libx265": {
        "crf": "24",
        "preset": "ultrafast",
        "x265-params": f"keyint={GOP}:min-keyint={GOP}:scenecut=0:log-level=none:open-gop=0",
    },
}


@pytest.fixture(scope="module")
def frames():
    """Six seconds in slow motion."""
    return media.scene(6, 320, 192, cuts=0, speed=0.5, seed=4)


def _blocks(frames, first, stop, turn=0):
    """Blocks of another place, moving with the picture, as a decoder goes on with them."""
    rng = np.random.default_rng(1)
    count = 40
    places = rng.integers(0, (12, 20), (count, 2)) * 16
    other = np.roll(rng.integers(0, (12, 20), (count, 2)) * 16, turn, axis=0)
    made = list(frames)
    for n in range(first, stop):
        frame = frames[n].copy()
        for (y, x), (from_y, from_x) in zip(places, other, strict=True):
            frame[y : y + 16, x : x + 16] = (
                255 - frames[n][from_y : from_y + 16, from_x : from_x + 16]
            )
        made[n] = frame
    return made


def _examined(tmp_path, frames, codec="libx264"):
    path = tmp_path / "a.mp4"
    media.write(path, frames, video_codec=codec, video_options=REGULAR[codec])
    return examine(path, NAME)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_from_where_the_picture_was_as_the_key_frame_shows_it(tmp_path, frames, codec):
    defect = only_one(_examined(tmp_path, _blocks(frames, 58, 75), codec), NAME)
    assert_interval(defect, 58 / 25, 75 / 25, within=0.05)
    assert 0.05 < defect.evidence["share_of_picture"] < 0.2
    assert defect.confidence == pytest.approx(0.7)
    assert defect.region is not None
    assert "decoding_errors" not in defect.evidence


def test_a_key_frame_that_is_damaged_itself(tmp_path, frames):
    defect = only_one(_examined(tmp_path, _blocks(frames, 50, 75)), NAME)
    assert_interval(defect, 50 / 25, 75 / 25, within=0.05)


def test_key_frames_that_are_damaged_one_after_the_other(tmp_path, frames):
    defect = only_one(_examined(tmp_path, _blocks(_blocks(frames, 50, 75), 75, 100, 1)), NAME)
    assert_interval(defect, 50 / 25, 100 / 25, within=0.05)


def test_blocks_that_go_between_key_frames_are_no_damage_of_this_stream(tmp_path, frames):
    assert not of_kind(_examined(tmp_path, _blocks(frames, 58, 70)), NAME)


def test_what_appears_with_a_key_frame_and_stays(tmp_path, frames):
    assert not of_kind(_examined(tmp_path, _blocks(frames, 75, len(frames))), NAME)


def test_a_place_that_changes_by_itself(tmp_path, frames):
    """Subtitles come and go at any frame, also with a key frame."""
    shown = _blocks(_blocks(_blocks(frames, 8, 20), 30, 44), 58, 75)
    assert not of_kind(_examined(tmp_path, shown), NAME)


def test_key_frames_that_come_early_are_set_where_the_picture_changes(tmp_path, frames):
    made = _blocks(frames, 54, 60)
    path = tmp_path / "a.mp4"
    options = {"g": "50", "sc_threshold": "0", "crf": "22", "preset": "veryfast"}
    media.write(path, made, video_options=options | {"forced-idr": "1"}, keys=(60,))
    assert not of_kind(examine(path, NAME), NAME)


def test_a_figure_that_is_drawn_on_threes(tmp_path, frames):
    """Any third frame changes the place at once, also a key frame."""
    made = [frames[0].copy() for _ in frames]
    for n, frame in enumerate(made):
        drawn = frames[n // 3 * 3][40:140, 60 + 40 * (n // 3 % 2) :][:, :80]
        frame[40:140, 100:180] = 255 - drawn if n // 3 % 4 == 0 else drawn
    path = tmp_path / "a.mp4"
    media.write(path, made, video_options=REGULAR["libx264"] | {"g": "24"})
    assert not of_kind(examine(path, NAME), NAME)
