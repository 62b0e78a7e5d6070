"""A seed bank: accessions pass through cleaning, drying, X-ray and germination into the vault, and out again."""

from __future__ import annotations

import random
from typing import Any

from Agent import AgentLogger, SystemLogger, trace_agent_action, trace_context
from benchmarks.fault_simulations.kit import Fault, pick

DAYS = 140
INTAKE = 84
CROPS = ("wheat", "lentil", "sorghum", "flax")


class Clerk:
    """Registers what arrives and keeps the terms of use."""

    agent_role = "clerk"

    def __init__(self, agent_id: str) -> None:
        """Make a clerk."""
        self.agent_id = agent_id

    @trace_agent_action
    def register(self, day: int, accession: str, crop: str, grams: int) -> str:
        """Register an accession."""
        return accession

    @trace_agent_action
    def set_terms(self, day: int, accession: str, terms: str) -> str:
        """Set who may get seeds of an accession."""
        return terms


class Dryer:
    """A drying chamber with a hygrometer."""

    agent_role = "dryer"

    def __init__(self, agent_id: str) -> None:
        """Make an empty chamber."""
        self.agent_id = agent_id
        self.runs = 0

    @trace_agent_action
    def read_moisture(self, day: int, accession: str, percent: float) -> bool:
        """Read the moisture of the seeds; true if they are dry enough to store."""
        self.runs += 1
        return percent <= 6.0


class Xray:
    """The X-ray table."""

    agent_role = "xray"

    def __init__(self) -> None:
        """Make the table."""
        self.agent_id = "xray"

    @trace_agent_action
    def picture(self, day: int, tray: int, accession: str, full: int) -> int:
        """Count the full seeds of a hundred."""
        return full


class Technician:
    """Tests germination."""

    agent_role = "technician"

    def __init__(self, agent_id: str) -> None:
        """Make a technician."""
        self.agent_id = agent_id

    @trace_agent_action
    def clean(self, day: int, accession: str, chaff_grams: int) -> int:
        """Clean the seeds."""
        return chaff_grams

    @trace_agent_action
    def count(self, day: int, accession: str, sprouted: int, needed: int) -> str:
        """Count the sprouts of a hundred seeds and decide."""
        return "store" if sprouted >= needed else "return"


class Vault:
    """The cold store."""

    agent_role = "vault"

    def __init__(self) -> None:
        """Open the vault."""
        self.agent_id = "vault"
        self.bags = 0

    @trace_agent_action
    def put_in(self, day: int, accession: str, shelf: str) -> int:
        """Put an accession onto a shelf."""
        self.bags += 1
        return self.bags

    @trace_agent_action
    def retest(self, day: int, accession: str, sprouted: int) -> str:
        """Test stored seeds again."""
        return "good" if sprouted >= 75 else "falling"


