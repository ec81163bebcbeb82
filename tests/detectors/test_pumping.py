from __future__ import annotations

import numpy as np
import pytest

from pipeline.types import Kind
from tests import media
from tests.findings import assert_interval, examine, only_one

H, W = 270, 480


@pytest.fixture(scope="module")
def clean():
    return media.scene(10.0, cuts=0, speed=1.0)


def look(tmp_path, frames):
    return examine(media.write(tmp_path / "a.mp4", frames), "pumping")


def pumped(frames, frequency, depth, start=2.0, end=8.0, wave=np.sin):
    """A gain of 1 +- depth/2 from `start` to `end` seconds."""
    made = []
    for n, one in enumerate(frames):
        time = n / media.RATE
        gain = 1.0
        if start <= time < end:
            gain += depth / 2 * wave(2 * np.pi * frequency * (time - start))
        made.append(np.clip(one * gain + 0.5, 0, 255).astype(np.uint8))
    return made


def sawtooth(phase):
    return 2 * (phase / (2 * np.pi) % 1) - 1


@pytest.mark.parametrize(
    ("frequency", "depth", "wave"),
    [
        (0.6, 0.1, np.sin),
        (1.0, 0.06, np.sin),
        (1.1, 0.2, sawtooth),  # most of its harmonics are beyond the first few
        (2.0, 0.05, sawtooth),
        (5.0, 0.06, np.sin),
        (7.9, 0.06, sawtooth),  # its harmonics lie above half the frame rate
    ],
)
def test_pumping(tmp_path, clean, frequency, depth, wave):
    result = look(tmp_path, pumped(clean, frequency, depth, wave=wave))
    defect = only_one(result, Kind.BRIGHTNESS_PUMPING)
    assert_interval(defect, 2.0, 8.0, within=max(0.5, 0.75 / frequency))
    assert abs(defect.evidence["frequency_hz"] / frequency - 1) < 0.2
    assert 0.5 < defect.evidence["depth"] / depth < 1.6


def test_deeper_is_worse(tmp_path, clean):
    slight = only_one(look(tmp_path, pumped(clean, 2.0, 0.05)), Kind.BRIGHTNESS_PUMPING)
    deep = only_one(look(tmp_path, pumped(clean, 2.0, 0.12)), Kind.BRIGHTNESS_PUMPING)
    assert deep.severity > slight.severity


def cuts(clean):
    shots = [media.texture(H, W, 60 + n) for n in range(9)]
    return [shots[n // 25 % 9] for n in range(len(clean))]


def fades(clean):
    gain = np.ones(len(clean))
    gain[60:85], gain[85:110] = np.linspace(1, 0, 25), np.linspace(0, 1, 25)
    gain[160:185], gain[185:210] = np.linspace(1, 0, 25), np.linspace(0, 1, 25)
    return [(one * g).astype(np.uint8) for one, g in zip(clean, gain, strict=True)]


def camera_flashes(clean):
    frames = [one.copy() for one in clean]
    for n in (40, 53, 71, 95, 104, 131, 170, 176, 200):
        frames[n] = np.clip(frames[n].astype(np.int16) + 90, 0, 255).astype(np.uint8)
    return frames


def flashes_in_time(clean):
    """Twice a second, at once, with an afterglow: a sawtooth, but for the frames in between."""
    frames = [one.copy() for one in clean]
    for n in range(50, 130, 12):
        for later, gain in ((0, 2.0), (1, 1.35)):
            frames[n + later] = np.clip(frames[n + later] * gain, 0, 255).astype(np.uint8)
    return frames


def fast_pan(clean):
    return media.scene(len(clean) / media.RATE, cuts=0, speed=9.0, seed=3)


def television(clean):
    """A set in a corner flickers and lights what is near."""
    yy, xx = np.mgrid[:H, :W]
    near = np.exp(-((yy - 200) ** 2 + (xx - 90) ** 2) / 5000)[..., None]
    still = media.texture(H, W, 91).astype(np.float32)
    return [
        np.clip(still * 0.6 + 60 * near * np.sin(n * 0.8), 0, 255).astype(np.uint8)
        for n in range(len(clean))
    ]


def passing(clean):
    """Dark posts pass the camera at equal distances."""
    frames = []
    xx = np.arange(W)
    for n, one in enumerate(clean):
        post = (xx - 8 * n) % 160 < 40
        picture = one.copy()
        picture[:, post] //= 3
        frames.append(picture)
    return frames


@pytest.mark.parametrize(
    "make",
    [list, cuts, fades, camera_flashes, flashes_in_time, fast_pan, television, passing],
)
def test_legitimate_pictures(tmp_path, clean, make):
    assert not look(tmp_path, make(clean)).defects


def test_real_clip():
    assert not examine(media.bunny(), "pumping").defects


def test_tiny_pictures(tmp_path):
    frames = [np.full((2, 2, 3), 120, np.uint8)] * 150
    assert not look(tmp_path, frames).defects
