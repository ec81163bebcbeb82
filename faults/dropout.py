"""Dropout: the sound has holes of milliseconds."""

from __future__ import annotations

import numpy as np

from faults.base import FaultError, SoundFault
from faults.sound import clusters, place_amid_sound, seam
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind

FRAMES = {"opus": 960 / 48_000, "aac": 1024 / 48_000}  # seconds of sound in a packet
MOST = 4  # holes in one interval


class DropoutFault(SoundFault):
    """Holes: a buffer that ran empty, a torn tape, a loose contact, packets lost unconcealed.

    Holes have hard edges or ramps of 1 ms, in one channel or in all; those of packets are whole
    codec frames (20 ms of Opus, 21.3 ms of AAC), on the grid of the stream and in all channels.
    They lie where there is sound on both sides, within 0.45 s of the ordered interval at most.
    Holes less than 0.5 s apart are one event to a listener and one truth.

    The ladder is the length of a hole: 10 ms is the shortest that Essentia's GapsDetector looks
    for, about one or two packets are 30 ms, ITU-T G.711 appendix I conceals up to 60 ms, and 350 ms
    is a lost word (proposed).
    """

    name = "dropout"
    kind = Kind.DROPOUT
    summary = "Holes of 10 to 350 ms in the sound, with hard edges"
    lengths = (0.4, 1.6)
    also = (Kind.CLICK,)
    ladder = {
        Severity.VERY_SUBTLE: {"hole_ms": 10.0},
        Severity.SUBTLE: {"hole_ms": 30.0},
        Severity.NOTICEABLE: {"hole_ms": 100.0},
        Severity.VERY_NOTICEABLE: {"hole_ms": 350.0},
    }

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundFault."""
        span = self.span(sound, rate)
        length = max(2, round(self.parameters["hole_ms"] * rate / 1000))
        frame = 0.0
        if length >= 0.02 * rate and self.rng.random() < 0.4:
            codec = str(self.rng.choice(sorted(FRAMES)))
            frame = FRAMES[codec] * rate
            length = round(max(1, round(length / frame)) * frame)
            self.parameters["frames_of"] = codec
        self.parameters["hole_ms"] = 1e3 * length / rate
        channels = list(range(sound.shape[0]))
        if not frame and sound.shape[0] > 1 and self.rng.random() < 0.4:
            channels = [int(self.rng.integers(2))]  # left or right
        edge = 0.0 if frame else float(self.rng.choice([0.0, 0.001]))
        self.parameters |= {"edge_ms": 1e3 * edge, "channels": tuple(channels)}
        wanted = 1 if self.rng.random() < 0.5 else int(self.rng.integers(2, MOST + 1))
        clean = sound[channels]
        holes: list[tuple[int, int]] = []
        for _ in range(4 * wanted):
            if len(holes) == wanted:
                break
            try:
                first = place_amid_sound(clean, rate, span, length, self.rng)
            except FaultError:
                if not holes:
                    raise
                break
            if frame:
                first = round(round(first / frame) * frame)
            stop = min(first + length, sound.shape[1])
            apart = max(length // 2, round(0.05 * rate))
            if all(first >= last + apart or stop + apart <= start for start, last in holes):
                holes.append((first, stop))
        for start, stop in holes:
            weight = seam(stop - start, round(edge * rate))
            sound[channels, start:stop] = np.where(
                weight == 1, np.float32(0), clean[:, start:stop] * (1 - weight)
            )
        for group in clusters(holes, rate):
            missing = sum(stop - start for start, stop in group)
            self.did(
                group[0][0] / rate,
                group[-1][1] / rate,
                holes=len(group),
                missing_ms=1e3 * missing / rate,
            )
        return sound
