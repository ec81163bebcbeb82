"""Frames put together from two times, against edges that belong to the picture."""

from __future__ import annotations

import numpy as np
import pytest

from faults.damage import damage, place
from faults.lookalikes import LOOKALIKES
from faults.media import Clean, Encoding, encode
from faults.truth import Severity
from pipeline.detectors.tearing import _joined
from pipeline.measurements import Observation
from pipeline.types import Kind
from tests import media
from tests.findings import assert_interval, examine, of_kind, only_one

FRAMES = media.scene(3, cuts=0, speed=8, seed=4)
AT = 36


def _examined(tmp_path, frames):
    return examine(media.write(tmp_path / "a.mp4", frames), "tearing")


def _torn(frames, at, row, by):
    frames = list(frames)
    frames[at] = np.concatenate((frames[at][:row], frames[at + by][row:]))
    return frames


UNTOLD = pytest.mark.xfail(
    reason="both sides move and texture hides the row, as speakers' hair does", strict=True
)


@pytest.mark.parametrize(
    ("row", "by"),
    [
        pytest.param(row, by, marks=UNTOLD if (row, by) == (71, 2) else ())
        for row in (71, 150, 203)
        for by in (1, 2, 4, -1, -3)
    ],
)
def test_torn_frame(tmp_path, row, by):
    defect = only_one(_examined(tmp_path, _torn(FRAMES, AT, row, by)), "tearing")
    assert_interval(defect, AT / 25, (AT + 1) / 25, within=0.001)
    assert abs(defect.evidence["row"] - row) <= 1


@pytest.mark.parametrize("row", [71, 150, 203])
@pytest.mark.parametrize("by", [3, -2, -3])
def test_a_tear_whose_row_does_not_stand_out(tmp_path, row, by):
    """The frame that the torn part is of shows the same there, and moves on as usual."""
    slow = media.scene(3, cuts=0, speed=1, seed=4)
    defect = only_one(_examined(tmp_path, _torn(slow, AT, row, by)), "tearing")
    assert_interval(defect, AT / 25, (AT + 1) / 25, within=0.001)
    assert abs(defect.evidence["row"] - row) <= 1


@pytest.mark.parametrize(("speed", "row"), [(2, 71), (4, 150), (4, 203)])
def test_a_tear_by_one_frame_whose_row_does_not_stand_out(tmp_path, speed, row):
    """The torn part stands still once, where it moves in all the frames around."""
    slow = media.scene(3, cuts=0, speed=speed, seed=4)
    defect = only_one(_examined(tmp_path, _torn(slow, AT, row, 1)), "tearing")
    assert_interval(defect, AT / 25, (AT + 1) / 25, within=0.001)
    assert abs(defect.evidence["row"] - row) <= 1


def test_torn_frames_one_after_the_other_of_which_no_row_stands_out(tmp_path):
    slow = media.scene(3, cuts=0, speed=1, seed=4)
    torn = slow
    for n in range(4):
        torn = _torn(torn, AT + n, 203 - 12 * n, 2)
    defect = only_one(_examined(tmp_path, torn), "tearing")
    assert_interval(defect, AT / 25, (AT + 4) / 25, within=0.1)


def test_a_tear_through_a_cut(tmp_path):
    """The next shot begins a frame early in the lower part, in a scene that hardly moves."""
    calm = media.scene(2, cuts=0, speed=0.2, seed=4)
    shots = calm[:30] + media.scene(2, cuts=0, speed=0.2, seed=9)[:20]
    defect = only_one(_examined(tmp_path, _torn(shots, 29, 150, 1)), "tearing")
    assert_interval(defect, 29 / 25, 30 / 25, within=0.001)
    assert abs(defect.evidence["row"] - 150) <= 1
    assert _examined(tmp_path, shots).defects == []


def test_wider_tear_is_worse(tmp_path):
    severities = [
        only_one(_examined(tmp_path, _torn(FRAMES, AT, 150, by)), "tearing").severity
        for by in (1, 3)
    ]
    assert severities[0] < severities[1]


def test_many_tears(tmp_path):
    """A capture without vertical synchronisation: one defect, but not with a second between."""
    frames = FRAMES
    for at in (10, 18, 24, 55, 61):
        frames = _torn(frames, at, 60 + at * 2, 1)
    found = of_kind(_examined(tmp_path, frames), "tearing")
    assert [(round(one.start * 25), round(one.end * 25)) for one in found] == [(10, 25), (55, 62)]
    assert [one.evidence["frames"] for one in found] == [3, 2]


def test_certain_tears_far_apart_are_two_defects():
    """What may be torn between them does not join them."""
    seen = [
        Observation(
            Kind.TEARING, start=t, end=t + 0.04, severity=0.5, confidence=0.8, summary="torn",
            evidence={"row": 9.0}, peak=t,
        )
        for t in (1.0, 1.3, 3.0)
    ]  # fmt: skip
    told = _joined(seen)
    assert [(one.start, one.end) for one in told] == [(1.0, 1.34), (3.0, 3.04)]


