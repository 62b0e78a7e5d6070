"""The target of an erasure: an agent, a run with the runs started within it, or everything with a value.

`files` applies it to every line and file. The proof searches every byte below a trace root for what remains
of it, and also the content of compressed frames, SQLite rows and sealed lines.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self
from urllib.parse import quote, quote_plus

import orjson

from Agent.archive.chain_check import names_in_chain
from Agent.archive.sealed.parts import Part, read_parts
from Agent.archive.sealed.reader import file_lines, open_connection
from Agent.errors import DamagedInput
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.kinds import Home
from Agent.event.model import Event
from Agent.event.payloads import KINDS
from Agent.flight.artifact_saving import texts_by_place
from Agent.flight.checkpoints.files import unpacked_chunks
from Agent.flight.checkpoints.graph_file import (
    SQLITE_MAGIC,
    is_encrypted,
    is_graph_file,
    packed_member,
    read_only,
    values_in,
)
from Agent.tree.files.lines import chunks_of, event_behind
from Agent.tree.layout import is_encrypted as is_encrypted_session
from Agent.tree.layout import list_sessions, open_file, parse_file_name, safe_name, shown_name
from Agent.tree.write.artifacts import ROOT_RUN

SHORTEST_BASE64: Final = 6
"""Shorter base64 strings match other data by chance and are not searched."""
_WIDE: Final = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_PIECES: Final = "pieces of a stream"
_ITEMS: Final = b'"items":['
_MOST_OF_LINE: Final = 1 << 18
_MOST_OF_DOCUMENT: Final = 64 << 20
"""Longer lines, and longer documents of pieces, are of no recording; they are searched as bytes alone."""
_ESCAPED_TWICE: Final = ("JSON", "JSON in JSON")


def _json_forms(text: str) -> Iterator[bytes]:
    """The text inside a JSON string, with and without escapes for non-ASCII characters."""
    yield json.dumps(text)[1:-1].encode()
    try:
        yield orjson.dumps(text)[1:-1]
    except orjson.JSONEncodeError:  # a lone surrogate, which occurs only as an escape
        return


def _escapes(text: str) -> Iterator[tuple[str, bytes]]:
    for once in dict.fromkeys(_json_forms(text)):
        yield _ESCAPED_TWICE[0], once
        for twice in dict.fromkeys(_json_forms(once.decode())):
            yield _ESCAPED_TWICE[1], twice
    yield "Python", repr(text)[1:-1].encode("utf-8", "backslashreplace")
    yield "Python", text.encode("unicode_escape")


def _quotes(raw: bytes) -> Iterator[bytes]:
    for quoted in (quote(raw, safe=""), quote(raw), quote_plus(raw), quote(raw, safe="/:@!$&'()*+,;=~")):
        yield quoted.encode()
        yield re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), quoted).encode()


def base64_forms(raw: bytes) -> Iterator[bytes]:
    """Return the base64 strings of some bytes that do not depend on the bytes around them."""
    for offset in range(3):
        bits = 8 * (offset + len(raw))
        encoded = base64.b64encode(b"\0" * offset + raw + b"\0\0")
        sure = encoded[-(-8 * offset // 6) : bits // 6]
        if len(sure) >= SHORTEST_BASE64:
            yield sure
            yield sure.translate(bytes.maketrans(b"+/", b"-_"))


class ByteForms:
    """The byte forms of one or more texts, and the search for them.

    Args:
        texts: the texts to search for; not empty.
        packed: their forms in MessagePack, if these differ.
    """

    def __init__(self, texts: Iterable[str], packed: Iterable[bytes] = ()) -> None:
        self.texts = tuple(texts)
        names: dict[bytes, str] = {}
        for text in self.texts:
            raw = text.encode("utf-8", "surrogatepass")
            for name, form in (
                ("literal", raw),
                *_escapes(text),
                *(("URL", form) for form in _quotes(raw)),
                *(("base64", form) for form in base64_forms(raw)),
                *(("UTF-16 or 32", text.encode(name, "surrogatepass")) for name in _WIDE),
            ):
                names.setdefault(form, name)
        for form in packed:
            names.setdefault(form, "MessagePack")
        self._names = names
        self._has_base64 = all(
            any(True for _ in base64_forms(text.encode("utf-8", "surrogatepass"))) for text in self.texts
        )
        # The longest first, so that a match is reported as the right form. One search for each is many times
        # as fast as an expression of all, which `re` tries one after the other at each byte.
        self._ordered = sorted(names, key=len, reverse=True)
        self.longest = len(self._ordered[0])

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the names of the forms searched; base64 is left out if it is too short."""
        base64_too = ("base64",) if self._has_base64 else ()
        return ("literal", "JSON", "JSON in JSON", "Python", "URL", *base64_too, "UTF-16 or 32", _PIECES)

    def find(self, data: bytes) -> str | None:
        """Return the name of a form found in some bytes; None if there is none."""
        return next((self._names[form] for form in self._ordered if form in data), None)

    def find_in_text(self, text: str) -> str | None:
        """Search a text, such as a file name."""
        return self.find(text.encode("utf-8", "surrogatepass"))

    def find_in_pieces(self, items: object) -> str | None:
        """Search the texts that the items of a stream or a generator contain together."""
        is_found = any(self.find_in_text("".join(texts)) for texts in texts_by_place(items).values())
        return _PIECES if is_found else None

    def find_in_lines(self, lines: bytes) -> str | None:
        """Search the pieces of streams in lines of a recording, or in a document of such pieces."""
        if _ITEMS not in lines and not lines.startswith(b"[") and b"\n[" not in lines:
            return None
        found = (
            self._find_in_items(line) for line in lines.split(b"\n") if _ITEMS in line or line[:1] == b"["
        )
        return next((form for form in found if form is not None), None)

    def _find_in_items(self, line: bytes) -> str | None:
        with contextlib.suppress(orjson.JSONDecodeError, RecursionError):
            stored = orjson.loads(line)
            if type(stored) is dict:
                payload = stored.get("extra", stored)
                stored = payload.get("items") if type(payload) is dict else None
            return self.find_in_pieces(stored)
        return None

    def find_in_stream(self, chunks: Iterable[bytes]) -> str | None:
        """Search bytes in chunks, without loading all of them but for a long line."""
        buffer = rest = b""
        for chunk in chunks:
            buffer += chunk
            lines, _, rest = (rest + chunk).rpartition(b"\n")
            form = self.find(buffer) or self.find_in_lines(lines)
            if form is not None:
                return form
            buffer = buffer[-self.longest :]
            is_document = rest.startswith(b"[")
            rest = rest if len(rest) <= (_MOST_OF_DOCUMENT if is_document else _MOST_OF_LINE) else b""
        return self.find_in_lines(rest)


