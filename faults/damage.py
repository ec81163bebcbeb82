"""Damaging a file: clean media and orders in, damaged media and the truth about it out."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import av
import numpy as np

from faults import FAULTS
from faults.base import Fault, FaultError, FileFault, Order, PictureFault, SoundFault
from faults.delivery import PLAYLIST, SegmentMissingFault, deliver, in_segments
from faults.media import Clean, Encoding, Picture, encode
from faults.truth import DamagedFile, MaskedFrames, Severity, Truth, write_masks

MARGIN = 1.0  # seconds that stay clean around every fault whose place is drawn
ProgressCallback = Callable[[float], None]  # seconds of presentation encoded


def place(
    name: str,
    severity: Severity,
    clean: Clean,
    seed: int,
    at: tuple[float, float] | None = None,
) -> Order:
    """An order for a fault: at the interval asked for, or at one drawn from the seed.

    Raises:
        FaultError: the fault is unknown, cannot be put into this asset or finds no room in it.
    """
    if name not in FAULTS:
        raise FaultError(f"there is no fault {name!r}; `vidette damage --list` lists them")
    fault = FAULTS[name]
    obstacle = fault.obstacle(clean)
    if obstacle is not None:
        raise FaultError(f"{name}: {obstacle}")
    if fault.whole:
        return Order(name, severity, 0.0, clean.duration, seed)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), 1])
    length = fault.length_of(severity, rng)
    if at is None:
        room = clean.duration - length - 2 * MARGIN
        if room < 0:
            raise FaultError(
                f"{name} takes {length:.2f} s and {MARGIN:g} s around it; "
                f"this asset has {clean.duration:.2f} s"
            )
        start = MARGIN + float(rng.uniform(0, room))
        return Order(name, severity, start, start + length, seed)
    start, end = at
    if not 0 <= start < clean.duration or end <= start:
        raise FaultError(f"{start:g}-{end:g} s is not within the {clean.duration:.2f} s there are")
    if fault.lengths == (0.0, 0.0):  # severity decides
        end = start + length
    return Order(name, severity, start, min(end, clean.duration), seed)


def mix(clean: Clean, seed: int, count: int | None = None) -> list[Order]:
    """Orders for several different faults, drawn from the seed, apart from each other.

    Picture and sound are drawn apart, so that one of each may fall together. Without `count`: one
    per 6 seconds of each.

    Raises:
        FaultError: there is no room for any.
    """
    rng = np.random.default_rng([seed, 2])
    orders: list[Order] = []
    for reads in ("picture", "sound"):
        names = [
            name
            for name, fault in FAULTS.items()
            if fault.reads == reads and fault.mixes and fault.obstacle(clean) is None
        ]
        wanted = max(1, int(clean.duration / 6)) if count is None else count
        taken: list[Order] = []
        for name in rng.permutation(names):
            if len(taken) >= wanted:
                break
            severity = list(Severity)[int(rng.integers(len(Severity)))]
            for _ in range(20):
                try:
                    order = place(str(name), severity, clean, int(rng.integers(2**31)))
                except FaultError:
                    break
                if all(
                    order.end + MARGIN <= other.start or other.end + MARGIN <= order.start
                    for other in taken
                ):
                    taken.append(order)
                    break
        orders += taken
    if not orders:
        raise FaultError(f"{clean.path} is too short ({clean.duration:.2f} s) for any fault")
    return sorted(orders, key=lambda order: order.start)


def damage(
    clean: Clean,
    target: Path,
    orders: Sequence[Order],
    *,
    encoding: Encoding | None = None,
    progress: ProgressCallback | None = None,
    lenient: bool = False,
) -> DamagedFile:
    """Write `target`, damaged as ordered, and return the truth. Same orders, same bytes.

    The whole sound is held in memory (an hour of 48 kHz stereo: 1.4 GB), the picture is not. With
    `lenient`, faults that find no place for themselves are left out, as long as one is left.

    Raises:
        FaultError: a fault found no place for itself in this asset (`lenient`: none did).
    """
    faults = [FAULTS[order.fault](order, clean) for order in orders]
    sound = clean.sound.copy() if clean.has_sound else None
    for fault in list(faults):
        if isinstance(fault, SoundFault) and sound is not None:
            try:
                sound = fault.sound(sound, clean.sample_rate)
            except FaultError:
                if not lenient:
                    raise
                faults.remove(fault)
    pictures = _watched(clean.pictures(), progress) if clean.has_picture else None
    for fault in faults:
        if isinstance(fault, PictureFault) and pictures is not None:
            pictures = fault.pictures(pictures)
    # the faults of a playlist come last: before them it is one transport stream
    of_files = sorted(
        (fault for fault in faults if isinstance(fault, FileFault)),
        key=lambda fault: isinstance(fault, SegmentMissingFault),
    )
    is_playlist = target.suffix.lower() == PLAYLIST
    suffix = ".ts" if is_playlist else target.suffix
    with tempfile.TemporaryDirectory(prefix="vidette-") as folder:
        made = Path(folder) / f"0{suffix}"
        encode(
            made,
            pictures,
            sound,
            rate=clean.rate,
            sample_rate=clean.sample_rate,
            layout=clean.layout,
            encoding=in_segments(encoding, clean.rate) if is_playlist else encoding,
        )
        for number, fault in enumerate(of_files, 1):
            last = target.suffix if isinstance(fault, SegmentMissingFault) else suffix
            after = Path(folder) / f"{number}{last}"
            try:
                fault.file(made, after)
            except FaultError:
                if not lenient:
                    raise
                continue
            made = after
        if lenient:
            faults = [fault for fault in faults if fault.truths]
            if orders and not faults:
                raise FaultError(f"no fault finds a place for itself in {clean.path}")
        truth = _truth(clean, target, faults)
        deliver(made, target)
    return truth


def _truth(clean: Clean, target: Path, faults: Sequence[Fault]) -> DamagedFile:
    truths: list[Truth] = []
    masks: dict[str, MaskedFrames] = {}
    for fault in faults:
        if not fault.truths:
            raise FaultError(
                f"{fault.name} found nothing to damage at "
                f"{fault.order.start:.2f}-{fault.order.end:.2f} s"
            )
        truths += fault.truths
        masks |= fault.masks
    mask_file = None
    if masks:
        mask_file = target.with_name(target.name + ".mask.npz")
        write_masks(mask_file, masks)
    return DamagedFile(
        source=Path(clean.path).name,
        file=target.name,
        duration=round(clean.duration, 6),
        mask_file=None if mask_file is None else mask_file.name,
        truths=sorted(truths, key=lambda truth: (truth.start, truth.kind)),
        versions={
            "vidette": version("vidette"),
            "av": av.__version__,
            "libavcodec": ".".join(str(part) for part in av.library_versions["libavcodec"]),
        },
    )


def _watched(pictures: Iterator[Picture], progress: ProgressCallback | None) -> Iterator[Picture]:
    for picture in pictures:
        yield picture
        if progress is not None:
            progress(picture.time + picture.duration)
