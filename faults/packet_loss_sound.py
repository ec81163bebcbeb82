"""Packet loss of sound: what a real decoder makes of an Opus or AAC stream with holes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from faults.base import FaultError, SoundFault
from faults.coding import Coder
from faults.sound import amid_sound, clusters
from faults.truth import Severity
from pipeline.measurements import Float32
from pipeline.types import Kind

BESIDE = 0.5  # seconds of sound before and after that are coded too, so that the decoder is settled
RECOVERY = 0.2  # seconds after a loss in which a decoder may still be wrong
WRONG = 0.1  # error against the undamaged decoding, in shares of the sound: -20 dB
STEP = 0.005  # seconds in which that is looked at
EDGE = 0.002  # seconds to pass from clean to decoded sound, inside the truth
BIT_RATE = 64_000  # per channel: the coding itself is transparent


def lost_packets(
    among: npt.NDArray[np.int64], loss: float, burst: float, rng: np.random.Generator
) -> list[int]:
    """Indices of packets that a Gilbert-Elliott channel loses.

    Args:
        among: indices of those that it may lose.
        loss: share that is lost.
        burst: mean length of losses in a row.
        rng: decides.
    """
    leave = 1 / burst  # from bad to good
    enter = min(leave * loss / (1 - loss), 1.0)  # so that the share of bad is `loss`
    bad = bool(rng.random() < loss)
    lost = []
    for index in among:
        if bad:
            lost.append(int(index))
        bad = bool(rng.random() < (1 - leave if bad else enter))
    return lost


class PacketLossSoundFault(SoundFault):
    """Packets of a stream are lost on the way, and the decoder conceals them or does not.

    The interval is coded to Opus (20 ms a packet) or AAC (1024 samples), packets are dropped by a
    Gilbert-Elliott model (good: all arrive; bad: all are lost), and the rest is decoded. Lost Opus
    is concealed by libopus's own decoder or left silent; lost AAC is left silent or the frame
    before is repeated, as players do. The frames after a loss are wrong as far as the decoder's
    memory goes. Losses less than 0.5 s apart are one truth, in which the sound is the decoded one.

    The ladder (share of packets lost, mean length of a burst) is proposed.
    """

    name = "packet_loss_sound"
    kind = Kind.DROPOUT
    summary = "Packets of an Opus or AAC stream are lost, concealed or not"
    lengths = (1.0, 3.0)
    also = (Kind.DISTORTION, Kind.CLICK)
    ladder = {
        Severity.VERY_SUBTLE: {"loss": 0.01, "burst": 1.0},
        Severity.SUBTLE: {"loss": 0.04, "burst": 1.5},
        Severity.NOTICEABLE: {"loss": 0.1, "burst": 2.0},
        Severity.VERY_NOTICEABLE: {"loss": 0.2, "burst": 4.0},
    }

    def sound(self, sound: Float32, rate: int) -> Float32:
        """As in SoundFault."""
        span = self.span(sound, rate)
        beside = round(BESIDE * rate)
        begin = max(span.start - beside, 0)
        part = sound[:, begin : min(span.stop + beside, sound.shape[1])]
        codec, conceal = [
            ("opus", "codec"),
            ("opus", "silence"),
            ("aac", "silence"),
            ("aac", "repeat"),
        ][int(self.rng.integers(4))]
        self.parameters |= {"codec": codec, "concealment": conceal}
        coder = Coder(part, rate, codec, BIT_RATE)
        starts = np.round(coder.starts()).astype(int)
        size = round(coder.size)
        reach = round(RECOVERY * rate)
        room = (starts + begin >= span.start) & (starts + begin + size <= span.stop)
        room &= starts + size + reach < part.shape[1]
        inside = np.flatnonzero(room)
        heard = amid_sound(part, rate, starts[inside].astype(np.float64), size)
        if not len(heard):
            raise FaultError(f"there is no sound to lose a packet of near {self.order.start:.2f} s")
        lost = lost_packets(inside, self.parameters["loss"], self.parameters["burst"], self.rng)
        if not np.isin(starts[lost], heard).any():  # at least one that is missed
            first = int(np.searchsorted(starts, self.rng.choice(heard)))
            burst = range(first, first + round(self.parameters["burst"]))
            lost = sorted({*lost, *(index for index in burst if index in inside)})
        intact, damaged = coder.decode(), coder.decode(lost, conceal)
        spans = [self._wrong(intact, damaged, int(starts[n]), size, rate) for n in lost]
        for group in clusters(spans, rate):
            start, stop = group[0][0], max(last for _, last in group)
            self._put(part, damaged, start, stop, round(EDGE * rate))
            here = [n for n in lost if start <= starts[n] < stop]
            self.did(
                (begin + start) / rate,
                (begin + stop) / rate,
                lost_packets=len(here),
                packet_ms=1e3 * coder.size / rate,
            )
        return sound

    def _wrong(
        self, intact: Float32, damaged: Float32, start: int, size: int, rate: int
    ) -> tuple[int, int]:
        """From the start of a lost packet to where the decoder is right again, with seams."""
        step, edge = max(1, round(STEP * rate)), round(EDGE * rate)
        stop = start + size
        limit = min(stop + round(RECOVERY * rate), intact.shape[1]) - step - edge
        while stop < limit:
            here = slice(stop, stop + step)
            error = np.square(damaged[:, here] - intact[:, here]).mean()
            if error <= WRONG**2 * np.square(intact[:, here]).mean() + 1e-9:
                break
            stop += step
        return max(start - edge, 0), stop + edge

    def _put(self, part: Float32, damaged: Float32, start: int, stop: int, edge: int) -> None:
        weight = np.ones(stop - start, np.float32)
        if edge:
            rise = ((np.arange(edge) + 1) / (edge + 1)).astype(np.float32)
            weight[:edge], weight[-edge:] = rise, rise[::-1]
        clean = part[:, start:stop]
        part[:, start:stop] = clean + weight * (damaged[:, start:stop] - clean)
