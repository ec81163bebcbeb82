"""Data, net, evaluation, weights and model card: one command.

    python -m training.packet_loss [MEDIA...] [--steps N] [--batch N]

MEDIA are folders of clean media (see corpus/sources.py; `python -m corpus.fetch DIR` and
`python -m corpus.fetch --wide DIR` gather some). Everything is kept in the work folder: a run that
was interrupted goes on where it was. Only sources of the development split are heard. One net is
fitted to all of them; one to either half as well, which the other half evaluates: `half-0` and
`half-1` in the work folder have not heard the half of that number, and with them the detector's
limits are chosen.
"""

from __future__ import annotations

import json

import torch

from training import halves, run
from training.packet_loss import card, dataset
from training.packet_loss.dataset import Scenes
from training.packet_loss.evaluate import figures
from training.packet_loss.train import fit, save
from training.sounds import of_split


def main() -> None:
    """Do all that is not done yet."""
    command = run.parser(
        __doc__, "packet_loss", media="clean media", steps=2000, batch=(24, "scenes"),
        makes="make data",
    )  # fmt: skip
    command.add_argument("--per-source", type=int, default=7, help="clips of each source")
    chosen = command.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    made = of_split("dev", chosen, dataset.FORM, dataset.write, "figures", kinds=("sound",))
    if chosen.data_only:
        return
    net, note = halves.fitted(chosen, made, Scenes, fit, save, figures)
    save(net)
    card.write(note)
    print(json.dumps(note["figures"], indent=1))


if __name__ == "__main__":
    main()
