"""Block corruption as it really happens: a bitstream is damaged and decoded with concealment.

`corrupt` does it to frames in memory, for training data; `BlockCorruptionFault` does it to files.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from faults.base import FaultError, FileFault
from faults.bitstream import (
    START,
    Bitstream,
    Codec,
    Coding,
    Damage,
    decoded,
)
from faults.comparison import Compared, Hit, area_of, compared, hits, stretches
from faults.mechanisms import Mechanism, draw, mechanisms
from faults.media import Picture
from faults.packets import TRANSPORT, pictures_of, tracks, with_pictures, write
from faults.rates import mpeg2_has
from faults.truth import Mask, Severity
from pipeline.types import Kind

_BUDGET = 1e9  # samples that are decoded to find damage of the right size
_ATTEMPTS = (6, 16)  # fewest and most draws to find it
_STALE, _FROZEN = 0.3, 3.0  # share of frames that may only be stale, and the penalty above it
_SAME = 4  # draws with one mechanism
# Change of intensity for a factor e in the damaged share; measured, it grows about so
_STEP, _LONGEST_STEP = 0.12, 0.3
_NOTHING = 1e-4  # share that stands for none

# Containers that can hold a codec as it is; in others the damage is baked in.
_HOLDS = {
    **dict.fromkeys(TRANSPORT, (Codec.H264, Codec.HEVC, Codec.MPEG2)),
    **dict.fromkeys((".mp4", ".m4v", ".mov"), (Codec.H264, Codec.HEVC, Codec.MPEG2)),
    # Matroska keeps no DTS, and the times that FFmpeg guesses for lost MPEG-2 frames go astray
    ".mkv": (Codec.H264, Codec.HEVC, Codec.VP9),
    ".webm": (Codec.VP9,),
}
_FORMS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}


@dataclass(frozen=True)
class Spec:
    """How to corrupt.

    Attributes:
        coding: the encode that is damaged.
        mechanism: what happens to it.
        intensity: 0 to 1.
        span: seconds; what is shown in between is hit. What refers to it is damaged as well.
        fresh: see `Bitstream.draw`.
    """

    coding: Coding = field(default_factory=Coding)
    mechanism: Mechanism = Mechanism.PACKET_LOSS
    intensity: float = 0.5
    span: tuple[float, float] = (0.0, float("inf"))
    fresh: bool = True

    @staticmethod
    def drawn(rng: np.random.Generator, span: tuple[float, float] = (0.0, float("inf"))) -> Spec:
        """A codec, its settings, a mechanism and an intensity, each drawn by itself."""
        coding = draw_coding(rng)
        return Spec(coding, draw_mechanism(coding.codec, rng), float(rng.random()), span)


def draw_coding(rng: np.random.Generator) -> Coding:
    """Codec and settings as broadcast and streaming use them."""
    codec = list(Codec)[int(rng.choice(len(Codec), p=(0.4, 0.25, 0.2, 0.15)))]
    # near transparent to plain; coarser would be another defect, blockiness
    lowest, highest = {
        Codec.H264: (17, 27),
        Codec.HEVC: (18, 28),
        Codec.MPEG2: (2, 6),
        Codec.VP9: (18, 32),
    }[codec]
    longest = 30 if codec is Codec.MPEG2 else 250  # DVB: half a second; x264's default
    return Coding(
        codec=codec,
        quality=int(rng.integers(lowest, highest + 1)),
        gop=round(float(np.exp(rng.uniform(np.log(12), np.log(longest))))),
        slices=int(rng.choice((1, 1, 2, 4, 8))),
        b_frames=int(rng.integers(0, 4)),
    )


def draw_mechanism(codec: Codec, rng: np.random.Generator) -> Mechanism:
    """One of those that the codec can have."""
    choices = mechanisms(codec)
    return choices[int(rng.integers(len(choices)))]


@dataclass(frozen=True)
class Corrupted:
    """What `corrupt` made. All have the same number of frames, at the same times."""

    damaged: list[Picture]
    clean: list[Picture]  # of the same encode
    masks: Mask  # [T, tile rows, tile columns]
    stale: npt.NDArray[np.bool_]  # [T], see `Compared`
    damage: Damage

    @property
    def ratio(self) -> float:
        """Mean damaged share of the picture from the first damaged frame to the last; 0 to 1."""
        return _ratio(self.masks)


def corrupt(
    pictures: Iterable[Picture], rate: Fraction, spec: Spec, rng: np.random.Generator
) -> Corrupted:
    """Encode, damage and decode frames. The damage may turn out to be nothing that shows.

    To damage one encode often, make the `Bitstream` once and call `corrupt_stream`.

    Args:
        pictures: frames in order, of one size.
        rate: nominal frames per second.
        spec: how.
        rng: draws the damage.
    """
    return corrupt_stream(Bitstream(pictures, rate, spec.coding), spec, rng)


def corrupt_stream(
    stream: Bitstream,
    spec: Spec,
    rng: np.random.Generator,
    clean: Sequence[Picture] | None = None,
) -> Corrupted:
    """As `corrupt`, for an encode that is there; `clean` is its decode, if that is there too."""
    damage = draw(stream, spec.mechanism, spec.intensity, spec.span, rng, fresh=spec.fresh)
    before = list(stream.clean()) if clean is None else list(clean)
    found = list(compared(before, decoded(stream.damaged(damage)), stream.rate))
    return Corrupted(
        damaged=[one.shown for one in found],
        clean=before,
        masks=np.array([one.mask for one in found]),
        stale=np.array([one.stale for one in found]),
        damage=damage,
    )


def _ratio(masks: Mask) -> float:
    hit = np.flatnonzero(masks.any(axis=(1, 2))) if len(masks) else np.zeros(0, int)
    return float(masks[hit[0] : hit[-1] + 1].mean()) if len(hit) else 0.0


class BlockCorruptionFault(FileFault):
    """Encodes the picture anew, damages the bitstream and decodes it, or delivers it damaged."""

    name = "block_corruption"
    kind = Kind.BLOCK_CORRUPTION
    summary = (
        "Blocks that are misplaced, stale or garbage, and their smear: lost packets, flipped "
        "bits, lost references; baked in, or in the delivered stream"
    )
    reads: ClassVar[Literal["picture", "sound", "stream"]] = "picture"
    mixes = True
    # what decoders show in place of what is lost: fills, stale blocks, the frame before
    also = (
        Kind.DECODER_SMEAR,
        Kind.GLITCH,
        Kind.TEARING,
        Kind.FREEZE,
        Kind.PARTIAL_FREEZE,
        Kind.REPEATED_FRAMES,
        Kind.DROPPED_FRAMES,
    )
    # Mean share of the picture whose damage shows, between `area_from` and `area_to` (proposed),
    # and seconds in which bits are damaged; what refers to them is damaged until the next key frame
    ladder = {
        Severity.VERY_SUBTLE: {"seconds": 0.4, "area_from": 0.002, "area_to": 0.01},
        Severity.SUBTLE: {"seconds": 0.8, "area_from": 0.01, "area_to": 0.05},
        Severity.NOTICEABLE: {"seconds": 1.5, "area_from": 0.05, "area_to": 0.2},
        Severity.VERY_NOTICEABLE: {"seconds": 2.5, "area_from": 0.2, "area_to": 1.0},
    }
    # what a frame that is lost damages at least, with everything that refers to it
    _least_area: ClassVar = {Mechanism.REFERENCE_LOST: 0.1, Mechanism.MID_GOP_JOIN: 0.5}
    _begin_with: ClassVar = {
        Severity.VERY_SUBTLE: 0.1,
        Severity.SUBTLE: 0.3,
        Severity.NOTICEABLE: 0.55,
        Severity.VERY_NOTICEABLE: 0.85,
    }

    def file(self, source: Path, target: Path) -> None:
        """As in FileFault.

        Raises:
            FaultError: nothing that was drawn shows.
        """
        self._as: tuple[Kind, ...] = self.also
        wanted = bool(self.rng.random() < 0.5)
        suffix = target.suffix.lower()
        coding = draw_coding(self.rng)
        held = _HOLDS.get(suffix, ())
        baked = wanted or not held
        rate = self.clean.rate
        while not _can_have(coding, rate) or not (baked or coding.codec in held):
            coding = draw_coding(self.rng)
        sound = next((t for t in tracks(source) if t.kind == "audio"), None)
        beside = sound if suffix in TRANSPORT and not baked else None
        stream = Bitstream(pictures_of(source), rate, coding, beside)
        mechanism, damage = self._find(stream, "" if baked else suffix)
        self.parameters |= {
            "codec": coding.codec.value,
            "quality": coding.quality,
            "gop": coding.gop,
            "slices": coding.slices,
            "b_frames": coding.b_frames,
            "mechanism": mechanism.value,
            "baked": baked,
            "baked_for_container": baked and not wanted,
            **damage.parameters,
        }
        parts = stream.damaged(damage)
        if not baked:
            if suffix in TRANSPORT:
                target.write_bytes(parts[0])
            else:
                video = [t for t in tracks(parts[0], origin=START) if t.kind == "video"]
                write(target, [*video, *([sound] if sound else [])])
            self._as += (Kind.DECODE_ERROR, Kind.TIMESTAMP_GAP)
            for _ in self._measured(compared(stream.clean(), pictures_of(target), rate)):
                pass
            self._must_show()
            return
        with tempfile.TemporaryDirectory(prefix="vidette-") as folder:
            damaged = self._measured(compared(stream.clean(), decoded(parts), rate))
            with_pictures(source, target, damaged, rate, Path(folder))
        self._must_show()

    def _must_show(self) -> None:
        if not self.truths:
            raise FaultError(f"{self.name}: what was damaged does not show")

    def _mechanism(self, codec: Codec) -> Mechanism:
        """One that can have effects as small as the rung wants them."""
        least = self._least_area
        while True:
            mechanism = draw_mechanism(codec, self.rng)
            if least.get(mechanism, 0.0) < float(self.parameters["area_to"]):
                return mechanism

    def _find(self, stream: Bitstream, suffix: str) -> tuple[Mechanism, Damage]:
        """Draw until the damaged share of the picture is on the rung; else the nearest to it.

        `suffix` is of the file in which the stream is delivered, "" where it is baked in.
        """
        low, high = float(self.parameters["area_from"]), float(self.parameters["area_to"])
        span = (self.order.start, self.order.end)
        best: tuple[float, Mechanism, Damage] | None = None
        left = _BUDGET
        intensity = self._begin_with[self.order.severity]
        mechanism = self._mechanism(stream.coding.codec)
        for attempt in range(_ATTEMPTS[1]):
            if attempt >= _ATTEMPTS[0] and left <= 0:
                break
            if attempt and attempt % _SAME == 0:  # this one does not lead there
                mechanism = self._mechanism(stream.coding.codec)
                intensity = self._begin_with[self.order.severity]
            damage = draw(stream, mechanism, intensity, span, self.rng, fresh=not suffix)
            before, after = stream.around(damage)
            if suffix in _FORMS:  # what another container cannot hold is lost as well
                after = [_packed(after[0], suffix)]
            found = []
            for one, hit in hits(compared(decoded(before), decoded(after), stream.rate)):
                found += [hit] if hit is not None else []
                left -= 2 * one.clean.luma.size
            ratio = max((area_of(one, stream.rate) for one in stretches(found)), default=0.0)
            # a picture that mostly stands is a freeze, not block corruption
            frozen = sum(one.stale for one in found) > _STALE * len(found)
            away = _away(ratio, low, high) + _FROZEN * frozen
            if best is None or away < best[0]:
                best = (away, mechanism, damage)
            if away == 0:
                break
            wanted = float(np.sqrt(low * high)) / max(ratio, _NOTHING)
            step = float(np.clip(_STEP * np.log(wanted), -_LONGEST_STEP, _LONGEST_STEP))
            intensity = float(np.clip(intensity + step, 0.0, 1.0))
        if best is None or best[0] == float("inf"):
            raise FaultError(f"{self.name}: what was damaged does not show at {span[0]:.2f} s")
        return best[1], best[2]

    def _measured(self, frames: Iterable[Compared]) -> Iterator[Picture]:
        """Pass on the damaged frames and record the truth about them."""
        found: list[Hit] = []
        for one, hit in hits(frames):
            found += [hit] if hit is not None else []
            yield one.shown
        for stretch in stretches(found):
            start, end, masked = stretch
            self.did(
                start,
                end,
                also=self._as,
                masked=masked,
                damaged_area=area_of(stretch, self.clean.rate),
                largest_area=float(masked.shows.mean(axis=(1, 2)).max()),
                stale_frames=sum(one.stale and start <= one.time < end for one in found),
            )


def _can_have(coding: Coding, rate: Fraction) -> bool:
    return coding.codec is not Codec.MPEG2 or mpeg2_has(float(rate))


def _packed(stream: bytes, suffix: str) -> bytes:
    """The picture of a stream in another container."""
    out = io.BytesIO()
    video = [track for track in tracks(stream, origin=START) if track.kind == "video"]
    write(out, video, form=_FORMS[suffix], after=START)
    return out.getvalue()


def _away(ratio: float, low: float, high: float) -> float:
    """How far a share is from a range, in factors (natural logarithm)."""
    if ratio <= 0:
        return float("inf")
    return max(0.0, float(np.log(low / ratio)), float(np.log(ratio / high)))
