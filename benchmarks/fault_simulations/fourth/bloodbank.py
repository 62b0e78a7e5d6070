"""Sixty days of a regional blood bank with six hospitals, two couriers and a donor centre."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, InteractionLogger, SystemLogger, tick
from benchmarks.fault_simulations.kit import Event, Fault, pick

DAYS = 60
GROUPS = {"O+": 0.37, "A+": 0.33, "B+": 0.12, "O-": 0.10, "A-": 0.08}
PACK = 4
_SIZES = {
    "st_anna": 9, "lakeside": 6, "hillcrest": 5, "mercy": 7, "northgate": 4, "riverside": 5,
}  # fmt: skip


class _Odds:
    """Draws that depend on what is drawn only, and what this run is about."""

    def __init__(self, seed: int, about: str) -> None:
        self.seed = seed
        self.about = about

    def of(self, *key: object) -> random.Random:
        """Return the generator for a key."""
        return random.Random(f"{self.seed}/{key}")


@dataclass
class Order:
    """An order of a hospital for units of one group."""

    ref: str
    hospital: str
    group: str
    units: int


@dataclass
class Hospital:
    """Uses units every day and orders when few are left."""

    name: str
    size: int
    stock: dict[str, int] = field(default_factory=dict)
    on_order: dict[str, int] = field(default_factory=dict)
    postponed: int = 0

    def __post_init__(self) -> None:
        """Fill the refrigerator."""
        self.log = AgentLogger(self.name, "hospital")
        for group, share in GROUPS.items():
            self.stock[group] = round(self.size * share * 3) + 1

    def aim(self, group: str) -> int:
        """Return how many units, on the shelf and on the road, suffice until the order after next."""
        return round(self.size * GROUPS[group] * 4 + 1.9 * (self.size * GROUPS[group]) ** 0.5) + 1

    def use(self, day: int, odds: _Odds) -> None:
        """Transfuse what the day asks for, and postpone operations that lack blood."""
        for group, share in GROUPS.items():
            need = sum(odds.of("use", day, self.name, group, n).random() < share for n in range(self.size))
            if not need:
                continue
            used = min(need, self.stock[group])
            self.stock[group] -= used
            self.log.log_action("transfuse", {"group": group, "units": used, "left": self.stock[group]})
            if used < need:
                self.postponed += need - used
                self.log.log_action("postpone", {"group": group, "operations": need - used})

    def look(self, day: int, odds: _Odds) -> list[Order]:
        """Count the shelf and decide what to order."""
        orders = []
        for group in GROUPS:
            have, coming = self.stock[group], self.on_order.get(group, 0)
            units = self.aim(group) - have - coming
            if units <= 0 or (day + self.size) % 3:
                continue
            self.log.log_decision("reorder", {"group": group, "have": have, "units": units})
            self.on_order[group] = coming + units
            if _goes_out(odds, self.name, group, day):
                orders.append(Order(f"{self.name[:3]}-{day:02d}-{group}", self.name, group, units))
        return orders


class Bank:
    """Keeps the ledger, packs orders and invites donors."""

    def __init__(self) -> None:
        """Start with a shelf for a week."""
        self.log = AgentLogger("central_bank", "bank")
        self.ties = InteractionLogger("central_bank", "bank")
        self.shelf = {group: round(36 * share * 3) + 6 for group, share in GROUPS.items()}
        self.ledger = dict(self.shelf)
        self.issued = dict.fromkeys(GROUPS, 0)
        self.known: set[str] = set()
        self.open: list[Order] = []

    def take(self, order: Order, message: Any) -> None:
        """Take an order, once."""
        self.log.receive(message)
        if order.ref in self.known:
            self.log.info("order known already", {"ref": order.ref})
            return
        self.known.add(order.ref)
        self.open.append(order)

    def pack(self, day: int, odds: _Odds) -> list[tuple[Order, int]]:
        """Pack what is ordered, in whole packs, as long as the shelf has it."""
        parcels, kept = [], []
        for order in self.open:
            wanted = _packs(odds, order.units, day) * PACK
            units = min(wanted, max(0, self.shelf[order.group]))
            if units == 0:
                kept.append(order)
                continue
            self.shelf[order.group] -= units
            self.ledger[order.group] -= units
            self.issued[order.group] += units
            self.log.log_action(
                "ship", {"ref": order.ref, "to": order.hospital, "ordered": order.units, "units": units}
            )
            parcels.append((order, units))
        self.open = kept
        return parcels

    def invite(self, day: int, odds: _Odds) -> dict[str, int]:
        """Invite as many donors as the ledger suggests."""
        wanted = {}
        for group, share in GROUPS.items():
            aim = round(36 * share * 3) + 8
            wanted[group] = max(0, min(round(36 * share * 1.6) + 3, aim - self.ledger[group]))
        self.log.log_decision("invite", {"wanted": wanted, "ledger": dict(self.ledger)})
        return wanted

    def merge(self, day: int, odds: _Odds) -> None:
        """Merge the ledger of the depot with the one of the centre."""
        depot = {group: self.ledger[group] + self.issued[group] for group in GROUPS}
        merged = {
            group: (depot if _prefers_depot(odds, group, day) else self.ledger)[group] for group in GROUPS
        }
        self.log.log_action("merge_ledgers", {"depot": depot, "centre": dict(self.ledger), "kept": merged})
        self.ledger = merged
        self.issued = dict.fromkeys(GROUPS, 0)

    def count(self) -> None:
        """Count the shelf and correct the ledger."""
        self.log.log_action("count_shelf", dict(self.shelf))
        self.ledger = dict(self.shelf)


def _goes_out(odds: _Odds, hospital: str, group: str, day: int) -> bool:
    return not (odds.about == "reorder" and hospital == "hillcrest" and group == "B+" and day >= 14)


def _packs(odds: _Odds, units: int, day: int) -> int:
    return max(1, units // PACK) if odds.about == "packs" and day >= 24 else -(-units // PACK)


def _prefers_depot(odds: _Odds, group: str, day: int) -> bool:
    return odds.about == "merge" and group == "A+" and day == 35


def _retry_ref(odds: _Odds, order: Order, day: int, nth: int) -> str:
    renames = odds.about == "retry" and order.hospital == "lakeside" and day >= 18
    return f"{order.ref}{'abc'[nth]}" if renames else order.ref


def _order(hospital: Hospital, order: Order, bank: Bank, day: int, odds: _Odds) -> None:
    """Send an order, and once more if the receipt is late."""
    body = {"ref": order.ref, "group": order.group, "units": order.units}
    bank.take(order, hospital.log.send("central_bank", body))
    late = odds.of("late", day, order.ref).random() < (0.45 if order.hospital == "lakeside" else 0.08)
    for nth in range(3 if late and order.hospital == "lakeside" else int(late)):
        again = Order(_retry_ref(odds, order, day, nth), order.hospital, order.group, order.units)
        bank.take(again, hospital.log.send("central_bank", {**body, "ref": again.ref}))


def _deliver(
    hospital: Hospital, order: Order, units: int, courier: AgentLogger, day: int, odds: _Odds
) -> None:
    if odds.of("jam", day, order.ref).random() < 0.05:
        courier.warning("stuck in traffic", {"ref": order.ref})
    spoilt = 1 if odds.of("bag", day, order.ref).random() < 0.03 else 0
    courier.log_action("deliver", {"ref": order.ref, "to": hospital.name, "units": units - spoilt})
    hospital.stock[order.group] += units - spoilt
    hospital.on_order[order.group] = max(0, hospital.on_order.get(order.group, 0) - max(units, order.units))
    hospital.log.log_action(
        "shelve", {"group": order.group, "units": units - spoilt, "now": hospital.stock[order.group]}
    )


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play sixty days and return how many operations each hospital postponed."""
    odds = _Odds(seed, fault)
    bank = Bank()
    hospitals = {name: Hospital(name, size) for name, size in _SIZES.items()}
    couriers = [AgentLogger("courier_east", "courier"), AgentLogger("courier_west", "courier")]
    centre = AgentLogger("donor_centre", "donor centre")
    system = SystemLogger("bank")
    system.log_simulation_start("blood bank", {"days": DAYS, "pack": PACK})
    history: dict[str, dict[int, int]] = {name: {} for name in hospitals}
    fullest: dict[str, int] = {}
    given: dict[str, int] = dict.fromkeys(GROUPS, 0)
    expected: dict[str, int] = dict.fromkeys(GROUPS, 0)
    parcels: list[tuple[Order, int]] = []
    for day in range(DAYS):
        with tick(day):
            for hospital in hospitals.values():
                before = hospital.postponed
                hospital.use(day, odds)
                history[hospital.name][day] = hospital.postponed - before
                for order in hospital.look(day, odds):
                    _order(hospital, order, bank, day, odds)
            for order, units in parcels:
                east = order.hospital in {"st_anna", "lakeside", "mercy"}
                _deliver(hospitals[order.hospital], order, units, couriers[0 if east else 1], day, odds)
            parcels = bank.pack(day, odds)
            for group, wanted in bank.invite(day, odds).items():
                units = sum(odds.of("donor", day, group, n).random() < 0.9 for n in range(wanted))
                expected[group] += wanted
                given[group] += units
                centre.log_action("collect", {"group": group, "invited": wanted, "units": units})
                bank.shelf[group] += units
                bank.ledger[group] += units
            if day >= 18:
                for name, hospital in hospitals.items():
                    fullest[name] = max(fullest.get(name, 0), sum(hospital.stock.values()))
            if day % 7 == 0 and day:
                bank.merge(day, odds)
                system.log_config("courier_start", f"0{6 + day % 2}:30", f"0{7 - day % 2}:30")
            if day in {21, 56}:
                bank.count()
            if day in {19, 38}:
                couriers[1].log_action("change_tyres", {"minutes": 45})
    return {
        "postponed": {name: hospital.postponed for name, hospital in hospitals.items()},
        "by_day": {name: {d: n for d, n in days.items() if n} for name, days in history.items()},
        "shelf": dict(bank.shelf),
        "collected": given,
        "fullest": fullest,
    }


