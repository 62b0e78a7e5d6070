"""Ids and times that installed libraries make are others in every run; all else about them is compared."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.event.values.content_digest import content_of
from Agent.replay.compare.normaliser import LibraryValues, Normaliser, Overlooked

IDS = st.uuids(version=4)
FORMS = (str, lambda made: made.hex, lambda made: f"run-{made}", lambda made: made.hex[:12])


def _agree(made: LibraryValues, recorded: str, replayed: str) -> bool:
    return Overlooked(Normaliser(), made).text(recorded, replayed)


@given(IDS, IDS, st.sampled_from(FORMS))
def test_an_id_agrees_if_a_library_made_the_replayed_one(recorded, replayed, form):
    made = LibraryValues()
    assert not _agree(made, form(recorded), form(replayed))
    made.add(replayed.bytes)
    assert _agree(made, form(recorded), form(replayed))
    assert recorded == replayed or not _agree(made, form(replayed), form(recorded))
    assert not _agree(made, f"{form(recorded)}!", form(replayed))


@given(st.lists(IDS, min_size=2, max_size=5, unique=True), st.lists(IDS, min_size=2, max_size=5, unique=True))
def test_each_id_stands_for_one_throughout(recorded, replayed):
    made = LibraryValues()
    for each in replayed:
        made.add(each.bytes)
    overlooked = Overlooked(Normaliser(), made)
    for one, other in zip(recorded, replayed, strict=False):
        assert overlooked.text(str(one), str(other))
    assert not overlooked.text(str(recorded[1]), str(replayed[0]))
    assert not overlooked.text(str(recorded[0]), str(replayed[1]))


@pytest.mark.parametrize("now", [1.8e9, 1_800_000_000_000_000_000, datetime(2026, 11, 24, tzinfo=UTC)])
def test_a_duration_of_a_library_is_another_one_by_a_clock_that_is_ahead(now):
    usual, ahead = LibraryValues(), LibraryValues()
    assert usual.kept(now, 0) == usual.kept(now, 0) == now
    assert ahead.kept(now, 60) < ahead.kept(now, 60)


def test_a_moment_agrees_if_a_library_s_clock_gave_the_replayed_one():
    made, now = LibraryValues(), time.time()
    then = now - 90_000
    made.add(now)
    for form in (datetime.isoformat, str, lambda moment: f"made on {moment:%Y-%m-%d %H:%M:%S}"):
        one, other = (form(datetime.fromtimestamp(each, UTC)) for each in (then, now))
        assert _agree(made, one, other)
        assert not _agree(made, other, one)
    assert made.number(then, now)
    assert made.number(int(then * 1_000), int(now * 1_000))
    assert not made.number(then, now + 1)
    assert not made.number(3.0, now)


class _Box:
    def __init__(self, *held: object) -> None:
        self.held = list(held)
        self.function = lambda: None


def test_content_keeps_the_ids_and_moments_beside_the_digest_of_the_rest():
    first, second = uuid4(), uuid4()
    one, other = content_of(_Box(first, 7)), content_of(_Box(second, 7))
    assert one.made == (str(first),) and other.made == (str(second),)
    assert one.without_made == other.without_made and one.text != other.text
    assert content_of(_Box(first, 8)).without_made != one.without_made
    assert content_of(_Box(first, first)).without_made != one.without_made
    assert content_of(_Box(7)).made == ()
    moment = datetime(2026, 5, 4, 3, 2, 1)
    assert content_of(_Box(moment, 1.7e9, "2026-05-04 03:02:01")).made[1:] == (1.7e9, "2026-05-04 03:02:01")


def test_members_of_sets_have_no_order_and_count_whole():
    assert content_of(_Box({UUID(int=1 << 90), UUID(int=1 << 91)})).made == ()


LIBRARY = """
import datetime, time, uuid

