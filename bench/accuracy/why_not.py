"""Why kinds have not reached the aim, where it is known: a few words each, for the README's table.

Only what was seen on development files or follows from how a detector works (its settings in
docs/detectors.md). What is not known is not here, and a kind that has met the aim so far shows
nothing of it.
"""

from __future__ import annotations

from pipeline.types import Kind

WHY_NOT: dict[Kind, str] = {
    Kind.AV_DRIFT: "takes half a minute of clear lips to tell, and 100 ms from start to end",
    Kind.AV_OFFSET: "very subtle ones are within what ITU-R BT.1359 accepts; lips that are not "
    "clear are abstained on",
    Kind.AV_STEP: "takes half a minute of clear lips to tell; where they pause, its place is not "
    "known within 0.5 s",
    Kind.BLOCK_CORRUPTION: "once it is encoded again, only the net could tell it (AUC 0.77: too "
    "little); HEVC decoders lose data without a word",
    Kind.BRIGHTNESS_PUMPING: "in busy pictures motion hides the beat",
    Kind.CLIPPING: "lossy codecs flatten peaks themselves: after them more are asked for",
    Kind.DISTORTION: "only what loses its peaks for a while is told from hard-limited programme; "
    "coding artefacts count as bandwidth_loss",
    Kind.DROPOUT: "a packet loss that the decoder conceals leaves no hole",
    Kind.LEVEL_JUMP: "music steps by 7 LU itself: less is not reported unless it comes back",
}
