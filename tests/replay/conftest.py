"""Toy modules for replay tests: importable here and in the child."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from toy import Toy


@pytest.fixture
def toy(
    tmp_path: Path,
    trace_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Toy:
    # Each replay is a process of its own: compiling the package once for all of them halves the time.
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        monkeypatch.delenv("PYTHONDONTWRITEBYTECODE")
        monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.getbasetemp() / "bytecode"))
    # A file that a test writes twice within a second is imported here, and anew in the child.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    directory = tmp_path / "modules"
    directory.mkdir()
    monkeypatch.syspath_prepend(str(directory))
    return Toy(directory, trace_root)
