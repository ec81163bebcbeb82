"""What happens to the bits of a stream: packets lost, bits flipped, bytes removed, late joins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from faults.bitstream import Bitstream, Codec, Damage


class Mechanism(StrEnum):
    """What happens to the bits."""

    PACKET_LOSS = "packet_loss"  # single transport packets are lost, each with the same chance
    BURST_LOSS = "burst_loss"  # transport packets are lost in bursts (Gilbert's model)
    BIT_FLIPS = "bit_flips"  # bits inside slices are inverted
    BYTES_REMOVED = "bytes_removed"  # as BSCV (NeurIPS 2023) does: (P, L, S)
    SLICE_TRUNCATED = "slice_truncated"  # slices end early
    REFERENCE_LOST = "reference_lost"  # frames to which others refer never arrive
    MID_GOP_JOIN = "mid_gop_join"  # decoding begins anew between two key frames


_TRANSPORT_ALONE = (Mechanism.PACKET_LOSS, Mechanism.BURST_LOSS, Mechanism.MID_GOP_JOIN)


def mechanisms(codec: Codec) -> list[Mechanism]:
    """Those that a codec can have; VP9 is not carried by MPEG-TS."""
    return [m for m in Mechanism if codec is not Codec.VP9 or m not in _TRANSPORT_ALONE]


_Part = Callable[[int, int], tuple[int, int]]  # of a slice from start to stop, what is taken out


def draw(
    stream: Bitstream,
    mechanism: Mechanism,
    intensity: float,
    span: tuple[float, float],
    rng: np.random.Generator,
    *,
    fresh: bool = True,
) -> Damage:
    """Draw damage to what is shown from `span[0]` to `span[1]` seconds.

    Args:
        stream: to be damaged.
        mechanism: what happens.
        intensity: 0 to 1; what it means is the mechanism's, more of it damages more.
        span: seconds. Something is always hit, the frame nearest to its start at least.
        rng: draws.
        fresh: MID_GOP_JOIN has a decoder of its own for what follows; else the same decoder
            goes on after the hole, as with a stream that was joined on its way.
    """
    where = [
        n
        for n, unit in enumerate(stream.units)
        if n > 0 and stream.shown_from[n] >= span[0] - 1e-6 and unit.time < span[1] - 1e-6
    ]
    if not where:
        where = [int(np.argmin(np.abs(stream.shown_from[1:] - span[0]))) + 1]
    draws = {
        Mechanism.PACKET_LOSS: _packet_loss,
        Mechanism.BURST_LOSS: _burst_loss,
        Mechanism.BIT_FLIPS: _bit_flips,
        Mechanism.BYTES_REMOVED: _bytes_removed,
        Mechanism.SLICE_TRUNCATED: _slice_truncated,
        Mechanism.REFERENCE_LOST: _reference_lost,
    }
    if mechanism is Mechanism.MID_GOP_JOIN:
        return _mid_gop_join(stream, where, intensity, rng, fresh)
    return draws[mechanism](stream, where, intensity, rng)


def _packet_loss(
    stream: Bitstream, where: list[int], intensity: float, rng: np.random.Generator
) -> Damage:
    chance = 10 ** (-3.3 + 3 * intensity)
    packets = stream.packets_of(where)
    lost = packets[rng.random(len(packets)) < chance]
    if not len(lost):
        lost = rng.choice(packets, 1)
    return _losing(stream, lost, loss_rate=chance)


def _burst_loss(
    stream: Bitstream, where: list[int], intensity: float, rng: np.random.Generator
) -> Damage:
    """Gilbert-Elliott with no loss in the good state and nothing but loss in the bad one."""
    into = 10 ** (-3.5 + 2.5 * intensity)
    out_of = 1 / rng.uniform(3, 30)
    packets = stream.packets_of(where)
    chances = rng.random(len(packets))
    bad, lost = False, []
    for packet, chance in zip(packets, chances, strict=True):
        bad = chance < into if not bad else chance >= out_of
        if bad:
            lost.append(packet)
    if not lost:
        at = int(rng.integers(len(packets)))
        lost = list(packets[at : at + max(1, round(1 / out_of))])
    return _losing(stream, np.array(lost), good_to_bad=into, bad_to_good=out_of)


def _losing(stream: Bitstream, lost: npt.NDArray[np.int64], **parameters: float) -> Damage:
    owners = stream.owner[lost]
    return Damage(
        lost=frozenset(int(n) for n in lost),
        hit=(int(owners.min()), int(owners.max())),
        parameters={**parameters, "lost_packets": len(lost)},
    )


def _bit_flips(
    stream: Bitstream, where: list[int], intensity: float, rng: np.random.Generator
) -> Damage:
    chance = 10 ** (-6 + 3 * intensity)
    changed: dict[int, bytes | None] = {}
    count = 0
    sizes = [sum(stop - start for start, stop in stream.slices_of(n)) for n in where]
    sure = where[int(rng.choice(len(where), p=_shares(sizes)))]
    for n in where:
        data = np.frombuffer(stream.units[n].data, np.uint8).copy()
        hits = 0
        for start, stop in stream.slices_of(n):
            number = int(rng.binomial(8 * (stop - start), chance))
            number += n == sure and not hits and not number
            places = rng.integers(start, stop, number)
            np.bitwise_xor.at(data, places, (1 << rng.integers(0, 8, number)).astype(np.uint8))
            hits += number
        if hits:
            changed[n] = data.tobytes()
            count += hits
    return _changing(changed, bit_error_rate=chance, flipped_bits=count)


def _bytes_removed(
    stream: Bitstream, where: list[int], intensity: float, rng: np.random.Generator
) -> Damage:
    chance = 10 ** (-2 + 2 * intensity)
    place = float(rng.uniform(max(0.0, 0.8 - 1.2 * intensity), 0.95))
    size = round(16 * 2 ** (8 * intensity))  # BSCV: up to 4096

    def remove(start: int, stop: int) -> tuple[int, int]:
        at = start + int(place * (stop - start))
        return at, min(at + size, stop)

    changed = _cut(stream, where, chance, rng, remove)
    return _changing(changed, probability=chance, location=place, removed_bytes=size)


def _slice_truncated(
    stream: Bitstream, where: list[int], intensity: float, rng: np.random.Generator
) -> Damage:
    chance = 10 ** (-2 + 2 * intensity)
    place = float(rng.uniform(max(0.0, 0.8 - 1.2 * intensity), 0.95))

    def truncate(start: int, stop: int) -> tuple[int, int]:
        return start + int(place * (stop - start)), stop

    changed = _cut(stream, where, chance, rng, truncate)
    return _changing(changed, probability=chance, kept_share=place)


def _cut(
    stream: Bitstream, where: list[int], chance: float, rng: np.random.Generator, what: _Part
) -> dict[int, bytes | None]:
    """Take a part out of slices, each with the same chance."""
    changed: dict[int, bytes | None] = {}
    sure = int(rng.choice(where))
    for n in where:
        slices = stream.slices_of(n)
        hit = rng.random(len(slices)) < chance
        if n == sure and not hit.any():
            hit[int(rng.integers(len(slices)))] = True
        data = stream.units[n].data
        for (start, stop), is_hit in reversed(list(zip(slices, hit, strict=True))):
            if is_hit:
                first, last = what(start, stop)
                data = data[:first] + data[last:]
        if hit.any():
            changed[n] = data
    return changed


def _reference_lost(
    stream: Bitstream, where: list[int], intensity: float, rng: np.random.Generator
) -> Damage:
    anchors = [n for n in where if n in stream.anchors] or where
    count = 1 + int(intensity * 0.5 * (len(anchors) - 1))
    lost = sorted(int(n) for n in rng.choice(anchors, count, replace=False))
    return _changing(dict.fromkeys(lost), lost_frames=len(lost))


def _mid_gop_join(
    stream: Bitstream, where: list[int], intensity: float, rng: np.random.Generator, fresh: bool
) -> Damage:
    length = 1 + int(intensity * 0.6 * (len(where) - 1))
    first = int(rng.integers(0, max(1, len(where) - length)))
    lost = where[first : first + length]
    following = lost[-1] + 1
    if not fresh or following >= len(stream.units) or stream.units[following].key:
        return _changing(dict.fromkeys(lost), lost_frames=len(lost))
    return Damage(
        join=(lost[0], following),
        hit=(lost[0], following),
        parameters={"lost_frames": len(lost)},
    )


def _changing(changed: dict[int, bytes | None], **parameters: float) -> Damage:
    return Damage(
        changed=changed,
        hit=(min(changed), max(changed)),
        parameters={**parameters, "hit_frames": len(changed)},
    )


def _shares(sizes: Sequence[int]) -> npt.NDArray[np.float64]:
    whole = np.maximum(np.asarray(sizes, np.float64), 1)
    shares: npt.NDArray[np.float64] = whole / whole.sum()
    return shares
