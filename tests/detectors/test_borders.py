from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.types import Kind
from tests import media
from tests.findings import examine, only_one

H, W = 270, 480


@pytest.fixture(scope="module")
def clean():
    return media.scene(6.0)


def look(tmp_path, frames, crf=23):
    options = {"preset": "veryfast", "crf": str(crf)}
    return examine(media.write(tmp_path / "a.mp4", frames, video_options=options), "borders")


def boxed(picture: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    inner = Image.fromarray(picture).resize((W - left - right, H - top - bottom))
    made = np.zeros_like(picture)
    made[top : H - bottom, left : W - right] = np.asarray(inner)
    return made


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((0, 0, 0, 0), (34, 34, 0, 0)),
        ((34, 34, 0, 0), (0, 0, 0, 0)),
        ((0, 0, 0, 0), (0, 0, 60, 60)),
        ((34, 34, 0, 0), (34, 34, 60, 60)),
        ((0, 0, 0, 0), (10, 10, 0, 0)),
    ],
)
@pytest.mark.parametrize("crf", [20, 30])
def test_change(tmp_path, clean, before, after, crf):
    frames = [boxed(one, *(before if n < 72 else after)) for n, one in enumerate(clean)]
    defect = only_one(look(tmp_path, frames, crf), Kind.LETTERBOX_CHANGE)
    assert abs(defect.start - 72 / 25) <= 0.1
    for side, old, new in zip(("top", "bottom", "left", "right"), before, after, strict=True):
        assert abs(defect.evidence[f"{side}_before_px"] - old) <= 3
        assert abs(defect.evidence[f"{side}_after_px"] - new) <= 3
    assert abs(defect.region.top - after[0] / H) < 0.02
    assert abs(defect.region.right - (1 - after[3] / W)) < 0.02


def test_inserted_clip_is_one_defect_and_larger_is_worse(tmp_path):
    clean = media.scene(8.0, cuts=0)
    frames = [boxed(one, 34, 34, 0, 0) if 75 <= n < 140 else one for n, one in enumerate(clean)]
    found = look(tmp_path, frames).defects
    assert [(round(one.start, 1), round(one.end, 1)) for one in found] == [(3.0, 5.6)]
    slight = [boxed(one, 8, 8, 0, 0) if n >= 75 else one for n, one in enumerate(clean)]
    assert look(tmp_path, slight).defects[0].severity < found[0].severity


def permanent(clean):
    return [boxed(one, 34, 34, 0, 0) for one in clean]


def dark(clean):
    """The light goes out from the edges in, and comes again."""
    yy = np.abs(np.arange(H) - H / 2)[:, None, None] / (H / 2)
    made = []
    for n, one in enumerate(clean):
        gain = np.clip(1.3 - yy * (1.3 if 50 <= n < 120 else 0.3), 0, 1) ** 2
        made.append((one * gain * (0.3 if 50 <= n < 120 else 1)).astype(np.uint8))
    return made


def faded(clean):
    gain = np.ones(len(clean))
    gain[60:85], gain[85:90], gain[90:115] = np.linspace(1, 0, 25), 0, np.linspace(0, 1, 25)
    return [(one * g).astype(np.uint8) for one, g in zip(clean, gain, strict=True)]


def credits_roll(clean):
    roll = Image.new("RGB", (W, 900))
    for line in range(24):
        ImageDraw.Draw(roll).text((160, 20 + 34 * line), f"somebody {line}", (240, 240, 240))
    page = np.asarray(roll)
    return clean[:60] + [page[3 * n : 3 * n + H] for n in range(90)]


def black(clean):
    return clean[:60] + [np.zeros((H, W, 3), np.uint8)] * 50 + clean[110:]


def subtitles(clean):
    """Letterboxed, with subtitles in the lower bar."""
    made = []
    for n, one in enumerate(clean):
        card = Image.fromarray(boxed(one, 40, 40, 0, 0))
        if n // 35 % 2:
            ImageDraw.Draw(card).text((120, 245), f"and then she said {n // 35}", (240, 240, 240))
        made.append(np.asarray(card))
    return made


@pytest.mark.parametrize("make", [list, permanent, dark, faded, credits_roll, black, subtitles])
def test_legitimate_pictures(tmp_path, clean, make):
    assert not look(tmp_path, make(clean)).defects


def test_real_clip():
    assert not examine(media.bunny(), "borders").defects


def test_tiny_pictures(tmp_path):
    frames = [np.full((2, 2, 3), 10 * n % 250, np.uint8) for n in range(75)]
    assert not look(tmp_path, frames).defects
