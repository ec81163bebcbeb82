"""Clean clips from folders of media: what there is, whose it is, and which clips to make of it.

Kinds: `video` (4 s or longer; shorter ones of a group are joined), `photo` (several photographs of
a source become one moving clip), `face` (clips of people speaking, joined) and `sound`. Of the
faces come clips of a kind `talk` as well: half a minute of one group, which is a speaker or a
corpus whose speakers are not named, joined from short ones. So long it takes to tell a drift. A
CATALOG.tsv at the root of a folder (path, kind, source, group, ...) says what a file is; without
one the suffix decides, and the first folder level names the source. The split into development and
test is by source, never by clip: what is tuned on one source is never reported on it.
"""

from __future__ import annotations

import csv
import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Literal

import av
import numpy as np

MediaKind = Literal["video", "photo", "face", "sound", "talk"]
Split = Literal["dev", "test"]
_KINDS: dict[str, MediaKind] = {
    "video": "video",
    "videos": "video",
    "photo": "photo",
    "photos": "photo",
    "face": "face",
    "faces": "face",
    "sound": "sound",
    "sounds": "sound",
}
_SUFFIXES: dict[str, MediaKind] = {
    **dict.fromkeys((".mp4", ".mkv", ".mov", ".webm", ".avi", ".ts", ".mpg", ".m4v"), "video"),
    **dict.fromkeys((".jpg", ".jpeg", ".png"), "photo"),
    **dict.fromkeys((".wav", ".ogg", ".oga", ".mp3", ".flac", ".m4a", ".opus"), "sound"),
}
CATALOG = "CATALOG.tsv"
DEV_SHARE = 70  # percent of the hash values of sources that are development
LONGEST, WANTED, SHORTEST = 12.0, 10.0, 4.0  # seconds of a clip
TALK, SHORTEST_TALK = 36.0, 28.0  # seconds of one that is long enough for sound to drift in
MIN_RATE = 14.0  # frames per second; less is a slide show
MAX_LINES = 480  # of a clip from video: larger ones are divided, which also hides their coding
PHOTOS = 3  # in one clip
_WIDE = 44_100  # Hz; what is given to pictures without sound has all frequencies
_SIZES = ((640, 360), (640, 360), (640, 360), (640, 360), (854, 480), (1280, 720))
_PHOTO = (1280, 720)  # the least width and height of a photograph
_RATES = ("25", "30", "24", "30000/1001")
# clips a source may give, so that no source outweighs the others
PER_SOURCE: dict[MediaKind, int] = {
    "video": 3,
    "photo": 4,
    "face": 3,
    "sound": 3,
    "talk": 3,
}
# What is damaged as it is published cannot stand for clean media
_NOT_CLEAN = {
    "klettres-data": "the voices are clipped: their samples pile up at full scale",
}
# Heads that a net animates: what they say is as far off as that net leaves it, clip by clip
GENERATED = ("OpenTalker+SadTalker", "OpenTalker+video-retalking")
_NOT_SHARP = "blur"  # wallpapers blurred on purpose, for a lock screen, say so in their names


class RejectedError(Exception):
    """No clean clip can be made of these files; the message says why."""


@dataclass(frozen=True)
class Asset:
    """A file of a media folder."""

    folder: Path
    name: str  # path inside the folder
    kind: MediaKind
    source: str  # what the split is made by
    group: str  # files that may be joined in one clip

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.folder / self.name


@dataclass(frozen=True)
class Header:
    """What a container says of itself; 0 where it does not."""

    width: int = 0
    height: int = 0
    rate: float = 0.0
    duration: float = 0.0
    sample_rate: int = 0


@dataclass(frozen=True)
class Recipe:
    """One clean clip to make.

    Attributes:
        pictures: files joined with cuts; empty: sound alone.
        sounds: files that give the sound where the pictures bring none of their own.
        sound_source: whose the sound is.
        size: width and height of a clip from photographs; (0, 0): as the files have it.
        rate: frames per second of a clip from photographs, as a fraction.
    """

    kind: MediaKind
    source: str
    sound_source: str
    pictures: tuple[str, ...]
    sounds: tuple[str, ...]
    own_sound: bool
    seconds: float
    size: tuple[int, int]
    rate: str
    seed: int

    @property
    def id(self) -> str:
        """A name that changes with the content, for the cache."""
        facts = asdict(self)
        for name in ("pictures", "sounds"):  # wherever their folder lies
            facts[name] = [Path(path).name for path in facts[name]]
        digest = hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()
        slug = "".join(c if c.isalnum() else "_" for c in self.source)[:28]
        return f"{self.kind}-{slug}-{digest[:8]}"


