"""`agent-trace mcp` asked by the SDK's own client over stdio: an agent finds the demo's fault by tools alone."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.processes import REPOSITORY

from Agent.demo.platform import Settings, record_session
from Agent.errors import InputError
from Agent.mcp.worker import QuestionWorker

pytestmark = pytest.mark.process


@pytest.fixture(scope="module", autouse=True)
def library():
    """Loaded by the first test here, and not by each process of a test run."""
    global Client, StdioServerParameters, stdio_client
    pytest.importorskip("mcp", reason="the MCP server needs mcp, of the extra [mcp]")
    from mcp import Client, StdioServerParameters, stdio_client


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("recorded") / "trace"
    record_session(place, Settings(agents=20, ticks=48, seed=7))
    return place


class Asker:
    """Calls tools, and keeps what was asked."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        answer = await self._client.call_tool(tool, arguments)
        assert not answer.is_error, answer.content
        text = answer.content[0].text
        assert len(text) <= 20_000
        return json.loads(text)

    async def refused(self, tool: str, **arguments: Any) -> str:
        answer = await self._client.call_tool(tool, arguments)
        assert answer.is_error
        return answer.content[0].text


def tool_method(root: Path, converse, *options: str):
    """The result of a conversation with a server that a client has started."""

    async def run() -> Any:
        server = StdioServerParameters(
            command=sys.executable,
            args=["-P", "-m", "Agent", "mcp", "--root", str(root), *options],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            cwd=root.parent,
        )
        async with Client(stdio_client(server)) as client:
            return await converse(client)

    return asyncio.run(run())


@pytest.mark.integration
def test_why_did_creator_017_stop_is_answered_by_tools_alone(root):
    async def converse(client: Any) -> None:
        ask = Asker(client)
        (session,) = (await ask("sessions"))["sessions"]
        # the last publication, and the ticks after it
        posts = await ask("journey", agent="creator_017", kinds=["content_generation"], limit=200)
        stopped = max(event["tick"] for event in posts["events"])
        assert stopped < (await ask("analyze"))["last_tick"]
        # what changed in it then: a value that was set once and never again
        report = await ask("debug", issue="why did creator_017 stop?", session=session["session_id"])
        suspected = [cause for cause in report["causes"] if "creator_017" in cause["agent_ids"]]
        assert any("cooldown_until" in cause["title"] for cause in suspected)
        found = await ask("state", agent="creator_017", why="cooldown_until")
        last = found["changes"][-1]
        assert last["tick"] >= stopped
        assert last["after"] > 1000 > last["before"]
        # what led to it: the answer of a service, with a quota error inside
        chain = await ask("causes", event_id=last["id"])
        assert any(cause.get("agent_id") == "trend_service" for cause in chain["causes"])
        quota = await ask(
            "sql",
            query=f"SELECT tick, message FROM errors WHERE tick = {last['tick']} AND agent_id = 'trend_service'",
        )
        assert any("quota of creator_017 exceeded, retry after 3600 s" in row[1] for row in quota["rows"])
        # 3600 seconds were added to a tick
        assert last["after"] == last["tick"] + 3600

    tool_method(root, converse)


def test_tools_are_declared_as_reading_and_mistakes_are_errors_of_the_tool(root):
    async def converse(client: Any) -> None:
        listed = (await client.list_tools()).tools
        assert [tool.name for tool in listed] == [
            "sessions", "analyze", "journey", "errors", "debug", "causes", "state", "diff", "sql"
        ]  # fmt: skip
        assert all(tool.annotations.read_only_hint and tool.description for tool in listed)
        parameters = [each for tool in listed for each in tool.input_schema["properties"].values()]
        assert all("description" in each or "anyOf" in each for each in parameters)
        ask = Asker(client)
        assert "is not a session id" in await ask.refused("analyze", session="../../etc")
        assert "did you mean creator_017" in await ask.refused("journey", agent="creator_17")
        assert "less than or equal to 200" in await ask.refused("sql", query="SELECT 1", limit=1_000_000)
        refused = await ask.refused("analyze", session="x" * 200_000)
        assert len(refused) < 21_000 and "the tool sessions lists the ids" in refused
        assert (await ask("journey", agent="creator_017", from_tick=2**70))["events"] == []
        assert "only a single reading statement" in await ask.refused("sql", query="DROP VIEW events")
        # nothing of this ended the server
        assert (await ask("sql", query="SELECT count(*) > 0 FROM events"))["rows"] == [[True]]

    tool_method(root, converse)


