"""A least confidence per kind, for a wanted rate of false alarms on a user's own clean media.

    vidette calibrate MEDIA... [--rate 0.5] [--config vidette-calibrated.yaml]

Whatever Vidette reports on MEDIA counts as false, so they must be clean. Writes a configuration
that `vidette inspect --config` takes, and says what the choice costs: the share of defects put into
copies of the same media that is no longer found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.accuracy import plan, score
from bench.accuracy.__main__ import clean_clips, measured
from bench.accuracy.figures import hours_of, outcomes
from bench.accuracy.run import Result
from corpus.clips import CleanClip
from faults import FAULTS
from pipeline.types import Kind


@dataclass(frozen=True)
class Choice:
    """What was chosen for one kind, and what it does.

    Attributes:
        threshold: the least confidence; None: no threshold makes it as rare as wanted.
        before, after: false alarms on the clean media.
        recall_before, recall_after: on damaged copies; None where there are none of this kind.
    """

    kind: Kind
    threshold: float | None
    before: score.Rate
    after: score.Rate
    recall_before: float | None
    recall_after: float | None


def calibrate(results: Sequence[Result], wanted: float) -> list[Choice]:
    """A choice for every kind that is reported on the clean media.

    Args:
        results: of clean files and of damaged copies.
        wanted: false alarms per hour and kind.
    """
    clean = [r for r in results if r.what == "clean" and r.error is None]
    choices = []
    for kind in Kind:
        alarms = [f.confidence for r in clean for f in r.found if f.kind == kind]
        if not alarms:
            continue
        hours = hours_of(clean, kind)
        threshold = score.confidence_for(alarms, hours, wanted)
        level = 1.0 if threshold is None else threshold
        damaged = [one for one in outcomes(results, kind) if one.truths]
        choices.append(
            Choice(
                kind=kind,
                threshold=threshold,
                before=score.rate(len(alarms), hours),
                after=score.rate(sum(a >= level for a in alarms), hours),
                recall_before=score.counts(damaged).recall,
                recall_after=score.counts(damaged, level).recall,
            )
        )
    return choices


def configuration(choices: Sequence[Choice]) -> str:
    """YAML for `vidette inspect --config`."""
    chosen = {
        str(choice.kind): 1.0 if choice.threshold is None else choice.threshold
        for choice in choices
        if choice.threshold != 0
    }
    return yaml.safe_dump({"min_confidence": chosen}, sort_keys=True)


def table(choices: Sequence[Choice], wanted: float) -> str:
    """What was chosen, as Markdown."""
    if not choices:
        return "Nothing was reported on the clean media: there is no threshold to raise.\n"
    hours = max(one.before.hours for one in choices)
    lines = [
        f"False alarms per hour of clean media, wanted {wanted:g} per kind (in brackets the exact "
        "95 % upper bound), and the recall on damaged copies.",
    ]
    if wanted * hours < 1:
        lines.append(
            f"A single alarm in these {60 * hours:.0f} minutes is {1 / hours:.1f} an hour already, "
            "so none is let through; more media would tell more."
        )
    lines += [
        "",
        "| kind | least confidence | before | after | recall before | after |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in choices:
        level = "1 (out of reach)" if one.threshold is None else f"{one.threshold:g}"
        rates = [f"{r.per_hour:.2f} (< {r.high:.1f})" for r in (one.before, one.after)]
        recalls = ["" if r is None else f"{r:.2f}" for r in (one.recall_before, one.recall_after)]
        lines.append("| " + " | ".join([one.kind, level, *rates, *recalls]) + " |")
    return "\n".join(lines) + "\n"


def alarms(results: Sequence[Result], clips: Sequence[CleanClip], most: int = 20) -> str:
    """What was reported on the clean media, to be looked at: some of it may be there."""
    files = {clip.id: clip.file for clip in clips}
    found = [
        (
            one.confidence,
            f"- {one.kind} at {one.start:.2f} to {one.end:.2f} s of {files[result.clip]}: "
            f"{one.summary}",
        )
        for result in results
        if result.what == "clean" and result.error is None
        for one in result.found
    ]
    lines = [line for _, line in sorted(found, reverse=True)]
    if not lines:
        return ""
    more = [f"- and {len(lines) - most} more"] if len(lines) > most else []
    head = "Reported on the clean clips, the surest first (look whether it is there):"
    return "\n".join([head, *lines[:most], *more]) + "\n"


def run(
    media: Sequence[Path],
    rate: float,
    config: Path,
    *,
    work: Path,
    per_source: int | None = None,
    damaged: bool = True,
    seed: int = 1,
    workers: int = 2,
) -> str:
    """Measure, choose and write the configuration; returns what it costs, and what was reported.

    Only kinds that are reported on the clean media are put into copies of it, and only their
    detectors look at those.

    Args:
        media: folders of clean media.
        rate: wanted false alarms per hour and kind.
        config: the YAML file to write.
        work: where clean clips and results are kept, so that an interrupted run goes on.
        per_source: clips of each kind and source; None: as in corpus.sources.PER_SOURCE.
        damaged: measure recall as well.
        seed: of the damage.
        workers: processes.

    Raises:
        ValueError: there is no clean clip in these folders.
    """
    clips = clean_clips(media, work, seed, None, per_source, workers)
    drawn = plan.make_plan(clips, seed, split="all", per_severity=1, per_lookalike=0)
    if not drawn.items:
        raise ValueError("there is no clean clip in these folders")
    clean = drawn.model_copy(update={"items": [i for i in drawn.items if i.what == "clean"]})
    results = measured(clean, clips, work, workers, compare=False, label="judged")
    raised = [one.kind for one in calibrate(results, rate) if one.threshold != 0]
    faults = [i for i in drawn.items if i.what == "fault" and FAULTS[i.name].kind in raised]
    if damaged and faults:
        copies = drawn.model_copy(update={"items": faults})
        results += measured(copies, clips, work, workers, raised, compare=False, label="damaged")
    choices = calibrate(results, rate)
    config.write_text(configuration(choices))
    return "\n".join(part for part in (table(choices, rate), alarms(results, clips)) if part)
