"""From results to figures: per kind, per look-alike, against FFmpeg, and what was confused."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bench.accuracy import operating, peers, score
from bench.accuracy.run import Found, Result
from bench.accuracy.score import Interval, Outcome, Wanted
from faults import FAULTS
from faults.lookalikes import LOOKALIKES
from faults.truth import Severity, Truth
from pipeline.detectors import DETECTORS
from pipeline.types import Kind

# faults of an asset as a whole, found by presence wherever the report puts them
PRESENCE = (
    Kind.AV_OFFSET,
    Kind.AV_DRIFT,
    Kind.AV_LENGTH_MISMATCH,
    Kind.LOUDNESS,
    Kind.FALSE_STEREO,
    Kind.TRUNCATED,
    Kind.MISSING_STREAM,
)
ENDS = 0.5  # seconds from both ends within which a truth is the whole asset
SYNC = (Kind.AV_OFFSET, Kind.AV_DRIFT, Kind.AV_STEP)
# what a frame damaged by lost packets or bits may rightly be called
CORRUPT = (
    Kind.BLOCK_CORRUPTION,
    Kind.DECODER_SMEAR,
    Kind.GLITCH,
    Kind.DECODE_ERROR,
    Kind.BLOCKINESS,
)
_READS = {kind: detector.reads for detector in DETECTORS.values() for kind in detector.kinds}


def wanted(truth: Truth, duration: float) -> Wanted:
    """A truth as it is scored."""
    whole = truth.kind in PRESENCE or (truth.start <= ENDS and truth.end >= duration - ENDS)
    return Wanted(truth.start, truth.end, str(truth.severity), whole)


def interval(found: Found) -> Interval:
    """A reported defect as it is scored."""
    return Interval(found.start, found.end, found.confidence)


def outcome(result: Result, kind: Kind) -> Outcome | None:
    """One file for one kind; None where it says nothing of it.

    In a file with a truth of this kind every prediction of it counts. In a file with other faults
    a prediction counts, as a false alarm, only where it overlaps no truth: what another fault
    causes to be reported is in the table of confusions. Look-alikes are counted apart.
    """
    if result.error is not None or result.what == "lookalike":
        return None
    truths = [wanted(t, result.duration) for t in result.truths if t.kind == kind]
    found = [interval(one) for one in result.found if one.kind == kind]
    if not truths:
        every = [wanted(truth, result.duration) for truth in result.truths]
        found = score.stray(found, every)
    return Outcome(result.source, truths, found)


def outcomes(results: Iterable[Result], kind: Kind) -> list[Outcome]:
    """Those of all files."""
    found = (outcome(result, kind) for result in results)
    return [one for one in found if one is not None]


def hours_of(results: Iterable[Result], kind: Kind) -> float:
    """Hours of media in which a kind could be found."""
    reads = _READS.get(kind, "stream")
    return (
        sum(
            result.duration
            for result in results
            if result.error is None
            and (not result.judges or any(kind in DETECTORS[n].kinds for n in result.judges))
            and (reads == "stream" or (result.picture if reads == "picture" else result.sound))
        )
        / 3600
    )


def tune_all(results: Sequence[Result]) -> dict[str, dict[str, operating.Tuned]]:
    """FFmpeg's operating points, per kind and filter, on these results."""
    tuned: dict[str, dict[str, operating.Tuned]] = {}
    for peer in peers.PEERS:
        for kind in peer.kinds:
            files = _peer_files(results, kind)
            if not any(one.truths for _, one in files):
                continue
            point = operating.tune(peer, [(r.peers, one) for r, one in files])
            if point is not None:
                tuned.setdefault(kind, {})[peer.name] = point
    return tuned


def _peer_files(results: Iterable[Result], kind: Kind) -> list[tuple[Result, Outcome]]:
    """The files that FFmpeg saw for a kind: those with the fault, and the clean ones."""
    files = []
    for result in results:
        if result.what == "clean" or any(t.kind == kind for t in result.truths):
            one = outcome(result, kind)
            if one is not None:
                files.append((result, one))
    return files


