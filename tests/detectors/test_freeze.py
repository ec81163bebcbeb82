from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from faults.damage import damage, place
from faults.media import Clean
from faults.truth import Severity
from pipeline.types import Kind
from tests import media
from tests.findings import assert_interval, examine, of_kind, only_one

H, W = 270, 480


@pytest.fixture(scope="module")
def clean():
    return media.scene(5.0, cuts=0, grain=0)


def look(tmp_path, frames, crf=20, rate=media.RATE, **settings):
    options = {"preset": "veryfast", "crf": str(crf), "g": "24"}
    path = media.write(tmp_path / "a.mp4", frames, rate=rate, video_options=options)
    return examine(path, "freeze", **settings)


def frozen(frames: media.Frames, first: int, count: int) -> media.Frames:
    """Frame `first` is shown again `count` times, then the programme goes on where it would be."""
    return frames[: first + 1] + [frames[first]] * count + frames[first + count + 1 :]


def grained(frames: media.Frames, sigma: float, seed: int = 2) -> media.Frames:
    rng = np.random.default_rng(seed)
    grains = [rng.normal(0.5, sigma, (H, W, 1)).astype(np.float32) for _ in range(11)]
    return [np.clip(one + grains[n % 11], 0, 255).astype(np.uint8) for n, one in enumerate(frames)]


def tickered(frames: media.Frames) -> media.Frames:
    text = Image.new("RGB", (2000, 30), (20, 30, 90))
    for n in range(12):
        ImageDraw.Draw(text).text((170 * n, 9), f"headline {n} of the day", (250, 250, 250))
    band = np.asarray(text)
    made = []
    for n, one in enumerate(frames):
        picture = one.copy()
        picture[238:268] = band[:, 3 * n : 3 * n + W]
        made.append(picture)
    return made


@pytest.mark.parametrize(("sigma", "crf"), [(0, 18), (0, 30), (4, 20), (10, 23)])
def test_freeze_under_grain_and_coding(tmp_path, clean, sigma, crf):
    frames = grained(frozen(clean, 40, 35), sigma) if sigma else frozen(clean, 40, 35)
    defect = only_one(look(tmp_path, frames, crf), Kind.FREEZE)
    assert_interval(defect, 41 / 25, 76 / 25)
    assert defect.confidence > 0.8


def test_longer_is_worse(tmp_path, clean):
    short = only_one(look(tmp_path, frozen(clean, 40, 14)), Kind.FREEZE)
    long = only_one(look(tmp_path, frozen(clean, 40, 60)), Kind.FREEZE)
    assert_interval(short, 41 / 25, 55 / 25)
    assert 0 < short.severity < long.severity


def test_freeze_to_the_end(tmp_path, clean):
    defect = only_one(look(tmp_path, clean[:60] + [clean[59]] * 50), Kind.FREEZE)
    assert_interval(defect, 60 / 25, 110 / 25)


def test_a_freeze_soon_after_black(tmp_path, clean):
    """What stood still before does not make the motion since look slow."""
    frames = frozen(clean, 70, 50)
    frames[44:62] = [frames[0] * 0] * 18  # most of the 0.9 s before the freeze
    found = look(tmp_path, frames)
    assert_interval(only_one(found, Kind.FREEZE), 2.8, 4.8)


def resting(seconds: float) -> media.Frames:
    """A head moves to and fro in little of the picture, and rests."""
    head = media.texture(70, 45, 3)
    frames, at = [], 0.0
    for n in range(125):
        at += 0 if 60 <= n < 60 + 25 * seconds else 0.3
        frame = media.texture(H, W, 7).copy()
        x = 200 + round(12 * np.sin(at))
        frame[90:160, x : x + 45] = head
        frames.append(frame)
    return frames


@pytest.mark.parametrize(("seconds", "found"), [(0.7, 0), (2.0, 1)])
def test_little_that_rests_for_a_moment_is_no_freeze(tmp_path, seconds, found):
    assert len(of_kind(look(tmp_path, resting(seconds)), Kind.FREEZE)) == found


