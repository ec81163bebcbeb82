"""What the page shows, made of an inspection: everything in words, nothing in markup."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline import words
from pipeline.detectors import DETECTORS
from pipeline.report import lips
from pipeline.report.evidence import LIPS, WAVE_WIDTH, Evidence
from pipeline.types import Coverage, Defect, Inspection, Kind, Problem

_PROBLEMS = 12  # listed in words; the rest is in the embedded result
_WHOLE = 0.995  # share from which a detector counts as having seen everything
_TIMED = {
    "open": "Opening",
    "decode": "Decoding and measuring",
    "detect": "Detectors",
    "wall": "Wall clock",
    "cpu": "CPU, all cores",
}
_ORDER = {kind.value: n for n, kind in enumerate(Kind)}


def for_page(inspection: Inspection, evidence: dict[str, Evidence]) -> dict[str, Any]:
    """Everything that the template needs besides the inspection itself."""
    coverage = _coverage(inspection)
    counts = Counter(words.severity_word(defect.severity) for defect in inspection.defects)
    return {
        "name": name_of(inspection.uri),
        "verdict": _verdict(inspection, coverage),
        "headline": _headline(inspection),
        "counts": [(word, counts[word]) for word in words.SEVERITIES],
        "coverage": coverage,
        "lips": lips.for_page(inspection, evidence.get(LIPS, Evidence()).shots),
        "kinds": _kinds(inspection),
        "defects": [
            _card(defect, n, inspection, evidence.get(defect.id, Evidence()))
            for n, defect in enumerate(inspection.defects)
        ],
        "facts": _facts(inspection),
        "method": _method(inspection),
        "settings": _settings(inspection),
    }


def for_script(inspection: Inspection) -> dict[str, Any]:
    """What the script needs besides the inspection itself."""
    kinds = _kinds(inspection)
    longest = max((len(kind["name"]) for kind in kinds), default=0)
    stem = PurePosixPath(name_of(inspection.uri)).stem
    return {
        "span": _span(inspection),
        "severities": words.SEVERITIES,
        "kinds": kinds,
        "names": {kind["kind"]: kind["name"] for kind in kinds},
        "senses": {kind["kind"]: words.term(kind["kind"]).senses for kind in kinds},
        "series": {
            name: [*shown, "a" if shown[0] in words.SOUND_CHARTS else "v"]
            for name, shown in words.SERIES.items()
        },
        "laneMargin": min(max(64, 20 + 7 * longest), 240),
        "download": f"{stem or 'inspection'}.vidette.json",
    }


def severity_class(word: str) -> str:
    """The CSS class of a step of the ladder: s1 very subtle to s4 very noticeable."""
    return f"s{4 - words.SEVERITIES.index(word)}"


def name_of(uri: str) -> str:
    """The last part of a path or URL, for a title."""
    if uri == "-":
        return "standard input"
    if "://" in uri:
        parts = urlsplit(uri)
        return unquote(PurePosixPath(parts.path).name) or parts.netloc or uri
    return PureWindowsPath(uri).name if "\\" in uri else PurePosixPath(uri).name or uri


def _span(inspection: Inspection) -> float:
    """Seconds that the charts and the coverage bar cover."""
    asset = inspection.asset
    ends = [asset.duration, asset.declared_duration or 0.0]
    ends += [defect.end for defect in inspection.defects]
    return max(ends)


def _examined(coverage: Coverage) -> float:
    return sum(end - start for start, end in coverage.examined)


def _verdict(inspection: Inspection, coverage: dict[str, Any]) -> dict[str, str]:
    found = inspection.defects
    state = inspection.coverage.state
    if state == "none" and not found:
        why = coverage["problems"][0]["what"] if coverage["problems"] else "No reason was given"
        return {
            "tone": "failed",
            "title": "This asset could not be examined",
            "line": f"{why}. Nothing is known about its picture and sound.",
        }
    if found:
        word = words.severity_word(max(defect.severity for defect in found))
        kinds = len({defect.kind for defect in found})
        worst = sum(words.severity_word(defect.severity) == word for defect in found)
        title = f"{len(found)} defects found" if len(found) > 1 else "1 defect found"
        line = f"It is {word}"
        if len(found) > 1:
            of = f"Of {kinds} kinds" if kinds > 1 else "All of one kind"
            line = f"{of}; {worst} {'is' if worst == 1 else 'are'} {word}"
        rest = "" if state == "complete" else " Not everything could be examined, see below."
        return {"tone": severity_class(word), "title": title, "line": f"{line}.{rest}"}
    if state == "complete":
        return {
            "tone": "ok",
            "title": "No defects found",
            "line": "Every frame and every sample was examined.",
        }
    return {
        "tone": "warn",
        "title": "No defects found, but not everything was examined",
        "line": coverage["line"],
    }


def _coverage(inspection: Inspection) -> dict[str, Any]:
    coverage, asset = inspection.coverage, inspection.asset
    span = max(asset.duration, asset.declared_duration or 0.0)
    seen = _examined(coverage)
    count = len(coverage.detectors)
    by = f" by {count} detector{'s' if count != 1 else ''}" if count else ""
    length = words.timecode(span)
    if coverage.state == "none" or not coverage.examined:
        line = "Nothing was examined."
    elif span - seen < max(0.1, 0.002 * span):
        line = f"All of {length} was examined{by}."
        if coverage.problems:
            line = f"All of {length} was examined{by}, except as listed."
    else:
        share = 100 * seen / span
        percent = f"{share:.1f}" if share > 99 else f"{share:.0f}"
        line = f"{words.timecode(seen)} of {length} ({percent} %) was examined{by}."
    kinds_of_input = {"picture": bool(asset.video), "sound": bool(asset.audio), "stream": True}
    partly, without = [], []
    for name, share in coverage.detectors.items():
        detector = DETECTORS.get(name)
        if detector is not None and not kinds_of_input[detector.reads]:
            without.append(_detector_name(name))
        elif share < _WHOLE:
            partly.append((_detector_name(name), f"{share * 100:.0f} %"))
    return {
        "word": coverage.state,
        "line": line,
        "span": span,
        "bars": [
            (round(100 * start / span, 4), round(100 * (end - start) / span, 4))
            for start, end in coverage.examined
            if span
        ],
        "problems": [_problem(problem) for problem in coverage.problems[:_PROBLEMS]],
        "more": max(0, len(coverage.problems) - _PROBLEMS),
        "partly": partly if coverage.state != "none" else [],
        "without": without if coverage.state != "none" else [],
    }


def _problem(problem: Problem) -> dict[str, str]:
    where = []
    if problem.time is not None:
        where.append(f"at {words.timecode(problem.time)}")
    if problem.stream is not None:
        where.append(f"stream {problem.stream}")
    return {
        "what": words.reason(problem.reason),
        "where": ", ".join(where),
        "detail": problem.detail,
    }


def _headline(inspection: Inspection) -> list[str]:
    asset = inspection.asset
    facts = []
    if _examined(inspection.coverage):
        facts.append(words.timecode(_span(inspection)))
    for video in asset.video[:1]:
        rate = f", {words.number(round(video.frame_rate, 3))} fps" if video.frame_rate else ""
        facts.append(f"{video.codec} {video.width}×{video.height}{rate}")
    facts += [
        f"{audio.codec} {audio.layout or f'{audio.channels} channels'}, "
        f"{words.number(audio.sample_rate / 1000)} kHz"
        for audio in asset.audio[:3]
    ]
    loudness = inspection.measurements.get("loudness_integrated_lufs")
    if loudness is not None:
        facts.append(f"{words.number(round(loudness, 1))} LUFS")
    return facts


def _kinds(inspection: Inspection) -> list[dict[str, Any]]:
    counts = Counter(str(defect.kind) for defect in inspection.defects)
    return [
        {"kind": kind, "name": words.term(kind).name, "count": counts[kind]}
        for kind in sorted(counts, key=lambda kind: _ORDER.get(kind, len(_ORDER)))
    ]


def _card(
    defect: Defect, number: int, inspection: Inspection, evidence: Evidence
) -> dict[str, Any]:
    term = words.term(defect.kind)
    word = words.severity_word(defect.severity)
    spectrum = evidence.spectrum
    return {
        "id": defect.id,
        "anchor": f"d{number + 1}",
        "name": term.name,
        "notice": term.notice,
        "start": defect.start,
        "end": defect.end,
        "peak": defect.peak,
        "severity": defect.severity,
        "severity_word": word,
        "class": severity_class(word),
        "certainty": words.certainty(defect.confidence),
        "summary": defect.summary[:1].upper() + defect.summary[1:],
        "detector": defect.detector,
        "where": _stream_name(defect.stream, inspection),
        "figures": [words.measured(name, value) for name, value in defect.evidence.items()],
        "evidence": {
            "shots": [
                {**vars(shot), "main": shot.role == "Worst moment"} for shot in evidence.shots
            ],
            "waves": [
                {
                    **vars(wave),
                    "mark": _mark(defect, wave.start, wave.end),
                    "height": _height(wave.full),
                }
                for wave in evidence.waves
            ],
            "spectrum": spectrum
            and {
                **vars(spectrum),
                "top": _hertz(spectrum.top_hz),
                "mark": [
                    100 * edge / WAVE_WIDTH for edge in _mark(defect, spectrum.start, spectrum.end)
                ],
            },
            "notes": evidence.notes,
        },
    }


def _mark(defect: Defect, start: float, end: float) -> tuple[float, float]:
    """Left edge and width of the defect in the units of a waveform's path."""
    scale = WAVE_WIDTH / max(end - start, 1e-9)
    left = max(defect.start - start, 0.0) * scale
    right = min(defect.end - start, end - start) * scale
    return round(min(left, WAVE_WIDTH - 1.5), 1), round(max(right - left, 1.5), 1)


