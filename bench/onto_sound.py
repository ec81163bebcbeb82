"""How many places a detector of sound finds where a fault was put onto decoded sound.

    python -m bench.onto_sound hum MEDIA [MEDIA ...] [--split dev] [--per-source 16] [--seed 0]

Of each source of the split, pieces of eleven seconds; into each, once a severity, the fault where
the seed says. They are judged as WAV files by the kind's own detector, and as they are: hundreds of
places in minutes, which shows what a detector misses. Nothing is encoded after the fault, so that
`bench.accuracy` has the last word.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np
from rich.progress import track
from scipy.io import wavfile

from bench.accuracy.score import Interval, Wanted, match
from corpus.sources import Asset, scan, split_of
from faults import FAULTS
from faults.base import FaultError, Order
from faults.media import Clean
from faults.sound import PartFault
from faults.truth import Severity
from pipeline.inspect import inspect
from pipeline.measurements import Float32
from pipeline.settings import Settings, load
from pipeline.types import Kind

SECONDS, SHORTEST = 11.0, 7.5
BESIDE = 1.5  # seconds of clean sound on either side of the fault
FAINTEST = 1e-3  # RMS of a piece: -60 dBFS
SOUNDS = ("sound", "face", "video")  # kinds of media that have their own


@dataclass(frozen=True)
class Piece:
    """Sound [C, N] as it is, and whose it is."""

    source: str
    rate: int
    sound: Float32


def main() -> None:
    """Damage, judge and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [name for name, fault in FAULTS.items() if issubclass(fault, PartFault)]
    parser.add_argument("fault", choices=names)
    parser.add_argument("media", nargs="+", type=Path, help="folders of clean media")
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--per-source", type=int, default=16, help="pieces")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    pieces = list(_pieces(chosen.media, chosen.split, chosen.per_source))
    if not pieces:
        parser.error(f"no sound of sources of the {chosen.split} split in these folders")
    fault = FAULTS[chosen.fault]
    assert issubclass(fault, PartFault)
    _judge(fault, pieces, chosen.seed)


def _pieces(folders: Sequence[Path], split: str, most: int) -> Iterator[Piece]:
    files: dict[str, list[Asset]] = defaultdict(list)
    for asset in scan(folders):
        if asset.kind in SOUNDS and split_of(asset.source) == split:
            files[asset.source].append(asset)
    for source, assets in sorted(files.items()):
        share = math.ceil(most / len(assets))  # of each file
        pieces = (Piece(source, *cut) for asset in assets for cut in _cut(asset, share))
        yield from islice(pieces, most)


def _cut(asset: Asset, most: int) -> Iterator[tuple[int, Float32]]:
    """The first pieces of a file that are long and loud enough, each with its rate."""
    parts: list[Float32] = []
    length = 0
    try:
        with av.open(str(asset.folder / asset.name), metadata_errors="ignore") as container:
            known = (container.duration or 0) / av.time_base
            if not container.streams.audio or 0 < known < SHORTEST:
                return
            stream = container.streams.audio[0]
            layout = "mono" if stream.channels == 1 else "stereo"
            resampler = av.AudioResampler(format="fltp", layout=layout)
            rate = stream.rate
            for frame in container.decode(stream):
                parts += [
                    made.to_ndarray().astype(np.float32) for made in resampler.resample(frame)
                ]
                length += frame.samples
                if length > most * SECONDS * rate:
                    break
    except av.FFmpegError:
        return
    sound = np.concatenate(parts, axis=1) if parts else np.zeros((1, 0), np.float32)
    for start in range(0, sound.shape[1], round(SECONDS * rate)):
        piece = sound[:, start : start + round(SECONDS * rate)]
        long = piece.shape[1] >= SHORTEST * rate
        if long and float(np.sqrt(np.square(piece, dtype=np.float64).mean())) > FAINTEST:
            yield rate, piece


def _judge(fault: type[PartFault], pieces: Sequence[Piece], seed: int) -> None:
    settings = load(only=(fault.kind,))
    found: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    extra = reports = 0
    with tempfile.TemporaryDirectory(prefix="vidette-bench-") as name:
        clean_file, damaged_file = Path(name) / "clean.wav", Path(name) / "damaged.wav"
        for number, piece in enumerate(track(pieces, "pieces")):
            _write(clean_file, piece.sound, piece.rate)
            reports += len(_found(clean_file, fault.kind, settings))
            for severity in Severity:
                made = _damaged(fault, Clean(clean_file), severity, [seed, number])
                if made is None:
                    continue
                sound, truth = made
                _write(damaged_file, sound, piece.rate)
                told = match([truth], _found(damaged_file, fault.kind, settings))
                asked[severity] += 1
                found[severity] += len(told.pairs)
                missed[piece.source] += len(told.missed)
                extra += len(told.extra)
    hours = sum(piece.sound.shape[1] / piece.rate for piece in pieces) / 3600
    print(f"{fault.name}: {found.total()} of {asked.total()} places found, {extra} reports besides")
    for severity in Severity:
        print(f"  {severity}: {found[severity]} of {asked[severity]}")
    print(f"  as they are: {reports} reports in {hours:.2f} hours")
    print("  missed: " + ", ".join(f"{source} {n}" for source, n in missed.most_common() if n))


def _damaged(
    fault: type[PartFault], clean: Clean, severity: Severity, seed: list[int]
) -> tuple[Float32, Wanted] | None:
    """The sound with the fault in it, and where; None: this fault has no place there."""
    rng = np.random.default_rng(seed)
    length = min(fault.length_of(severity, rng), clean.duration - 2 * BESIDE)
    start = float(rng.uniform(BESIDE, clean.duration - BESIDE - length))
    order = Order(fault.name, severity, start, start + length, int(rng.integers(2**31)))
    made = fault(order, clean)
    try:
        sound = made.sound(clean.sound.copy(), clean.sample_rate)
    except FaultError:
        return None
    truths = [truth for truth in made.truths if truth.kind == fault.kind]
    return (sound, Wanted(truths[0].start, truths[-1].end, severity)) if truths else None


def _write(path: Path, sound: Float32, rate: int) -> None:
    wavfile.write(path, rate, np.ascontiguousarray(np.clip(sound, -1, 1).T))


def _found(path: Path, kind: Kind, settings: Settings) -> list[Interval]:
    return [
        Interval(defect.start, defect.end, defect.confidence)
        for defect in inspect(str(path), settings).defects
        if defect.kind == kind
    ]


if __name__ == "__main__":
    main()
