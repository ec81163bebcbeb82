"""Fitting the net, with checkpoints: the right sound among shifted and foreign ones."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.mouths import RATE, SIDE
from models.nets.sync import SEEN, ZOOM, SyncNet, centred, over_lags
from models.sync import LEAD, SAMPLE_RATE, WINDOW
from training import run
from training.sync.dataset import KNOWN_DELAY, Take, read

LENGTH = 28  # pictures of a chunk: the shortest takes have 30
LAGS = 15  # positions either way that compete in a chunk
_PER_PICTURE = round(SAMPLE_RATE / RATE)  # samples
_ACROSS, _OVER_LAGS, _PART = 0.5, 1.0, 0.5  # weights of the losses beside that within a chunk
_SHORT = (6, 13)  # positions of the part
_WARM = 0.05  # share of the steps in which the rate rises
_SAVED_EVERY = 100  # steps


@dataclass(frozen=True)
class Recipe(run.Recipe):
    """As of every net, with more decay: there are few speakers."""

    decay: float = 0.05


def fit(
    takes: Sequence[Take],
    recipe: Recipe,
    checkpoint: Path,
    device: torch.device,
    told: Callable[[int, float], None],
) -> SyncNet:
    """Fit the net; goes on from the checkpoint where there is one of this recipe.

    Args:
        takes: to fit on. A group is drawn as often as the square root of how many takes it has, so
            that the largest does not decide alone.
        recipe: how.
        checkpoint: file that is written every hundred steps.
        device: where.
        told: is called with the step and the mean loss since it was called last.
    """
    torch.manual_seed(recipe.seed)
    net = SyncNet().to(device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, recipe.steps))
    kept = run.Checkpoint(checkpoint, recipe, net=net, optimiser=optimiser, schedule=schedule)
    step = kept.load(device)
    counts = Counter(take.group for take in takes)
    weights = np.array([1 / math.sqrt(counts[take.group]) for take in takes])
    weights /= weights.sum()
    net.train()
    losses: list[float] = []
    while step < recipe.steps:
        rng = np.random.default_rng([recipe.seed, step])
        chosen = [takes[n] for n in rng.choice(len(takes), recipe.batch, p=weights)]
        mouths, sound = (x.to(device) for x in _chunks(chosen, rng))
        spectra = _other_spectra(net.spectrum(_other_sound(sound, rng)), rng)
        loss = loss_of(net, net.see(_other_mouths(mouths, rng)), net.hear(spectra), rng)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        step += 1
        if step % _SAVED_EVERY == 0 or step == recipe.steps:
            told(step, float(np.mean(losses)))
            losses.clear()
            kept.save(step)
    return net.eval()


def fit_several(
    without: Mapping[str, set[str]],
    paths: Sequence[Path],
    recipe: Recipe,
    work: Path,
    *,
    device: str,
    at_once: int,
    threads: int,
) -> dict[str, SyncNet]:
    """Nets by name, each fitted without some groups, in processes beside each other.

    Args:
        without: the groups that each net does not see.
        paths: takes that `dataset.prepare` wrote.
        recipe: of all.
        work: folder of the checkpoints.
        device: of all.
        at_once: processes.
        threads: of each.
    """
    nets = {}
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as pool:
        jobs = {
            name: pool.submit(_fit_apart, name, held, paths, recipe, work, device, threads)
            for name, held in without.items()
        }
        for name, job in jobs.items():
            nets[name] = SyncNet()
            nets[name].load_state_dict(job.result())
            nets[name].eval()
    return nets


def _fit_apart(
    name: str,
    held: set[str],
    paths: Sequence[Path],
    recipe: Recipe,
    work: Path,
    device: str,
    threads: int,
) -> dict[str, Tensor]:
    """One net, in a process of its own."""
    torch.set_num_threads(threads)
    takes = [take for take in map(read, paths) if take.group not in held]
    started: tuple[float, int] | None = None

    def told(step: int, loss: float) -> None:
        nonlocal started
        started = started or (time.monotonic(), step)
        each = (time.monotonic() - started[0]) / max(1, step - started[1])
        left = f", {each * (recipe.steps - step) / 60:.0f} min left" if step > started[1] else ""
        print(f"{name}, step {step} of {recipe.steps}: loss {loss:.3f}{left}", flush=True)

    net = fit(takes, recipe, work / f"checkpoint-{name}.pt", torch.device(device), told)
    return net.cpu().state_dict()


def _rate(step: int, steps: int) -> float:
    warm = max(1, round(_WARM * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def loss_of(net: SyncNet, seen: Tensor, heard: Tensor, rng: np.random.Generator) -> Tensor:
    """What is wrong with vectors [N, P, D] of pictures and [N, Q, D] of their sound."""
    count, positions, _ = seen.shape
    scores = net.scores(seen, heard)
    own = torch.arange(positions, device=seen.device) + LEAD
    flat = scores.reshape(count * positions, -1)
    within = functional.cross_entropy(flat, own.repeat(count))
    columns = scores[:, :, LEAD : LEAD + positions].transpose(1, 2)
    back = functional.cross_entropy(columns.flatten(0, 1), (own - LEAD).repeat(count))
    matching = heard[:, LEAD : LEAD + positions].reshape(1, count * positions, -1)
    across = net.scores(seen.reshape(1, count * positions, -1), matching)[0]
    every = torch.arange(len(across), device=seen.device)
    foreign = functional.cross_entropy(across, every) + functional.cross_entropy(across.T, every)
    size = int(rng.integers(*_SHORT))
    first = int(rng.integers(positions - size + 1))
    target = torch.full((count,), LAGS, device=seen.device)
    whole = over_lags(centred(scores), LAGS) / math.sqrt(positions)
    # a few pictures against all of the sound: what was before the first shifts the lags
    few = centred(scores[:, first : first + size])
    few = functional.pad(few, (0, 0, first, positions - first - size))
    part = over_lags(few, LAGS) / math.sqrt(size)
    return (
        (within + back) / 2
        + _ACROSS * foreign / 2
        + _OVER_LAGS * functional.cross_entropy(whole, target)
        + _PART * functional.cross_entropy(part, target)
    )


# --------------------------------------------------------------------------- what is drawn of takes


def cut(take: Take, first: int, count: int, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Pictures [count, SIDE, SIDE] from the first on, and the sound that belongs to them.

    The known delay of the corpus is taken out.

    Args:
        take: of which.
        first: picture.
        count: of pictures.
        shift: seconds by which the sound is taken later than it belongs.
    """
    margin = WINDOW // 2
    delay = KNOWN_DELAY.get(take.source, 0.0) / 1000 + shift
    start = first * _PER_PICTURE + round(delay * SAMPLE_RATE) - margin
    stop = start + count * _PER_PICTURE + 2 * margin
    sound = take.sound[max(0, start) : max(0, stop)]
    before = min(max(0, -start), stop - start)
    sound = np.pad(sound, (before, stop - start - before - len(sound)))
    return torch.from_numpy(take.mouth[first : first + count]), torch.from_numpy(sound)


