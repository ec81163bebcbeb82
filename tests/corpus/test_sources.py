"""Sources, their split, and what is taken of packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.fetch import choose
from corpus.sources import GENERATED, TALK, Recipe, recipes, scan, split_of
from tests import media


def test_split_is_by_the_name_of_the_source():
    names = [f"source {n}" for n in range(400)]
    shares = sum(split_of(name) == "dev" for name in names) / len(names)
    assert 0.6 < shares < 0.8
    assert split_of("a", {"a": "test"}) == "test"
    assert split_of("a", {"a": "dev"}) == "dev"


@pytest.fixture
def folder(tmp_path):
    sound = media.programme(6.0)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        media.write(tmp_path / name / "clip.mkv", media.scene(5.0, 160, 96), sound)
        media.write(tmp_path / name / "music.wav", sound=sound, audio_codec="pcm_s16le")
    return tmp_path


def test_sources_of_a_folder_without_a_catalogue(folder):
    assets = scan([folder])
    assert {(a.source, a.kind) for a in assets} == {
        (source, kind) for source in ("one", "two") for kind in ("video", "sound")
    }
    override = {"one": "dev", "two": "test"}
    made = recipes(assets, 1, override=override)
    assert {(r.source, r.kind) for r in made} == {(a.source, a.kind) for a in assets}
    for recipe in made:
        assert recipe.sound_source == recipe.source  # nothing is mixed across the split
    assert recipes(assets, 1, override=override) == made


def test_a_catalogue_says_what_files_are(folder):
    rows = ["path\tkind\tsource\tgroup"]
    rows += ["one/clip.mkv\tfaces\tcorpus\tgrid:s1", "two/clip.mkv\tweird\tx\tx"]
    rows += ["two/music.wav\tsound\tmusic\tmusic", "gone.mkv\tvideo\tx\tx"]
    (folder / "CATALOG.tsv").write_text("\n".join(rows) + "\n")
    found = {(a.name, a.kind, a.source, a.group) for a in scan([folder])}
    assert found == {
        ("one/clip.mkv", "face", "grid", "grid:s1"),
        ("two/music.wav", "sound", "music", "music"),
    }


def test_long_clips_are_joined_of_one_speaker(tmp_path):
    """Of two with enough seconds one clip each, of a third with 20 s none; none of a drawn head."""
    frames = media.scene(4.0, 96, 64, cuts=0)
    rows = ["path\tkind\tsource\tgroup"]
    media.write(tmp_path / "take.mkv", frames, media.programme(4.0, 1))
    for speaker, count in (("s1", 12), ("s2", 9), ("s3", 5)):
        for n in range(count):
            name = f"{speaker}-{n}.mkv"
            (tmp_path / name).hardlink_to(tmp_path / "take.mkv")
            rows.append(f"{name}\tfaces\tcorpus\tgrid:{speaker}")
    rows += [f"s1-{n}.mkv\tfaces\t{GENERATED[0]}\t{GENERATED[0]}" for n in range(12)]
    (tmp_path / "CATALOG.tsv").write_text("\n".join(rows) + "\n")
    made = recipes(scan([tmp_path]), 1)
    talks = [recipe for recipe in made if recipe.kind == "talk"]
    speakers = [{Path(path).name[:2] for path in talk.pictures} for talk in talks]
    assert sorted(speakers, key=str) == [{"s1"}, {"s2"}]
    for talk in talks:
        assert len(talk.pictures) == 9  # 36 s
        assert talk.own_sound
        assert (talk.seconds, talk.source, talk.sound_source) == (TALK, "grid", "grid")


def test_ids_do_not_depend_on_where_the_folder_lies():
    def recipe(folder):
        return Recipe(
            "video", "s", "s", (f"{folder}/a.mp4",), (), True, 10.0, (0, 0), "", 5
        )  # fmt: skip

    assert recipe("/here").id == recipe("/there").id


def test_choice_of_a_package():
    files = [(f"w/{n}/contents/images/{size}.png", 90_000 + size) for n in range(9)
             for size in (1, 2)]  # fmt: skip
    assert choose(files, "photo", 3) == [f"w/{n}/contents/images/2.png" for n in (0, 4, 8)]
    sounds = [("b.ogg", 200_000), ("a.ogg", 300_000), ("beep.ogg", 900), ("x.txt", 99_999)]
    assert choose(sounds, "sound") == ["a.ogg", "b.ogg"]
