"""Toy modules for replay tests: importable here and in the child."""

from __future__ import annotations

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
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.getbasetemp() / "bytecode"))
    directory = tmp_path / "modules"
    directory.mkdir()
    monkeypatch.syspath_prepend(str(directory))
    return Toy(directory, trace_root)
