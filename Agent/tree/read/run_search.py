"""Which runs an agent took part in: the files in which its name stands, found without decoding a line.

`reader` asks, so that one agent's journey reads no run that it had nothing to do with.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import orjson

from Agent.tree.files.lines import open_file
from Agent.tree.layout import run_files, run_ids

__all__ = ["files_naming", "is_run_file"]

_CHUNK_BYTES: Final = 1024 * 1024


def is_run_file(path: Path) -> bool:
    """Whether that is a file of a run's events, by its name."""
    return path.suffix == ".jsonl"


def files_naming(session: Path, agent_id: str) -> list[Path]:
    """The files of a session's runs that hold events of that agent."""
    try:
        wanted = b'"agent_id":' + orjson.dumps(agent_id)
    except orjson.JSONEncodeError:  # a lone surrogate: no event can name it
        return []
    return [
        path for run_id in run_ids(session) for path in run_files(session, run_id) if _holds(path, wanted)
    ]


def _holds(path: Path, wanted: bytes) -> bool:
    try:
        fd, _ = open_file(path)
    except OSError:
        return True  # whoever reads it says what is wrong with it
    try:
        held = b""
        while chunk := os.read(fd, _CHUNK_BYTES):
            held = held[-len(wanted) :] + chunk
            if wanted in held:
                return True
    finally:
        os.close(fd)
    return False
