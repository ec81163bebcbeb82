"""Block corruption: the truth is exactly where the damaged decode differs from the clean one."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from faults.base import FaultError
from faults.bitstream import Bitstream, Codec, Coding, slices
from faults.comparison import DIFFERS, compared, hits, stretches, tiles_that_differ
from faults.corruption import BlockCorruptionFault, Spec, corrupt, corrupt_stream
from faults.damage import damage, place
from faults.mechanisms import Mechanism, mechanisms
from faults.media import Clean, encode
from faults.packets import pictures_of
from faults.truth import TILE, Severity, read_masks
from tests import media

RATE = Fraction(25)
SPAN = (1.0, 1.8)
CODINGS = {
    Codec.H264: Coding(Codec.H264, 23, 30, 2, 2),
    Codec.HEVC: Coding(Codec.HEVC, 24, 30, 1, 2),
    Codec.MPEG2: Coding(Codec.MPEG2, 4, 15, 1, 2),
    Codec.VP9: Coding(Codec.VP9, 28, 30, 1, 0),
}
PAIRS = [(codec, mechanism) for codec in Codec for mechanism in mechanisms(codec)]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Four seconds, with sound."""
    path = tmp_path_factory.mktemp("small") / "clean.mkv"
    frames = media.scene(4, 192, 112, cuts=1, speed=2.5, seed=3)
    media.write(path, frames, media.programme(4), audio_codec="flac", audio_format="s16")
    return Clean(path)


@pytest.fixture(scope="module")
def streams(small):
    """One encode for each codec, with its decode."""
    made = {codec: Bitstream(small.pictures(), RATE, CODINGS[codec]) for codec in Codec}
    return {codec: (stream, list(stream.clean())) for codec, stream in made.items()}


@pytest.mark.parametrize("codec", list(Codec))
def test_clean_decode_is_the_picture(small, streams, codec):
    _, clean = streams[codec]
    assert [p.time for p in clean] == pytest.approx(small.times.tolist(), abs=2e-3)
    for before, after in zip(small.pictures(), clean, strict=True):
        assert np.abs(before.luma.astype(int) - after.luma).mean() < 4


@pytest.mark.parametrize(("codec", "mechanism"), PAIRS)
def test_damage_is_in_the_mask_and_after_the_start(streams, codec, mechanism):
    stream, clean = streams[codec]
    spec = Spec(stream.coding, mechanism, 0.6, SPAN)
    made = corrupt_stream(stream, spec, np.random.default_rng(5), clean)
    assert made.masks.any(), "nothing shows"
    assert 0 < made.ratio <= 1
    assert len(made.damaged) == len(clean) == len(made.masks) == len(made.stale)
    gop = CODINGS[codec].gop / 25
    for before, after, mask in zip(clean, made.damaged, made.masks, strict=True):
        assert after.time == before.time
        if before.time < SPAN[0] - 0.081 or before.time > SPAN[1] + gop + 0.081:
            assert not mask.any(), before.time
        outside = ~np.kron(mask, np.ones((TILE, TILE), bool))[: before.luma.shape[0]]
        far = np.abs(before.luma.astype(int) - after.luma) > DIFFERS
        assert (far & outside).sum() <= mask.size * TILE * TILE / 16
    if mechanism not in (Mechanism.REFERENCE_LOST, Mechanism.MID_GOP_JOIN):
        return
    assert made.ratio > 0.2


@pytest.mark.parametrize(("codec", "mechanism"), PAIRS[::3])
def test_same_seed_same_frames(streams, codec, mechanism):
    stream, clean = streams[codec]
    spec = Spec(stream.coding, mechanism, 0.5, SPAN)

    def run(seed):
        return corrupt_stream(stream, spec, np.random.default_rng(seed), clean)

    one, again, other = run(1), run(1), run(2)
    assert one.damage == again.damage
    for a, b in zip(one.damaged, again.damaged, strict=True):
        assert np.array_equal(a.luma, b.luma)
        assert np.array_equal(a.cb, b.cb)
    assert one.damage != other.damage


