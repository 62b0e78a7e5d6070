"""A parcel hub: intake, scales, sorters, line haul and couriers. Plain `log_action` calls that record their causes.

One tick is ten minutes. Evidence: each act names the events that it follows from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from Agent import AgentLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

TOWNS = ("Aarhus", "Bergen", "Cork", "Delft", "Evora", "Fulda")


@dataclass
class Parcel:
    """A parcel with what is written on it, and the last event about it."""

    number: str
    town: str
    sender_town: str
    grams: int
    leaves: int
    last: str = ""
    kilos: float = 0.0
    label: str = ""
    planned: int = 0


class Hub:
    """The hub with its agents; each event names the previous one about the same parcel."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = case.rng("hub")
        roles = {"intake": 2, "scale": 3, "labeller": 2, "planner": 1, "sorter": 3, "loader": 2, "billing": 1}
        self.logs = {
            f"{role}-{n}": AgentLogger(f"{role}-{n}", role)
            for role, count in roles.items()
            for n in range(1, count + 1)
        }
        self.logs |= {
            f"courier-{town.lower()}": AgentLogger(f"courier-{town.lower()}", "courier") for town in TOWNS
        }
        self.system = SystemLogger()
        self.shelf: dict[int, list[Parcel]] = {}
        self.charged: dict[str, int] = {}

    def act(self, agent: str, name: str, parcel: Parcel, **data: object) -> str:
        """Record one act about a parcel, caused by the act before."""
        causes = [parcel.last] if parcel.last else None
        parcel.last = self.logs[agent].log_action(name, {"parcel": parcel.number, **data}, causes=causes)
        return parcel.last

    def receive(self, parcel: Parcel, now: int, *, planned: bool) -> None:
        """Take a parcel in: weigh, label and plan it."""
        case, rng = self.case, self.rng
        strike = planned and now == case.begin
        self.act(f"intake-{rng.randint(1, 2)}", "accept", parcel, to=parcel.town, sender=parcel.sender_town)
        scale = f"scale-{rng.randint(1, 3)}"
        in_pounds = rng.random() < 0.04
        value, unit = (
            (round(parcel.grams / 453.6, 2), "lb") if in_pounds else (round(parcel.grams / 1000, 3), "kg")
        )
        if strike and case.strikes("wrong_unit"):
            value, unit = round(parcel.grams / 453.6, 3), "kg"
        weighed = self.act(scale, "weigh", parcel, weight=value, unit=unit)
        parcel.kilos = value * 0.4536 if unit == "lb" else value
        labeller = f"labeller-{rng.randint(1, 2)}"
        parcel.label = parcel.town
        back = parcel.sender_town
        if strike and case.strikes("swapped_fields"):
            parcel.label, back = back, parcel.label
        if rng.random() < 0.03 and not strike:  # a wrong label is torn up, and printed again
            self.act(labeller, "print_label", parcel, to=back, return_to=parcel.label)
            self.act(labeller, "void_label", parcel, to=back)
        labelled = self.act(labeller, "print_label", parcel, to=parcel.label, return_to=back)
        parcel.planned = parcel.leaves + (1 if strike and case.strikes("off_by_one") else 0)
        if rng.random() < 0.03 and not strike:  # scheduled twice, and taken off once
            self.act("planner-1", "schedule", parcel, wave=parcel.planned + 1, promised=parcel.leaves + 1)
            self.act("planner-1", "take_off", parcel, wave=parcel.planned + 1)
        scheduled = self.act("planner-1", "schedule", parcel, wave=parcel.planned, promised=parcel.leaves + 1)
        self.charged[parcel.number] = 1
        if strike and case.strikes("doubled_act"):
            self.act("planner-1", "schedule", parcel, wave=parcel.planned, promised=parcel.leaves + 1)
            self.charged[parcel.number] = 2
            case.root(parcel.last)
        if strike and case.faulty and not case.has("doubled_act"):
            case.root({"wrong_unit": weighed, "swapped_fields": labelled, "off_by_one": scheduled}[case.kind])
        self.shelf.setdefault(parcel.planned, []).append(parcel)
        if not strike and rng.random() < 0.05:
            parcel.last = self.act(f"sorter-{rng.randint(1, 3)}", "rescan", parcel, shelf=rng.randint(1, 40))

    def depart(self, now: int) -> None:
        """Sort, load and deliver the parcels of this wave."""
        for parcel in self.shelf.pop(now, []):
            watched = parcel.number == getattr(self, "watched", "")
            sorter = f"sorter-{self.rng.randint(1, 3)}"
            hop1 = self.act(sorter, "sort", parcel, chute=parcel.label)
            if self.rng.random() < 0.03:
                self.logs[sorter].error("reader blocked", {"parcel": parcel.number}, causes=[parcel.last])
                self.act(sorter, "sort", parcel, chute=parcel.label)
            hop2 = self.act(
                f"loader-{self.rng.randint(1, 2)}", "load", parcel, truck=f"t-{parcel.label.lower()}"
            )
            courier = f"courier-{parcel.label.lower()}"
            done = self.act(courier, "deliver", parcel, town=parcel.label)
            if watched:
                self.case.hop(hop1, hop2)
            if parcel.label != parcel.town:
                self.case.symptom(
                    done,
                    f"{parcel.number} was delivered in {parcel.label}, and I live in {parcel.town}",
                    f"customer in {parcel.town} is still waiting for {parcel.number}; courier-{parcel.town.lower()} never had it",
                    f"{parcel.number} went to the wrong town",
                )
            if now > parcel.leaves:
                self.case.symptom(
                    done,
                    f"{parcel.number} missed its wave and came too late",
                    f"express parcel {parcel.number} late. {courier} says it arrived that way",
                )
            for _ in range(self.charged[parcel.number]):
                self.invoice(parcel, done)

    def invoice(self, parcel: Parcel, delivered: str) -> None:
        """Charge a parcel by its weight."""
        cents = 300 + round(210 * parcel.kilos)
        number = self.bills.get(parcel.number, 0) + 1
        self.bills[parcel.number] = number
        bill = self.logs["billing-1"].log_action(
            "charge", {"parcel": parcel.number, "cents": cents}, causes=[delivered]
        )
        if number == 2:
            self.case.symptom(
                bill,
                f"I was charged twice for {parcel.number}",
                f"{parcel.number}: two charges on the card for one parcel, please explain",
                f"billing-1 took the money for {parcel.number} two times",
            )
        if cents > 300 + 1.5 * 210 * parcel.grams / 1000:
            self.case.symptom(
                bill,
                f"the price of {parcel.number} is more than double of what it should be",
                f"why is {parcel.number} so expensive? It weighs {parcel.grams} g. billing-1 refuses to correct it",
            )

    bills: dict[str, int]


