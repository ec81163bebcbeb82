"""Whether judging a stream costs the same however long it is watched.

    python -m bench.standing [CLIP] [--minutes 16] [--quick]

A stream of 720p25 with sound (CLIP, or a drawn scene, again and again) goes through the panel of
all detectors but that of lips as fast as it can, in the halves of a second in which live streams
are judged. Every two minutes of the stream: the CPU seconds a second that showing it to the
detectors took, and that asking them what stands took. The latter would grow with what they keep.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from threadpoolctl import threadpool_limits

from bench.live import programme
from bench.machine import cores
from pipeline.decode import Decoder
from pipeline.live.watcher import LENGTH
from pipeline.panel import Panel, judges_coarseness, judges_steps, lips
from pipeline.segment import Segmenter
from pipeline.settings import load
from pipeline.warm import warm

RESULTS = Path(__file__).parent / "results/standing.md"
_EVERY = 120.0  # seconds


@dataclass
class _Part:
    end: float  # seconds of the stream
    update: float = 0.0  # CPU seconds
    standing: float = 0.0


def main() -> None:
    """Measure, print, and without --quick write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--minutes", type=float, default=16.0)
    parser.add_argument("--quick", action="store_true", help="four minutes, nothing is written")
    chosen = parser.parse_args()
    minutes = 4.0 if chosen.quick else chosen.minutes
    logging.getLogger("vidette").setLevel(logging.ERROR)
    warm()
    threadpool_limits(1, "blas")  # as in a worker
    rows = []
    with tempfile.TemporaryDirectory(prefix="vidette-bench-") as name:
        for part in _parts(programme(Path(name), chosen.clip, minutes)):
            rows.append(
                f"| {part.end / 60:.0f} | {part.update / _EVERY:.4f} | "
                f"{part.standing / _EVERY:.4f} |"
            )
            print(rows[-1], flush=True)
    clip = f" {chosen.clip.name}" if chosen.clip else ""
    text = "\n".join(
        (
            "# What judging costs as time goes by\n",
            f"`python -m bench.standing{clip} --minutes {minutes:g}`, {cores()}.\n",
            "| until minute | shown to the detectors, CPUs | asked what stands, CPUs |",
            "| --- | --- | --- |",
            *rows,
        )
    )
    if not chosen.quick:
        RESULTS.write_text(text + "\n")


def _parts(stream: Path) -> Iterator[_Part]:
    settings = load(skip=("sync",))
    with av.open(str(stream)) as container:
        decoder = Decoder(container, 1)
        asset = decoder.asset()
        panel, part = Panel(settings, asset), _Part(_EVERY)
        segmenter = Segmenter(
            lips(settings, asset), judges_coarseness(settings), LENGTH, steps=judges_steps(settings)
        )
        for segment in segmenter.run(decoder):
            began = time.thread_time()
            panel.update(segment)
            shown = time.thread_time()
            panel.standing()
            part.update += shown - began
            part.standing += time.thread_time() - shown
            panel.found.clear()
            if segment.end >= part.end:
                yield part
                part = _Part(part.end + _EVERY)


if __name__ == "__main__":
    main()
