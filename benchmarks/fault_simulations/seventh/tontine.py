"""Six savings circles in a market town: weekly contributions, a pot in turn, trust, gossip and fines."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from Agent import AgentLogger, InteractionLogger, LearningLogger, SystemLogger, tick
from benchmarks.fault_simulations.kit import Event, Fault, pick

WEEKS = 46
GROUPS = [f"g{n}" for n in range(1, 7)]
SIZE = 8
SHARE = 10


class Member:
    """A member of a circle, who pays as long as the circle seems worth it."""

    def __init__(self, name: str, rng: random.Random) -> None:
        """Make a member."""
        self.name = name
        self.trust = round(rng.uniform(0.7, 0.9), 3)
        self.caution = rng.uniform(0.36, 0.46)
        self.debt = 0.0
        self.pots = 0
        self.gone = False
        self.log = AgentLogger(name, "member")
        self.learning = LearningLogger("trust", name, "member")


class Circle:
    """A circle with its members, its treasurer and whose turn it is."""

    def __init__(self, name: str, seed: int) -> None:
        """Found a circle."""
        self.rng = random.Random(f"{name} {seed}")
        self.name = name
        self.members = [Member(f"{name}_m{n:02}", self.rng) for n in range(1, SIZE + 1)]
        self.turn = 0
        self.fine = 0.05
        self.treasurer = AgentLogger(f"treasurer_{name}", "treasurer")
        self.short_weeks: list[int] = []
        self.gone: list[int] = []


def collect(circle: Circle, week: int, talk: InteractionLogger) -> tuple[float, int]:
    """Collect a week's contributions; return the pot and how many should have paid."""
    pot, due = 0.0, 0
    for member in circle.members:
        if member.gone:
            continue
        due += 1
        luck = circle.rng.random()
        owed = SHARE + member.debt
        if owed > 2.3 * SHARE and luck < 0.9 and week > 1:
            member.log.log_decision(
                "leave", {"week": week, "owed": round(owed, 2)}, reasoning="cannot pay this"
            )
            member.gone = True
            circle.gone.append(week)
            continue
        if member.trust < member.caution:
            member.log.log_decision("withhold", {"week": week, "trust": member.trust})
            continue
        if luck < 0.06:
            member.log.log_decision(
                "postpone", {"week": week, "reason": circle.rng.choice(["school", "roof", "ill"])}
            )
            member.debt = round(owed * (1 + circle.fine), 2)
            continue
        paid = member.log.log_action("contribute", {"week": week, "amount": round(owed, 2)})
        talk.log_interaction(
            "payment", member.name, f"treasurer_{circle.name}", data={"amount": round(owed, 2)}, causes=paid
        )
        pot += owed
        member.debt = 0.0
    return round(pot, 2), due


def learn(circle: Circle, share: float, week: int, fault: str) -> None:
    """Let the members update their trust by how full the pot was."""
    reward = round(min(1.0, share), 2)
    for member in circle.members:
        if member.gone:
            continue
        own = reward
        if fault == "upside_down" and circle.name == "g5" and week >= 22:
            own = round(1.0 - reward, 2)
        member.learning.log_reward("contribute", own)
        before = member.trust
        member.trust = round(before + 0.14 * (own * 0.95 - before) + circle.rng.uniform(-0.01, 0.01), 3)
        if week % 4 == 0:
            member.learning.log_learning_update(
                "trust", {"week": week, "before": before, "after": member.trust}
            )


def gossip(circle: Circle, week: int, fault: str, talk: InteractionLogger) -> None:
    """Let members talk about the treasurer."""
    rng = circle.rng
    pairs = [rng.sample(circle.members, 2) for _ in range(2)]
    tones = [round(rng.uniform(-0.06, 0.08), 2) for _ in pairs]
    if circle.name == "g3" and week == 14:  # the day of the fair, when everybody meets
        teller = circle.members[4]
        pairs += [[teller, other] for other in circle.members if other is not teller]
        tones += [0.03 if fault != "hearsay" else -0.55 for _ in circle.members[1:]]
    for (teller, listener), tone in zip(pairs, tones, strict=True):
        talk.log_interaction(
            "talk",
            teller.name,
            listener.name,
            data={"about": f"treasurer_{circle.name}", "tone": tone, "week": week},
        )
        listener.trust = round(min(1.0, max(0.0, listener.trust + tone)), 3)


