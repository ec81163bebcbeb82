"""vidette calibrate, the whole way: clean media in, a configuration that inspect takes out."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

import vidette
from bench.accuracy import calibrate
from bench.accuracy.run import stored
from faults import FAULTS
from pipeline.types import Kind
from tests import media


@pytest.fixture
def folder(tmp_path):
    """Two clips that are called clean, though the first goes black for a second."""
    for n, name in enumerate(("one", "two")):
        frames = media.scene(10.0, 192, 144, seed=n)
        if name == "one":
            frames[100:130] = [np.full_like(frames[0], 16)] * 30
        (tmp_path / "media" / name).mkdir(parents=True)
        sound = media.programme(10.0, seed=n)
        media.write(tmp_path / "media" / name / "clip.mkv", frames, sound)
    return tmp_path / "media"


@pytest.mark.slow
def test_what_clean_media_show_is_not_reported_with_the_configuration(folder, tmp_path):
    config, work = tmp_path / "vidette-calibrated.yaml", tmp_path / "work"

    def text(**options):
        return calibrate.run([folder], 0.5, config, work=work, workers=1, **options)

    said = text()
    assert "| black |" in said
    assert "A single alarm in these" in said
    assert "- black at " in said
    chosen = yaml.safe_load(config.read_text())["min_confidence"]
    assert chosen["black"] > 0.5
    clip = str(folder / "one/clip.mkv")
    assert [d.kind for d in vidette.inspect(clip, only=["black"]).defects] == [Kind.BLACK]
    assert not vidette.inspect(clip, only=["black"], config=config).defects

    results = [result for path in work.glob("results-*.jsonl") for result in stored(path)]
    damaged = {FAULTS[result.name].kind for result in results if result.what == "fault"}
    assert Kind.BLACK in damaged
    assert damaged <= set(chosen)
    assert all(result.what != "lookalike" for result in results)
    assert all(not result.peers.series and not result.peers.decided for result in results)

    written = {path: path.stat().st_mtime_ns for path in work.rglob("*.jsonl")}
    assert text() == said
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*.jsonl")} == written
    row = next(line for line in text(damaged=False).splitlines() if line.startswith("| black"))
    assert [cell.strip() for cell in row.split("|")[-3:-1]] == ["", ""]
