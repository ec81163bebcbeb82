"""Fields of two times woven into progressive frames, against stripes and interlaced streams."""

from __future__ import annotations

import itertools

import av
import numpy as np
import pytest

from faults.damage import damage, place
from faults.media import Clean
from faults.truth import Severity
from pipeline.detectors.combing import CombingDetector, CombingSettings
from pipeline.measurements import FRAME_ROW, PictureFormat, PictureStatistics, Segment
from tests import media
from tests.findings import assert_interval, examine, of_kind, only_one

FRAMES = media.scene(4, cuts=0, speed=4, seed=4)


def _woven(frames):
    """Every other line from the next frame."""
    out = []
    for frame, later in itertools.pairwise(frames):
        picture = frame.copy()
        picture[1::2] = later[1::2]
        out.append(picture)
    return out


WOVEN = _woven(FRAMES)


def _examined(tmp_path, frames, **options):
    return examine(media.write(tmp_path / "a.mp4", frames, **options), "combing")


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_woven_fields(tmp_path, codec):
    options = {"libx265": {"x265-params": "log-level=none"}, "mpeg2video": {"qmax": "6"}}
    defect = only_one(
        _examined(
            tmp_path,
            FRAMES[:25] + WOVEN[25:75] + FRAMES[75:],
            video_codec=codec,
            video_options=options.get(codec),
        ),
        "combing",
    )
    assert_interval(defect, 1, 3)
    assert defect.evidence["share_of_frames"] > 0.9
    assert defect.confidence > 0.8


def test_pulldown_left_in(tmp_path):
    """Two frames in five are woven."""
    frames = [WOVEN[n] if n % 5 in (2, 3) else FRAMES[n] for n in range(95)]
    defect = only_one(_examined(tmp_path, frames), "combing")
    assert_interval(defect, 2 / 25, 94 / 25)
    assert defect.evidence["share_of_frames"] == pytest.approx(0.4, abs=0.05)


def test_still_pauses_are_part_of_it(tmp_path):
    """Between still frames, of which nothing can be said, a few combed ones are one defect."""
    frames = []
    for start in range(0, 90, 15):  # five woven frames, then ten that stand still
        frames += WOVEN[start : start + 5] + [FRAMES[start + 5]] * 10
    defect = only_one(_examined(tmp_path, frames), "combing")
    assert_interval(defect, 0, 80 / 25)
    assert defect.evidence["frames"] >= 20


@pytest.mark.parametrize("later", [0, 1])
def test_slow_and_soft_motion_of_either_field(tmp_path, later):
    """What moves so little and so softly that lines hardly differ from their neighbours."""
    y, x = np.mgrid[:180, :320]
    frames = []
    for n in range(51):
        wave = 128 + 60 * np.sin((x - 1.2 * n) / 9) * np.cos((y + 0.2 * n) / 31)
        frames.append(np.repeat(wave[..., None], 3, 2).astype(np.uint8))
    woven = []
    for frame, following in itertools.pairwise(frames):
        picture = frame.copy()
        picture[later::2] = following[later::2]
        woven.append(picture)
    assert not _examined(tmp_path, frames).defects
    defect = only_one(_examined(tmp_path, woven), "combing")
    assert_interval(defect, 0, 2)
    assert ("odd" if later else "even") in defect.summary


def _falling(step):
    """Squares that fall, drawn on even lines alone, as what is drawn on half as many lines is."""
    rng = np.random.default_rng(6)
    squares = [
        (int(x), int(y), int(s)) for x, y, s in rng.integers((0, 0, 3), (300, 90, 7), (60, 3))
    ]
    out = []
    for n in range(50):
        picture = np.full((180, 320, 3), 60, np.uint8)
        for x, y, size in squares:
            top = 2 * ((y + step * n) % 90)
            picture[top : top + 2 * size, x : x + 2 * size] = 210
        out.append(picture)
    return out


def test_less_motion_is_less_severe(tmp_path):
    severities = []
    for speed in (0.0, 4.0):
        frames = media.scene(2.4, cuts=0, speed=speed, seed=4)
        severities.append(only_one(_examined(tmp_path, _woven(frames)), "combing").severity)
    assert severities[0] < severities[1]


