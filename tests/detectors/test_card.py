from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from faults.card import SlateFault
from faults.damage import damage, place
from faults.lookalikes import LOOKALIKES
from faults.media import Clean, encode
from faults.truth import Severity
from pipeline.types import Kind
from tests import media
from tests.findings import assert_interval, examine, of_kind, only_one

H, W = 270, 480
SMPTE = [(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0)]
SMPTE += [(191, 0, 191), (191, 0, 0), (0, 0, 191)]


@pytest.fixture(scope="module")
def clean():
    return media.scene(6.0, cuts=0)


def look(tmp_path, frames):
    return examine(media.write(tmp_path / "a.mp4", frames), "card")


def plain(color, count: int) -> media.Frames:
    return [np.full((H, W, 3), color, np.uint8)] * count


def bars(colors, ident: str | None = None) -> np.ndarray:
    picture = np.zeros((H, W, 3), np.uint8)
    for n, color in enumerate(colors):
        picture[:, n * W // len(colors) : (n + 1) * W // len(colors)] = color
    if ident:
        card = Image.fromarray(picture)
        draw = ImageDraw.Draw(card)
        draw.rectangle((150, 60, 330, 90), (0, 0, 0))
        draw.text((170, 70), ident, (255, 255, 255))
        picture = np.array(card)
    return picture


def smpte() -> np.ndarray:
    picture = bars(SMPTE)
    castellation = [(0, 0, 191), (19, 19, 19), (191, 0, 191), (19, 19, 19)]
    castellation += [(0, 191, 191), (19, 19, 19), (191, 191, 191)]
    picture[180:203] = bars(castellation)[180:203]
    picture[203:] = bars([(0, 33, 76), (255, 255, 255), (50, 0, 106), (19, 19, 19)])[203:]
    picture[203:, 360:380] = 9  # PLUGE
    picture[203:, 400:420] = 29
    return picture


def ebu(level: int, ident: str | None = None) -> np.ndarray:
    white = (255, 255, 255)
    rest = [tuple(level * (c > 0) for c in color) for color in SMPTE[1:]]
    return bars([white, *rest, (0, 0, 0)], ident)


def pillarboxed() -> np.ndarray:
    picture = np.full((H, W, 3), 104, np.uint8)
    inner = np.asarray(Image.fromarray(bars(SMPTE)).resize((W * 3 // 4, H), Image.NEAREST))
    picture[:, W // 8 : W // 8 + W * 3 // 4] = inner
    return picture


@pytest.mark.parametrize("color", [(0, 0, 200), (255, 255, 255), (128, 128, 128), (0, 90, 0)])
def test_plain_colors(tmp_path, clean, color):
    frames = clean[:40] + plain(color, 30) + clean[70:]
    defect = only_one(look(tmp_path, frames), Kind.SOLID_COLOR)
    assert_interval(defect, 1.6, 2.8)
    assert defect.confidence > 0.8


def test_longer_is_worse(tmp_path, clean):
    short = only_one(look(tmp_path, clean[:40] + plain(200, 15) + clean[55:]), Kind.SOLID_COLOR)
    long = only_one(look(tmp_path, clean[:40] + plain(200, 60) + clean[100:]), Kind.SOLID_COLOR)
    assert long.severity > short.severity


@pytest.mark.parametrize(
    "picture",
    [smpte(), ebu(191), ebu(255), ebu(191, "STUDIO 4  10:32:07"), pillarboxed()],
    ids=["smpte", "ebu75", "ebu100", "ident", "pillarboxed"],
)
def test_color_bars(tmp_path, clean, picture):
    result = look(tmp_path, clean[:40] + [picture] * 25 + clean[65:])
    defect = only_one(result, Kind.COLOR_BARS)
    assert_interval(defect, 1.6, 2.6)
    assert len(result.defects) == 1


def test_bars_as_a_leader_count_for_less(tmp_path, clean):
    lead = only_one(look(tmp_path, [smpte()] * 50 + clean[50:]), Kind.COLOR_BARS)
    inside = only_one(look(tmp_path, clean[:50] + [smpte()] * 50 + clean[100:]), Kind.COLOR_BARS)
    assert lead.severity < inside.severity


def slate_picture(
    lines=("MEDIA OFFLINE", "MEDIEN OFFLINE", "MEDIA HORS LIGNE"), ground=(150, 20, 20)
) -> np.ndarray:
    card = Image.new("RGB", (W, H), ground)
    draw = ImageDraw.Draw(card)
    for n, words in enumerate(lines):
        draw.text((180, 100 + 24 * n), words, (250, 250, 250))
    return np.asarray(card)


def test_slate(tmp_path, clean):
    result = look(tmp_path, clean[:30] + [slate_picture()] * 90 + clean[120:])
    assert_interval(only_one(result, Kind.SLATE), 1.2, 4.8)
    assert len(result.defects) == 1


@pytest.mark.parametrize("first", [24, 25, 26])  # the last frames of a segment, the first one
def test_a_slate_that_settles_late(tmp_path, clean, first):
    """Its second frame still differs here and there, as a coarse encode does."""
    settling = slate_picture().copy()
    settling[96:176:2, 176:304:2] += 6
    frames = clean[:first] + [settling] + [slate_picture()] * 89 + clean[first + 90 :]
    slate = only_one(look(tmp_path, frames), Kind.SLATE)
    assert_interval(slate, first / 25, (first + 90) / 25)


def test_a_slate_as_bright_as_what_moves_before_it(tmp_path):
    """The mean level comes near that of the slate by chance: no fade."""
    frames = media.scene(6.0, cuts=0, speed=2, seed=2)
    level = float(slate_picture().mean()) / float(frames[0].mean())
    darker = [(frame * 0.3).astype(np.uint8) for frame in frames[:26]]
    frames = darker + [(frame * level).astype(np.uint8) for frame in frames[26:]]
    frames[33:123] = [slate_picture()] * 90
    assert_interval(only_one(look(tmp_path, frames), Kind.SLATE), 33 / 25, 123 / 25)


def title_card(clean):
    gain = np.concatenate([np.linspace(0, 1, 10), np.ones(80), np.linspace(1, 0, 10)])
    card = [(slate_picture() * one).astype(np.uint8) for one in gain]
    return clean[:25] + card + clean[125:]


def short_title(clean):
    return clean[:30] + [slate_picture()] * 50 + clean[80:]


def sky(clean):
    """A clear sky: brighter and paler towards the horizon, a bird, a slow tilt."""
    yy = np.arange(H)[:, None, None]
    made = []
    for n in range(len(clean)):
        top, bottom = np.array([60, 120, 210.0]), np.array([110, 165, 230.0])
        share = (yy + n * 0.3) / (H + 60)
        picture = np.broadcast_to(top * (1 - share) + bottom * share, (H, W, 3)).copy()
        picture[100:104, 40 + 2 * n : 50 + 2 * n] = 40
        made.append(picture.astype(np.uint8))
    return made


def white_fade(clean):
    weight = np.zeros(len(clean))
    weight[40:52], weight[52:56] = np.linspace(0, 1, 12), 1
    weight[56:68] = np.linspace(1, 0, 12)
    return [
        (one * (1 - w) + 255 * w).astype(np.uint8) for one, w in zip(clean, weight, strict=True)
    ]


def flag(clean):
    """Three upright stripes in the wind."""
    xx = np.arange(W)
    made = []
    for n in range(len(clean)):
        wave = (xx + 12 * np.sin(xx / 40 + n / 5)) / W * 3
        colors = np.array([(0, 40, 150), (250, 250, 250), (220, 30, 40)])
        row = colors[np.clip(wave.astype(int), 0, 2)]
        made.append(np.broadcast_to(row, (H, W, 3)).astype(np.uint8))
    return made


def rainbow(clean):
    """Stripes of many colours, though not in the order of bars."""
    order = [SMPTE[n] for n in (5, 1, 3, 2, 6, 4, 0)]
    return [bars(order)] * len(clean)


def black(clean):
    return clean[:40] + plain(0, 50) + clean[90:]


@pytest.mark.parametrize(
    "make", [list, title_card, short_title, sky, white_fade, flag, rainbow, black]
)
def test_legitimate_pictures(tmp_path, clean, make):
    assert not look(tmp_path, make(clean)).defects


def test_real_clip():
    assert not examine(media.bunny(), "card").defects


def test_tiny_pictures(tmp_path):
    frames = [np.full((2, 2, 3), (0, 0, 200), np.uint8)] * 25
    assert len(of_kind(look(tmp_path, frames), Kind.SOLID_COLOR)) == 1


@pytest.mark.parametrize("first", [44, 45])  # the last frame of a segment, the first one
def test_slates_in_a_row_are_one_wherever_segments_end(tmp_path, clean, first):
    other = slate_picture(["WE ARE BACK IN A MOMENT"] * 4, (20, 60, 20))
    frames = clean[:30] + [slate_picture()] * first + [other] * 100 + clean[30:60]
    found = of_kind(look(tmp_path, frames), Kind.SLATE)
    assert len(found) == 1
    assert_interval(found[0], 30 / 25, (130 + first) / 25)


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    path = tmp_path_factory.mktemp("longer") / "clean.mp4"
    return Clean(media.write(path, media.scene(8.0, 320, 180, cuts=0)))


@pytest.mark.parametrize("seed", [1, 2])
def test_slates_on_a_shade_and_that_end_with_a_segment(tmp_path, longer, seed, monkeypatch):
    monkeypatch.setattr(SlateFault, "_GROUNDS", ((120, 10, 20),))
    order = place("slate", Severity.SUBTLE, longer, seed, at=(2.0, 6.0))
    truth = damage(longer, tmp_path / "a.mp4", [order]).truths[0]
    assert truth.parameters["gradient"] == (seed == 1)
    slate = only_one(examine(tmp_path / "a.mp4", "card"), Kind.SLATE)
    assert_interval(slate, truth.start, truth.end)


@pytest.fixture(scope="module")
def creeping(tmp_path_factory):
    """A soft picture that moves by a third of a sample a frame."""
    still = gaussian_filter(media.texture(360, 720, 3).astype(np.float32), (6, 6, 0)) * 0.6 + 60
    frames = []
    for n in range(200):
        whole, part = divmod(n / 3, 1)
        x = int(whole)
        frame = (1 - part) * still[:, x : x + 640] + part * still[:, x + 1 : x + 641]
        frames.append(np.clip(frame + 0.5, 0, 255).astype(np.uint8))
    return Clean(media.write(tmp_path_factory.mktemp("creeping") / "clean.mp4", frames))


@pytest.mark.parametrize("beside", ["longer", "creeping"])
def test_a_slide_beside_what_moves_is_no_slate(tmp_path, beside, request):
    clean = request.getfixturevalue(beside)
    lecture = LOOKALIKES["slide_with_speaker"](clean, 1)
    encode(tmp_path / "a.mp4", lecture.pictures(clean.pictures()), None, rate=clean.rate)
    assert not of_kind(examine(tmp_path / "a.mp4", "card"), Kind.SLATE)
