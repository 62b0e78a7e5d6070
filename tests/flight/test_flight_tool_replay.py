"""Tools, answered from the record: by name, by the decorated tools themselves, and what is never done for real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from pathlib import Path

import pytest
from support.markdown import Block, run_block
from support.processes import run_python
from support.session_files import of_kind, only_session, session_events

from Agent import setup_logging, shutdown_logging
from Agent.errors import RecordingMiss, ReplayError, RunNotFound, UsageError
from Agent.flight import ToolReplayer, record_tool, recorder, replaying_tools

CALLED: list[str] = []


class NoSuchCity(Exception):
    """Of the user's own, with a constructor of its own."""

    def __init__(self, city: str, *, code: int = 404) -> None:
        super().__init__(f"no city {city}")
        self.city = city
        self.code = code


@record_tool
def weather(city: str, days: int = 1) -> dict:
    CALLED.append(city)
    if city == "Atlantis":
        raise NoSuchCity(city, code=410)
    return {"city": city, "turn": len(CALLED), "range": (1, days)}


@record_tool(kind="write", idempotency_key="request_id")
def book(city: str, request_id: str | None = None) -> str:
    CALLED.append(f"book {city}")
    return f"booked {city} #{len(CALLED)}"


@record_tool
def stream(count: int):
    CALLED.append("stream")
    for number in range(count):
        yield {"n": number}
    if count == 5:
        raise NoSuchCity("five")
    return "done"


@record_tool
async def lookup(city: str) -> str:
    CALLED.append(f"lookup {city}")
    await asyncio.sleep(0)
    return city.upper()


@record_tool
async def rows(count: int):
    CALLED.append("rows")
    for number in range(count):
        yield number


@pytest.fixture(autouse=True)
def nothing_called():
    CALLED.clear()


def program() -> list:
    given: list = [weather("Oslo"), weather("Rome", days=2), weather("Oslo")]
    try:
        weather("Atlantis")
    except NoSuchCity as error:
        given.append((str(error), error.city, error.code))
    given += [book("Oslo", request_id="r1"), list(stream(3))]

    async def later() -> list:
        found = await asyncio.gather(*(lookup(city) for city in ("a", "b", "c")))
        return [*found, [row async for row in rows(2)]]

    given.append(asyncio.run(later()))
    return given


