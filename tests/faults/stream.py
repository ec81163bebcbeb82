"""What the tests of stream faults share: one encode for each container, damaged often."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from faults import FAULTS
from faults.damage import place
from faults.delivery import in_segments
from faults.media import Clean, encode
from tests import media

SECONDS = 8


class Maker:
    """Damages one small clip by faults of files, without encoding it each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "clean.mkv"
        frames = media.scene(SECONDS, 160, 96, cuts=1, speed=2.5, seed=3)
        media.write(path, frames, media.programme(SECONDS), audio_codec="flac", audio_format="s16")
        self.clean = Clean(path)

    def source(self, suffix: str) -> Path:
        """The clip in a container; for playlists a stream that can be cut into segments."""
        path = self.folder / f"source{suffix if suffix != '.m3u8' else '-segments.ts'}"
        if not path.exists():
            encode(
                path,
                self.clean.pictures(),
                self.clean.sound,
                rate=self.clean.rate,
                sample_rate=self.clean.sample_rate,
                layout=self.clean.layout,
                encoding=in_segments(None, Fraction(25)) if suffix == ".m3u8" else None,
            )
        return path

    def put(self, name, severity, suffix, seed=1, at=None):
        """Damage it: (the file, the fault with its truths)."""
        fault = FAULTS[name](place(name, severity, self.clean, seed, at), self.clean)
        target = self.folder / f"{name}-{severity.value}-{seed}{suffix}"
        fault.file(self.source(suffix), target)
        return target, fault

    def ways(self, name, severity, suffix, wanted, at=None):
        """One damaged file for each way in which a fault does it."""
        found = {}
        for seed in range(40):
            target, fault = self.put(name, severity, suffix, seed, at)
            found.setdefault(fault.truths[0].parameters["way"], (target, fault))
            if len(found) == wanted:
                return found
        raise AssertionError(f"only {sorted(found)}")
