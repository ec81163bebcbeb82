"""Repeated and missing frames, against rhythms that are meant."""

from __future__ import annotations

import numpy as np
import pytest

from faults.lookalikes import LOOKALIKES
from faults.media import Clean, encode
from pipeline.detectors import leaps
from pipeline.detectors.cadence import CadenceSettings
from pipeline.detectors.leaps import LIKELY
from pipeline.detectors.motion import Motion
from pipeline.detectors.repeats import Repeats, motion_beside
from tests import media
from tests.findings import assert_interval, examine, of_kind, only_one

FRAMES = media.scene(6, cuts=0, speed=3, seed=4)


def _examined(tmp_path, frames, **options):
    return examine(media.write(tmp_path / "a.mp4", frames, **options), "cadence")


@pytest.mark.slow
def test_one_repeat_a_second(tmp_path):
    frames = []
    for n, frame in enumerate(FRAMES[:144]):  # 24 pictures in 25 frames
        frames += [frame] * (2 if n % 24 == 12 else 1)
    defect = only_one(_examined(tmp_path, frames), "repeated_frames")
    assert_interval(defect, 13 / 25, (13 + 5 * 25 + 1) / 25)
    assert defect.evidence["holds_per_s"] == pytest.approx(1, abs=0.05)


def test_24_in_30_is_worse_than_24_in_25(tmp_path):
    severities = []
    for every in (24, 4):
        frames = []
        for n, frame in enumerate(FRAMES[:120]):
            frames += [frame] * (2 if n % every == 2 else 1)
        severities.append(only_one(_examined(tmp_path, frames), "repeated_frames").severity)
    assert severities[0] < severities[1]


def test_single_hold_within_motion(tmp_path):
    frames = FRAMES[:60] + [FRAMES[60]] * 5 + FRAMES[65:120]
    defect = only_one(_examined(tmp_path, frames), "repeated_frames")
    assert_interval(defect, 61 / 25, 65 / 25, within=0.041)


def test_repeats_in_unsteady_motion(tmp_path):
    """A speaker: a part of the picture moves, never two frames alike; the rest stands still."""
    rng = np.random.default_rng(2)
    at = np.cumsum(rng.choice([6, 8, 10], 150)) % 300
    wide = media.scene(1, 640, 270, cuts=0, seed=6)[0]
    frames = []
    for n in range(150):
        frame = FRAMES[0].copy()
        frame[60:200, 150:330] = wide[60:200, at[n] : at[n] + 180]
        frames.append(frame)
    assert not of_kind(_examined(tmp_path, frames), "repeated_frames")
    frames = [frames[n - (40 <= n < 120 and n % 5 == 0)] for n in range(150)]
    defect = only_one(_examined(tmp_path, frames), "repeated_frames")
    assert_interval(defect, 40 / 25, 116 / 25, within=0.3)


def test_two_takes_are_no_jump(tmp_path):
    """Cut from one take to another: the speaker sits elsewhere, and so does not what moved."""
    frames = []
    for n in range(100):
        frame = FRAMES[0].copy()
        x = 150 + round(6 * np.sin(n / 3)) + (60 if n >= 50 else 0)
        frame[90:200, x : x + 90] = FRAMES[-1][90:200, 200:290]
        frames.append(frame)
    assert not of_kind(_examined(tmp_path, frames), "dropped_frames")


def test_repeats_under_grain(tmp_path):
    frames = media.scene(4, cuts=0, speed=3, seed=5, grain=0)
    frames = [frames[n - (n % 12 == 6)] for n in range(100)]
    rng = np.random.default_rng(1)
    grain = [rng.normal(0, 4, (*frames[0].shape[:2], 1)) for _ in range(7)]
    frames = [np.clip(f + grain[n % 7], 0, 255).astype(np.uint8) for n, f in enumerate(frames)]
    defect = only_one(_examined(tmp_path, frames), "repeated_frames")
    assert_interval(defect, 6 / 25, 91 / 25, within=0.5)


@pytest.mark.parametrize("rate", [25, 50])
def test_dropped_frames_ladder(tmp_path, rate):
    severities = []
    frames = media.scene(6 * 25 / rate, cuts=0, speed=3, seed=4, rate=rate)
    for missing in (4, 8, 16):
        kept = frames[:60] + frames[60 + missing : 130]
        defect = only_one(_examined(tmp_path, kept, rate=rate), "dropped_frames")
        assert_interval(defect, 60 / rate, 61 / rate)
        severities.append(defect.severity)
    assert severities == sorted(severities)
    assert severities[0] < severities[-1]


