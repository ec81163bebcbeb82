"""Observations become events that open, change and close once."""

from __future__ import annotations

import pytest

from pipeline.clock import WRAP
from pipeline.live.tracker import PATIENCE, RESUMED, UPDATE_EVERY, Tracker
from pipeline.measurements import Observation
from pipeline.types import Kind

ANCHOR = 1_000_000.0


def saw(start, end, kind=Kind.FREEZE, severity=0.5, confidence=0.9, detector="freeze/1"):
    return detector, 0, Observation(kind, start, end, severity, confidence, "said", {"x": 1.0})


def changes(events):
    return [(event.change, event.kind.value) for event in events]


def test_a_defect_opens_while_it_lasts_and_closes_under_the_same_id():
    tracker = Tracker("news", {"cdn": "a"})
    opened = tracker.update([], [saw(5.0, 6.0)], ANCHOR, ANCHOR + 6)
    nothing = tracker.update([], [saw(5.0, 7.0)], ANCHOR, ANCHOR + 7)
    closed = tracker.update([saw(5.0, 7.5)], [], ANCHOR, ANCHOR + 8)
    assert (changes(opened), changes(nothing)) == ([("opened", "freeze")], [])
    assert changes(closed) == [("closed", "freeze")]
    assert opened[0].id == closed[0].id
    assert closed[0].outcome == "ended"
    assert closed[0].start.timestamp() == ANCHOR + 5.0
    assert closed[0].end.timestamp() == ANCHOR + 7.5
    assert closed[0].labels == {"cdn": "a"}
    assert closed[0].position == 5.0
    assert tracker.standing == []


def test_what_was_over_at_once_opens_and_closes_in_one_go():
    told = Tracker("news", {}).update([saw(5.0, 5.04)], [], ANCHOR, ANCHOR + 6)
    assert [event.change for event in told] == ["opened", "closed"]
    assert told[0].id == told[1].id


def test_an_update_is_told_when_it_gets_worse_and_now_and_then():
    tracker = Tracker("news", {})
    tracker.update([], [saw(0.0, 1.0, severity=0.3)], ANCHOR, ANCHOR + 1)
    assert not tracker.update([], [saw(0.0, 2.0, severity=0.35)], ANCHOR, ANCHOR + 2)
    # small steps count from what was told last
    worse = tracker.update([], [saw(0.0, 3.0, severity=0.41)], ANCHOR, ANCHOR + 3)
    assert changes(worse) == [("updated", "freeze")]
    assert worse[0].severity == 0.41
    late = ANCHOR + 3 + UPDATE_EVERY
    again = tracker.update([], [saw(0.0, late - ANCHOR, severity=0.41)], ANCHOR, late)
    assert changes(again) == [("updated", "freeze")]


def test_what_detectors_take_back_is_withdrawn():
    tracker = Tracker("news", {})
    tracker.update([], [saw(0.0, 1.0)], ANCHOR, ANCHOR + 1)
    rounds = [tracker.update([], [], ANCHOR, ANCHOR + 2 + n) for n in range(PATIENCE)]
    assert [changes(told) for told in rounds[:-1]] == [[]] * (PATIENCE - 1)
    assert changes(rounds[-1]) == [("closed", "freeze")]
    assert rounds[-1][0].outcome == "withdrawn"


def test_what_was_withdrawn_and_is_seen_again_is_another_event():
    tracker = Tracker("news", {})
    (first,) = tracker.update([], [saw(0.0, 5.0)], ANCHOR, ANCHOR + 5)
    for n in range(PATIENCE):
        tracker.update([], [], ANCHOR, ANCHOR + 6 + n / 2)
    (again,) = tracker.update([], [saw(0.0, 9.0)], ANCHOR, ANCHOR + 9.5)
    assert (again.change, again.start) == ("opened", first.start)
    assert again.id != first.id


