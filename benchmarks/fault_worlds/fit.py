"""Fit the trees that rank causes: `python -m benchmarks.fault_worlds.fit --seed 7 --cases 1390 --sessions DIR --out DIR`.

Every case is played once; the trees of symptoms are fitted to the events that show a symptom, then those of causes to the
events that a fault began with, of the worlds and of the sets of fault simulations but `unseen`. The loss is the negative
log likelihood of the true events, by a softmax over the events of a session. The printed figures are of cases whose
authors the trees were not fitted to (five folds by author), and so is what the trees of causes see of the symptoms.
Needs LightGBM.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Agent.analysis.debug.question import read_question
from Agent.analysis.debug.root_causes import ranking, symptoms
from Agent.analysis.debug.root_causes.acts import Log
from Agent.analysis.debug.root_causes.causes import findings_in
from Agent.analysis.debug.root_causes.ranking import findings_by_place, measures_of_causes
from Agent.analysis.debug.root_causes.scan import Finding
from Agent.analysis.debug.root_causes.symptoms import MAX_SYMPTOMS, Issue, blame, measures_of_symptoms
from benchmarks.command import progress
from benchmarks.fault_simulations.score import SETS, played, simulations
from benchmarks.fault_worlds.ablation import read_session
from benchmarks.fault_worlds.kit import Case, play, worlds
from benchmarks.fault_worlds.score import add_choice_of_cases, chosen_cases
from tests.analysis.analysis_kit import Platform, SessionBuilder

__all__ = ["Judged", "fit", "out_of_fold"]

FOLDS = 5
AMONG = (1, 3, 6, 18, 36)
LEAVES, RATE, TREES = 12, 0.07, 200
SIMULATED = 3.0
"""Weight of a case of the simulations, of which there are fewer, beside one of the worlds."""
PLAIN = 6
"""Every sixth case is asked a plain question, too."""


@dataclass(frozen=True)
class Sought:
    """What trees are fitted for.

    Args:
        weights: of the sum of measures that they correct.
        corrected: factor on that sum.
    """

    weights: Mapping[str, float]
    corrected: float


SYMPTOMS = Sought(symptoms.WEIGHTS, 0.5)
CAUSES = Sought(ranking.WEIGHTS, 1.0)


@dataclass
class Read:
    """A played case, read as `debug` reads it."""

    author: int
    log: Log
    issue: Issue
    findings: Sequence[Finding]
    accepted: frozenset[str]
    symptom: str
    weight: float = 1.0


@dataclass
class Judged:
    """Events of one case with their measures, and which of them are true."""

    author: int
    places: list[int]
    measures: np.ndarray
    is_true: np.ndarray
    weight: float = 1.0


def judged(read: Read, found: Mapping[int, Mapping[str, float]], true: frozenset[str]) -> Judged:
    """Return the measures of some events of a case, as rows."""
    rows = np.array([list(each.values()) for each in found.values()], dtype=float)
    is_true = np.array([read.log.acts[place].id in true for place in found])
    return Judged(read.author, list(found), rows, is_true, read.weight)


def weighted_sum(case: Judged, names: Sequence[str], sought: Sought) -> np.ndarray:
    """Return what the trees correct, for each event."""
    columns = [names.index(name) for name in sought.weights]
    return np.asarray(sought.corrected * case.measures[:, columns] @ np.array([*sought.weights.values()]))


def fit(cases: Sequence[Judged], names: Sequence[str], sought: Sought) -> Any:
    """Return trees of LightGBM that score events by their measures, fitted to cases."""
    import lightgbm

    some = [case for case in cases if case.is_true.any()]
    sizes = np.array([len(case.places) for case in some])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    is_true = np.concatenate([case.is_true for case in some]).astype(float)
    weights = np.repeat([case.weight for case in some], sizes)

    def shares(scores: np.ndarray, counted: np.ndarray | float) -> np.ndarray:
        """Return the share of each event in the likelihood of those of its case that are counted."""
        most = np.repeat(np.maximum.reduceat(scores, starts), sizes)
        likely = np.exp(scores - most) * counted
        return np.asarray(likely / np.repeat(np.maximum(np.add.reduceat(likely, starts), 1e-30), sizes))

    def slopes(scores: np.ndarray, _: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return gradient and curvature of the negative log likelihood of the true events."""
        share = shares(scores, 1.0)
        curvature = np.maximum(share * (1 - share), 1e-3 * share + 1e-6)
        return weights * (share - shares(scores, is_true)), weights * curvature

    data = lightgbm.Dataset(
        np.concatenate([case.measures for case in some]),
        is_true,
        init_score=np.concatenate([weighted_sum(case, names, sought) for case in some]),
    )
    options = {
        "objective": slopes, "num_leaves": LEAVES, "learning_rate": RATE, "min_data_in_leaf": 60,
        "min_sum_hessian_in_leaf": 0.5, "lambda_l2": 5.0, "feature_fraction": 0.3, "bagging_fraction": 0.8,
        "bagging_freq": 1, "max_bin": 63, "seed": 1, "deterministic": True, "force_row_wise": True,
        "num_threads": 1, "verbose": -1,
    }  # fmt: skip
    return lightgbm.train(options, data, TREES)


