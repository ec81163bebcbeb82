"""Decoder smear: what decoders draw onto a reference frame that never arrived."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from faults.base import FaultError
from faults.cadence import CUT, CUT_STEP
from faults.drawing import inset
from faults.media import Picture, plain
from faults.recode import recode
from faults.span import SpanFault, difference, step_by_tile
from faults.truth import TILE, Severity
from pipeline.types import Kind, Region

# What decoders fill a missing reference with: Y, Cb, Cr. FFmpeg takes grey for H.264 and HEVC;
# planes of zeros are green, and of ones magenta, in hardware decoders.
FILLS = {"grey": (128, 128, 128), "green": (0, 0, 0), "magenta": (255, 255, 255)}
# One key frame, then differences alone.
CODERS = {
    "libx264": {
        "preset": "veryfast",
        "crf": "23",
        "x264-params": "keyint=9999:scenecut=0:bframes=0:weightp=0",
    },
    "libx265": {
        "preset": "ultrafast",
        "x265-params": "keyint=9999:scenecut=0:bframes=0:log-level=none",
    },
    "mpeg2video": {"g": "600", "qmin": "4", "qmax": "6", "sc_threshold": "1000000000", "bf": "0"},
}
# A tile shows the smear where luma and chroma are off by so many code values together: encoding
# alone leaves less. Below that share of the tiles the smear is over, and what would be left of it
# after so small a share of its seconds is a flash and not that severity: no place for the fault.
OFF, SHOWS, LEAST = 16.0, 0.02, 0.5


class DecoderSmearFault(SpanFault):
    """Encodes the interval, takes its key frame away and decodes the rest.

    As after packet loss, a splice or a start in the middle of a group of pictures. The decoder's
    own fill stands in for the key frame, so that every codec and fill can be had; with grey it is
    what FFmpeg's H.264 and HEVC decoders show (`flags=+output_corrupt`). Where slices of the key
    frame were lost, only a part of the height is smeared.
    """

    name = "decoder_smear"
    kind = Kind.DECODER_SMEAR
    summary = "Grey, green or magenta with moving outlines: differences without their key frame"
    also = (Kind.BLOCK_CORRUPTION, Kind.SOLID_COLOR, Kind.ILLEGAL_LEVELS)
    # Proposed: share of the height, and time to the next key frame (0.5 to 10 s in practice).
    ladder = {
        Severity.VERY_SUBTLE: {"share": 0.25, "seconds": 0.4},
        Severity.SUBTLE: {"share": 0.5, "seconds": 0.8},
        Severity.NOTICEABLE: {"share": 1.0, "seconds": 1.2},
        Severity.VERY_NOTICEABLE: {"share": 1.0, "seconds": 3.0},
    }

    def span(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """As in SpanFault."""
        codec = str(self.rng.choice([*CODERS]))
        fill = str(self.rng.choice([*FILLS]))
        at_top = bool(self.rng.random() < 0.3)
        self.parameters |= {"codec": codec, "fill": fill}
        clean = next(pictures)
        height, width = clean.luma.shape
        share = float(self.parameters["share"])
        rows = max(round(height * share / 16) * 16, 16)  # slices are rows of macroblocks
        rows = height if share == 1 else min(rows, height)
        self._top = 0 if at_top else height - rows
        self._bottom, self._height = self._top + rows, height
        waiting: list[Picture] = []

        def watched() -> Iterator[Picture]:
            # the key frame that is lost is the picture before the first of the differences
            yield self.before or clean
            for picture in itertools.chain([clean], pictures):
                waiting.append(picture)
                yield picture

        lost = plain(0, 0, (height, width), *FILLS[fill])
        smeared = recode(watched(), codec, CODERS[codec], first=lost)
        next(smeared)
        begun, over = clean.time, False
        before, steps = self.before or clean, [CUT_STEP / CUT]
        for picture in smeared:
            intact = waiting.pop(0)
            steps.append(difference(before, intact))
            cut = steps[-1] > CUT_STEP and steps[-1] > CUT * float(np.median(steps))
            before = intact
            over = over or cut or _share(self._part(intact), self._part(picture)) < SHOWS
            if over:
                if intact.time - begun < LEAST * float(self.parameters["seconds"]):
                    raise FaultError("decoder_smear: a new scene or motion ends it at once there")
                yield intact
                continue
            yield inset(intact, self._part(picture), self._top, 0)

    def _part(self, picture: Picture) -> Picture:
        rows, half = slice(self._top, self._bottom), slice(self._top // 2, self._bottom // 2)
        return replace(picture, luma=picture.luma[rows], cb=picture.cb[half], cr=picture.cr[half])

    def region(self) -> Region | None:
        """As in SpanFault: the slices that were lost."""
        if self._bottom - self._top == self._height:
            return None
        return Region(
            left=0, top=self._top / self._height, right=1, bottom=self._bottom / self._height
        )


def _share(intact: Picture, smeared: Picture) -> float:
    """Share of the tiles that show the smear."""
    off = step_by_tile(intact, smeared)
    rows, columns = off.shape
    half = TILE // 2
    for one, other in ((intact.cb, smeared.cb), (intact.cr, smeared.cr)):
        apart = np.abs(one.astype(np.int16) - other)[: rows * half, : columns * half]
        off = off + apart.reshape(rows, half, columns, half).mean(axis=(1, 3))
    return float((off >= OFF).mean())
