"""Model calls: streams piece by piece, tokens, time to the first piece, cost by the user's prices, replays."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import pytest
from support.session_files import of_kind, only_session, session_events

from Agent.errors import RecordingMiss, UsageError
from Agent.flight import (
    Price,
    find_run,
    read_run,
    record_model_stream,
    record_tool,
    recorded_model,
    recorder,
    replaying_tools,
    set_prices,
)
from Agent.flight.schema import validate_event


@pytest.fixture(autouse=True)
def no_prices():
    yield
    set_prices({})


def calls_of(run_id: str) -> list:
    return [event for event in read_run(find_run(run_id)).events() if event.kind == "model.call"]


def artifact(run_id: str, ref: str):
    return b"".join(read_run(find_run(run_id)).read(ref))


def pieces(count: int = 3, fail: bool = False):
    for number in range(count):
        yield f"word{number} "
    if fail:
        raise ConnectionError("the line went dead")
    yield {"usage": {"input_tokens": 7, "output_tokens": count}}


async def async_pieces(count: int = 3):
    for piece in pieces(count):
        await asyncio.sleep(0)
        yield piece


def test_a_stream_goes_on_to_its_reader_and_into_the_record(trace_root):
    set_prices({"small*": (1.0, 10.0)})
    with recorder.run() as run, recorder.step("answer"):
        stream = record_model_stream(
            pieces, model_name="small-1", prompt="Hello", params={"temperature": 0.5}
        )
        given = list(stream)
    assert given[:3] == ["word0 ", "word1 ", "word2 "]
    assert (stream.output, stream.usage[:2]) == ("word0 word1 word2 ", (7, 3))
    assert stream.cost == pytest.approx(37e-6)
    (call,) = calls_of(run.run_id)
    extra = call.extra
    assert (extra["chunks"], extra["prompt_tokens"], extra["completion_tokens"]) == (4, 7, 3)
    assert (extra["cost"], extra["currency"]) == (stream.cost, "USD")
    assert 0 <= extra["first_chunk_ms"] <= extra["latency_ms"]
    assert extra["params"] == {"temperature": 0.5}
    assert extra["path"] == ["answer"]
    assert artifact(run.run_id, stream.output_ref) == b"word0 word1 word2 "
    assert json.loads(artifact(run.run_id, extra["prompt_ref"])) == {"prompt": "Hello"}
    assert json.loads(artifact(run.run_id, extra["chunks_ref"])) == given
    lines = (trace_root / "runs" / run.run_id / "events.jsonl").read_text().splitlines()
    assert [problem for line in lines for problem in validate_event(json.loads(line))] == []


def test_an_error_in_the_middle_keeps_what_came(trace_root):
    with recorder.run() as run:
        stream = record_model_stream(lambda: pieces(2, fail=True), model_name="m")
        with pytest.raises(ConnectionError, match="dead"):
            list(stream)
    (call,) = calls_of(run.run_id)
    (error,) = of_kind(session_events(only_session(trace_root)), "error")
    assert (call.extra["outcome"], call.extra["error_id"], call.extra["chunks"]) == ("error", error["id"], 2)
    assert artifact(run.run_id, call.extra["output_ref"]) == b"word0 word1 "


def test_a_stream_that_is_left_is_closed_and_keeps_what_came(trace_root):
    closed = []

    def source():
        try:
            yield from pieces(9)
        finally:
            closed.append(True)

    with recorder.run() as run:
        for piece in record_model_stream(source(), model_name="m"):
            if piece.startswith("word1"):
                break
    (call,) = calls_of(run.run_id)
    assert (call.extra["outcome"], call.extra["chunks"], closed) == ("closed", 2, [True])


def test_an_asynchronous_stream_is_recorded_and_cancelled_as_such(trace_root):
    async def main() -> list:
        given = [piece async for piece in record_model_stream(async_pieces, model_name="m")]

        async def slow():
            yield "first"
            await asyncio.sleep(60)

        async def read() -> None:
            async for _ in record_model_stream(slow(), model_name="slow"):
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return given

    with recorder.run() as run:
        assert len(asyncio.run(main())) == 4
    done, cancelled = calls_of(run.run_id)
    assert "outcome" not in done.extra
    assert (cancelled.extra["outcome"], cancelled.extra["chunks"]) == ("cancelled", 1)


@dataclass
class Delta:
    text: str


class Deltas:
    def encode(self, delta):
        return delta.text

    def decode(self, recorded):
        return Delta(recorded)


def test_pieces_of_a_client_are_read_and_kept_as_it_is_told(trace_root):
    def source():
        return iter([Delta("a"), Delta("b")])

    def ask() -> list:
        stream = record_model_stream(
            source, model_name="m", prompt=["x"], text=lambda delta: delta.text, codec=Deltas(),
            usage=lambda delta: {"prompt_tokens": 2, "completion_tokens": 1},
        )  # fmt: skip
        return [*stream, stream.output]

    with recorder.run() as run:
        first = ask()
    with replaying_tools(run.run_id):
        assert ask() == first == [Delta("a"), Delta("b"), "ab"]


def test_functions_of_the_user_that_fail_cost_nothing_but_what_they_tell(trace_root, capfd):
    with recorder.run() as run:
        stream = record_model_stream(["a", "b"], model_name="m", text=lambda piece: 1 / 0)
        assert list(stream) == ["a", "b"]
    assert calls_of(run.run_id)[0].extra["chunks"] == 2
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_replay_gives_the_pieces_and_does_not_begin_the_stream(trace_root):
    begun = []

    def source():
        begun.append(True)
        return pieces(3)

    def ask(prompt: str) -> list:
        return list(record_model_stream(source, model_name="m", prompt=prompt))

    with recorder.run() as run:
        first = ask("Hello")
    set_prices({"m": (1.0, 1.0)})
    with replaying_tools(run.run_id), recorder.run() as again:
        assert ask("Hello") == first
    assert begun == [True]
    (call,) = calls_of(again.run_id)
    assert call.extra["answered_by"] == calls_of(run.run_id)[0].id
    assert "cost" not in call.extra
    with pytest.raises(RecordingMiss, match="has no recorded response"), replaying_tools(run.run_id):
        ask("Something else entirely")


def test_an_error_and_an_end_that_nobody_read_come_again(trace_root):
    def failing():
        return list(record_model_stream(lambda: pieces(2, fail=True), model_name="fails"))

    def left():
        stream = iter(record_model_stream(pieces, model_name="left"))
        return [next(stream), stream]

    with recorder.run() as run:
        with pytest.raises(ConnectionError):
            failing()
        left()[1].close()
    with replaying_tools(run.run_id):
        with pytest.raises(ConnectionError, match="dead"):
            failing()
        first, rest = left()
        assert first == "word0 "
        with pytest.raises(RecordingMiss, match="not read further"):
            next(rest)


def test_models_may_be_left_alone_while_tools_are_answered(trace_root):
    @record_tool
    def look() -> int:
        looked.append(True)
        return 1

    looked: list = []
    with recorder.run() as run:
        look()
    with replaying_tools(run.run_id, models=False):
        look()
        assert len(list(record_model_stream(pieces, model_name="new", prompt="x"))) == 4
    assert looked == [True]


def test_calls_recorded_by_hand_have_their_cost_too(trace_root):
    set_prices({"gpt-4": Price(30.0, 60.0), "gpt-4*": {"input": 1.0, "output": 1.0, "currency": "EUR"}})
    with recorder.run() as run:
        recorder.record_model_call(model_name="gpt-4", output="Hi", prompt_tokens=1000, completion_tokens=500)
        recorder.record_model_call(
            model_name="gpt-4-mini", output="Hi", prompt_tokens=1000, completion_tokens=0
        )
        recorder.record_model_call(model_name="other", output="Hi", prompt_tokens=5, completion_tokens=5)
        recorder.record_model_call(model_name="gpt-4", output="Hi")
    record = read_run(find_run(run.run_id))
    assert [(call.cost, call.currency) for call in record.model_calls] == [
        (pytest.approx(0.06), "USD"),
        (pytest.approx(0.001), "EUR"),
        (None, None),
        (None, None),
    ]
    assert record.summary.costs == {"USD": pytest.approx(0.06), "EUR": pytest.approx(0.001)}


@pytest.mark.parametrize("price", [(1,), ("a", "b"), (-1.0, 1.0), {"input": 1}, 7])
def test_what_is_no_price_is_refused(price):
    with pytest.raises(UsageError, match="the price of m is invalid"):
        set_prices({"m": price})


def test_what_is_no_model_is_refused_by_name():
    with pytest.raises(UsageError, match=r"builtins\.dict is not a model"):
        recorded_model({})