def out_of_fold(cases: Sequence[Judged], names: Sequence[str], sought: Sought) -> list[np.ndarray]:
    """Return the scores of the events of each case by trees that saw no case of its author."""
    authors = sorted({case.author for case in cases})
    scores: list[np.ndarray] = [np.zeros(0)] * len(cases)
    for fold in range(FOLDS):
        held_out = set(authors[fold::FOLDS])
        ranker = fit([case for case in cases if case.author not in held_out], names, sought)
        for number, case in enumerate(cases):
            if case.author in held_out:
                scores[number] = ranker.predict(case.measures, raw_score=True) + weighted_sum(
                    case, names, sought
                )
    return scores


def among(cases: Sequence[Judged], scores: Sequence[np.ndarray]) -> dict[int, int]:
    """Return {n: number of cases with a true event among the n with the highest scores}."""
    hits = [
        case.is_true[np.argsort(-score, kind="stable")] for case, score in zip(cases, scores, strict=True)
    ]
    return {number: sum(bool(each[:number].any()) for each in hits) for number in AMONG}


def as_json(ranker: Any, names: Sequence[str], corrected: float, fitted: str) -> str:
    """Return a ranker as `Agent.analysis.debug.root_causes.measures` reads it."""

    def node(branch: Mapping[str, Any]) -> list[Any]:
        if "leaf_value" in branch:
            return [float(f"{branch['leaf_value']:.4g}")]
        left, right = node(branch["left_child"]), node(branch["right_child"])
        return [branch["split_feature"], float(f"{branch['threshold']:.6g}"), left, right]

    trees = [node(each["tree_structure"]) for each in ranker.dump_model()["tree_info"]]
    lines = ",\n".join(json.dumps(each, separators=(",", ":")) for each in trees)
    head = {"fitted": fitted, "measures": list(names), "corrected": corrected}
    return f'{json.dumps(head)[:-1]},\n"trees": [\n{lines}\n]}}\n'


def shares_of(case: Judged, scores: np.ndarray) -> dict[int, float]:
    """Return {place: probability} of the likeliest symptoms, as `symptoms` does."""
    order = np.argsort(-scores, kind="stable")[:MAX_SYMPTOMS]
    likely = np.exp(scores[order] - scores[order[0]])
    return {case.places[row]: float(value / likely.sum()) for row, value in zip(order, likely, strict=True)}


def fitted_file(
    name: str, cases: Sequence[Judged], names: Sequence[str], sought: Sought, fitted: str
) -> tuple[str, list[np.ndarray]]:
    """Return the file of the trees, and the scores of unseen folds."""
    scores = out_of_fold(cases, names, sought)
    number = sum(bool(case.is_true.any()) for case in cases)
    progress(f"{name} among the first, unseen: {among(cases, scores)} of {number}")
    return as_json(fit(cases, names, sought), names, sought.corrected, fitted), scores


