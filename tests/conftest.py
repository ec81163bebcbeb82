"""Fixtures that several rooms share."""

from __future__ import annotations

import pytest

from tests import media


@pytest.fixture(scope="session")
def clean_scene():
    """Eight seconds of clean moving picture; do not change it in place."""
    return media.scene()


@pytest.fixture(scope="session")
def clean_programme():
    """Eight seconds of clean stereo sound; do not change it in place."""
    return media.programme()
