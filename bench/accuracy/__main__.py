"""Accuracy: clean media is damaged by a recorded plan, and Vidette and FFmpeg look for it.

    python -m bench.accuracy [MEDIA...] [--split dev|test|all] [--quick] [--kinds a,b] [--seed N]
                             [--what fault|lookalike|clean ...]

MEDIA are folders of clean clips, photographs and sound (see corpus/sources.py; `python -m
corpus.fetch DIR` gathers some). Clean clips, files and results are kept in the work folder:
a run that was interrupted goes on, and one after a change of detectors only inspects again. The
same seed and media give the same figures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.accuracy import figures, operating, page, peers, plan, report
from bench.accuracy.run import ROOT, Result, judged_by, made_by, run_all
from corpus.clips import FORM, CleanClip, prepare
from corpus.sources import Split, recipes, scan, split_of
from faults import FAULTS
from pipeline.detectors import DETECTORS

TUNED = "ffmpeg-tuned.json"


def progress() -> Progress:
    """A bar with counts and the time that is left."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )


def clean_clips(
    media: Sequence[Path],
    work: Path,
    seed: int,
    override: dict[str, Split] | None,
    per_source: int | None,
    workers: int,
) -> list[CleanClip]:
    """The clean clips, made where they are not there yet."""
    wanted = recipes(scan(media), seed, override=override, per_source=per_source)
    with progress() as bar:
        task = bar.add_task("clean clips", total=None)
        clips, rejected = prepare(
            wanted,
            work / f"clean-{FORM}",
            override=override,
            workers=workers,
            told=lambda n, of: bar.update(task, completed=n, total=of),
        )
    for name, why in rejected.items():
        print(f"left out: {name}: {why}", file=sys.stderr)
    return clips


def measured(
    drawn: plan.Plan,
    clips: Sequence[CleanClip],
    work: Path,
    workers: int,
    kinds: Sequence[str] = (),
    *,
    compare: bool = True,
    label: str = "files",
) -> list[Result]:
    """The results of a plan, with a progress bar.

    Args:
        drawn: the plan.
        clips: that it was drawn from.
        work: folder that keeps files and results.
        workers: processes.
        kinds: only their detectors judge; empty: all.
        compare: ask FFmpeg's filters as well.
        label: of the bar, at first.
    """
    wanted = {FAULTS[kind].kind if kind in FAULTS else kind for kind in kinds}
    only = [name for name, detector in DETECTORS.items() if wanted & set(detector.kinds)]
    alone = "" if compare else "-alone"
    made = work / f"made-{made_by()}{alone}"
    for old in work.glob("made-*"):
        if old != made:
            shutil.rmtree(old)
    judged = "-".join((made_by() + alone, judged_by(), *only))
    store = work / f"results-{judged}.jsonl"
    with progress() as bar:
        task = bar.add_task(label, total=len(drawn.items))
        done = 0

        def told(result: Result) -> None:
            nonlocal done
            done += 1
            bar.update(task, completed=done, description=f"{result.name or 'clean'}")

        # the bar counts what is measured now; what was there is not waited for
        return run_all(
            drawn.items, clips, store, made,
            only=only, workers=workers, compare=compare, told=told,
        )  # fmt: skip


def about(drawn: plan.Plan, clips: Sequence[CleanClip]) -> dict[str, Any]:
    """What a reader has to know of a run."""
    used = [clip for clip in clips if drawn.split in ("all", clip.split)]
    sources = {clip.source for clip in used} | {c.sound_source for c in used if c.sound_source}
    facts = {
        "vidette": version("vidette"),
        "Python": platform.python_version(),
        "PyAV": av.__version__,
        "FFmpeg's command": peers.available() or "not installed",
    }
    drawn_from = hashlib.sha256(drawn.model_dump_json().encode()).hexdigest()[:12]
    return {
        "split": drawn.split,
        "quick": drawn.quick,
        "seed": drawn.seed,
        "plan": drawn_from,
        "sources": sorted(sources),
        "versions": facts,
    }


