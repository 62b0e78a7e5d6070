"""Toy modules for replay tests: importable here and in the child, and never cached as bytecode."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from toy import Toy


@pytest.fixture
def toy(tmp_path: Path, trace_root: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    # Two versions of one module within a second and of one size would share their bytecode.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    directory = tmp_path / "modules"
    directory.mkdir()
    monkeypatch.syspath_prepend(str(directory))
    return Toy(directory, trace_root)
