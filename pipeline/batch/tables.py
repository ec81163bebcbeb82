"""The tables: Parquet that every tool reads, made of the records of a run.

    tables/assets/run=NAME/part.parquet      one row per asset
    tables/defects/run=NAME/part.parquet     one row per defect
    tables/timeline/run=NAME/part.parquet    one row per statistic and tenth of a second

The schemas below are the documentation; docs/batch.md shows them with examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batch.ledger import Ledger, Record
from pipeline.types import Defect

_LABELS = pa.map_(pa.string(), pa.string())
ASSETS = pa.schema(
    [
        ("asset", pa.string()),
        ("uri", pa.string()),
        ("labels", _LABELS),
        ("state", pa.string()),  # done or failed
        ("reason", pa.string()),  # of a failure, else the first thing that was not examined
        ("coverage", pa.string()),  # complete, partial or none
        ("seconds", pa.float64()),  # of presentation
        ("container", pa.string()),
        ("size_bytes", pa.int64()),
        ("video_codec", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("frame_rate", pa.float64()),
        ("audio_codec", pa.string()),
        ("sample_rate", pa.int32()),
        ("channels", pa.int32()),
        ("loudness_lufs", pa.float64()),
        ("av_sync", pa.string()),  # in_sync, out_of_sync or abstained
        ("av_offset_ms", pa.float64()),  # positive: sound early
        ("defects", pa.int32()),
        ("worst_severity", pa.float64()),
        ("badness", pa.float64()),
        ("attempts", pa.int32()),
        ("ranges", pa.int32()),  # in which its pictures were measured in parallel
        ("whole", pa.string()),  # why a long asset was inspected in one piece
    ]
)
DEFECTS = pa.schema(
    [
        ("asset", pa.string()),
        ("uri", pa.string()),
        ("labels", _LABELS),
        ("defect", pa.string()),
        ("kind", pa.string()),
        ("start", pa.float64()),  # seconds
        ("end", pa.float64()),
        ("severity", pa.float64()),  # 0.25 very subtle to 1 very noticeable
        ("confidence", pa.float64()),
        ("stream", pa.int32()),
        ("detector", pa.string()),
        ("summary", pa.string()),
        ("evidence", pa.map_(pa.string(), pa.float64())),
    ]
)
TIMELINE = pa.schema(
    [
        ("asset", pa.string()),
        ("series", pa.string()),
        ("time", pa.float64()),  # seconds
        ("value", pa.float64()),
    ]
)
SCHEMAS = {"assets": ASSETS, "defects": DEFECTS, "timeline": TIMELINE}
_AT_ONCE = 50_000  # rows of a row group


def badness(defects: Sequence[Defect]) -> float:
    """One number to sort by: severity times confidence of each defect, longer ones counting more.

    A defect of no length counts once, of 9 s twice, of 99 s three times.
    """
    return sum(
        one.severity * one.confidence * (1 + math.log10(1 + max(one.end - one.start, 0.0)))
        for one in defects
    )


def write_tables(ledger: Ledger, run: str, ids: Sequence[str]) -> None:
    """Write the tables of a run anew, each at once.

    Args:
        ledger: of the archive.
        run: its name.
        ids: of its assets, in order; those that nothing is known of yet are left out.
    """
    with (
        _table(ledger, "assets", run) as assets,
        _table(ledger, "defects", run) as defects,
        _table(ledger, "timeline", run) as timeline,
    ):
        for record in ledger.records(ids):
            assets(_assets(record))
            defects(_defects(record))
            timeline(_timeline(record))


@contextmanager
def _table(
    ledger: Ledger, name: str, run: str
) -> Iterator[Callable[[Iterable[dict[str, Any]]], None]]:
    """A table that is written row group by row group: no archive is too large for the memory.

    Yields:
        What takes rows.
    """
    schema = SCHEMAS[name]
    part: list[dict[str, Any]] = []
    with (
        ledger.writing(f"tables/{name}/run={run}/part.parquet") as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):

        def write() -> None:
            writer.write_table(pa.Table.from_pylist(part, schema))
            part.clear()

        def add(rows: Iterable[dict[str, Any]]) -> None:
            for row in rows:
                part.append(row)
                if len(part) == _AT_ONCE:
                    write()

        yield add
        write()


def _assets(record: Record) -> Iterator[dict[str, Any]]:
    row: dict[str, Any] = {
        "asset": record.id,
        "uri": record.uri,
        "labels": record.labels,
        "state": record.state,
        "reason": record.reason,
        "attempts": record.attempts,
        "ranges": record.ranges,
        "whole": record.whole,
    }
    inspection = record.inspection
    if inspection is not None:
        asset, coverage = inspection.asset, inspection.coverage
        video = asset.video[0] if asset.video else None
        audio = asset.audio[0] if asset.audio else None
        sync = inspection.av_sync
        row |= {
            "reason": coverage.problems[0].reason if coverage.problems else None,
            "coverage": coverage.state,
            "seconds": asset.duration,
            "container": asset.container,
            "size_bytes": asset.size_bytes,
            "video_codec": video and video.codec,
            "width": video and video.width,
            "height": video and video.height,
            "frame_rate": video and video.frame_rate,
            "audio_codec": audio and audio.codec,
            "sample_rate": audio and audio.sample_rate,
            "channels": audio and audio.channels,
            "loudness_lufs": inspection.measurements.get("loudness_integrated_lufs"),
            "av_sync": sync and sync.state,
            "av_offset_ms": sync and sync.offset_ms,
            "defects": len(inspection.defects),
            "worst_severity": max((one.severity for one in inspection.defects), default=0.0),
            "badness": badness(inspection.defects),
        }
    yield row


def _defects(record: Record) -> Iterator[dict[str, Any]]:
    for one in record.inspection.defects if record.inspection is not None else ():
        yield {
            "asset": record.id,
            "uri": record.uri,
            "labels": record.labels,
            "defect": one.id,
            "kind": one.kind.value,
            "start": one.start,
            "end": one.end,
            "severity": one.severity,
            "confidence": one.confidence,
            "stream": one.stream,
            "detector": one.detector,
            "summary": one.summary,
            "evidence": one.evidence,
        }


def _timeline(record: Record) -> Iterator[dict[str, Any]]:
    if record.inspection is None:
        return
    timelines = record.inspection.timelines
    for series, values in timelines.series.items():
        for n, value in enumerate(values):
            if value is not None:
                yield {
                    "asset": record.id,
                    "series": series,
                    "time": n / timelines.rate,
                    "value": value,
                }