def compute(
    results: Sequence[Result],
    tuned: Mapping[str, Mapping[str, operating.Tuned]],
    seed: int,
) -> dict[str, Any]:
    """All figures, ready for JSON."""
    usable = [result for result in results if result.error is None]
    clean = [result for result in usable if result.what == "clean"]
    alike = [result for result in usable if result.what == "lookalike"]
    kinds = [
        kind
        for kind in Kind
        if any(t.kind == kind for r in usable for t in r.truths)
        or any(f.kind == kind for r in usable for f in r.found)
    ]
    return {
        "clean_hours": round(sum(r.duration for r in clean if not r.judges) / 3600, 4),
        "files": {
            what: sum(r.what == what and not (what == "clean" and r.judges) for r in usable)
            for what in ("fault", "lookalike", "clean")
        },
        "kinds": {str(kind): _of_kind(kind, usable, clean, alike, seed) for kind in kinds},
        "lookalikes": _of_lookalikes(alike),
        "ffmpeg": {
            str(kind): rows
            for kind in kinds
            if (rows := _against_ffmpeg(kind, usable, tuned.get(kind, {})))
        },
        "at_joins": sum(len(result.at_joins) for result in usable),
        "confusion": _confusion(usable),
        "frames": _frame_auc(usable),
        "sync": _sync(usable),
        "errors": {r.id: r.error for r in results if r.error is not None},
        "skipped": {r.id: r.skipped for r in results if r.skipped and r.error is None},
    }


def _of_kind(
    kind: Kind,
    usable: Sequence[Result],
    clean: Sequence[Result],
    alike: Sequence[Result],
    seed: int,
) -> dict[str, Any]:
    every = outcomes(usable, kind)
    total = score.counts(every)
    truths = sum(len(one.truths) for one in every)
    intervals = score.bootstrap(every, zlib.crc32(kind.encode()) + seed)
    errors = score.onset_errors(every)
    severities = score.recall_by_severity(every)
    alarms = [f for result in clean for f in result.found if f.kind == kind]
    resembling = [r for r in alike if kind in LOOKALIKES[r.name].resembles]
    alike_alarms = [f for r in resembling for f in r.found if f.kind == kind]
    points = score.curve(every)
    named = sum(
        any(
            (f.kind == kind or f.kind in t.also)
            and score.overlap(interval(f), wanted(t, r.duration), score.NEAR)
            for f in r.found
        )
        for r in usable
        for t in r.truths
        if t.kind == kind
    )
    return {
        "files": sum(bool(one.truths) for one in every),
        "sources": len({one.source for one in every if one.truths}),
        "truths": truths,
        "tp": total.tp,
        "fp": total.fp,
        "fn": total.fn,
        "precision": _round(total.precision if truths else None),
        "recall": _round(total.recall),
        "f1": _round(total.f1 if truths else None),
        "interval_95": {
            name: None if span is None or not truths else [_round(span[0]), _round(span[1])]
            for name, span in intervals.items()
        },
        "recall_by_severity": {
            str(severity): list(severities[str(severity)])
            for severity in Severity
            if str(severity) in severities
        },
        "recall_under_any_right_name": _round(named / truths) if truths else None,
        "onset_error_s": None
        if not errors.size
        else {
            "median": _round(float(np.median(errors)), 4),
            "p95": _round(float(np.quantile(errors, 0.95)), 4),
        },
        "clean": _rate(score.rate(len(alarms), hours_of(clean, kind))),
        "lookalikes": _rate(score.rate(len(alike_alarms), hours_of(resembling, kind)))
        if resembling
        else None,
        "curve": [
            [_round(level), _round(c.precision), _round(c.recall)]
            for level, c in points
            if truths and c.precision is not None
        ],
    }


def _of_lookalikes(alike: Sequence[Result]) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name in sorted({result.name for result in alike}):
        of_name = [result for result in alike if result.name == name]
        lookalike = LOOKALIKES[name]
        seen = Counter(f.kind for r in of_name for f in r.found if f.kind not in lookalike.excused)
        rows[name] = {
            "files": len(of_name),
            "resembles": [str(kind) for kind in lookalike.resembles],
            "false_alarms": {str(k): n for k, n in seen.items() if k in lookalike.resembles},
            "other_kinds": {str(k): n for k, n in seen.items() if k not in lookalike.resembles},
        }
    return rows


