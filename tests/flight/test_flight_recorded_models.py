"""Models of other libraries, recorded and answered from the record; each test needs its library."""

from __future__ import annotations

import asyncio
import importlib
import sys
from contextlib import closing, contextmanager

import pytest

from Agent import health
from Agent.errors import MissingExtra, RecordingMiss
from Agent.flight import (
    find_run,
    read_run,
    record_tool,
    recorded_model,
    recorder,
    replaying_tools,
    set_prices,
)

# What these libraries warn of is theirs.
pytestmark = pytest.mark.filterwarnings("default")


def models_of(run_id: str) -> list:
    return [event.extra for event in read_run(find_run(run_id)).events() if event.kind == "model.call"]


@contextmanager
def own_loop():
    """The event loop that `run_sync` of a library uses and leaves open; a later test would fail by it."""
    with closing(asyncio.new_event_loop()) as loop:
        asyncio.set_event_loop(loop)
        yield
    asyncio.set_event_loop(None)


def recorded_and_replayed(main, calls: list) -> list[dict]:
    """Run it twice, the second time from the record of the first; what the record holds."""
    with recorder.run("first") as run:
        first = main()
    live = len(calls)
    assert live > 0
    with replaying_tools(run.run_id) as replayer, recorder.run("first"):
        assert main() == first
    assert len(calls) == live
    assert replayer.inexact == replayer.unused == []
    assert health()["dropped"] == {}
    return models_of(run.run_id)


@pytest.mark.parametrize(
    ("module", "missing"),
    [
        ("langchain", "langchain_core"),
        ("openai_agents", "agents"),
        ("pydantic_ai", "pydantic_ai"),
        ("smolagents", "smolagents"),
    ],
)
def test_without_its_library_a_module_says_what_to_install(module, missing, monkeypatch):
    name = f"Agent.flight.integrations.{module}"
    for known in [known for known in sys.modules if known == name or known.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match="pip install"):
        importlib.import_module(name)


