"""Positions of mouths and sound belong together; offsets are read between positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.sync import (
    HOP,
    LEAD,
    MELS,
    PER_PICTURE,
    SEEN,
    STACK,
    WINDOW,
    SyncNet,
    centred,
    load,
    over_lags,
    read,
    save,
)


@pytest.fixture(scope="module")
def net() -> SyncNet:
    torch.manual_seed(1)
    return SyncNet().eval()


def changed(before, after):
    return np.flatnonzero((before - after).abs().amax(dim=(0, 2)).numpy() > 1e-6)


def test_what_positions_see_and_hear_is_at_the_same_time(net):
    mouths = torch.rand(1, 28, SEEN, SEEN) * 255
    sound = torch.randn(1, 28 * PER_PICTURE * HOP + WINDOW) * 0.1
    with torch.inference_mode():
        spectra = net.spectrum(sound)
        assert spectra.shape[1:] == (28 * PER_PICTURE + 1, MELS)
        seen, heard = net.see(mouths), net.hear(spectra)
        other = mouths.clone()
        other[:, 14] = 255 - other[:, 14]
        at_picture = changed(seen, net.see(other))
        louder = spectra.clone()
        louder[:, 14 * PER_PICTURE] += 2
        at_spectrum = changed(heard, net.hear(louder))
    assert seen.shape[1] == 28 - STACK + 1
    # the middle of the positions that change is the one whose middle that moment is
    assert at_picture.mean() == 14 - STACK // 2
    assert at_spectrum.mean() == pytest.approx(at_picture.mean() + LEAD, abs=0.5)


@pytest.mark.parametrize("lag", [-6, 0, 1, 9])
def test_a_lag_is_a_diagonal(lag):
    scores = torch.zeros(1, 30, 33)
    for picture in range(30):
        if 0 <= picture + LEAD + lag < 33:
            scores[0, picture, picture + LEAD + lag] = 1
    curve = over_lags(centred(scores), 12)[0].numpy()
    assert curve.argmax() - 12 == lag
    assert read(curve).lag == pytest.approx(lag / 25, abs=1e-3)


def test_the_lag_is_read_between_positions():
    lags = np.arange(-25, 26)
    rng = np.random.default_rng(2)
    curve = np.exp(-((lags - 3.3) ** 2) / 8) + rng.normal(0, 0.01, 51)
    found = read(curve.astype(np.float32))
    assert found.lag == pytest.approx(3.3 / 25, abs=0.008)
    assert found.peak > 10
    assert read(rng.normal(0, 1, 51).astype(np.float32)).peak < 5


def test_weights_are_read_as_they_were_written(net, tmp_path):
    save(net, tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    mouths = torch.rand(1, 12, SEEN, SEEN) * 255
    with torch.inference_mode():
        torch.testing.assert_close(again.see(mouths), net.see(mouths))
