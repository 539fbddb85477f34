"""Time left: it follows from the steps themselves, is never zero while something runs, and logs do not fall silent."""

from __future__ import annotations

import re

import pytest

from secateur.storage import progress as module
from secateur.storage import watching
from secateur.storage.progress import Silent, Steps, TimeLeft, in_words, told_as_they_begin


class Clock:
    """Time that passes when the test says so."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_what_is_left_is_counted_by_kind_without_the_first_that_compiles(clock):
    left = TimeLeft({"epoch": 4, "measuring": 2})
    assert str(left) == "time left unknown" and left.seconds() == (0, False) and left.share() is None
    for seconds in (10, 1):
        clock.now += seconds
        left.advance("epoch", seconds)
    assert left.seconds() == (2 * 1, False) and str(left) == "at least 2 s left"
    clock.now += 5
    left.advance("measuring", 5)
    assert left.seconds() == (2 * 1 + 5, True) and left.share() == pytest.approx(16 / 23)
    for kind, seconds in (("epoch", 1), ("epoch", 1), ("measuring", 3)):
        clock.now += seconds
        left.advance(kind, seconds)
    assert left.seconds() == (0, True) and left.share() == 1


def test_what_was_not_seen_yet_lasts_as_long_as_something_like_it_or_as_guessed(clock):
    left = TimeLeft({"a": 1, "b": 3, "report": 1}, like={"b": "a"}, guesses={"report": 15})
    assert left.seconds() == (15, False)
    clock.now += 2
    left.advance("a", 2)
    assert left.seconds() == (3 * 2 + 15, True)


def test_several_steps_at_once_take_as_much_less_time(clock):
    left = TimeLeft({"round": 12})
    for _ in range(3):  # two threads, each of which takes four seconds for a round
        clock.now += 4
        left.advance("round", 4)
        left.advance("round", 4)
    assert left.seconds() == (pytest.approx(6 * 4 / 2), True)


def test_the_time_left_falls_while_a_step_runs_and_never_to_zero(clock):
    left = TimeLeft({"round": 2})
    clock.now += 10
    left.advance("round", 10)
    seen = []
    for _ in range(5):
        clock.now += 10
        seen.append(left.seconds()[0])
    assert seen == sorted(seen, reverse=True) and seen[0] == 5 and seen[-1] > 1


def test_what_earlier_sessions_did_counts_and_has_no_time(clock):
    left = TimeLeft({"epoch": 10}, {"epoch": 4})
    left.advance("epoch", None)  # from a checkpoint
    clock.now += 2
    left.advance("epoch", 2)
    assert left.seconds() == (4 * 2, True) and left.share() == pytest.approx((5 * 2 + 2) / 20)


def test_epochs_of_a_checkpoint_are_told_without_a_time(clock):
    class Told(Silent):
        seen: list = []

        def advance(self, kind, seconds):
            self.seen.append((kind, seconds))

    callback = Steps(Told()).epochs("training")
    for epoch in (1, 2, 1, 4):  # two epochs of the first layer; of the second, one, and the fourth after a checkpoint
        clock.now += 3
        callback(epoch, None, None)
    assert Told.seen == [("training", s) for s in (3, 3, 3, None, None, 3)]
    Told.seen.clear()
    with told_as_they_begin(Told(), lambda what: what[0]) as say:
        for what in ("fold 1", "again"):
            say(what)
            clock.now += 1
    assert Told.seen == [("f", 1), ("a", 1)]


def test_logs_say_something_while_nothing_happens(capsys, monkeypatch):
    monkeypatch.setattr(watching, "_MOST_SILENT_S", 0.02)
    monkeypatch.setattr(watching._Lines, "interval", 0.01)
    import time

    with watching.watch() as progress:
        progress.start({"round": 2})
        progress.describe("round 1\x1b[2J")
        progress.advance("round", 1.0)
        before = capsys.readouterr().err
        while not (later := capsys.readouterr().err):
            time.sleep(0.01)
    assert before.startswith("  ?% round 1\\x1b[2J (1 s, time left unknown)\n") and "\x1b" not in before + later
    assert re.match(r" *\d+% round 1\\x1b\[2J \(1 s, about 1 s left\)\n", later)
    for nobody in (None, False):
        with watching.watch(nobody) as progress:
            assert isinstance(progress, Silent)
    given = Silent()
    with watching.watch(given) as progress:
        assert progress is given
    assert [in_words(s) for s in (0.2, 119, 121, 7100, 7300)] == ["1 s", "119 s", "2 min", "118 min", "2.0 h"]
