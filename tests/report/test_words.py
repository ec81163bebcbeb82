"""Words of a report: kinds, times, severities, units."""

from __future__ import annotations

import math

import pytest

from pipeline import words
from pipeline.types import Kind


def test_every_kind_has_words():
    for kind in Kind:
        term = words.KINDS[kind]
        assert term.name
        assert term.notice.endswith(".")
        assert set(term.senses) <= {"v", "a"}
    assert len({term.name for term in words.KINDS.values()}) == len(Kind)
    assert words.term("made_up").name == "Made up"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00:00.000"),
        (59.9996, "0:01:00.000"),
        (3723.0456, "1:02:03.046"),
        (-0.04, "−0:00:00.040"),
        (100_000, "27:46:40.000"),
    ],
)
def test_timecode(seconds, text):
    assert words.timecode(seconds) == text


def test_severity_words():
    steps = [words.severity_word(value) for value in (0, 0.25, 0.37, 0.38, 0.75, 0.9, 1)]
    assert steps == [
        "very subtle",
        "very subtle",
        "very subtle",
        "subtle",
        "noticeable",
        "very noticeable",
        "very noticeable",
    ]


def test_figures_have_units():
    assert words.measured("level_dbfs", -26.04) == ("Level", "−26.04 dBFS")
    assert words.measured("share_of_picture", 0.175) == ("Share of picture", "17.5 %")
    assert words.measured("flashes_per_s", 5) == ("Flashes", "5 per second")
    assert words.measured("share_moving", 0.5) == ("Share moving", "50.0 %")
    assert words.measured("duration_s", 2) == ("Duration", "2 s")
    assert words.measured("frames", math.inf) == ("Frames", "∞")
    assert [words.size(n) for n in (999, 15_926_685, 12_345_678_901)] == [
        "999 bytes",
        "15.9 MB",
        "12.3 GB",
    ]
    assert [words.seconds_words(s) for s in (0.08, 2.483, 62, 4800)] == [
        "80 ms",
        "2.48 s",
        "1 min 2 s",
        "1 h 20 min",
    ]
