"""Pictures of a report: those on screen at the time, upright, of any size."""

from __future__ import annotations

import base64
import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.report import pictures
from pipeline.report.pictures import Deadline, EvidenceError, frames_at
from pipeline.types import Region
from tests import media, report_media

BOX = (640, 480)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The damaged clip and what is true about it."""
    path = report_media.damaged(tmp_path_factory.mktemp("report") / "damaged.mp4")
    return path, report_media.truth(path)


def numbered(path, count=100, rate=25, **options):
    """A clip whose frame n is grey n + 60, so that a frame tells its number."""
    frames = [np.full((48, 64, 3), 60 + n, np.uint8) for n in range(count)]
    options.setdefault(
        "video_options",
        {"preset": "ultrafast", "crf": "1", "g": "60", "bf": "2", "b_strategy": "0"},
    )
    return media.write(path, frames, rate=rate, **options)


def picture_of(uri):
    """The RGB picture in a data URI."""
    with av.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "mov", "avi"])
def test_pictures_are_those_on_screen_at_the_time(tmp_path, suffix):
    options = {"bf": "0"} if suffix == "avi" else {"bf": "2", "b_strategy": "0"}
    path = numbered(
        tmp_path / f"n.{suffix}",
        video_options={"preset": "ultrafast", "crf": "1", "g": "60"} | options,
    )
    with av.open(str(path)) as container:
        origin = (container.start_time or 0) / av.time_base
        times = [0.0, 0.9999, 1.02, 2.41, 3.96]
        for wanted in ([times[3]], times, [times[0]], [times[4]]):
            found = frames_at(container, 0, wanted, origin, BOX, Deadline.after(20))
            numbers = [round(float(picture.rgb.mean())) - 60 for picture in found]
            assert numbers == pytest.approx([int(t * 25 + 0.05) for t in wanted], abs=1)
            assert [p.time for p in found] == pytest.approx(
                [int(t * 25 + 0.05) / 25 for t in wanted]
            )


def test_pictures_of_a_raw_stream_that_cannot_be_sought(tmp_path):
    path = numbered(tmp_path / "n.h264", count=40, container_options={})
    with av.open(str(path)) as container:
        origin = (container.start_time or 0) / av.time_base
        try:
            found = frames_at(container, 0, [0.5], origin, BOX, Deadline.after(20))
        except EvidenceError:
            return
        assert found == [None] or found[0].rgb.shape == (48, 64, 3)


def test_pictures_after_damage_are_still_found(tmp_path):
    path = numbered(tmp_path / "n.ts", count=100)
    data = bytearray(path.read_bytes())
    for packet in range(40, 44):
        data[packet * 188 : (packet + 1) * 188] = b"\x47\x1f\xff\x10" + bytes(184)
    path.write_bytes(data)
    with av.open(str(path)) as container:
        origin = container.start_time / av.time_base
        (found,) = frames_at(container, 0, [3.5], origin, BOX, Deadline.after(20))
    assert round(float(found.rgb.mean())) - 60 == pytest.approx(87, abs=1)


def test_pictures_are_upright_and_have_square_pixels(tmp_path):
    picture = np.zeros((48, 96, 3), np.uint8)
    picture[:24, :48] = 255  # top left
    path = media.write(tmp_path / "r.mp4", [picture] * 10)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    assert data[matrix : matrix + 36] == identity
    # as telephones write it: turn clockwise to show
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(data)
    with av.open(str(path)) as container:
        (shown,) = frames_at(container, 0, [0.2], 0.0, BOX, Deadline.after(20))
    assert shown.rgb.shape == (96, 48, 3)
    assert shown.rgb[:40, 30:].mean() > 230  # clockwise: what was top left is top right
    assert shown.rgb[:40, :20].mean() < 25
    region = shown.region(Region(left=0, top=0, right=0.5, bottom=0.5))
    assert (region.left, region.top, region.right, region.bottom) == (0.5, 0, 1, 0.5)


def test_anamorphic_pictures_are_widened(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 72, 58, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)
        for n in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((58, 72, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        (shown,) = frames_at(container, 0, [0.1], 0.0, BOX, Deadline.after(20))
        (small,) = frames_at(container, 0, [0.1], 0.0, (51, 480), Deadline.after(20))
    assert shown.rgb.shape == (58, 102, 3)
    assert small.rgb.shape == (29, 51, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 2), (480, 640)])
def test_pictures_of_any_size_can_be_encoded(size):
    rgb = np.random.default_rng(1).integers(0, 255, (*size, 3)).astype(np.uint8)
    assert picture_of(pictures.png(rgb)).tolist() == rgb.tolist()
    assert picture_of(pictures.jpeg(rgb)).shape == rgb.shape