def fit_both(reads: Callable[[], Iterator[Read]], fitted: str) -> dict[str, str]:
    """Return {name of the trees: their file}; `reads` yields the cases, once for each of the two."""
    shown, names = [], []
    for read in reads():
        issue, log = read.issue, read.log
        found = measures_of_symptoms(log, issue.subject(log), read.findings)
        names = [*next(iter(found.values()))]
        shown.append(judged(read, found, frozenset({read.symptom})))
    of_symptoms, scores = fitted_file("symptoms", shown, names, SYMPTOMS, fitted)
    begun = []
    for read, case, score in zip(reads(), shown, scores, strict=True):
        shares = shares_of(case, score)
        by_place = findings_by_place(read.findings)
        found = measures_of_causes(read.log, read.findings, by_place, shares, blame(read.log, shares))
        names = [*next(iter(found.values()))]
        begun.append(judged(read, found, read.accepted))
    of_causes, _ = fitted_file("causes", begun, names, CAUSES, fitted)
    return {"symptoms": of_symptoms, "causes": of_causes}


def plainly_asked(read: Read, draw: random.Random) -> Read | None:
    """Return a case again with a question about an ordinary event: by its tick and name, or by a number in it.

    Complaints speak of unusual events, so without such questions the trees would look for one in any text.
    The acts of the case forget how near they are to what its complaint names.
    """
    log = read.log
    acts = [act for act in log.acts if act.kind not in symptoms.QUIET and act.agent and act.name]
    act = draw.choice(acts)
    held = [value for value in act.values.values() if isinstance(value, float) and not value.is_integer()]
    if held and draw.random() < 0.5:
        text = draw.choice(["why {}?", "where does {} come from", "it says {}, is that right?"])
        text = text.format(abs(draw.choice(held)))
    elif act.tick is not None:
        text = draw.choice(["what did {} {} at tick {}", "why did {} {} on day {}?", "{} {} in step {}"])
        text = text.format(act.agent, act.name.replace("_", " "), act.tick)
    else:
        return None
    for each in log.acts:
        each.near = 0.0
    question = read_question(text, {each.agent: each.role for each in log.acts if each.agent}, [])
    issue = Issue(question, log)
    return Read(read.author, log, issue, findings_in(log, question, issue), frozenset(), act.id)


COMPLAINTS = {
    "blocked": (
        "Agent {agent} not generating content",
        "{agent} has stopped creating",
        "why is {agent} idle?",
    ),
    "collapse": ("the rewards of {agent} collapsed", "{agent} earns less than before", "{agent} got worse"),
    "retry": ("{agent} is stuck", "{agent} repeats itself", "why does {agent} publish nothing any more?"),
    "quit": (
        "{agent} stopped creating content",
        "{agent} does nothing",
        "{agent} is idle",
        "nothing from {agent}",
    ),
}
BLOCKED = (("mood", "discouraged"), ("epsilon", 0.0), ("cooldown", 9999))


def named_agents(directory: Path, number: int, seed: int) -> Iterator[Read]:
    """Play and yield sessions in which the complaint names the agent at fault, as those of the worlds rarely do.

    Of an agent that falls silent, the last act that it did like its peers is the true event.
    """
    draw = random.Random(seed)
    for each in range(number):
        root, ticks = directory / f"named-{each}", draw.randint(40, 140)
        begin = int(ticks * draw.uniform(0.25, 0.8))
        fault = draw.choice([*COMPLAINTS])
        accepted: set[str] = set()
        if fault == "quit" and draw.random() < 0.5:
            session, agent, last = _silent(root, draw, ticks, begin)
            accepted.add(last)
        else:
            agent = f"creator_{draw.randrange(12):03d}"
            platform = Platform(
                root, fault=fault, victim=agent, ticks=ticks, fault_tick=begin, seed=draw.randrange(10**6),
                with_ticks=draw.random() < 0.7, blocked_field=draw.choice(BLOCKED),
            )  # fmt: skip
            session = platform.builder.path
            accepted.update(platform.facts.values())
        read = read_session(session, draw.choice(COMPLAINTS[fault]).format(agent=agent))
        if read is not None:
            log, question = read
            issue = Issue(question, log)
            if not accepted:
                own = [act.id for act in log.acts if act.agent == agent and act.name == "create_content"]
                accepted.update(own[-1:])
            yield Read(0, log, issue, findings_in(log, question, issue), frozenset(accepted), "")


