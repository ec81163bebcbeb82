"""What a panel asks of its detectors while a stream goes on."""

from __future__ import annotations

import numpy as np

from pipeline.decode import Decoder
from pipeline.panel import Panel
from pipeline.segment import Segmenter
from pipeline.settings import load
from pipeline.source import Limits, open_source
from pipeline.types import Kind
from tests import media


def test_who_is_slow_to_ask_is_asked_once_a_second_and_what_stands_stays(tmp_path, monkeypatch):
    frames = media.scene(5.0, 320, 192)
    frames[50:] = [np.full_like(frames[0], 16)] * len(frames[50:])
    path = media.write(tmp_path / "a.mp4", frames)
    asked = {"black": 0, "blur": 0}
    with open_source(str(path), Limits()) as container:
        decoder = Decoder(container, 1)
        panel = Panel(load(only=tuple(asked)), decoder.asset())
        rounds = 0
        standing = []
        for segment in Segmenter(length=0.5).run(decoder):
            panel.update(segment)
            for name, detector in panel._picture.items():

                def counted(name=name, detector=detector):
                    asked[name] += 1
                    return type(detector).standing(detector)

                monkeypatch.setattr(detector, "standing", counted)
            standing = panel.standing()
            assert panel.standing() == standing
            rounds += 1
    assert rounds >= 10
    assert asked["black"] == 2 * rounds
    assert asked["blur"] <= rounds // 2 + 1
    assert [found[2].kind for found in standing] == [Kind.BLACK]
