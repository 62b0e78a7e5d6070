"""The process that answers questions: one at a time, within a time limit, and never on the client's stdout.

The server keeps one such process and kills it if an answer takes too long, so that a question about a large
session cannot block the server. Requests and answers are lines of JSON on stdin and stdout; a long answer is
cut and lists what was left out (`fitted`).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.config.process import child_environment
from Agent.errors import AgentTraceError, InputError
from Agent.event.pointers import escape
from Agent.render.formats import plural

_MODULE: Final = "Agent.mcp.worker"
_QUERY_SHARE: Final = 0.8
"""A query stops before the process is killed, because its error is more specific."""
MAX_CHARS: Final = 20_000
TIMEOUT_S: Final = 60.0
_LINE_BYTES: Final = 64 * 1024 * 1024


class QuestionWorker:
    """Answers questions in a separate process.

    Args:
        root: the trace root.
        timeout_s: seconds that one answer may take.
        max_chars: the maximum length of one answer.
    """

    def __init__(self, root: Path, timeout_s: float = TIMEOUT_S, max_chars: int = MAX_CHARS) -> None:
        self._arguments = [str(root.resolve()), str(timeout_s * _QUERY_SHARE), str(max_chars)]
        self._root = root
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Return the answer of a tool as JSON.

        Raises:
            AgentTraceError: the question is invalid, refers to something missing, or takes too long.
        """
        async with self._lock:
            process = await self._running()
            try:
                reply = await asyncio.wait_for(self._exchange(process, tool, arguments), self._timeout_s)
            except TimeoutError:
                await self.close()
                raise InputError(
                    f"the answer took longer than {self._timeout_s:g} s",
                    remedy="ask about one agent or fewer ticks, or give agent-trace mcp a longer --timeout",
                ) from None
            except BaseException:
                await self.close()  # cancelled: the next question must not get this answer
                raise
        if not reply:
            await self.close()
            raise InputError(
                "the process that looks for answers ended", remedy="ask for less; its stderr says why"
            )
        answer: dict[str, str] = orjson.loads(reply)
        if "error" in answer:
            raise AgentTraceError(answer["error"])
        return answer["text"]

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                _MODULE,
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                cwd=self._root if self._root.is_dir() else None,  # session names cannot be paths here
                env=child_environment(),
                limit=_LINE_BYTES,
            )
        return self._process

    @staticmethod
    async def _exchange(
        process: asyncio.subprocess.Process, tool: str, arguments: Mapping[str, Any]
    ) -> bytes:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 - both are pipes
        try:
            # unlike orjson, json writes integers of any size
            request = json.dumps({"tool": tool, "arguments": dict(arguments)})
            process.stdin.write(request.encode() + b"\n")
            await process.stdin.drain()
        except ConnectionError:
            return b""
        return await process.stdout.readline()

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()


_STEPS: Final = (
    (200, 4000, 16),
    (100, 2000, 16),
    (60, 1000, 12),
    (30, 600, 10),
    (15, 300, 8),
    (8, 150, 6),
    (4, 80, 5),
    (2, 40, 4),
    (1, 20, 2),
)
"""Limits tried in order: items of a list or keys of an object, characters of a text, levels of nesting."""


def fitted(answer: dict[str, Any], max_chars: int) -> str:
    """Return an answer as JSON of at most `max_chars` characters.

    Long lists, objects and texts are cut by the widest common limits that fit. The key `left_out` then has
    the number of items or characters that were cut, by JSON Pointer.

    Args:
        answer: JSON values; others become text.
        max_chars: at least 1,000.
    """
    text = ""
    for most, chars, depth in _STEPS:
        left_out: dict[str, str] = {}
        cut = _cut(answer, "", most, chars, depth, left_out)
        if left_out:
            cut["left_out"] = dict(list(left_out.items())[:_MOST_NOTES])
            if len(left_out) > _MOST_NOTES:
                cut["left_out"][""] = f"{plural(len(left_out) - _MOST_NOTES, 'more place')} cut"
        text = orjson.dumps(cut).decode()
        if len(text) <= max_chars:
            return text
    # an object of many keys with small values
    return orjson.dumps({"left_out": {"": f"an answer of {len(text)} characters at the least"}}).decode()


_MOST_NOTES: Final = 8


def _cut(value: Any, at: str, most: int, chars: int, depth: int, left_out: dict[str, str]) -> Any:
    """A copy of a value as JSON within the limits; cuts are recorded by JSON Pointer."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) < 1 << 63:
        return value  # not a NaN, for which every comparison is false
    if not isinstance(value, Mapping | Sequence) or isinstance(value, str | bytes):
        return _cut_text(value, at, chars, left_out)
    if depth == 0 and value:
        left_out[at] = plural(len(value), "item")
        return "…"
    if len(value) > most:
        left_out[at] = plural(len(value) - most, "item")
    if isinstance(value, Mapping):
        return {
            str(key): _cut(each, f"{at}/{escape(str(key))}", most, chars, depth - 1, left_out)
            for key, each in islice(value.items(), most)
        }
    return [
        _cut(each, f"{at}/{number}", most, chars, depth - 1, left_out)
        for number, each in enumerate(islice(value, most))
    ]


def _cut_text(value: Any, at: str, chars: int, left_out: dict[str, str]) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    if len(text) > chars:
        left_out[at] = f"{len(text) - chars:,} characters"
        text = f"{text[:chars]}…"
    return text.encode("utf-8", "backslashreplace").decode()


def _bounded(error: str, max_chars: int) -> str:
    """Cut an error in the middle: a client's own long name is there, and the remedy at the end."""
    if len(error) <= max_chars:
        return error
    half = (max_chars - 1) // 2
    return f"{error[:half]}…{error[-half:]}"


def main(root: str, deadline_s: str, max_chars: str) -> None:
    """Answer requests until stdin ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # printed output goes to stderr, not between the answers
    from Agent.mcp.questions import Questions, tool_method

    questions = Questions(Path(root), float(deadline_s))
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            answer = tool_method(questions, request["tool"])(**request["arguments"])
            reply = {"text": fitted(answer, int(max_chars))}
        except AgentTraceError as error:
            reply = {"error": str(error)}
        except OSError as error:
            reply = {"error": f"{error.strerror or error} ({error.filename})"}
        except Exception as error:  # noqa: BLE001 - reported to the client, with its traceback on stderr
            import traceback

            traceback.print_exc()
            reply = {"error": f"this is a bug of Agent Trace ({type(error).__name__}: {error})"}
        if "error" in reply:
            reply = {"error": _bounded(reply["error"], int(max_chars))}
        out.write(orjson.dumps(reply) + b"\n")
        out.flush()
    questions.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
