"""Reports and events as text: lines of the sections of `blocks.py`, tables that fit a width, line breaks.

An event is described by its message, and by the payload that the message does not contain (`describe`).
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from Agent.event.kinds import is_generator_move, is_of_generators
from Agent.record.encode.safe_text import cut, shown_safely
from Agent.render import blocks
from Agent.render.formats import cell, curve, fewer, seconds

if TYPE_CHECKING:
    from Agent.event.model import Event

WIDTH: Final = 100
_WORD: Final = re.compile(r"(\s*)(\S+)")
STYLE: Final = re.compile(r"(\x1b\[[0-9;]*m)")
_LONGEST_WORD: Final = 1000
_SHOWN_OF_WORD: Final = 100
_COMMAND: Final = re.compile(r"(try it: |[\s$])*agent-trace [a-z]")
_SHELL_WORD: Final = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:\\.|[^"\\])*"|'[^']*')+""")


def display_width(text: str) -> int:
    """The number of terminal columns that a text without escapes takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def clip(text: str, width: int) -> str:
    """The text in at most `width` columns, with an ellipsis if it was cut."""
    if text.isascii():
        return text if len(text) <= width else text[: max(width - 1, 0)].rstrip() + "…"
    end = columns = 0
    # stop at the width, since a text may be as long as a line of a file
    for at, char in enumerate(text, start=1):
        columns += display_width(char)
        if columns > width:
            return text[:end].rstrip() + "…"
        if columns < width:
            end = at
    return text


def wrapped(line: str, width: int | None, indent: int = 4) -> list[str]:
    """Break a line at blanks to fit a width; continuation lines are indented. None: do not break it.

    A word of over 1,000 characters, such as an agent's name, would fill the screen, and is cut.
    """
    if width is None or display_width(STYLE.sub("", line)) <= width:
        return [line]
    further = " " * (len(line) - len(line.lstrip()) + indent)
    lines, columns = [""], 0
    for blanks, each in _WORD.findall(line):
        word = _cut(each)
        width_left = width - columns - len(blanks)
        needed = display_width(STYLE.sub("", word))
        if lines[-1] and needed > width_left and columns > len(further):
            lines.append(further + word)
            columns = len(further) + needed
        else:
            lines[-1] += blanks + word
            columns += len(blanks) + needed
    return lines


def _cut(word: str) -> str:
    text = STYLE.sub("", word)
    if len(text) <= _LONGEST_WORD:
        return word
    styles = STYLE.findall(word) or [""]
    return f"{styles[0]}{text[:_SHOWN_OF_WORD]}…({len(text):,} characters){styles[-1]}"


def fitting(line: str, width: int | None) -> list[str]:
    """Break a line of a report to fit a width; a command line in it can still be copied."""
    if width is not None and len(line) > width and _COMMAND.match(line):
        return command_lines(line, width)
    return wrapped(line, width)


def command_lines(line: str, width: int) -> list[str]:
    """Break a long command line before its options, with backslashes so that a shell reads it as one."""
    if len(line) <= width:
        return [line]
    parts: list[str] = []
    for word in _SHELL_WORD.findall(line):
        # the value of an option stays with it
        if parts and not word.startswith("-") and parts[-1].startswith("-") and " " not in parts[-1]:
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    margin = " " * (len(line) - len(line.lstrip()))
    lines = [margin + parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 1 + len(part) + len(" \\") <= width:
            lines[-1] += f" {part}"
        else:
            lines[-1] += " \\"
            lines.append(f"{margin}    {part}")
    return lines


def section(title: str, lines: Iterable[str]) -> str:
    """A title with indented lines; "" without lines."""
    body = [f"  {line}" for line in lines]
    return "\n".join([title, *body]) if body else ""


def _unpainted(text: str, _style: str) -> str:
    return text


def table(
    rows: Sequence[Sequence[Any]],
    right: Collection[int] = (),
    width: int | None = None,
    *,
    names: Sequence[str] = (),
    spare: Sequence[int] = (),
    whole: Collection[int] = (),
    uncut: bool = False,
    paint: Callable[[str, str], str] = _unpainted,
) -> list[str]:
    """Format rows in columns as wide as their widest cell.

    Args:
        rows: the rows, with cells as values or `Cell`.
        right: the indices of right-aligned columns.
        width: the maximum width of a line; to fit it, spare columns are left out, gaps shrink and texts are
            cut, those of the last column first. Right-aligned columns are never cut.
        names: the names of the columns.
        spare: the indices of columns that may be left out, the least important first; a last line names them.
        whole: the indices of further columns that are never cut.
        uncut: whether texts longer than a cell of a report are kept.
        paint: applies a look to a text.
    """
    titled = [[blocks.Cell(name, "soft") for name in names], *rows] if names else rows
    styles = [[value.look if isinstance(value, blocks.Cell) else "" for value in row] for row in titled]
    cells = [[_text(value, cut_long=not uncut) for value in row] for row in titled]
    if not cells:
        return []
    widths = widths_of(cells)
    fixed = {*right, *whole}
    columns = _kept_columns(widths, fixed, spare, width)
    may_be_cut = [at not in fixed for at in columns]
    # the last column is cut first; only where that is not enough the widest ones are
    shown, _ = fitted([widths[at] for at in columns], [*[False] * (len(columns) - 1), may_be_cut[-1]], width)
    shown, gap = fitted(shown, may_be_cut, width)
    to_right = {place for place, at in enumerate(columns) if at in right}
    lines = []
    for row, row_styles in zip(cells, styles, strict=True):
        texts = padded([row[at] for at in columns], shown, to_right)
        lines.append((" " * gap).join(map(paint, texts, (row_styles[at] for at in columns))).rstrip())
    left_out = [names[at] for at in range(len(widths)) if at not in columns]
    if left_out and width is not None:
        lines.append(paint(clip(f"too narrow for {', '.join(left_out)}", width), "soft"))
    return lines


def _kept_columns(
    widths: Sequence[int], fixed: Collection[int], spare: Sequence[int], width: int | None
) -> list[int]:
    """The columns that fit a width if only the last is cut; of `spare`, the first ones are left out."""
    columns = list(range(len(widths)))
    for at in spare:
        last = widths[columns[-1]]
        least = last if columns[-1] in fixed else min(last, LEAST_CELL)
        if width is None or sum(widths[each] for each in columns[:-1]) + least + len(columns) - 1 <= width:
            break
        columns.remove(at)
    return columns


def _text(value: object, *, cut_long: bool) -> str:
    if isinstance(value, blocks.Cell | blocks.Link):
        text = value.text
    elif cut_long or value is None:
        return shown_safely(cell(value))
    else:
        text = str(value)
    return text if text.isprintable() else shown_safely(_folded(text))


def widths_of(cells: Sequence[Sequence[str]]) -> list[int]:
    """The width of the widest cell of each column, in terminal columns."""
    return [max(map(display_width, column)) for column in zip(*cells, strict=True)]


def padded(cells: Sequence[str], widths: Sequence[int], right: Collection[int] = ()) -> list[str]:
    """The cells of a row, each cut or padded to the width of its column."""
    shown = [clip(text, width) for text, width in zip(cells, widths, strict=True)]
    blanks = [" " * (width - display_width(text)) for text, width in zip(shown, widths, strict=True)]
    pairs = enumerate(zip(shown, blanks, strict=True))
    return [blank + text if at in right else text + blank for at, (text, blank) in pairs]


LEAST_CELL: Final = 12


def fitted(
    widths: Sequence[int], may_be_cut: Sequence[bool], width: int | None, least: int = LEAST_CELL
) -> tuple[list[int], int]:
    """Column widths that fit into `width`, cutting the widest first, and the gap between columns."""
    if width is None:
        return list(widths), 2
    fitted_widths, gaps = list(widths), len(widths) - 1
    gap = 2 if sum(fitted_widths) + 2 * gaps <= width else 1
    while sum(fitted_widths) + gap * gaps > width:
        widest = max(range(len(fitted_widths)), key=lambda at: fitted_widths[at] if may_be_cut[at] else 0)
        if not may_be_cut[widest] or fitted_widths[widest] <= least:
            break
        fitted_widths[widest] -= 1
    return fitted_widths, gap


def sections_text(parts: Iterable[blocks.Section], width: int | None = None) -> str:
    """Format sections as text: titles at the margin, blocks indented, the first rows of tables and lists.

    With a width, tables are cut to it; paragraphs are never wider than a page.
    """
    lines = (
        section(each.title, chain.from_iterable(_lines(block, width) for block in each.blocks))
        for each in parts
    )
    return "\n\n".join(part for part in lines if part)


def _lines(block: blocks.Block, width: int | None) -> Iterator[str]:
    text_width = None if width is None else width - 2
    match block:
        case blocks.Words(words) | blocks.Title(words):
            yield from wrap(shown_safely(_BREAK.sub(" ", words)), min(text_width or WIDTH, WIDTH - 2))
        case blocks.Grid(columns, rows, right, most, spare, whole, further):
            shares = {at for row in rows for at, value in enumerate(row) if isinstance(value, blocks.Share)}
            shown = [at for at in range(len(columns)) if at not in shares]
            cells = [[row[at] for at in shown] for row in rows[:most]]
            to_right, uncut = ({shown.index(at) for at in of if at in shown} for of in (right, whole))
            least = [shown.index(at) for at in spare if at in shown]
            names = [columns[at] for at in shown]
            yield from table(cells, to_right, text_width, names=names, spare=least, whole=uncut)
            yield from _more(max(len(rows) - most, 0) + further)
        case blocks.Entries(entries, most, further):
            for entry in entries[:most]:
                yield clip(f"{entry.times}  {shown_safely(_folded(entry.text))}", text_width or WIDTH)
                for line in entry.about:
                    yield from wrap(
                        shown_safely(_folded(line)),
                        text_width or WIDTH,
                        initial_indent="  ",
                        subsequent_indent="    ",
                    )
            yield from _more(max(len(entries) - most, 0) + further)
        case blocks.Curve(values):
            yield from curve(values if text_width is None else fewer(values, text_width))
        case blocks.SideBySide(columns):
            for column in columns:
                yield from chain.from_iterable(_lines(each, width) for each in column)


_BREAK: Final = re.compile(r"[\t\n\v\f\r]")


def _folded(text: str) -> str:
    """A recorded text on one line, so that it cannot look like further lines of the report."""
    return " ".join(text.split())


def _more(hidden: int) -> Iterator[str]:
    if hidden > 0:
        yield f"... and {hidden} more"


LEFT_TO_JSON = frozenset(
    "agent_id agent_role event_type type call root class fields digest traceback fingerprint error_module "
    "args_after args_held args_shared result_is error_args error_cause error_id error_left_out error_members "
    "error_suppressed context_span learning_type source duration_ms asked_at tick_number tick_in_span".split()
)
"""Keys of `extra` that a line shows elsewhere, or that only `--json` shows."""

OPENED = ("_data", "_state", "metadata", "args", "data")
"""Suffixes of keys whose value is a dict that the user logged: its own keys are shown instead."""

MOST_CHARS = 400
"""The longest line of `event_line_text`."""


def event_line_text(event: Event) -> str:
    """One printable line about an event: the message, then the details of `describe`."""
    message = shown_safely(cut(event.message or event.kind, MOST_CHARS))
    return cut(f"{message}  {describe(event)}".rstrip(), MOST_CHARS)


def describe(event: Event) -> str:
    """The payload beyond the message: `key=value` pairs, changed fields and the duration."""
    if is_of_generators(event.extra):
        return "generator moved on"
    hidden = _in_message(event.kind) | LEFT_TO_JSON
    parts = [f"{key}={_short(value)}" for key, value in _pairs(event.extra, hidden)]
    if event.state:
        changed = sorted({*event.state.get("set", {}), *event.state.get("unset", [])})
        parts += [f"changed={','.join(changed)}"] if changed else []
    duration_ms = event.extra.get("duration_ms")
    if isinstance(duration_ms, int | float):
        is_long = 1000 <= duration_ms < 1e12
        parts.append(f"({seconds(duration_ms / 1000) if is_long else f'{duration_ms:.3g} ms'})")
    return shown_safely(" ".join(parts))


def _pairs(extra: Mapping[str, Any], hidden: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """The non-empty keys and values: outcome and result first, old values last: a terminal cuts the end."""
    for key in sorted(extra, key=lambda name: (name not in ("outcome", "result"), name == "old_state")):
        value = extra[key]
        if key in hidden or value is None or value in ({}, [], ""):
            continue
        if isinstance(value, dict) and key.endswith(OPENED):
            prefix = "old." if key == "old_state" else ""
            yield from ((prefix + inner, each) for inner, each in value.items())
        elif key == "moved" and isinstance(value, dict):
            yield key, {number: _without_states(moves) for number, moves in value.items()}
        else:
            yield key, value


def _without_states(moves: Any) -> Any:
    """What code outside of actions changed, without the numbers in the states of generators."""
    if not isinstance(moves, dict):
        return moves
    return {
        name or "generator": "moved on" if is_generator_move((name, move)) else move
        for name, move in moves.items()
    }


def _short(value: Any) -> str:
    """A value shortened to at most 48 characters."""
    if isinstance(value, str):
        return clip(value, 40)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return clip("{" + ", ".join(f"{key}: {_short(each)}" for key, each in value.items()) + "}", 48)
    if isinstance(value, list):
        return clip("[" + ", ".join(_short(each) for each in value) + "]", 48)
    return str(value)


@lru_cache(maxsize=256)
def _in_message(kind: str) -> frozenset[str]:
    """The fields that the message of a kind already shows."""
    from Agent.event.payloads import KINDS

    row = KINDS.get(kind)
    template = row.message if row else ""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name)
