"""A team of language-model agents that traces families in church registers and prints a book of charts."""

from __future__ import annotations

import random
from typing import Any

from Agent import AgentLogger, SystemLogger
from Agent.flight import record_tool, recorder
from benchmarks.fault_simulations.kit import Event, Fault, pick

CASES = 60
PARISHES = ("Lund", "Brosarp", "Ystad", "Simris", "Hammar")
NAMES = ("Anna Lind", "Nils Berg", "Elna Holm", "Per Dahl", "Karna Falk", "Ola Strand", "Boel Wik")
RESEARCHERS = tuple(f"researcher_{n}" for n in range(1, 6))


@record_tool
def search_register(parish: str, name: str, book: int) -> dict[str, Any]:
    """Return what the register of a parish says about a name."""
    number = sum(map(ord, parish)) * 7 + sum(map(ord, name)) * 3 + book * 13
    return {"born": 1800 + number % 70, "page": number % 240, "father": NAMES[number % len(NAMES)]}


@record_tool
def scan_page(parish: str, page: int) -> str:
    """Return a page's picture as text."""
    return f"{parish} fol. {page}, ink faded" if page % 3 else f"{parish} fol. {page}, clear"


class Team:
    """The agents, their notes, and the charts that they make."""

    def __init__(self, seed: int, fault: str) -> None:
        """Gather the team."""
        self.fault = fault
        self.rng = random.Random(f"kin{seed}")
        self.logs: dict[str, AgentLogger] = {}
        self.notes: dict[str, dict[tuple[str, str, int], dict[str, Any]]] = {name: {} for name in RESEARCHERS}
        self.born: dict[int, int] = {}
        self.allowance = 3
        self.outcome: dict[str, Any] = {"odd": [], "wrong": [], "joined": [], "book_errors": 0}

    def log(self, name: str, role: str) -> AgentLogger:
        """Return the logger of an agent."""
        return self.logs.setdefault(name, AgentLogger(name, role))


def find(team: Team, who: str, case: int, key: tuple[str, str, int]) -> dict[str, Any]:
    """Let a researcher find a person in its notes or in the register."""
    log, notes = team.log(who, "researcher"), team.notes[who]
    known = notes.get(key)
    if team.fault == "loose_memory" and case == 41:
        known = next(value for (parish, _, _), value in notes.items() if parish != key[0])
    if known is not None:
        log.log_action(
            "recall_note", {"parish": key[0], "name": key[1], "book": key[2], "born": known["born"]}
        )
        return known
    if team.rng.random() < 0.05:
        log.warning("archive site timed out, tried again", {"parish": key[0]})
    found = search_register(key[0], key[1], key[2])
    scan_page(key[0], found["page"])
    notes[key] = found
    return found


