"""The least confidence of what is reported, per kind."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.inspect import inspect
from pipeline.settings import load
from pipeline.types import Kind
from tests import media


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    sound = media.programme(6.0)
    sound[:, 100_000:220_000] = 0
    return media.write(tmp_path_factory.mktemp("confidence") / "silent.wav", sound=sound,
                       audio_codec="pcm_s16le")  # fmt: skip


def test_default_leaves_nothing_out():
    assert load().min_confidence == {}


def test_less_confident_defects_of_the_kind_are_left_out(silent):
    found = inspect(str(silent)).defects
    confidence = next(d.confidence for d in found if d.kind == Kind.SILENCE)
    kept = inspect(str(silent), load(min_confidence={"silence": confidence})).defects
    assert kept == found
    above = float(np.nextafter(confidence, 2))
    if above <= 1:
        left = inspect(str(silent), load(min_confidence={"silence": above})).defects
        assert left == [d for d in found if d.kind != Kind.SILENCE]
    others = inspect(str(silent), load(min_confidence={"hum": 1.0})).defects
    assert others == [d for d in found if d.kind != Kind.HUM]


def test_read_from_a_file_and_from_the_environment(tmp_path, monkeypatch):
    config = tmp_path / "vidette.yaml"
    config.write_text("min_confidence:\n  blur: 0.7\n")
    assert load(config).min_confidence == {Kind.BLUR: 0.7}
    monkeypatch.setenv("VIDETTE_MIN_CONFIDENCE__banding", "0.4")
    assert load().min_confidence == {Kind.BANDING: 0.4}


@pytest.mark.parametrize("table", [{"nonsense": 0.5}, {"blur": 1.5}, {"blur": -0.1}])
def test_unknown_kinds_and_impossible_values_are_refused(table):
    with pytest.raises(UsageError, match="min_confidence"):
        load(min_confidence=table)