def events_of(root: Path, run_id: str) -> list[dict]:
    text = (root / "runs" / run_id / "events.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def record() -> tuple[str, list]:
    with recorder.run("traveller") as run, recorder.step("plan"):
        given = program()
    CALLED.clear()
    return run.run_id, given


def test_decorated_tools_answer_from_the_record_and_run_no_code(trace_root):
    run_id, given = record()
    with replaying_tools(run_id) as replayer, recorder.run("traveller"), recorder.step("plan"):
        assert program() == given
    assert CALLED == []
    assert [match.rung.value for match in replayer.matches] == ["exact"] * len(replayer.matches)
    assert replayer.inexact == replayer.unused == []


def test_what_is_answered_is_recorded_as_such(trace_root):
    run_id, _ = record()
    with replaying_tools(run_id), recorder.run("again") as again, recorder.step("plan"):
        program()
    lines = events_of(trace_root, run_id)
    told = events_of(trace_root, again.run_id)
    ids = [line["id"] for line in lines if line["type"] == "tool.call"]
    assert sorted(line["answered_by"] for line in told if line["type"] == "tool.call") == sorted(ids)
    # an exception that the record gives is not one more error of the session
    assert len(of_kind(session_events(only_session(trace_root)), "error")) == 1


def test_a_replayer_answers_by_name_and_arguments_each_call_once_in_recorded_order(trace_root):
    run_id, given = record()
    replayer = ToolReplayer(run_id)
    assert replayer.replay("weather", {"city": "Oslo"}) == given[0]
    assert replayer.replay("weather", {"city": "Oslo"}) == given[2]
    assert replayer.replay("weather", {"city": "Rome", "days": 2})["range"] == (1, 2)
    with pytest.raises(NoSuchCity, match="no city Atlantis") as raised:
        replayer.replay("weather", {"city": "Atlantis"})
    assert (raised.value.city, raised.value.code) == ("Atlantis", 410)
    assert list(replayer.replay("stream", {"count": 3})) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert replayer.replay("lookup", {"city": "b"}) == "B"
    assert [call.name for call in replayer.unused] == ["book", "lookup", "lookup", "rows"]
    with pytest.raises(RecordingMiss, match="all 4 recorded calls of it were used"):
        replayer.replay("weather", {"city": "Oslo"})


DOCUMENT = """
@record_tool
def search_docs(query: str) -> dict:
    # Real implementation
    return {"docs": [...]}
"""
REPLAYED = """
replayer = ToolReplayer(run_id)
result = replayer.replay("search_docs", {"query": "..."})
"""


def test_the_blocks_of_the_document_run_with_an_import_line(trace_root, tmp_path):
    names: dict = {}
    run_block(Block("python", "from Agent.flight import record_tool\n" + DOCUMENT, 1), names, tmp_path)
    with recorder.run() as run:
        answer = names["search_docs"]("...")
    names["run_id"] = run.run_id
    run_block(Block("python", "from Agent.flight import ToolReplayer\n" + REPLAYED, 1), names, tmp_path)
    assert names["result"] == answer == {"docs": [...]}


def test_a_miss_stops_with_one_error_that_names_the_nearest_and_the_remedy(trace_root):
    run_id, _ = record()
    replayer = ToolReplayer(run_id)
    with pytest.raises(RecordingMiss) as raised:
        replayer.replay("weather", {"city": "Oslo", "days": 9})
    text = str(raised.value)
    assert 'weather({"city":"Oslo","days":9}) has no recorded response' in text
    assert "4 of 4 recorded calls are left, the nearest" in text
    assert "/days (1.00): nothing recorded, 9 now" in text
    assert "live={'weather'}" in text
    with pytest.raises(RecordingMiss, match="days"):
        replayer.replay("weather", {"city": "Oslo"})  # it has stopped
    with pytest.raises(RecordingMiss, match="it has no call of geocode, but"):
        ToolReplayer(run_id).replay("geocode", {})


def test_a_miss_shows_the_part_of_a_long_text_in_which_it_differs(trace_root):
    prompt = "You answer questions. " * 20

    @record_tool
    def ask(messages):
        return "fine"

    with recorder.run() as run:
        ask([{"role": "system", "content": f"{prompt}Be brief. {prompt}"}])
    with pytest.raises(RecordingMiss) as raised:
        ToolReplayer(run.run_id, tolerance=0.0).replay(
            "ask", {"messages": [{"role": "system", "content": f"{prompt}Be kind. {prompt}"}]}
        )
    recorded, now = str(raised.value).split("/messages/0/content")[1].split(" recorded, ")
    assert "Be brief. You answer" in recorded
    assert "Be kind. You answer" in now and len(now) < 400


def test_a_miss_that_the_program_swallows_ends_the_block_all_the_same(trace_root):
    run_id, _ = record()

    def ask() -> None:
        with contextlib.suppress(Exception):  # as agents do with what a tool raises
            weather("Tokyo")

    with pytest.raises(RecordingMiss, match="Tokyo"), replaying_tools(run_id):
        ask()
    assert CALLED == []


def test_an_inexact_answer_is_an_event_with_its_distance(trace_root):
    with recorder.run() as run:
        weather("San Francisco")
    with replaying_tools(run.run_id) as replayer:
        assert weather("San Fransisco")["city"] == "San Francisco"
    (match,) = replayer.inexact
    assert (match.rung, list(match.distance)) == ("near", ["/city"])
    (event,) = of_kind(session_events(only_session(trace_root)), "replay.match")
    assert event["level"] == "WARNING"
    assert event["extra"]["distance"] == dict(match.distance)
    assert (event["extra"]["name"], event["extra"]["rung"]) == ("weather", "near")
    assert event["extra"]["recorded_id"] == match.call.event.id
    with pytest.raises(RecordingMiss), replaying_tools(run.run_id, tolerance=0.0):
        weather("San Fransisco")


def test_an_inexact_answer_is_said_where_nothing_records(trace_root, capfd):
    with recorder.run() as run:
        weather("San Francisco")
    shutdown_logging()
    capfd.readouterr()
    sessions = sorted(trace_root.glob("session_*"))
    assert ToolReplayer(run.run_id).replay("weather", {"city": "San Fransisco"})["city"] == "San Francisco"
    assert "matched with a recorded call that differs in /city" in capfd.readouterr().err
    assert sorted(trace_root.glob("session_*")) == sessions


def test_the_same_call_at_another_place_is_found_and_told(trace_root):
    with recorder.run() as run, recorder.step("one"):
        weather("Oslo")
    with replaying_tools(run.run_id) as replayer, recorder.run(), recorder.step("two"):
        weather("Oslo")
    assert [match.rung for match in replayer.matches] == ["moved"]
    assert replayer.inexact[0].distance == {"path": 1.0}


def test_calls_with_the_same_arguments_are_told_apart_by_their_place(trace_root):
    def first():
        return weather("Oslo")["turn"]

    def second():
        return weather("Oslo")["turn"]

    with recorder.run() as run:
        given = [first(), second()]
    with replaying_tools(run.run_id):
        # the other way round: each gets its own answer
        assert [second(), first()] == given[::-1]


def test_nothing_is_called_for_real_unless_it_is_named(trace_root):
    run_id, given = record()
    with replaying_tools(run_id, live={"weather"}):
        assert weather("Oslo")["turn"] == 1
        assert list(stream(3)) == given[5]
    assert CALLED == ["Oslo"]
    with replaying_tools(run_id, live=True):
        assert weather("Tokyo")["city"] == "Tokyo"


def test_behind_the_record_calls_are_made_for_real_where_that_is_allowed(trace_root):
    with recorder.run() as run:
        weather("Oslo")
    CALLED.clear()
    with replaying_tools(run.run_id, on_miss="live") as replayer:
        assert weather("Oslo")["turn"] == 1
        assert weather("Bergen")["city"] == "Bergen"
    assert CALLED == ["Bergen"]
    assert replayer.missed is None


def test_a_write_is_called_for_real_only_with_an_idempotency_key(trace_root):
    run_id, _ = record()
    for policy in ({"live": {"book"}}, {"live": True}, {"on_miss": "live"}):
        with (
            pytest.raises(ReplayError, match="without an idempotency key"),
            replaying_tools(run_id, **policy),
        ):
            book("Bergen")
    assert CALLED == []
    with replaying_tools(run_id, live={"book"}):
        assert book("Bergen", request_id="r9").startswith("booked Bergen")
    assert CALLED == ["book Bergen"]


def test_a_thread_of_the_program_is_answered_too(trace_root):
    with recorder.run() as run:
        weather("Oslo")
    CALLED.clear()
    given: list = []
    with replaying_tools(run.run_id):
        thread = threading.Thread(target=lambda: given.append(weather("Oslo")["city"]))
        thread.start()
        thread.join()
    assert (given, CALLED) == (["Oslo"], [])


def test_an_opaque_answer_stops_the_replay_and_names_the_remedy(trace_root):
    class Handle:
        pass

    @record_tool
    def connect() -> Handle:
        return Handle()

    with recorder.run() as run:
        connect()
    with pytest.raises(RecordingMiss, match=r"without an exact form .*Handle.*codec"):
        ToolReplayer(run.run_id).replay("connect")


def test_a_codec_makes_the_answer_again(trace_root):
    class Money:
        def __init__(self, cents: int) -> None:
            self.cents = cents

    class Cents:
        def encode(self, answer):
            return answer.cents

        def decode(self, recorded):
            return Money(recorded)

    @record_tool(codec=Cents(), name="price_of")
    def price(what: str) -> Money:
        return Money(3)

    with recorder.run() as run:
        price("tea")
    assert ToolReplayer(run.run_id).replay("price_of", {"what": "tea"}).cents == 3
    with replaying_tools(run.run_id):
        assert price("tea").cents == 3
    from Agent.flight.tool_calls import TOOLS

    del TOOLS["price_of"]
    with pytest.raises(RecordingMiss, match="codec of price_of, which is not imported"):
        ToolReplayer(run.run_id).replay("price_of", {"what": "tea"})
    given = ToolReplayer(run.run_id, codecs={"price_of": Cents()})
    assert given.replay("price_of", {"what": "tea"}).cents == 3


def test_a_generator_that_fails_or_was_left_ends_as_it_did(trace_root):
    with recorder.run() as run:
        with pytest.raises(NoSuchCity):
            list(stream(5))
        left = stream(4)
        next(left)
        left.close()
    with replaying_tools(run.run_id):
        rows_again = stream(5)
        assert [next(rows_again) for _ in range(5)] == [{"n": number} for number in range(5)]
        with pytest.raises(NoSuchCity, match="five"):
            next(rows_again)
        again = stream(4)
        assert next(again) == {"n": 0}
        with pytest.raises(RecordingMiss, match="not read further"):
            next(again)


def test_a_value_sent_into_a_recorded_generator_is_refused(trace_root):
    with recorder.run() as run:
        list(stream(3))
    with replaying_tools(run.run_id):
        body = stream(3)
        next(body)
        with pytest.raises(RecordingMiss, match="was sent into the recorded generator"):
            body.send("x")


@pytest.mark.further
def test_large_arguments_and_answers_are_found_and_given_again(trace_root):
    @record_tool
    def summarise(text: str) -> dict:
        return {"words": text.split(), "pair": (1, 2)}

    text = "word " * 200_000
    with recorder.run() as run:
        given = summarise(text)
    assert ToolReplayer(run.run_id).replay("summarise", {"text": text}) == given


def test_secrets_in_arguments_match_with_the_same_key_and_with_another(trace_root, monkeypatch, tmp_path):
    @record_tool
    def login(password: str) -> str:
        return "welcome"

    with recorder.run() as run:
        login("hunter2hunter2")
    with replaying_tools(run.run_id) as replayer:
        login("hunter2hunter2")
    assert replayer.inexact == []
    shutdown_logging()
    other = ToolReplayer(run.run_id)  # nothing records here, so nobody has the key
    assert other.replay("login", {"password": "hunter2hunter2"}) == "welcome"
    assert [(match.rung, dict(match.distance)) for match in other.inexact] == [("hidden", {"/password": 0.0})]


def test_arguments_of_which_the_shape_alone_is_kept_are_matched_by_it(trace_root):
    setup_logging(captures={"field:args.city": "metadata"})
    with recorder.run() as run:
        first, second = weather("Oslo"), weather("Rome")
    calls = [event for event in events_of(trace_root, run.run_id) if event["type"] == "tool.call"]
    assert "Oslo" not in json.dumps([call["args"] for call in calls])
    with replaying_tools(run.run_id) as replayer:
        assert [weather("Rome"), weather("Oslo")] == [second, first]
    assert replayer.inexact == []


def test_runs_begun_in_a_run_are_part_of_it(trace_root):
    with recorder.run("outer") as outer:
        weather("Oslo")
        with recorder.run("inner"):
            weather("Rome")
    with replaying_tools(outer.run_id) as replayer, recorder.run("outer"):
        weather("Oslo")
        with recorder.run("inner"):
            assert weather("Rome")["city"] == "Rome"
    assert replayer.inexact == replayer.unused == []


def test_what_was_recorded_outside_of_runs_is_the_root_run(trace_root):
    weather("Oslo")
    shutdown_logging()
    assert ToolReplayer("last").replay("weather", {"city": "Oslo"})["city"] == "Oslo"


def test_replays_answer_where_recording_is_off(trace_root):
    run_id, given = record()
    shutdown_logging()
    setup_logging(levels={"events": "OFF"})
    with replaying_tools(run_id):
        assert [weather("Oslo"), weather("Rome", days=2)] == given[:2]
        assert list(stream(3)) == given[5]
    assert CALLED == []


@pytest.mark.further
@pytest.mark.process
def test_another_process_replays_what_this_one_recorded(trace_root, tmp_path):
    (tmp_path / "tools.py").write_text(
        "import sys\n"
        "from Agent.flight import record_tool, recorder, replaying_tools\n"
        "from pathlib import Path\n"
        "@record_tool\n"
        "def roll(sides):\n"
        "    return {int.from_bytes(__import__('os').urandom(4), 'big') % sides, Path('x')}\n"
        "def main():\n"
        "    return [sorted(map(str, roll(10**9))) for _ in range(3)]\n"
        "if sys.argv[1:]:\n"
        "    with replaying_tools(sys.argv[1]):\n"
        "        print(main())\n"
        "else:\n"
        "    with recorder.run() as run:\n"
        "        first = main()\n"
        "    print(run.run_id); print(first)\n"
    )
    recorded = run_python("tools.py", cwd=tmp_path).stdout.splitlines()
    replayed = run_python("tools.py", recorded[0], cwd=tmp_path)
    assert replayed.stdout.splitlines() == recorded[1:], replayed.stderr


@pytest.mark.integration
def test_classes_of_a_program_are_found_where_it_is_imported_by_its_name(trace_root, tmp_path):
    (tmp_path / "shop.py").write_text(
        "from dataclasses import dataclass\n"
        "from Agent.flight import record_tool, recorder\n"
        "@dataclass\n"
        "class Price:\n"
        "    cents: int\n"
        "class SoldOut(Exception):\n"
        "    pass\n"
        "@record_tool\n"
        "def price(what):\n"
        "    if what == 'gold':\n"
        "        raise SoldOut(what)\n"
        "    return Price(len(what))\n"
        "if __name__ == '__main__':\n"
        "    price('tea')\n"
        "    try:\n"
        "        price('gold')\n"
        "    except SoldOut:\n"
        "        pass\n"
    )
    (tmp_path / "later.py").write_text(
        "import shop\n"
        "from Agent.flight import ToolReplayer\n"
        "replayer = ToolReplayer('last')\n"
        "assert replayer.replay('price', {'what': 'tea'}) == shop.Price(3)\n"
        "try:\n"
        "    replayer.replay('price', {'what': 'gold'})\n"
        "except shop.SoldOut as error:\n"
        "    print('sold out', error)\n"
    )
    assert run_python("shop.py", cwd=tmp_path).returncode == 0
    done = run_python("later.py", cwd=tmp_path)
    assert done.stdout == "sold out gold\n", done.stderr


def test_runs_are_looked_for_where_is_recorded(trace_root, tmp_path):
    setup_logging(trace_root=tmp_path / "elsewhere")
    run_id, given = record()
    assert ToolReplayer(run_id).replay("weather", {"city": "Oslo"}) == given[0]
    assert not trace_root.exists()


def test_a_run_that_is_not_there_and_a_wrong_tolerance_are_clear_errors(trace_root):
    with recorder.run():
        weather("Oslo")
    with pytest.raises(RunNotFound):
        ToolReplayer("nothing-of-that-name")
    with pytest.raises(UsageError, match="from 0 to 1"):
        ToolReplayer(tolerance=7)
