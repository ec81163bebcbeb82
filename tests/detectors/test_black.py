from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.types import Kind
from tests import media
from tests.findings import assert_interval, examine, of_kind, only_one

H, W = 270, 480


@pytest.fixture(scope="module")
def clean():
    return media.scene(4.0, cuts=0)


def flat(level: int, count: int) -> media.Frames:
    return [np.full((H, W, 3), level, np.uint8)] * count


def replaced(clean: media.Frames, first: int, black: media.Frames) -> media.Frames:
    return clean[:first] + black + clean[first + len(black) :]


def look(tmp_path, frames, **settings):
    return examine(media.write(tmp_path / "a.mp4", frames), "black", **settings)


@pytest.mark.parametrize("level", [0, 11, 20])  # code values 16, 26 and 33
def test_black_and_lifted_black(tmp_path, clean, level):
    defect = only_one(look(tmp_path, replaced(clean, 30, flat(level, 30))), Kind.BLACK)
    assert_interval(defect, 1.2, 2.4)
    assert defect.confidence > 0.9
    assert defect.severity > 0.75


def test_longer_is_worse(tmp_path, clean):
    short = only_one(look(tmp_path, replaced(clean, 30, flat(0, 14))), Kind.BLACK)
    long = only_one(look(tmp_path, replaced(clean, 20, flat(0, 55))), Kind.BLACK)
    assert long.severity > short.severity


def test_full_range_and_grain(tmp_path, clean):
    rng = np.random.default_rng(4)
    black = [np.clip(rng.normal(6, 4, (H, W, 1)), 0, 255).astype(np.uint8) for _ in range(25)]
    frames = replaced(clean, 40, [np.repeat(one, 3, 2) for one in black])
    path = media.write(tmp_path / "a.mp4", frames, pixel_format="yuvj420p")
    assert_interval(only_one(examine(path, "black"), Kind.BLACK), 1.6, 2.6)


def test_short_black_is_found_on_request(tmp_path, clean):
    frames = replaced(clean, 50, flat(0, 6))
    assert not look(tmp_path, frames).defects
    defect = only_one(look(tmp_path, frames, black={"min_duration": 0.2}), Kind.BLACK)
    assert_interval(defect, 2.0, 2.24)


def test_black_with_logo_and_ticker(tmp_path, clean):
    frames = [one.copy() for one in clean]
    for n, picture in enumerate(frames):
        if 25 <= n < 60:
            picture[:] = 0
        picture[20:40, 420:460] = 230  # a logo that is always there
        picture[25:35, 430:450] = 30
        band = Image.new("RGB", (W, 12), (0, 0, 0))
        ImageDraw.Draw(band).text((200 - 2 * n, 0), "breaking news", (240, 240, 240))
        picture[250:262] = np.asarray(band)
    defect = only_one(look(tmp_path, frames), Kind.BLACK)
    assert_interval(defect, 1.0, 2.4)
    assert defect.evidence["share_of_picture"] < 0.99


def test_beginning_and_end_count_for_less(tmp_path, clean):
    found = of_kind(look(tmp_path, flat(0, 25) + clean[:50] + flat(0, 25)), Kind.BLACK)
    assert len(found) == 2
    assert_interval(found[0], 0.0, 1.0)
    assert_interval(found[1], 3.0, 4.0)
    assert all(one.severity < 0.25 and one.confidence < 0.8 for one in found)


def test_all_black_is_serious(tmp_path):
    defect = only_one(look(tmp_path, flat(0, 60)), Kind.BLACK)
    assert_interval(defect, 0.0, 2.4)
    assert defect.severity == 1.0


def test_fade_reports_only_what_is_black(tmp_path, clean):
    frames = [one.astype(np.float32) for one in clean]
    gains = np.ones(len(frames))
    gains[20:32] = np.linspace(1, 0, 12)
    gains[32:57] = 0
    gains[57:69] = np.linspace(0, 1, 12)
    frames = [(one * gain).astype(np.uint8) for one, gain in zip(frames, gains, strict=True)]
    defect = only_one(look(tmp_path, frames), Kind.BLACK)
    assert_interval(defect, 31 / 25, 58 / 25)
    assert defect.confidence < 0.8


def faded(clean: media.Frames) -> media.Frames:
    gain = np.ones(len(clean))
    gain[40:52], gain[52:56], gain[56:68] = np.linspace(1, 0, 12), 0, np.linspace(0, 1, 12)
    return [(one * g).astype(np.uint8) for one, g in zip(clean, gain, strict=True)]


def night(clean: media.Frames) -> media.Frames:
    return [(one * 0.1).astype(np.uint8) for one in clean]


def lamps(clean: media.Frames) -> media.Frames:
    yy, xx = np.mgrid[:H, :W]
    frames = []
    for n, one in enumerate(clean):
        glow = 150 * np.exp(-((yy - 140) ** 2 + (xx - 200 - n) ** 2) / 900)
        frames.append(np.clip(one * 0.04 + glow[..., None], 0, 255).astype(np.uint8))
    return frames


def credits_roll(clean: media.Frames) -> media.Frames:
    roll = Image.new("RGB", (W, 700))
    draw = ImageDraw.Draw(roll)
    for line in range(24):
        draw.text((160, 20 + 28 * line), f"assistant of somebody {line}", (240, 240, 240))
    page = np.asarray(roll)
    return [page[2 * n : 2 * n + H] for n in range(len(clean))]


def title(clean: media.Frames) -> media.Frames:
    card = Image.new("RGB", (W, H))
    ImageDraw.Draw(card).text((190, 125), "CHAPTER ONE", (240, 240, 240))
    return clean[:30] + [np.asarray(card)] * 40 + clean[70:]


def letterboxed(clean: media.Frames) -> media.Frames:
    frames = [one.copy() for one in clean]
    for one in frames:
        one[:60] = one[210:] = 0
    return frames


@pytest.mark.parametrize("make", [list, faded, night, lamps, credits_roll, title, letterboxed])
def test_legitimate_dark_pictures(tmp_path, clean, make):
    assert not look(tmp_path, make(clean)).defects


def test_real_clip():
    assert not examine(media.bunny(), "black").defects


def test_any_size(tmp_path):
    for height, width in ((2, 2), (18, 34)):
        frames = [np.zeros((height, width, 3), np.uint8)] * 25
        result = look(tmp_path, frames)
        assert only_one(result, Kind.BLACK).end > 0.9