@pytest.mark.parametrize("missing", [1, 2])
def test_few_dropped_frames(tmp_path, missing):
    defect = only_one(
        _examined(tmp_path, FRAMES[:60] + FRAMES[60 + missing : 120]), "dropped_frames"
    )
    assert_interval(defect, 60 / 25, 61 / 25)


def test_real_clip_is_24_in_25():
    """Big Buck Bunny was made at 24 pictures a second; this copy repeats one every second."""
    found = examine(media.bunny(), "cadence").defects
    assert [defect.kind for defect in found] == ["repeated_frames"]
    assert found[0].start == pytest.approx(0.28, abs=0.02)
    assert found[0].evidence["holds_per_s"] == pytest.approx(1, abs=0.05)


def _rhythm(holds):
    frames, n = [], 0
    while len(frames) < 110:
        frames += [FRAMES[n]] * holds[n % len(holds)]
        n += 1
    return frames


NEGATIVES = {
    "clean": lambda: media.scene(5, cuts=3, speed=3),
    "on twos": lambda: _rhythm([2]),
    "on threes": lambda: _rhythm([3]),
    "twelve in 25": lambda: _rhythm([2] * 11 + [3]),
    "3:2 pulldown": lambda: _rhythm([3, 2]),
    "still card": lambda: [FRAMES[0]] * 60 + FRAMES[:50],
    "action starts and stops": lambda: (
        [FRAMES[0]] * 30 + FRAMES[:30] + [FRAMES[29]] * 25 + FRAMES[30:60]
    ),
    "slow pan": lambda: media.scene(4, cuts=0, speed=0.1),
    "fade": lambda: [
        (f * min(1, n / 30, (99 - n) / 30)).astype(np.uint8) for n, f in enumerate(FRAMES[:100])
    ],
    "camera flash": lambda: [
        np.clip(f * (2.0 if n == 50 else 1.4 if n == 51 else 1), 0, 255).astype(np.uint8)
        for n, f in enumerate(FRAMES[:100])
    ],
}


@pytest.mark.parametrize("name", NEGATIVES)
def test_rhythm_and_cuts_are_no_defect(tmp_path, name):
    assert _examined(tmp_path, NEGATIVES[name]()).defects == []


def test_variable_frame_rate(tmp_path):
    """A recording that leaves frames out and says so: the picture moves as far as time does."""
    kept = [n for n in range(110) if n % 7 not in (3, 4) or n < 20]
    path = media.write(tmp_path / "a.mkv", [FRAMES[n] for n in kept], times=[n / 25 for n in kept])
    assert of_kind(examine(path, "cadence"), "dropped_frames") == []


def test_tiny_pictures_and_short_streams(tmp_path):
    for size, count in (((16, 16), 40), ((2, 2), 3), ((64, 48), 1)):
        frames = [np.full((*size, 3), 40 + n, np.uint8) for n in range(count)]
        assert _examined(tmp_path, frames).defects == []


@pytest.mark.parametrize("name", ["fade_through_black", "fade_through_white"])
def test_the_middle_of_a_fade_is_no_repeat(tmp_path, name):
    clean = Clean(media.write(tmp_path / "clean.mp4", media.scene(6.0, 320, 180, cuts=0)))
    fade = LOOKALIKES[name](clean, 1)
    encode(tmp_path / "a.mp4", fade.pictures(clean.pictures()), None, rate=clean.rate)
    assert not of_kind(examine(tmp_path / "a.mp4", "cadence"), "repeated_frames")


@pytest.mark.parametrize(("step_after", "found"), [(1.0, 0), (2.0, 1)])
def test_in_unsteady_motion_a_repeat_is_caught_up(step_after, found):
    """What follows the repeats of animation and pulldown is a step like any."""
    motion = Motion()
    motion.time = np.arange(150) / 25
    motion.change = np.tile([2.0, 4.0, 5.5], 50)  # as a speaker moves: no step is like the last
    motion.luma.extend(np.random.default_rng(1).uniform(20, 200, (150, 8, 12)).astype(np.float32))
    beside = motion_beside(motion.change)
    for repeat in range(40, 100, 7):
        motion.change[repeat] = 0.1 * beside[repeat]
        motion.change[repeat + 1] = step_after * beside[repeat]
    repeats = Repeats(CadenceSettings())
    still, level = motion.still(), motion_beside(motion.change)
    for index in range(1, 150):
        repeats.look(motion, index, still, level)
    assert len(repeats.close()) == found


def test_missing_frames_of_a_slow_pan(tmp_path):
    """Slow motion that goes straight on, with four frames missing."""
    y, x = np.mgrid[:180, :320]
    frames = []
    for n in range(110):
        wave = 128 + 50 * np.sin((x - 0.6 * n) / 40) * np.cos(y / 50)
        frames.append(np.repeat(wave[..., None], 3, 2).astype(np.uint8))
    defect = only_one(_examined(tmp_path, frames[:50] + frames[54:]), "dropped_frames")
    assert_interval(defect, 50 / 25, 51 / 25)
    assert defect.evidence["frames_missing_estimate"] == pytest.approx(4, abs=0.5)


