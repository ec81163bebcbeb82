"""The figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.accuracy.stated import above, stated
from bench.accuracy.why_not import WHY_NOT
from pipeline.types import Kind

_STEPS = ("very_noticeable", "noticeable", "subtle", "very_subtle")


def markdown(figures: Mapping[str, Any]) -> str:
    """All tables, from what `figures.compute` gave and what the run says of itself in `run`."""
    run = figures["run"]
    parts = [
        f"# Accuracy, {run['split']} split",
        _head(figures),
        "## Per kind",
        "Precision, recall and F1 are of intervals (start within 0.5 s, end within 0.5 s or a "
        "fifth of the length), over files with faults and clean ones; in brackets 95 % by "
        "resampling sources. A/B in the columns of severity is found/put in. "
        "*Any name*: the same damage reported as this or another right kind. False alarms are per "
        "hour, with the exact 95 % Poisson upper bound. `av_drift` and `av_step` are put into "
        "clips of half a minute, joined with cuts from short ones of one speaker (or of one corpus "
        "whose speakers are not named); only the detector of sound against lips looks at these. "
        "Other clips of short takes are joined with cuts as well: frames are missing there indeed, "
        "so that `dropped_frames` reported within 0.1 s of a join is no false alarm and is counted "
        f"apart ({figures.get('at_joins', 0)} reports).",
        _kinds(figures["kinds"]),
    ]
    if figures["ffmpeg"]:
        parts += [
            "## Against FFmpeg's filters",
            "F1 (precision/recall) on the same files: those with the fault, and the clean ones; "
            "then false alarms on the look-alikes of the kind (in so many files). "
            "*Tuned*: threshold and least duration with the best F1 on the development split.",
            _ffmpeg(figures["ffmpeg"]),
        ]
    if figures["frames"]:
        frames = figures["frames"]
        parts += [
            "## Damaged frames",
            f"Area under the ROC curve over {frames['frames']} frames, {frames['damaged']} of "
            f"them damaged by corrupt blocks: Vidette {_cell(frames['vidette'])}, FFmpeg's "
            f"blockdetect {_cell(frames['blockdetect'])}.",
        ]
    if figures["sync"]:
        sync = figures["sync"]
        said = (
            f"measured in {sync['measured']} of {sync['files']} files, median error "
            f"{_cell(sync['median_error_ms'])} ms"
            if sync["measured"]
            else f"not detected yet ({sync['files']} files)"
        )
        parts += ["## Offset of sound and picture", said[0].upper() + said[1:] + "."]
    if figures["lookalikes"]:
        parts += [
            "## Look-alikes",
            "*Stated*: alarms a file of kinds that it resembles, from the development split.",
            _lookalikes(figures["lookalikes"]),
        ]
    parts += ["## Reported in files with each fault", _confusion(figures["confusion"])]
    parts += _left_out(figures)
    return "\n\n".join(parts) + "\n"


MARKS = ("<!-- accuracy: written by make bench-accuracy -->", "<!-- end of accuracy -->")


# Share found of what is noticeable and worse, of what is subtle, false alarms an hour of clean
# media; a few minutes of these cannot show the last, but may contradict it
AIM = (0.97, 0.85, 1.0)


def summary(figures: Mapping[str, Any]) -> str:
    """A short table for the README, the best kinds first."""
    rows = []
    for kind, one in figures["kinds"].items():
        steps = one["recall_by_severity"]
        clear, subtle, very_subtle = (
            [steps[step] for step in some if step in steps]
            for some in (_STEPS[:2], _STEPS[2:3], _STEPS[3:])
        )
        met = _met(clear, subtle, one["clean"]["per_hour"])
        rows.append(
            (
                -(one["f1"] or 0.0),
                kind,
                _cell(one["f1"]),
                _of(clear),
                _of(subtle),
                _of(very_subtle),
                _rate(one["clean"]),
                "met so far" if met else "not yet",
                "" if met else WHY_NOT.get(Kind(kind), ""),
                _best_filter(figures["ffmpeg"].get(kind)),
            )
        )
    head = ["kind", "F1", "found: noticeable and worse", "subtle", "very subtle",
            "false alarms an hour", "aim", "why not",
            "best FFmpeg filter, tuned, to ours on the same files: F1"]  # fmt: skip
    return _table(head, [row[1:] for row in sorted(rows)])


def into(page: str, text: str) -> str:
    """A page with `text` between the marks.

    Raises:
        ValueError: the page has no marks.
    """
    before, begin, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise ValueError(f"there is no {MARKS[0]} with {MARKS[1]} after it")
    return f"{before}{begin}\n{text}\n{end}{after}"


def _of(steps: Iterable[Sequence[int]]) -> str:
    return "{}/{}".format(*_sum(steps))


def _sum(steps: Iterable[Sequence[int]]) -> tuple[int, int]:
    """Found, and put in."""
    pairs = list(steps)
    return sum(found for found, _ in pairs), sum(of for _, of in pairs)


def _met(
    clear: Sequence[Sequence[int]], subtle: Sequence[Sequence[int]], per_hour: float | None
) -> bool:
    """Whether nothing that was measured says that a kind is worse than AIM."""
    shares = [found / max(of, 1) for found, of in map(_sum, (clear, subtle))]
    if per_hour is None:
        return False
    return shares[0] >= AIM[0] and shares[1] >= AIM[1] and per_hour <= AIM[2]


def _best_filter(kind: Mapping[str, Any] | None) -> str:
    """F1 of the filter, and ours on the files that it was given: `f1` is over all files."""
    scores = {
        name: row["tuned"]["f1"]
        for name, row in (kind or {"filters": {}})["filters"].items()
        if row["tuned"] is not None and row["tuned"]["f1"] is not None
    }
    if kind is None or not scores:
        return ""
    name = max(scores, key=lambda one: scores[one])
    return f"{scores[name]:.2f} to {_cell(kind['vidette']['f1'])} ({name})"


def _head(figures: Mapping[str, Any]) -> str:
    run, files = figures["run"], figures["files"]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    lines = [
        f"{files['fault']} damaged files, {files['lookalike']} look-alikes and {files['clean']} "
        f"clean ones ({figures['clean_hours'] * 60:.1f} minutes); seed {run['seed']}"
        f"{', quick' if run['quick'] else ''}. {versions}.",
        "",
        f"Sources ({len(run['sources'])}, split by the hash of their names): "
        + ", ".join(run["sources"])
        + ".",
    ]
    return "\n".join(lines)


def _kinds(kinds: Mapping[str, Any]) -> str:
    head = ["kind", "files", "P", "R", "F1", *(_short(step) for step in _STEPS), "any name"]
    head += ["start error, median / 95 %, s", "clean, per hour", "look-alikes, per hour"]
    rows = []
    for kind, one in kinds.items():
        spans = one["interval_95"]
        steps = one["recall_by_severity"]
        onset = one["onset_error_s"]
        rows.append(
            [
                kind,
                one["files"],
                _with_span(one["precision"], spans["precision"]),
                _with_span(one["recall"], spans["recall"]),
                _with_span(one["f1"], spans["f1"]),
                *("/".join(map(str, steps[step])) if step in steps else "" for step in _STEPS),
                _cell(one["recall_under_any_right_name"]),
                f"{onset['median']:.2f} / {onset['p95']:.2f}" if onset else "",
                _rate(one["clean"]),
                _rate(one["lookalikes"]),
            ]
        )
    return _table(head, rows)


def _ffmpeg(kinds: Mapping[str, Any]) -> str:
    rows = []
    for kind, one in kinds.items():
        ours = _scores(one["vidette"])
        for name, row in one["filters"].items():
            point = row.get("point")
            at = f"{point['threshold']:g}, {point['min_duration']:g} s" if point else ""
            peer = [name, _scores(row["default"]), _scores(row["tuned"]), at]
            rows.append([kind, one["lookalike_files"], ours, *peer])
            ours = ""
    head = ["kind", "look-alikes", "Vidette", "filter", "default", "tuned", "tuned to"]
    return _table(head, rows)


def _lookalikes(rows: Mapping[str, Any]) -> str:
    return _table(
        ["look-alike", "files", "resembles", "false alarms", "stated, a file", "above that",
         "other kinds reported"],
        [
            [
                name,
                one["files"],
                ", ".join(one["resembles"]),
                _counts(one["false_alarms"]),
                ", ".join(f"{kind} {rate:g}" for kind, rate in stated(name).items()) or "none",
                ", ".join(above(name, one["false_alarms"], one["files"])),
                _counts(one["other_kinds"]),
            ]
            for name, one in rows.items()
        ],
    )  # fmt: skip


def _confusion(table: Mapping[str, Mapping[str, int]]) -> str:
    rows = [
        [name, row["files"], _counts({k: n for k, n in row.items() if k != "files"})]
        for name, row in table.items()
    ]
    return _table(["fault", "files", "files in which each kind was reported"], rows)


def _left_out(figures: Mapping[str, Any]) -> list[str]:
    parts = []
    if figures["errors"]:
        listed = [f"- {name}: {error}" for name, error in figures["errors"].items()]
        parts += ["## Not measured", "\n".join(listed)]
    if figures["skipped"]:
        listed = [f"- {name}: {'; '.join(why)}" for name, why in figures["skipped"].items()]
        parts += ["## Made of another clip than planned first", "\n".join(listed)]
    return parts


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _short(step: str) -> str:
    return step.replace("_", " ")


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _with_span(value: float | None, span: Sequence[float] | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" + (f" [{span[0]:.2f}, {span[1]:.2f}]" if span else "")


def _rate(rate: Mapping[str, Any] | None) -> str:
    if rate is None or rate["per_hour"] is None:
        return ""
    return f"{rate['per_hour']:.1f} (< {rate['interval_95'][1]:.0f})"


def _scores(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return ""
    shown = ["–" if one[n] is None else f"{one[n]:.2f}" for n in ("precision", "recall", "f1")]
    return f"{shown[2]} ({shown[0]}/{shown[1]}), {one['lookalikes']}"


def _counts(found: Mapping[str, int]) -> str:
    ordered = sorted(found.items(), key=lambda row: (-row[1], row[0]))
    return ", ".join(f"{kind} {n}" for kind, n in ordered)