Kind = Literal["agent", "run", "match"]
AGENT: Final = "agent"
RUN: Final = "run"
MATCH: Final = "match"
_ARTIFACT_MARK: Final = b'"artifact.saved"'
_RUN_IDS: Final = re.compile(rb'"run_id"\s*:\s*("(?:[^"\\]|\\.)*")')


class ErasedArtifact(NamedTuple):
    """An artifact to erase: its session, the directory of its run, and its path below `artifacts/`."""

    session_id: str
    run_dir: str
    path: str


class LineVerdict(NamedTuple):
    """The result for a line."""

    kept: bytes | None
    """The part to keep, without its newline; None for nothing."""
    event: Event | None
    """The erased event, if any."""


@dataclass
class Target:
    """The target of an erasure; an erasure adds to a copy of it what it finds.

    Args:
        kind: `agent`, `run` or `match`.
        value: the agent's id, the run's id or the value.
        runs: the runs to erase completely: the run and those started within it, or those of the agent. No
            property may be read before they are complete.
        artifacts: the artifacts to erase, together with their `artifact.saved` events.
        sealed: the sessions to seal again, because their archive loses lines and replaces the log files.
    """

    kind: Kind
    value: str
    runs: AbstractSet[str] = frozenset()
    artifacts: set[ErasedArtifact] = field(default_factory=set)
    sealed: set[str] = field(default_factory=set)

    def to_object(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "kind": self.kind,
            "value": self.value,
            "runs": sorted(self.runs),
            "artifacts": sorted(map(list, self.artifacts)),
            "sealed": sorted(self.sealed),
        }

    @classmethod
    def from_object(cls, stored: Any) -> Self:
        """Read a target from a JSON object; KeyError, TypeError or ValueError if it is invalid."""
        if stored["kind"] not in {AGENT, RUN, MATCH} or not isinstance(stored["value"], str):
            raise ValueError(f"it erases {stored['kind']!r}")
        artifacts = {ErasedArtifact(*map(str, entry)) for entry in stored["artifacts"]}
        runs, sealed = (set(map(str, stored.get(key, ()))) for key in ("runs", "sealed"))
        return cls(stored["kind"], stored["value"], runs, artifacts, sealed)

    @cached_property
    def forms(self) -> ByteForms:
        """The byte forms to search for: of the value, or of the members that name the agent or the run."""
        if self.kind == MATCH:
            return ByteForms([self.value])
        key = "agent_id" if self.kind == AGENT else "run_id"
        named = [self.value] if self.kind == AGENT else sorted({self.value, *self.runs})
        packed = (packed_member(key, name) for name in named)
        return ByteForms((f'"{key}":{_quoted(name)}' for name in named), packed)

    @cached_property
    def run_dirs(self) -> frozenset[str]:
        """The directory names of the runs to erase completely."""
        return frozenset(map(safe_name, self.runs))

    @cached_property
    def names(self) -> frozenset[bytes]:
        """The agent or the run, and the runs to erase completely, in their JSON form."""
        return frozenset(_quoted(name).encode() for name in (self.value, *self.runs))

    def judge(self, line: bytes, session_id: str, *, is_whole_file: bool = False) -> LineVerdict:
        """The verdict on a line of the recording or of a mirror.

        Args:
            line: without its newline.
            session_id: the session's id; "" for a line of a mirror, which contains the id.
            is_whole_file: whether the whole file of the line is erased.
        """
        if not is_whole_file and not self._may_match(line):
            return LineVerdict(line, None)
        try:
            event = decode_line(line)
        except DamagedLine:
            return self._judge_damaged(line, session_id, is_whole_file=is_whole_file)
        if is_whole_file or self._matches_event(event, line, session_id):
            return LineVerdict(None, event)
        return LineVerdict(line, None)

    def _may_match(self, line: bytes) -> bool:
        if self.artifacts and _ARTIFACT_MARK in line:
            return True
        if self.kind == MATCH:
            return self._matches(line)
        if _quoted(self.value).encode() in line:
            return True
        # one lookup for each run in a line, not one for each erased run
        return not self.names.isdisjoint(_RUN_IDS.findall(line))

    def _matches(self, line: bytes) -> bool:
        if self.forms.find(line) is not None or self.forms.find_in_lines(line) is not None:
            return True
        if b"\\u" not in line and b"\\/" not in line:
            return False
        # Another program may have escaped characters needlessly.
        try:
            return self.forms.find(orjson.dumps(orjson.loads(line))) is not None
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            return False

    def _matches_event(self, event: Event, line: bytes, session_id: str) -> bool:
        if event.kind == "artifact.saved":
            path, run_dir = str(event.extra.get("path")), event.run_id or ROOT_RUN
            if ErasedArtifact(session_id or event.session_id, run_dir, path) in self.artifacts:
                return True
        if self.kind == MATCH:
            return self._matches(line)
        if self.kind == AGENT and event.agent_id == self.value:
            return True
        if event.run_id not in self.runs:
            return False
        # Keep the events of other agents in a run of the erased agent.
        return self.kind == RUN or (event.kind in KINDS and KINDS[event.kind].home is Home.RUN)

    def _judge_damaged(self, line: bytes, session_id: str, *, is_whole_file: bool) -> LineVerdict:
        """Judge a damaged line; a complete event after a torn one is judged separately."""
        behind = event_behind(line)
        if behind is None:
            goes = is_whole_file or self.forms.find(line) is not None
            return LineVerdict(None if goes else line, None)
        at, event = behind
        if is_whole_file or self._matches_event(event, line[at:], session_id):
            return LineVerdict(None, event)
        return LineVerdict(line if self.forms.find(line[:at]) is None else line[at:], None)

    def is_named_by(self, text: str) -> bool:
        """Return whether a text, such as a file name or the name of an open span, contains the target."""
        if self.kind == MATCH:
            return self.forms.find_in_text(text) is not None
        return any(run_id in text for run_id in self.runs) if self.kind == RUN else False


