"""The README's table: what it says of a kind follows from its figures."""

from __future__ import annotations

import json

import pytest

from bench.accuracy import report
from bench.accuracy.run import ROOT
from bench.accuracy.stated import STATED, above
from bench.accuracy.why_not import WHY_NOT
from faults.lookalikes import LOOKALIKES
from pipeline.types import Kind

RESULTS = ROOT / "bench/results/accuracy-test.json"


@pytest.fixture
def figures():
    return json.loads(RESULTS.read_text())


def rows(figures):
    """Cells by kind and column."""
    head, _, *lines = report.summary(figures).splitlines()
    names = [cell.strip() for cell in head.strip("|").split("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(row) for row in cells} == {len(names)}
    return {row[0]: dict(zip(names, row, strict=True)) for row in cells}


def test_reasons_are_of_kinds_and_fit_into_a_cell():
    assert set(WHY_NOT) <= set(Kind)
    for reason in WHY_NOT.values():
        assert reason.strip()
        assert "|" not in reason
        assert "\n" not in reason
        assert len(reason) <= 120


def test_a_reason_stands_where_the_aim_is_not_reached(figures):
    shown = rows(figures)
    assert {row["aim"] for row in shown.values()} == {"met so far", "not yet"}
    for kind, row in shown.items():
        known = WHY_NOT.get(Kind(kind), "")
        assert row["why not"] == ("" if row["aim"] == "met so far" else known)


def test_a_filter_is_compared_on_the_files_that_it_was_given(figures):
    figures["ffmpeg"]["click"]["vidette"]["f1"] = 0.86
    (one,) = figures["ffmpeg"]["click"]["filters"].values()
    one["tuned"]["f1"] = 0.6
    column = "best FFmpeg filter, tuned, to ours on the same files: F1"
    assert rows(figures)["click"][column] == "0.60 to 0.86 (astats Max_difference)"
    assert rows(figures)["hum"][column] == ""


@pytest.mark.parametrize(("found", "aim"), [(1, "not yet"), (2, "met so far")])
def test_a_reason_goes_once_the_aim_is_met(figures, found, aim):
    steps = ("very_noticeable", "noticeable", "subtle", "very_subtle")
    figures["kinds"]["dropout"]["recall_by_severity"] = {step: [found, 2] for step in steps}
    row = rows(figures)["dropout"]
    assert row["aim"] == aim
    assert row["why not"] == ("" if aim == "met so far" else WHY_NOT[Kind.DROPOUT])


def test_stated_rates_are_of_look_alikes_and_of_what_they_resemble():
    for name, rates in STATED.items():
        assert set(rates) <= set(LOOKALIKES[name].resembles)


def test_more_alarms_than_stated_are_named(figures):
    assert above("confetti", {"blockiness": 1, "noise": 1}, 2) == ["noise"]
    assert above("confetti", {"blockiness": 3}, 2) == []  # two are expected at most: chance
    assert above("confetti", {"blockiness": 6}, 2) == ["blockiness"]
    assert above("drums", {}, 2) == []
    lines = report.markdown(figures).partition("## Look-alikes")[2].splitlines()
    (speakers,) = [line for line in lines if line.startswith("| speakers |")]
    assert [cell.strip() for cell in speakers.split("|")][5] == "none"