def split_of(source: str, override: Mapping[str, Split] | None = None) -> Split:
    """The split of a source: what the override says, else by the hash of its name."""
    if override and source in override:
        return override[source]
    value = int(hashlib.sha256(source.encode()).hexdigest()[:8], 16) % 100
    return "dev" if value < DEV_SHARE else "test"


def scan(folders: Iterable[Path]) -> list[Asset]:
    """Every usable file of some folders, in the order of their names."""
    found: list[Asset] = []
    for folder in folders:
        found += _catalogued(folder) if (folder / CATALOG).is_file() else _walked(folder)
    found = [asset for asset in found if asset.source not in _NOT_CLEAN]
    return sorted(found, key=lambda asset: (asset.source, asset.name))


def _catalogued(folder: Path) -> Iterator[Asset]:
    with (folder / CATALOG).open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            kind = _KINDS.get(row["kind"])
            if kind is None or not (folder / row["path"]).is_file():
                continue
            group = row.get("group") or row["source"]
            # "grid:s4" is speaker s4 of a corpus: one studio and one camera, so one source
            corpus = group.partition(":")[0] if ":" in group else row["source"]
            yield Asset(folder, row["path"], kind, corpus, group)


def _walked(folder: Path) -> Iterator[Asset]:
    for path in sorted(folder.rglob("*")):
        kind = _SUFFIXES.get(path.suffix.lower())
        if kind is None or not path.is_file():
            continue
        inside = path.relative_to(folder)
        group = inside.parts[0] if len(inside.parts) > 1 else folder.name
        yield Asset(folder, inside.as_posix(), kind, group, group)


def header(path: Path) -> Header:
    """What a container says, without decoding; nothing where it cannot be opened."""
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            duration = (container.duration or 0) / av.time_base
            video = container.streams.video[0] if container.streams.video else None
            audio = container.streams.audio[0] if container.streams.audio else None
            return Header(
                video.width if video else 0,
                video.height if video else 0,
                float(video.average_rate or 0) if video else 0.0,
                duration,
                int(audio.sample_rate or 0) if audio else 0,
            )
    except (av.FFmpegError, OSError, IndexError):
        return Header()


