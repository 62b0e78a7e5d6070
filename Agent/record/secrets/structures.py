"""Finds secrets by the structure around them: columns of tables, private keys over several lines, schemas.

The tables are SQL `INSERT`s with their columns, CSV, TSV, and tables of text.
Below a column that is surely of secrets every value counts but for words, numbers, code and stand-ins. Where
blanks alone separate the columns, the header may be a sentence: there a value needs a digit or looks random.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from Agent.event.pointers import value_at
from Agent.record.secrets.issuers import INNER_NAMES
from Agent.record.secrets.names import (
    NONE,
    SURE,
    compiled,
    has_digit,
    is_code,
    is_placeholder,
    is_words,
    looks_drawn,
    name_says,
)

Span = tuple[int, int]

_LITERAL: Final = (
    r"""(?:[NEBneb]?'(?:[^'\\]|''|\\.)*+'|\\{0,3}"[^"\\]*+\\{0,3}"|[^,()'"\\]*+(?:\([^()'"]*+\))?)"""
)
_INSERT: Final = r"""(?is)\b(?:insert|replace)\b[^();]{0,60}?\binto\s+[^\s();]{1,200}\s*\((?P<columns>[^()]{1,4000})\)\s*(?:\\[nrt]|\s)*values?"""
_ROW: Final = rf"""(?s)(?:\s|\\[nrt]|,){{0,40}}\((?P<row>(?:\s*{_LITERAL}\s*,){{0,200}}\s*{_LITERAL}\s*)\)"""
# the parameters of a statement, as SQLAlchemy and Django write them after it
_PARAMETERS: Final = rf"""(?s)(?:[^(\[]|\((?!['"])|\[(?!['"(p])){{0,2000}}?(?:\[parameters:\s*)?[(\[](?P<row>(?:\s*{_LITERAL}\s*,){{1,200}}(?:\s*{_LITERAL})?\s*)[)\]]"""
_VALUE: Final = rf"""(?s)\s*(?P<value>{_LITERAL})\s*(?:,|\Z)"""


def in_inserts(text: str) -> Iterator[Span]:
    """Yield the spans of the values that the columns of an `INSERT` name as secrets."""
    for insert in compiled(_INSERT).finditer(text):
        names = [name.strip("\"'`[]\\ \r\n\t") for name in insert["columns"].split(",")]
        says = [name_says(name) for name in names]
        if not any(says):
            continue
        at, found = insert.end(), False
        while (row := compiled(_ROW).match(text, at)) is not None:
            at = row.end()
            for span in _of_row(text, row, says):
                found = True
                yield span
        if not found and (row := compiled(_PARAMETERS).match(text, at)) is not None:
            yield from _of_row(text, row, says)


def _of_row(text: str, row: re.Match[str], says: Sequence[int]) -> Iterator[Span]:
    begin, end = row.span("row")
    values = [match.span("value") for match in compiled(_VALUE).finditer(text, begin, end)]
    # the search ends with an empty value
    for (first, last), sure in zip(values, says, strict=False) if len(values) >= len(says) else ():
        quoted = compiled(r"""(?s)[NEBneb]?\\{0,3}(['"])(?P<inner>.{4,}?)\\{0,3}\1""").fullmatch(
            text, first, last
        )
        if sure == NONE or quoted is None or is_placeholder(quoted["inner"]):
            continue
        value = quoted["inner"]
        # a word under a name such as `token` or `pin` is no password
        is_kind = value.islower() and value.isalpha() and len(value) < _SHORTEST_WORD
        if looks_drawn(value) or (sure == SURE and not is_kind):
            yield quoted.span("inner")


_SHORTEST_WORD: Final = 8

# ---- tables of text ----

_LINE: Final = r"(?P<line>[^\r\n\\]*(?:\\(?![nr])[^\r\n\\]*)*)(?P<end>\r?\n|(?:\\r)?\\n|\Z)"
_HEADER_NAMES: Final = r"(?i)pass|pwd|secret|token|key|auth|pin\b|credential|kennwort|senha|contrase"
_INNER: Final = "|".join(name.decode() for name in INNER_NAMES)
_HEADER_NAME: Final = r"[A-Za-z][\w\- /.]{0,39}"
_RULE: Final = r"[\s|+\-:=\u2500-\u257f]*"
_CELL: Final = r"""\s*(?:\\{0,3}"(?P<quoted>[^"]*?)\\{0,3}"|(?P<bare>.*?))\s*"""
_LONGEST_HEADER, _MOST_ROWS = 400, 10_000
_DELIMITERS: Final = {
    "\t": r"\t",
    "\\t": r"\\t",
    "|": r"\|",
    "\u2502": r"\u2502",
    "\u2503": r"\u2503",
    ";": r";",
    ",": r",",
    "  ": r"[ ]{2,}",
}
"""What separates the columns of a header: the expression that splits its rows."""


def in_tables(text: str) -> Iterator[Span]:
    """Yield the spans of values in rows below a header that names their column as secret."""
    header: _Header | None = None
    rows = 0
    for match in compiled(_LINE).finditer(text):
        begin, end = match.span("line")
        if header is not None and rows < _MOST_ROWS:
            if compiled(_RULE).fullmatch(text, begin, end) is not None and begin < end:
                continue
            cells = header.cells(text, begin, end)
            if header.is_aligned and len(cells) == header.count + 1:
                cells = cells[1:]  # the number of the row, over which data frames have no name
            if len(cells) == header.count:
                rows += 1
                for index, says in header.secrets:
                    span = _cell(text, *cells[index], says, header)
                    if span is not None:
                        yield span
                continue
        header, rows = _header_of(text, begin, end), 0


class _Header:
    """The columns of a table.

    Args:
        expression: separates the cells of a row.
        count: how many cells a row has.
        secrets: the indexes of the columns of secrets, and how certain their names are.
    """

    def __init__(self, expression: str, count: int, secrets: Sequence[tuple[int, int]]) -> None:
        self._expression = expression
        self.is_aligned = expression == _DELIMITERS["  "]
        self.is_of_data = expression in _OF_DATA
        self.count = count
        self.secrets = secrets

    def cells(self, text: str, begin: int, end: int) -> list[Span]:
        """Return the spans of a line's cells."""
        found, at = [], begin
        # in a table of aligned columns a long value leaves one blank
        expression = r"[ ]+" if self.is_aligned else self._expression
        while begin < end and text[begin] == " ":
            begin += 1
            at = begin
        for separator in compiled(expression).finditer(text, begin, end):
            found.append((at, separator.start()))
            at = separator.end()
        return [*found, (at, end)]


def _header_of(text: str, begin: int, end: int) -> _Header | None:
    while begin < end and text[begin] == " ":
        begin += 1
    if not 0 < end - begin <= _LONGEST_HEADER or compiled(_HEADER_NAMES).search(text, begin, end) is None:
        return None
    for delimiter, expression in _DELIMITERS.items():
        if text.find(delimiter, begin, end) < 0:
            continue
        names = [_name(cell) for cell in compiled(expression).split(text[begin:end])]
        if len(names) < 2:
            continue
        inner = names[1:-1] if delimiter in "|\u2502\u2503" and not names[0] and not names[-1] else names
        if not all(compiled(_HEADER_NAME).fullmatch(name) for name in inner):
            return None
        if delimiter == "  " and any(" " in name for name in names):
            return None
        # The quick look sees a name before a separator, but for a blank; others it sees at the end of the line.
        is_seen = delimiter != "  " and not (delimiter in ",;" and f"{delimiter} " in text[begin:end])
        secrets = [
            (index, says)
            for index, name in enumerate(names)
            if (says := name_says(name)) != NONE
            and (is_seen or index == len(names) - 1 or compiled(_INNER).search(name.lower()))
        ]
        return _Header(expression, len(names), secrets) if secrets else None
    return None


def _name(cell: str) -> str:
    return cell.strip(" \t\"'\\`*")


def _cell(text: str, begin: int, end: int, says: int, header: _Header) -> Span | None:
    match = compiled(_CELL).fullmatch(text, begin, end)
    if match is None:
        return None
    group = "quoted" if match["quoted"] is not None else "bare"
    value = match[group]
    if is_placeholder(value) or not (looks_drawn(value) or (says == SURE and _is_chosen(value, header))):
        return None
    return match.span(group)


def _is_chosen(value: str, header: _Header) -> bool:
    """Whether a value that does not look random may be a password: no number, no code, and in prose no word."""
    if len(value) < _SHORTEST_CHOSEN or " " in value or value.isdigit() or is_code(value):
        return False
    if value.isalpha() and (value.islower() or value.istitle() or value.isupper()):
        return header.is_of_data and len(value) >= _SHORTEST_WORD
    return not header.is_aligned or has_digit(value)


_SHORTEST_CHOSEN: Final = 4
_OF_DATA: Final = frozenset(_DELIMITERS[one] for one in ("\t", "\\t", ";", ","))
"""What separates columns in files of data; other tables also stand in documents, with words in their cells."""


# ---- private keys: within one text, or split into lines, as `readlines()` returns them ----

_BEGINS: Final = r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"
_ENDS: Final = r"-{4,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"
_BODY: Final = r"[\w+/=\s\\:,]{0,20000}+"
_DRAWN: Final = r"[A-Za-z0-9+/]{16,}"
_LONGEST: Final = 20_000
_LINE_OF_BODY: Final = r"\s*(?:\d{1,5}[\s:|\u2192]{1,8})?(?:[A-Za-z0-9+/]*+={0,2}|(?:Proc-Type|DEK-Info|Comment|Version|Subject): .*)\s*"
"""A line of a key, perhaps numbered, or one of the headers before it."""
_PUTTY_BEGINS: Final = r"(?i)private-lines:[ ]\d{1,4}\s*\Z"
_MOST_LINES: Final = 1_000


def private_keys(text: str) -> Iterator[Span]:
    """Yield private keys in text form, up to their end line.

    Without an end line, the key is the rest of the text, or in a long text the characters that fit a key.
    """
    end: re.Match[str] | None = None
    has_end = True
    done = 0
    for begin in compiled(_BEGINS).finditer(text):
        if begin.start() < done:
            continue
        if has_end and (end is None or end.start() < begin.end()):
            end = compiled(_ENDS).search(text, begin.end())
            has_end = end is not None
        if end is not None and end.start() - begin.end() <= _LONGEST:
            done = end.end()
        elif len(text) - begin.end() <= _LONGEST:
            done = len(text)
        else:
            body = compiled(_BODY).match(text, begin.end())
            done = body.end() if body is not None else begin.end()
        if _is_drawn(text, begin.end(), done):
            yield begin.start(), done


def _is_drawn(text: str, begin: int, end: int) -> bool:
    """Whether a key follows its first line; in code that searches for that line, none does."""
    return any(not is_words(run[0]) for run in compiled(_DRAWN).finditer(text, begin, end))


def begins_key(text: str) -> bool:
    """Whether a text has the first line of a private key, and not its last."""
    if "rivate" not in text and "PRIVATE" not in text:
        return False
    if compiled(_PUTTY_BEGINS).search(text) is not None:
        return True
    begin = compiled(_BEGINS).search(text)
    return begin is not None and compiled(_ENDS).search(text, begin.end()) is None


def lines_of_key(lines: Iterable[tuple[str, str]]) -> list[str]:
    """Return the places of the texts, of (place, text), that belong to the key whose first line is before them.

    These are all before its last line; without one, those that look like lines of a key.
    """
    places: list[str] = []
    fitting = chars = 0
    is_drawn = False
    for place, line in islice(lines, _MOST_LINES):
        end = compiled(_ENDS).search(line)
        stop = end.start() if end is not None else len(line)
        chars += stop
        if chars > _LONGEST or begins_key(line):
            break
        has_part = _is_drawn(line, 0, stop)
        is_drawn = is_drawn or has_part
        if end is not None:
            return [*places, *([place] if has_part else [])] if is_drawn else []
        if fitting == len(places) and compiled(_LINE_OF_BODY).fullmatch(line) is not None:
            fitting += 1
        places.append(place)
    return places[:fitting] if is_drawn else []


def columns_behind(value: Any, pointer: str) -> Iterator[Iterator[tuple[str, str]]]:
    """Yield what may follow a text: for each list around its pointer, innermost first, the same place in the next items.

    Each is the pointers and texts up to an item that has no text there.
    """
    steps = pointer.split("/")
    for at in range(len(steps) - 1, 0, -1):
        holder = "/".join(steps[:at])
        items = value_at(value, holder)
        if isinstance(items, list):
            yield _column(items, int(steps[at]) + 1, holder, "".join(f"/{step}" for step in steps[at + 1 :]))


def _column(items: list[Any], first: int, pointer: str, below: str) -> Iterator[tuple[str, str]]:
    for index in range(first, len(items)):
        text = value_at(items[index], below)
        if not isinstance(text, str):
            return
        yield f"{pointer}/{index}{below}", text


# ---- schemas, which describe a secret without containing it ----

# A mapping with only these keys under the name of a secret is a schema, as in the parameters of a tool.
_SCHEMA_KEYS: Final = frozenset(
    "$ref $comment $id $schema additionalProperties allOf anyOf const default deprecated "
    "description dependencies enum example examples exclusiveMaximum exclusiveMinimum format "
    "items maxItems maxLength maxProperties maximum minItems minLength minProperties minimum "
    "multipleOf not nullable oneOf pattern properties readOnly required strict title type "
    "uniqueItems writeOnly".split()
)
_OPENAPI_TYPES: Final = frozenset({"apiKey", "http", "oauth2", "openIdConnect", "mutualTLS"})
_OPENAPI_KEYS: Final = frozenset(
    "type description name in scheme bearerFormat flows openIdConnectUrl".split()
)
"""A security scheme of OpenAPI."""
_SCHEMA_MARKS: Final = frozenset("$ref allOf anyOf oneOf enum properties".split())
_SCHEMA_TYPES: Final = frozenset("string number integer boolean object array null".split())
SCHEMA_VALUES: Final = frozenset("const default example examples".split())
"""Keys of a schema that hold values."""


def is_schema(value: dict[str, Any]) -> bool:
    """Whether a mapping is a JSON schema, which describes a secret without containing it."""
    if str(value.get("type")) in _OPENAPI_TYPES and _OPENAPI_KEYS.issuperset(value):
        return True
    if not _SCHEMA_KEYS.issuperset(value):
        return False
    kind = value.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    return all(one in _SCHEMA_TYPES for one in kinds) if kind else not _SCHEMA_MARKS.isdisjoint(value)
