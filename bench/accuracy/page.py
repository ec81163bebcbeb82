"""A page to see why: precision and recall over confidence, the worst misses and false alarms.

One HTML file without scripts. The files of the shown moments are made once more, as planned.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from bench.accuracy import plan, score
from bench.accuracy.figures import interval, wanted
from bench.accuracy.run import Found, Result, make_file
from corpus.clips import CleanClip
from faults import FAULTS
from faults.base import FaultError
from faults.media import Clean
from faults.truth import Severity, Truth
from pipeline.detectors import DETECTORS
from pipeline.errors import SourceError
from pipeline.measurements import Float32
from pipeline.report.pictures import Deadline, EvidenceError, fit, frames_at, jpeg
from pipeline.report.sounds import svg_path, vertical_range
from pipeline.source import Limits, open_source
from pipeline.types import Kind

SHOWN = 12  # moments of each sort
_BOX = (220, 124)
_AROUND = 0.6  # seconds shown before and after a moment
_LONGEST = 6.0
_READS = {kind: detector.reads for detector in DETECTORS.values() for kind in detector.kinds}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
  color: #1b1f24; background: #fff }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem }
figure { margin: 0 0 1.5rem } figcaption { font-size: .85rem } img { margin-right: 4px }
svg { background: #f4f6f8; display: block } .wave { fill: #2463ab; stroke: #2463ab }
"""


@dataclass(frozen=True)
class Moment:
    """Something to show: a miss or a false alarm."""

    result: Result
    kind: Kind
    start: float
    end: float
    weight: float  # the larger the worse
    said: str


def misses(results: Iterable[Result]) -> list[Moment]:
    """What was put in most plainly and not found, one of each fault and the worst first."""
    worst: dict[str, Moment] = {}
    for result in results:
        if result.error is not None:
            continue
        for truth in result.truths:
            if _named(truth, result):
                continue
            weight = Severity(truth.severity).value_on_scale
            said = ", ".join(f"{k} {v}" for k, v in list(truth.parameters.items())[:6])
            moment = Moment(result, truth.kind, truth.start, truth.end, weight, said)
            if truth.fault not in worst or weight > worst[truth.fault].weight:
                worst[truth.fault] = moment
    return sorted(worst.values(), key=lambda m: (-m.weight, m.result.id))[:SHOWN]


def _named(truth: Truth, result: Result) -> bool:
    """Whether a truth was reported, under any of its right names."""
    span = wanted(truth, result.duration)
    return any(
        (one.kind == truth.kind or one.kind in truth.also)
        and score.overlap(interval(one), span, score.NEAR)
        for one in result.found
    )


def false_alarms(results: Iterable[Result]) -> list[Moment]:
    """The most confident reports of nothing, one of each kind, the worst first."""
    worst: dict[Kind, Moment] = {}
    for result in results:
        if result.error is not None:
            continue
        spans = [wanted(truth, result.duration) for truth in result.truths]
        for one in result.found:
            if _explained(one, spans):
                continue
            moment = Moment(result, one.kind, one.start, one.end, one.confidence, one.summary)
            if one.kind not in worst or one.confidence > worst[one.kind].weight:
                worst[one.kind] = moment
    return sorted(worst.values(), key=lambda m: (-m.weight, m.result.id))[:SHOWN]


def _explained(one: Found, spans: Sequence[score.Wanted]) -> bool:
    return any(score.overlap(interval(one), span, score.NEAR) for span in spans)


def write(
    path: Path,
    figures: Mapping[str, Any],
    drawn: plan.Plan,
    results: Sequence[Result],
    clips: Sequence[CleanClip],
) -> None:
    """Write the page."""
    items = {item.id: item for item in drawn.items}
    by_id = {clip.id: clip for clip in clips}
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>Accuracy, {escape(drawn.split)}</title><style>{_STYLE}</style>",
        f"<h1>Accuracy, {escape(drawn.split)} split</h1>",
        "<h2>Precision and recall over confidence</h2><div class=grid>",
    ]
    for kind, one in figures["kinds"].items():
        if one["curve"]:
            parts.append(_curve(kind, one["curve"]))
    parts.append("</div>")
    for title, moments in (
        ("Worst misses", misses(results)),
        ("Worst false alarms", false_alarms(results)),
    ):
        parts.append(f"<h2>{title}</h2>")
        parts += [_shown(moment, items[moment.result.id], by_id) for moment in moments]
    path.write_text("\n".join(parts) + "\n")


