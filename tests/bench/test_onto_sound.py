"""A fault put onto decoded sound, and found there."""

from __future__ import annotations

import sys

from bench import onto_sound
from corpus.sources import split_of
from tests.media import programme, write


def test_hum_is_put_onto_pieces_and_found(tmp_path, monkeypatch, capsys):
    source = next(name for n in range(100) if split_of(name := f"source{n}") == "dev")
    (tmp_path / source).mkdir()
    write(tmp_path / source / "a.wav", sound=programme(23), audio_codec="pcm_s16le")
    write(tmp_path / source / "short.wav", sound=programme(3), audio_codec="pcm_s16le")
    monkeypatch.setattr(sys, "argv", ["onto_sound", "hum", str(tmp_path)])
    onto_sound.main()
    told = capsys.readouterr().out
    assert "of 8 places found" in told  # two pieces of eleven seconds, four severities
    assert "very_noticeable: 2 of 2" in told
    assert "as they are: 0 reports in 0.01 hours" in told
