"""Small pictures: of frames as they pass by, with square samples, as JPEG."""

from __future__ import annotations

import io
from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image

from pipeline.decode import DecodedFrame
from pipeline.live import glimpse
from pipeline.live.glimpse import Glimpses
from pipeline.measurements import FrameFlag


def frame(width: int, height: int, level: int) -> DecodedFrame:
    rgb = np.full((height, width, 3), level, np.uint8)
    made = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p")
    return DecodedFrame(0, 0.0, 0.04, 25.0, FrameFlag(0), made)


@pytest.mark.parametrize(
    ("width", "height", "aspect", "size"),
    [
        (1920, 1080, 1.0, (256, 144)),
        (720, 576, 16 / 15, (256, 192)),  # 4:3 by the shape of its samples
        (1440, 1080, 4 / 3, (256, 144)),
        (1080, 1920, 1.0, (256, 455)),
        (200, 2000, 1.0, (46, 456)),
    ],
)
def test_the_shape_is_what_a_viewer_sees(width, height, aspect, size):
    shown = []
    glimpses = Glimpses("s", shown.append)
    item = frame(width, height, 200)
    assert list(glimpses.passing([item], aspect)) == [item]
    picture = Image.open(io.BytesIO(shown[0].jpeg))
    assert picture.size == size
    assert np.asarray(picture).mean() == pytest.approx(200, abs=4)
    assert (shown[0].stream, shown[0].event) == ("s", "")


def test_one_in_a_while_and_those_of_events(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(glimpse.time, "time", lambda: now[0])
    shown = []
    glimpses = Glimpses("s", shown.append)
    glimpses.take("e0")  # nothing has been seen
    assert shown == []

    def stream():
        for n in range(500):  # twenty seconds, dark from 16 to 18
            now[0] = 1000.0 + n * 0.04
            dark = 16.0 <= n * 0.04 < 18.0
            yield replace(frame(64, 36, 20 if dark else 220), time=n * 0.04)

    for _ in glimpses.passing(stream()):
        pass
    assert [one.time for one in shown] == pytest.approx([1000, 1010], abs=0.6)
    for event, moment, level in (("e1", 17.0, 20), ("e2", 19.0, 220), ("e3", 99.0, 220)):
        glimpses.take(event, moment)
        assert shown[-1].event == event
        assert np.asarray(Image.open(io.BytesIO(shown[-1].jpeg))).mean() == pytest.approx(
            level, abs=5
        )


def test_time_that_jumps_back_is_no_end():
    shown = []
    glimpses = Glimpses("s", shown.append)
    times = [100.0, 100.5, 0.0, 0.5]
    for _ in glimpses.passing(replace(frame(64, 36, 50 + n), time=t) for n, t in enumerate(times)):
        pass
    glimpses.take("e", 0.5)
    assert np.asarray(Image.open(io.BytesIO(shown[-1].jpeg))).mean() == pytest.approx(53, abs=2)
