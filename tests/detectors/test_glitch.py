"""Frames that do not belong there, against flashes and fast cutting."""

from __future__ import annotations

import numpy as np
import pytest

from tests import media
from tests.findings import assert_interval, examine, only_one

FRAMES = media.scene(3.2, cuts=0, speed=2, seed=6)
OTHER = media.scene(1, cuts=0, speed=2, seed=9)
AT = 40


def _examined(tmp_path, frames):
    return examine(media.write(tmp_path / "a.mp4", frames), "glitch")


def _damage(frame, height, width, seed=0):
    """Macroblocks from elsewhere and of any colour, in the middle of a frame."""
    rng, out = np.random.default_rng(seed), frame.copy()
    top, left = 96, 160
    for y in range(top, top + height, 16):
        for x in range(left, left + width, 16):
            v, u = rng.integers(0, 254), rng.integers(0, 464)
            out[y : y + 16, x : x + 16] = (
                frame[v : v + 16, u : u + 16] if rng.random() < 0.6 else rng.integers(0, 255, 3)
            )
    return out


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("what", ["foreign", "black", "white", "grey"])
def test_whole_frames(tmp_path, count, what):
    level = {"black": 0, "white": 255, "grey": 128}.get(what)
    put = OTHER[:count] if level is None else [np.full_like(FRAMES[0], level)] * count
    defect = only_one(_examined(tmp_path, FRAMES[:AT] + put + FRAMES[AT + count :]), "glitch")
    assert_interval(defect, AT / 25, (AT + count) / 25, within=0.001)
    assert defect.region is None
    assert defect.severity >= 0.75


def test_damaged_region(tmp_path):
    severities = []
    for height, width in ((32, 64), (64, 160), (160, 304)):
        frames = list(FRAMES)
        frames[AT] = _damage(FRAMES[AT], height, width)
        defect = only_one(_examined(tmp_path, frames), "glitch")
        assert_interval(defect, AT / 25, (AT + 1) / 25, within=0.001)
        region = defect.region
        assert region is not None
        assert region.left == pytest.approx(160 / 480, abs=0.08)
        assert region.top == pytest.approx(96 / 270, abs=0.08)
        assert region.right == pytest.approx((160 + width) / 480, abs=0.08)
        severities.append(defect.severity)
    assert severities == sorted(severities)
    assert severities[0] < severities[-1]


def test_black_frames_at_a_cut(tmp_path):
    frames = FRAMES[:AT] + [np.zeros_like(FRAMES[0])] * 2 + OTHER
    assert_interval(only_one(_examined(tmp_path, frames), "glitch"), 1.6, 1.68, within=0.001)


def _brightened(gains):
    return [
        np.clip(f * gains.get(n, 1) + 40 * (gains.get(n, 1) > 1), 0, 255).astype(np.uint8)
        for n, f in enumerate(FRAMES)
    ]


def _lamp(frames, at):
    """A muzzle flash: a bright spot for one frame."""
    frames = list(frames)
    picture = frames[at].copy()
    picture[110:170, 200:280] = np.clip(picture[110:170, 200:280] * 0.3 + 190, 0, 255)
    frames[at] = picture
    return frames


def _crossing():
    """A ball that crosses the picture in a few frames."""
    frames = list(FRAMES)
    for n in range(6):
        picture = frames[AT + n].copy()
        picture[100:160, n * 80 : n * 80 + 60] = (230, 220, 40)
        frames[AT + n] = picture
    return frames


NEGATIVES = {
    "clean": lambda: media.scene(4, cuts=3),
    "fast pan": lambda: media.scene(3, cuts=0, speed=11),
    "camera flash": lambda: _brightened({AT: 2.0, AT + 1: 1.4, AT + 2: 1.15}),
    "camera flash, one frame": lambda: _brightened({AT: 1.4}),
    "camera flash that burns out the picture": lambda: [
        np.full_like(f, 235) if n == AT else f for n, f in enumerate(_brightened({AT + 1: 1.25}))
    ],
    "stage light that goes on with a flicker": lambda: _brightened(
        dict.fromkeys([*range(20), 23], 0.4)
    ),
    "strobe": lambda: _brightened(dict.fromkeys(range(20, 70, 4), 1.8)),
    "flashing, two of five frames": lambda: [
        np.clip(f.astype(np.int16) + 130 * (n % 5 < 2 and 20 <= n < 70), 0, 255).astype(np.uint8)
        for n, f in enumerate(FRAMES)
    ],
    "black strobe": lambda: [
        f * 0 if n % 5 == 0 and 20 < n < 70 else f for n, f in enumerate(FRAMES)
    ],
    "lightning at night": lambda: [
        f if n in (AT, AT + 2) else (f * 0.08).astype(np.uint8) for n, f in enumerate(FRAMES)
    ],
    "muzzle flash": lambda: _lamp(FRAMES, AT),
    "crossing ball": _crossing,
    "montage": lambda: [media.texture(270, 480, 100 + n // 2) for n in range(30)] + FRAMES[:40],
    "cut": lambda: FRAMES[:AT] + OTHER,
    "fade through black": lambda: [
        (f * max(0.0, abs(n - AT) / 12 - 0.05 if abs(n - AT) < 12 else 1))
        .clip(0, 255)
        .astype(np.uint8)
        for n, f in enumerate(FRAMES)
    ],
    "dissolve": lambda: [
        (f * (1 - min(n / 20, 1)) + g * min(n / 20, 1)).astype(np.uint8)
        for n, (f, g) in enumerate(zip(FRAMES[:25], OTHER, strict=True))
    ],
    "on twos": lambda: [FRAMES[n // 2 * 2] for n in range(len(FRAMES))],
}


@pytest.mark.parametrize("name", NEGATIVES)
def test_what_belongs_to_the_programme(tmp_path, name):
    assert _examined(tmp_path, NEGATIVES[name]()).defects == []


def test_real_clip():
    assert examine(media.bunny(), "glitch").defects == []


def test_tiny_pictures_and_short_streams(tmp_path):
    for size, count in (((16, 16), 30), ((2, 2), 3), ((64, 48), 1)):
        frames = [np.full((*size, 3), 40 + n, np.uint8) for n in range(count)]
        assert _examined(tmp_path, frames).defects == []
