"""Loudness and true peak are where the truth says, by an independent meter and by the detector."""

from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest
from scipy import signal

from faults.truth import Severity
from tests.detectors.sounds import PCM, save
from tests.faults.sounds import damaged
from tests.findings import examine, of_kind


@pytest.mark.parametrize("severity", list(Severity))
def test_loudness(clean_clip, severity):
    fault, after = damaged(clean_clip, "loudness", severity)
    truth = fault.truths[0]
    off = truth.parameters["sign"] * truth.parameters["off_lu"]
    assert pyloudnorm.Meter(48_000).integrated_loudness(after.T) == pytest.approx(
        -23 + off, abs=0.2
    )
    assert truth.parameters["loudness_lufs"] == pytest.approx(-23 + off, abs=0.05)
    assert (truth.start, truth.end) == (0.0, pytest.approx(8.0, abs=0.05))
    assert np.abs(after).max() <= 1


@pytest.mark.parametrize("severity", list(Severity))
def test_true_peak(clean_clip, severity):
    fault, after = damaged(clean_clip, "true_peak", severity)
    wanted = fault.parameters["true_peak_dbtp"]
    assert np.abs(after).max() <= 1
    between = np.abs(signal.resample_poly(after, 8, 1, axis=1))
    assert 20 * np.log10(between.max()) == pytest.approx(wanted, abs=0.25)
    for truth in fault.truths:
        here = between[:, round(truth.start * 384_000) : round(truth.end * 384_000)]
        assert 20 * np.log10(here.max()) == pytest.approx(
            truth.parameters["reached_dbtp"], abs=0.25
        )


@pytest.mark.parametrize("name", ["loudness", "true_peak"])
def test_the_stated_setting_reports_it(tmp_path, clean_clip, name):
    fault, after = damaged(clean_clip, name, Severity.NOTICEABLE)
    key, value = fault.truths[0].parameters["setting"].split("=")
    detector, setting = key.split(".")
    value = float(value) if name == "true_peak" else value
    found = of_kind(
        examine(save(tmp_path, after, PCM), detector, **{detector: {setting: value}}), name
    )
    assert len(found) == len(fault.truths)
    for defect, truth in zip(found, fault.truths, strict=True):
        assert defect.start == pytest.approx(truth.start, abs=0.05)
        assert defect.end == pytest.approx(truth.end, abs=0.05)
