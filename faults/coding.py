"""Sound through a lossy codec and back, in memory and aligned in time, also with packets lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from scipy import signal

from pipeline.measurements import Float32

CODECS = ("mp3", "aac", "opus")
_ENCODERS = {"mp3": "libmp3lame", "aac": "aac", "opus": "libopus"}
_DECODERS = {"mp3": "mp3float", "aac": "aac", "opus": "libopus"}
PLENTY = 48_000  # bit/s a channel from which on no AAC needs to put noise for sound
_USUAL_RATE = 48_000  # where a codec does not know the sound's own; all that Opus decodes to


def resampled(sound: Float32, rate: int, to: int) -> Float32:
    """The sound at another sample rate, without delay."""
    if rate == to:
        return sound
    common = Fraction(to, rate)
    out: Float32 = signal.resample_poly(sound, common.numerator, common.denominator, axis=1).astype(
        np.float32
    )
    return out


@dataclass(frozen=True)
class _Stream:
    """One encoded mono or stereo stream."""

    packets: list[bytes]
    size: int  # samples in a packet
    delay: int  # samples that decoding puts before the sound
    extradata: bytes | None


class Coder:
    """Encodes on construction; `decode` may be called as often as wanted.

    More than two channels are coded each on its own.

    Attributes:
        count: packets.
        size: samples in a packet, at the rate of the sound.
    """

    def __init__(
        self,
        sound: Float32,
        rate: int,
        codec: str,
        bit_rate_per_channel: int,
        coded_rate: int | None = None,
    ) -> None:
        self.codec, self.rate = codec, rate
        known = av.codec.Codec(_ENCODERS[codec], "w").audio_rates or []
        wanted = coded_rate or rate
        self.coded_rate = wanted if wanted in known and codec != "opus" else _USUAL_RATE
        self._length = sound.shape[1]
        groups = [sound] if sound.shape[0] <= 2 else [row[None] for row in sound]
        self._streams = [
            self._encode(resampled(group, rate, self.coded_rate), bit_rate_per_channel)
            for group in groups
        ]
        self._channels = groups[0].shape[0]
        first = self._streams[0]
        self.count = len(first.packets)
        self.size = first.size * rate / self.coded_rate
        self._lead = first.delay * rate / self.coded_rate

    def starts(self) -> list[float]:
        """Where each packet's sound begins, in samples of the sound."""
        # what an encoder adds in front delays the sound by as much
        return [n * self.size - self._lead for n in range(self.count)]

    def _encode(self, sound: Float32, bit_rate: int) -> _Stream:
        layout = "mono" if sound.shape[0] == 1 else "stereo"
        coder = cast(av.AudioCodecContext, av.CodecContext.create(_ENCODERS[self.codec], "w"))
        coder.sample_rate, coder.layout = self.coded_rate, layout
        coder.bit_rate = bit_rate * sound.shape[0]
        coder.format = "flt" if self.codec == "opus" else "fltp"
        coder.time_base = Fraction(1, self.coded_rate)
        if self.codec == "aac" and bit_rate >= PLENTY:
            coder.options = {"aac_pns": "0"}
        coder.open()
        size = coder.frame_size
        packets: list[Any] = []
        short = -sound.shape[1] % size
        padded = np.pad(sound, ((0, 0), (0, short + 2 * size)))
        for at in range(0, padded.shape[1], size):
            part = np.ascontiguousarray(padded[:, at : at + size])
            if self.codec == "opus":  # interleaved
                part = np.ascontiguousarray(part.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(part, format=coder.format.name, layout=layout)
            frame.sample_rate, frame.pts = self.coded_rate, at
            frame.time_base = Fraction(1, self.coded_rate)
            packets += coder.encode(frame)
        packets += coder.encode(None)
        return _Stream([bytes(p) for p in packets], size, -int(packets[0].pts), coder.extradata)

    def decode(self, lost: Sequence[int] = (), conceal: str = "silence") -> Float32:
        """The decoded sound [C, N], as long as what was encoded.

        Args:
            lost: indices of packets that do not arrive.
            conceal: what stands in for them: "silence", "repeat" (the last frame again) or "codec"
                (Opus alone: the concealment of its own decoder).
        """
        missing = set(lost)
        rows = [self._decode(stream, missing, conceal) for stream in self._streams]
        out = resampled(np.concatenate(rows), self.coded_rate, self.rate)[:, : self._length]
        return np.pad(out, ((0, 0), (0, self._length - out.shape[1])))

    def _decode(self, stream: _Stream, missing: set[int], conceal: str) -> Float32:
        decoder = cast(av.AudioCodecContext, av.CodecContext.create(_DECODERS[self.codec], "r"))
        if stream.extradata:
            decoder.extradata = stream.extradata
        if self.codec != "aac":
            decoder.sample_rate = self.coded_rate
            decoder.layout = "mono" if self._channels == 1 else "stereo"
        parts: list[Float32] = []
        for index, data in enumerate(stream.packets):
            if index in missing and conceal != "codec":
                last = parts[-1] if parts and conceal == "repeat" else None
                empty = np.zeros((self._channels, stream.size), np.float32)
                parts.append(empty if last is None or last.shape != empty.shape else last)
                continue
            # a packet of its first byte alone, saying that one frame follows, is a lost one to
            # libopus (opus_decode_native: payloads of up to one byte start the concealment)
            packet = av.Packet(bytes([data[0] & 0xFC]) if index in missing else data)
            for frame in decoder.decode(packet):
                samples = frame.to_ndarray()
                if not frame.format.is_planar:
                    samples = samples.reshape(-1, self._channels).T
                scale = 1 / 32_768 if samples.dtype == np.int16 else 1
                parts.append(samples.astype(np.float32) * np.float32(scale))
        out = np.concatenate(parts, axis=1)
        # the decoder of Opus leaves the delay out by itself
        skipped = stream.size - parts[0].shape[1]
        return out[:, max(stream.delay - skipped, 0) :]