def test_region(tmp_path):
    """An insert on a still picture: only the insert is woven."""
    frames = []
    for woven in WOVEN[:60]:
        picture = FRAMES[0].copy()
        picture[64:192, 240:432] = woven[64:192, 240:432]
        frames.append(picture)
    region = only_one(_examined(tmp_path, frames), "combing").region
    assert region is not None
    assert region.left == pytest.approx(240 / 480, abs=0.05)
    assert region.top == pytest.approx(64 / 270, abs=0.05)


def test_interlaced_stream_may_comb(tmp_path):
    """Interlaced coding declares two times in a frame."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "x264-params": "tff=1"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width = 256, 480
        for n, picture in enumerate(WOVEN):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:256]), "rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts = n
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert examine(path, "combing").defects == []


def _blinds(moving):
    """Lines of one row, light and dark in turn, behind an object that moves; or moving."""
    out = []
    for n, frame in enumerate(FRAMES):
        picture = frame.copy()
        left = 40 + 3 * n if moving else 40
        picture[40:230:2, left : left + 120] = 200
        picture[41:230:2, left : left + 120] = 60
        out.append(picture)
    return out


def _letters():
    """Thin lines and letters that roll upwards."""
    sheet = np.full((900, 480, 3), 20, np.uint8)
    rng = np.random.default_rng(2)
    for y in range(20, 880, 14):
        for x in range(60, 420, 9):
            height = int(rng.integers(1, 9))
            sheet[y : y + height, x : x + int(rng.integers(1, 7))] = 225
    return [sheet[2 * n : 2 * n + 270] for n in range(100)]


NEGATIVES = {
    "clean": lambda: media.scene(4, cuts=3, speed=6),
    "grain": lambda: media.scene(3, cuts=0, grain=12),
    "static blinds": lambda: _blinds(moving=False),
    "striped cloth that moves": lambda: _blinds(moving=True),
    "rolling credits": _letters,
    "still woven frame": lambda: [WOVEN[10]] * 60,
    "what falls on even lines": lambda: _falling(2),
    "cuts": lambda: media.scene(3, cuts=20),
}


@pytest.mark.parametrize("name", NEGATIVES)
def test_progressive_pictures(tmp_path, name):
    assert _examined(tmp_path, NEGATIVES[name]()).defects == []


def test_real_clip():
    assert examine(media.bunny(), "combing").defects == []


def test_tiny_pictures_and_short_streams(tmp_path):
    for size, count in (((16, 16), 30), ((2, 2), 3), ((64, 48), 1)):
        frames = [np.full((*size, 3), 40 + n, np.uint8) for n in range(count)]
        assert _examined(tmp_path, frames).defects == []


def test_strong_noise_is_no_combing(tmp_path):
    clean = Clean(media.write(tmp_path / "clean.mp4", media.scene(5.0, 320, 180, cuts=0)))
    order = place("noise", Severity.VERY_NOTICEABLE, clean, 1)
    damage(clean, tmp_path / "a.mp4", [order])
    assert not of_kind(examine(tmp_path / "a.mp4", "combing"), "combing")


def test_an_order_of_few_tiles_is_chance():
    """A photograph that hardly moves: here and there ten tiles, of which some have an order."""
    size = PictureFormat(0, 640, 360, 25, False, 8, interlaced=False, chroma=True)
    shape = (25, *size.tiles)
    for moving, found in ((10, 0), (200, 1)):
        detector = CombingDetector(CombingSettings(), size)
        seen = []
        for second in range(10):
            frames = np.zeros(25, FRAME_ROW)
            frames["time"], frames["duration"] = second + np.arange(25) / 25, 1 / 25
            motion, order, comb = (np.zeros(shape, np.float32) for _ in range(3))
            motion[3].ravel()[:moving] = 3.0  # one frame a second tells anything
            order[3], comb[3] = 0.12 * 2 * motion[3], 0.07 * motion[3]
            still = np.zeros(shape, np.float32)
            rows = np.zeros((25, 360), np.float32)
            picture = PictureStatistics(
                size, frames, still, motion, still, comb, order, still, still, rows, []
            )
            seen += detector.update(picture, Segment(second, second + 1, picture, [], []))
        seen += detector.finish()
        assert len(seen) == found
