"""Why kinds have not reached the aim, where it is known: a few words each, for the README's table.

Only what was seen on development files or follows from how a detector works (its settings in
docs/detectors.md). What is not known is not here, and a kind that has met the aim so far shows
nothing of it.
"""

from __future__ import annotations

from pipeline.types import Kind

WHY_NOT: dict[Kind, str] = {
    Kind.AV_DRIFT: "takes half a minute of clear lips to tell, and 100 ms from start to end (7 of "
    "8 found on development files)",
    Kind.AV_OFFSET: "BT.1359 accepts the very subtle ones; unclear lips are abstained on (6 of 8 "
    "found on development files)",
    Kind.AV_STEP: "takes half a minute of clear lips; where they pause its place is vague (3 of 8 "
    "found on development files)",
    Kind.BANDING: "encoding takes the subtlest steps away (12 of 22 very subtle ones found on "
    "development files)",
    Kind.BANDWIDTH_LOSS: "MP3 and AAC at low rates fall off over several kHz (19 of 23 found on "
    "development files)",
    Kind.BLOCK_CORRUPTION: "encoded again: only if asked (10 of 38 on development "
    "files); delivered: 15 of 16, but they begin too early",
    Kind.BLOCKINESS: "at QP 32 nothing is left to see after delivery (13 of 15 of QP 37 and "
    "coarser found on development files)",
    Kind.BLUR: "faces and soft shots have little detail to lose; a cut may hide an end (63 of 76 "
    "found on development files)",
    Kind.BRIGHTNESS_PUMPING: "in busy pictures motion hides the beat, in others 3 % is little "
    "(18 of 24 found on development files)",
    Kind.CLICK: "picks, sticks and lips are impulses too; lossy coding hides faint ones",
    Kind.CLIPPING: "lossy codecs flatten peaks themselves: after them more are asked for (33 of "
    "54 found on development files)",
    Kind.DECODER_SMEAR: "where motion draws over the fill, its end comes too early (9 of 12 found "
    "on development files)",
    Kind.DISTORTION: "codecs change some sound little, overdrive by a few dB all of it (20 of "
    "55 found on development files)",
    Kind.DROPPED_FRAMES: "speakers and hand-held cameras change pace as much (78 of 136 found on "
    "development files); joined takes look alike",
    Kind.DROPOUT: "libopus conceals packets so well that 17 of 88 are found (388 of 544 of all on "
    "development files)",
    Kind.FREEZE: "a short one must come out of motion: faces rest too (13 of 16 found on "
    "development files)",
    Kind.HISS: "what is faint, or as loud as the programme, leaves the net in doubt (352 of 426 "
    "found on development files)",
    Kind.HUM: "dense music covers the lines (987 of 1,268 found that were put onto sound of "
    "development sources; 0.79 on 48 files)",
    Kind.LETTERBOX_CHANGE: "a shot with one dark edge tells of no bars on the others (9 of 10 "
    "found on development files)",
    Kind.LEVEL_JUMP: "where speech or music moves by as much at an end, no step stands out "
    "(64 of 108 found on development files)",
    Kind.NOISE: "what is subtle is no more than the grain of cameras (1 of 8 found on development "
    "files)",
    Kind.PARTIAL_FREEZE: "all 48 found on development files; one of the 8 here is missed",
    Kind.REPEATED_FRAMES: "where a stretch of them ends is not known: natural motion halts too "
    "(34 of 40 found on development files)",
    Kind.TEARING: "a tear by one frame through what hardly or unevenly moves is as like this frame "
    "(27 of 32 found on development files)",
}
