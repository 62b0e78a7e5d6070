"""Fenced blocks of a Markdown text, and a way to run the Python ones as a reader would type them."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w+-]*)(?P<marks>[^\n`]*)$")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text without the indentation of its list, its first line, its marks.

    Marks are the words behind the language: `file=NAME` (the reader saves it under that name), `placeholders`
    (names have to be replaced first), `elsewhere` (it needs what a test has not).
    """

    language: str
    source: str
    line: int
    marks: frozenset[str] = frozenset()

    @property
    def file_name(self) -> str | None:
        """Under which name the reader saves it, where the page says so."""
        names = [mark.removeprefix("file=") for mark in self.marks if mark.startswith("file=")]
        return names[0] if names else None

    def parses(self) -> bool:
        """Whether it is Python, top-level await allowed."""
        try:
            self.compile("block")
        except SyntaxError:
            return False
        return True

    def compile(self, file_name: str) -> Any:
        """Its code, with the line numbers of the file that it stands in."""
        text = "\n" * (self.line - 1) + self.source
        return compile(text, file_name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of a text in order."""
    blocks: list[Block] = []
    language: str | None = None
    marks: frozenset[str] = frozenset()
    lines: list[str] = []
    start = 0
    for number, line in enumerate(text.splitlines(), start=1):
        fence = _FENCE.match(line)
        if fence is None:
            lines.append(line)
        elif language is None:
            language, lines, start = fence["language"], [], number + 1
            marks = frozenset(fence["marks"].split())
        else:
            blocks.append(Block(language, textwrap.dedent("\n".join(lines)) + "\n", start, marks))
            language = None
    assert language is None, f"the block that opens at line {start - 1} has no end"
    return blocks


def python_blocks(text: str) -> list[Block]:
    """The blocks that are marked as Python."""
    return [block for block in blocks_of(text) if block.language in {"python", "py"}]


def run_block(block: Block, namespace: dict[str, Any], path: Path) -> None:
    """Run a block in a namespace that it shares with those before it."""
    code = block.compile(str(path))
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, namespace))
    else:
        exec(code, namespace)
