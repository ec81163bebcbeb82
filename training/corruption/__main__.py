"""Data, net, calibration, evaluation, weights and model card: one command.

    python -m training.corruption [MEDIA...] [--steps N] [--without temporal,baked,hevc]

MEDIA are folders of clean media (see corpus/sources.py; `python -m corpus.fetch DIR` gathers some).
Everything is kept in the work folder: a run that was interrupted goes on where it was. The sources
are split by the hash of their names: most are fitted on, some of those only calibrate, and the rest
are seen by the evaluation alone. With `--without` nothing is written but the figures.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from corpus.clips import FORM as CLIP_FORM
from corpus.clips import CleanClip, prepare
from corpus.sources import recipes, scan
from faults.bitstream import Codec
from models.corruption import save
from models.runtime import store_self_test
from training.corruption import card, dataset
from training.corruption.evaluate import Figures, evaluate, figures
from training.corruption.synthesis import Options
from training.corruption.train import Recipe, calibrate, fit

ROOT = Path(__file__).resolve().parent.parent.parent
EVALUATION_SEED = 90_001  # of the damage on which figures are reported; fitting never draws it
_SEED = 1


def progress() -> Progress:
    """A bar with counts and the time that is left."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )


def _told(bar: Progress, name: str) -> Callable[[int, int], None]:
    task = bar.add_task(name, total=None)
    return lambda done, of: bar.update(task, completed=done, total=of)


def main() -> None:
    """Do all that is not done yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("media", nargs="*", type=Path, help="folders of clean media")
    parser.add_argument("--steps", type=int, default=14_000, help="of the optimiser")
    parser.add_argument("--draws", type=int, default=3, help="encodes of each clip")
    parser.add_argument("--per-source", type=int, default=8, help="clips of each kind and source")
    parser.add_argument("--without", default="", help="temporal, baked, or a codec; with commas")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=2, help="processes that make data")
    parser.add_argument("--threads", type=int, help="of the CPU, for fitting")
    parser.add_argument("--data-only", action="store_true", help="stop when the data are made")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "vidette-training-corruption"
    )
    chosen = parser.parse_args()
    without = tuple(name for name in chosen.without.split(",") if name)
    unknown = set(without) - {"temporal", "baked", *Codec}
    if unknown:
        parser.error(f"--without knows temporal, baked and {', '.join(Codec)}")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    media = chosen.media or [ROOT.parent / "shared/media"]
    clips = _clips(media, chosen)
    fitted = [c for c in clips if c.split == "dev" and not dataset.held_out(c.source)]
    calibrating = [c for c in clips if c.split == "dev" and dataset.held_out(c.source)]
    unseen = [c for c in clips if c.split == "test"]
    options = Options(
        baked="baked" not in without,
        codecs=tuple(codec for codec in Codec if codec not in without),
    )
    with progress() as bar:
        folder = chosen.work / f"examples-{CLIP_FORM}-{dataset.FORM}"
        name = "".join(f"-{one}" for one in without if one != "temporal")
        paths = {
            what: dataset.make(
                of, Path(f"{folder}{name}"), _SEED, chosen.draws, options,
                workers=chosen.workers, told=_told(bar, f"examples, {what}"),
            )
            for what, of in (("to fit", fitted), ("to calibrate", calibrating))
        }  # fmt: skip
    if chosen.data_only:
        return
    examples = dataset.Examples(paths["to fit"])
    recipe = Recipe(steps=chosen.steps, temporal="temporal" not in without)
    device = torch.device(chosen.device)
    started = time.monotonic()
    with progress() as bar:
        task = bar.add_task("fitting", total=recipe.steps)

        def fitting(step: int, loss: float) -> None:
            bar.update(task, completed=step, description=f"fitting, loss {loss:.4f}")
            bar.console.print(f"step {step}: loss {loss:.4f}")

        checkpoint = chosen.work / f"checkpoint{''.join(f'-{one}' for one in without)}.pt"
        net = fit(examples, recipe, checkpoint, device, fitting)
    minutes = (time.monotonic() - started) / 60
    calibration = calibrate(net, dataset.Examples(paths["to calibrate"]))
    with progress() as bar:
        told = _told(bar, "evaluating")
        found = figures(evaluate(net, unseen, EVALUATION_SEED, told=told))
    note: dict[str, Any] = {
        "without": list(without),
        "device": _name(device),
        "minutes": round(minutes, 1),
        "recipe": asdict(recipe),
        "draws": chosen.draws,
        "examples": len(examples),
        "with_corrupt_tiles": int(examples.hit.sum()),
        "with_coarse_tiles": int(examples.coarse.sum()),
        "fitted": sorted({c.source for c in fitted}),
        "calibrating": sorted({c.source for c in calibrating}),
        "unseen": sorted({c.source for c in unseen}),
        "calibration": {head: asdict(one) for head, one in calibration.items()},
        "figures": asdict(found),
        "parameters": sum(p.numel() for p in net.parameters()),
    }
    notes = chosen.work / f"figures{''.join(f'-{one}' for one in without)}.json"
    notes.write_text(json.dumps(note, indent=1) + "\n")
    if without:
        ablations = ROOT / "training/corruption/ablations"
        ablations.mkdir(exist_ok=True)
        (ablations / f"without-{'-'.join(without)}.json").write_text(_short(note, found))
    else:
        save(net)
        store_self_test()
        card.write(note, ROOT / "training/corruption/ablations")
    print(json.dumps(asdict(found), indent=1))


def _clips(media: list[Path], chosen: argparse.Namespace) -> list[CleanClip]:
    wanted = recipes(scan(media), _SEED, per_source=chosen.per_source)
    with progress() as bar:
        made, _ = prepare(
            [recipe for recipe in wanted if recipe.kind != "sound"],
            chosen.work / f"clean-{CLIP_FORM}",
            workers=chosen.workers,
            told=_told(bar, "clean clips"),
        )
    return [clip for clip in made if clip.picture]


def _short(note: dict[str, Any], found: Figures) -> str:
    kept = {key: note[key] for key in ("without", "device", "minutes", "recipe", "examples")}
    return json.dumps({**kept, "figures": asdict(found)}, indent=1) + "\n"


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