def test_the_same_interval_seen_by_the_next_panel_is_not_a_second_event():
    tracker = Tracker("news", {})
    tracker.update([saw(5.0, 8.0)], [], ANCHOR, ANCHOR + 9)
    assert tracker.update([saw(5.2, 8.1)], [], ANCHOR, ANCHOR + 10) == []
    later = tracker.update([saw(20.0, 23.0)], [], ANCHOR, ANCHOR + 24)
    assert changes(later) == [("opened", "freeze"), ("closed", "freeze")]


def test_what_a_wrong_anchor_dated_is_dated_anew_with_its_length():
    tracker = Tracker("news", {})
    (opened,) = tracker.update([], [saw(5.0, 6.0)], ANCHOR, ANCHOR + 6)
    tracker.update([saw(1.0, 2.0, Kind.BLACK)], [saw(5.0, 6.5)], ANCHOR, ANCHOR + 6.5)
    again = tracker.update([saw(1.0, 2.0, Kind.BLACK)], [saw(5.0, 7.0)], ANCHOR - 1.5, ANCHOR + 7)
    assert again == []
    (closed,) = tracker.update([saw(5.0, 9.0)], [], ANCHOR - 1.5, ANCHOR + 8)
    assert opened.id == closed.id
    assert closed.start.timestamp() == ANCHOR + 3.5
    assert (closed.end - closed.start).total_seconds() == 4.0


def test_what_an_earlier_anchor_dated_stays_where_it_is():
    tracker = Tracker("news", {})
    tracker.update([], [saw(5.0, 6.0)], ANCHOR, ANCHOR + 6)
    # an outage of 3 s: from then on all comes later, and that later date proves wrong
    assert tracker.update([], [saw(5.0, 7.0)], ANCHOR + 3, ANCHOR + 10) == []
    (closed,) = tracker.update([saw(5.0, 9.0)], [], ANCHOR + 1.5, ANCHOR + 11)
    assert closed.start.timestamp() == ANCHOR + 5.0
    assert closed.end.timestamp() == ANCHOR + 10.5


def test_a_busy_machine_that_took_its_own_pause_for_an_outage_dates_anew():
    """It dates the stream late, stands still, and comes up with the stream within the defect."""
    tracker = Tracker("news", {})
    tracker.update([], [saw(10.0, 11.0)], ANCHOR, ANCHOR + 11)
    (late,) = tracker.standing
    tracker.note(Kind.OUTAGE, ANCHOR + 11, ANCHOR + 15, 1.0, "nothing comes in")
    tracker.settle(Kind.OUTAGE, ANCHOR + 15)
    told = tracker.update([saw(10.0, 18.0)], [], ANCHOR - 1.5, ANCHOR + 16.5)
    assert [(one.id, one.change) for one in told] == [(late.id, "closed")]
    assert late.start.timestamp() - told[0].start.timestamp() == 1.5
    assert (told[0].end - told[0].start).total_seconds() == 8.0


def test_a_connection_that_begins_with_older_media_moves_nothing_that_the_one_before_dated():
    tracker = Tracker("news", {})
    (opened,) = tracker.update([], [saw(5.0, 6.0)], ANCHOR, ANCHOR + 6)
    tracker.interrupt()
    tracker.resume(ANCHOR + 7)
    (closed,) = tracker.update([saw(8.0, 12.0)], [], ANCHOR - 3, ANCHOR + 10)
    assert (closed.id, closed.start) == (opened.id, opened.start)


@pytest.mark.parametrize("pause", [3.0, 25.0, 100.0])
def test_a_defect_goes_on_over_a_pause_of_the_same_connection(pause):
    """The stream stands still within the defect, which is shorter than that, and then goes on."""
    tracker = Tracker("news", {})
    (opened,) = tracker.update([], [saw(5.0, 6.0)], ANCHOR, ANCHOR + 6)
    later = ANCHOR + pause
    for n in range(PATIENCE + 1):
        told = tracker.update([], [saw(5.0, 6.5 + n / 2)], later, later + 6 + n / 2)
        assert {event.change for event in told} <= {"updated"}
    (closed,) = tracker.update([saw(5.0, 10.0)], [], later, later + 11)
    assert (closed.id, closed.change, closed.outcome) == (opened.id, "closed", "ended")
    assert (closed.start, closed.end.timestamp()) == (opened.start, later + 10.0)


