"""What every training command asks, shows, keeps and notes of its run."""

from __future__ import annotations

import argparse
import math
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

NetT = TypeVar("NetT", bound=torch.nn.Module)


def progress() -> Progress:
    """A bar with counts and the time that is left."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )


def told_by(bar: Progress, name: str) -> Callable[[int, int], None]:
    """A callback of (done, of) that moves a new line of a bar."""
    task = bar.add_task(name, total=None)
    return lambda done, of: bar.update(task, completed=done, total=of)


def device_name(device: torch.device) -> str:
    """The GPU's name, or the CPU's with its threads: what a figure was measured on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"


def parser(
    about: str | None,
    name: str,
    *,
    media: str,
    steps: int,
    batch: tuple[int, str],
    makes: str,
    threads: int | None = None,
) -> argparse.ArgumentParser:
    """Of a training command, with what all of them ask.

    Args:
        about: docstring of the command.
        name: of the net.
        media: what the folders hold.
        steps: of the optimiser, unless others are asked for.
        batch: how many of what are in a step.
        makes: what the processes do that make the data.
        threads: of the CPU, for fitting; None: as torch does.
    """  # fmt: skip
    made = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("media", nargs="*", type=Path, help=f"folders of {media}")
    made.add_argument("--steps", type=int, default=steps, help="of the optimiser, for each net")
    made.add_argument("--batch", type=int, default=batch[0], help=f"{batch[1]} in a step")
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--workers", type=int, default=2, help=f"processes that {makes}")
    made.add_argument("--threads", type=int, default=threads, help="of the CPU, for fitting")
    made.add_argument("--data-only", action="store_true", help="stop when the data are there")
    work = Path(tempfile.gettempdir()) / f"vidette-training-{name}"
    made.add_argument("--work", type=Path, default=work)
    return made


@dataclass(frozen=True)
class Recipe:
    """How to fit; a checkpoint of another recipe is not gone on with."""

    steps: int
    batch: int = 32
    rate: float = 2e-3
    decay: float = 3e-2
    seed: int = 1


class _Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Any, /) -> Any: ...


class Checkpoint:
    """What a fit has come to, in a file that is whole at every moment.

    Args:
        path: of the file.
        recipe: of the fit.
        parts: net, optimiser and so on, by name.
    """

    def __init__(self, path: Path, recipe: Recipe, **parts: _Stateful) -> None:
        self._path, self._recipe, self._parts = path, recipe, parts

    def load(self, device: torch.device) -> int:
        """Go on from the file where there is one of this recipe; returns the steps done."""
        if not self._path.is_file():
            return 0
        held: dict[str, Any] = torch.load(self._path, map_location=device, weights_only=True)
        if held["recipe"] != asdict(self._recipe):
            return 0
        for name, part in self._parts.items():
            part.load_state_dict(held[name])
        return int(held["step"])

    def save(self, step: int) -> None:
        """Write what has been done in so many steps."""
        state = {name: part.state_dict() for name, part in self._parts.items()}
        half_written = self._path.with_suffix(".part")
        torch.save({"recipe": asdict(self._recipe), "step": step, **state}, half_written)
        half_written.replace(self._path)


def descend(
    net: NetT,
    recipe: Recipe,
    checkpoint: Path,
    device: torch.device,
    loss_of: Callable[[int], torch.Tensor],
    told: Callable[[int, float], None],
    *,
    warm: int,
    saved_every: int,
) -> NetT:
    """Fit a net by AdamW, or go on where a checkpoint of the same recipe ended.

    The rate rises for the first steps and falls as a cosine.

    Args:
        net: on the device.
        recipe: how.
        checkpoint: file that is written now and then.
        device: where.
        loss_of: a step, by its number; what it draws does not depend on the steps before.
        told: is called with the step and the mean loss of late.
        warm: steps until the whole rate is reached.
        saved_every: steps between checkpoints.
    """
    optimiser = torch.optim.AdamW(net.parameters(), recipe.rate, weight_decay=recipe.decay)
    kept = Checkpoint(checkpoint, recipe, net=net, optimiser=optimiser)
    first = kept.load(device)
    net.train()
    mean = 0.0
    for step in range(first, recipe.steps):
        falling = 0.5 + 0.5 * math.cos(math.pi * step / recipe.steps)
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * min(1.0, (step + 1) / warm) * falling
        loss = loss_of(step)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        now = float(loss.detach())
        mean = 0.98 * mean + 0.02 * now if step > first else now
        if (step + 1) % saved_every == 0 or step + 1 == recipe.steps:
            told(step + 1, mean)
            kept.save(step + 1)
    return net.eval()


def make_files(
    jobs: Sequence[tuple[Path, tuple[Any, ...]]],
    write: Callable[..., None],
    *,
    workers: int,
    told: Callable[[int, int], None],
) -> None:
    """Make the files of examples that are not there yet, in processes beside each other.

    Args:
        jobs: of each file, its path and what `write` is called with before that. A file is there
            once the JSON beside it is.
        write: makes one; of a module, so that another process knows it.
        workers: processes.
        told: is called with the number of files that are there and of all.
    """
    missing = [job for job in jobs if not job[0].with_suffix(".json").is_file()]
    there = len(jobs) - len(missing)
    told(there, len(jobs))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        begun = [pool.submit(write, *arguments, path) for path, arguments in missing]
        for n, one in enumerate(as_completed(begun), 1):
            one.result()
            told(there + n, len(jobs))


def fitted(
    chosen: argparse.Namespace, fit: Callable[[Callable[[int, float], None]], NetT]
) -> tuple[NetT, dict[str, Any]]:
    """Fit with a bar; returns the net and what its card says of the run.

    Args:
        chosen: what was asked of `parser`, and `per_source`.
        fit: is given what is to be called with the steps done and the loss.
    """
    started = time.monotonic()
    with progress() as bar:
        task = bar.add_task("fitting", total=chosen.steps)

        def told(step: int, loss: float) -> None:
            bar.update(task, completed=step, description=f"fitting, loss {loss:.4f}")
            bar.console.print(f"step {step}: loss {loss:.4f}")

        net = fit(told)
    return net, {
        "device": device_name(torch.device(chosen.device)),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "steps": chosen.steps,
        "batch": chosen.batch,
        "per_source": chosen.per_source,
        "parameters": sum(p.numel() for p in net.parameters()),
    }


def sources(note: dict[str, Any]) -> str:
    """What a model card says of where its data come from: whose they are, and their licences.

    Args:
        note: what the command noted; `fitted` and `unseen`, where there are any, are the sources.
    """
    rows = [("fitted on", "fitted"), ("evaluated on, seen by nothing else", "unseen")]
    lines = "\n".join(f"| {said} | {', '.join(note[key])} |" for said, key in rows if key in note)
    return f"""| part | sources |
| --- | --- |
{lines}

Licences: `CATALOG.tsv` of the media folder names the licence of every file, the copyright file of
each Debian package that of the package. No media is part of the weights or of the repository."""
