"""Measure `debug_issue` on two public data sets of failures whose causes people have named.

    git clone https://github.com/mingyin1/Agents_Failure_Attribution            # Who&When, MIT
    git clone https://github.com/amazon-science/petshop-root-cause-analysis     # PetShop, data CC-BY-4.0
    python -m benchmarks.public_failures --who-and-when DIR --petshop DIR

Nothing in Agent Trace was fitted to either. `--limit N` takes the first N cases of each, `--quick` the first five.

Who&When, hand-made part: each message is an action of its agent, caused by the one before, at a tick of its own. The
complaint has the question, the team's last answer or words, and the right answer. Agent and step are those of the first
event of the first cause. A hit is a true step among six events of each of three causes; simple rules name 18, too.

PetShop: a service is an agent with its latency, requests and availability; a tick is five minutes: the last 48 of normal
operation, then the issue. Calls are connections. The complaint names service, metric and the tick after the alarm, as the
data set's evaluation does; both splits count. Causes rank services; "others" leaves out the one with the symptom.

Published figures, each seen in the source given here:
- Who&When, hand-made part with ground truth: Zhang et al. 2025, arXiv 2505.00212, the table assets/main_exp.png of its
  repository (commit 3d9d5688); these methods ask a language model.
- RAFFLES: abstract of arXiv 2509.06822, "over 20%" of steps, with their agents, in the hand-made part.
- AgenTracer-8B, arXiv 2509.03312: the summary at papers.lunadong.com/paper/7121, hand-made part with ground truth.
- PetShop: anomaly traversal, which is given the call graph and the normal measurements apart: output in the data set's
  code/RCA-Dataset-Eval.ipynb (commit 1c5992dc), over both splits and both temporal scenarios together.
"""

from __future__ import annotations

import csv
import json
import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import Agent
from benchmarks.command import options, progress, run
from benchmarks.table import Report, Table

EVENTS, CAUSES, NAMED = 6, 3, 18  # looked at: the first events of each of the first causes; all of these
NORMAL_STEPS = 48  # four hours
RECORDED = {("latency", "Average"), ("requests", "Sum"), ("availability", "Average")}
SCENARIOS = ("low_traffic", "high_traffic", "temporal_traffic1", "temporal_traffic2")
PUBLISHED_CONVERSATIONS = (
    ("published: random", "12.00", "4.16"),
    ("published: all at once", "55.17", "5.26"),
    ("published: step by step", "34.48", "7.02"),
    ("published: binary search", "51.72", "6.90"),
    ("published: RAFFLES", "", "over 20"),
    ("published: AgenTracer-8B", "69.10", "20.68"),
)
PUBLISHED_TRAVERSAL = {  # latency and availability, each top-1 and top-3
    "low_traffic": (("57.1", "57.1"), ("83.3", "100.0")),
    "high_traffic": (("57.1", "78.6"), ("66.7", "100.0")),
    "temporal_traffic": (("100.0", "100.0"), ("75.0", "100.0")),
}
MALFORMED = (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError)
Series = dict[tuple[str, str], list[float | None]]  # by service and metric


@dataclass(frozen=True)
class Conversation:
    """A failed conversation: its messages (agent, kind, content), and who made the decisive mistake at which one."""

    name: str
    messages: list[tuple[str, str, str]]
    step: int
    agent: str
    question: str
    right_answer: str

    def complaint(self) -> str:
        """Return the complaint in a user's words."""
        answers = re.findall(r"FINAL ANSWER: *(.+)", "\n".join(each[2] for each in self.messages[-2:]))
        last = self.messages[-1][2].strip().split("\n", 1)[0][:200]
        end = f'answered "{answers[-1]}"' if answers else f'found no answer and ended with "{last}"'
        return f'Asked "{self.question.strip()}", the team {end}. The right answer is "{self.right_answer}".'

    def by_rule(self) -> dict[str, list[int]]:
        """Return the steps that simple rules name."""
        steps, speakers = range(len(self.messages)), [message[0] for message in self.messages]
        planner = next((agent for agent in speakers if agent != "human"), "")
        first = next((step for step in steps if speakers[step] not in {"human", planner}), steps[-1])
        rules = {"last message": steps[::-1], "first message after the plan": steps[first:]}
        return {rule: [*named[:NAMED]] for rule, named in rules.items()}