class LangChain:
    """A chat model that counts what it is asked."""

    def __init__(self) -> None:
        fakes = pytest.importorskip("langchain_core.language_models.fake_chat_models")
        from langchain_core.messages import AIMessage

        self.calls: list = []
        calls = self.calls

        class Counting(fakes.GenericFakeChatModel):
            model_name: str = "small-1"

            def bind_tools(self, tools, **kwargs):
                return self.bind(tools=[tool.name for tool in tools], **kwargs)

        def answers():
            while True:
                calls.append(True)
                yield AIMessage(
                    f"answer {len(calls)}",
                    usage_metadata={"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
                )

        self.plain = Counting(messages=answers())
        self.model = recorded_model(self.plain)


def test_a_chat_model_of_langchain_stays_what_it_is():
    langchain = LangChain()
    assert isinstance(langchain.model, type(langchain.plain))
    assert type(langchain.model).__name__ == "Counting"
    assert langchain.model.model_name == "small-1"
    assert langchain.model._get_ls_params() == langchain.plain._get_ls_params()
    assert recorded_model(langchain.model) is langchain.model
    langchain.plain.invoke("not recorded")


def test_langchain_answers_and_streams_are_recorded_and_replayed(trace_root):
    langchain = LangChain()
    model = langchain.model
    set_prices({"small-1": (1.0, 1.0)})

    async def asynchronous() -> list:
        pieces = [piece.content async for piece in model.astream("four")]
        return [(await model.ainvoke("three")).content, pieces]

    def main() -> list:
        plain = [model.invoke("one").content, [piece.content for piece in model.stream("two")]]
        return [*plain, *asyncio.run(asynchronous()), model.batch(["five"])[0].content]

    found = recorded_and_replayed(main, langchain.calls)
    assert len(found) == 5
    assert {call["interface"] for call in found} == {"langchain"}
    assert [call.get("chunks") for call in found] == [None, 3, 3, None, None]
    assert found[0]["prompt_tokens"] == 3
    assert found[0]["cost"] == pytest.approx(5e-6)
    set_prices({})


def test_a_langchain_model_that_speaks_events_is_recorded_event_by_event(trace_root):
    langchain = LangChain()

    class Speaking(type(langchain.plain)):
        def _stream_chat_model_events(self, messages, stop=None, run_manager=None, **kwargs):
            langchain.calls.append(True)
            yield {"event": "message-start", "role": "ai"}
            yield {"event": "message-finish", "turn": len(langchain.calls)}

    model = recorded_model(Speaking(messages=iter(())))

    def main() -> list:
        return list(model._stream_chat_model_events([]))

    (call,) = recorded_and_replayed(main, langchain.calls)
    assert (call["chunks"], "output_ref" in call) == (2, False)


def test_tools_bound_to_a_langchain_model_reach_it_through_the_recording(trace_root):
    langchain = LangChain()
    from langchain_core.tools import tool

    @tool
    @record_tool
    def weather(city: str) -> str:
        """The weather."""
        langchain.calls.append(city)
        return f"sun in {city}"

    bound = langchain.model.bind_tools([weather])

    def main() -> list:
        return [bound.invoke("which?").content, weather.invoke({"city": "Oslo"})]

    recorded_and_replayed(main, langchain.calls)


def test_a_langgraph_agent_is_replayed_without_its_model(trace_root):
    pytest.importorskip("langgraph")
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import END, START, MessagesState, StateGraph

    langchain = LangChain()

    def main() -> list:
        graph = StateGraph(MessagesState)
        graph.add_node("bot", lambda state: {"messages": [langchain.model.invoke(state["messages"])]})
        graph.add_edge(START, "bot")
        graph.add_edge("bot", END)
        app = graph.compile(checkpointer=InMemorySaver())
        config = {"configurable": {"thread_id": "1"}}
        app.invoke({"messages": [("user", "hi")]}, config)
        last = app.invoke({"messages": [("user", "and?")]}, config)
        return [message.content for message in last["messages"]]

    assert len(recorded_and_replayed(main, langchain.calls)) == 2


def test_another_question_is_a_miss_that_no_graph_can_swallow(trace_root):
    langchain = LangChain()
    with recorder.run() as run:
        langchain.model.invoke("What is the capital of Norway?")
    with pytest.raises(RecordingMiss, match="has no recorded response"), replaying_tools(run.run_id):
        langchain.model.with_fallbacks([langchain.model]).invoke("7 x 6")


@pytest.mark.further
def test_models_of_the_openai_agents_sdk_are_recorded_and_replayed(trace_root):
    agents = pytest.importorskip("agents")
    from openai.types import responses

    calls: list = []

    def message(text: str):
        content = [responses.ResponseOutputText(text=text, type="output_text", annotations=[])]
        return responses.ResponseOutputMessage(
            id="m1", content=content, role="assistant", status="completed", type="message"
        )

    class Fake(agents.Model):
        model = "fake-1"

        async def get_response(self, system_instructions, input, *args, **kwargs):
            calls.append(input)
            asks = isinstance(input, str) or len(input) == 1
            output = [
                responses.ResponseFunctionToolCall(
                    id="f1", arguments='{"a":2,"b":3}', call_id="c1", name="add", type="function_call"
                )
                if asks
                else message("5")
            ]
            usage = agents.Usage(requests=1, input_tokens=10, output_tokens=4, total_tokens=14)
            return agents.ModelResponse(output=output, usage=usage, response_id=None)

        async def stream_response(self, *args, **kwargs):
            calls.append("stream")
            yield responses.ResponseTextDeltaEvent(
                content_index=0, delta="he", item_id="m1", output_index=0, sequence_number=0, logprobs=[],
                type="response.output_text.delta",
            )  # fmt: skip
            yield responses.ResponseCompletedEvent(
                response=responses.Response(
                    id="r1", created_at=1.0, model="fake", object="response", output=[message("hello")],
                    parallel_tool_calls=False, tool_choice="auto", tools=[],
                    usage=responses.ResponseUsage(
                        input_tokens=6, output_tokens=2, total_tokens=8,
                        input_tokens_details={"cached_tokens": 0, "cache_write_tokens": 0},
                        output_tokens_details={"reasoning_tokens": 0},
                    ),
                ),
                sequence_number=1, type="response.completed",
            )  # fmt: skip

    @agents.function_tool
    def add(a: int, b: int) -> int:
        return a + b

    model = recorded_model(Fake())
    silent = agents.RunConfig(tracing_disabled=True)

    async def stream() -> list:
        given = agents.Runner.run_streamed(agents.Agent(name="s", model=model), "hi", run_config=silent)
        kinds = [event.type async for event in given.stream_events()]
        return [kinds, given.final_output]

    def main() -> list:
        calculator = agents.Agent(name="calc", tools=[add], model=model)
        with own_loop():
            output = agents.Runner.run_sync(calculator, "2+3?", run_config=silent).final_output
        return [output, asyncio.run(stream())]

    found = recorded_and_replayed(main, calls)
    assert [call["model_name"] for call in found] == ["fake-1"] * 3
    assert [call["prompt_tokens"] for call in found] == [10, 10, 6]
    assert found[2]["chunks"] == 2


@pytest.mark.further
def test_models_of_pydantic_ai_are_recorded_and_replayed(trace_root):
    pydantic_ai = pytest.importorskip("pydantic_ai")
    from pydantic_ai.models.test import TestModel as Scripted

    calls: list = []

    class Counting(Scripted):
        async def request(self, *args, **kwargs):
            calls.append("request")
            return await super().request(*args, **kwargs)

        def request_stream(self, *args, **kwargs):
            calls.append("stream")
            return super().request_stream(*args, **kwargs)

    agent = pydantic_ai.Agent(recorded_model(Counting()))

    @agent.tool_plain
    def roll(sides: int) -> int:
        return sides * 2

    async def stream() -> list:
        async with agent.run_stream("go on") as given:
            return [piece async for piece in given.stream_text(delta=True, debounce_by=None)]

    def main() -> list:
        with own_loop():
            output = agent.run_sync("hi").output
        return [output, asyncio.run(stream())]

    found = recorded_and_replayed(main, calls)
    assert len(found) == 4
    assert all(call["chunks"] > 0 and "outcome" not in call for call in found[2:])


@pytest.mark.further
def test_a_pydantic_ai_stream_that_is_left_is_closed(trace_root):
    pydantic_ai = pytest.importorskip("pydantic_ai")
    from pydantic_ai.models.test import TestModel as Scripted

    agent = pydantic_ai.Agent(recorded_model(Scripted(custom_output_text="one two three four")))

    async def main() -> None:
        async with agent.run_stream("hi") as given:
            async for _ in given.stream_text(delta=True, debounce_by=None):
                break

    with recorder.run() as run:
        asyncio.run(main())
    (call,) = models_of(run.run_id)
    assert call["outcome"] == "closed"


@pytest.mark.further
@pytest.mark.process  # what it imports asks the system for its libraries
def test_models_of_smolagents_are_recorded_and_replayed(trace_root):
    smolagents = pytest.importorskip("smolagents")
    from smolagents.models import ChatMessageStreamDelta, MessageRole, TokenUsage

    calls: list = []
    code = "Thought: go\n<code>\nfinal_answer(double(21))\n</code>"

    class Fake(smolagents.Model):
        def generate(self, messages, **kwargs):
            calls.append("generate")
            return smolagents.ChatMessage(
                role=MessageRole.ASSISTANT, content=code, token_usage=TokenUsage(5, 6)
            )

        def generate_stream(self, messages, **kwargs):
            calls.append("stream")
            for start in range(0, len(code), 20):
                yield ChatMessageStreamDelta(content=code[start : start + 20], token_usage=TokenUsage(0, 3))

    @smolagents.tool
    def double(number: int) -> int:
        """Double it.

        Args:
            number: any.
        """
        return 2 * number

    model = recorded_model(Fake(model_id="fake-1"))

    def main() -> list:
        return [
            smolagents.CodeAgent(tools=[double], model=model, verbosity_level=0, stream_outputs=stream).run(
                "21?"
            )
            for stream in (False, True)
        ]

    found = recorded_and_replayed(main, calls)
    assert [(call["prompt_tokens"], call["completion_tokens"]) for call in found] == [(5, 6), (0, 9)]
    assert found[1]["chunks"] == 3
