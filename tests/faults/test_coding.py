"""Codecs there and back: aligned in time, whatever the rate; lost packets are where they are."""

from __future__ import annotations

import numpy as np
import pytest

from faults.coding import CODECS, Coder
from tests import media


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (2, 44_100), (3, 96_000)])
def test_comes_back_in_time(codec, channels, rate):
    sound = media.programme(1.5, channels, rate=rate)
    back = Coder(sound, rate, codec, 96_000).decode()
    assert back.shape == sound.shape
    assert back.dtype == np.float32
    middle = slice(200, -200)
    errors = [
        np.square(sound[:, middle] - np.roll(back, shift, axis=1)[:, middle]).mean()
        for shift in range(-4, 5)
    ]
    assert int(np.argmin(errors)) == 4
    assert errors[4] < 0.1 * np.square(sound).mean()


@pytest.mark.parametrize(("codec", "conceal"), [("aac", "silence"), ("aac", "repeat")])
def test_lost_packet_of_aac(codec, conceal):
    sound = media.programme(2, 2)
    coder = Coder(sound, 48_000, codec, 64_000)
    start = round(coder.starts()[40])
    whole, holed = coder.decode(), coder.decode([40], conceal)
    hit = np.flatnonzero((whole != holed).any(axis=0))
    assert abs(hit[0] - start) <= 1
    assert hit[-1] < start + 2 * coder.size  # and the frame that overlaps with it
    lost = holed[:, start : start + 1024]
    assert np.array_equal(
        lost, 0 * lost if conceal == "silence" else whole[:, start - 1024 : start]
    )


def test_opus_conceals():
    """As libopus does it: sound goes on where a packet is lost, and becomes weaker."""
    sound = media.programme(2, 2)
    coder = Coder(sound, 48_000, "opus", 64_000)
    lost = list(range(40, 50))
    concealed, silent = coder.decode(lost, "codec"), coder.decode(lost, "silence")
    start, size = round(coder.starts()[40]), round(coder.size)
    level = [
        np.abs(concealed[:, start + n * size : start + (n + 1) * size]).mean() for n in range(10)
    ]
    assert level[0] > 0.3 * np.abs(sound[:, start : start + size]).mean()
    assert level[9] < 0.7 * level[0]
    assert not silent[:, start : start + 10 * size].any()
