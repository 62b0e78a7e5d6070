"""Arguments with much content are read in every call up to a limit, then as often as it allows."""

from __future__ import annotations

import random

import orjson
import pytest
from record_kit import recording

from Agent import instrument
from Agent.record.emit.pipeline import RecordOptions
from Agent.record.encode import large_contents
from Agent.utils import trace_agent_action


class Cell:
    def __init__(self, number):
        self.number = number
        self.near = []


class World:
    def __init__(self, cells):
        self.time = 0
        self.cells = [Cell(number) for number in range(cells)]
        for cell, other in zip(self.cells, self.cells[1:], strict=False):
            cell.near.append(other)


class Note:
    def __init__(self):
        self.text = "as before"


class Walker:
    agent_id, agent_role = "walker", "walker"

    @trace_agent_action
    def look(self, world, note, numbers):
        return len(world.cells)

    @trace_agent_action
    def dig(self, world):
        world.cells[0].number += 1
        return world.time

    @trace_agent_action
    def draw(self, world):
        return world

    @trace_agent_action
    def see(self, world, note):
        return world is note

    @trace_agent_action
    def add(self, place):
        place.found.append(World(150))


@pytest.fixture
def nothing_free(monkeypatch):
    monkeypatch.setattr(large_contents, "FREE_BYTES", 1)
    monkeypatch.setattr(large_contents, "FREE_CALLS", 0)


def calls(run, options=None):
    """The payloads of the actions that `run` did with a walker."""
    with recording(options) as recorded:
        run(Walker())
        return [event["extra"] for event in recorded.of("agent_action")]


def is_read(form):
    return form.get("reference") != "not read in this call"


def test_a_program_with_little_content_reads_it_in_every_call():
    world = World(300)
    seen = calls(lambda walker: [walker.look(world, Note(), [1]) for _ in range(50)])
    assert all(is_read(each["args"]["world"]) for each in seen)


@pytest.mark.further
def test_the_first_eight_calls_read_them_until_they_have_read_too_much(monkeypatch):
    numbers = [*range(100_000)]  # which count as 800 kB

    def read():
        return [
            is_read(each["args"]["note"])
            for each in calls(lambda walker: [walker.look(World(1), numbers, 0) for _ in range(12)])
        ]

    assert read()[:8] == [True] * 8
    monkeypatch.setattr(large_contents, "FREE_BYTES_OF_CALLS", 2_000_000)
    seen = read()
    assert seen[0] and not any(seen[4:])


def test_the_first_eight_calls_read_what_is_larger_than_what_is_free(monkeypatch):
    monkeypatch.setattr(large_contents, "FREE_BYTES", 1)
    world = World(300)
    seen = [
        is_read(each["args"]["world"])
        for each in calls(lambda walker: [walker.look(world, 0, 0) for _ in range(20)])
    ]
    assert seen[:8] == [True] * 8 and not any(seen[9:])


def functions_given(world, count, options=None):
    """The payloads of three calls of each of many functions that are given one world and return it."""

    def made():
        @trace_agent_action
        def pass_on(world):
            return world

        return pass_on

    with recording(options) as recorded:
        for each in [made() for _ in range(count)]:
            for _ in range(3):
                each(world)
        return [event["extra"] for event in recorded.of("agent_action")]


def test_many_functions_together_read_until_the_program_has_read_too_much(monkeypatch):
    world = World(300)
    assert all(is_read(each["args"]["world"]) for each in functions_given(world, 30))
    monkeypatch.setattr(large_contents, "FREE_BYTES_OF_PROGRAM", 100_000)
    seen = functions_given(world, 30)
    assert is_read(seen[0]["args"]["world"]) and is_read(seen[0]["result"])
    read = sum(is_read(each["args"]["world"]) + is_read(each["result"]) for each in seen)
    # 100 kB at first, and then what each function may read: 1 KiB of arguments and 8 KiB of results a call.
    assert read <= (100_000 + len(seen) * 9 * 1024) / seen[0]["args"]["world"]["size_bytes"] + 2
    assert not is_read(seen[-3]["args"]["world"])  # of a function that was never called before
    always = functions_given(world, 30, RecordOptions(reads_large=True))
    assert all(is_read(each["args"]["world"]) for each in always)