def _quoted(text: str) -> str:
    try:
        return orjson.dumps(text).decode()
    except orjson.JSONEncodeError:  # a lone surrogate: no event can name it
        return '"\\ud800"'


_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_GZIP: Final = b"\x1f\x8b"
_OPAQUE: Final = {
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PAR1": "Parquet",
    b"%PDF": "PDF",
}
_CHUNK_BYTES: Final = 1024 * 1024
_DAMAGE: Final = (DamagedInput, gzip.BadGzipFile, EOFError, zlib.error, sqlite3.Error)
"""Errors raised when reading damaged compressed data or a damaged database."""


@dataclass(frozen=True, slots=True)
class FormMatch:
    """A trace of the target that remains: the file, and the form in which it was found."""

    file: str
    form: str


@dataclass(slots=True)
class Proof:
    """The result of the search for remaining traces."""

    files: int = 0
    size_bytes: int = 0
    forms: tuple[str, ...] = ()
    unpacked_files: int = 0
    """Number of files whose compressed or sealed content was searched, too."""
    left: list[FormMatch] = field(default_factory=list)
    not_looked_into: dict[str, int] = field(default_factory=dict)
    """Number of files, by kind, of which only the raw bytes were searched."""

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.left

    def skip(self, kind: str) -> None:
        """Count a file of which only the raw bytes were searched."""
        self.not_looked_into[kind] = self.not_looked_into.get(kind, 0) + 1

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"clean": self.clean, **asdict(self)}