def tuned_points(
    results: Sequence[Result],
    clips: Sequence[CleanClip],
    override: dict[str, Split] | None,
    path: Path,
    *,
    record: bool,
) -> dict[str, dict[str, operating.Tuned]]:
    """FFmpeg's operating points: from the development files of this run, else as recorded."""
    of_clip = {clip.id: clip for clip in clips}
    development = [
        r for r in results
        if r.error is None and split_of(of_clip[r.clip].source, override) == "dev"
    ]  # fmt: skip
    recorded: dict[str, dict[str, operating.Tuned]] = {}
    if path.is_file():
        recorded = {
            kind: {name: operating.Tuned.model_validate(point) for name, point in points.items()}
            for kind, points in json.loads(path.read_text()).items()
        }
    points = {**recorded, **figures.tune_all(development)}
    if record and development and points:
        plain = {
            kind: {name: point.model_dump() for name, point in of_kind.items()}
            for kind, of_kind in sorted(points.items())
        }
        path.write_text(json.dumps(plain, indent=1) + "\n")
    return points


def main() -> None:
    """Plan, run, score, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("media", nargs="*", type=Path, help="folders of clean media")
    parser.add_argument("--split", choices=("dev", "test", "all"), default="dev")
    parser.add_argument("--quick", action="store_true", help="one file per fault and severity")
    parser.add_argument(
        "--kinds",
        default="",
        help="of defects, or faults, with commas between: those, judged by their detectors alone",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-severity", type=int, help="files of each fault and severity")
    parser.add_argument("--per-lookalike", type=int, help="files of each look-alike")
    parser.add_argument(
        "--what",
        choices=plan.WHAT,
        nargs="+",
        default=plan.WHAT,
        help="only files of these sorts; FFmpeg is asked where faults are among them",
    )
    parser.add_argument("--splits", type=Path, help="JSON: source -> dev or test, over the hash")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of the tables; bench/results, or the work folder where a part is chosen",
    )
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "vidette-bench-accuracy"
    )
    chosen = parser.parse_args()
    media = chosen.media or [ROOT.parent / "shared/media"]
    missing = [str(folder) for folder in media if not folder.is_dir()]
    if missing:
        parser.error(f"no folder {', '.join(missing)}; name folders of clean media")
    override = json.loads(chosen.splits.read_text()) if chosen.splits else None
    clips = clean_clips(
        media, chosen.work, chosen.seed, override, 1 if chosen.quick else None, chosen.workers
    )
    kinds = tuple(kind for kind in chosen.kinds.split(",") if kind)
    drawn = plan.make_plan(
        clips,
        chosen.seed,
        split=chosen.split,
        quick=chosen.quick,
        kinds=kinds,
        per_severity=chosen.per_severity,
        per_lookalike=chosen.per_lookalike,
        what=chosen.what,
    )
    if not drawn.items:
        parser.error("there is no clean clip of this split in these folders")
    name = f"accuracy-{chosen.split}" + ("-quick" if chosen.quick else "")
    whole = not kinds and set(chosen.what) == set(plan.WHAT)
    output: Path = chosen.output or (ROOT / "bench/results" if whole else chosen.work)
    (chosen.work / f"{name}-plan.json").write_text(drawn.model_dump_json(indent=1) + "\n")
    record = whole and not chosen.quick
    compare = "fault" in chosen.what
    results = measured(drawn, clips, chosen.work, chosen.workers, kinds, compare=compare)
    output.mkdir(parents=True, exist_ok=True)
    points = tuned_points(results, clips, override, ROOT / "bench/results" / TUNED, record=record)
    found = {"run": about(drawn, clips), **figures.compute(results, points, chosen.seed)}
    text = report.markdown(found)
    (output / f"{name}.md").write_text(text)
    (output / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    if chosen.split == "test" and output == ROOT / "bench/results" and not chosen.quick:
        readme = ROOT / "README.md"
        readme.write_text(report.into(readme.read_text(), report.summary(found)))
    where = chosen.work / f"{name}.html"
    page.write(where, found, drawn, results, clips)
    print(text)
    took = ", ".join(f"{name} {value:.0f} s" for name, value in figures.seconds(results).items())
    print(f"Of all files: {took}.")
    print(f"The figures are in {output}, the page with pictures is {where}.")


if __name__ == "__main__":
    main()