def play(case: Case) -> None:
    """Play the hub for a day or two."""
    hub = Hub(case)
    hub.bills = {}
    rng = hub.rng
    ticks = rng.randint(70, 260)
    begin, end = case.window(ticks)
    flow = math.exp(rng.uniform(math.log(0.8), math.log(14)))
    number = rng.randint(1000, 5000)
    for now in range(ticks):
        with tick(now):
            if rng.random() < 0.08:
                key = rng.choice(("belt_speed", "lamp_level", "scan_retries", "gate_timeout"))
                hub.system.log_config(key, rng.randint(2, 9), rng.randint(2, 9))
            if now % 24 == 0:
                for scale in (1, 2, 3):
                    hub.logs[f"scale-{scale}"].log_action("calibrate", {"grams": 1000, "shown": 1000})
            if rng.random() < 0.03 or now == case.decoy_at:
                hub.logs[f"loader-{rng.randint(1, 2)}"].log_action(
                    "swap_truck", {"truck": f"t-{rng.choice(TOWNS).lower()}"}
                )
            for _ in range(int(flow) + (rng.random() < flow % 1)):
                number += 1
                _new(hub, number, now, now + rng.randint(1, max(2, ticks // 3)), planned=False)
            if now == begin:
                number += 1
                hub.watched = f"PX{number}"  # type: ignore[attr-defined]
                _new(hub, number, now, max(now + 1, end - 1 if case.has("off_by_one") else end), planned=True)
            hub.depart(now)


def _new(hub: Hub, number: int, now: int, leaves: int, *, planned: bool) -> None:
    """Bring one parcel with an address of its own."""
    town, sender = hub.rng.sample(TOWNS, 2)
    hub.receive(Parcel(f"PX{number}", town, sender, hub.rng.randint(300, 9000), leaves), now, planned=planned)


WORLD = World("parcels", "edges", ("wrong_unit", "swapped_fields", "off_by_one", "doubled_act"), play)