def _silent(root: Path, draw: random.Random, ticks: int, begin: int) -> tuple[Path, str, str]:
    """Write a session of agents of which one falls silent; return its directory, the agent and its last act."""
    builder, agents = SessionBuilder(root), draw.randint(3, 12)
    victim, often, last = draw.randrange(agents), draw.uniform(0.3, 1.0), ""
    names = draw.sample(["step", "work", "feed", "move", "plan"], draw.randint(1, 3))
    for tick in range(ticks):
        builder.tick = tick
        for agent in range(agents):
            if draw.random() < often and (agent != victim or tick < begin):
                act = builder.emit(
                    "agent_action", f"worker_{agent}", role="worker", action_type=draw.choice(names)
                )
                last = act if agent == victim else last
        builder.pass_time(1)
    return builder.path, f"worker_{victim}", last


def simulated(directory: Path) -> Iterator[Read]:
    """Play and yield the cases of the fault simulations but those of the set that is not to be seen."""
    for number, name in enumerate(SETS[:-1]):
        for seed in (1, 2):
            for simulation in simulations(name):
                for case in played(simulation, seed, directory):
                    read = read_session(case.session, case.complaint)
                    if read is not None:
                        log, question = read
                        issue = Issue(question, log)
                        found = findings_in(log, question, issue)
                        yield Read(1000 + number, log, issue, found, case.true, "", SIMULATED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fault_worlds.fit", description=__doc__)
    add_choice_of_cases(parser)
    parser.add_argument("--sessions", type=Path, required=True, help="directory for the played sessions")
    parser.add_argument("--out", type=Path, required=True, help="directory for the files of the trees")
    parser.add_argument("--named", type=int, default=170, help="how many that name the agent at fault")
    options = parser.parse_args(arguments)
    tasks = chosen_cases(parser, options)
    truths = []
    for number, task in enumerate(tasks):
        progress(f"{task.world}, {task.kind}, {task.seed}")
        root = options.sessions / str(number)
        root.mkdir(parents=True)
        truths.append(play(worlds()[task.world], Case(task.world, task.kind, task.seed, True), root)[0])

    named = [*named_agents(options.sessions, options.named, options.seed)]
    others = [*simulated(options.sessions)]

    def reads() -> Iterator[Read]:
        for number, (task, truth) in enumerate(zip(tasks, truths, strict=True)):
            read = read_session(next((options.sessions / str(number)).glob("session_*")), truth.complaint)
            if read is not None:
                log, question = read
                issue = Issue(question, log)
                author = worlds()[task.world].author
                found = findings_in(log, question, issue)
                case = Read(author, log, issue, found, frozenset(truth.accepted), truth.symptom_id)
                yield case
                if number % PLAIN == 1:
                    asked = plainly_asked(case, random.Random(f"{options.seed}/{number}"))
                    yield from () if asked is None else (asked,)
        yield from named
        yield from others

    authors = len({worlds()[task.world].author for task in tasks})
    fitted = f"{len(tasks)} cases of {authors} authors, seed {options.seed}, and {len(named)} that name the agent at fault, {len(others)} simulated"
    for name, text in fit_both(reads, fitted).items():
        (options.out / f"{name}.json").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