@dataclass(frozen=True)
class Incident:
    """Measurements of services before and during an issue, the symptom and the true cause."""

    name: str  # scenario, split and issue
    calls: list[tuple[str, str]]
    normal: Series
    during: Series
    alarm: int  # the step of the issue after the alarm
    service: str
    metric: str
    cause: str

    def complaint(self) -> str:
        """Return the complaint in a user's words."""
        way = "went down" if self.metric == "availability" else "went up"
        return f"{self.metric} of {self.service} {way} at tick {NORMAL_STEPS + self.alarm}"

    def by_change(self) -> list[str]:
        """Rank the measured services by the largest robust z-score of the metric from the alarm on."""
        changes = {}
        for service, metric in self.during:
            usual = [each for each in self.normal.get((service, metric), []) if each is not None]
            now = [each for each in self.during[service, metric][self.alarm :] if each is not None]
            if metric == self.metric and now:
                middle = statistics.median(usual or now)
                spread = statistics.median(abs(each - middle) for each in usual or now)
                scale = max(1.4826 * spread, abs(middle) / 100, 1e-9)
                changes[service] = max(abs(each - middle) for each in now) / scale
        return sorted(changes, key=changes.__getitem__, reverse=True)


def in_order(folder: Path, pattern: str) -> list[Path]:
    """Return the matching paths, with numbers in their order."""
    return sorted(folder.glob(pattern), key=lambda path: (len(path.name), path.name))


def read_conversations(directory: Path) -> list[Conversation]:
    """Read the hand-made part of Who&When."""
    conversations = []
    for file in in_order(directory / "Who&When" / "Hand-Crafted", "*.json"):
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            messages = []
            for message in data["history"]:
                agent, _, kind = str(message.get("name") or message["role"]).partition(" (")
                messages.append((agent, kind.rstrip(")") or "message", str(message["content"])))
            step = range(len(messages))[int(data["mistake_step"])]
            texts = (str(data[key]) for key in ("mistake_agent", "question", "ground_truth"))
            conversations.append(Conversation(file.stem, messages, step, *texts))
        except MALFORMED as error:
            raise ValueError(f"{file} is no conversation of Who&When: {error!r}") from error
    if not conversations:
        raise ValueError(f"{directory} has no files Who&When/Hand-Crafted/*.json")
    return conversations


def read_incidents(directory: Path) -> tuple[list[Incident], list[str]]:
    """Read the issues of PetShop; return them, and which scenarios were left out."""
    incidents, left_out = [], []
    for folder in (directory / "dataset" / scenario for scenario in SCENARIOS):
        if not (folder / "noissue" / "metrics.csv").is_file():
            left_out.append(folder.name)
            continue
        try:
            incidents += list(_incidents(folder))
        except MALFORMED as error:
            raise ValueError(f"{folder} is no scenario of PetShop: {error!r}") from error
    if not incidents:
        raise ValueError(f"{directory} has no issue of PetShop with a dataset/*/noissue/metrics.csv")
    return incidents, left_out


def _incidents(folder: Path) -> Iterator[Incident]:
    with (folder / "graph.csv").open(encoding="utf-8", newline="") as file:
        callees, *rows = csv.reader(file)
    calls = [(row[0], callees[place]) for row in rows for place in range(1, len(row)) if float(row[place])]
    _, normal = _metrics(folder / "noissue" / "metrics.csv", NORMAL_STEPS)
    for issue in in_order(folder, "test/issue_*") + in_order(folder, "train/issue_*"):
        known = json.loads((issue / "target.json").read_text(encoding="utf-8"))
        target = known["target"]
        times, during = _metrics(issue / "metrics.csv")
        alarm = next((step for step, time in enumerate(times) if time > target["timestamp"]), len(times) - 1)
        truth = target["node"], target["metric"], known["root_cause"]["node"]
        yield Incident(str(issue.relative_to(folder.parent)), calls, normal, during, alarm, *truth)


