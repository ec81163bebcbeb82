"""Hard negatives by name: what programmes rightly do and detectors must not report.

Lengths and speeds are those of usual programmes. What is cut in stands for another shot: without a
second programme at hand, it is the same one mirrored or cropped.
"""

from __future__ import annotations

from faults.lookalikes.ambience import Applause, Engine, Rain, Sea, WideAmbience
from faults.lookalikes.base import Lookalike
from faults.lookalikes.coding import LowBitrate
from faults.lookalikes.film import BlackAndWhite, FilmGrain, Letterboxed, ShallowFocus
from faults.lookalikes.inserts import CensoredFace, PictureInPicture, SlideWithSpeaker
from faults.lookalikes.instruments import Bass, Chiptune, Drums, Flute, Organ, SquareLead, Staccato
from faults.lookalikes.light import CameraFlashes, Lightning, NightScene, SlowStrobe
from faults.lookalikes.mixing import Fade, LoudMusic, Pause, WarmMusic
from faults.lookalikes.motion import CartoonOnThrees, CartoonOnTwos, Pulldown, SlowMoveOverStill
from faults.lookalikes.speech import LipNoise, Speakers, Stops
from faults.lookalikes.text import CreditsRoll, Subtitles, Ticker, TitleCard
from faults.lookalikes.texture import Confetti, MovingPattern
from faults.lookalikes.transitions import (
    Crossfade,
    FadesAtTheEnds,
    FadeThroughBlack,
    FadeThroughWhite,
    FastCuts,
    WhipPan,
)

LOOKALIKES: dict[str, type[Lookalike]] = {
    lookalike.name: lookalike
    for lookalike in (
        # picture
        FadeThroughBlack,
        FadeThroughWhite,
        FadesAtTheEnds,
        Crossfade,
        WhipPan,
        FastCuts,
        TitleCard,
        CreditsRoll,
        Subtitles,
        Ticker,
        SlideWithSpeaker,
        PictureInPicture,
        NightScene,
        CameraFlashes,
        SlowStrobe,
        Lightning,
        BlackAndWhite,
        FilmGrain,
        Letterboxed,
        CartoonOnTwos,
        CartoonOnThrees,
        Pulldown,
        SlowMoveOverStill,
        ShallowFocus,
        CensoredFace,
        MovingPattern,
        Confetti,
        LowBitrate,
        # sound
        Pause,
        Fade,
        Staccato,
        Stops,
        Drums,
        Chiptune,
        SquareLead,
        Bass,
        Engine,
        Rain,
        Applause,
        Sea,
        WarmMusic,
        LoudMusic,
        WideAmbience,
        Speakers,
        Flute,
        Organ,
        LipNoise,
    )
}