def _against_ffmpeg(
    kind: Kind, usable: Sequence[Result], tuned: Mapping[str, operating.Tuned]
) -> dict[str, Any] | None:
    """Vidette and FFmpeg's filters on the same files: those with the fault and the clean ones."""
    files = _peer_files(usable, kind)
    if not any(one.truths for _, one in files):
        return None
    resembling = [
        result
        for result in usable
        if result.what == "lookalike" and kind in LOOKALIKES[result.name].resembles
    ]
    rows: dict[str, Any] = {}
    for peer in peers.of_kind(kind):
        if not any(peer.name in result.peers.series for result, _ in files):
            continue
        row: dict[str, Any] = {"default": None, "tuned": None}
        if peer.decides is not None:
            row["default"] = _counted(
                Outcome(one.source, one.truths, _decided(peer, result)) for result, one in files
            )
            row["default"]["lookalikes"] = sum(len(_decided(peer, r)) for r in resembling)
        point = tuned.get(peer.name)
        if point is not None:
            row["tuned"] = _counted(
                Outcome(one.source, one.truths, operating.decide(peer, result.peers, point))
                for result, one in files
            )
            row["tuned"]["lookalikes"] = sum(
                len(operating.decide(peer, r.peers, point)) for r in resembling
            )
            row["point"] = point.model_dump()
        rows[peer.name] = row
    if not rows:
        return None
    ours = _counted(one for _, one in files)
    ours["lookalikes"] = sum(f.kind == kind for r in resembling for f in r.found)
    return {"vidette": ours, "filters": rows, "lookalike_files": len(resembling)}


def _decided(peer: peers.Peer, result: Result) -> list[Interval]:
    return [Interval(a, b) for a, b in result.peers.decided.get(peer.name, [])]


def _counted(files: Iterable[Outcome]) -> dict[str, Any]:
    total = score.counts(files)
    return {
        "precision": _round(total.precision),
        "recall": _round(total.recall),
        "f1": _round(total.f1),
    }


def _confusion(usable: Sequence[Result]) -> dict[str, dict[str, int]]:
    """Per fault: in how many of its files each kind was reported; `files` is how many there are."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for result in usable:
        if result.what == "fault":
            table[result.name]["files"] += 1
            table[result.name].update({str(f.kind) for f in result.found})
    return {name: dict(table[name]) for name in FAULTS if name in table}


def _frame_auc(usable: Sequence[Result]) -> dict[str, Any] | None:
    """Damaged frames against the others, pooled over the files with corrupt blocks."""
    ours: list[float] = []
    theirs: list[float] = []
    damaged: list[bool] = []
    covered: list[bool] = []
    for result in usable:
        if not result.frames:
            continue
        times = np.array(result.frames)
        found = [interval(f) for f in result.found if f.kind in CORRUPT]
        ours += score.over_frames(times, found).tolist()
        hit = set(result.damaged)
        damaged += [time in hit for time in result.frames]
        series = result.peers.series.get("blockdetect")
        if series is None or not series[0]:
            theirs += [0.0] * len(times)
            covered += [False] * len(times)
            continue
        at = np.array(series[0])
        values = np.array(series[1], np.float64)
        nearest = np.abs(at[:, None] - times[None, :]).argmin(axis=0)
        theirs += values[nearest].tolist()
        covered += [True] * len(times)
    if not damaged:
        return None
    seen = np.array(covered, bool)
    return {
        "frames": len(damaged),
        "damaged": int(sum(damaged)),
        "vidette": _round(score.auc(ours, damaged), 4),
        "blockdetect": _round(score.auc(np.array(theirs)[seen], np.array(damaged)[seen]), 4),
    }


def _sync(usable: Sequence[Result]) -> dict[str, Any] | None:
    """Errors of the offsets between sound and picture that are reported, ms."""
    files = [r for r in usable if any(t.kind in SYNC for t in r.truths)]
    if not files:
        return None
    errors = []
    for result in files:
        offsets = [f.offset_ms for f in result.found if f.kind in SYNC and f.offset_ms is not None]
        real = [t.parameters.get("offset_ms") for t in result.truths if t.kind in SYNC]
        errors += [
            min(abs(offset - truth) for offset in offsets)
            for truth in real
            if offsets and isinstance(truth, int | float)
        ]
    return {
        "files": len(files),
        "detected": any(name in DETECTORS for name in ("sync", "av_sync", "av_offset")),
        "measured": len(errors),
        "median_error_ms": _round(float(np.median(errors)), 1) if errors else None,
    }


def seconds(results: Iterable[Result]) -> dict[str, float]:
    """What making, Vidette and FFmpeg took in all, wall clock: no figure, it differs every time."""
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.seconds)
    return {name: round(value, 1) for name, value in total.items()}


def _rate(rate: score.Rate) -> dict[str, Any]:
    return {
        "events": rate.events,
        "hours": _round(rate.hours, 4),
        "per_hour": _round(rate.per_hour, 2),
        "interval_95": [_round(rate.low, 2), _round(rate.high, 2)],
    }


def _round(value: float | None, digits: int = 3) -> float | None:
    return None if value is None or np.isnan(value) else round(float(value), digits)
