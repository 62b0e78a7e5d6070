"""The source document of a test module: the one that its `PATTERN` names, in the directory of `--documents`."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def document(request: pytest.FixtureRequest) -> Path:
    directory = request.config.getoption("--documents")
    if directory is None:
        pytest.skip("needs the source document: give its directory with --documents=DIR")
    pattern = request.module.PATTERN
    found = sorted((request.config.invocation_params.dir / directory).glob(pattern))
    assert len(found) == 1, f"{directory} holds {len(found)} files {pattern}"
    return found[0]
