"""The plan repeats itself; splits are by source."""

from __future__ import annotations

from collections import Counter

from bench.accuracy.plan import ENCODINGS, NEEDS_LENGTH, make_plan
from corpus.clips import CleanClip
from corpus.sources import split_of
from faults import FAULTS
from faults.lookalikes import LOOKALIKES
from faults.truth import Severity


def clips(count=8, per_source=2):
    made = []
    for n in range(count):
        source = f"source{n // per_source}"
        kind = ("face", "video", "video", "sound")[n % 4]
        made.append(
            CleanClip(
                id=f"clip{n}",
                file=f"clip{n}.mkv",
                kind=kind,
                source=source,
                sound_source=source,
                split=split_of(source),
                duration=10.0,
                picture=kind != "sound",
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
        if name in NEEDS_LENGTH:  # there is no long clip among these
            assert not of_fault
        else:
            assert {item.severity for item in of_fault} == set(Severity)
    assert sum(item.what == "clean" for item in drawn.items) == 8


def test_quick_is_one_of_each():
    drawn = make_plan(clips(), 1, split="all", quick=True)
    faults = [item for item in drawn.items if item.what == "fault"]
    assert len(faults) == (len(FAULTS) - len(NEEDS_LENGTH)) * len(Severity)


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


def test_look_alikes_alone_as_many_as_are_asked_for():
    drawn = make_plan(clips(), 1, split="all", per_lookalike=5, what=("lookalike",))
    assert {item.what for item in drawn.items} == {"lookalike"}
    files = Counter(item.name for item in drawn.items)
    assert set(files) == set(LOOKALIKES)
    assert set(files.values()) == {5}


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


def test_sound_is_put_off_only_where_someone_speaks():
    dubbed = CleanClip(**{**vars(clips()[0]), "id": "dubbed", "sound_source": "other"})
    speakers = {clip.id for clip in clips() if clip.kind == "face"}
    drawn = make_plan([*clips(), dubbed], 1, split="all", kinds=("av_offset",))
    faults = [item for item in drawn.items if item.what == "fault"]
    assert {item.name for item in faults} == {"av_offset"}
    assert {option.clip for item in faults for option in item.options} == speakers


def test_long_clips_are_for_what_takes_long_to_tell():
    talk = CleanClip(**{**vars(clips()[0]), "id": "talk", "kind": "talk", "duration": 36.0})
    drawn = make_plan([*clips(), talk], 1, split="all", per_severity=9)
    used = {
        name: {option.clip for i in drawn.items if i.name == name for option in i.options}
        for name in {item.name for item in drawn.items if item.what != "clean"}
    }
    assert used["av_drift"] == used["av_step"] == {"talk"}
    assert {name for name, of in used.items() if "talk" in of} == {
        "av_drift", "av_step", "av_offset",
    }  # fmt: skip
    assert used["av_offset"] > {"talk"}
    assert "clean-talk" in {item.id for item in drawn.items}
    others = make_plan([*clips(), talk], 1, split="all", kinds=("black",))
    assert "clean-talk" not in {item.id for item in others.items}
    without = make_plan(clips(), 1, split="all", per_severity=9)
    assert [i for i in without.items if not i.name.startswith("av_")] == [
        i for i in drawn.items if not i.name.startswith("av_") and i.id != "clean-talk"
    ]


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
