"""What each relation pays: `python -m benchmarks.fault_worlds.ablation --seed 7 --cases 60`.

Every case is played and read once; then its true event is looked for with all relations, and with each one left out.
The weights of the score stay as they are.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from Agent.analysis.debug.debug_issue import held_lines
from Agent.analysis.debug.question import Question, events_naming, read_question
from Agent.analysis.debug.root_causes import Log, read_log, survey
from Agent.analysis.debug.root_causes.causes import findings_in
from Agent.analysis.debug.root_causes.ranking import rank
from Agent.analysis.debug.root_causes.symptoms import Issue
from Agent.analysis.query.engine import open_engine
from benchmarks.command import progress
from benchmarks.fault_benchmark.agent_fault_benchmark.scoring import LOOKED_AT
from benchmarks.fault_worlds.kit import Case, play, worlds
from benchmarks.fault_worlds.score import Task, add_choice_of_cases, chosen_cases, in_child

__all__ = ["Paid", "ablation", "read_session"]

ALL = ""
"""Stands for the ranking with every relation."""


@dataclass
class Paid:
    """What leaving out one relation changes, over all cases."""

    first: int = 0
    """How many more or fewer true events come first."""
    among_three: int = 0
    reciprocal: float = 0.0
    """The sum of the changes of 1 / place."""


def ablation(places: Iterable[dict[str, float]]) -> dict[str, Paid]:
    """Return what every relation pays, by the places in each case, those that pay most first."""
    paid: dict[str, Paid] = defaultdict(Paid)
    for ranks in places:
        whole = ranks[ALL]
        for rule, place in ranks.items():
            if rule != ALL:
                paid[rule].first += (place <= 1) - (whole <= 1)
                paid[rule].among_three += (place <= LOOKED_AT) - (whole <= LOOKED_AT)
                paid[rule].reciprocal += 1 / place - 1 / whole
    return dict(sorted(paid.items(), key=lambda pair: (pair[1].reciprocal, pair[0])))


def places_of(task: Task, root: Path) -> dict[str, float]:
    """Return {relation left out: place of the first cause with a true event, or infinity}; ALL for none."""
    truth, _ = play(worlds()[task.world], Case(task.world, task.kind, task.seed, task.faulty), root)
    read = read_session(next(root.glob("session_*")), truth.complaint)
    if read is None:
        return {ALL: math.inf}
    log, question = read
    issue, true = Issue(question, log), frozenset(truth.accepted)
    findings = findings_in(log, question, issue)

    def place(without: str) -> float:
        causes = rank(log, [each for each in findings if each.rule != without], issue)
        shown = ({act.id for act in cause.acts} for cause in causes)
        return next((n for n, ids in enumerate(shown, 1) if ids & true), math.inf)

    return {rule: place(rule) for rule in [ALL, *sorted({each.rule for each in findings})]}


def read_session(session: Path, complaint: str) -> tuple[Log, Question] | None:
    """Return the acts of a session and what a complaint names there; None where agents do nothing."""
    engine = open_engine(session)
    try:
        seen = survey(engine)
        if seen.axis is None:
            return None
        question = read_question(complaint, seen.roles, seen.names)
        with held_lines(engine, seen.events) as lines:
            question = replace(question, naming=events_naming(engine, lines, question.things))
            named = [each.id for each in question.naming]
            return read_log(engine, lines, seen, seen.axis, question.agents, named)[0], question
    finally:
        engine.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if a case could not be played, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fault_worlds.ablation", description=__doc__)
    add_choice_of_cases(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.task:
        print(json.dumps(places_of(Task(**json.loads(options.task)), Path(os.environ["AGENT_TRACE_ROOT"]))))
        return 0
    places, failed = [], 0
    for task in chosen_cases(parser, options):
        with tempfile.TemporaryDirectory(prefix="fault_worlds_") as directory:
            ranks = in_child("benchmarks.fault_worlds.ablation", task, Path(directory))
        progress(f"{task.world}, {task.kind}, {task.seed}: {ranks.get('failed', ranks.get(ALL))}")
        failed += "failed" in ranks
        if "failed" not in ranks:
            places.append(ranks)
    paid = ablation(places)
    if options.json:
        print(json.dumps({"cases": len(places), "paid": {rule: asdict(each) for rule, each in paid.items()}}))
    else:
        print(f"{len(places)} cases; without a relation, how many more true events are first, among three")
        for rule, each in paid.items():
            print(f"{rule:<24} {each.first:+3d} {each.among_three:+3d}  1/place {each.reciprocal:+.2f}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