def _metrics(path: Path, last: int = 0) -> tuple[list[float], Series]:
    """Read the times of a file and its recorded metrics, those of all steps or of the last ones."""
    with path.open(encoding="utf-8", newline="") as file:
        services, metrics, kinds, _, *rows = csv.reader(file)
    series: Series = {
        (services[place], metrics[place]): [float(row[place]) if row[place] else None for row in rows[-last:]]
        for place in range(1, len(services))
        if (metrics[place], kinds[place]) in RECORDED
    }
    return [float(row[0]) for row in rows], series


def ask(record: Callable[[], None], complaint: str, directory: Path) -> list[list[str]]:
    """Record a session and ask about it; return the first six event ids of each cause, in order."""
    with tempfile.TemporaryDirectory(dir=directory) as root:
        Agent.setup_logging(trace_root=root, console=False)
        record()
        Agent.shutdown_logging()
        return [list(cause.event_ids)[:EVENTS] for cause in Agent.debug_issue(complaint, root=root).causes]


def ask_about_conversation(case: Conversation, directory: Path) -> list[list[int]]:
    """Record a conversation and ask about it; return the steps that each of the first causes names."""
    steps: dict[str, int] = {}

    def record() -> None:
        before: str | None = None
        for step, (agent, kind, content) in enumerate(case.messages):
            with Agent.tick(step):
                logger = Agent.AgentLogger(agent, "assistant")
                steps[before := logger.log_action(kind, {"content": content}, causes=before)] = step

    causes = ask(record, case.complaint(), directory)
    return [[steps.get(event, -1) for event in cause] for cause in causes[:CAUSES]]


def ask_about_incident(case: Incident, directory: Path) -> list[str]:
    """Record an incident and ask about it; return the services in the order of the causes."""
    agents: dict[str, str] = {}

    def record() -> None:
        with Agent.tick(0):
            for caller, callee in case.calls:
                event = Agent.InteractionLogger(caller, "service").log_connection(caller, callee, "calls")
                agents[event] = caller
        for start, series in ((0, case.normal), (NORMAL_STEPS, case.during)):
            for step in range(max(map(len, series.values()), default=0)):
                with Agent.tick(start + step):
                    for (service, metric), values in series.items():
                        if (value := values[step]) is not None:
                            event = Agent.PerformanceLogger(service, "service").log_metric(metric, value)
                            agents[event] = service

    causes = ask(record, case.complaint(), directory)
    return list(dict.fromkeys(agents[event] for cause in causes for event in cause if event in agents))


def share(values: Iterable[float]) -> str:
    """Return a mean in percent."""
    return f"{100 * statistics.fmean(values):.1f}"


def measure_conversations(cases: Sequence[Conversation], directory: Path) -> Report:
    """Ask about each conversation; return the table and what was found."""
    scores: dict[str, list[tuple[float, float, float]]] = {}
    found = []
    for number, case in enumerate(cases, 1):
        causes = ask_about_conversation(case, directory)
        named = {"debug_issue": [step for cause in causes for step in cause] or [-1], **case.by_rule()}
        for rule, steps in named.items():
            right = steps[0] >= 0 and case.messages[steps[0]][0].casefold() == case.agent.casefold()
            scores.setdefault(rule, []).append((right, steps[0] == case.step, case.step in steps))
        count, agents = len(case.messages), {message[0] for message in case.messages} - {"human"}
        scores.setdefault("random", []).append((1 / max(1, len(agents)), 1 / count, min(1, NAMED / count)))
        found.append({"case": case.name, "agent": case.agent, "step": case.step, "steps_of_causes": causes})
        progress(f"Who&When {number} of {len(cases)}: step {case.step}, named {causes[:1]}")
    title = f"Who&When, hand-made part, with the right answer in the complaint: {len(cases)} conversations"
    table = Table(title, ("method", "agent, %", "step, %", "hit@3, %"))
    table.lines += [(rule, *map(share, zip(*rows, strict=True))) for rule, rows in scores.items()]
    table.lines += [(*published, "") for published in PUBLISHED_CONVERSATIONS]
    return Report(tables=[table], figures={"who_and_when": found})