def test_corrupt_is_encode_and_damage(small):
    spec = Spec(Coding(Codec.H264, gop=25), Mechanism.BIT_FLIPS, 0.7, SPAN)
    made = corrupt(list(small.pictures())[:60], RATE, spec, np.random.default_rng(1))
    assert len(made.damaged) == 60
    assert made.masks.any()
    assert made.masks.shape[1:] == (7, 12)


def test_no_damage_is_no_difference(streams):
    for stream, clean in streams.values():
        assert not any(one.mask.any() for one in compared(clean, stream.clean(), RATE))


def test_lost_frames_show_the_one_before(streams):
    """A hole is filled as a player fills it, and known to be no block corruption."""
    _, clean = streams[Codec.H264]
    kept = [p for n, p in enumerate(clean) if not 30 <= n < 36]
    found = list(compared(clean, kept, RATE))
    for n in range(30, 36):
        assert np.array_equal(found[n].shown.luma, clean[29].luma)
        assert found[n].shown.time == clean[n].time
        assert found[n].stale
    assert not any(one.mask.any() for n, one in enumerate(found) if not 30 <= n < 36)
    wrong = [hit for _, hit in hits(found) if hit is not None]
    assert [hit.time for hit in wrong] == pytest.approx([1.2 + 0.04 * n for n in range(6)])
    assert stretches(wrong) == []


def test_only_what_shows_is_damage(streams):
    """A picture that has moved differs everywhere, and nobody can tell; garbage shows."""
    _, clean = streams[Codec.H264]
    shown = [one.copy() for one in clean]
    rng = np.random.default_rng(1)
    for n in range(30, 40):
        shown[n].luma[:] = np.roll(shown[n].luma, 2, axis=1)
    for n in range(33, 36):
        shown[n].luma[32:64, 64:96] = rng.integers(16, 236, (32, 32))
    wrong = [hit for _, hit in hits(compared(clean, shown, RATE)) if hit is not None]
    assert len(wrong) == 10
    ((start, end, masked),) = stretches(wrong)
    assert (start, end) == pytest.approx((1.32, 1.44), abs=1e-3)
    assert len(masked.times) == 10
    seen = masked.shows[3]
    assert seen[2:4, 4:6].all()
    assert seen.sum() == 4
    assert masked.mask[3].sum() > 20
    assert not masked.shows[:3].any()


def test_tiles_count_samples_of_luma_and_chroma(streams):
    picture = streams[Codec.H264][1][0]
    other = picture.copy()
    other.luma[20:24, 40:44] ^= 0x80  # 16 samples: a sixteenth of the tile, not more
    assert not tiles_that_differ(picture, other).any()
    other.luma[24, 40] ^= 0x80
    assert np.argwhere(tiles_that_differ(picture, other)).tolist() == [[1, 2]]
    other = picture.copy()
    other.cr[-3:, -3:] ^= 0x80  # 36 samples of the size of luma
    assert np.argwhere(tiles_that_differ(picture, other)).tolist() == [[6, 11]]


def test_slices_are_found(streams):
    stream, _ = streams[Codec.H264]
    assert {len(slices(unit.data, Codec.H264)) for unit in stream.units} == {2}
    stream, _ = streams[Codec.MPEG2]
    assert len(slices(stream.units[0].data, Codec.MPEG2)) == 7  # one for each row of macroblocks


# ----------------------------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def sources(small, tmp_path_factory):
    """The clip as it is handed to a fault of files, by suffix."""
    folder = tmp_path_factory.mktemp("sources")
    made = {}
    for suffix in (".ts", ".mp4", ".mkv", ".webm"):
        made[suffix] = folder / f"source{suffix}"
        encode(made[suffix], small.pictures(), small.sound, rate=small.rate)
    return made


def _made(small, sources, target, severity, seed):
    order = place("block_corruption", severity, small, seed, at=(1.0, 1.5))
    fault = BlockCorruptionFault(order, small)
    fault.file(sources[target.suffix], target)
    return fault


_SLOW = [pytest.param(suffix, marks=pytest.mark.slow) for suffix in (".mp4", ".webm")]


