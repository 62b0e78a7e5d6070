"""The examples run from any directory, record where they are told to, and end with exit code 0."""

from pathlib import Path

import pytest
from support.processes import REPOSITORY, run_python

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_leaves_one_session(example: Path, tmp_path, trace_root):
    done = run_python(str(example), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert len(list(trace_root.glob("session_*"))) == 1
    assert not list(tmp_path.glob("trace/*.py"))