def test_kinds_tracks_and_detectors_are_kept_apart():
    tracker = Tracker("news", {})
    found = [saw(0.0, 1.0), saw(0.0, 1.0, Kind.BLACK, detector="black/1")]
    found.append(("freeze/1", 1, found[0][2]))
    told = tracker.update([], found, ANCHOR, ANCHOR + 1)
    assert len({event.id for event in told}) == 3


def test_what_is_not_confident_enough_is_not_told():
    tracker = Tracker("news", {}, {Kind.FREEZE: 0.95})
    assert tracker.update([], [saw(0.0, 1.0)], ANCHOR, ANCHOR + 1) == []


@pytest.fixture
def moved():
    """A freeze that was open when its worker died, and the tracker of the next one."""
    first = Tracker("news", {})
    (event,) = first.update([], [saw(5.0, 6.0)], ANCHOR, ANCHOR + 6)
    return event, Tracker("news", {}, resumed=[event])


def test_a_defect_that_still_lasts_after_a_move_goes_on(moved):
    event, second = moved
    second.resume(ANCHOR + 14)
    (still,) = second.update([], [saw(0.0, 1.0)], ANCHOR + 13, ANCHOR + 14)
    assert (still.id, still.change, still.start) == (event.id, "updated", event.start)
    (closed,) = second.update([saw(0.0, 3.0)], [], ANCHOR + 13, ANCHOR + 17)
    assert (closed.id, closed.change, closed.outcome) == (event.id, "closed", "ended")
    assert closed.start == event.start
    assert closed.end.timestamp() == ANCHOR + 16


def test_a_defect_that_is_gone_after_a_move_is_lost_where_it_was_last_seen(moved):
    event, second = moved
    second.resume(ANCHOR + 14)
    assert second.update([], [], ANCHOR + 13, ANCHOR + 14) == []
    (closed,) = second.update([], [], ANCHOR + 13, ANCHOR + 14.1 + RESUMED)
    assert (closed.id, closed.outcome, closed.end) == (event.id, "lost", event.end)


def test_a_like_defect_later_after_a_move_is_another_one(moved):
    event, second = moved
    second.resume(ANCHOR + 14)
    told = second.update([], [saw(4.0, 5.0)], ANCHOR + 13, ANCHOR + 18)
    assert changes(told) == [("opened", "freeze")]
    assert told[0].id != event.id


def test_a_playlist_that_still_has_the_beginning_shows_the_same_defect(moved):
    """The second watch begins before the defect does, and dates it almost two seconds later."""
    event, second = moved
    second.resume(ANCHOR + 14)
    anchor = event.start.timestamp() + 1.7 - 4.0
    (still,) = second.update([], [saw(4.0, 9.0)], anchor, ANCHOR + 14)
    assert (still.id, still.change, still.start) == (event.id, "updated", event.start)


def test_a_defect_goes_on_where_the_next_connection_begins():
    tracker = Tracker("news", {})
    (opened,) = tracker.update([], [saw(5.0, 6.0)], ANCHOR, ANCHOR + 6)
    tracker.interrupt()
    assert tracker.update([], [], ANCHOR, ANCHOR + 9) == []  # nothing is seen of it meanwhile
    tracker.resume(ANCHOR + 11)
    (closed,) = tracker.update([saw(0.0, 3.0)], [], ANCHOR + 10, ANCHOR + 14)
    assert (closed.id, closed.change, closed.outcome) == (opened.id, "closed", "ended")
    assert (closed.start, closed.end.timestamp()) == (opened.start, ANCHOR + 13)