def test_a_freeze_of_a_slow_soft_pan(tmp_path):
    """Each tile moves along a straight line, as in a fade; but not towards another picture."""
    y, x = np.mgrid[:H, :W]
    frames = []
    for n in range(100):
        wave = 128 + 60 * np.sin((x - min(n, 40) * 0.3) / 25) * np.cos(y / 30)
        frames.append(np.repeat(wave[..., None], 3, 2).astype(np.uint8))
    assert_interval(only_one(look(tmp_path, frames), Kind.FREEZE), 41 / 25, 4)


def test_a_freeze_under_grain_after_which_it_goes_on_slowly(tmp_path):
    """The grain does not stop, and hides how the picture goes on."""
    still = media.texture(H, W + 80, 3).astype(np.float32)
    frames = []
    for n in range(150):
        whole, part = divmod(0.6 * min(n, 50) + 0.1 * max(n - 100, 0), 1)
        x = int(whole)
        frames.append((1 - part) * still[:, x : x + W] + part * still[:, x + 1 : x + 1 + W])
    freeze = only_one(look(tmp_path, grained(frames, 4)), Kind.FREEZE)
    assert freeze.start == pytest.approx(51 / 25, abs=0.1)
    assert 101 / 25 <= freeze.end <= 101 / 25 + 1.2  # until the creep has gone far enough


def test_short_freeze_on_request(tmp_path, clean):
    frames = frozen(clean, 40, 9)
    assert not look(tmp_path, frames).defects
    defect = only_one(look(tmp_path, frames, freeze={"min_duration": 0.3}), Kind.FREEZE)
    assert_interval(defect, 41 / 25, 50 / 25)


def test_variable_frame_rate(tmp_path, clean):
    frames = frozen(clean, 40, 30)[:100]
    times = list(np.cumsum(np.where(np.arange(100) % 3 == 0, 0.05, 0.03)))
    path = media.write(tmp_path / "a.mkv", frames, times=times)
    found = only_one(examine(path, "freeze"), Kind.FREEZE)
    assert_interval(found, times[41] - times[0], times[71] - times[0])


def test_partial_freeze_under_a_ticker(tmp_path, clean):
    defect = only_one(look(tmp_path, tickered(frozen(clean, 35, 60))), Kind.PARTIAL_FREEZE)
    assert_interval(defect, 36 / 25, 96 / 25)
    assert defect.region is not None
    assert defect.region.top < 0.1
    assert 0.75 < defect.region.bottom < 0.95


def test_partial_freeze_under_a_clock(tmp_path, clean):
    frames = frozen(clean, 35, 65)
    made = []
    for n, one in enumerate(frames):
        card = Image.fromarray(one)
        draw = ImageDraw.Draw(card)
        draw.rectangle((400, 10, 470, 34), (10, 10, 10))
        draw.text((405, 16), f"10:04:{n // 25:02d}.{n % 25:02d}", (250, 250, 250))
        made.append(np.asarray(card))
    found = [one for one in look(tmp_path, made).defects if one.start < 1.6]
    assert len(found) == 1
    assert_interval(found[0], 36 / 25, 101 / 25)


def card(background=(30, 60, 120)) -> np.ndarray:
    picture = Image.new("RGB", (W, H), background)
    ImageDraw.Draw(picture).text((180, 130), "PART TWO: THE SEA", (250, 250, 250))
    return np.asarray(picture)


def dissolve(a: media.Frames, b: media.Frames) -> media.Frames:
    weights = np.linspace(0, 1, len(a) + 2)[1:-1]
    pairs = zip(a, b, weights, strict=True)
    return [(x.astype(np.float32) * (1 - w) + y * w).astype(np.uint8) for x, y, w in pairs]


def card_by_cut(clean):
    return clean[:40] + [card()] * 50 + clean[90:]


def photograph_by_cut(clean):
    return clean[:40] + [media.texture(H, W, 77)] * 50 + clean[90:]


def photograph_by_dissolve(clean):
    still = media.texture(H, W, 77)
    into = dissolve(clean[30:45], [still] * 15)
    return clean[:30] + into + [still] * 40 + dissolve([still] * 15, clean[85:100]) + clean[100:]


def still_at_the_beginning(clean):
    return [media.texture(H, W, 78)] * 50 + clean[50:]


def black_hole(clean):
    return clean[:40] + [np.zeros((H, W, 3), np.uint8)] * 40 + clean[80:]


def slow_pan(clean):
    return media.scene(len(clean) / media.RATE, cuts=0, speed=0.25, grain=0)


