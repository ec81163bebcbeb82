"""Smear after a missing reference frame, made by real decoders from real packets."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from tests import media
from tests.findings import assert_interval, examine, only_one

FRAMES = media.scene(3.2, width=320, height=192, cuts=0, speed=3, seed=4)
START, END = 20, 60
FILLS = {"grey": (128, 128, 128), "green": (0, 0, 0), "magenta": (255, 255, 255)}
X264 = {"preset": "veryfast", "crf": "23", "x264-params": "scenecut=0:bframes=0:weightp=0"}
X265 = {"preset": "ultrafast", "x265-params": "scenecut=0:bframes=0:log-level=none"}
MPEG2 = {"qmin": "4", "qmax": "6"}
CODECS = {
    "h264": ("libx264", X264),
    "hevc": ("libx265", X265),
    "mpeg2video": ("mpeg2video", MPEG2),
}


def _packets(frames, codec, options):
    context = av.CodecContext.create(codec, "w")
    context.height, context.width = frames[0].height, frames[0].width
    context.pix_fmt, context.framerate = "yuv420p", Fraction(25)
    context.time_base, context.gop_size, context.options = Fraction(1, 25), 250, options
    context.max_b_frames, context.thread_count = 0, 1
    packets = []
    for n, frame in enumerate(frames):
        frame.pts = n
        packets += context.encode(frame)
    return [bytes(packet) for packet in packets + context.encode(None)]


def _smeared(codec, fill, first=START, stop=END):
    """Frames decoded from differences alone, on a reference that is filled as decoders do."""
    planar = [av.VideoFrame.from_ndarray(f, "rgb24").reformat(format="yuv420p") for f in FRAMES]
    encoder, options = CODECS[codec]
    empty = planar[0].to_ndarray()
    height = FRAMES[0].shape[0]
    empty[:height] = fill[0]
    empty[height : height + height // 4], empty[height + height // 4 :] = fill[1], fill[2]
    reference = _packets([av.VideoFrame.from_ndarray(empty, "yuv420p")], encoder, options)[0]
    differences = _packets(planar[first - 1 : stop], encoder, options)[1:]
    decoder = av.CodecContext.create(codec, "r")
    out = []
    for packet in (reference, *differences):
        out += decoder.decode(av.Packet(packet))
    out += decoder.decode(None)
    assert len(out) == stop - first + 1
    return [frame.to_ndarray(format="rgb24") for frame in out[1:]]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("fill", FILLS)
def test_smear_until_the_next_key_frame(tmp_path, codec, fill):
    """Re-encoded: the stream itself is flawless."""
    frames = FRAMES[:START] + _smeared(codec, FILLS[fill]) + FRAMES[END:]
    result = examine(media.write(tmp_path / "a.mp4", frames), "decoder_smear")
    defect = only_one(result, "decoder_smear")
    assert_interval(defect, START / 25, END / 25)
    assert fill in defect.summary
    assert defect.severity >= 0.75


def test_smear_at_the_start(tmp_path):
    """Decoding begins in the middle of a GOP."""
    frames = _smeared("h264", FILLS["grey"], 1, 30) + FRAMES[30:]
    result = examine(media.write(tmp_path / "a.mp4", frames), "decoder_smear")
    assert_interval(only_one(result, "decoder_smear"), 0, 29 / 25)


def test_smear_in_a_part(tmp_path):
    """Lost slices: the lower part only."""
    frames = list(FRAMES)
    for n, smeared in enumerate(_smeared("h264", FILLS["grey"]), START):
        frames[n] = np.concatenate((FRAMES[n][:112], smeared[112:]))
    result = examine(media.write(tmp_path / "a.mp4", frames), "decoder_smear")
    defect = only_one(result, "decoder_smear")
    assert_interval(defect, START / 25, END / 25)
    assert defect.region is not None
    assert defect.region.top == pytest.approx(112 / 192, abs=0.09)


def test_lost_slices_that_are_hardly_drawn_on(tmp_path):
    """The lower rows of macroblocks stay the grey of the decoder; something stirs in them."""
    rng = np.random.default_rng(3)
    frames = [frame.copy() for frame in FRAMES]
    for n in range(START, START + 12):
        noise = rng.normal(0, 5, (80, 320, 1))
        frames[n][112:] = np.clip(130 + noise, 0, 255).astype(np.uint8)
    defect = only_one(
        examine(media.write(tmp_path / "a.mp4", frames), "decoder_smear"), "decoder_smear"
    )
    assert_interval(defect, START / 25, (START + 12) / 25, within=0.05)
    assert defect.region is not None
    assert defect.region.top == pytest.approx(112 / 192, abs=0.03)


def test_planes_of_zeros(tmp_path):
    """Cb and Cr of zero as coded: a green that RGB cannot hold."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width = FRAMES[0].shape[:2]
        for n, picture in enumerate(FRAMES):
            planes = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")
            values = planes.to_ndarray()
            if 30 <= n < 33:
                values[192:] = 0
            frame = av.VideoFrame.from_ndarray(values, "yuv420p")
            frame.pts = n
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert_interval(only_one(examine(path, "decoder_smear"), "decoder_smear"), 30 / 25, 33 / 25)