def _height(full: float) -> str:
    """What the height of a waveform means."""
    if full == 1:
        return "height: full scale"
    return f"height: ±{words.number(float(f'{full:.2g}'))} of full scale, enlarged"


def _hertz(frequency: float) -> str:
    if frequency < 1000:
        return f"{frequency:.0f} Hz"
    return f"{words.number(round(frequency / 1000, 2))} kHz"


def _stream_name(stream: int | None, inspection: Inspection) -> str:
    if stream is None:
        return ""
    asset = inspection.asset
    if any(video.stream == stream for video in asset.video):
        return "picture" if len(asset.video) == 1 else f"picture, stream {stream}"
    for audio in asset.audio:
        if audio.stream == stream and len(asset.audio) > 1:
            language = f", {audio.language}" if audio.language not in (None, "und") else ""
            return f"sound, stream {stream}{language}"
        if audio.stream == stream:
            return "sound"
    return f"stream {stream}"


def _facts(inspection: Inspection) -> list[dict[str, Any]]:
    asset = inspection.asset
    general = [
        ("Name", inspection.uri),
        ("Container", asset.container),
        ("Size", None if asset.size_bytes is None else words.size(asset.size_bytes)),
        ("Duration, decoded", words.timecode(asset.duration) if asset.duration else None),
        (
            "Duration, declared",
            None if asset.declared_duration is None else words.timecode(asset.declared_duration),
        ),
        ("Clock at start", f"{asset.start_time:.3f} s" if asset.start_time else None),
        ("Bit rate", f"{asset.bit_rate / 1e6:.3g} Mbit/s" if asset.bit_rate else None),
        ("Other streams", ", ".join(asset.other_streams) or None),
    ]
    tables = [_table("File", general)]
    tables += [
        _table(
            f"Picture, stream {video.stream}",
            [
                ("Codec", f"{video.codec} {video.profile or ''}".strip()),
                ("Size", f"{video.width} × {video.height}"),
                (
                    "Frame rate",
                    f"{words.number(video.frame_rate)} fps" if video.frame_rate else None,
                ),
                ("Pixel format", video.pixel_format),
                ("Decoded by", "the GPU (NVDEC)" if video.decoder == "nvdec" else None),
                ("Not decoded by a GPU", video.no_hardware),
                ("Bit depth", f"{video.bit_depth} bit"),
                ("Range", video.color_range),
                ("Scanning", video.field_order),
                (
                    "Pixel aspect ratio",
                    words.number(video.sample_aspect_ratio) if video.sample_aspect_ratio else None,
                ),
                ("Rotation", f"{words.number(video.rotation)}°" if video.rotation else None),
                ("Frames decoded", words.number(video.frames)),
                ("Examined", None if video.examined else "no"),
            ],
        )
        for video in asset.video
    ]
    tables += [
        _table(
            f"Sound, stream {audio.stream}",
            [
                ("Codec", audio.codec),
                ("Channels", f"{audio.channels} ({audio.layout or 'layout unknown'})"),
                ("Sample rate", f"{words.number(audio.sample_rate)} Hz"),
                ("Language", None if audio.language == "und" else audio.language),
                ("Samples decoded", words.number(audio.samples)),
                ("Examined", None if audio.examined else "no"),
            ],
        )
        for audio in asset.audio
    ]
    if inspection.measurements:
        measured = [words.measured(*figure) for figure in sorted(inspection.measurements.items())]
        tables.append({"title": "Measured over the whole asset", "rows": measured})
    return tables


