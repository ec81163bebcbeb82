"""The report: one HTML file about one inspection that opens offline.

`write_report` takes pictures and sound of the worst moments from the asset and writes the page;
`render` makes the page alone. The page holds everything: styles, script, Plotly (packed), pictures
and the machine-readable result. Its content security policy allows no network and no script but
its own, whatever the asset's names and messages contain.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from pydantic_core import PydanticSerializationError

from pipeline import words
from pipeline.report import view
from pipeline.report.evidence import (
    WAVE_HEIGHT,
    WAVE_WIDTH,
    Evidence,
    EvidenceOptions,
    gather,
)
from pipeline.source import Limits
from pipeline.types import Inspection, Timelines
from pipeline.uri import shown

__all__ = ["EvidenceOptions", "render", "write_report"]

_HERE = Path(__file__).parent


def write_report(
    inspection: Inspection,
    path: Path,
    place: str | None = None,
    limits: Limits | None = None,
    options: EvidenceOptions | None = None,
) -> None:
    """Write the report of an inspection as one HTML file.

    Args:
        inspection: what was found.
        path: the file to write; its folder must exist.
        place: URI of the asset, opened again for pictures and sound; `inspection.uri` where not
            given. A place that cannot be opened costs the pictures, not the report.
        limits: for opening the asset.
        options: how much evidence to take from the asset.
    """
    place = inspection.uri if place is None else place
    evidence = gather(inspection, place, limits or Limits(), options or EvidenceOptions())
    path.write_text(render(inspection, evidence), encoding="utf-8", errors="backslashreplace")


def render(
    inspection: Inspection, evidence: dict[str, Evidence] | None = None, *, charts: bool = True
) -> str:
    """The page.

    Args:
        inspection: what was found.
        evidence: by the ID of the defect, as `gather` returns it.
        charts: draw the statistics over time; without them, a page takes a fiftieth of the room.
    """
    inspection = inspection.model_copy(update={"uri": shown(inspection.uri)})  # no credentials
    if not charts:
        inspection = inspection.model_copy(update={"timelines": Timelines()})
    try:
        data = inspection.model_dump_json(by_alias=True)
    except PydanticSerializationError:  # names of files may hold bytes that are no text
        inspection = Inspection.model_validate(_text_only(inspection.model_dump(by_alias=True)))
        data = inspection.model_dump_json(by_alias=True)
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    drawn = charts and (inspection.timelines.series or inspection.defects)
    library, digest = _plotly() if drawn else (None, "")
    hashes = " ".join(f"'sha256-{one}'" for one in (_sha256(script), digest) if one)
    page = _environment().get_template("report.html.j2")
    return page.render(
        policy=f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
        f"script-src {hashes}; base-uri 'none'; form-action 'none'",
        style=Markup((_HERE / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - our own
        script=Markup(script),  # noqa: S704 - our own
        data=_embedded(data),
        view=_embedded(json.dumps(view.for_script(inspection))),
        plotly=library,
        has_charts=library is not None,
        charts=charts,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        wave_size=(WAVE_WIDTH, WAVE_HEIGHT),
        inspection=inspection,
        **view.for_page(inspection, evidence or {}),
    )


def _embedded(text: str) -> Markup:
    """JSON that cannot end the script element it stands in."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - nothing of it can be markup now


def _text_only(value: Any) -> Any:
    """The same, with characters that no encoding can carry written as escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_text_only(key): _text_only(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_text_only(item) for item in value]
    return value


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _plotly() -> tuple[str, str]:
    """Plotly's script, packed to 2 MB of text, and its hash: a report is often one of thousands."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - half a second, only for charts

    script = get_plotlyjs()
    packed = gzip.compress(script.encode(), 9, mtime=0)
    return base64.b64encode(packed).decode(), _sha256(script)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["timecode"] = words.timecode
    environment.filters["span"] = words.seconds_words
    environment.filters["severity_class"] = view.severity_class
    return environment