CARD = np.full_like(FRAMES[0], 130)


def _kinetic():
    """Letters that run over a grey card."""
    out = []
    for n in range(40):
        picture = CARD.copy()
        picture[60:90, 4 * n : 4 * n + 90] = 235
        picture[120:140, 200 - 4 * n : 300 - 4 * n] = 20
        out.append(picture)
    return out


def _screen(colour):
    """A presenter, or a ball in place of one, before a flat studio screen."""
    out = []
    for frame in FRAMES[:40]:
        picture = np.full_like(frame, colour)
        picture[60:150, 100:220] = frame[60:150, 100:220]
        out.append(picture)
    return out


GREY = [np.repeat(f.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8) for f in FRAMES]
NEGATIVES = {
    "clean": lambda: FRAMES,
    "grey card": lambda: FRAMES[:30] + [CARD] * 30 + FRAMES[60:],
    "titles on grey": lambda: FRAMES[:20] + _kinetic() + FRAMES[60:],
    "black-and-white film": lambda: GREY,
    "cut to black-and-white fog": lambda: (
        FRAMES[:20] + [(f * 0.12 + 113).astype(np.uint8) for f in GREY[20:60]] + FRAMES[60:]
    ),
    "fade from grey": lambda: [
        (CARD * (1 - min(n / 40, 1)) + f * min(n / 40, 1)).astype(np.uint8)
        for n, f in enumerate(FRAMES)
    ],
    "fade from grey into a cut": lambda: (
        [
            (CARD * (1 - min(n / 40, 1)) + f * min(n / 40, 1)).astype(np.uint8)
            for n, f in enumerate(FRAMES[:50])
        ]
        + [f[::-1, ::-1] for f in FRAMES[:25]]
    ),
    "grey screen": lambda: FRAMES[:20] + _screen((130, 130, 130)) + FRAMES[60:],
    "green screen": lambda: FRAMES[:20] + _screen((0, 177, 64)) + FRAMES[60:],
    "pink graphics": lambda: FRAMES[:20] + _screen((255, 105, 180)) + FRAMES[60:],
    "grass": lambda: [(f * (0.35, 0.6, 0.25)).astype(np.uint8) for f in FRAMES],
}


@pytest.mark.parametrize("name", NEGATIVES)
def test_what_is_grey_or_green_by_itself(tmp_path, name):
    path = media.write(tmp_path / "a.mp4", NEGATIVES[name]())
    assert examine(path, "decoder_smear").defects == []


def test_real_clip():
    assert examine(media.bunny(), "decoder_smear").defects == []


def test_tiny_pictures_and_short_streams(tmp_path):
    for size, count in (((16, 16), 30), ((2, 2), 3), ((64, 48), 1)):
        frames = [np.full((*size, 3), 40 + n, np.uint8) for n in range(count)]
        path = media.write(tmp_path / "a.mp4", frames)
        assert examine(path, "decoder_smear").defects == []
