"""Sound and lips: the offset over time as a figure, and the mouths that it was read from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline import words
from pipeline.report.evidence import Shot
from pipeline.types import AvSync, AvSyncMoment, Inspection

WIDTH, HEIGHT = 640.0, 150.0  # units of the figure
_LEAST = 300.0  # ms above and below zero that are always shown
_STATES = {
    "in_sync": "Sound and lips are together",
    "out_of_sync": "Sound and lips are apart",
    "abstained": "Nothing can be said about sound and lips",
}
_REASONS = {
    "no_face": "no face is large enough and seen for long enough",
    "no_sound": "it is silent while faces are seen",
    "unclear": "no offset fits clearly: a voice off screen, music, or too little speech",
}


def for_page(inspection: Inspection, mouths: Sequence[Shot]) -> dict[str, Any] | None:
    """What the section shows; None where lips were not looked for.

    Args:
        inspection: what was found.
        mouths: pictures of mouths, in order of time.
    """
    verdict = inspection.av_sync
    if verdict is None:
        return None
    span = max(inspection.asset.duration, *(moment.end for moment in verdict.track), 1e-9)
    return {
        "state": verdict.state,
        "title": _STATES[verdict.state],
        "line": _line(verdict),
        "figure": _figure(inspection, verdict, span) if verdict.track else None,
        "mouths": [{**vars(shot), "left": round(100 * shot.time / span, 3)} for shot in mouths],
        "span": span,
    }


def _line(verdict: AvSync) -> str:
    if verdict.offset_ms is None or verdict.interval_ms is None:
        return f"{_REASONS[verdict.reason or 'unclear'].capitalize()}."
    low, high = verdict.interval_ms
    sure = words.certainty(verdict.confidence or 0.0)
    return (
        f"{_in_words(verdict.offset_ms)} (95 of 100: {low:+.0f} to {high:+.0f} ms; {sure}). "
        f"Lips were watched, and tell, in {verdict.share_answered:.0%} of the asset."
    )


def _in_words(offset: float) -> str:
    if abs(offset) < 0.5:
        return "Sound is exactly with the lips"
    return f"Sound is {abs(offset):.0f} ms {'early' if offset > 0 else 'late'}"


def _figure(inspection: Inspection, verdict: AvSync, span: float) -> dict[str, Any]:
    """Bars of the intervals and lines of the offsets, in units of the figure; early is up."""
    settings = inspection.settings.get("sync", {})
    early, late = (float(str(settings.get(name, 0))) for name in ("early_ms", "late_ms"))
    largest = max(abs(moment.offset_ms) for moment in verdict.track if _shown(moment, verdict))
    reach = max(_LEAST, early, late, 1.2 * largest)

    def y(offset: float) -> float:
        return round(HEIGHT / 2 * (1 - min(max(offset / reach, -1.0), 1.0)), 2)

    return {
        "reach": f"{reach:.0f} ms",
        "zero": y(0),
        "allowed": (y(early), round(y(-late) - y(early), 2)),
        "moments": [
            {
                "x": round(WIDTH * moment.start / span, 2),
                "width": round(max(WIDTH * (moment.end - moment.start) / span, 1.5), 2),
                "y": y(moment.offset_ms),
                "top": y(moment.interval_ms[1]),
                "height": max(round(y(moment.interval_ms[0]) - y(moment.interval_ms[1]), 2), 1.5),
                "answered": moment.answered,
                "words": f"{words.timecode(moment.start)}: {_in_words(moment.offset_ms).lower()}"
                + ("" if moment.answered else ", unclear"),
            }
            for moment in verdict.track
        ],
    }


def _shown(moment: AvSyncMoment, verdict: AvSync) -> bool:
    """Unclear moments do not set the scale, unless there are no others."""
    return moment.answered or not any(one.answered for one in verdict.track)