def _retried(events: Sequence[Event]) -> list[str]:
    return pick(
        events,
        "lakeside",
        where=lambda e: (
            e.kind == "agent_message"
            and e.record["extra"]["direction"] == "sent"
            and e.args.get("ref", "")[-1:] in set("abc")
        ),
    )


def _short(event: Event) -> bool:
    return event.args["units"] < event.args["ordered"] and event.args["units"] % PACK == 0


def _unsent(events: Sequence[Event]) -> list[str]:
    return pick(
        events, "hillcrest", "reorder", tick=lambda day: day >= 14, where=lambda e: e.args["group"] == "B+",
        first=1,
    )  # fmt: skip


def _total(outcome: Any, *names: str) -> int:
    return sum(outcome["postponed"][name] for name in names)


FAULTS: dict[str, Fault] = {
    "retry": Fault(
        "Our refrigerators at lakeside do not close any more, that is how much blood has piled up in them. "
        "Somebody must stop courier_east.",
        lambda bad, good: bad["fullest"]["lakeside"] > 1.3 * good["fullest"]["lakeside"],
        _retried,
    ),
    "packs": Fault(
        "Since about the last week of the month more and more operations have had to be put off, in several "
        "houses. The donors come as always.",
        lambda bad, good: sum(bad["postponed"].values()) > sum(good["postponed"].values()) + 6,
        lambda events: pick(events, "central_bank", "ship", tick=lambda day: day >= 24, where=_short),
    ),
    "reorder": Fault(
        "The theatre had to send patients with group B home, there was not one bag in the house. "
        "courier_west swears that nothing was waiting to be picked up.",
        lambda bad, good: _total(bad, "hillcrest") > _total(good, "hillcrest") + 4,
        _unsent,
    ),
    "merge": Fault(
        "st_anna could not get enough A positive in the sixth week, although the stock list that we are "
        "sent showed plenty of it.",
        lambda bad, good: _total(bad, "st_anna") > _total(good, "st_anna") + 3,
        lambda events: pick(events, "central_bank", "merge_ledgers", tick=35),
    ),
}