def pay_out(circle: Circle, pot: float, week: int, fault: str) -> None:
    """Give the pot to the member whose turn it is."""
    turn = circle.turn % SIZE
    if fault == "lost_page" and circle.name == "g2" and week == 21:
        turn = (turn + 1) % SIZE
        circle.turn += 1
    winner = circle.members[turn]
    if winner.gone:
        winner = next((member for member in circle.members if not member.gone), winner)
    circle.treasurer.log_action("pay_pot", {"week": week, "to": winner.name, "amount": pot})
    winner.log.log_action("receive_pot", {"week": week, "amount": pot})
    winner.pots += 1
    circle.turn += 1


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play 46 weeks."""
    system, talk = SystemLogger("town"), InteractionLogger()
    circles = [Circle(name, seed) for name in GROUPS]
    system.log_simulation_start("town", {"circles": len(circles), "members": SIZE})
    rng = random.Random(f"town{seed}")
    fines = {9: ("g1", 0.06), 23: ("g6", 0.05), 30: ("g4", 0.06), 39: ("g2", 0.04)}
    for week in range(1, WEEKS + 1):
        with tick(week):
            if rng.random() < 0.2:
                system.warning("phone network down, reminders sent again", {"cells": rng.randint(1, 5)})
            if week in fines:
                name, rate = fines[week]
                circle = circles[GROUPS.index(name)]
                value = 0.6 if fault == "sixty" and week == 30 else rate
                system.log_config("late_fine", circle.fine, value, {"circle": name, "by": "assembly"})
                circle.fine = value
            if week == 25:
                circles[5].treasurer.log_action("move_box", {"week": week, "to": "school house"})
            for circle in circles:
                pot, due = collect(circle, week, talk)
                if circle.name == "g4" and week == 30:  # the bridge was closed, some came too late
                    for member in circle.members[2:7]:
                        if not member.gone and not member.debt:
                            member.log.log_action("come_late", {"week": week})
                            member.debt = round((SHARE * 1.1) * (1 + circle.fine), 2)
                pay_out(circle, pot, week, fault)
                share = pot / (SHARE * max(1, due))
                if pot < 0.6 * SHARE * SIZE:
                    circle.short_weeks.append(week)
                learn(circle, share, week, fault)
                gossip(circle, week, fault, talk)
    for circle in circles:
        for member in circle.members:
            member.log.log_action("count_year", {"pots": member.pots})
    outcome = {
        "short": {circle.name: len(circle.short_weeks) for circle in circles},
        "gone": {circle.name: len(circle.gone) for circle in circles},
        "pots": {member.name: member.pots for circle in circles for member in circle.members},
    }
    system.log_simulation_end("town", {"short": outcome["short"]})
    return outcome


def _more(key: str, circle: str, by: int) -> Any:
    def compare(faulty: Mapping[str, Any], healthy: Mapping[str, Any]) -> bool:
        return bool(faulty[key][circle] > healthy[key][circle] + by)

    return compare


def _talks(events: Sequence[Event]) -> list[str]:
    return [
        e.id
        for e in events
        if e.act == "talk"
        and e.record["extra"]["source_id"] == "g3_m05"
        and e.tick == 14
        and e.args["tone"] < -0.4
    ][:3]


def _rewards(events: Sequence[Event]) -> list[str]:
    return pick(events, act="reward", tick=lambda at: at >= 22, where=lambda e: e.agent.startswith("g5_"))


FAULTS = {
    "hearsay": Fault(
        "Circle g3 fell apart in spring, the pot was half empty week after week. treasurer_g3 did everything as "
        "always.",
        _more("short", "g3", 3),
        _talks,
    ),
    "upside_down": Fault(
        "People of one circle stopped paying although they had got every pot in full until then. treasurer_g5 is "
        "desperate.",
        _more("short", "g5", 3),
        _rewards,
    ),
    "lost_page": Fault(
        "It was the turn of my sister-in-law in the 21st week, and the pot went to the next one on the list.",
        lambda faulty, healthy: any(
            faulty["pots"][k] != v for k, v in healthy["pots"].items() if k.startswith("g2_")
        ),
        lambda events: pick(events, "treasurer_g2", "pay_pot", tick=21),
    ),
    "sixty": Fault(
        "Three or four families left our circle within a fortnight, they say they can never pay that back.",
        _more("gone", "g4", 1),
        lambda events: [
            e.id for e in events if e.kind == "system.config" and e.record["extra"]["new_value"] == 0.6
        ],
    ),
}
