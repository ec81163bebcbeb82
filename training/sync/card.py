"""The tables of figures, and the model card that the run writes which made the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from models.sync import WEIGHTS, Calibration
from pipeline.detectors.lags import MOST, Reading
from pipeline.detectors.sync import SyncSettings
from training.sync.calibrate import Said
from training.sync.dataset import KNOWN_DELAY
from training.sync.evaluate import WINDOWS, GroupTrials

CARD = WEIGHTS.with_suffix(".md")
_BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0)  # of confidence
_FAR_OFF = 0.2  # seconds: an offset that must raise an alarm
Readings = Mapping[tuple[str, float], Said]

_TEXT = """# Model card: sync

Tells by how much the sound of a speaker is early or late against the lips, from pictures of the
mouth at 25 a second and a log-mel spectrum; architecture in `models/nets/sync.py`, weights in
`sync.safetensors`. It was fitted from nothing.

Made by this command (again: the same command, with the same media):

    python -m training.sync MEDIA... --steps {steps} --batch {batch} --folds {folds}

on {device}, {minutes} minutes for all {nets} nets.

## Data

{takes:,} clips, {seconds:,} seconds, of the groups below: speakers, or corpora whose speakers are
not named. Licences: `CATALOG.tsv` of the media folder. Generated heads ({generated}) are fitted on
and never tested on. Whole corpora have sound that is off; this much was taken out, measured by a
net that was fitted without them: {delays}.

## How it was tested

Every group was tested once, by a net that was fitted without it; the weights are of one more net,
which has seen all. The clips of a group are joined in a random order, as a programme cuts between
shots of one speaker, and windows are parts of that, so most of them have cuts in them. The net sees
nine pictures at a time: a window of 1.2 s without a cut gives 22 positions, with one 14. Sound was
put off by up to 0.8 s in steps of a picture, and by a random part of a picture. Foreign sound is
that of another clip, mostly of the same speaker.

## Offsets within one picture (40 ms)

Share of windows, among offsets of 1 s either way. In brackets: windows.

{table}

Among offsets of 2 s either way, as `vidette inspect` searches:

{wide}

Error of the offsets that were found within 80 ms: median, and 95 % of magnitudes, in ms.

{errors}

## Confidence

What `inspect` says is judged here with a calibration that was fitted without the group's fold.
Share of offsets that are right within 80 ms (foreign sound counts as wrong) by confidence, windows
of 1.2 to 10 s, every group counted alike:

{reliability}

At the confidence that `inspect` asks for ({least:g}):

{answers}

Out-of-sync alarms (beyond +{early:g} or -{late:g} ms, sound early positive) on windows of 10 s:
{alarms}.

How clear the peak is tells own sound from foreign sound: the area under the ROC curve over all
windows of a length is {foreign}.

Calibration: {calibration}.

## Limits