@pytest.mark.usefixtures("nothing_free")
def test_an_unread_argument_says_its_class_and_plain_attributes():
    world = World(300)

    def run(walker):
        for number in range(3):
            world.time = number
            walker.look(world, Note(), [*range(3_000)])

    first, second, third = calls(run)
    assert "digest" in first["args"]["world"]
    assert second["args"]["world"] == {
        "repr": f"<{World.__module__}.World object>",
        "class": f"{World.__module__}.World",
        "attributes": {"time": 1},
        "reference": "not read in this call",
    }
    assert third["args"]["world"]["attributes"] == {"time": 2}
    # Small objects and plain data beside it are read.
    assert third["args"]["note"]["attributes"] == {"text": "as before"} and is_read(third["args"]["note"])
    assert third["args"]["numbers"] == [*range(3_000)]


@pytest.mark.usefixtures("nothing_free")
@pytest.mark.parametrize("cells", [220, 700])
def test_the_share_of_calls_that_read_depends_on_the_size(cells):
    world = World(cells)
    seen = calls(lambda walker: [walker.look(world, None, None) for _ in range(300)])
    read = [each["args"]["world"] for each in seen if is_read(each["args"]["world"])]
    size = read[0]["size_bytes"] + len(orjson.dumps(read[0]))
    expected = 1 + 299 * large_contents.BYTES_A_CALL / size
    assert expected / 1.5 <= len(read) <= expected * 1.5 + 1


@pytest.mark.usefixtures("nothing_free")
def test_a_change_in_place_is_recorded_where_the_argument_is_read():
    world = World(300)
    seen = calls(lambda walker: [walker.dig(world) for _ in range(400)])
    assert [is_read(each["args"]["world"]) for each in seen] == ["args_after" in each for each in seen]
    assert 1 < sum(is_read(each["args"]["world"]) for each in seen) < 20


@pytest.mark.usefixtures("nothing_free")
def test_what_a_call_adds_to_a_small_argument_counts_as_its_content():
    place = Note()
    place.found = []
    seen = calls(lambda walker: [walker.add(place) for _ in range(40)])
    assert 0 < sum(is_read(each["args"]["place"]) for each in seen) < 30


@pytest.mark.usefixtures("nothing_free")
@pytest.mark.parametrize("cells", [300, 700])
def test_large_results_are_read_up_to_8_kib_a_call_on_average(cells):
    world = World(cells)
    seen = calls(lambda walker: [walker.draw(world) for _ in range(60)])
    read = [each["result"] for each in seen if is_read(each["result"])]
    size = read[0]["size_bytes"] + len(orjson.dumps(read[0]))
    expected = 1 + 59 * large_contents.BYTES_A_RESULT / size
    assert expected / 1.5 <= len(read) <= expected * 1.5 + 1
    assert len(read) > 2 * sum(is_read(each["args"]["world"]) for each in seen)


@pytest.mark.usefixtures("nothing_free")
def test_a_small_object_as_result_is_read_in_every_call():
    note = Note()
    seen = calls(lambda walker: [walker.draw(note) for _ in range(30)])
    assert all(is_read(each["result"]) for each in seen)


@pytest.mark.usefixtures("nothing_free")
def test_an_argument_that_becomes_large_beside_one_that_is_unread_is_not_read_in_every_call():
    world, other = World(300), World(300)

    def run(walker):
        walker.see(world, 1)
        for _ in range(30):
            walker.see(1, other)

    seen = calls(run)
    assert all(each["args"]["world"] == 1 for each in seen[1:])
    assert 1 <= sum(is_read(each["args"]["note"]) for each in seen[1:]) < 5


@pytest.mark.further
@pytest.mark.usefixtures("nothing_free")
def test_the_option_reads_them_in_every_call():
    world = World(300)
    seen = calls(lambda walker: [walker.dig(world) for _ in range(20)], RecordOptions(reads_large=True))
    assert all(is_read(each["args"]["world"]) and "args_after" in each for each in seen)


def test_an_argument_that_shrinks_is_read_in_every_call_again(monkeypatch):
    monkeypatch.setattr(large_contents, "FREE_BYTES", 1)
    monkeypatch.setattr(large_contents, "FREE_CALLS", 0)
    world = World(300)

    def run(walker):
        for number in range(200):
            if number == 3:
                world.cells = world.cells[:2]
                world.cells[1].near = []
            walker.look(world, None, None)

    seen = [is_read(each["args"]["world"]) for each in calls(run)]
    again = seen.index(True, 3)
    assert all(seen[again:])