class Ticket:
    def __init__(self, what):
        self.id, self.what = uuid.uuid4().hex, what
        self.created, self.stamp = datetime.datetime.now(), time.time()

class Store:
    def __init__(self):
        self.index = str(uuid.uuid4())
        self.rule = lambda ticket: ticket.what
        self.tickets = {}

    def new(self, what):
        ticket = Ticket(what)
        self.tickets[ticket.id] = self.rule(ticket)
        return ticket
"""

PROGRAM = """
import ticket_library
from uuid import uuid4

class Desk:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "clerk"
        self.store, self.open, self.first, self.last = ticket_library.Store(), [], None, None
        self.key = "00112233445566778899aabbccddeeff"

    @trace_agent_action
    def take(self, what):
        ticket = self.last = self.store.new(what)
        self.open.append(ticket.id)
        if len(self.open) > 2:
            self.first = self.open[0]
        return ticket.id, ticket.created.isoformat()

def build(spec):
    return Desk()

def main():
    desk = Desk()
    for what in ("lamp", "door", "roof", "lock"):
        desk.take(what)
    return desk
"""


@pytest.fixture
def ticket_library(tmp_path, monkeypatch):
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "ticket_library.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(library))
    yield library / "ticket_library.py"
    sys.modules.pop("ticket_library", None)


@pytest.mark.process
def test_ids_and_times_of_a_library_are_a_note_in_state_results_and_objects(toy, ticket_library):
    report = toy.record(PROGRAM).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert "values agree but for ids and times that installed libraries made" in str(report)
    assert "note: installed libraries read" in str(report)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        ("self.open[0]", "self.open[1]", 3),
        ("self.store.new(what)", "self.store.new(what if what != 'door' else 'gate')", 2),
        ("return ticket.id,", "return self.open[0],", 2),
        ("return ticket.id,", "return self.key,", 1),
    ],
)
def test_what_differs_beyond_the_library_s_values_is_a_difference(toy, ticket_library, old, new, step):
    toy.record(PROGRAM)
    toy.write(PROGRAM.replace(old, new))
    report = toy.replay()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", step), str(report)


@pytest.mark.further
@pytest.mark.process
def test_an_id_that_the_program_makes_itself_proves_nothing(toy, ticket_library):
    report = toy.record(PROGRAM.replace("return ticket.id,", "return uuid4().hex,")).replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "take" in str(report)


TIMED = """
import time

class Timer:
    def __init__(self):
        self.rule = lambda number: number * 2
        self.took_s, self.seen = [], []

    def run(self, number):
        began = time.time()
        self.seen.append(self.rule(number))
        self.took_s.append(time.time() - began)
        return self.seen[-1]
"""

TIMES = """
import timing_library

class Runner:
    def __init__(self):
        self.agent_id, self.timer, self.total = "a", timing_library.Timer(), 0

    @trace_agent_action
    def go(self, number):
        self.total += self.timer.run(number)
        return self.total

def build(spec):
    return Runner()

runner = Runner()

def main():
    for number in range(9):
        runner.go(number)
"""


@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ("return self.total", "return self.total", "IDENTICAL"),
        ("return self.total", "return self.total + 0", "UNVERIFIED"),
        ("return self.total", "return self.total + (number == 4)", "DIVERGED"),
        ("self.timer.run(number)", "self.timer.run(number + (number == 4))", "DIVERGED"),
    ],
)
def test_an_object_with_durations_that_a_library_measured_is_left_out(
    toy, tmp_path, monkeypatch, old, new, verdict
):
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "timing_library.py").write_text(TIMED)
    monkeypatch.syspath_prepend(str(library))
    toy.record(TIMES)
    toy.write(TIMES.replace(old, new))
    report = toy.replay()
    sys.modules.pop("timing_library", None)
    assert report.verdict == verdict, str(report)
    assert "timer: not compared" in str(report)
    assert verdict != "DIVERGED" or report.divergence.step == 5
