"""By how much sound and lips are apart, told by a net of what is seen of a mouth and heard with it.

The net itself is in `models/nets/sync.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from safetensors import safe_open
from scipy.fft import rfft

from models.batcher import Batcher, made_once
from models.graph import SUFFIX, Graph

Float32 = npt.NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights/sync.safetensors"
SAMPLE_RATE = 16_000  # Hz of the sound
MELS, HOP = 40, 160  # bands of the spectrum; samples from one spectrum to the next, 10 ms
WINDOW = 512  # samples of one spectrum
HEARD = 400  # of them, in their middle, that count
STACK = 9  # pictures that one position sees
CONTEXT = 25  # spectra that one position sees, 250 ms
PER_PICTURE = 4  # spectra
VECTOR = 160  # numbers of a position
FLOOR = 1e-5  # power in a band that counts as silence
MEAN, SPREAD = -5.0, 4.0  # of the logarithms, roughly
# the first position of the sound is this many after the first of the pictures: the middle of the
# first stack is picture 4, that of the first context spectrum 12, which is picture 3
LEAD = STACK // 2 - CONTEXT // 2 // PER_PICTURE
# Takes that are scored at once. One is up to ten seconds of a mouth, 242 positions, which fill the
# caches of a CPU, and whose intermediate results take tens of megabytes.
_AT_ONCE = 1


@dataclass(frozen=True)
class Take:
    """A mouth and the sound around it.

    Attributes:
        mouth: [T, 80, 80] pictures, 25 a second.
        sound: [(T + 2 * most) * 640 + 512] from -1 to 1 at 16 kHz: it begins `most` pictures and
            256 samples before the first picture, for lags of up to `most` pictures.
    """

    mouth: npt.NDArray[np.uint8]
    sound: Float32


@dataclass(frozen=True)
class Calibration:
    """What scores of a net mean, measured on groups that nets of the same recipe never saw.

    Attributes:
        sharpness: logarithms of likelihoods are sums of scores times this.
        half_sure: clearness of a peak at which half of the lags are right.
        surer: how fast that share rises with clearness, per unit, as a logistic curve.
        change: what a change of the lag must gain, as a logarithm of likelihoods.
    """

    sharpness: float
    half_sure: float
    surer: float
    change: float


@dataclass(frozen=True)
class Trained:
    """A net and what belongs to it.

    Attributes:
        vectors: gives those of pictures [T - 8, 160] and of sound [(M - 25) / 4 + 1, 160], for a
            mouth [T, 80, 80] and spectra [M, 40], as `see` and `hear` of `models.nets.sync`.
        window: [400], weights of the samples of a spectrum.
        bands: [257, 40], share of each frequency in each band.
        scale: of scores.
        calibration: what its scores mean.
    """

    vectors: Callable[[npt.NDArray[np.uint8], Float32], list[Float32]]
    window: Float32
    bands: Float32
    scale: float
    calibration: Calibration


def load() -> Trained:
    """The trained net, on the CPU.

    Raises:
        FileNotFoundError: there are no weights, or no graph of it.
    """
    with safe_open(WEIGHTS, framework="np") as stored:
        return Trained(
            Graph(WEIGHTS.with_suffix(SUFFIX)),
            stored.get_tensor("mel.spectrogram.window"),
            stored.get_tensor("mel.mel_scale.fb"),
            float(np.exp(stored.get_tensor("sharpness"))),
            Calibration(**json.loads(stored.metadata()["calibration"])),
        )


def spectra(net: Trained, sound: Float32) -> Float32:
    """Log-mel spectra [(N - 512) / 160 + 1, 40] of sound [N] from -1 to 1.

    The first belongs to sample 256.
    """
    edge = (WINDOW - HEARD) // 2
    heard = sliding_window_view(sound, WINDOW)[::HOP, edge : edge + HEARD] * net.window
    power = np.square(np.abs(rfft(heard, WINDOW)))
    made: Float32 = (np.log(power @ net.bands + np.float32(FLOOR)) - MEAN) / SPREAD
    return made


def by_lag(scale: float, seen: Float32, heard: Float32, most: int) -> Float32:
    """Scores of pictures with the sound around them.

    Args:
        scale: of scores.
        seen: [P, 160] vectors of pictures.
        heard: [P + 2 * most + 3, 160] vectors of sound; the first belongs to the moment `most + 1`
            pictures before the first picture's.
        most: pictures by which sound may be late or early.

    Returns:
        [P, 2 * most + 1]: the columns are lags from -most on, positive where sound is late. What
        a picture or a sound scores with everything is taken out.
    """
    scores = np.float32(scale) * seen @ heard.T
    rows, columns = scores.mean(axis=1, keepdims=True), scores.mean(axis=0)
    scores = scores - rows - columns + scores.mean()
    lags = np.arange(len(scores))[:, None] + LEAD + np.arange(2 * most + 1)
    return np.take_along_axis(scores, lags, axis=1)


def lag_scores(net: Trained, take: Take, most: int) -> Float32:
    """How well each moment of a mouth goes with its sound, shifted by up to `most` pictures.

    Returns:
        [T - 8, 2 * most + 1], see `by_lag`.
    """
    seen, heard = net.vectors(take.mouth, spectra(net, take.sound))
    return by_lag(net.scale, seen, heard[: len(seen) + 2 * most + 3], most)


class Scorer:
    """The trained net, for many threads: takes of all streams are scored in the order they come.

    Args:
        most: pictures by which sound may be late or early.

    Attributes:
        calibration: what its scores mean.
    """

    def __init__(self, most: int) -> None:
        net = load()
        self.calibration = net.calibration
        self._takes: Batcher[Take, Float32] = Batcher(
            lambda takes: [lag_scores(net, take, most) for take in takes], _AT_ONCE, 0.0
        )

    def scores(self, take: Take) -> Float32:
        """As `lag_scores`; waits for its turn."""
        return self._takes.ask(take)


@made_once
def shared(most: int) -> Scorer:
    """The scorer of this process."""
    return Scorer(most)
