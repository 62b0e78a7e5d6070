"""The file that holds one run: a zip of a small session, whose manifest names each member and its digest.

`run_export` writes it, `run_import` takes nothing of it on trust.
"""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import orjson

from Agent.errors import DamagedInput
from Agent.event.codec import CURRENT_SCHEMA
from Agent.event.model import Event
from Agent.tree.layout import CATEGORY_FILES, parse_file_name, safe_name
from Agent.tree.write.artifacts import ARTIFACT_SCHEME, ROOT_RUN

FORMAT: Final = "agent-trace run"
PACKAGE_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
_MAX_MANIFEST_BYTES: Final = 256 << 20
_MAX_ENTRY_BYTES: Final = 512
_PART: Final = re.compile(r"(?!\.)[A-Za-z0-9_.~\-]{1,160}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_UID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SESSION_ID: Final = re.compile(r"[0-9]{8}_[0-9]{6}(?:-[0-9]{1,6})?")
_PACK: Final = re.compile(r"[0-9a-f]{1,32}-[0-9]{1,9}\.jsonl\.zst")
_CHUNK: Final = re.compile(r"[0-9a-f]{32}\.json\.zst")
_MAX_DEPTH: Final = 20
_END: Final = b"PK\x05\x06"
_END_BYTES: Final = 22
_END_64: Final = b"PK\x06\x06"
_LOCATOR_64: Final = b"PK\x06\x07"
_LOCATOR_64_BYTES: Final = 20
_MAX_COMMENT: Final = 65_535


@dataclass(frozen=True, slots=True)
class PackageLimits:
    """What a package may come to before it is refused."""

    max_members: int = 200_000
    max_bytes: int = 8 << 30
    """All members together, as they are stored and once more with what is compressed in them."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a package says of itself."""

    schema_version: int
    session_id: str
    session_uid: str
    run_id: str | None
    """None for a session's root run, with all runs in it."""
    runs: tuple[str, ...]
    """The explicit runs in it."""
    members: Mapping[str, tuple[int, str]]
    """By path: size in bytes, and BLAKE2b (32 bytes) in hexadecimal."""

    def to_bytes(self) -> bytes:
        """As the member that it is."""
        stored = {
            "format": FORMAT,
            "version": PACKAGE_VERSION,
            "schema_version": self.schema_version,
            "session_id": self.session_id,
            "session_uid": self.session_uid,
            "run_id": self.run_id,
            "runs": self.runs,
            "members": {path: list(told) for path, told in sorted(self.members.items())},
        }
        return orjson.dumps(stored, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_bytes(cls, data: bytes, path: Path) -> Manifest:
        """What the member says; DamagedInput where it cannot be true."""
        try:
            return _manifest_of(orjson.loads(data))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise refused(f"its manifest is invalid: {error}", path) from None


def _manifest_of(stored: Any) -> Manifest:
    if stored["format"] != FORMAT:
        raise ValueError(f"the format is {stored['format']!r}")
    for name, known in (("version", PACKAGE_VERSION), ("schema_version", CURRENT_SCHEMA)):
        if type(stored[name]) is not int or not 1 <= stored[name] <= known:
            raise ValueError(f"{name} is {stored[name]!r}, this program knows {known}")
    runs, run_id = stored["runs"], stored["run_id"]
    if not isinstance(runs, list) or not all(isinstance(run, str) for run in runs):
        raise TypeError("runs is not a list of ids")
    if any(safe_name(run) != run or run == ROOT_RUN for run in runs) or len(set(runs)) < len(runs):
        raise ValueError("a run has an invalid id")
    if run_id is not None and run_id not in runs:
        raise ValueError("its run is not in it")
    if not _SESSION_ID.fullmatch(stored["session_id"]) or not _UID.fullmatch(stored["session_uid"]):
        raise ValueError("it names no session")
    members = {path: (size, digest) for path, (size, digest) in stored["members"].items()}
    for path, (size, digest) in members.items():
        if type(size) is not int or size < 0 or not _DIGEST.fullmatch(digest):
            raise ValueError(f"its entry for {path[:200]!r} is invalid")
        if not is_member_path(path, {*runs, ROOT_RUN}) or size > _most_bytes(path):
            raise ValueError(f"{path[:200]!r} is not a path of a run's, or too large for it")
    return Manifest(
        stored["schema_version"],
        stored["session_id"],
        stored["session_uid"],
        run_id,
        tuple(runs),
        members,
    )


def _most_bytes(path: str) -> float:
    """What a member may come to: the description, packs and chunks are read in one piece."""
    if path == "session.json":
        return 1 << 20
    return 256 << 20 if path.endswith(".zst") and "/checkpoints/" in path else float("inf")


def artifact_member(event: Event) -> str:
    """The member that an `artifact.saved` event tells of."""
    ref = str(event.extra.get("ref"))
    return f"runs/{event.run_id or ROOT_RUN}/artifacts/{ref.removeprefix(ARTIFACT_SCHEME)}"


def wrong_artifact(event: Event, members: Mapping[str, tuple[int, str]]) -> str | None:
    """The member that an `artifact.saved` event tells of, where it is there and not what was saved."""
    if event.kind != "artifact.saved":
        return None
    name = artifact_member(event)
    digest = event.extra.get("digest")
    return name if name in members and isinstance(digest, str) and members[name][1] != digest else None


def is_member_path(path: str, run_dirs: set[str]) -> bool:
    """Whether a path is one that a package of these runs can have; no other is ever written."""
    parts = path.split("/")
    if len(parts) > _MAX_DEPTH or not all(map(_PART.fullmatch, parts)):
        return False
    match parts:
        case ["session.json"]:
            return True
        case [name]:
            return name.removesuffix(".log") in CATEGORY_FILES.values() and name.endswith(".log")
        case ["agents", name]:
            parsed = parse_file_name(name)
            return name.endswith(".log") and parsed is not None and parsed[1:] == (None, None)
        case ["runs", run, "events.jsonl"]:
            return run in run_dirs and run != ROOT_RUN
        case ["runs", run, "artifacts", *below]:
            return run in run_dirs and bool(below)
        case ["runs", run, "checkpoints", name]:
            return run in run_dirs and _PACK.fullmatch(name) is not None
        case ["runs", run, "checkpoints", "chunks", name]:
            return run in run_dirs and _CHUNK.fullmatch(name) is not None
    return False


def refused(why: str, path: Path) -> DamagedInput:
    """The error about a package that is not what `run_export` writes."""
    return DamagedInput(f"the run cannot be imported: {why}", path=path, remedy="nothing was written")


def open_package(file: IO[bytes], path: Path, limits: PackageLimits) -> zipfile.ZipFile:
    """A package opened, once its table of contents is known to be of a bearable size.

    Raises:
        DamagedInput: it is no zip file, or has more members than it may.
    """
    _check_contents(file, path, limits)
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise refused(f"it is not a zip file: {error}", path) from None


def _check_contents(file: IO[bytes], path: Path, limits: PackageLimits) -> None:
    """Read how large the table of contents is, before anything is made of it."""
    size_bytes = file.seek(0, 2)
    tail_bytes = min(size_bytes, _END_BYTES + _MAX_COMMENT + _LOCATOR_64_BYTES + 56)
    file.seek(size_bytes - tail_bytes)
    tail = file.read(tail_bytes)
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise refused("it is not a zip file", path)
    count, contents_bytes = struct.unpack("<HL", tail[at + 10 : at + 16])
    at_64 = tail.rfind(_END_64, 0, at)
    if at_64 >= 0 and len(tail) - at_64 >= 56 and tail.find(_LOCATOR_64, at_64, at) >= 0:
        count, contents_bytes = struct.unpack("<QQ", tail[at_64 + 32 : at_64 + 48])
    if count > limits.max_members + 1 or contents_bytes > (limits.max_members + 1) * _MAX_ENTRY_BYTES:
        raise refused(f"it has {count:,} members; at most {limits.max_members:,} are allowed", path)


def check_members(package: zipfile.ZipFile, path: Path, limits: PackageLimits) -> Manifest:
    """The manifest, once every member is known to be a plain file that it names.

    Raises:
        DamagedInput: the first thing that is not as it has to be.
    """
    infos = package.infolist()
    if len(infos) > limits.max_members + 1:
        raise refused(f"it has {len(infos):,} members; at most {limits.max_members:,} are allowed", path)
    seen: set[str] = set()
    for info in infos:
        why = _wrong_with(info, seen)
        if why is not None:
            raise refused(f"the member {info.filename[:200]!r} {why}", path)
        seen.add(info.filename.casefold())
    manifest = Manifest.from_bytes(_manifest_bytes(package, path), path)
    found = {info.filename: info.file_size for info in infos if info.filename != MANIFEST}
    if found != {name: size for name, (size, _) in manifest.members.items()}:
        raise refused("its members differ from those in its manifest", path)
    if sum(found.values()) > limits.max_bytes:
        raise refused(
            f"it holds {sum(found.values()):,} bytes; at most {limits.max_bytes:,} are allowed", path
        )
    return manifest


def _wrong_with(info: zipfile.ZipInfo, seen: set[str]) -> str | None:
    """What is wrong with an entry, a clause; None if it is a plain file."""
    kind = info.external_attr >> 16 & 0o170000
    if info.filename != info.orig_filename or not all(map(_PART.fullmatch, info.filename.split("/"))):
        return "has a name that leads out of the run"
    if kind not in {0, 0o100000} or info.is_dir():
        return "is not a plain file"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "uses another compression"
    return "is there twice" if info.filename.casefold() in seen else None


def _manifest_bytes(package: zipfile.ZipFile, path: Path) -> bytes:
    try:
        with package.open(MANIFEST) as file:
            data = file.read(_MAX_MANIFEST_BYTES + 1)
    except KeyError:
        raise refused("it has no manifest", path) from None
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError, ValueError) as error:
        raise refused(f"its manifest cannot be read: {error}", path) from None
    except Exception as error:
        if type(error).__module__ != "zlib":
            raise
        raise refused(f"its manifest cannot be read: {error}", path) from None
    if len(data) > _MAX_MANIFEST_BYTES:
        raise refused("its manifest is too large", path)
    return data
