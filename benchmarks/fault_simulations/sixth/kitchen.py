"""A restaurant's evening: waiters, a printer, cooks, an oven, a store and the dish washers, minute by minute."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, tick, trace_context
from benchmarks.fault_simulations.kit import Fault, pick

MINUTES = 300
MENU = {"pizza": 5, "risotto": 8, "steak": 7, "salad": 3}
WAITERS = ["anna", "bela", "carl"]
COOKS = [f"cook_{n}" for n in range(1, 7)]


@dataclass
class Ticket:
    """One dish for one table."""

    number: int
    table: int
    dish: str
    since: int
    extra: bool = False


class Kitchen:
    """The kitchen and the dining room."""

    def __init__(self, seed: int, case: str) -> None:
        """Open for the evening."""
        self.case, self.rng, self.guests = case, random.Random(seed), random.Random(seed + 5)
        people = [*WAITERS, *COOKS, "printer", "oven", "store", "washer_1", "washer_2", "chef"]
        self.logs = {p: AgentLogger(p, p.partition("_")[0] if "_" in p else "staff") for p in people}
        self.service = InteractionLogger("pass", "pass")
        self.metrics = PerformanceLogger("oven", "oven")
        self.rail: deque[Ticket] = deque()
        self.busy: dict[str, tuple[int, Ticket]] = {}
        self.plates, self.dirty = 46, 0
        self.stock = {"dough": 22, "rice": 20, "meat": 20, "greens": 24}
        self.coming: list[tuple[int, str]] = []
        self.back: list[tuple[int, int]] = []
        self.set_point, self.felt, self.burned = 300.0, 0.0, 0
        self.served: list[tuple[int, str, int]] = []
        self.off_menu: set[str] = set()
        self.refused = dict.fromkeys(MENU, 0)
        self.doubled = 0
        self.no_plates = 0
        self.number = 0
        self.wait_55 = 0

    def guest(self, now: int) -> None:
        """Guests at a table order."""
        rush = 0.75 if 60 <= now < 190 else 0.35
        if self.guests.random() >= rush or now > 250:
            return
        table = 55 if now in (151, 152, 153) else self.guests.randrange(1, 40)
        waiter = WAITERS[table % 3]
        for dish in self.guests.choices(list(MENU), [5, 3, 2, 3], k=self.guests.choice([1, 1, 2])):
            if dish in self.off_menu:
                self.refused[dish] += 1
                self.logs[waiter].log_action("regret", {"table": table, "dish": dish})
                continue
            self.number += 1
            ticket = Ticket(self.number, table, dish, now)
            message = self.logs[waiter].send(
                "printer", {"ticket": ticket.number, "table": table, "dish": dish}
            )
            self.logs["printer"].receive(message)
            copies = 2 if self.case == "printer" and 128 <= now < 152 else 1
            for copy in range(copies):
                self.logs["printer"].log_action(
                    "print", {"ticket": ticket.number, "table": table, "dish": dish}
                )
                self.rail.append(Ticket(ticket.number, table, dish, now, copy > 0))

    def cook(self, name: str, now: int) -> None:
        """A cook ends a dish or takes the next ticket."""
        log = self.logs[name]
        if name in self.busy:
            due, ticket = self.busy[name]
            if due > now:
                return
            if self.plates <= 0:
                self.no_plates += 1
                if self.no_plates % 4 == 1:
                    log.log_action("wait_for_plate", {"ticket": ticket.number})
                return
            del self.busy[name]
            self.finish(name, ticket, now)
        if not self.rail:
            return
        ticket = self.rail.popleft()
        goods = {"pizza": "dough", "risotto": "rice", "steak": "meat", "salad": "greens"}[ticket.dish]
        if self.stock[goods] <= 0:
            self.off_menu.add(ticket.dish)
            self.refused[ticket.dish] += 1
            log.log_action("return_ticket", {"ticket": ticket.number, "dish": ticket.dish})
            return
        self.stock[goods] -= 1
        log.log_action("take", {"ticket": ticket.number, "goods": goods, "left": self.stock[goods]})
        forgotten = self.case == "rice" and goods == "rice"
        open_one = any(g == goods for _, g in self.coming)
        if self.stock[goods] < 8 and not open_one and not forgotten:
            log.log_action("ask_refill", {"goods": goods, "left": self.stock[goods]})
            self.coming.append((now + self.rng.randrange(12, 20), goods))
        lasts = MENU[ticket.dish] + self.rng.randrange(-1, 3)
        self.busy[name] = (now + lasts, ticket)

    def finish(self, name: str, ticket: Ticket, now: int) -> None:
        """Plate a dish and bring it to its table."""
        self.plates -= 1
        self.doubled += ticket.extra
        with trace_context(self.logs[name], "plating", ticket=ticket.number):
            if ticket.dish == "pizza":
                true_heat = self.set_point + self.felt
                crust = round(min(1.0, max(0.0, (true_heat - 250) / 100 + self.rng.gauss(0, 0.04))), 2)
                self.logs["oven"].log_action("bake", {"ticket": ticket.number, "crust": crust})
                self.burned += crust > 0.8
            self.logs[name].log_action("plate", {"ticket": ticket.number, "dish": ticket.dish})
        waiter = WAITERS[ticket.table % 3]
        self.service.log_interaction("serve", name, waiter, str(ticket.number), {"table": ticket.table})
        self.served.append((now - ticket.since, ticket.dish, now))
        if ticket.table == 55:
            self.wait_55 = max(self.wait_55, now - ticket.since)
        self.back.append((now + self.rng.randrange(22, 38), 1))

    def oven(self, now: int) -> None:
        """Regulate the oven by its sensor."""
        if now % 4:
            return
        if self.case == "sensor" and now >= 40:
            self.felt = (now - 40) * 0.42
        shown = round(self.set_point + self.rng.gauss(0, 2), 1)
        self.metrics.log_metric("heat", shown, "C")
        power = round(4.2 + self.felt * 0.012 + self.rng.gauss(0, 0.1), 2)
        self.logs["oven"].log_action("regulate", {"shown": shown, "power_kw": power})

    def wash(self, name: str, now: int) -> None:
        """A washer takes a rack of dirty plates."""
        gone = self.case == "washer" and name == "washer_2" and now >= 96
        if now % 3 != int(name[-1]) or gone:
            return
        rack = min(self.dirty, 3 if name == "washer_2" else 1)
        self.dirty -= rack
        self.plates += rack
        self.logs[name].log_action("rack", {"plates": rack, "waiting": self.dirty})

    def minute(self, now: int) -> None:
        """Play one minute."""
        for entry in [c for c in self.coming if c[0] <= now]:
            self.coming.remove(entry)
            self.stock[entry[1]] += 24
            self.off_menu.clear()
            self.logs["store"].log_action("bring", {"goods": entry[1], "count": 24})
        for entry in [b for b in self.back if b[0] <= now]:
            self.back.remove(entry)
            self.dirty += entry[1]
        self.guest(now)
        self.oven(now)
        for name in ("washer_1", "washer_2"):
            self.wash(name, now)
        for name in COOKS:
            self.cook(name, now)
        if now in (75, 180):
            self.logs["chef"].log_decision("change_of_shift", {"section": "cold", "to": COOKS[now % 2]})
        if now == 146:
            self.logs["chef"].log_action("flambe_show", {"table": 12})
        if self.rng.random() < 0.015:
            self.logs["printer"].warning("paper low, roll changed", {"left": 0})

    def play(self) -> Mapping[str, Any]:
        """Play the evening."""
        for now in range(MINUTES):
            with tick(now):
                self.minute(now)
        late = [w for w, _, at in self.served if at >= 110]
        return {
            "served": len(self.served), "mean_wait": round(sum(late) / max(1, len(late)), 1),
            "burned": self.burned, "no_plates": self.no_plates, "no_risotto": self.refused["risotto"],
            "doubled": self.doubled, "wait_55": self.wait_55,
        }  # fmt: skip


def run(seed: int, fault: str) -> Mapping[str, Any]:
    """Play one evening."""
    return Kitchen(seed, fault).play()


def _low_rice(event: Any) -> bool:
    return event.args["goods"] == "rice" and event.args["left"] < 8


FAULTS = {
    "sensor": Fault(
        "Pizzas come out black at the rim in the late evening, although the display on the door says 300.",
        lambda faulty, healthy: faulty["burned"] >= healthy["burned"] + 5,
        lambda events: pick(events, "oven", "regulate", tick=lambda t: t >= 44),
    ),
    "washer": Fault(
        "The food is ready but cook_1 has no plate to put it on, later everything stands still.",
        lambda faulty, healthy: faulty["no_plates"] >= healthy["no_plates"] + 20,
        lambda events: pick(events, "washer_2", "rack", tick=lambda t: 93 <= t < 96) or pick(
            [e for e in reversed(events) if (e.tick or 0) < 96], "washer_2", "rack", first=1
        ),
    ),
    "rice": Fault(
        "No risotto for anyone any more, says Anna, and the night is young.",
        lambda faulty, healthy: faulty["no_risotto"] >= healthy["no_risotto"] + 4,
        lambda events: pick(events, act="take", where=_low_rice),
    ),
    "printer": Fault(
        "We at table 55 waited half an hour, while the neighbours got every dish twice.",
        lambda faulty, healthy: faulty["doubled"] >= 6 and faulty["wait_55"] >= healthy["wait_55"] + 6,
        lambda events: pick(events, "printer", "print", where=lambda e: (e.tick or 0) >= 128),
    ),
}  # fmt: skip