def prove(
    root: Path,
    target: Target,
    besides: Iterable[Path] = (),
    progress: Callable[[str, float], None] = lambda _step, _part: None,
) -> Proof:
    """Search every file below a trace root, and every name.

    Args:
        root: the trace root.
        target: the erased data.
        besides: files that are not searched: the plan of the erasure itself.
        progress: called with the step and how far it is, 0 to 1.

    Raises:
        OSError: a file cannot be read.
        DamagedInput: a part of an archive cannot be read.
    """
    proof = Proof(forms=target.forms.kinds)
    left_out = set(besides)
    everything = list(_everything_below(root))
    for number, path in enumerate(everything):
        progress("searching", number / len(everything))
        if path in left_out:
            continue
        name = shown_name(path.relative_to(root).as_posix())
        form = _form_in_name(path, name, target)
        if form is None and path.is_file() and not path.is_symlink():
            form = _search(path, target, proof)
        elif path.is_symlink():
            form = form or target.forms.find_in_text(os.fspath(path.readlink()))
        if form is not None:
            proof.left.append(FormMatch(name, form))
    for ref in list_sessions(root):
        if is_encrypted_session(ref.path):
            proof.skip("encrypted session")
        _search_sealed(root, ref.path, target, proof)
    return proof


def holds(path: Path, target: Target) -> bool:
    """Return whether a file contains the target in any form, including inside compressed content."""
    return _search(path, target, Proof()) is not None