def investigate(team: Team, case: int) -> None:
    """Work on one family from the order to the chart."""
    rng = team.rng
    lead, verifier = team.log("lead", "lead"), team.log("verifier", "verifier")
    who = RESEARCHERS[(case * 3 + case // 7) % 5]
    if case in (20, 41):
        who = {20: "researcher_2", 41: "researcher_4"}[case]
    log = team.log(who, "researcher")
    key = (PARISHES[case * 2 % 5], NAMES[case % 7], 1 + case // 9)
    order = lead.send(who, {"case": case, "parish": key[0], "name": key[1], "book": key[2]})
    log.receive(order)
    log.log_decision(
        "search_plan", {"case": case, "books": [key[2], key[2] + 1]}, reasoning="baptisms come first"
    )
    fact = find(team, who, case, key)
    neighbour = find(team, who, case, (key[0], NAMES[(case + 2) % 7], 1 + case // 9))
    born = fact["born"]
    true_born = search_truth(key)
    if team.fault == "sure_of_it" and case == 20:
        born += 36
    misread = rng.random() < 0.25 and case != 20
    if misread and born == true_born:
        born += rng.choice([-3, 3, 5, -5])
    claim = {"case": case, "name": key[1], "born": born, "source": f"{key[0]} fol. {fact['page']}"}
    sent = log.send("verifier", claim)
    verifier.receive(sent)
    for round_number in range(1, team.allowance + 1):
        if round_number > 1 + case % 2:
            break
        page = scan_page(key[0], fact["page"])
        clear = rng.random() < 0.8
        seen = true_born if misread and clear else born
        verifier.log_action("check_claim", {"case": case, "born": seen, "page": page, "round": round_number})
        born = seen
    passed = verifier.send(
        "scribe", {"case": case, "born": born, "rounds": min(team.allowance, 1 + case % 2)}
    )
    linker, scribe = team.log("linker", "linker"), team.log("scribe", "scribe")
    scribe.receive(passed)
    twin = case % 4 == 1
    if twin:
        same = case % 8 == 1
        if team.fault == "one_anna" and case == 37:
            same = True
        linker.log_decision(
            "same_person",
            {"case": case, "first": f"{key[1]} {born}", "second": f"{key[1]} {born + (1 if case % 8 == 1 else 19)}",
             "same": same},
        )  # fmt: skip
        if same and case % 8 != 1:
            team.outcome["joined"].append(case)
    team.born[case] = born
    parent = team.born.get(case - 5)
    chart = {"case": case, "name": key[1], "born": born, "godparent": neighbour["father"]}
    scribe.log_action("draw_chart", chart)
    if case % 10 == 5 and parent is not None:
        line = {"case": case, "elder": case - 5, "elder_born": parent, "born": parent_of(born, parent)}
        scribe.log_action("draw_line", line)
    client = team.log(f"client_{case % 12 + 1:02}", "client")
    delivered = scribe.send(str(client.agent_id), {"case": case, "pages": rng.randint(2, 9)})
    client.receive(delivered)
    if abs(born - true_born) > 10:
        team.outcome["odd"].append(case)
    elif born != true_born:
        team.outcome["wrong"].append(case)
    if born != true_born and case > 30:
        team.outcome["book_errors"] += 1


def parent_of(born: int, elder: int) -> int:
    """Return the year of birth of the younger of two, as drawn in a line."""
    return max(born, elder + 9) if elder % 2 else born


def search_truth(key: tuple[str, str, int]) -> int:
    """Return the year of birth that the register really has."""
    number = sum(map(ord, key[0])) * 7 + sum(map(ord, key[1])) * 3 + key[2] * 13
    return 1800 + number % 70


def run(seed: int, fault: str) -> dict[str, Any]:
    """Work on all cases and print the book."""
    team = Team(seed, fault)
    system = SystemLogger("kin")
    lead = team.log("lead", "lead")
    with recorder.run("kin", {"book": "Lund and around"}):
        system.log_simulation_start("book", {"cases": CASES, "parishes": list(PARISHES)})
        for case in range(1, CASES + 1):
            if case in (9, 24, 31):
                value = {9: 4, 24: 5, 31: 3}[case]
                if fault == "no_checks" and case == 31:
                    value = 0
                lead.log_strategy_update("checks_per_case", team.allowance, value, reason="cost of the month")
                team.allowance = value
            if case == 39:
                lead.log_action("order_paper", {"sheets": 500, "weight": 120})
            investigate(team, case)
        scribe = team.log("scribe", "scribe")
        for chapter in range(1, 7):
            scribe.log_action("print_chapter", {"chapter": chapter, "charts": 10})
        for number in range(1, 13):
            team.log(f"client_{number:02}", "client").log_action(
                "read_book", {"minutes": team.rng.randint(5, 90)}
            )
        system.log_simulation_end("book", {"charts": CASES})
    return team.outcome


def _allowances(event: Event) -> bool:
    return event.kind == "strategy_update" and event.record["extra"]["new_strategy"] == 0


FAULTS = {
    "sure_of_it": Fault(
        "In the line that you drew for us the great-grandfather is born after his own daughter. verifier said it was "
        "all checked.",
        lambda faulty, healthy: 20 in faulty["odd"] and 20 not in healthy["odd"],
        lambda events: [
            e.id
            for e in events
            if e.kind == "agent_message"
            and e.agent == "researcher_2"
            and (e.record["extra"].get("body") or {}).get("case") == 20
            and e.record["extra"]["direction"] == "sent"
        ],
    ),
    "one_anna": Fault(
        "Case 37 has one woman with two husbands and children over forty-five years. Those must be two people.",
        lambda faulty, healthy: len(faulty["joined"]) > len(healthy["joined"]),
        lambda events: pick(events, "linker", "same_person", where=lambda e: e.args["case"] == 37),
    ),
    "loose_memory": Fault(
        "The chart of number 41 is about somebody from another village altogether.",
        lambda faulty, healthy: (
            41 in faulty["odd"] + faulty["wrong"] and 41 not in healthy["odd"] + healthy["wrong"]
        ),
        lambda events: pick(
            events, "researcher_4", "recall_note", where=lambda e: _ordered(events, e) == 41, first=1
        ),
    ),
    "no_checks": Fault(
        "I compared the second half of the printed book with the photos of the registers. At least four years of "
        "birth are a few years off.",
        lambda faulty, healthy: faulty["book_errors"] > healthy["book_errors"] + 2,
        lambda events: [e.id for e in events if _allowances(e)],
    ),
}


def _ordered(events: Any, event: Event) -> int:
    bodies = [
        e.record["extra"]["body"]
        for e in events
        if e.number < event.number and e.kind == "agent_message" and e.agent == "lead"
    ]
    return int(bodies[-1]["case"]) if bodies else 0