def test_a_stream_that_stays_away_takes_what_was_open_with_it():
    tracker = Tracker("news", {})
    (opened,) = tracker.update([], [saw(5.0, 6.0)], ANCHOR, ANCHOR + 6)
    assert tracker.abandon() == []  # it is watched
    tracker.interrupt()
    (outage,) = tracker.note(Kind.OUTAGE, ANCHOR + 6, ANCHOR + 40, 1.0, "nothing comes in")
    (lost,) = tracker.abandon()
    assert (lost.id, lost.outcome, lost.end) == (opened.id, "lost", opened.end)
    assert tracker.standing == [outage]


@pytest.mark.parametrize(
    ("stamp", "later", "same"),
    [
        (0.0, 7.0, True),  # a busy machine that joins late dates it seven seconds later
        (-WRAP + 0.04, 7.0, True),  # the timestamps have wrapped
        (4.0, 2.0, False),  # another one, which the next watcher dates early
        (500.0, 2.0, True),  # timestamps that began anew say nothing
        (500.0, 7.0, False),
    ],
)
def test_timestamps_tell_whether_it_is_the_same_defect_after_a_move(stamp, later, same):
    first = Tracker("news", {})
    (event,) = first.update(
        [], [saw(5.0, 6.0)], ANCHOR, ANCHOR + 6, pts=lambda seconds: 95_000.0 + seconds
    )
    assert event.pts == 95_005.0
    second = Tracker("news", {}, resumed=[event])
    second.resume(ANCHOR + 14)
    told = second.update(
        [],
        [saw(4.0, 9.0)],
        event.start.timestamp() + later - 4.0,
        ANCHOR + 14,
        pts=lambda seconds: 95_005.0 + stamp + seconds - 4.0,
    )
    assert [one.id == event.id for one in told] == [same]
    assert changes(told) == [("updated" if same else "opened", "freeze")]


def test_a_defect_that_the_next_connection_dates_earlier_keeps_its_length():
    """The first one was late by a second and a half, as its timestamps tell."""
    tracker = Tracker("news", {})
    (opened,) = tracker.update(
        [], [saw(5.0, 6.0)], ANCHOR, ANCHOR + 6, pts=lambda seconds: 95_000.0 + seconds
    )
    tracker.interrupt()
    tracker.resume(ANCHOR + 7)
    (closed,) = tracker.update(
        [saw(0.0, 6.0)], [], ANCHOR + 5.5, ANCHOR + 12, pts=lambda seconds: 95_007.0 + seconds
    )
    assert closed.id == opened.id
    assert (opened.start - closed.start).total_seconds() == 1.5
    assert (closed.end - closed.start).total_seconds() == 8.0


def told_by(seconds):
    """The timestamps of a stream whose presentation began so far from where it is."""
    return lambda presented: 95_000.0 + seconds + presented


def test_what_was_over_before_a_move_is_not_told_again_where_a_playlist_still_has_it():
    first = Tracker("news", {})
    clicks = [saw(t, t, Kind.CLICK, detector="click/1") for t in (3.0, 6.6)]
    was = [*clicks, saw(5.0, 6.0), saw(6.2, 6.2, Kind.BLACK, detector="black/1")]
    told = first.update(was, [], ANCHOR, ANCHOR + 7, pts=told_by(0.0))
    closed = [event for event in told if event.change == "closed"]
    # the next one begins two seconds before the end, dates it seven seconds later and sees more
    second = Tracker("news", {}, resumed=closed)
    second.resume(ANCHOR + 14)
    seen = [saw(0.0, 1.0), saw(1.6, 1.6, Kind.CLICK, detector="click/1")]
    assert second.update(seen, [], ANCHOR + 12, ANCHOR + 15, pts=told_by(5.0)) == []
    fresh = [saw(2.1, 2.1, Kind.CLICK, detector="click/1"), saw(3.0, 4.0)]
    news = second.update(fresh, [], ANCHOR + 12, ANCHOR + 17, pts=told_by(5.0))
    assert [(e.change, e.kind) for e in news] == [
        ("opened", Kind.CLICK), ("closed", Kind.CLICK), ("opened", "freeze"), ("closed", "freeze"),
    ]  # fmt: skip
    # without timestamps the clock of the wall must do
    third = Tracker("news", {}, resumed=closed)
    assert third.update([saw(0.2, 1.2)], [], ANCHOR + 5, ANCHOR + 15) == []
    assert third.update([saw(4.0, 5.0)], [], ANCHOR + 5, ANCHOR + 15) != []