def _table(title: str, rows: list[tuple[str, str | None]]) -> dict[str, Any]:
    return {"title": title, "rows": [(label, value) for label, value in rows if value is not None]}


def _method(inspection: Inspection) -> list[dict[str, Any]]:
    timings = [
        (_TIMED.get(name, name), words.seconds_words(seconds))
        for name, seconds in inspection.timings.items()
    ]
    wall, length = inspection.timings.get("wall"), inspection.asset.duration
    if wall and length:
        timings.append(("Speed", f"{words.number(round(length / wall, 1))} × real time"))
    versions = [(name, text) for name, text in inspection.versions.items()]
    tables = [{"title": "Time taken", "rows": timings}, {"title": "Versions", "rows": versions}]
    return [table for table in tables if table["rows"]]


def _settings(inspection: Inspection) -> list[dict[str, Any]]:
    tables = []
    for name, values in inspection.settings.items():
        detector = DETECTORS.get(name)
        fields = detector.Settings.model_fields if detector is not None else {}
        rows = []
        for key, value in values.items():
            known = fields.get(key)
            extra = known.json_schema_extra if known is not None else None
            unit = extra.get("unit", "") if isinstance(extra, dict) else ""
            default = known.default if known is not None else value
            rows.append(
                {
                    "name": key,
                    "value": f"{_value(value)} {unit}".strip(),
                    "default": f"{_value(default)} {unit}".strip(),
                    "changed": default != value,
                    "description": (known.description or "") if known is not None else "",
                }
            )
        tables.append(
            {
                "name": _detector_name(name),
                "summary": detector.summary if detector is not None else "",
                "rows": rows,
            }
        )
    return tables


def _value(value: object) -> str:
    if value is None or isinstance(value, bool | int | float | str):
        return words.number(value)
    if isinstance(value, list | tuple):
        return ", ".join(_value(item) for item in value) or "none"
    return str(value)


def _detector_name(name: str) -> str:
    return name.replace("_", " ")
