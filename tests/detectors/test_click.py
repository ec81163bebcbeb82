"""Clicks: impulses of 1 to 20 samples; drums, plosives and onsets are none."""

from __future__ import annotations

import numpy as np
import pytest

from tests import media
from tests.detectors.sounds import AAC, RATE, chiptune, drums, noise, save, tone
from tests.findings import examine, of_kind, only_one


def clicked(*times, width=2, height=0.4):
    sound = media.programme(6.0)
    for n, time in enumerate(times):
        at = round(time * RATE)
        shape = np.sin(np.pi * (np.arange(width) + 0.5) / width)
        if width > 4:
            shape *= np.sin(2 * np.pi * np.arange(width) / 4 + 0.5)
        sound[:, at : at + width] += height * (-1) ** n * shape
    return np.clip(sound, -1, 1)


@pytest.mark.parametrize("width", [1, 2, 5, 12])
def test_a_click(tmp_path, width):
    defect = only_one(examine(save(tmp_path, clicked(3.21, width=width)), "click"), "click")
    assert abs(defect.start - 3.21) < 0.005
    assert abs(defect.end - 3.21) < 0.005


def test_of_one_channel_less_is_enough_if_the_other_has_sound(tmp_path):
    sound = clicked(3.21, width=2, height=0.08)
    both = of_kind(examine(save(tmp_path, sound), "click"), "click")
    sound[1] = clicked()[1]
    one = of_kind(examine(save(tmp_path, sound), "click"), "click")
    sound[1] = 0
    alone = of_kind(examine(save(tmp_path, sound), "click"), "click")
    assert (len(both), len(one), len(alone)) == (0, 1, 0)


def test_both_edges_of_a_flat_impulse_are_of_it(tmp_path):
    sound = clicked()
    sound[:, 154_000:154_018] += 0.4
    defect = only_one(examine(save(tmp_path, sound), "click"), "click")
    assert defect.evidence["impulses"] == 1


def test_impulses_in_every_period_of_a_low_voice_are_its_own(tmp_path):
    calm = tone(-14, 4) + noise(-60, 4)
    voice, click = calm.copy(), calm.copy()
    voice[:, 50_000:150_000:960] += 0.3  # 50 Hz
    click[:, 50_000] += 0.3
    assert of_kind(examine(save(tmp_path, voice), "click"), "click") == []
    assert len(of_kind(examine(save(tmp_path, click), "click"), "click")) == 1


def test_fainter_impulses_beside_a_clear_one_belong_to_it(tmp_path):
    sound = clicked(3.21, height=0.4)
    sound += clicked(3.5, height=0.03) - clicked()
    defect = only_one(examine(save(tmp_path, np.clip(sound, -1, 1)), "click"), "click")
    assert abs(defect.start - 3.21) < 0.005
    assert abs(defect.end - 3.5) < 0.005


def test_a_click_after_aac(tmp_path):
    defect = only_one(examine(save(tmp_path, clicked(3.21), AAC), "click"), "click")
    assert abs(defect.start - 3.21) < 0.01


def test_crackle_is_one_event_and_higher_is_worse(tmp_path):
    crackle = only_one(
        examine(save(tmp_path, clicked(3.1, 3.2, 3.32, 3.4, height=0.5)), "click"), "click"
    )
    assert crackle.evidence["impulses"] >= 2
    soft = only_one(examine(save(tmp_path, clicked(3.21, height=0.2)), "click"), "click")
    assert crackle.severity > soft.severity


def test_what_rings_on_for_a_millisecond_is_a_smack_of_lips(tmp_path):
    n = np.arange(90)
    smack = 0.2 * np.cos(2 * np.pi * 5000 * n / RATE)
    for decay, found in ((4, 1), (24, 0)):
        sound = media.programme(6.0)
        sound[:, 154_000:154_090] += smack * np.exp(-n / decay)
        assert len(of_kind(examine(save(tmp_path, sound), "click"), "click")) == found


def plosives():
    """Bursts out of closures, followed by voice."""
    t = np.arange(6 * RATE) / RATE
    phase = t % 0.5
    burst = noise(-12, 6)[0] * (phase > 0.1) * np.exp(-np.maximum(phase - 0.1, 0) / 0.004)
    onset = np.clip((phase - 0.11) / 0.02, 0, 1) * (phase < 0.4)
    voice = 0.3 * np.sign(np.sin(2 * np.pi * 120 * t)) * onset
    return np.repeat((burst + np.convolve(voice, np.hanning(24) / 12, "same"))[None], 2, 0)


def edges():
    """A slow sawtooth: its edges step and stay."""
    t = np.arange(6 * RATE) / RATE
    saw = 0.2 * ((t * 0.7) % 1) + 0.2 * np.sin(2 * np.pi * 110 * t)
    return np.repeat(np.convolve(saw, np.ones(2) / 2, "same")[None], 2, 0)


@pytest.mark.parametrize("sound", [drums, plosives, chiptune, edges])
def test_hard_negatives(tmp_path, sound):
    quiet = np.asarray(sound()) + noise(-65, 8)[:, : sound().shape[1]]
    assert of_kind(examine(save(tmp_path, quiet), "click"), "click") == []


def test_clean_media(tmp_path, clean_programme):
    assert examine(save(tmp_path, clean_programme), "click").defects == []
    assert examine(save(tmp_path, clean_programme, AAC), "click").defects == []
    assert examine(media.bunny(), "click").defects == []


def test_faint_clicks_that_keep_coming_are_percussion(tmp_path, monkeypatch):
    path = save(tmp_path, clicked(1.1, 2.1, 3.21, 4.31, 5.1))
    every = of_kind(examine(path, "click"), "click")
    assert len(every) > 2
    monkeypatch.setattr("pipeline.detectors.click.DOUBTFUL", 100.0)  # all are
    found = of_kind(examine(path, "click"), "click")
    assert [one.start for one in found] == [one.start for one in every[:2]]
