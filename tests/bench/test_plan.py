"""The plan repeats itself; splits are by source."""

from __future__ import annotations

import pytest

from bench.accuracy.assemble import CleanClip
from bench.accuracy.fetch import choose
from bench.accuracy.plan import ENCODINGS, make_plan
from bench.accuracy.sources import Recipe, recipes, scan, split_of
from faults import FAULTS
from faults.truth import Severity
from tests import media


def clips(count=8, per_source=2):
    made = []
    for n in range(count):
        source = f"source{n // per_source}"
        kind = "sound" if n % 4 == 3 else "video"
        made.append(
            CleanClip(
                id=f"clip{n}",
                file=f"clip{n}.mkv",
                kind=kind,
                source=source,
                sound_source=source,
                split=split_of(source),
                duration=10.0,
                picture=kind == "video",
                frame_rate=25.0,
                sample_rate=48_000,
                files=(f"{n}.mp4",),
            )
        )
    return made


def test_same_seed_same_plan():
    assert make_plan(clips(), 1, split="all") == make_plan(clips(), 1, split="all")
    assert make_plan(clips(), 1, split="all") != make_plan(clips(), 2, split="all")


def test_ids_are_unique_and_every_fault_has_every_severity():
    drawn = make_plan(clips(), 1, split="all")
    assert len({item.id for item in drawn.items}) == len(drawn.items)
    for name in FAULTS:
        of_fault = [item for item in drawn.items if item.name == name]
        assert {item.severity for item in of_fault} == set(Severity)
    assert sum(item.what == "clean" for item in drawn.items) == 8


def test_quick_is_one_of_each():
    drawn = make_plan(clips(), 1, split="all", quick=True)
    faults = [item for item in drawn.items if item.what == "fault"]
    assert len(faults) == len(FAULTS) * len(Severity)


def test_items_of_one_fault_take_different_sources():
    drawn = make_plan(clips(), 1, split="all", kinds=("black",), per_severity=3)
    owner = {clip.id: clip.source for clip in clips()}
    for severity in Severity:
        items = [item for item in drawn.items if item.severity == severity]
        assert len({owner[item.options[0].clip] for item in items}) == 3
        tried = [option.clip for item in items for option in item.options]
        assert len(set(tried)) == len(tried)


def test_kinds_leave_out_the_other_faults():
    drawn = make_plan(clips(), 1, split="all", kinds=("silence",))
    assert {item.name for item in drawn.items if item.what == "fault"} == {"silence"}


def test_split_takes_its_sources_alone():
    override = {"source0": "dev", "source1": "test", "source2": "dev", "source3": "test"}
    made = [
        CleanClip(**{**vars(clip), "split": split_of(clip.source, override)}) for clip in clips()
    ]
    owner = {clip.id: clip.source for clip in made}
    for split in ("dev", "test"):
        drawn = make_plan(made, 1, split=split)
        used = {owner[option.clip] for item in drawn.items for option in item.options}
        assert used == {name for name, of in override.items() if of == split}


def test_playlists_for_what_needs_them():
    drawn = make_plan(clips(), 1, split="all", kinds=("segment_missing",))
    pictured = {clip.id for clip in clips() if clip.picture}
    encodings = {
        ENCODINGS[option.encoding][0]
        for item in drawn.items
        if item.what == "fault"
        for option in item.options
        if option.clip in pictured
    }
    assert encodings == {".m3u8"}


def test_mpeg2_only_at_rates_that_it_can_say():
    def encodings(rate):
        made = [CleanClip(**{**vars(clip), "frame_rate": rate}) for clip in clips(40)]
        drawn = make_plan(made, 1, split="all", kinds=("black",), per_severity=8)
        return {option.encoding for item in drawn.items for option in item.options}

    assert "mpeg2-4.ts" in encodings(29.97)
    assert "mpeg2-4.ts" not in encodings(20.0)


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