def _chunks(takes: Sequence[Take], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mouths [N, LENGTH, SIDE, SIDE] as code values, sound [N, samples] from -1 to 1."""
    made = []
    for take in takes:
        room = len(take.mouth) - LENGTH
        starts = rng.integers(0, max(1, room + 1), 3)  # the liveliest of three draws
        first = max(starts.tolist(), key=lambda at: _power(take, at))
        mouth, sound = cut(take, first, min(LENGTH, len(take.mouth)))
        if len(mouth) < LENGTH:
            mouth = torch.cat([mouth, mouth[-1:].expand(LENGTH - len(mouth), -1, -1)])
            sound = functional.pad(sound, (0, LENGTH * _PER_PICTURE + WINDOW - len(sound)))
        made.append((mouth, sound))
    mouths, sounds = (torch.stack(one) for one in zip(*made, strict=True))
    return mouths.float(), sounds.float() / 32768


def _power(take: Take, first: int) -> float:
    part = take.sound[first * _PER_PICTURE : (first + LENGTH) * _PER_PICTURE]
    return float(np.square(part.astype(np.float32)).mean()) if len(part) else 0.0


def _other_mouths(mouths: Tensor, rng: np.random.Generator) -> Tensor:
    """Another size, place, tilt and light, the same within a chunk but for a slow drift."""
    count, length = mouths.shape[:2]

    def each(low: float, high: float) -> Tensor:
        drawn = torch.from_numpy(rng.uniform(low, high, count))
        return drawn.to(mouths.device, torch.float32)

    zoom, aspect, angle = ZOOM * each(0.88, 1.12), each(0.93, 1.07), each(-0.15, 0.15)
    flip = torch.where(each(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos(), angle.sin()
    line = torch.linspace(-1, 1, length, device=mouths.device)
    x, y = (each(-0.08, 0.08)[:, None] + each(-0.04, 0.04)[:, None] * line for _ in range(2))
    theta = torch.zeros(count, length, 2, 3, device=mouths.device)
    theta[:, :, 0, 0] = (zoom * aspect * cos * flip)[:, None]
    theta[:, :, 0, 1] = (-zoom * sin)[:, None]
    theta[:, :, 1, 0] = (zoom * aspect * sin * flip)[:, None]
    theta[:, :, 1, 1] = (zoom * cos)[:, None]
    theta[:, :, 0, 2], theta[:, :, 1, 2] = x, y
    grid = functional.affine_grid(
        theta.flatten(0, 1), [count * length, 1, SEEN, SEEN], align_corners=False
    )
    flat = mouths.reshape(count * length, 1, SIDE, SIDE)
    made = functional.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    made = made.reshape(count, length, SEEN, SEEN)
    shape = (count, 1, 1, 1)
    made = 255 * (made / 255).clamp(1e-3, 1) ** each(0.7, 1.4).reshape(shape)
    soft = functional.avg_pool2d(made, 3, stride=1, padding=1, count_include_pad=False)
    made = torch.where(each(0, 1).reshape(shape) < 0.25, soft, made)
    noise = torch.from_numpy(rng.standard_normal(made.shape, np.float32)).to(made.device)
    return made + noise * each(0, 6).reshape(shape)


def _other_sound(sound: Tensor, rng: np.random.Generator) -> Tensor:
    """With noise, another chunk's sound below it, and another gain."""
    count = len(sound)

    def each(low: float, high: float) -> Tensor:
        drawn = torch.from_numpy(rng.uniform(low, high, (count, 1)))
        return drawn.to(sound.device, torch.float32)

    level = sound.square().mean(dim=1, keepdim=True).sqrt()
    noise = torch.from_numpy(rng.standard_normal(sound.shape, np.float32)).to(sound.device)
    noisy = (each(0, 1) < 0.5) * level * 10 ** (-each(5, 30) / 20)
    other = sound.roll(1, dims=0)
    below = 10 ** (-each(6, 24) / 20) * level / level.roll(1, dims=0).clamp(min=1e-4)
    beside = (each(0, 1) < 0.3) * below
    return (sound + noisy * noise + beside * other) * 10 ** (each(-12, 6) / 20)


def _other_spectra(spectra: Tensor, rng: np.random.Generator) -> Tensor:
    """With a tilt, as of another microphone, and some bands missing."""
    count, _, bands = spectra.shape

    def each(low: float, high: float) -> Tensor:
        drawn = torch.from_numpy(rng.uniform(low, high, (count, 1, 1)))
        return drawn.to(spectra.device, torch.float32)

    line = torch.linspace(-1, 1, bands, device=spectra.device)
    number = torch.arange(bands, device=spectra.device)
    first, size = each(0, bands), each(1, 7) * (each(0, 1) < 0.3)
    masked = (number >= first) & (number < first + size)
    tilted = spectra + each(-0.5, 0.5) * line
    return torch.where(masked, tilted.mean(dim=(1, 2), keepdim=True), tilted)
