"""The whole bench, on clips that the test makes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.accuracy import figures, page, report
from bench.accuracy.calibrate import calibrate, configuration, table
from bench.accuracy.plan import make_plan
from bench.accuracy.run import Result, execute, run_all, stored
from corpus.clips import prepare
from corpus.sources import recipes, scan
from pipeline.settings import load
from pipeline.types import Kind
from tests import media


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(clips, plan, results, store): black and silence in two tiny clips, and the clips clean."""
    folder = tmp_path_factory.mktemp("bench")
    for n, name in enumerate(("one", "two")):
        (folder / "media" / name).mkdir(parents=True)
        media.write(
            folder / "media" / name / "clip.mkv",
            media.scene(10.0, 192, 144, seed=n),
            media.programme(10.0, seed=n),
        )
    override = {"one": "dev", "two": "dev"}
    wanted = recipes(scan([folder / "media"]), 1, override=override)
    clips, rejected = prepare(wanted, folder / "clean", override=override, workers=1)
    assert not rejected
    drawn = make_plan(clips, 1, quick=True, kinds=("black", "silence"))
    kept = [i for i in drawn.items if i.severity in (None, "very_noticeable")]
    kept = [i for i in kept if i.what != "lookalike"]
    drawn = drawn.model_copy(update={"items": kept})
    store = folder / "results.jsonl"
    return clips, drawn, run_all(drawn.items, clips, store, folder / "made", workers=1), store


def test_what_was_put_in_is_found(done):
    _, drawn, results, _ = done
    assert [r.id for r in results] == [i.id for i in drawn.items]
    assert [r.error for r in results] == [None] * len(results)
    found = figures.compute(results, {}, 1)
    for kind in ("black", "silence"):
        assert found["kinds"][kind]["recall"] == 1.0
        assert found["kinds"][kind]["f1"] is not None
    assert found["files"] == {"fault": 2, "lookalike": 0, "clean": 2}
    assert found["clean_hours"] == pytest.approx(20 / 3600, abs=1e-3)


def test_results_are_kept(done, tmp_path):
    clips, drawn, results, store = done
    lines = store.read_text()
    made = store.with_name("made")
    assert run_all(drawn.items, clips, store, made, workers=1) == results
    assert store.read_text() == lines
    cut = tmp_path / "cut.jsonl"
    cut.write_text(lines[:-20])
    assert len(stored(cut)) == len(results) - 1
    # what was cut off is judged again, from the file that was kept
    written = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    again = run_all(drawn.items, clips, cut, made, workers=1)
    assert [r.found for r in again] == [r.found for r in results]
    assert {p: p.stat().st_mtime_ns for p in made.rglob("*") if p.is_file()} == written


def test_reports(done, tmp_path):
    clips, drawn, results, _ = done
    found = figures.compute(results, {}, 1)
    about = {"split": "dev", "quick": True, "seed": 1, "sources": ["one"], "versions": {}}
    text = report.markdown({"run": about, **found})
    assert "| black | 1 |" in text
    json.dumps(found)
    missed = [r.model_copy(update={"found": []}) if r.what == "fault" else r for r in results]
    path = tmp_path / "page.html"
    page.write(path, found, drawn, missed, clips)
    made = path.read_text()
    assert made.count("data:image/jpeg") >= 3  # the missed black
    assert 'class="wave"' in made  # the missed silence


def test_the_readme_takes_a_short_table(done):
    _, _, results, _ = done
    table = report.summary(figures.compute(results, {}, 1))
    assert "| black | 1.00 | 1/1 | 0/0 | 0/0 | 0.0 (" in table
    begin, end = report.MARKS
    page = report.into(f"before\n{begin}\nold\n{end}\nafter", table)
    assert page == f"before\n{begin}\n{table}\n{end}\nafter"
    assert report.into(page, table) == page
    with pytest.raises(ValueError, match="there is no"):
        report.into("a page without marks", table)


def test_long_clips_are_clean_for_sound_against_lips_alone(done, tmp_path):
    clips, drawn, results, _ = done
    item = next(item for item in drawn.items if item.what == "clean")
    talk = replace(clips[0], kind="talk")
    made = {talk.id: talk}
    result = execute(item, made, False, tmp_path, ("black",))
    assert result.error is None
    assert result.judges == ("sync",)
    assert not result.coverage, "no detector of it was asked"
    assert execute(item, made, False, tmp_path, ("black", "sync")).coverage == "complete"
    clean = [r for r in results if r.what == "clean"]
    hours = {kind: figures.hours_of(clean, kind) for kind in Kind}
    with_talk = {kind: figures.hours_of([*clean, result], kind) for kind in Kind}
    assert {kind for kind in Kind if with_talk[kind] > hours[kind]} == set(figures.SYNC)
    assert figures.compute([*clean, result], {}, 1)["files"]["clean"] == len(clean)


def test_calibration(done):
    _, _, results, _ = done
    noisy = [add_alarm(r) if r.what == "clean" else r for r in results]
    choice = next(c for c in calibrate(noisy, 0.5) if c.kind == Kind.BLACK)
    assert choice.before.events == 2
    assert choice.after.events == 0
    assert 0.6 < choice.threshold < 0.61
    assert choice.recall_before == choice.recall_after == 1.0
    assert "| black |" in table([choice], 0.5)


def test_configuration_is_one_that_vidette_takes(done, tmp_path):
    _, _, results, _ = done
    choices = calibrate([add_alarm(r) for r in results if r.what == "clean"], 0.5)
    path = tmp_path / "vidette.yaml"
    path.write_text(configuration(choices))
    settings = load(path)
    assert settings.min_confidence[Kind.BLACK] == pytest.approx(0.601)


def add_alarm(result: Result) -> Result:
    from bench.accuracy.run import Found

    alarm = Found(kind=Kind.BLACK, start=1, end=2, severity=0.5, confidence=0.6, summary="")
    return result.model_copy(update={"found": [*result.found, alarm]})