def test_what_is_shown_once_more_does_not_end_what_lasts():
    """Two stretches: one that was over and, after it, one that was open when the worker died."""
    first = Tracker("news", {})
    told = first.update([saw(2.0, 3.0)], [saw(5.0, 6.0)], ANCHOR, ANCHOR + 6, pts=told_by(0.0))
    over, lasts = told[1], told[2]
    second = Tracker("news", {}, resumed=[lasts, over])
    second.resume(ANCHOR + 14)
    assert second.update([saw(0.5, 1.5)], [], ANCHOR + 12, ANCHOR + 14, pts=told_by(1.5)) == []
    # one of before both, which the first did not tell, is neither of them
    odd = second.update([saw(0.1, 0.2)], [], ANCHOR + 12, ANCHOR + 14, pts=told_by(1.5))
    assert [event.id in (over.id, lasts.id) for event in odd] == [False, False]
    (closed,) = second.update([saw(3.5, 6.0)], [], ANCHOR + 12, ANCHOR + 19, pts=told_by(1.5))
    assert (closed.id, closed.outcome) == (lasts.id, "ended")


def test_a_defect_of_long_ago_does_not_go_on_where_a_like_one_is_seen():
    first = Tracker("news", {})
    (event,) = first.update([], [saw(5.0, 6.0)], ANCHOR, ANCHOR + 6)
    second = Tracker("news", {}, resumed=[event])
    morning = ANCHOR + 12 * 3600
    second.resume(morning)
    (opened,) = second.update([], [saw(0.0, 1.0)], morning, morning + 1)
    assert (opened.change, opened.id == event.id) == ("opened", False)
    lasting = [saw(0.0, RESUMED + 1.5)]
    told = second.update([], lasting, morning, morning + RESUMED + 1.5)
    assert [(e.id, e.outcome) for e in told if e.change == "closed"] == [(event.id, "lost")]


def test_all_that_was_open_is_lost_with_its_stream():
    first = Tracker("news", {})
    lasting = [saw(5.0, 6.0, kind) for kind in (Kind.FREEZE, Kind.BLACK, Kind.BLUR)]
    opened = first.update([], lasting, ANCHOR, ANCHOR + 6)
    second = Tracker("news", {}, resumed=opened)
    assert [event.id for event in second.abandon()] == [event.id for event in opened]
    assert second.standing == []


def test_outages_are_opened_prolonged_and_settled():
    tracker = Tracker("news", {})
    (opened,) = tracker.note(Kind.OUTAGE, ANCHOR, ANCHOR + 5, 0.5, "nothing comes in")
    assert tracker.note(Kind.OUTAGE, ANCHOR, ANCHOR + 6, 0.5, "nothing comes in") == []
    assert tracker.update([], [], ANCHOR, ANCHOR + 7) == []  # detectors know nothing of it
    (closed,) = tracker.settle(Kind.OUTAGE, ANCHOR + 9)
    assert (closed.id, closed.outcome) == (opened.id, "ended")
    assert closed.evidence == {"seconds": 9.0}
    assert tracker.settle(Kind.OUTAGE, ANCHOR + 10) == []