@pytest.mark.integration
def test_an_answer_is_bounded_in_characters_and_says_so(root):
    async def converse(client: Any) -> None:
        answer = await client.call_tool("journey", {"agent": "creator_017", "limit": 200})
        text = answer.content[0].text
        assert len(text) <= 3000
        assert "/events" in json.loads(text)["left_out"]

    tool_method(root, converse, "--max-chars", "3000")


@pytest.mark.integration
def test_an_answer_that_takes_too_long_is_an_error_and_the_next_question_is_answered(root):
    async def converse() -> None:
        worker = QuestionWorker(root)
        try:
            worker._timeout_s = 0.01  # its process does not even start in that time
            with pytest.raises(InputError, match=r"took longer than 0\.01 s"):
                await worker.ask("sessions", {})
            worker._timeout_s = 60
            assert json.loads(await worker.ask("sessions", {}))["sessions"]
            worker._timeout_s = 1
            with pytest.raises(InputError, match="took longer than 1 s"):
                await worker.ask("sql", {"query": "SELECT count(*) FROM range(100000000000)"})
            worker._timeout_s = 60
            assert json.loads(await worker.ask("sql", {"query": "SELECT 1"}))["rows"] == [[1]]
        finally:
            await worker.close()

    asyncio.run(converse())


def answered(root: Path, sent: list[bytes], answers: int) -> list[dict[str, Any]]:
    """What the server answers to these lines."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "Agent", "mcp", "--root", str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(b"\n".join([*sent, b""]))
        server.stdin.flush()
        # At the end of its input, the server drops what it has not answered.
        found = [json.loads(server.stdout.readline()) for _ in range(answers)]
        server.stdin.close()
        assert server.wait(timeout=60) == 0
    return found


@pytest.mark.further
def test_a_line_that_is_no_message_is_answered_with_an_error_and_the_next_one_is_answered(root):
    ping = b'{"jsonrpc":"2.0","id":7,"method":"ping"}'
    answers = answered(root, [b"hello", b"\xff{", b"", b'{"a":1}', b"[" * 9999, ping], 5)
    assert [(each["id"], each["error"]["code"]) for each in answers if each["id"] is None] == [
        *[(None, -32700)] * 2,
        (None, -32600),
        (None, -32700),
    ]
    assert [each["id"] for each in answers if each["id"] is not None] == [7]


@pytest.mark.further
def test_each_request_is_answered_whatever_its_id_is(root):
    refused = (None, {}, [1], 1.5, True)
    taken = (0, -1, 2**70, "s", "")
    asked = [
        json.dumps({"jsonrpc": "2.0", "id": each, "method": "ping"}).encode() for each in (*refused, *taken)
    ]
    notified = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
    answers = answered(root, [notified, *asked], len(asked))
    errors = [each["error"] for each in answers if each["id"] is None]
    assert [each["code"] for each in errors] == [-32600] * len(refused)
    assert all("text or an integer as the id" in each["message"] for each in errors)
    assert {each["id"] for each in answers if "result" in each} == set(taken)


@pytest.mark.further
def test_a_request_before_initialize_is_told_to_initialize(root):
    (answer,) = answered(root, [b'{"jsonrpc":"2.0","id":3,"method":"tools/list"}'], 1)
    assert (answer["id"], answer["error"]["code"]) == (3, -32600)
    assert "first request is `initialize`" in answer["error"]["message"]