class Shipping:
    """Sends seeds to those who ask for them."""

    agent_role = "shipping"

    def __init__(self) -> None:
        """Open the desk."""
        self.agent_id = "shipping"

    @trace_agent_action
    def answer_request(self, day: int, accession: str, asker: str, terms: str) -> str:
        """Send seeds if the terms allow it."""
        return "sent" if terms == "open" or asker.startswith("farm") else "refused"


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play 140 days."""
    rng = random.Random(f"seed{seed}")
    system = SystemLogger("bank")
    system.log_simulation_start("bank", {"days": DAYS, "intake": INTAKE})
    clerks = [Clerk("clerk_iris"), Clerk("clerk_bo")]
    dryers = [Dryer(f"dryer_{n}") for n in range(1, 4)]
    labs = [Technician(f"lab_{n}") for n in range(1, 5)]
    table, vault, shipping = Xray(), Vault(), Shipping()
    gardeners = [AgentLogger(f"gardener_{n:02}", "gardener") for n in range(1, 13)]
    facts: dict[str, dict[str, Any]] = {}
    todo: dict[int, list[tuple[str, str]]] = {}
    outcome: dict[str, Any] = {"falling": 0, "returned": [], "poor_beds": 0, "abroad": []}
    shown: dict[str, int] = {}

    def later(day: int, what: str, accession: str) -> None:
        todo.setdefault(day, []).append((what, accession))

    needed = dict.fromkeys(CROPS, 85)
    number = 0
    for day in range(1, DAYS + 1):
        if day % 7 == 1:
            system.log_phase(f"week {day // 7 + 1}")
        if day in (20, 44, 71):
            crop, percent = {20: ("flax", 80), 44: ("lentil", 85), 71: ("wheat", 86)}[day]
            if fault == "low_bar" and day == 44:
                percent = 58
            system.log_config(
                "germination_needed", needed[crop], percent, {"crop": crop, "by": "method sheet"}
            )
            needed[crop] = percent
        if day <= INTAKE:
            for _ in range(2):
                number += 1
                name, crop = f"SB{number:04}", CROPS[(number // 2 + number) % 4]
                vigour = 68 if number % 13 == 5 else rng.randint(90, 98)
                if number in (98, 99):
                    vigour = {98: 96, 99: 34}[number]
                if number % 29 == 7:
                    vigour, crop = 66, "lentil"
                facts[name] = {"crop": crop, "vigour": vigour, "moisture": 0.0, "terms": "open", "stored": 0}
                clerks[day % 2].register(day, name, crop, rng.randint(40, 400))
                if number % 9 == 0:
                    facts[name]["terms"] = clerks[day % 2].set_terms(day, name, "restricted")
                later(day + 1, "clean", name)
        if day in (58, 77, 103, 126):
            mended = {58: "SB0009", 77: "SB0027", 103: "SB0054", 126: "SB0018"}[day]
            if fault == "turned_digits" and day == 103:
                mended = "SB0045"
            clerks[1].set_terms(day, mended, "open")
            facts[mended]["terms"] = "open"
        if day == 62:
            labs[3].clean(day, "SB0001", 0)  # a class of children visits
        for what, name in todo.pop(day, []):
            fact = facts[name]
            index = int(name[2:])
            with trace_context(system, what):
                if what == "clean":
                    labs[index % 4].clean(day, name, rng.randint(2, 60))
                    later(day + 4, "dry", name)
                elif what == "dry":
                    dryer = dryers[index % 3]
                    wet = fact["moisture"] or rng.uniform(5.4, 9.2)
                    wet = wet - 1.9 if fact["moisture"] else wet
                    fact["moisture"] = wet
                    seen = (
                        wet - 2.7
                        if fault == "dry_reading" and dryer.agent_id == "dryer_2" and day >= 38
                        else wet
                    )
                    is_dry = dryer.read_moisture(day, name, round(max(3.1, seen), 1))
                    later(day + (1 if is_dry else 3), "picture" if is_dry else "dry", name)
                elif what == "picture":
                    label = name
                    if fault == "turned_trays" and name in {"SB0098", "SB0099"}:
                        label = {"SB0098": "SB0099", "SB0099": "SB0098"}[name]
                    full = min(100, fact["vigour"] + rng.randint(0, 3))
                    shown[label] = table.picture(day, index % 6 + 1, label, full)
                    if index not in {98, 99}:
                        later(day + 7, "count", name)
                    elif len(shown.keys() & {"SB0098", "SB0099"}) == 2:
                        later(day + 7, "count", "SB0098")
                        later(day + 7, "count", "SB0099")
                elif what == "count":
                    technician = labs[(index + 1) % 4]
                    sprouted = shown[name] - rng.randint(2, 5)
                    if technician.count(day, name, sprouted, needed[fact["crop"]]) == "store":
                        vault.put_in(day, name, f"{'ABCDE'[index % 5]}{index % 40:02}")
                        fact["stored"] = day
                        if day + 40 <= DAYS:
                            later(day + 40, "retest", name)
                    else:
                        clerks[0].set_terms(day, name, "returned")
                        outcome["returned"].append(name)
                elif what == "retest":
                    loss = 30 if fact["moisture"] > 6.3 else 3
                    if (
                        vault.retest(day, name, max(0, fact["vigour"] - loss - rng.randint(0, 6)))
                        == "falling"
                    ):
                        outcome["falling"] += 1
        if rng.random() < 0.06:
            system.warning("thermostat of a cupboard restarted", {"cupboard": rng.randint(1, 5)})
        if day > 30:
            for _ in range(3):
                stored = sorted(name for name, fact in facts.items() if fact["stored"])
                name = rng.choice(stored) if stored else "SB0002"
                request(day, name, facts, shipping, gardeners, rng, outcome)
        if day in (50, 70, 90, 104, 119):
            name = {50: "SB0018", 70: "SB0036", 90: "SB0027", 104: "SB0045", 119: "SB0072"}[day]
            if shipping.answer_request(day, name, "company_novaseed", facts[name]["terms"]) == "sent":
                outcome["abroad"].append(name)
    system.log_simulation_end("bank", {"bags": vault.bags})
    return outcome


def request(
    day: int,
    name: str,
    facts: dict[str, dict[str, Any]],
    shipping: Shipping,
    gardeners: list[AgentLogger],
    rng: random.Random,
    outcome: dict[str, Any],
) -> None:
    """Let a gardener ask for seeds and sow them."""
    gardener = rng.choice(gardeners)
    fact = facts[name]
    if shipping.answer_request(day, name, f"farm {gardener.agent_id}", fact["terms"]) != "sent":
        return
    rate = max(0, fact["vigour"] - rng.randint(0, 6))
    gardener.log_action("sow_bed", {"day": day, "accession": name, "of_hundred": rate})
    if fact["crop"] == "lentil" and rate < 70:
        gardener.log_decision("sow_again", {"day": day, "accession": name})
        outcome["poor_beds"] += 1


FAULTS = {
    "dry_reading": Fault(
        "The control tests of the spring batch are a disaster, a good part of the seeds has lost a third of its "
        "strength within weeks in the vault.",
        lambda faulty, healthy: faulty["falling"] > healthy["falling"] + 4,
        lambda events: pick(events, "dryer_2", "read_moisture", where=lambda e: e.args["day"] >= 38),
    ),
    "turned_trays": Fault(
        "You sent my seeds back as empty husks. I opened a handful of SB0098: every one of them is plump.",
        lambda faulty, healthy: "SB0098" in faulty["returned"] and "SB0098" not in healthy["returned"],
        lambda events: [
            e.id for e in events if e.act == "picture" and e.args["accession"] in {"SB0098", "SB0099"}
        ][:2],
    ),
    "low_bar": Fault(
        "Twice now the lentils that I ordered from you hardly came up, a third of the bed is bare.",
        lambda faulty, healthy: faulty["poor_beds"] > healthy["poor_beds"] + 1,
        lambda events: [
            e.id for e in events if e.kind == "system.config" and e.record["extra"]["new_value"] == 58
        ],
    ),
    "turned_digits": Fault(
        "A company abroad grows the old grain of our valley, SB0045, without anybody having asked us. Why did shipping "
        "hand it out on day 104?",
        lambda faulty, healthy: len(faulty["abroad"]) > len(healthy["abroad"]),
        lambda events: pick(
            events,
            "clerk_bo",
            "set_terms",
            where=lambda e: e.args["day"] == 103 and e.args["terms"] == "open",
        ),
    ),
}
