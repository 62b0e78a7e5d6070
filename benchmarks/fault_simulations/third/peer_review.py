"""The review of a conference: assignment, reviews, reminders, emergency reviews, decisions and letters."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

from Agent import AgentLogger, SystemLogger
from benchmarks.fault_simulations.kit import Event, Fault, pick

PAPERS = [f"paper_{i:02}" for i in range(1, 61)]
REVIEWERS = [f"reviewer_{i:02}" for i in range(1, 17)]
CHAIRS = ["chair_1", "chair_2", "chair_3"]


def open_accounts(logs: dict[str, AgentLogger], fault: str) -> dict[str, int]:
    """Give each reviewer access to the manuscripts; return the last day of each access."""
    until = {}
    for i, reviewer in enumerate(REVIEWERS):
        student = i % 5 == 2
        days = 14 if fault == "early_end" and reviewer == "reviewer_08" else 45 if student else 40
        until[reviewer] = days
        logs["office"].log_action("grant_access", {"to": reviewer, "student": student, "until_day": days})
    return until


def clean_profiles(logs: dict[str, AgentLogger], fault: str) -> dict[str, str]:
    """Merge profiles that belong to one person; return the surviving profile of each name."""
    alias = {reviewer: reviewer for reviewer in REVIEWERS}
    pairs = [("old_profile_3", "reviewer_06"), ("old_profile_8", "reviewer_14")]
    if fault == "wrong_merge":
        pairs.insert(1, ("reviewer_11", "reviewer_03"))
    for dropped, kept in pairs:
        evidence = {"dropped": dropped, "kept": kept, "same": ["surname", "first initial"]}
        logs["office"].log_action("merge_profiles", evidence)
        alias[dropped] = kept
    return alias


def assign(
    rng: random.Random, logs: dict[str, AgentLogger], alias: dict[str, str], fault: str
) -> dict[str, list]:
    """Give each paper three reviewers and tell them; return who was told about which papers."""
    told: dict[str, list[str]] = defaultdict(list)
    load = dict.fromkeys(REVIEWERS, 0)
    batches: dict[str, list[str]] = defaultdict(list)
    for i, paper in enumerate(PAPERS):
        bids = {reviewer: round(rng.random(), 2) for reviewer in REVIEWERS}
        order = sorted(REVIEWERS, key=lambda name: load[name] - 3 * bids[name])
        chosen = order[:3]
        for reviewer in chosen:
            load[reviewer] += 1
            batches[alias[reviewer]].append(paper)
        data = {"paper": paper, "reviewers": [alias[name] for name in chosen]}
        logs[CHAIRS[i % 3]].log_decision("assign", data, "load and bids")
    for reviewer, papers in batches.items():
        logs["office"].log_action("prepare_batch", {"for": reviewer, "papers": papers})
        if fault == "not_told" and reviewer == "reviewer_05":
            continue
        letter = logs["office"].send(reviewer, {"subject": "your papers", "papers": papers})
        logs[reviewer].receive(letter)
        told[reviewer] = papers
    return told


def review(
    rng: random.Random, logs: dict[str, AgentLogger], told: dict[str, list[str]], until: dict[str, int]
) -> dict[str, list[dict[str, Any]]]:
    """Let the reviewers write, one day after the other; return the reviews that were stored."""
    worth = {paper: rng.gauss(5.6, 1.1) for paper in PAPERS}
    habits = {name: (rng.uniform(-0.5, 0.5), rng.uniform(1.5, 2.6)) for name in REVIEWERS}
    stored: dict[str, list[dict[str, Any]]] = defaultdict(list)
    agenda = []
    for reviewer in REVIEWERS:
        bias, pace = habits[reviewer]
        dice = random.Random(f"{reviewer}-{rng.random()}")
        for number, paper in enumerate(told.get(reviewer, []), 1):
            score = min(10, max(1, round(worth[paper] + bias + dice.gauss(0, 0.9))))
            day = int(6 + number * pace + dice.uniform(0, 2))
            agenda.append((day, reviewer, paper, score, dice.choice([2, 3, 3, 4, 4, 5])))
    for day, reviewer, paper, score, confidence in sorted(agenda):
        if day > 36:
            continue  # the deadline is over
        logs[reviewer].log_action(
            "write_review", {"day": day, "paper": paper, "score": score, "sure": confidence}
        )
        if day > until[reviewer]:
            logs["office"].log_action("decline_upload", {"day": day, "from": reviewer, "paper": paper})
            continue
        stored[paper].append({"by": reviewer, "score": score, "sure": confidence})
        logs["office"].log_action("store_review", {"day": day, "paper": paper, "count": len(stored[paper])})
        if day == 30 and paper.endswith("5"):
            logs[reviewer].warning("review revised after a question of the chair", {"paper": paper})
    return stored


def fill_gaps(
    rng: random.Random, logs: dict[str, AgentLogger], stored: dict[str, list[dict[str, Any]]]
) -> dict[str, int]:
    """Ask for emergency reviews where reviews are missing; return how many each chair asked for."""
    asked: dict[str, int] = dict.fromkeys(CHAIRS, 0)
    for i, paper in enumerate(PAPERS):
        missing = 3 - len(stored[paper])
        noise = [rng.gauss(5, 1.5) for _ in range(3)]
        for score in noise[:missing]:
            chair = CHAIRS[i % 3]
            asked[chair] += 1
            if sum(asked.values()) > 8:
                logs[chair].log_action("no_helper_left", {"paper": paper, "reviews": len(stored[paper])})
                continue
            call = logs[chair].send("emergency_pool", {"paper": paper})
            logs["emergency_pool"].receive(call)
            stored[paper].append({"by": "emergency_pool", "score": round(score), "sure": 3})
            logs["emergency_pool"].log_action(
                "write_review", {"paper": paper, "score": round(score), "sure": 3}
            )
    return asked


def decide(
    logs: dict[str, AgentLogger], stored: dict[str, list[dict[str, Any]]], fault: str
) -> dict[str, tuple[str, int]]:
    """Let the chairs weigh the reviews and decide."""
    verdicts = {}
    for i, paper in enumerate(PAPERS):
        chair = CHAIRS[i % 3]
        least = 4 if fault == "too_strict" and chair == "chair_2" and i > 6 else 3
        used = [r for r in stored[paper] if r["sure"] >= least]
        left_out = [r["by"] for r in stored[paper] if r["sure"] < least]
        logs[chair].log_action(
            "weigh", {"paper": paper, "used": [r["by"] for r in used], "left_out": left_out}
        )
    for i, paper in enumerate(PAPERS):
        least = 4 if fault == "too_strict" and CHAIRS[i % 3] == "chair_2" and i > 6 else 3
        scores = [r["score"] for r in stored[paper] if r["sure"] >= least]
        mean = round(sum(scores) / len(scores), 2) if scores else 0.0
        verdict = "second round" if len(scores) < 2 else "accept" if mean >= 5.8 else "reject"
        verdicts[paper] = (verdict, len(scores))
        data = {"paper": paper, "mean": mean, "reviews": len(scores), "verdict": verdict}
        logs["program_chair"].log_decision("verdict", data, "mean of the reviews that count")
        letter = logs["program_chair"].send(f"authors_{paper[-2:]}", {"paper": paper, "verdict": verdict})
        logs[f"authors_{paper[-2:]}"].receive(letter)
    return verdicts


def run(seed: int, fault: str) -> dict[str, Any]:
    """Run the conference from the first account to the last letter."""
    rng = random.Random(seed)
    roles = dict.fromkeys(REVIEWERS, "reviewer") | dict.fromkeys(CHAIRS, "chair")
    roles |= {f"authors_{paper[-2:]}": "authors" for paper in PAPERS}
    roles |= {"office": "staff", "program_chair": "chair", "emergency_pool": "reviewer"}
    logs = {name: AgentLogger(name, role) for name, role in roles.items()}
    system = SystemLogger("conference")
    system.log_phase("accounts")
    until = open_accounts(logs, fault)
    alias = clean_profiles(logs, fault)
    system.log_phase("assignment", "accounts")
    told = assign(rng, logs, alias, fault)
    system.log_phase("reviews", "assignment", {"deadline": 36})
    system.log_config("reminder_days", [10, 20], [10, 20, 28])
    stored = review(rng, logs, told, until)
    asked = fill_gaps(rng, logs, stored)
    system.log_phase("decisions", "reviews")
    verdicts = decide(logs, stored, fault)
    second = [paper for paper, (verdict, _) in verdicts.items() if verdict == "second round"]
    by_chair = {c: sum(p in second for p in PAPERS[i::3]) for i, c in enumerate(CHAIRS)}
    return {"asked": sum(asked.values()), "second": second, "by_chair": by_chair}


def _act(events: Any, act: str, **data: Any) -> list[str]:
    def fits(event: Event) -> bool:
        return all(event.args.get(key) == value for key, value in data.items())

    return pick(events, act=act, where=fits)


def _left_out_at_three(event: Event, events: Any) -> bool:
    sure = {
        e.agent: e.args["sure"]
        for e in events
        if e.act == "write_review" and e.args["paper"] == event.args["paper"]
    }
    return any(sure.get(name) == 3 for name in event.args["left_out"])


FAULTS = {
    "early_end": Fault(
        "Why were the chairs short of reviews this year and had to ask the emergency pool so often?",
        lambda f, h: f["asked"] >= h["asked"] + 3,
        lambda events: _act(events, "grant_access", to="reviewer_08"),
    ),
    "wrong_merge": Fault(
        "there were no emergency reviewers left in the end, too many reviews never arrived",
        lambda f, h: f["asked"] > 8 >= h["asked"],
        lambda events: _act(events, "merge_profiles", dropped="reviewer_11"),
    ),
    "not_told": Fault(
        "Many papers had only two reviews at the deadline. What happened?",
        lambda f, h: f["asked"] >= h["asked"] + 5,
        lambda events: _act(events, "prepare_batch", **{"for": "reviewer_05"}),
    ),
    "too_strict": Fault(
        "far more papers than usual were sent to a second round for lack of reviews",
        lambda f, h: len(f["second"]) >= len(h["second"]) + 3,
        lambda events: pick(
            events,
            "chair_2",
            "weigh",
            where=lambda e: (
                e.args["paper"] > "paper_07" and bool(e.args["left_out"]) and _left_out_at_three(e, events)
            ),
        ),
    ),
}
