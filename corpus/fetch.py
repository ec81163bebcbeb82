"""Free photographs and sound from Debian packages, as a folder of clean media for the bench.

    python -m corpus.fetch DIR
    python -m corpus.fetch --wide DIR

With --wide: more sound of more kinds (music, speech, ambience and effects of games), in which false
alarms are counted: `vidette batch DIR --out OUT`, then
`vidette query OUT "SELECT * FROM defects_by_kind"`.

Downloads each package by name (`apt-get download`), unpacks it beside (`dpkg -x`; nothing is
installed, no root needed), keeps some of its files and catalogues them in DIR/CATALOG.tsv. Where
apt knows no such package, run `apt-get update` first.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

CATALOG = "CATALOG.tsv"
_PREVIEW = "screenshot"  # in its name: a small copy
FILES = 25  # kept of a package
LARGEST = 12 << 20  # bytes of a file
SMALLEST = {"photo": 60_000, "sound": 15_000}  # bytes: icons and beeps are less
SUFFIXES = {
    "photo": (".jpg", ".jpeg", ".png"),
    "sound": (".wav", ".ogg", ".oga", ".mp3", ".flac", ".opus"),
}


@dataclass(frozen=True)
class Package:
    """A Debian package and what it holds for the bench."""

    name: str
    kind: Literal["photo", "sound"]


PACKAGES = (
    Package("plasma-workspace-wallpapers", "photo"),
    Package("mate-backgrounds", "photo"),
    Package("lxqt-themes", "photo"),
    Package("ukui-wallpapers", "photo"),
    Package("lomiri-wallpapers-20.04", "photo"),
    Package("asterisk-moh-opsound-wav", "sound"),
    Package("warzone2100-music", "sound"),
    Package("hedgewars-data", "sound"),
    Package("supertux-data", "sound"),
    Package("asterisk-core-sounds-es-wav", "sound"),
)

# Media that are not clean by proof, so no part of the accuracy bench: sound in which what is found
# and cannot be heard is a false alarm, and pictures whose crops nets are fitted on
WIDE = (
    *(
        Package(name, "sound")
        for name in (
            "asc-music",
            "asterisk-core-sounds-en-wav",
            "asterisk-core-sounds-fr-wav",
            "asterisk-core-sounds-it-wav",
            "asterisk-core-sounds-ru-wav",
            "boswars-data",
            "colobot-common-sounds",
            "endless-sky-data",
            "enigma-data",
            "extremetuxracer-data",
            "festvox-ru",
            "fillets-ng-data-cs",
            "fillets-ng-data-nl",
            "flare-game",
            "freedroidrpg-data",
            "fretsonfire-songs-muldjord",
            "fretsonfire-songs-sectoid",
            "frozen-bubble-data",
            "klettres-data",
            "ktuberling-data",
            "lincity-ng-data",
            "megaglest-data",
            "scorched3d-data",
            "singularity-music",
            "torcs-data",
            "tuxpaint-stamps-default",
            "warmux-data",
            "wesnoth-1.16-music",
        )
    ),
    *(
        Package(name, "photo")
        for name in (
            "gnome-backgrounds",
            "krita-data",
            "kstars-data",
            "lomiri-wallpapers-16.04",
            "marble-data",
            "stellarium-data",
            "wesnoth-1.16-data",
        )
    ),
)


def choose(files: Sequence[tuple[str, int]], kind: str, count: int = FILES) -> list[str]:
    """Which files of a package to keep.

    Of photographs: the largest of a folder (the others are the same in other sizes) where folders
    hold one picture each, spread over the package; of sound: the longest.

    Args:
        files: (path, bytes).
        kind: photo or sound.
        count: how many to keep at most.
    """
    fitting = sorted(
        (path, size)
        for path, size in files
        if Path(path).suffix.lower() in SUFFIXES[kind]
        and SMALLEST[kind] <= size <= LARGEST
        and _PREVIEW not in Path(path).name.lower()
    )
    if kind == "sound":
        fitting.sort(key=lambda one: (-one[1], one[0]))
        return [path for path, _ in fitting[:count]]
    folders: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for path, size in fitting:
        # plasma: NAME/contents/images/1920x1080.jpg
        parent = Path(path).parent
        folders[str(parent) if parent.name == "images" else path].append((path, size))
    each = [max(some, key=lambda one: (one[1], one[0]))[0] for some in folders.values()]
    places = np.unique(np.linspace(0, len(each) - 1, min(count, len(each))).round().astype(int))
    return [each[n] for n in places]


def fetch(package: Package, target: Path) -> list[tuple[str, str, str, str, str]]:
    """Download and unpack one package into a folder of its own; returns rows of the catalogue."""
    with tempfile.TemporaryDirectory(prefix="vidette-") as name:
        folder = Path(name)
        subprocess.run(
            ["apt-get", "download", package.name], cwd=folder, check=True, capture_output=True
        )
        unpacked = folder / "unpacked"
        for archive in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(archive), str(unpacked)], check=True)
        files = [
            (str(path.relative_to(unpacked)), path.stat().st_size)
            for path in unpacked.rglob("*")
            if path.is_file() and not path.is_symlink()
        ]
        rows: list[tuple[str, str, str, str, str]] = []
        for n, path in enumerate(sorted(choose(files, package.kind))):
            kept = Path(package.name) / f"{n:02d}_{Path(path).parent.name}_{Path(path).name}"
            (target / package.name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(unpacked / path, target / kept)
            rows.append((kept.as_posix(), package.kind, package.name, package.name, "see package"))
    return rows


def main() -> None:
    """Fetch every package that is not there yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wide", action="store_true", help="the sound to count false alarms in")
    chosen = parser.parse_args()
    target: Path = chosen.folder
    target.mkdir(parents=True, exist_ok=True)
    catalog = target / CATALOG
    rows: list[tuple[str, ...]] = []
    if catalog.is_file():
        with catalog.open(newline="") as file:
            rows = [tuple(row) for row in csv.reader(file, delimiter="\t")][1:]
    for package in WIDE if chosen.wide else PACKAGES:
        if any(row[2] == package.name for row in rows):
            continue
        print(package.name, flush=True)
        try:
            rows += fetch(package, target)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            said = getattr(error, "stderr", b"") or str(error).encode()
            print(f"  left out: {said.decode(errors='replace').strip()}", file=sys.stderr)
            continue
        with catalog.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerow(("path", "kind", "source", "group", "licence"))
            writer.writerows(rows)
    print(f"{len(rows)} files in {target}")


if __name__ == "__main__":
    main()