def _lower_third(frames):
    out = []
    for n, frame in enumerate(frames):
        picture = frame.copy()
        if n >= 30:
            picture[200:250, 40:440] = (20, 30, 90)
        out.append(picture)
    return out


def _ticker(frames):
    rng = np.random.default_rng(3)
    strip = rng.choice([20, 230], (30, 900, 1)).repeat(3, axis=2).astype(np.uint8)
    return [
        np.concatenate((frame[:230], strip[:, 3 * n : 3 * n + 480], frame[260:]))
        for n, frame in enumerate(frames)
    ]


OTHER = media.scene(3, cuts=0, speed=8, seed=8)


def _wipe():
    return [
        np.concatenate((OTHER[n][: (n - 20) * 7], frame[(n - 20) * 7 :]))
        if 20 < n < 58
        else (frame if n <= 20 else OTHER[n])
        for n, frame in enumerate(FRAMES)
    ]


def _band_of_flash():
    frames = list(FRAMES)
    picture = frames[AT].astype(float)
    picture[130:] = picture[130:] * 1.5 + 30
    frames[AT] = np.clip(picture, 0, 255).astype(np.uint8)
    return frames


def _split_screen():
    """Two halves, of which the lower is cut to another scene."""
    return [
        np.concatenate((FRAMES[n][:135], (OTHER if n > 30 else FRAMES[::-1])[n][:135]))
        for n in range(len(FRAMES))
    ]


def _loop(count):
    """A strip of pictures that come again and again, under a pan."""
    return [
        np.concatenate((frame[:135], OTHER[6 * (n % count)][135:]))
        for n, frame in enumerate(media.scene(3, cuts=0, speed=2, seed=4))
    ]


def _held(count):
    """Drawings below that are held for some frames, under a pan."""
    return [
        np.concatenate((frame[:135], OTHER[n - n % count][135:]))
        for n, frame in enumerate(media.scene(3, cuts=0, speed=2, seed=4))
    ]


def _pulled_down():
    """The lower half comes from film: frames are shown twice and three times in turn."""
    shown = [n // 5 * 5 + (0 if n % 5 < 3 else 3) for n in range(75)]
    return [
        np.concatenate((frame[:135], OTHER[shown[n]][135:]))
        for n, frame in enumerate(media.scene(3, cuts=0, speed=2, seed=4))
    ]


NEGATIVES = {
    "a loop of two pictures": lambda: _loop(2),
    "a loop of three pictures": lambda: _loop(3),
    "drawings on twos": lambda: _held(2),
    "drawings on threes": lambda: _held(3),
    "film below video": _pulled_down,
    "clean pan": lambda: FRAMES,
    "cuts": lambda: media.scene(3, cuts=6, speed=8),
    "letterbox": lambda: [np.concatenate((f[:30] * 0, f[30:240], f[240:] * 0)) for f in FRAMES],
    "lower third appears": lambda: _lower_third(FRAMES),
    "ticker": lambda: _ticker(FRAMES),
    "wipe": _wipe,
    "flash in a rolling shutter": _band_of_flash,
    "split screen": _split_screen,
    "scan lines": lambda: [
        (f * (0.7 + 0.3 * (np.arange(270) % 4 > 1))[:, None, None]).astype(np.uint8) for f in FRAMES
    ],
    "still": lambda: [FRAMES[0]] * 50,
}


@pytest.mark.parametrize("name", NEGATIVES)
def test_edges_of_the_picture(tmp_path, name):
    assert _examined(tmp_path, NEGATIVES[name]()).defects == []


def test_real_clip():
    assert examine(media.bunny(), "tearing").defects == []


def test_tiny_pictures_and_short_streams(tmp_path):
    for size, count in (((16, 16), 30), ((2, 2), 3), ((64, 48), 1)):
        frames = [np.full((*size, 3), 40 + n, np.uint8) for n in range(count)]
        assert _examined(tmp_path, frames).defects == []


def test_foreign_blocks_in_one_frame_are_no_tear(tmp_path):
    clean = Clean(media.write(tmp_path / "clean.mp4", media.scene(5.0, 480, 270, cuts=0)))
    order = place("glitch", Severity.SUBTLE, clean, 3)
    damage(clean, tmp_path / "a.mp4", [order])
    assert not of_kind(examine(tmp_path / "a.mp4", "tearing"), "tearing")


def test_edges_of_confetti_line_up_by_chance(tmp_path):
    path = tmp_path / "clean.mkv"
    media.write(path, media.scene(4, 480, 270, cuts=0, speed=2, seed=4, sky=0.9))
    clean = Clean(path)
    lookalike = LOOKALIKES["confetti"](clean, 5)
    coded = Encoding("libx264", (("crf", "23"), ("preset", "veryfast")), "aac")
    pictures = lookalike.pictures(clean.pictures())
    encode(tmp_path / "a.mp4", pictures, None, rate=clean.rate, encoding=coded)
    assert not of_kind(examine(tmp_path / "a.mp4", "tearing"), "tearing")
