"""One hotel sold over four channels, played with asyncio; days of spring are the dates of its books."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from Agent import AgentLogger, SystemLogger, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

START, DAYS = date(2026, 3, 1), 70
ROOMS = {"single": 8, "double": 14, "suite": 3}
RATES = {"single": 84.0, "double": 129.0, "suite": 240.0}


class Inventory:
    """Counts the rooms that are left for each night."""

    def __init__(self) -> None:
        """Begin with all rooms free."""
        self.agent_id, self.sold = "inventory", 0

    @trace_agent_action("check")
    def check(self, kind: str, arrival: str, left: int) -> int:
        """Answer how many rooms are left for a stay."""
        return left

    @trace_agent_action("commit")
    def commit(self, booking: str, kind: str, arrival: str, departure: str) -> str:
        """Take the rooms of a stay out of sale."""
        self.sold += 1
        return booking

    @trace_agent_action("restore")
    def restore(self, booking: str, kind: str, arrival: str) -> str:
        """Put the rooms of a stay back on sale."""
        self.sold -= 1
        return booking


class Revenue:
    """Sets rates and what each channel may sell."""

    def __init__(self) -> None:
        """Begin with the usual shares."""
        self.agent_id = "revenue"
        self.share = {"web": 14, "desk": 14, "agency_a": 3, "agency_b": 5}

    @trace_agent_action("set_rate")
    def set_rate(self, kind: str, rate: float) -> float:
        """Set the rate of a kind of room."""
        return rate

    @trace_agent_action("set_share")
    def set_share(self, channel: str, rooms: int) -> int:
        """Set how many rooms a channel may sell for one night."""
        self.share[channel] = rooms
        return rooms


class House:
    """The hotel: books, queues of its channels, and the front desk."""

    def __init__(self, seed: int, case: str) -> None:
        """Open the books."""
        self.case, self.rng = case, random.Random(seed)
        self.inventory, self.revenue = Inventory(), Revenue()
        self.logs = {c: AgentLogger(c, "channel") for c in self.revenue.share}
        self.front = AgentLogger("front_desk", "desk")
        self.keeper = AgentLogger("housekeeping", "keeper")
        self.system = SystemLogger("hotel")
        self.taken: dict[tuple[str, int], list[str]] = {}
        self.books: dict[str, dict[str, Any]] = {}
        self.outcome: dict[str, Any] = {"walked": 0, "overcharged": 0, "no_shows": 0, "refused": 0}
        self.walked: list[str] = []

    def left(self, kind: str, first: int, nights: int) -> int:
        """Return how many rooms are left for a stay."""
        used = max(len(self.taken.get((kind, n), [])) for n in range(first, first + nights))
        return ROOMS[kind] - used

    async def sell(self, channel: str, day: int) -> None:
        """A channel sells one stay, if there is room."""
        kind = self.rng.choices(list(ROOMS), [4, 7, 1])[0]
        nights, ahead = self.rng.choice([1, 1, 2, 2, 3]), self.rng.randrange(1, 5)
        ahead += {"agency_a": 10, "agency_b": 6, "web": 4}.get(channel, 0)
        first = day + ahead
        if first + nights >= DAYS:
            return
        arrival = (START + timedelta(first)).isoformat()
        left = self.inventory.check(kind, arrival, self.left(kind, first, nights))
        await asyncio.sleep(0)
        left = min(left, self.left(kind, first, nights))
        own = sum(self.books[b]["channel"] == channel for b in self.taken.get((kind, first), []))
        if left <= 0 or own >= self.revenue.share[channel]:
            self.logs[channel].log_action("refuse", {"kind": kind, "arrival": arrival})
            self.outcome["refused"] += channel == "desk" and day >= 40
            return
        await self.book(channel, kind, first, nights)

    async def book(self, channel: str, kind: str, first: int, nights: int) -> None:
        """Write a stay into the books."""
        number = f"b{len(self.books) + 1:04d}"
        inclusive = self.case == "nights" and channel == "agency_b" and first >= 34
        arrival, departure = START + timedelta(first), START + timedelta(first + nights + inclusive)
        stay = {
            "booking": number,
            "kind": kind,
            "arrival": arrival.isoformat(),
            "departure": departure.isoformat(),
        }
        self.logs[channel].send("inventory", {**stay, "nights": nights})
        self.inventory.commit(number, kind, stay["arrival"], stay["departure"])
        self.books[number] = {
            "channel": channel, "kind": kind, "first": first, "nights": nights + inclusive, "real": nights,
            "cancelled": False, "gone": False,
        }  # fmt: skip
        for night in range(first, first + nights + inclusive):
            self.taken.setdefault((kind, night), []).append(number)
        self.logs[channel].log_action("confirm", {"booking": number, "arrival": stay["arrival"]})

    def cancel(self, number: str) -> None:
        """A guest cancels at the channel, which tells the inventory."""
        stay = self.books[number]
        stay["gone"] = True
        kind, arrival = stay["kind"], (START + timedelta(stay["first"])).isoformat()
        self.logs[stay["channel"]].log_action("cancel", {"booking": number, "arrival": arrival})
        if self.case == "cancels" and stay["channel"] == "agency_a" and 38 <= self.day < 54:
            return
        self.inventory.restore(number, kind, arrival)
        stay["cancelled"] = True
        for nights in self.taken.values():
            if number in nights:
                nights.remove(number)

    def morning(self, day: int) -> None:
        """Guests leave and arrive."""
        today = (START + timedelta(day)).isoformat()
        for number, stay in self.books.items():
            if stay["cancelled"]:
                continue
            if stay["first"] + stay["nights"] == day and not stay["gone"]:
                rate = RATES[stay["kind"]]
                self.front.log_action(
                    "bill", {"booking": number, "amount": rate * stay["nights"], "date": today}
                )
                self.outcome["overcharged"] += stay["nights"] > stay["real"]
        here: dict[str, int] = {}
        for number, stay in self.books.items():
            if stay["cancelled"] or not stay["first"] <= day < stay["first"] + stay["nights"]:
                continue
            here[stay["kind"]] = here.get(stay["kind"], 0) + 1
            if stay["first"] == day:
                if stay["gone"]:
                    self.front.log_action("no_show", {"booking": number, "date": today})
                    self.outcome["no_shows"] += 1
                elif here[stay["kind"]] > ROOMS[stay["kind"]]:
                    self.front.log_action("send_elsewhere", {"booking": number, "date": today})
                    self.walked.append(number)
                else:
                    self.front.log_action("check_in", {"booking": number, "date": today})
        self.keeper.log_action("clean", {"rooms": sum(here.values()), "date": today})

    async def last_suite(self, day: int) -> None:
        """Two guests want the suites of one weekend at nearly the same time."""
        first = day + 26
        arrival = (START + timedelta(first)).isoformat()
        left = self.left("suite", first, 2)
        while left > 1:
            await self.book("web", "suite", first, 2)
            left = self.left("suite", first, 2)
        one = self.inventory.check("suite", arrival, left)
        if one:
            await self.book("web", "suite", first, 2)
        two = self.inventory.check(
            "suite", arrival, one if self.case == "race" else self.left("suite", first, 2)
        )
        if two > 0:
            await self.book("agency_a", "suite", first, 2)
        else:
            self.logs["agency_a"].log_action("refuse", {"kind": "suite", "arrival": arrival})

    async def play(self) -> Mapping[str, Any]:
        """Play all days."""
        for self.day in range(DAYS):
            day = self.day
            self.morning(day)
            if day in (5, 25, 36, 47):
                self.revenue.set_rate("double", RATES["double"] + self.rng.randrange(-9, 9))
                rooms = 13 if self.case == "share" and day == 36 else 3
                self.revenue.set_share("agency_a", 4 if day == 5 else rooms)
            if day == 21:
                await self.last_suite(day)
            if day == 44:
                self.keeper.log_action("fumigate", {"room": 114, "why": "a guest brought a parrot"})
            sales = [self.sell(c, day) for c in self._callers()]
            await asyncio.gather(*sales)
            if self.rng.random() < 0.12:
                self.logs["web"].warning("card was declined once, second try went through", {"day": day})
            open_ones = [b for b, s in self.books.items() if s["first"] > day + 1 and not s["gone"]]
            for number in self.rng.sample(open_ones, min(len(open_ones), self.rng.choice([0, 1, 1, 2]))):
                if self.books[number]["kind"] != "suite":
                    self.cancel(number)
        self.outcome["walked"] = len(self.walked)
        return self.outcome

    def _callers(self) -> list[str]:
        weights = [3, 3, 9 if self.day < 34 else 20, 3]
        return self.rng.choices(
            list(self.revenue.share), weights, k=self.rng.randrange(8, 13) + 5 * (self.day >= 42)
        )


def run(seed: int, fault: str) -> Mapping[str, Any]:
    """Play ten weeks of the hotel."""
    return asyncio.run(House(seed, fault).play())


def _longer(event: Event) -> bool:
    stay = event.args
    days = (date.fromisoformat(stay["departure"]) - date.fromisoformat(stay["arrival"])).days
    return days > stay["nights"]


def _unsaid(events: Sequence[Event]) -> list[str]:
    restored = {e.args["booking"] for e in events if e.act == "restore"}
    return pick(events, "agency_a", "cancel", where=lambda e: e.args["booking"] not in restored)


FAULTS = {
    "race": Fault(
        "We came for our weekend in the suite, with a confirmation, and it was given to somebody else.",
        lambda faulty, healthy: faulty["walked"] > healthy["walked"],
        lambda events: pick(
            events, "agency_a", "agent_message",
            where=lambda e: e.args.get("kind") == "suite" and e.args["arrival"] == "2026-04-17",
        ),
    ),
    "nights": Fault(
        "The front desk charged me for one night more than I stayed.",
        lambda faulty, healthy: faulty["overcharged"] >= healthy["overcharged"] + 2,
        lambda events: pick(
            events, "agency_b", "agent_message", where=_longer
        ),
    ),
    "cancels": Fault(
        "Rooms stay empty in the last weeks because their guests never turn up, and web shows us as sold out.",
        lambda faulty, healthy: faulty["no_shows"] >= healthy["no_shows"] + 3,
        _unsaid,
    ),
    "share": Fault(
        "The desk has to turn regular guests away in April, there is nothing left for them to book.",
        lambda faulty, healthy: faulty["refused"] >= healthy["refused"] + 3,
        lambda events: pick(
            events, "revenue", "set_share", where=lambda e: e.args["rooms"] == 13
        ),
    ),
}  # fmt: skip