def _everything_below(root: Path) -> Iterator[Path]:
    for directory, directories, names in os.walk(root):
        for name in sorted((*directories, *names)):
            yield Path(directory, name)


def _form_in_name(path: Path, name: str, target: Target) -> str | None:
    """Return the form in which a file name contains the target; for an agent or a run, `name`."""
    if target.kind == AGENT:
        parsed = parse_file_name(path.name)
        is_agent_file = (
            path.parent.name == "agents" and parsed is not None and parsed.stem == safe_name(target.value)
        )
        is_of_session = path.parent.parent.name.startswith("session_")
        return "name" if is_agent_file and is_of_session else None
    if target.kind == "run":
        return "name" if path.parent.name == "runs" and path.name in target.run_dirs else None
    return target.forms.find_in_text(name)


def _search(path: Path, target: Target, proof: Proof) -> str | None:
    """Return the form in which a file contains the target."""
    proof.files += 1
    proof.size_bytes += path.stat().st_size
    form = target.forms.find_in_stream(names_in_chain(path) or chunks_of(path))
    if form is not None:
        return form
    with os.fdopen(open_file(path)[0], "rb") as file:
        head = file.read(16)
    if head.startswith(_ZSTD):
        return _unpacked(target, proof, unpacked_chunks(path), "zstd")
    if head.startswith(_GZIP):
        return _unpacked(target, proof, _gzip_chunks(path), "gzip")
    if head == SQLITE_MAGIC:
        rows = _graph_values(path, proof) if is_graph_file(path) else iter(())
        return _unpacked(target, proof, chain(rows, _sqlite_rows(path)), "SQLite")
    kind = next((kind for magic, kind in _OPAQUE.items() if head.startswith(magic)), None)
    if kind is not None and not (kind == "Parquet" and path.parent.name == "archive"):
        proof.skip(kind)
    return None


def _unpacked(target: Target, proof: Proof, chunks: Iterator[bytes], kind: str) -> str | None:
    try:
        form = target.forms.find_in_stream(chunks)
    except _DAMAGE:
        # A damaged file is not decoded; its raw bytes were searched.
        proof.skip(f"damaged {kind}")
        return None
    proof.unpacked_files += 1
    return None if form is None else f"{form} in {kind}"


def _gzip_chunks(path: Path) -> Iterator[bytes]:
    with gzip.open(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _graph_values(path: Path, proof: Proof) -> Iterator[bytes]:
    """Yield the values of a file of `TraceSaver`, and note if some are encrypted."""
    encrypted = False
    for kind, raw in values_in(path):
        encrypted = encrypted or is_encrypted(kind)
        yield raw + b"\n"
    if encrypted:
        proof.skip("encrypted graph states")


def _sqlite_rows(path: Path) -> Iterator[bytes]:
    """Yield every row of every table as JSON, so that a value that spans pages is found."""
    with read_only(path) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            quoted = table.replace('"', '""')
            cursor = database.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608 - a quoted name
            names = [column[0] for column in cursor.description]
            for row in cursor:
                yield orjson.dumps(dict(zip(names, row, strict=True)), default=_shown)


def _shown(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _search_sealed(root: Path, session: Path, target: Target, proof: Proof) -> None:
    """Search the lines in a session's archive."""
    searched: set[str] = set()
    lines_found: set[str] = set()
    for part, _, line in sealed_lines(read_parts(session)):
        name = part.parquet.relative_to(root).as_posix()
        searched.add(name)
        form = target.forms.find(line) if name not in lines_found else None
        if form is not None:
            lines_found.add(name)
            proof.left.append(FormMatch(name, f"{form} in Parquet"))
    proof.unpacked_files += len(searched)


def sealed_lines(parts: Iterable[Part]) -> Iterator[tuple[Part, str, bytes]]:
    """Yield every line of some parts, with its part and file; DamagedInput if a part cannot be read."""
    for part in parts:
        with open_connection(part.directory.parent) as connection:
            for file, _, line in file_lines(connection, part):
                yield part, file, line
