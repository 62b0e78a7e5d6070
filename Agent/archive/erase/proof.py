"""The proof of an erasure: every byte below the trace root searched for what should be gone.

Compressed frames, rows of SQLite and sealed lines are searched as what they hold, beside their own bytes.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.archive.chain_check import names_in_chain
from Agent.archive.erase.files import chunks_of
from Agent.archive.erase.lines import sealed_lines
from Agent.archive.erase.target import AGENT, Target
from Agent.archive.sealed.parts import read_parts
from Agent.tree.layout import list_sessions, parse_file_name, safe_name

_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_GZIP: Final = b"\x1f\x8b"
_SQLITE: Final = b"SQLite format 3\0"
_OPAQUE: Final = {
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PAR1": "Parquet",
    b"%PDF": "PDF",
}
_CHUNK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Left:
    """Something that is still there: the file below the root, and the form in which it was found."""

    file: str
    form: str


@dataclass(slots=True)
class Proof:
    """What was searched, and what was found."""

    files: int = 0
    size_bytes: int = 0
    forms: tuple[str, ...] = ()
    unpacked_files: int = 0
    """Files whose compressed or sealed content was searched as well."""
    left: list[Left] = field(default_factory=list)
    not_looked_into: dict[str, int] = field(default_factory=dict)
    """Kinds of files that were searched as they stand and not as what they hold, and how many."""

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.left

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"clean": self.clean, **asdict(self)}


def prove(root: Path, target: Target, besides: Iterable[Path] = ()) -> Proof:
    """Search every file below a trace root, and every name.

    Args:
        root: the trace root.
        target: what should be gone.
        besides: files that are left out: the plan of the erasure itself.

    Raises:
        OSError: a file cannot be read.
        DamagedInput: a part of an archive cannot be read.
    """
    proof = Proof(forms=target.forms.kinds)
    left_out = set(besides)
    for path in _everything_below(root):
        if path in left_out:
            continue
        name = path.relative_to(root).as_posix()
        form = _name_tells(path, name, target)
        if form is None and path.is_file() and not path.is_symlink():
            form = _search(path, target, proof)
        elif path.is_symlink():
            form = form or target.forms.find_in_text(os.fspath(path.readlink()))
        if form is not None:
            proof.left.append(Left(name, form))
    for ref in list_sessions(root):
        _search_sealed(root, ref.path, target, proof)
    return proof


def holds(path: Path, target: Target) -> bool:
    """Whether a file holds the target in any form, also inside what is compressed in it."""
    return _search(path, target, Proof()) is not None


def _everything_below(root: Path) -> Iterator[Path]:
    for place, directories, names in os.walk(root):
        for name in sorted((*directories, *names)):
            yield Path(place, name)


def _name_tells(path: Path, name: str, target: Target) -> str | None:
    """The form in which a name holds the target; for an agent or a run, `name`."""
    if target.kind == AGENT:
        parsed = parse_file_name(path.name)
        own = path.parent.name == "agents" and parsed is not None and parsed.stem == safe_name(target.value)
        is_of_session = path.parent.parent.name.startswith("session_")
        return "name" if own and is_of_session else None
    if target.kind == "run":
        return "name" if path.parent.name == "runs" and path.name in target.run_dirs else None
    return target.forms.find_in_text(name)


def _search(path: Path, target: Target, proof: Proof) -> str | None:
    """The form in which the target stands in a file."""
    proof.files += 1
    proof.size_bytes += path.stat().st_size
    found = target.forms.find_in_stream(names_in_chain(path) or chunks_of(path))
    if found is not None:
        return found
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(_ZSTD):
        return _unpacked(target, proof, _zstd_chunks(path), "zstd")
    if head.startswith(_GZIP):
        return _unpacked(target, proof, _gzip_chunks(path), "gzip")
    if head == _SQLITE:
        return _unpacked(target, proof, _sqlite_rows(path), "SQLite")
    kind = next((kind for magic, kind in _OPAQUE.items() if head.startswith(magic)), None)
    if kind is not None and not (kind == "Parquet" and path.parent.name == "archive"):
        proof.not_looked_into[kind] = proof.not_looked_into.get(kind, 0) + 1
    return None


def _unpacked(target: Target, proof: Proof, chunks: Iterator[bytes], kind: str) -> str | None:
    try:
        found = target.forms.find_in_stream(chunks)
    except _Unreadable:
        # Damage is not content: its bytes were searched as they stand.
        proof.not_looked_into[f"damaged {kind}"] = proof.not_looked_into.get(f"damaged {kind}", 0) + 1
        return None
    proof.unpacked_files += 1
    return None if found is None else f"{found} in {kind}"


class _Unreadable(Exception):
    """Something compressed, or a database, does not read."""


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    from zstandard import ZstdDecompressor, ZstdError

    try:
        with (
            path.open("rb") as file,
            ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader,
        ):
            while chunk := reader.read(_CHUNK_BYTES):
                yield chunk
    except ZstdError as error:
        raise _Unreadable from error


def _gzip_chunks(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except (OSError, EOFError, zlib.error) as error:
        raise _Unreadable from error


def _sqlite_rows(path: Path) -> Iterator[bytes]:
    """Every row of every table as JSON, so that a value that lies across pages is found."""
    # One that nobody has open is read as it stands, so that no companion files are made beside it.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                quoted = table.replace('"', '""')
                cursor = database.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608 - a quoted name
                names = [column[0] for column in cursor.description]
                for row in cursor:
                    yield orjson.dumps(dict(zip(names, row, strict=True)), default=_shown)
    except sqlite3.Error as error:
        raise _Unreadable from error


def _shown(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _search_sealed(root: Path, session: Path, target: Target, proof: Proof) -> None:
    """Search the lines that a session's archive gives back."""
    searched: set[str] = set()
    found: set[str] = set()
    for part, line in sealed_lines(read_parts(session)):
        name = part.parquet.relative_to(root).as_posix()
        searched.add(name)
        form = target.forms.find(line) if name not in found else None
        if form is not None:
            found.add(name)
            proof.left.append(Left(name, f"{form} in Parquet"))
    proof.unpacked_files += len(searched)
