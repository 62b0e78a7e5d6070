"""Agent Trace as an entry: asks `agent-trace debug --json` about the kept tree of each case."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence

from .files import Answer, Case, Cause

LIMIT_S = 300
_ANSWERED = {0, 1}  # a cause, or a hint


class NoAnswer(Exception):
    """The command failed, did not end in time, or printed something else; the message has its last line."""


def answers_of(cases: Iterable[Case], command: Sequence[str] = ("agent-trace",)) -> Iterator[Answer]:
    """Yield the answer to each case.

    Raises:
        NoAnswer: the command is missing or failed, or a case was written without its tree.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AGENT_TRACE_")}
    for case in cases:
        tree = case.folder / "tree"
        if not tree.is_dir():
            raise NoAnswer(f"{tree} is missing; write the cases with --trees")
        asked = [*command, "debug", case.complaint, "--json", "--root", str(tree)]
        try:
            done = subprocess.run(
                asked, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
            )
            report = json.loads(done.stdout) if done.returncode in _ANSWERED else None
        except FileNotFoundError:
            raise NoAnswer(f"{command[0]} is not installed; --command names another") from None
        except subprocess.TimeoutExpired:
            raise NoAnswer(f"{case.case}: no answer within {LIMIT_S} s") from None
        except json.JSONDecodeError as error:
            raise NoAnswer(f"{case.case}: {command[0]} printed no JSON: {error}") from None
        if report is None:
            told = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise NoAnswer(f"{case.case}: exit code {done.returncode}: {told}")
        yield Answer(
            case.case,
            tuple(Cause(tuple(cause["event_ids"]), cause["confidence"]) for cause in report["causes"]),
        )
