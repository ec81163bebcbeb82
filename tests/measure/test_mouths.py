"""Mouths are followed from frame to frame: on the man in the car, a clip of a real face."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest

from models.batcher import Batcher
from models.mouths import SIDE
from pipeline.measure.mouths import FIRST, LONGEST, MouthMeter, watched
from pipeline.measurements import PictureFormat
from tests import media

WIDTH, HEIGHT = 352, 288
FORMAT = PictureFormat(0, WIDTH, HEIGHT, 25.0, False, 8, False, True)


@pytest.fixture(scope="module")
def man() -> list[tuple[np.ndarray, ...]]:
    """Luma, Cb, Cr of each frame."""
    frames = []
    with av.open(str(media.speaker())) as container:
        for frame in container.decode(video=0):
            flat = frame.reformat(WIDTH, HEIGHT, "yuv420p").to_ndarray()
            luma, chroma = flat[:HEIGHT], flat[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
            frames.append((luma, chroma[0], chroma[1]))
    assert len(frames) > 90
    return frames


def followed(frames, times=None, share=1.0, picture_format=FORMAT):
    meter = MouthMeter(picture_format, share)
    times = np.arange(len(frames)) / 25 if times is None else times
    for time, planes in zip(times, frames, strict=True):
        meter.add(float(time), lambda planes=planes: planes)
    meter.finish()
    return meter.take()


def test_a_face_is_followed_and_its_mouth_cut_out_at_25_a_second(man):
    (mouth,) = followed(man)
    assert mouth.time == 0
    # up to the last time that the face was looked for
    assert len(man) - 5 <= len(mouth.pictures) <= len(man)
    assert mouth.pictures.shape[1:] == (SIDE, SIDE)
    assert 80 < mouth.face < 250
    left, top, right, bottom = mouth.place
    assert 0.1 < left < right < 0.9
    assert 0.3 < top < bottom < 1.0
    twice = [frame for frame in man for _ in range(2)]
    (at_50,) = followed(twice, np.arange(len(twice)) / 50)
    assert abs(len(at_50.pictures) - len(mouth.pictures)) <= 4
    away = np.abs(at_50.pictures[40].astype(int) - mouth.pictures[40]).mean()
    assert away < 6  # its place is averaged over other frames


def test_streams_of_one_process_share_the_finder(man, monkeypatch):
    """Several at once find what one alone finds, in fewer runs of the net."""
    (alone,) = followed(man)
    sizes = []
    run = Batcher._run_on

    def counted(self, batch):
        sizes.append(len(batch))
        run(self, batch)

    monkeypatch.setattr(Batcher, "_run_on", counted)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: followed(man), range(4)))
    assert max(sizes) > 1
    assert len(sizes) < 0.7 * sum(sizes)
    for (mouth,) in together:
        assert mouth.time == alone.time
        assert len(mouth.pictures) == len(alone.pictures)
        away = np.abs(mouth.pictures.astype(int) - alone.pictures).mean()
        assert away < 1.0  # kernels for batches may round otherwise


def test_a_mouth_moves_with_its_face(man):
    """A camera that pans: what is cut out stays the same."""
    wide, still = 640, []
    panned = []
    for n, planes in enumerate(man[:75]):
        for shift, into in ((100, still), (20 + 4 * n // 2 * 2, panned)):
            canvas = [np.full((HEIGHT, wide), 40, np.uint8)]
            canvas += [np.full((HEIGHT // 2, wide // 2), 128, np.uint8) for _ in range(2)]
            for of, plane in zip(canvas, planes, strict=True):
                at = shift * of.shape[1] // wide
                of[:, at : at + plane.shape[1]] = plane[:, : of.shape[1] - at]
            into.append(tuple(canvas))
    format_ = PictureFormat(0, wide, HEIGHT, 25.0, False, 8, False, True)
    (one,) = followed(still, picture_format=format_)
    (other,) = followed(panned, picture_format=format_)
    count = min(len(one.pictures), len(other.pictures))
    assert count > 70
    away = np.abs(one.pictures[5:count].astype(int) - other.pictures[5:count]).mean()
    assert away < 8
    assert one.pictures.std() > 2 * away


def test_a_cut_ends_a_mouth_and_begins_the_next(man):
    mirrored = [tuple(plane[:, ::-1] for plane in frame) for frame in man[:25]]
    mouths = followed([*man[:40], *mirrored, *man[:40]])
    assert [mouth.time for mouth in mouths] == pytest.approx([0.0, 1.6, 2.6], abs=0.05)
    # up to the last time that the face was looked for before the cut
    assert [len(mouth.pictures) for mouth in mouths] == pytest.approx([38, 23, 38], abs=2)
    assert all(np.abs(m.pictures[-1].astype(int) - m.pictures[-2]).mean() < 15 for m in mouths)


def test_a_jump_of_the_clock_ends_a_mouth(man):
    times = np.arange(len(man)) / 25
    times[50:] += 7
    mouths = followed(man, times)
    assert [mouth.time for mouth in mouths] == pytest.approx([0.0, 9.0], abs=0.05)


def test_long_shots_are_handed_on_in_parts(man):
    there_and_back = ([*man[:60], *man[60:0:-1]] * 4)[:380]
    mouths = followed(there_and_back)
    assert len(mouths) == 2
    assert len(mouths[0].pictures) / 25 == pytest.approx(LONGEST, abs=0.25)
    assert mouths[1].time == pytest.approx(LONGEST, abs=0.25)


def test_nobody_gives_nothing():
    rng = np.random.default_rng(3)
    grey = [np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)] * 2
    noise = [(rng.integers(16, 235, (HEIGHT, WIDTH), dtype=np.uint8), *grey) for _ in range(30)]
    assert followed(noise) == []


def test_the_budget_watches_the_start_and_then_a_share():
    assert all(watched(time, 0.2) for time in (0.0, 10.0, FIRST - 0.1))
    later = np.array([watched(FIRST + time, 0.2) for time in np.arange(0.0, 500.0, 0.5)])
    assert later.mean() == pytest.approx(0.2, abs=0.01)
    assert np.flatnonzero(np.diff(later.astype(int))).size == 19  # in ten bursts
    assert all(watched(time, 1.0) for time in (FIRST + 5.0, 1000.0))
    small = MouthMeter(FORMAT).share
    large = MouthMeter(PictureFormat(0, 1920, 1080, 25.0, False, 8, False, True)).share
    assert 0 < small < large < 1
