"""Segments that are missing, repeated or out of order, in real playlists."""

from __future__ import annotations

import itertools

import pytest

from faults.damage import damage, place
from faults.media import Clean
from faults.truth import Severity
from tests import media
from tests.findings import assert_interval, examine, of_kind, only_one


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    path = tmp_path_factory.mktemp("segments") / "clean.mkv"
    return Clean(media.write(path, media.scene(9.0, 160, 96), media.programme(9.0)))


@pytest.fixture(scope="module")
def ways(clean, tmp_path_factory):
    """A playlist damaged in each way, and its truth."""
    found = {}
    for seed in itertools.count():
        target = tmp_path_factory.mktemp("ways") / "list.m3u8"
        order = place("segment_missing", Severity.SUBTLE, clean, seed, at=(2.0, 4.0))
        said = damage(clean, target, [order])
        found.setdefault(said.truths[0].parameters["way"], (target, said.truths[0]))
        if len(found) == 3:
            return found
    return found


@pytest.mark.parametrize("way", ["missing", "repeated", "swapped"])
def test_found_where_it_is(ways, way):
    path, truth = ways[way]
    result = examine(path, "segment_missing", "av_length_mismatch")
    assert_interval(only_one(result, "segment_missing"), truth.start, truth.end, 0.15)
    # reading went on after it: the file is not cut short
    assert of_kind(result, "truncated") == []


def test_last_segments_are_truncation(tmp_path, clean):
    """What is missing at the end has nothing after it."""
    target = tmp_path / "list.m3u8"
    damage(clean, target, [place("click", Severity.SUBTLE, clean, 1)])
    for path in sorted(tmp_path.glob("*.ts"))[-2:]:
        path.unlink()
    result = examine(target, "segment_missing", "av_length_mismatch")
    assert of_kind(result, "segment_missing") == []
    assert len(of_kind(result, "truncated")) == 1


def test_clean_playlist(tmp_path, clean):
    target = tmp_path / "list.m3u8"
    damage(clean, target, [place("click", Severity.SUBTLE, clean, 1)])
    assert examine(target, "segment_missing", "av_length_mismatch").defects == []