def _curve(kind: str, points: Sequence[Sequence[float]]) -> str:
    """Recall to the right, precision upwards, one dot for each threshold."""
    dots = [(10 + 180 * (recall or 0.0), 110 - 100 * precision) for _, precision, recall in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
    marks = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>confidence {level}: precision '
        f"{precision}, recall {recall}</title></circle>"
        for (x, y), (level, precision, recall) in zip(dots, points, strict=True)
    )
    return (
        f'<figure><svg viewBox="0 0 200 120" role="img" aria-label="{escape(kind)}">'
        f'<path d="M10,10V110H190" fill="none" stroke="#8a939d"/>'
        f'<polyline points="{line}" fill="none" stroke="#2463ab"/>{marks}</svg>'
        f"<figcaption>{escape(kind)}: recall to the right, precision up</figcaption></figure>"
    )


def _shown(moment: Moment, item: plan.Item, clips: Mapping[str, CleanClip]) -> str:
    result = moment.result
    name = f"{result.name} {result.severity}".strip() or "clean"
    caption = (
        f"<b>{escape(moment.kind)}</b> at {moment.start:.2f}–{moment.end:.2f} s, "
        f"{moment.weight:.2f}: {escape(moment.said)} "
        f"<small>({escape(name)}, {escape(result.clip)}, {escape(result.encoding)}, "
        f"seed {result.seed})</small>"
    )
    try:
        with tempfile.TemporaryDirectory(prefix="vidette-") as folder:
            made, _ = make_file(item, clips[result.clip], result.encoding, Path(folder))
            by_sound = _READS.get(moment.kind) == "sound" or not result.picture
            by_sound |= result.what == "fault" and FAULTS[result.name].reads == "sound"
            seen = _wave(made, moment) if by_sound else _strip(made, moment)
    except (EvidenceError, SourceError, FaultError) as error:
        seen = f"<p>{escape(str(error))}</p>"
    return f"<figure>{seen}<figcaption>{caption}</figcaption></figure>"


def _strip(path: Path, moment: Moment) -> str:
    end = min(moment.end, moment.start + _LONGEST)
    times = [moment.start - 0.3, moment.start + 0.02, (moment.start + end) / 2, end - 0.05]
    times = sorted({round(max(time, 0.0), 3) for time in [*times, end + 0.3]})
    with open_source(str(path), Limits()) as container:
        if not container.streams.video:
            raise EvidenceError("there is no picture")
        stream = container.streams.video[0].index
        origin = float(container.start_time or 0) / 1e6
        frames = frames_at(container, stream, times, origin, _BOX, Deadline.after(20))
    shown = [(time, frame) for time, frame in zip(times, frames, strict=True) if frame is not None]
    return "".join(
        f'<img src="{jpeg(fit(frame.rgb, _BOX))}" alt="at {time:.2f} s" title="{time:.2f} s">'
        for time, frame in shown
    )


def _wave(path: Path, moment: Moment) -> str:
    clean = Clean(path)
    if not clean.has_sound:
        raise EvidenceError("there is no sound")
    start = max(moment.start - _AROUND, 0.0)
    end = min(moment.end, moment.start + _LONGEST) + _AROUND
    part: Float32 = clean.sound[
        :, round(start * clean.sample_rate) : round(end * clean.sample_rate)
    ]
    if not part.shape[1]:
        raise EvidenceError("there is no sound at that time")
    full = vertical_range(part)
    lines = "".join(
        f'<g transform="translate(0,{70 * n})"><path class="wave" '
        f'd="{svg_path(channel, 900, 900.0, 66.0, full)}"/></g>'
        for n, channel in enumerate(part[:2])
    )
    span = max(end - start, 1e-6)
    marks = "".join(
        f'<line x1="{x:.0f}" x2="{x:.0f}" y1="0" y2="140" stroke="#b42318"/>'
        for x in (np.array([moment.start, moment.end]) - start) / span * 900
    )
    return f'<svg viewBox="0 0 900 140" role="img" aria-label="waveform">{lines}{marks}</svg>'
