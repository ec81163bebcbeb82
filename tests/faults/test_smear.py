"""The smear is what real decoders show without their key frame."""

from __future__ import annotations

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from faults import FAULTS
from faults.base import FaultError, Order
from faults.damage import place
from faults.media import picture_of, plain, repeatable
from faults.recode import recode
from faults.smear import CODERS, FILLS
from faults.span import difference, same
from faults.truth import Severity

NAMES = {"libx264": "h264", "libx265": "hevc"}


def _without_key_frame(pictures, codec):
    """Decoded with the first packet taken away."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = pictures[0].luma.shape
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
    encoder.framerate, encoder.options, encoder.thread_count = (
        25,
        repeatable(codec, CODERS[codec]),
        1,
    )
    encoder.flags |= av.codec.context.Flags.global_header
    packets = []
    for n, picture in enumerate(pictures):
        frame = picture.frame()
        frame.pts = n
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create(NAMES[codec], "r")
    decoder.extradata, decoder.thread_count = encoder.extradata, 1
    decoder.options = {"flags": "+output_corrupt", "flags2": "+showall"}
    frames = [f for packet in packets[1:] for f in decoder.decode(packet)] + decoder.decode(None)
    return [picture_of(frame, 0, 0) for frame in frames]


@pytest.mark.parametrize("codec", NAMES)
def test_grey_is_what_a_decoder_shows_without_the_key_frame(clean_pictures, codec):
    pictures = clean_pictures[20:36]
    grey = plain(0, 0, pictures[0].luma.shape, *FILLS["grey"])
    ours = list(recode(pictures, codec, CODERS[codec], first=grey))[1:]
    theirs = _without_key_frame(pictures, codec)
    assert len(theirs) == len(ours)
    assert all(same(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_outlines_are_drawn_on_the_fill(clean_clip, clean_pictures, seed):
    order = place("decoder_smear", Severity.NOTICEABLE, clean_clip, seed)
    fault = FAULTS["decoder_smear"](order, clean_clip)
    out = list(fault.pictures(iter(clean_pictures)))
    (truth,) = fault.truths
    smeared = [p for p in out if truth.start - 1e-6 <= p.time < truth.end - 1e-6]
    fill = FILLS[truth.parameters["fill"]]
    first, last = smeared[0], smeared[-1]
    assert np.median(first.luma) == pytest.approx(fill[0], abs=25)
    assert np.median(first.cb) == pytest.approx(fill[1], abs=10)
    drawn = [np.mean(np.abs(p.luma.astype(int) - fill[0]) > 8) for p in (first, last)]
    assert drawn[1] > 0.02
    assert drawn[0] < 0.9


def _cut(pictures):
    """Seconds of the hard cut of the clip."""
    steps = [difference(a, b) for a, b in itertools.pairwise(pictures)]
    return pictures[int(np.argmax(steps)) + 1].time


@pytest.mark.parametrize("codec", CODERS)
def test_a_new_scene_ends_it(clean_clip, clean_pictures, codec):
    cut = _cut(clean_pictures)
    seed = _seed_for(codec, clean_clip)
    order = Order("decoder_smear", Severity.VERY_NOTICEABLE, cut - 2, cut + 1, seed)
    fault = FAULTS["decoder_smear"](order, clean_clip)
    out = list(fault.pictures(iter(clean_pictures)))
    (truth,) = fault.truths
    assert truth.start == pytest.approx(cut - 2, abs=0.05)
    assert truth.end == pytest.approx(cut, abs=0.05)
    assert all(
        same(a, b) for a, b in zip(clean_pictures, out, strict=True) if b.time >= truth.end - 1e-6
    )


def test_no_place_for_it_just_before_a_new_scene(clean_clip, clean_pictures):
    cut = _cut(clean_pictures)
    seed = _seed_for("libx264", clean_clip)
    order = Order("decoder_smear", Severity.VERY_NOTICEABLE, cut - 0.5, cut + 2.5, seed)
    with pytest.raises(FaultError, match="a new scene or motion ends it at once"):
        list(FAULTS["decoder_smear"](order, clean_clip).pictures(iter(clean_pictures)))


def _seed_for(codec, clip):
    """A seed from which that encoder is drawn."""
    for seed in range(50):
        rng = FAULTS["decoder_smear"](
            Order("decoder_smear", Severity.VERY_NOTICEABLE, 0, 1, seed), clip
        ).rng
        if rng.choice([*CODERS]) == codec:
            return seed
    raise AssertionError(codec)