def creeping_pan(clean):  # noqa: ARG001
    """A sample in sixteen frames, under noise: for a second it stays as good as still."""
    still = 0.6 * media.texture(H + 8, W + 40, 3).astype(np.float32) + 44
    frames = []
    for n in range(150):
        whole, part = divmod(0.06 * n, 1)
        x = int(whole)
        frame = (1 - part) * still[:H, x : x + W] + part * still[:H, x + 1 : x + 1 + W]
        frames.append(np.clip(frame + 0.5, 0, 255).astype(np.uint8))
    return grained(frames, 1.5)


def pan_that_becomes_a_creep(clean):  # noqa: ARG001
    """It slows down to a sample in eight frames: the picture is left as slowly as it moved."""
    still = gaussian_filter(media.texture(H, W + 200, 3).astype(np.float32), (4, 4, 0)) * 0.6 + 60
    frames = []
    for n in range(120):
        whole, part = divmod(2.0 * min(n, 40) + 0.12 * max(n - 40, 0), 1)
        x = int(whole)
        frame = (1 - part) * still[:, x : x + W] + part * still[:, x + 1 : x + 1 + W]
        frames.append(np.clip(frame + 0.5, 0, 255).astype(np.uint8))
    return frames


def on_threes(clean):
    return [clean[n // 3 * 3] for n in range(len(clean))]


def talking_head(clean):
    """A still picture but for a mouth and a breath, as in a paused talk."""
    yy, xx = np.mgrid[:H, :W]
    made = []
    still = media.texture(H, W, 79).astype(np.float32)
    for n in range(len(clean)):
        open_ = 0 if 50 <= n < 90 else 6 + 6 * np.sin(n * 0.9)  # it rests for 1.6 s
        mouth = ((xx - 240) / 26) ** 2 + ((yy - 150) / (2 + abs(open_))) ** 2 < 1
        breath = 0.5 + 0.5 * np.sin(n / 9)  # parts of a pixel
        picture = still * (1 - breath) + np.roll(still, 1, axis=0) * breath
        picture[mouth] = 40
        made.append(picture)
    return grained(made, 1.5)


@pytest.mark.parametrize(
    "make",
    [
        list,
        card_by_cut,
        photograph_by_cut,
        photograph_by_dissolve,
        still_at_the_beginning,
        black_hole,
        slow_pan,
        creeping_pan,
        pan_that_becomes_a_creep,
        on_threes,
        talking_head,
    ],
)
def test_legitimate_stillness(tmp_path, clean, make):
    assert not look(tmp_path, make(clean)).defects


def test_real_clip_clean_and_frozen(tmp_path):
    assert not examine(media.bunny(), "freeze").defects
    import av

    with av.open(str(media.bunny())) as container:
        frames = [
            one.reformat(width=640, height=360, format="rgb24").to_ndarray()
            for one in container.decode(video=0)
        ]
    defect = only_one(look(tmp_path, grained_any(frozen(frames, 50, 25), 3)), Kind.FREEZE)
    assert_interval(defect, 51 / 25, 76 / 25)


def grained_any(frames: media.Frames, sigma: float) -> media.Frames:
    rng = np.random.default_rng(3)
    return [
        np.clip(one + rng.normal(0.5, sigma, (*one.shape[:2], 1)), 0, 255).astype(np.uint8)
        for one in frames
    ]


def test_tiny_pictures(tmp_path):
    frames = [np.full((2, 2, 3), 10 * n % 250, np.uint8) for n in range(20)]
    assert of_kind(look(tmp_path, frames), Kind.BLACK) == []


@pytest.mark.parametrize("seed", [11, 12])
def test_a_freeze_beside_a_live_speaker_in_a_corner(tmp_path, seed):
    clean = Clean(media.write(tmp_path / "clean.mp4", media.scene(8.0, 480, 270, cuts=0)))
    order = place("partial_freeze", Severity.NOTICEABLE, clean, seed)
    truth = damage(clean, tmp_path / "a.mp4", [order]).truths[0]
    assert truth.parameters["overlay"] == "speaker"
    defect = only_one(examine(tmp_path / "a.mp4", "freeze"), Kind.PARTIAL_FREEZE)
    assert_interval(defect, truth.start, truth.end)