@pytest.mark.parametrize("suffix", [".ts", ".mkv", *_SLOW])
def test_truth_of_a_file(small, sources, tmp_path, suffix):
    seen = set()
    for seed in range(20):
        target = tmp_path / f"{seed}{suffix}"
        fault = _made(small, sources, target, Severity.VERY_NOTICEABLE, seed)
        parameters = fault.truths[0].parameters
        if parameters["baked"] in seen:
            continue
        seen.add(parameters["baked"])
        made = Clean(target)
        assert made.sound.shape[1] == pytest.approx(small.sound.shape[1], abs=3000)
        offset = made.times[0]  # sound may begin before the picture
        by_time = {}
        for truth in fault.truths:
            assert truth.kind == "block_corruption"
            assert 0.9 <= truth.start < truth.end <= 4.05
            masked = fault.masks[truth.mask]
            shown = masked.times[masked.shows.any(axis=(1, 2))]
            assert shown[0] == pytest.approx(truth.start)
            assert shown[-1] < truth.end
            assert not (masked.shows & ~masked.mask).any()
            by_time |= dict(zip(masked.times.round(2), masked.mask, strict=True))
        clean = {round(p.time + offset, 2): p for p in small.pictures()}
        inside, outside = [], []
        for picture in pictures_of(target):
            before = clean.get(round(picture.time, 2))
            if before is None:
                continue
            mask = by_time.get(round(picture.time, 2))
            error = np.abs(before.luma.astype(int) - picture.luma)
            if mask is None:  # two generations of coding, and nothing else
                assert error.mean() < 5, picture.time
            elif mask.mean() > 0.1:
                tiles = np.kron(mask, np.ones((TILE, TILE), bool))[: error.shape[0]]
                inside.append(error[tiles].mean())
                outside.append(error[~tiles].mean() if not mask.all() else 0.0)
        assert np.mean(inside) > 1.5 * np.mean(outside)
        if len(seen) == 2:
            return
    pytest.fail(f"{suffix} is always {'baked' if True in seen else 'delivered'}")


def test_same_seed_same_bytes(small, tmp_path):
    """Through the driver, with the masks."""
    order = place("block_corruption", Severity.SUBTLE, small, 1, at=(1.0, 1.5))
    target = tmp_path / "damaged.ts"
    said = damage(small, target, [order])
    data = target.read_bytes()
    masks = read_masks(target.with_name(said.mask_file))
    assert set(masks) == {truth.mask for truth in said.truths}
    assert damage(small, target, [order]) == said
    assert target.read_bytes() == data


def test_rates_that_mpeg2_has_not(tmp_path):
    """14437/500 frames per second: another codec is drawn."""
    path = tmp_path / "odd.mkv"
    media.write(path, media.scene(4, 192, 112, cuts=1, speed=2.5, seed=3), rate=14437 / 500)
    odd = Clean(path)
    codecs = set()
    for seed in range(4):
        order = place("block_corruption", Severity.VERY_NOTICEABLE, odd, seed, at=(1.0, 1.5))
        fault = BlockCorruptionFault(order, odd)
        try:
            fault.file(path, tmp_path / "x.mkv")
        except FaultError:
            continue
        codecs.add(fault.parameters["codec"])
    assert codecs
    assert Codec.MPEG2 not in codecs


@pytest.mark.slow
def test_rungs_are_ordered(small, sources, tmp_path):
    """Mean share of the picture whose damage shows, of a few draws."""
    means = []
    for severity in reversed(Severity):
        found = []
        for seed in range(4):
            try:
                fault = _made(small, sources, tmp_path / "x.mkv", severity, seed)
            except FaultError:  # so small a picture does not show what is very subtle
                continue
            found.append(max(float(t.parameters["damaged_area"]) for t in fault.truths))
        assert len(found) >= 2
        means.append(float(np.mean(found)))
    assert means == sorted(set(means)), means
    ladder = BlockCorruptionFault.ladder
    assert means[0] < 2 * ladder[Severity.VERY_SUBTLE]["area_to"]
    assert means[3] > ladder[Severity.VERY_NOTICEABLE]["area_from"] / 2
