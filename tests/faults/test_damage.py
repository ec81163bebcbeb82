"""Damaging whole files: orders, truth files, the command line."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

import vidette
from faults import FAULTS
from faults.base import FaultError
from faults.damage import MARGIN, damage, mix, place
from faults.media import Clean
from faults.truth import DamagedFile, Severity
from pipeline.errors import SourceError
from pipeline.inspect import inspect
from pipeline.settings import load
from tests import media


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv", ".webm", ".mpg"])
def test_a_damaged_file_shows_what_its_truth_says(tmp_path, clean_clip, suffix):
    target = tmp_path / f"damaged{suffix}"
    truth = damage(clean_clip, target, [place("black", Severity.NOTICEABLE, clean_clip, 4)])
    (black,) = truth.truths
    assert black.end - black.start == pytest.approx(2.0, abs=0.04)
    result = inspect(str(target), load(only=("black",)))
    (found,) = result.defects
    assert found.start == pytest.approx(black.start, abs=0.05)  # AAC may begin before the picture
    assert found.end == pytest.approx(black.end, abs=0.05)
    assert result.asset.duration == pytest.approx(truth.duration, abs=0.1)


def test_same_orders_same_bytes(tmp_path, clean_clip):
    orders = [
        place("black", Severity.SUBTLE, clean_clip, 1),
        place("hum", Severity.SUBTLE, clean_clip, 1),
    ]
    files = [tmp_path / name for name in ("a.mp4", "b.mp4")]
    truths = [damage(clean_clip, file, orders).truths for file in files]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert truths[0] == truths[1]


def test_encoding_alone_damages_little(tmp_path, clean_clip, clean_pictures):
    """What is not ordered stays: PSNR over 38 dB, sound within a hundredth of full scale."""
    target = tmp_path / "a.mkv"
    damage(clean_clip, target, [])
    again = Clean(target)
    np.testing.assert_allclose(again.times, clean_clip.times, atol=1e-3)
    for before, after in zip(clean_pictures, again.pictures(), strict=True):
        error = np.mean((before.luma.astype(float) - after.luma) ** 2)
        assert 10 * np.log10(255**2 / max(error, 1e-9)) > 38
    length = min(again.sound.shape[1], clean_clip.sound.shape[1])
    assert np.abs(again.sound[:, :length] - clean_clip.sound[:, :length]).mean() < 0.01


def test_places_are_kept_apart_from_the_ends_and_follow_the_seed(clean_clip):
    orders = [place("freeze", Severity.SUBTLE, clean_clip, seed) for seed in range(20)]
    assert all(o.start >= MARGIN and o.end <= clean_clip.duration - MARGIN + 1e-9 for o in orders)
    assert len({order.start for order in orders}) > 10
    assert place("freeze", Severity.SUBTLE, clean_clip, 3) == orders[3]


def test_mixed_faults_do_not_overlap(clean_clip):
    orders = mix(clean_clip, seed=2, count=3)
    assert orders == mix(clean_clip, seed=2, count=3)
    assert {FAULTS[order.fault].reads for order in orders} >= {"picture", "sound"}
    for reads in ("picture", "sound"):
        spans = [(o.start, o.end) for o in orders if FAULTS[o.fault].reads == reads]
        for (_, end), (start, _) in itertools.pairwise(spans):
            assert start >= end + MARGIN


def test_sound_is_read_without_seams(tmp_path):
    """Matroska rounds times to milliseconds: a tone must come back whole, sample by sample."""
    rate = 44_100  # at which no block of FLAC is a whole number of milliseconds
    tone = np.sin(2 * np.pi * 997 * np.arange(2 * rate) / rate).astype(np.float32) * 0.5
    path = tmp_path / "tone.mkv"
    sound = np.stack([tone, tone])
    media.write(path, None, sound, sample_rate=rate, audio_codec="flac", audio_format="s16")
    read = Clean(path).sound
    assert read.shape == sound.shape
    assert np.abs(read - tone).max() < 1e-4


def test_a_fault_without_a_place_need_not_cost_the_others(tmp_path):
    path = tmp_path / "mute.mkv"
    media.write(path, media.scene(5, 64, 48), np.zeros((2, 5 * 48_000), np.float32))
    clean = Clean(path)
    orders = [
        place("black", Severity.SUBTLE, clean, 1, at=(2.0, 3.0)),
        place("dropout", Severity.SUBTLE, clean, 1, at=(2.0, 3.0)),
    ]
    target = tmp_path / "damaged.mkv"
    with pytest.raises(FaultError):
        damage(clean, target, orders)
    assert not target.exists()
    truth = damage(clean, target, orders, lenient=True)
    assert [one.kind for one in truth.truths] == ["black"]
    with pytest.raises(FaultError):
        damage(clean, target, orders[1:], lenient=True)


def test_what_cannot_be_damaged_says_why(tmp_path, clean_clip):
    with pytest.raises(FaultError, match="there is no fault 'nonsense'"):
        place("nonsense", Severity.SUBTLE, clean_clip, 1)
    with pytest.raises(FaultError, match="not within"):
        place("black", Severity.SUBTLE, clean_clip, 1, at=(20.0, 22.0))
    silent = tmp_path / "silent.mp4"
    media.write(silent, media.scene(1, 64, 48))
    with pytest.raises(FaultError, match="no sound"):
        place("hum", Severity.SUBTLE, Clean(silent), 1)
    with pytest.raises(FaultError, match="this asset has 1"):
        place("black", Severity.VERY_NOTICEABLE, Clean(silent), 1)
    text = tmp_path / "text.mp4"
    text.write_text("not media")
    with pytest.raises(SourceError):
        Clean(text)


def test_sizes_and_ranges_that_need_conversion(tmp_path):
    """Odd sizes lose a row or column; full range becomes limited."""
    path = tmp_path / "odd.mkv"
    media.write(path, media.scene(1, 65, 49), video_codec="ffv1", pixel_format="yuv444p")
    clean = Clean(path)
    pictures = list(clean.pictures())
    assert clean.size == (48, 64)
    assert pictures[0].luma.shape == (48, 64)
    assert pictures[0].cb.shape == (24, 32)
    assert len(pictures) == len(clean.times) == 25


def _command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        vidette.main(list(arguments))
    return int(end.value.code)


def test_command(tmp_path, clean_clip, capsys):
    target = tmp_path / "damaged.mp4"
    arguments = ("damage", clean_clip.path, str(target), "--fault", "black", "--at", "2.0-4.0")
    assert _command(*arguments, "--severity", "noticeable", "--seed", "7") == 0
    assert "black" in capsys.readouterr().out
    beside = tmp_path / "damaged.mp4.truth.json"
    truth = DamagedFile.model_validate_json(beside.read_text())
    assert [(t.kind, t.start, t.end) for t in truth.truths] == [("black", 2.0, 4.0)]
    assert json.loads(beside.read_text())["schema"] == "vidette.truth/1"
    assert (
        _command("damage", clean_clip.path, str(tmp_path / "m.mp4"), "--random", "--seed", "1") == 0
    )
    assert DamagedFile.model_validate_json((tmp_path / "m.mp4.truth.json").read_text()).truths


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ((), "either --fault NAME or --random"),
        (("--fault", "black", "--random"), "either --fault NAME or --random"),
        (("--fault", "nonsense"), "there is no fault"),
        (("--fault", "black", "--severity", "awful"), "--severity is one of"),
        (("--fault", "black", "--at", "soon"), "--at wants START-END"),
        (("--fault", "black", "--at", "50-60"), "not within"),
    ],
)
def test_command_explains_wrong_usage(tmp_path, clean_clip, capsys, extra, said):
    assert _command("damage", clean_clip.path, str(tmp_path / "x.mp4"), *extra) == 64
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x.mp4").exists()


def test_command_lists_faults(capsys):
    assert _command("damage", "--list") == 0
    said = capsys.readouterr().out
    assert "black" in said
    assert "hum" in said