def test_what_appears_over_a_pan_is_no_jump(tmp_path):
    """A subtitle: one step is much longer, but what moves around it goes on as before."""
    frames = media.scene(3, cuts=0, speed=3, seed=5, grain=0)
    words = np.random.default_rng(4).random((6, 24)).repeat(5, 0).repeat(6, 1) > 0.4
    for frame in frames[40:]:
        frame[200:230, 100:244][words] = 235
    assert not of_kind(_examined(tmp_path, frames), "dropped_frames")


def test_repeats_in_a_slow_pan(tmp_path):
    """What is held is caught up, all at once: the encoder did not only save bits."""
    y, x = np.mgrid[:180, :320]
    frames = []
    for n in range(130):
        wave = 128 + 50 * np.sin((x - 0.55 * n) / 40) * np.cos(y / 50)
        frames.append(np.repeat(wave[..., None], 3, 2).astype(np.uint8))
    held = [frames[n - (30 <= n < 90 and n % 5 == 0)] for n in range(130)]
    assert not of_kind(_examined(tmp_path, frames), "repeated_frames")
    defect = only_one(_examined(tmp_path, held), "repeated_frames")
    assert_interval(defect, 30 / 25, 86 / 25, within=0.3)


def _speaker(steps):
    """A part of the picture moves, by so many pixels from frame to frame; the rest stands still."""
    wide = media.texture(270, 1600, 60)
    frames = []
    for x in np.cumsum(steps):
        frame = FRAMES[0].copy()
        frame[60:200, 150:330] = wide[60:200, x : x + 180]
        frames.append(frame)
    return frames


UNSTEADY = np.random.default_rng(1).choice([1, 3, 6], 150)


def test_a_natural_halt_beside_repeats_is_none(tmp_path):
    """What is repeated is the same; what halts is nearly so."""
    frames = _speaker(np.where(np.arange(150) == 20, 1, UNSTEADY + 3))
    frames = [frames[n - (40 <= n < 120 and n % 8 == 0)] for n in range(150)]
    defect = only_one(_examined(tmp_path, frames), "repeated_frames")
    assert_interval(defect, 40 / 25, 113 / 25, within=0.05)


def test_fast_animation_on_twos_is_no_row_of_cuts():
    """Each of its steps is far above the frame before it and the frame after it, which repeat."""
    change = np.zeros(120)
    change[::2] = np.random.default_rng(3).uniform(11, 40, 60)
    change[60] = 150.0
    level = motion_beside(change)
    assert (level[3:-3] > 10).all()
    assert level[58] < 50


class _Says:
    """A net that says the same of every candidate."""

    def __init__(self, odds):
        self.odds, self.asked = odds, 0

    def of(self, figure):
        assert np.isfinite(figure).all()
        self.asked += 1
        return self.odds


@pytest.mark.parametrize(
    ("odds", "missing", "found"), [(LIKELY, 4, 1), (LIKELY - 0.1, 4, 0), (LIKELY, 0, 0)]
)
def test_a_net_is_asked_where_a_part_of_the_picture_leaps(
    tmp_path, monkeypatch, odds, missing, found
):
    says = _Says(odds)
    monkeypatch.setattr(leaps, "net", lambda: says)
    frames = _speaker(UNSTEADY)
    defects = of_kind(_examined(tmp_path, frames[:70] + frames[70 + missing :]), "dropped_frames")
    assert says.asked == (missing > 0)
    assert len(defects) == found
    for defect in defects:
        assert_interval(defect, 70 / 25, 71 / 25)
        assert defect.evidence["log_odds"] == odds


def test_an_end_of_what_is_held_is_no_leap(tmp_path, monkeypatch):
    monkeypatch.setattr(leaps, "net", lambda: _Says(9.0))
    frames = _speaker(UNSTEADY)
    held = frames[:60] + [frames[60]] * 20 + frames[70:]
    assert not of_kind(_examined(tmp_path, held), "dropped_frames")


def test_the_shipped_net_finds_it_likelier_than_not(tmp_path, monkeypatch):
    """A drawn picture is not what it knows: less sure than the detector wants it."""
    monkeypatch.setattr(leaps, "LIKELY", 0.0)
    frames = _speaker(UNSTEADY)
    defect = only_one(_examined(tmp_path, frames[:70] + frames[74:]), "dropped_frames")
    assert_interval(defect, 70 / 25, 71 / 25)