def measure_incidents(cases: Sequence[Incident], left_out: Sequence[str], directory: Path) -> Report:
    """Ask about each incident; return the table and what was found."""
    groups: dict[tuple[str, str], list[tuple[Incident, list[str]]]] = {}
    found = []
    for number, case in enumerate(cases, 1):
        ranked = ask_about_incident(case, directory)
        scenario, split, _ = Path(case.name).parts
        for traffic in (scenario.rstrip("12"), "all", f"all of {split}"):
            groups.setdefault((traffic, case.metric), []).append((case, ranked))
        found.append({"case": case.name, "metric": case.metric, "cause": case.cause, "services": ranked})
        progress(f"PetShop {number} of {len(cases)}: {case.cause}, named {ranked[:3]}")
    headings = ("traffic", "metric", "issues", "method", "top-1, %", "top-3, %")
    table = Table("PetShop: the service of the root cause", headings)
    for (traffic, metric), rows in sorted(groups.items(), key=lambda group: group[0][0].startswith("all")):
        table.lines += [(traffic, metric, str(len(rows)), *recalls) for recalls in _recalls(rows)]
        if traffic in PUBLISHED_TRAVERSAL:
            published = PUBLISHED_TRAVERSAL[traffic][metric == "availability"]
            table.lines.append((traffic, metric, "", "published: anomaly traversal", *published))
    notes = [f"PetShop without {name}: its noissue/metrics.csv is not there" for name in left_out]
    return Report(tables=[table], notes=notes, figures={"petshop": found})


def _recalls(rows: Sequence[tuple[Incident, list[str]]]) -> Iterator[tuple[str, str, str]]:
    """Yield the recall of each method at the first place and among the first three."""
    changed = [(case, case.by_change()) for case, _ in rows]
    for name, ranks in (("debug_issue", rows), ("largest change", changed)):
        others = [(case, [each for each in rank if each != case.service]) for case, rank in ranks]
        for method, answers in ((name, ranks), (f"{name}, others", others)):
            first, three = (share(case.cause in rank[:top] for case, rank in answers) for top in (1, 3))
            yield method, first, three
    sizes = [max(1, len(rank)) for _, rank in changed]
    yield "random", share(1 / size for size in sizes), share(min(1.0, 3 / size) for size in sizes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = options("benchmarks.public_failures", "debug_issue on Who&When and PetShop.")
    parser.add_argument("--who-and-when", type=Path, metavar="DIR", help="a clone of that data set")
    parser.add_argument("--petshop", type=Path, metavar="DIR", help="a clone of that data set")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first cases of each")
    given = parser.parse_args(arguments)
    limit = 5 if given.quick and given.limit is None else given.limit
    if not (given.who_and_when or given.petshop) or (limit is not None and limit < 1):
        parser.error("name --who-and-when DIR, --petshop DIR or both, and a limit of at least 1 if any")
    try:
        conversations = read_conversations(given.who_and_when) if given.who_and_when else []
        incidents, left_out = read_incidents(given.petshop) if given.petshop else ([], [])
    except ValueError as error:
        parser.error(str(error))

    def measure(directory: Path) -> Report:
        report = measure_conversations(conversations[:limit], directory) if conversations else Report()
        if incidents:
            report.add(measure_incidents(incidents[:limit], left_out, directory))
        return report

    return run(given, measure)


if __name__ == "__main__":
    sys.exit(main())
