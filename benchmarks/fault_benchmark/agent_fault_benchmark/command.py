"""The command line: score answers, check files, and let Agent Trace answer.

Exit codes: 0 fine, 2 usage, 3 a file is missing or not as it should be, or an entry gave no answer.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from .agent_trace import NoAnswer, answers_of
from .files import FormatError, read_answers, read_cases, read_truth, write_answers
from .scoring import score


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parser = argparse.ArgumentParser(prog="agent-fault-benchmark", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    scored = commands.add_parser("score", help="score the answers of an entry")
    scored.add_argument(
        "truth", type=Path, metavar="TRUTH", help="truth.jsonl, or the directory that holds it"
    )
    scored.add_argument(
        "answers", type=Path, metavar="ANSWERS", help="the entry's answers, a line for each case"
    )
    scored.add_argument("--json", action="store_true", help="print JSON")
    checked = commands.add_parser("check", help="check that the files of a directory are as FORMAT.md says")
    checked.add_argument("cases", type=Path, metavar="CASES", help="the directory with cases.jsonl")
    asked = commands.add_parser("agent-trace", help="let Agent Trace answer, which has to be installed")
    asked.add_argument("cases", type=Path, metavar="CASES", help="a directory written with --trees")
    asked.add_argument("answers", type=Path, metavar="ANSWERS", help="where to write the answers")
    asked.add_argument("--command", dest="program", default="agent-trace", help="how to call it")
    options = parser.parse_args(arguments)
    try:
        if options.command == "score":
            scores = score(read_truth(options.truth), read_answers(options.answers))
            print(json.dumps(scores.to_dict(), indent=1) if options.json else scores.to_text())
        elif options.command == "check":
            print(check(options.cases))
        else:
            write_answers(
                answers_of(read_cases(options.cases), shlex.split(options.program)), options.answers
            )
    except (FormatError, NoAnswer) as error:
        print(f"agent-fault-benchmark: {error}", file=sys.stderr)
        return 3
    return 0


def check(directory: Path) -> str:
    """Read every file of a directory; return how much it holds.

    Raises:
        FormatError: a file is not as it should be, or names a case or an event that is not there.
    """
    cases = {case.case: case for case in read_cases(directory)}
    truth = read_truth(directory)
    events = 0
    for each in truth:
        if each.case not in cases:
            raise FormatError(f"case {each.case!r} is not in cases.jsonl", directory / "truth.jsonl")
    known = {each.case: each for each in truth}
    for name, case in cases.items():
        ids = [event.get("id") for event in case.events()]
        path = case.folder / "events.jsonl"
        if not all(isinstance(each, str) for each in ids) or len(set(ids)) < len(ids):
            raise FormatError("every event needs an `id` of its own, a text", path)
        missing = known[name].accepted - set(ids) if name in known else set()
        if missing:
            raise FormatError(f"{name}: the accepted event {min(missing)} is not there", path)
        events += len(ids)
    healthy = sum(not each.faulty for each in truth)
    return f"{len(cases)} cases, {healthy} of them healthy, {events:,} events: as they should be"


def run() -> None:
    """Run the command of this process."""
    sys.exit(main())


if __name__ == "__main__":
    run()
