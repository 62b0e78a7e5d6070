"""Sealing, erasing, pruning, recovering and retention, killed at drawn moments over one and the same tree."""

import json
import os
import random
from pathlib import Path

import pytest
from command_kills import look, make_tree, run_command
from erase_kills import apart
from support.processes import run_python

import Agent


@pytest.mark.further
@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(2, marks=pytest.mark.process),
        pytest.param(20, marks=pytest.mark.integration),
        pytest.param(300, marks=[pytest.mark.integration, pytest.mark.slow]),
    ],
)
def test_commands_killed_at_drawn_moments_lose_nothing_and_end_their_work_when_run_again(kills, tmp_path):
    paths = (Path(Agent.__file__).resolve().parents[1], Path(__file__).parents[1])
    done = run_python(
        str(Path(__file__).with_name("command_kills.py")),
        *("--kills", str(kills), "--seed", str(random.randrange(2**32))),
        cwd=tmp_path,
        timeout_s=120 + 3 * kills,
        PYTHONPATH=os.pathsep.join(map(str, paths)),
        XDG_CONFIG_HOME=str(tmp_path / "config"),
        TMPDIR=str(tmp_path),
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])["kills"] >= kills


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize(
    ("before", "erased"), [([], ["--match", '"n":7']), ([["recover", "--all"]], ["--agent", "helper"])]
)
def test_what_a_killed_program_left_half_written_stays_so_where_sealed_lines_are_erased(
    tmp_path, before, erased
):
    root = tmp_path / "trace"
    apart(lambda: make_tree(root))
    for command in [*before, ["seal", "--all", "--remove"], ["erase", "--yes", *erased]]:
        apart(lambda command=command: run_command(root, command))
    _, found = apart(lambda: look(root), answers=True)
    *_, killed = found["verdicts"].values()
    assert (killed["torn_tails"], killed["damaged_lines"], killed["sound"]) == (1, 0, True)
