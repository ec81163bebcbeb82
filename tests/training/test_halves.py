"""A net for all sources and one for either half, each judged by what it has not heard."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from training import halves, run


def test_each_half_is_judged_by_a_net_that_has_not_heard_it(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["x", "--steps", "3", "--work", str(tmp_path)])
    command = run.parser("A net.", "net", media="sound", steps=9, batch=(4, "scenes"), makes="do")
    command.add_argument("--per-source", type=int, default=1)
    chosen = command.parse_args()
    made = [(name, Path(f"{name}-{n}")) for name in "abcdefgh" for n in range(2)]
    assert {halves.half_of(name) for name, _ in made} == {0, 1}
    heard: dict[int, set[str]] = {}  # by net

    def fit(scenes, recipe, checkpoint, device, told):
        assert (recipe.steps, recipe.batch, device) == (3, 4, torch.device("cpu"))
        told(3, 0.5)
        net = nn.Linear(1, 1)
        net.weight.data.fill_(len(heard))
        heard[len(heard)] = {source for source, _ in scenes}
        checkpoint.touch()
        return net

    def save(net, path):
        save_file(net.state_dict(), path)

    def number(net) -> int:
        return int(net.weight.item())

    def figures(judges):
        for net, scenes in judges:
            assert not heard[number(net)] & {source for source, _ in scenes}
        return {"judged": sorted(source for _, scenes in judges for source, _ in scenes)}

    net, note = halves.fitted(chosen, made, list, fit, save, figures)
    assert heard[number(net)] == set("abcdefgh")
    assert note["fitted"] == sorted("abcdefgh")
    assert note["figures"] == {"judged": sorted(name for name, _ in made)}
    assert (note["steps"], note["batch"], note["parameters"]) == (3, 4, 2)
    assert json.loads((tmp_path / "note.json").read_text()) == note
    for half in (0, 1):
        (kept,) = load_file(tmp_path / f"half-{half}.safetensors")["weight"].flatten().tolist()
        assert all(halves.half_of(source) != half for source in heard[int(kept)])
    assert {path.name for path in tmp_path.glob("*.pt")} == {"half-0.pt", "half-1.pt", "all.pt"}
