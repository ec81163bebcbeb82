"""The net that tells by how much sound and lips are apart.

Two streams (after J. S. Chung and A. Zisserman, "Out of time: automated lip sync in the wild",
2016): pictures of a mouth, and the log-mel spectrum of the sound; each gives a vector per 40 ms,
and vectors of what belongs together are close. A gate lets silence and closed mouths count less.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.transforms import MelSpectrogram

from models.batcher import Batcher, made_once
from models.mouths import SIDE
from models.threads import single_threaded

WEIGHTS = Path(__file__).parent / "weights/sync.safetensors"
SAMPLE_RATE = 16_000  # Hz of the sound
MELS, HOP = 40, 160  # bands of the spectrum; samples from one spectrum to the next, 10 ms
WINDOW = 512  # samples of one spectrum
STACK = 9  # pictures that one position sees
CONTEXT = 25  # spectra that one position sees, 250 ms
PER_PICTURE = 4  # spectra
SEEN = 48  # samples a side that the net sees
ZOOM = 0.8  # share of the cut-out square, in its middle, that it sees
_VECTOR = 160
_FLOOR = 1e-5  # power in a band that counts as silence
_MEAN, _SPREAD = -5.0, 4.0  # of the logarithms, roughly
# the first position of the sound is this many after the first of the pictures: the middle of the
# first stack is picture 4, that of the first context spectrum 12, which is picture 3
LEAD = STACK // 2 - CONTEXT // 2 // PER_PICTURE
# Takes that are scored at once. One is up to ten seconds of a mouth, 242 positions, which fill the
# caches of a CPU: four cost a fifth to a third more than one by one (`bench.batching`).
_AT_ONCE = 1
_BUCKET = 25  # pictures, of which those that are scored at once are a multiple


def _conv(inside: int, outside: int, size: int | tuple[int, int], stride: int | tuple[int, int],
          padding: int = 0) -> nn.Sequential:  # fmt: skip
    return nn.Sequential(
        nn.Conv2d(inside, outside, size, stride=stride, padding=padding, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    )


class SyncNet(nn.Module):
    """Vectors of mouths and of sound."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = nn.Sequential(
            _conv(STACK, 16, 5, 2, 2),
            _conv(16, 32, 3, 2, 1),
            _conv(32, 64, 3, 2, 1),
            _conv(64, 96, 3, 2, 1),
            nn.Flatten(),
        )
        self.picture_head = nn.Linear(96 * (SEEN // 16) ** 2, _VECTOR + 1)
        self.sound = nn.Sequential(
            _conv(1, 24, (5, 5), (2, 2)),
            _conv(24, 48, (5, 3), (2, 2)),
            _conv(48, 80, (3, 3), (1, 2)),
            _conv(80, 112, (2, 3), (1, 2)),
        )
        self.sound_head = nn.Linear(112, _VECTOR + 1)
        self.sharpness = nn.Parameter(torch.tensor(2.0))  # logarithm of the scale of scores
        self.mel = MelSpectrogram(
            SAMPLE_RATE,
            n_fft=WINDOW,
            win_length=400,
            hop_length=HOP,
            n_mels=MELS,
            f_min=60.0,
            center=False,  # padding would tell where a recording ends
        )

    def see(self, mouths: Tensor) -> Tensor:
        """Vectors of pictures.

        Args:
            mouths: [N, T, 48, 48] code values, 25 a second.

        Returns:
            [N, T - 8, 160]; the first belongs to picture 4.
        """
        count = mouths.shape[1] - STACK + 1
        stacks = mouths.unfold(1, STACK, 1).permute(0, 1, 4, 2, 3)
        flat = stacks.reshape(-1, STACK, SEEN, SEEN)
        # light and contrast of a stack are not what lips do
        mean = flat.mean(dim=(1, 2, 3), keepdim=True)
        spread = flat.std(dim=(1, 2, 3), keepdim=True)
        flat = (flat - mean) / (spread + 4.0)
        return _gated(self.picture_head(self.pictures(flat))).reshape(len(mouths), count, _VECTOR)

    def spectrum(self, sound: Tensor) -> Tensor:
        """Log-mel spectra [N, (samples - 512) / 160 + 1, 40] of sound [N, samples] from -1 to 1.

        The first belongs to sample 256.
        """
        power: Tensor = self.mel(sound)
        return ((power + _FLOOR).log() - _MEAN).transpose(1, 2) / _SPREAD

    def hear(self, spectra: Tensor) -> Tensor:
        """Vectors of sound.

        Args:
            spectra: [N, M, 40], 100 a second.

        Returns:
            [N, (M - 25) / 4 + 1, 160], one per 40 ms; the first belongs to spectrum 12.
        """
        features = self.sound(spectra[:, None])[:, :, :, 0].transpose(1, 2)
        return _gated(self.sound_head(features))

    def scores(self, seen: Tensor, heard: Tensor) -> Tensor:
        """[N, P, Q]: how well each picture goes with each sound."""
        return self.sharpness.exp() * seen @ heard.transpose(1, 2)


def _gated(x: Tensor) -> Tensor:
    """Unit vectors times a gate from 0 to 2."""
    return functional.normalize(x[..., :-1], dim=-1) * 2 * x[..., -1:].sigmoid()


def centred(scores: Tensor) -> Tensor:
    """Without the mean of each row and column: a position that likes everything says nothing."""
    return (
        scores
        - scores.mean(dim=-1, keepdim=True)
        - scores.mean(dim=-2, keepdim=True)
        + scores.mean(dim=(-2, -1), keepdim=True)
    )


def over_lags(scores: Tensor, most: int) -> Tensor:
    """Sums along the diagonals of scores [N, P, Q].

    Returns:
        [N, 2 * most + 1]: for lags of -most to most positions by which sound comes later. A lag
        that fewer pairs have counts as if the missing ones were average.
    """
    lags = range(-most, most + 1)
    return torch.stack([scores.diagonal(lag + LEAD, 1, 2).sum(dim=1) for lag in lags], dim=1)


def seen_part(mouths: Tensor) -> Tensor:
    """The middle of mouths [N, T, SIDE, SIDE], as the net sees it: [N, T, SEEN, SEEN]."""
    edge = round(SIDE * (1 - ZOOM) / 2)
    inside = mouths[:, :, edge : SIDE - edge, edge : SIDE - edge].float()
    return functional.interpolate(inside, (SEEN, SEEN), mode="bilinear", antialias=True)


@dataclass(frozen=True)
class Take:
    """A mouth and the sound around it.

    Attributes:
        mouth: [T, 80, 80] pictures, 25 a second.
        sound: [(T + 2 * most) * 640 + 512] from -1 to 1 at 16 kHz: it begins `most` pictures and
            256 samples before the first picture, for lags of up to `most` pictures.
    """

    mouth: npt.NDArray[np.uint8]
    sound: npt.NDArray[np.float32]


def lag_scores(net: SyncNet, takes: Sequence[Take], most: int) -> list[npt.NDArray[np.float32]]:
    """How well each moment of each mouth goes with its sound, shifted by up to `most` pictures.

    They are laid end to end, so that none costs more for another's length, and filled up to whole
    seconds, so that the net meets few shapes; what sees two of them is left out.

    Args:
        net: the net.
        takes: any number of them.
        most: pictures by which sound may be late or early.

    Returns:
        [T - 8, 2 * most + 1] of each, see `by_lag`.
    """
    step = PER_PICTURE * HOP
    mouths = [take.mouth for take in takes]
    sounds = [np.pad(take.sound, (0, -len(take.sound) % step)) for take in takes]
    spare = -sum(map(len, mouths)) % _BUCKET
    filler = np.zeros((spare, SIDE, SIDE), np.uint8), np.zeros(spare * step, np.float32)
    made = []
    with torch.inference_mode(), single_threaded():
        pictures = torch.from_numpy(np.concatenate([*mouths, filler[0]]))
        seen = net.see(seen_part(pictures[None]))[0]
        samples = torch.from_numpy(np.concatenate([*sounds, filler[1]]))
        heard = net.hear(net.spectrum(samples[None]))[0]
        picture = position = 0
        for take, sound in zip(takes, sounds, strict=True):
            count = len(take.mouth) - STACK + 1
            own_seen = seen[picture : picture + count]
            own_heard = heard[position : position + count + 2 * most + 3]
            made.append(by_lag(net, own_seen, own_heard, most).numpy())
            picture += len(take.mouth)
            position += len(sound) // step
    return made


class Scorer:
    """The trained net, for many threads: takes of all streams are scored in the order they come.

    Args:
        most: pictures by which sound may be late or early.

    Attributes:
        calibration: what its scores mean.
    """

    def __init__(self, most: int) -> None:
        net, self.calibration = load()
        self._batches: Batcher[Take, npt.NDArray[np.float32]] = Batcher(
            lambda takes: lag_scores(net, takes, most), _AT_ONCE, 0.0
        )

    def scores(self, take: Take) -> npt.NDArray[np.float32]:
        """As `lag_scores`, of one take; waits for its turn."""
        return self._batches.ask(take)


@made_once
def shared(most: int) -> Scorer:
    """The scorer of this process."""
    return Scorer(most)


def by_lag(net: SyncNet, seen: Tensor, heard: Tensor, most: int) -> Tensor:
    """Scores of pictures with the sound around them.

    Args:
        net: the net.
        seen: [P, 160] vectors of pictures.
        heard: [P + 2 * most + 3, 160] vectors of sound; the first belongs to the moment `most + 1`
            pictures before the first picture's.
        most: pictures by which sound may be late or early.

    Returns:
        [P, 2 * most + 1]: the columns are lags from -most on, positive where sound is late. What
        a picture or a sound scores with everything is taken out.
    """
    scores = centred(net.scores(seen[None], heard[None]))[0]
    rows = torch.arange(len(scores), device=scores.device)[:, None]
    return scores.gather(1, rows + LEAD + torch.arange(2 * most + 1, device=scores.device))


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


def save(net: SyncNet, calibration: Calibration, weights: Path = WEIGHTS) -> None:
    """Write a net and what its scores mean so that `load` can read it."""
    weights.parent.mkdir(exist_ok=True)
    tensors = {k: v.contiguous().cpu() for k, v in net.state_dict().items()}
    save_file(tensors, weights, {"calibration": json.dumps(asdict(calibration))})


def load(weights: Path = WEIGHTS) -> tuple[SyncNet, Calibration]:
    """The trained net, for inference, and what its scores mean.

    Raises:
        FileNotFoundError: there are no weights there.
    """
    net = SyncNet()
    with safe_open(weights, framework="pt") as stored:
        net.load_state_dict({name: stored.get_tensor(name) for name in stored.keys()})  # noqa: SIM118
        told = stored.metadata()["calibration"]
    return net.eval(), Calibration(**json.loads(told))
