"""The page of an archive: all assets of a run, the worst first, with links to their reports."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import pipeline.report
from pipeline import words
from pipeline.batch.ledger import Ledger, Record
from pipeline.batch.tables import badness
from pipeline.report.view import name_of, severity_class
from pipeline.types import Inspection
from pipeline.uri import shown

_MOST = 5000  # assets on the page; all are in the tables
_HERE = Path(__file__).parent


def write_index(ledger: Ledger, run: str, ids: Sequence[str], reports: set[str]) -> None:
    """Write index.html.

    Args:
        ledger: of the archive.
        run: its name.
        ids: of its assets.
        reports: IDs of the assets that have a report.
    """
    rows = [_row(record, record.id in reports) for record in ledger.records(ids)]
    rows.sort(key=lambda row: (-row["order"], row["uri"]))
    kinds = Counter(kind for row in rows for kind in row["kinds"])
    style = (Path(pipeline.report.__file__).parent / "report.css").read_text(encoding="utf-8")
    script = (_HERE / "index.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment().get_template("index.html.j2")
    text = page.render(
        policy="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
        f"form-action 'none'; script-src 'sha256-{digest}'",
        style=Markup(style),  # noqa: S704 - our own
        script=Markup(script),  # noqa: S704 - our own
        run=run,
        rows=rows[:_MOST],
        more=max(0, len(rows) - _MOST),
        assets=len(rows),
        failed=sum(row["state"] == "failed" for row in rows),
        clean=sum(row["state"] == "done" and not row["defects"] for row in rows),
        defects=sum(row["defects"] for row in rows),
        seconds=sum(row["seconds"] for row in rows),
        kinds=[(words.term(kind).name, count) for kind, count in kinds.most_common(12)],
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    ledger.write("index.html", text.encode("utf-8", "backslashreplace"))


def _row(record: Record, has_report: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "uri": shown(record.uri),
        "name": name_of(shown(record.uri)),
        "state": record.state,
        "labels": sorted(record.labels.items()),
        "report": f"reports/{record.id}.html" if has_report else None,
        "seconds": 0.0,
        "defects": 0,
        "kinds": [],
        "badness": None,
        "class": "s4",
        "word": "failed",
        "said": record.detail or record.reason or "",
        "order": float("inf"),
    }
    inspection = record.inspection
    if inspection is None:
        return row
    worst = max((one.severity for one in inspection.defects), default=0.0)
    word = words.severity_word(worst) if inspection.defects else "no defects"
    if inspection.coverage.state == "none":
        word = "not examined"
    return row | {
        "seconds": inspection.asset.duration,
        "defects": len(inspection.defects),
        "kinds": sorted({one.kind for one in inspection.defects}),
        "badness": badness(inspection.defects),
        "class": severity_class(words.severity_word(worst)) if inspection.defects else "plain",
        "word": word,
        "said": _said(inspection),
        "order": badness(inspection.defects) + 1e6 * (inspection.coverage.state == "none"),
    }


def _said(inspection: Inspection) -> str:
    counts = Counter(words.term(one.kind).name for one in inspection.defects)
    said = [name if n == 1 else f"{name} ×{n}" for name, n in counts.most_common(5)]
    if len(counts) > len(said):
        said.append(f"{len(counts) - len(said)} more kinds")
    if inspection.coverage.state != "complete" and inspection.coverage.problems:
        said.append(words.reason(inspection.coverage.problems[0].reason))
    return ", ".join(said)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["timecode"] = words.timecode
    environment.filters["number"] = words.number
    return environment
