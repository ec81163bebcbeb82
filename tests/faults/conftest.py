"""Clean clips that the tests of the faults share."""

from __future__ import annotations

import pytest

from faults.media import Clean
from tests import media
from tests.faults.stream import Maker


@pytest.fixture(scope="session")
def clean_clip(tmp_path_factory) -> Clean:
    """Eight seconds of picture in motion and of stereo sound; the sound is not compressed."""
    path = tmp_path_factory.mktemp("clean") / "clean.mkv"
    frames = media.scene(8, 320, 192, cuts=1, speed=6, seed=3, sky=0.4)
    media.write(path, frames, media.programme(8), audio_codec="flac", audio_format="s16")
    return Clean(path)


@pytest.fixture(scope="session")
def clean_pictures(clean_clip):
    """Its frames."""
    return list(clean_clip.pictures())


@pytest.fixture(scope="session")
def make(tmp_path_factory) -> Maker:
    """Damages a small clip by faults of files."""
    return Maker(tmp_path_factory.mktemp("streams"))
