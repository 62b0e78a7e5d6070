"""The three scripts in `tools/` do what the commands do."""

from __future__ import annotations

import pytest
from support.processes import REPOSITORY, run_python

pytestmark = pytest.mark.usefixtures("one_user")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("script", "command"),
    [
        ("analyzer.py", ["analyze"]),
        ("tail.py", ["tail", "-n", "3"]),
        ("replay.py", ["replay", "last/creator_002"]),
    ],
)
def test_a_tool_says_what_its_command_says(start, recorded, tmp_path, script, command):
    tool = str(REPOSITORY / "tools" / script)
    done = run_python(tool, *command[1:], cwd=tmp_path, AGENT_TRACE_ROOT=str(recorded.root), PYTHONPATH="")
    assert done.returncode == 0, done.stderr
    said = start(*command).stdout
    assert done.stdout.splitlines()[:3] == said.splitlines()[:3]