Frontal faces of at least 48 samples, mostly close; few speakers, most of them newsreaders of one
language and readers of one fixed form of sentence. Profiles, beards, dubbed speech, singing and two
people who talk at once were not tested. What is called foreign is speech: music and noise were not
tested as foreign sound.
"""


def table(said: Readings) -> str:
    """Share of right offsets, groups by windows, as Markdown."""
    return _by_group(said, lambda of: f"{of.right.mean():.1%} ({len(of.lag)})")


def errors(said: Readings) -> str:
    """Errors of offsets that were found, groups by windows, as Markdown."""

    def cell(of: Said) -> str:
        wrong = 1000 * (np.array([one.lag for one in of.own]) - of.lag)
        near = wrong[np.abs(wrong) <= 80]
        return (
            f"{np.median(near):+.0f}, {np.quantile(np.abs(near), 0.95):.0f}" if len(near) else "–"
        )

    return _by_group(said, cell)


def _by_group(said: Readings, cell: Callable[[Said], str]) -> str:
    lines = [
        "| group | " + " | ".join(f"{window:g} s" for window in WINDOWS) + " |",
        "| --- |" + " --- |" * len(WINDOWS),
    ]
    for group in sorted({group for group, _ in said}):
        cells = [cell(said[group, w]) if (group, w) in said else "–" for w in WINDOWS]
        lines.append(f"| {group} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def reliability(said: Readings) -> str:
    """Share of right offsets by confidence, as Markdown; groups and windows count alike."""
    confidence, right, weight = [], [], []
    for (_, window), of in said.items():
        if window < 1.0:
            continue
        for readings, truth in ((of.own, of.near), (of.foreign, np.zeros(len(of.foreign)))):
            confidence += [one.confidence for one in readings]
            right += list(truth)
            weight += [1 / len(readings)] * len(readings)
    c, r, w = np.array(confidence), np.array(right, float), np.array(weight)
    lines = ["| confidence | mean | right | windows |", "| --- | --- | --- | --- |"]
    for low, high in pairwise(_BINS):
        inside = (c >= low) & ((c < high) | (high == 1.0))
        if inside.any():
            mean, share = (np.average(of[inside], weights=w[inside]) for of in (c, r))
            lines.append(f"| {low:g} to {high:g} | {mean:.2f} | {share:.2f} | {inside.sum()} |")
    return "\n".join(lines)


def answers(said: Readings, settings: SyncSettings) -> str:
    """What is answered and how often that is right, by window, as Markdown; groups count alike."""
    lines = [
        "| window | answered | of these right within 80 ms | foreign answered | called in sync |",
        "| --- | --- | --- | --- | --- |",
    ]
    for window in WINDOWS:
        rows = []
        for (_, seconds), of in said.items():
            if seconds != window:
                continue
            sure = np.array([one.confidence >= settings.confidence for one in of.own])
            foreign = [one for one in of.foreign if one.confidence >= settings.confidence]
            inside = [one for one in foreign if not _alarms(one.lag, settings)]
            right = of.near[sure].mean() if sure.any() else np.nan
            count = len(of.foreign)
            rows.append((sure.mean(), right, len(foreign) / count, len(inside) / count))
        if rows:
            cells = [f"{share:.1%}" for share in np.nanmean(np.array(rows), axis=0)]
            lines.append(f"| {window:g} s | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def alarms(said: Readings, settings: SyncSettings) -> str:
    """Recall of large offsets and false alarms per hour, in words."""
    long = [of for (_, window), of in said.items() if window == WINDOWS[-1]]
    if not long:
        return "no group is long enough"
    recalls, false, hours = [], 0, 0.0
    for of in long:
        told = [one.confidence >= settings.confidence for one in of.own]
        far = np.abs(of.lag) >= _FAR_OFF
        found = [
            sure and _alarms(one.lag, settings) for sure, one in zip(told, of.own, strict=True)
        ]
        if far.any():
            recalls.append(float(np.mean(np.array(found)[far])))
        # in-sync material: what would have been said of each window, had it not been put off
        false += sum(
            sure and _alarms(one.lag - lag, settings)
            for sure, one, lag in zip(told, of.own, of.lag, strict=True)
        )
        hours += len(of.lag) * WINDOWS[-1] / 3600
    return (
        f"recall {np.mean(recalls):.3f} for offsets of {1000 * _FAR_OFF:.0f} ms and more (groups "
        f"count alike), {false} false alarms in {hours:.1f} hours of material in sync"
    )


def _alarms(lag: float, settings: SyncSettings) -> bool:
    return -1000 * lag > settings.early_ms or 1000 * lag > settings.late_ms


def told_apart(said: Readings, window: float) -> float:
    """Area under the ROC curve of clearness, own sound against another clip's."""

    def clearness(readings: list[list[Reading]]) -> np.ndarray:
        return np.array([one.clearness for of in readings for one in of])

    of_length = [of for (_, seconds), of in said.items() if seconds == window]
    own = clearness([of.own for of in of_length])
    foreign = np.sort(clearness([of.foreign for of in of_length]))
    below = np.searchsorted(foreign, own, "left") + np.searchsorted(foreign, own, "right")
    return float(below.mean() / 2 / len(foreign))


def write(
    note: Mapping[str, Any],
    found: Mapping[str, GroupTrials],
    near: Readings,
    wide: Readings,
    calibration: Calibration,
) -> None:
    """Write the card.

    Args:
        note: facts of the run.
        found: what was tested.
        near: readings among lags of 1 s, see `calibrate.across`.
        wide: readings among all lags.
        calibration: that goes with the weights.
    """
    settings = SyncSettings()
    known = [window for window in WINDOWS if any(seconds == window for _, seconds in wide)]
    sizes = ", ".join(f"{group} {of.face:.0f}" for group, of in sorted(found.items()))
    CARD.write_text(
        _TEXT.format(
            **{key: note[key] for key in ("steps", "batch", "folds", "device", "minutes", "takes")},
            nets=note["folds"] + 1,
            seconds=note["seconds"],
            generated=", ".join(note["generated"]),
            delays=", ".join(f"{source} {ms:+.0f} ms" for source, ms in KNOWN_DELAY.items()),
            table=table(near),
            wide=table(wide) + f"\n\nMean size of a face, in samples: {sizes}.",
            errors=errors(wide),
            reliability=reliability(wide),
            least=settings.confidence,
            answers=answers(wide, settings),
            early=settings.early_ms,
            late=settings.late_ms,
            alarms=alarms(wide, settings),
            foreign=", ".join(f"{told_apart(wide, w):.2f} at {w:g} s" for w in known),
            calibration=", ".join(f"{k} {v:.3g}" for k, v in asdict(calibration).items())
            + f" (scores over {2 * MOST + 1} lags)",
        )
    )
