"""Positions of mouths and of sound belong together, whatever the lag."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from models.mouths import SIDE
from models.nets import sync as nets
from models.nets.sync import SEEN, SyncNet, centred, over_lags
from models.sync import (
    CONTEXT,
    HOP,
    LEAD,
    MELS,
    PER_PICTURE,
    SAMPLE_RATE,
    STACK,
    WINDOW,
    Calibration,
    Take,
    Trained,
    by_lag,
    lag_scores,
    load,
    shared,
    spectra,
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


@pytest.fixture(scope="module")
def untrained(net) -> Trained:
    """The same net, as what scores takes wants it."""

    def vectors(mouth, spectra):
        with torch.inference_mode():
            seen = net.see(nets.seen_part(torch.from_numpy(mouth)[None]))[0]
            return [seen.numpy(), net.hear(torch.from_numpy(spectra)[None])[0].numpy()]

    return Trained(
        vectors,
        net.mel.spectrogram.window.numpy(),
        net.mel.mel_scale.fb.numpy(),
        net.sharpness.exp().item(),
        Calibration(0.3, 4.0, 1.5, 9.0),
    )


def test_spectra_are_those_that_the_net_was_fitted_on(net, untrained):
    sound = np.random.default_rng(3).normal(0, 0.1, 20 * HOP + WINDOW + 7).astype(np.float32)
    sound[5 * HOP : 9 * HOP] = 0
    made = spectra(untrained, sound)
    with torch.inference_mode():
        np.testing.assert_allclose(made, net.spectrum(torch.from_numpy(sound)[None])[0], atol=1e-4)
    assert made.dtype == np.float32


@pytest.mark.parametrize("most", [2, 9])
def test_scores_by_lag_are_the_diagonals_of_all_scores(net, most):
    rng = np.random.default_rng(4)
    seen, heard = (rng.normal(size=(n, 160)).astype(np.float32) for n in (7, 7 + 2 * most + 3))
    scale = net.sharpness.exp().item()
    with torch.inference_mode():
        scores = centred(net.scores(*(torch.from_numpy(x)[None] for x in (seen, heard))))[0].numpy()
    found = by_lag(scale, seen, heard, most)
    assert found.shape == (7, 2 * most + 1)
    for picture in range(7):
        wanted = scores[picture, picture + LEAD : picture + LEAD + 2 * most + 1]
        np.testing.assert_allclose(found[picture], wanted, rtol=1e-4, atol=1e-3)


def test_scores_over_lags_are_those_of_sound_at_that_lag(untrained):
    """What is heard 5 pictures after a moment is in the column of lag 5."""
    rng = np.random.default_rng(5)
    most, pictures = 10, 20
    mouth = rng.integers(0, 255, (pictures, SIDE, SIDE), dtype=np.uint8)
    sound = rng.normal(0, 0.1, (pictures + 2 * most) * SAMPLE_RATE // 25 + WINDOW)
    before = lag_scores(untrained, Take(mouth, sound.astype(np.float32)), most)
    assert before.shape == (pictures - STACK + 1, 2 * most + 1)
    at = (most + 12 + 5) * SAMPLE_RATE // 25 + WINDOW // 2  # of picture 12, 5 pictures later
    sound[at - 80 : at + 80] += rng.normal(0, 3, 160)
    after = lag_scores(untrained, Take(mouth, sound.astype(np.float32)), most)
    # means are taken out of rows and columns, so all may change a little; that column changes most
    changed_most = np.abs(after - before)[12 - STACK // 2].argmax()
    assert abs(int(changed_most) - (most + 5)) <= CONTEXT // PER_PICTURE // 2


def a_take(seed: int, pictures: int, most: int) -> Take:
    rng = np.random.default_rng(seed)
    samples = (pictures + 2 * most) * SAMPLE_RATE // 25 + WINDOW
    return Take(
        rng.integers(0, 255, (pictures, SIDE, SIDE), dtype=np.uint8),
        rng.normal(0, 0.1, samples).astype(np.float32),
    )


def test_streams_share_one_net():
    takes = [a_take(seed, 25, 6) for seed in range(3)]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(shared(6).scores, takes))
    assert shared(6) is shared(6)
    for take, scores in zip(takes, together, strict=True):
        assert scores.shape == (len(take.mouth) - STACK + 1, 13)
        np.testing.assert_array_equal(scores, shared(6).scores(take))


def test_weights_are_read_as_they_were_written(net, tmp_path, monkeypatch):
    means = Calibration(sharpness=0.3, half_sure=4.0, surer=1.5, change=9.0)
    nets.save(net, means, tmp_path / "net.safetensors")
    again = nets.load(tmp_path / "net.safetensors")
    mouths = torch.rand(1, 12, SEEN, SEEN) * 255
    with torch.inference_mode():
        torch.testing.assert_close(again.see(mouths), net.see(mouths))
    monkeypatch.setattr("models.sync.WEIGHTS", tmp_path / "net.safetensors")
    monkeypatch.setattr("models.sync.Graph", lambda path: path)
    read = load()
    assert read.calibration == means
    assert read.scale == pytest.approx(net.sharpness.exp().item())
    assert read.vectors == tmp_path / "net.onnx"
    np.testing.assert_array_equal(read.bands, net.mel.mel_scale.fb.numpy())
