"""`replay --pdb` and `replay --no-writes` as a user calls them: a command, with a terminal's input."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

TILL = """
from pathlib import Path

HERE = Path(__file__).parent
RATE = 2

class Till:
    agent_id, agent_role = "a", "till"
    def __init__(self):
        self.coins = 0

    @trace_agent_action
    def pay(self, amount):
        self.coins += amount * RATE
        with (HERE / "book.txt").open("a") as book:
            book.write(f"{amount}\\n")
        return self.coins

def build(spec):
    return Till()

def main():
    till = Till()
    for amount in (3, 5, 8):
        till.pay(amount)
"""


def replayed(toy, *options, said=""):
    """What the command prints, and its exit code; what is said to it is typed into a terminal."""
    command = [sys.executable, "-m", "Agent", "replay", "last/a", "--target", f"{toy.name}:build", *options]
    keyboard, terminal = pty.openpty()
    try:
        os.write(keyboard, said.encode())
        return subprocess.run(
            [*command, "--root", str(toy.root)],
            cwd=toy.directory,
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(keyboard)
        os.close(terminal)


@pytest.mark.integration
def test_the_debugger_opens_in_the_method_that_differs_with_its_recorded_arguments(toy):
    toy.record(TILL).change("amount * RATE", "amount * (RATE + (amount > 4))")
    done = replayed(toy, "--pdb", said="p ('seen', amount, self.coins)\nc\n")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "('seen', 5, 6)" in done.stdout + done.stderr, (
        "it stops in the second payment, before its first line"
    )
    assert "DIVERGED a" in done.stdout
    assert "step 2" in done.stdout


@pytest.mark.integration
def test_no_debugger_opens_where_nothing_differs(toy):
    done = replayed(toy.record(TILL), "--pdb", said="p 'asked'\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "asked" not in done.stdout + done.stderr


@pytest.mark.integration
def test_no_writes_leaves_a_file_of_the_user_as_it_is_and_says_which_it_was(toy):
    book = toy.directory / "book.txt"
    toy.record(TILL)
    written = book.read_text()
    done = replayed(toy, "--no-writes")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "--no-writes refused" in done.stdout
    assert "book.txt" in done.stdout
    assert book.read_text() == written
    done = replayed(toy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "existing files opened for writing" in done.stdout
    assert book.read_text() == 2 * written, "without it the code writes for real"


@pytest.mark.integration
def test_files_of_a_session_that_the_target_begins_are_none_of_the_user(toy):
    done = replayed(toy.record(f"import Agent\nAgent.setup_logging()\n{TILL}"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "session.json" not in done.stdout