def test_random_sizes_keep_the_account(monkeypatch):
    monkeypatch.setattr(large_contents, "FREE_BYTES", 50_000)
    monkeypatch.setattr(large_contents, "FREE_CALLS", 0)
    chance = random.Random(4)
    account = large_contents.LargeContents(reads_always=False)
    read, asked = 0, 0
    for _ in range(20_000):
        asked += 1
        if account.is_due():
            size = chance.randrange(4_097, 200_000)
            account.spend(size)
            read += size
    assert read <= 50_000 + asked * large_contents.BYTES_A_CALL + 200_000
    assert read >= asked * large_contents.BYTES_A_CALL - 200_000


class Holder:
    agent_role = "holder"

    def __init__(self, number):
        self.agent_id, self.turns, self.table = f"holder{number}", 0, {str(key): key for key in range(900)}

    @trace_agent_action
    def turn(self):
        self.turns += 1


@pytest.mark.further
@pytest.mark.parametrize(("free", "early"), [(4_000_000, 400), (1, 100)])
def test_early_full_states_of_large_fields_end_with_the_account(monkeypatch, free, early):
    monkeypatch.setattr(large_contents, "FREE_BYTES", free)
    monkeypatch.setattr(large_contents, "FREE_CALLS", 0)
    with recording() as recorded:
        holders = [Holder(number) for number in range(100)]
        for _ in range(10):
            for holder in holders:
                holder.turn()
        states = [event["extra"]["reason"] for event in recorded.of("state")]
    assert states.count("first") == len(holders)
    # After 1, 2, 4 and 8 actions; one field in four is read if nothing is free.
    assert states.count("periodic") == early


@pytest.mark.usefixtures("nothing_free")
def test_a_scalar_in_the_place_of_a_large_argument_is_read():
    world = World(300)
    seen = calls(lambda walker: [walker.look(world, Note(), 1), walker.dig(world)])
    assert is_read(seen[0]["args"]["world"])
    assert large_contents.unread(3) == 3 and large_contents.unread("a") == "a"

    class Holder:
        def __init__(self, content):
            self.agent_id, self.content = "h", None

        def act(self):
            return 1

    with recording() as recorded:
        instrument(Holder, methods=["act"])
        for content in (world, world, 7, None, "text"):
            Holder(content).act()
        inits = [
            event["extra"]["init"]["args"][0] for event in recorded.of("state") if "init" in event["extra"]
        ]
    assert is_read(inits[0]) and not is_read(inits[1]) and inits[2:] == [7, None, "text"]


def inits_of(count, options=None, *, more=()):
    """The constructor arguments in the first states of agents that get one world."""

    class Settler:
        def __init__(self, number, world, *, note, **more):
            self.agent_id, self.world, self.note = f"s{number}", world, note

        def act(self):
            return 1

    world = World(300)
    with recording(options) as recorded:
        instrument(Settler, methods=["act"])
        for number in range(count):
            Settler(number, world, note=Note(), **dict(more)).act()
        return [event["extra"]["init"] for event in recorded.of("state") if "init" in event["extra"]]


@pytest.mark.usefixtures("nothing_free")
@pytest.mark.further
def test_a_world_that_many_constructors_are_given_is_not_read_for_each():
    seen = inits_of(100, more={"other": 3}.items())
    read = [is_read(each["args"][1]) for each in seen]
    assert len(seen) == 100 and read[:2] == [True, False] and sum(read) < 10
    assert seen[50]["args"] == [50, {**seen[50]["args"][1], "attributes": {"time": 0}}]
    assert seen[50]["kwargs"] == {"note": seen[0]["kwargs"]["note"], "other": 3}


@pytest.mark.further
@pytest.mark.usefixtures("nothing_free")
def test_the_option_reads_them_in_every_constructor():
    assert all(is_read(each["args"][1]) for each in inits_of(20, RecordOptions(reads_large=True)))


@pytest.mark.further
def test_a_few_constructors_read_whatever_they_are_given():
    assert all(is_read(each["args"][1]) for each in inits_of(20))
