"""What each relation pays: `python -m benchmarks.fault_set.ablation [--json]`.

Every session of the fault set is recorded and read once; then its true event is looked for with all relations, and
with each one left out. The weights of the score stay as they are.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from Agent.analysis.debug.debug_issue import held_lines
from Agent.analysis.debug.question.entity_mentions import events_naming
from Agent.analysis.debug.question.question import Question, read_question
from Agent.analysis.debug.root_causes import Log, read_log, survey
from Agent.analysis.debug.root_causes.causes import findings_in
from Agent.analysis.debug.root_causes.issue import Issue
from Agent.analysis.debug.root_causes.ranking import rank
from Agent.analysis.query.engine import open_engine
from benchmarks.command import progress
from benchmarks.fault_set.cases import CASES
from benchmarks.fault_set.scoring import LOOKED_AT, record

__all__ = ["Paid", "ablation", "ranks_without"]

ALL = ""
"""Stands for the ranking with every relation."""


@dataclass
class Paid:
    """What leaving out one relation changes, over all sessions."""

    first: int = 0
    """How many more or fewer true events come first."""
    among_three: int = 0
    reciprocal: float = 0.0
    """The sum of the changes of 1 / place."""


def read(path: Path, complaint: str) -> tuple[Log, Question] | None:
    """The acts of a session and what a complaint names there; None where agents do nothing."""
    engine = open_engine(path)
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


def ranks_without(log: Log, question: Question, truth: Iterable[str]) -> dict[str, float]:
    """{relation left out: place of the first cause that shows a true event, or infinity}; ALL for none."""
    true = frozenset(truth)
    issue = Issue(question, log)
    findings = findings_in(log, question, issue)

    def place(without: str) -> float:
        causes = rank(log, [each for each in findings if each.rule != without], issue)
        shown = ({act.id for act in cause.acts} for cause in causes)
        return next((n for n, ids in enumerate(shown, 1) if ids & true), float("inf"))

    return {rule: place(rule) for rule in [ALL, *sorted({each.rule for each in findings})]}


def ablation(places: Iterable[dict[str, float]]) -> dict[str, Paid]:
    """What every relation pays, by the places in each session, those that pay most first."""
    paid: dict[str, Paid] = defaultdict(Paid)
    for ranks in places:
        whole = ranks[ALL]
        for rule, place in ranks.items():
            if rule != ALL:
                paid[rule].first += (place <= 1) - (whole <= 1)
                paid[rule].among_three += (place <= LOOKED_AT) - (whole <= LOOKED_AT)
                paid[rule].reciprocal += 1 / place - 1 / whole
    return dict(sorted(paid.items(), key=lambda pair: (pair[1].reciprocal, pair[0])))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fault_set.ablation", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args(arguments)
    places = []
    for case in CASES:
        progress(case.name)
        with tempfile.TemporaryDirectory(prefix="agent-trace-ablation-") as directory:
            recorded = record(case, Path(directory).resolve() / "trace", faulty=True)
            session = Path(recorded["root"]) / f"session_{recorded['session']}"
            found = read(session, recorded["complaint"])
        if found is not None:
            places.append(ranks_without(*found, recorded["truth"]))
    paid = ablation(places)
    if given.json:
        print(
            json.dumps({"sessions": len(places), "paid": {rule: asdict(each) for rule, each in paid.items()}})
        )
        return 0
    print(f"{len(places)} sessions; without a relation, how many more true events are first, among three")
    for rule, each in paid.items():
        print(f"{rule:<24} {each.first:+3d} {each.among_three:+3d}  1/place {each.reciprocal:+.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