class _Drawer:
    """Draws recipes from the assets of one split."""

    def __init__(self, assets: Sequence[Asset], seed: int, per_source: int | None) -> None:
        self._assets = assets
        self._seed = seed
        self._per_source = per_source
        self._headers: dict[Path, Header] = {}
        self._sounds = self._chunks("sound")
        self._taken = 0

    def recipes(self) -> list[Recipe]:
        """All clips, those of each kind and source up to the limit."""
        made: list[Recipe] = []
        for source, chunk in self._chunks("sound"):
            made.append(self._recipe("sound", source, (), chunk, own=False))
        for kind in ("video", "face", "photo"):
            for source, chunk in self._chunks(kind):
                own = kind != "photo" and all(self._header(a).sample_rate for a in chunk)
                made.append(self._recipe(kind, source, chunk, self._sound(kind), own=own))
        for source, chunk in self._talks():
            made.append(self._recipe("talk", source, chunk, (), own=True))
        return made

    def _header(self, asset: Asset) -> Header:
        if asset.path not in self._headers:
            self._headers[asset.path] = header(asset.path)
        return self._headers[asset.path]

    def _rng(self, *names: str) -> np.random.Generator:
        return np.random.default_rng([self._seed, zlib.crc32("|".join(names).encode())])

    def _chunks(self, kind: MediaKind) -> list[tuple[str, tuple[Asset, ...]]]:
        """(source, files of one clip), up to the limit of each source."""
        of_source: dict[str, list[Asset]] = defaultdict(list)
        for asset in self._assets:
            if asset.kind == kind and (kind != "photo" or self._is_photo(asset)):
                of_source[asset.source].append(asset)
        limit = self._per_source or PER_SOURCE[kind]
        chunks = []
        for source, assets in sorted(of_source.items()):
            order = self._rng(kind, source).permutation(len(assets))
            shuffled = [assets[n] for n in order]
            make = self._photos if kind == "photo" else self._joined
            for n, chunk in enumerate(make(shuffled)):
                if n >= limit:
                    break
                chunks.append((source, chunk))
        return chunks

    def _is_photo(self, asset: Asset) -> bool:
        facts = self._header(asset)
        large = facts.width >= _PHOTO[0] and facts.height >= _PHOTO[1]
        return large and _NOT_SHARP not in asset.name.lower()

    def _photos(self, assets: Sequence[Asset]) -> Iterator[tuple[Asset, ...]]:
        for n in range(0, len(assets), PHOTOS):
            chunk = tuple(assets[n : n + PHOTOS])
            if len(chunk) == PHOTOS or n == 0:
                yield chunk

    def _joined(self, assets: Sequence[Asset]) -> Iterator[tuple[Asset, ...]]:
        """Long files alone; short ones of one group and format together."""
        waiting: dict[tuple[object, ...], list[Asset]] = defaultdict(list)
        for asset in assets:
            facts = self._header(asset)
            if facts.width and facts.rate < MIN_RATE:
                continue
            if facts.duration >= SHORTEST * 1.5 or (facts.width and facts.duration >= SHORTEST):
                yield (asset,)
                continue
            if facts.duration < 0.8:
                continue
            alike = (asset.group, facts.width, facts.height, round(facts.rate, 2))
            waiting[alike].append(asset)
            chunk = waiting[alike]
            if sum(self._header(one).duration for one in chunk) >= WANTED * 0.85:
                yield tuple(chunk)
                waiting[alike] = []

    def _talks(self) -> Iterator[tuple[str, tuple[Asset, ...]]]:
        """(source, files of one long clip of a group that speaks), the groups in turn."""
        of_source: dict[str, dict[tuple[object, ...], list[Asset]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for asset in self._assets:
            speaks = asset.kind == "face" and asset.source not in GENERATED
            facts = self._header(asset) if speaks else Header()
            if facts.sample_rate and facts.rate >= MIN_RATE and facts.duration >= 0.8:
                form = (facts.width, facts.height, round(facts.rate, 2), facts.sample_rate)
                of_source[asset.source][asset.group, form].append(asset)
        for source, groups in sorted(of_source.items()):
            rng = self._rng("talk", source)
            makers = [self._long([g[n] for n in rng.permutation(len(g))]) for g in groups.values()]
            turns = zip_longest(*(makers[n] for n in rng.permutation(len(makers))))
            chunks = (chunk for turn in turns for chunk in turn if chunk is not None)
            for chunk in islice(chunks, self._per_source or PER_SOURCE["talk"]):
                yield source, chunk

    def _long(self, assets: Sequence[Asset]) -> Iterator[tuple[Asset, ...]]:
        """Files that are long enough together."""
        chunk: list[Asset] = []
        seconds = 0.0
        for asset in assets:
            chunk.append(asset)
            seconds += self._header(asset).duration
            if seconds >= TALK:
                yield tuple(chunk)
                chunk, seconds = [], 0.0
        if seconds >= SHORTEST_TALK:
            yield tuple(chunk)

    def _sound(self, kind: str) -> tuple[Asset, ...]:
        """Files that give sound to a picture without: of this split, in turn over the sources."""
        wide = [(s, c) for s, c in self._sounds if self._header(c[0]).sample_rate >= _WIDE]
        pool = wide or self._sounds
        if not pool:
            return tuple(
                a
                for a in self._assets
                if a.kind == "video" and self._header(a).sample_rate >= _WIDE
            )[:1]
        by_source: dict[str, list[tuple[Asset, ...]]] = defaultdict(list)
        for source, chunk in pool:
            by_source[source].append(chunk)
        names = sorted(by_source)
        order = self._rng("sound for", kind).permutation(len(names))
        self._taken += 1
        chunks = by_source[names[order[self._taken % len(names)]]]
        return chunks[self._taken // len(names) % len(chunks)]

    def _recipe(
        self,
        kind: MediaKind,
        source: str,
        pictures: tuple[Asset, ...],
        sounds: tuple[Asset, ...],
        *,
        own: bool,
    ) -> Recipe:
        names = "|".join(asset.name for asset in (*pictures, *sounds))
        rng = self._rng(kind, source, names)
        photo = kind == "photo"
        return Recipe(
            kind=kind,
            source=source,
            sound_source=source if own or not sounds else sounds[0].source,
            pictures=tuple(str(asset.path) for asset in pictures),
            sounds=tuple(str(asset.path) for asset in sounds),
            own_sound=own,
            seconds=TALK if kind == "talk" else round(float(rng.uniform(WANTED, LONGEST)), 1),
            size=_SIZES[int(rng.integers(len(_SIZES)))] if photo else (0, 0),
            rate=_RATES[int(rng.integers(len(_RATES)))] if photo else "",
            seed=int(rng.integers(2**31)),
        )


def recipes(
    assets: Sequence[Asset],
    seed: int,
    *,
    override: Mapping[str, Split] | None = None,
    per_source: int | None = None,
) -> list[Recipe]:
    """The clips to make of some assets. No clip holds files of both splits.

    Args:
        assets: from `scan`.
        seed: which files are taken and joined.
        override: sources whose split is not decided by the hash.
        per_source: clips of each kind that a source may give; None: `PER_SOURCE`.
    """
    made: list[Recipe] = []
    for split in ("dev", "test"):
        of_split = [asset for asset in assets if split_of(asset.source, override) == split]
        made += _Drawer(of_split, seed, per_source).recipes()
    return made
