"""The nightly load of a shop chain: extract, clean, convert, load, report; with backfills and a monthly report."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from Agent import AgentLogger, SystemLogger, trace_context
from benchmarks.fault_simulations.kit import Event, Fault, pick

FIRST = date(2026, 8, 1)
NIGHTS = 92
STORES = {
    "oslo": "NOK", "bergen": "NOK", "malmo": "SEK", "lund": "SEK", "leeds": "GBP", "york": "GBP", "porto": "EUR",
    "braga": "EUR", "turku": "EUR", "zurich": "CHF",
}  # fmt: skip
RATES = {"NOK": 0.0861, "SEK": 0.0894, "GBP": 1.1487, "EUR": 1.0, "CHF": 1.0618}
CLOSE_UTC = {"NOK": 20, "SEK": 20, "GBP": 21, "EUR": 21, "CHF": 20}


class Warehouse:
    """Rows by store and day, and what each store pays its staff by them."""

    def __init__(self) -> None:
        """Start without rows."""
        self.sales: dict[tuple[str, date], float] = {}
        self.margin: dict[tuple[str, date], float] = {}

    def put(self, store: str, day: date, euros: float, margin: float, mode: str) -> float:
        """Write the sums of a store and day; "append" adds to what is there."""
        old = self.sales.get((store, day), 0.0) if mode == "append" else 0.0
        self.sales[store, day] = round(old + euros, 2)
        self.margin[store, day] = margin
        return self.sales[store, day]


class Pipeline:
    """The stages, each an agent, and the people who read the reports."""

    def __init__(self, seed: int, fault: str) -> None:
        """Set up the stages."""
        self.fault = fault
        self.rng = random.Random(f"etl {seed}")
        self.pulls = {store: AgentLogger(f"extract_{store}", "extractor") for store in STORES}
        self.clean, self.rates = AgentLogger("cleaner", "stage"), AgentLogger("rates", "stage")
        self.load, self.report = AgentLogger("loader", "stage"), AgentLogger("reporter", "stage")
        self.keeper, self.bank = AgentLogger("scheduler", "stage"), AgentLogger("bank_match", "stage")
        self.staff = {store: AgentLogger(f"manager_{store}", "reader") for store in STORES}
        self.board, self.system = AgentLogger("board", "reader"), SystemLogger("pipeline")
        self.store = Warehouse()
        self.truth: dict[tuple[str, date], float] = {}
        self.bonus: dict[tuple[str, date], float] = {}
        self.places, self.pence = 4, False
        self.cut = dict(CLOSE_UTC)
        self.gaps: dict[date, float] = {}
        self.months: dict[int, float] = {}
        self.lots: dict[str, float] = {}

    def sell(self, store: str, day: date) -> tuple[int, float, float]:
        """Draw what a store sold on a day: receipts, turnover and the share of the last hour, in its currency."""
        receipts = self.rng.randint(260, 420) + (90 if day.weekday() == 5 else 0)
        turnover = round(receipts * self.rng.uniform(17, 23) / RATES[STORES[store]], 2)
        return receipts, turnover, self.rng.uniform(0.07, 0.1)

    def take(self, store: str, day: date, attempt: int = 1) -> float:
        """Extract one day of a store and load it into the warehouse."""
        receipts, turnover, last = self.sell(store, day)
        currency = STORES[store]
        self.truth[store, day] = round(turnover * RATES[currency], 2)
        until = self.cut[currency]
        if until < CLOSE_UTC[currency]:
            turnover, receipts = round(turnover * (1 - last), 2), int(receipts * (1 - last))
        pull = self.pulls[store]
        if self.rng.random() < 0.03:
            pull.warning("the till server did not answer, trying again", {"attempt": attempt})
        window = {"day": day.isoformat(), "until_utc": until, "receipts": receipts, "sum": turnover}
        source = pull.log_action("extract", window)
        cost = round(turnover * 0.58, 2)
        rows = receipts - self.rng.randint(0, 4)
        self.clean.log_action("clean", {"store": store, "day": day.isoformat(), "rows": rows, "cost": cost},
                              causes=source)  # fmt: skip
        rate = round(RATES[currency], self.places)
        euros = round(turnover * rate, 2)
        made = self.rates.log_action("convert", {"store": store, "currency": currency, "rate": rate, "euros": euros},
                                     causes=source)  # fmt: skip
        freight = self.freight(store, day)
        margin = round(euros - cost * rate - freight, 2)
        total = self.store.put(store, day, euros, margin, "append")
        self.load.log_action("write", {"store": store, "day": day.isoformat(), "mode": "append", "total": total},
                             causes=made)  # fmt: skip
        return total

    def freight(self, store: str, day: date) -> float:
        """Take the day's freight from the forwarder's file, which gives it in whole or in minor units."""
        euros = round(self.rng.uniform(110, 190), 2)
        if store != "porto":
            return euros
        if day >= date(2026, 9, 12) and self.fault == "minor_units":
            shown = round(euros / 100, 4)
        else:
            shown = euros
        self.clean.log_action("read_freight", {"store": store, "day": day.isoformat(), "euros": shown})
        return shown

    def backfill(self, store: str, day: date, days: int) -> None:
        """Load some past days of a store again after a correction of its tills."""
        self.keeper.log_decision(
            "backfill", {"store": store, "from": day.isoformat(), "days": days}, "till fixed"
        )
        for back in range(days):
            when = day + timedelta(days=back)
            euros = self.truth[store, when]
            pull = self.pulls[store]
            source = pull.log_action("extract", {"day": when.isoformat(), "until_utc": self.cut[STORES[store]],
                                                 "receipts": self.rng.randint(250, 420), "sum": euros})  # fmt: skip
            mode = "append" if self.fault == "appended" and day == date(2026, 9, 22) else "replace"
            total = self.store.put(store, when, euros, self.store.margin[store, when], mode)
            self.load.log_action("write", {"store": store, "day": when.isoformat(), "mode": mode, "total": total},
                                 causes=source)  # fmt: skip

    def settle(self, night: int, day: date) -> None:
        """Do what is planned for a night: closing hours, backfills, settings."""
        if day == date(2026, 9, 14):
            places = 2 if self.fault == "two_places" else 5
            self.system.log_config("rate_places", self.places, places, {"by": "release 41"})
            self.places = places
        if day in {date(2026, 8, 12), date(2026, 8, 30), date(2026, 10, 7)}:
            self.backfill(("turku", "lund", "bergen")[night % 3], day - timedelta(days=5), 2 + night % 2)
        if day == date(2026, 9, 25):
            self.backfill("malmo", day - timedelta(days=3), 3)
        if day == date(2026, 10, 25):
            self.change_clock()
        if day.day in {10, 28}:
            self.keeper.log_action("vacuum", {"tables": 14, "minutes": self.rng.randint(4, 11)})
        if day == date(2026, 10, 29):
            self.keeper.log_action("move_disk", {"from": "vol2", "to": "vol5"})

    def change_clock(self) -> None:
        """Set the closing hours for winter time: the tills close an hour later in UTC."""
        for currency in ("NOK", "SEK", "GBP", "EUR", "CHF"):
            usual = {"NOK": 21, "SEK": 21, "GBP": 22, "EUR": 22, "CHF": 21}[currency]
            new = CLOSE_UTC[currency] - 1 if self.fault == "winter_time" and currency == "CHF" else usual
            self.keeper.log_action("set_close", {"currency": currency, "until_utc": new})
            self.cut[currency] = new

    def match(self, day: date) -> None:
        """Compare the day with what the bank booked."""
        booked = sum(self.truth[store, day] for store in STORES)
        loaded = sum(self.store.sales[store, day] for store in STORES)
        self.gaps[day] = round(loaded - booked, 2)
        self.bank.log_action(
            "compare", {"day": day.isoformat(), "booked": round(booked, 2), "loaded": round(loaded, 2)}
        )

    def week(self, day: date) -> None:
        """Send each store its week, by which the staff get their bonus."""
        for store, reader in self.staff.items():
            total = round(sum(self.store.sales[store, day - timedelta(days=back)] for back in range(7)), 2)
            letter = self.report.send(f"manager_{store}", {"week_ending": day.isoformat(), "euros": total})
            reader.receive(letter)
            self.bonus[store, day] = round(total * 0.012, 2)
            reader.log_action("pay_bonus", {"week_ending": day.isoformat(), "euros": self.bonus[store, day]})

    def month(self, day: date) -> None:
        """Send the board the margins of a month."""
        for store in STORES:
            days = [one for one in self.store.margin if one[0] == store and one[1].month == day.month]
            total = round(sum(self.store.margin[one] for one in days), 2)
            self.lots[f"{store} {day.month}"] = total
            self.board.receive(
                self.report.send("board", {"month": day.month, "store": store, "margin": total})
            )
        self.months[day.month] = round(sum(self.lots[f"{store} {day.month}"] for store in STORES), 2)

    def night(self, night: int, day: date) -> None:
        """Play one night."""
        with trace_context(self.keeper, "night", night=day.isoformat()):
            self.settle(night, day)
            for store in STORES:
                self.take(store, day)
            self.match(day)
            if day.weekday() == 6 and night > 6:
                self.week(day)
            if (day + timedelta(days=1)).day == 1:
                self.month(day)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play three months of nights."""
    line = Pipeline(seed, fault)
    line.system.log_simulation_start("nightly load", {"stores": len(STORES), "rate_places": line.places})
    for night in range(NIGHTS):
        line.night(night, FIRST + timedelta(days=night))
    line.system.log_simulation_end("nightly load", {"rows": len(line.store.sales)})
    winter = [line.store.sales["zurich", date(2026, 10, one)] for one in range(26, 32)]
    return {
        "bonus_malmo": line.bonus["malmo", date(2026, 9, 27)],
        "gap": line.gaps[date(2026, 9, 14)],
        "zurich": round(sum(winter), 2),
        "porto": line.lots["porto 10"],
        "october": line.months[10],
    }


def _second_writes(events: Sequence[Event]) -> list[str]:
    """Return the writes of the September backfill of malmo."""
    days = {"2026-09-22", "2026-09-23", "2026-09-24"}
    written = pick(
        events,
        "loader",
        "write",
        first=6,
        where=lambda e: e.args["store"] == "malmo" and e.args["day"] in days,
    )
    return written[3:]


FAULTS = {
    "two_places": Fault(
        complaint="The amounts we load and what the bank booked no longer agree since 14 September, off by thousands. "
        "Before it was the same to the cent.",
        symptom=lambda faulty, healthy: abs(faulty["gap"]) > 200 > abs(healthy["gap"]),
        true=lambda events: pick(
            events, act="system.config", where=lambda e: e.record["extra"].get("name") == "rate_places"
        ),
    ),
    "appended": Fault(
        complaint="manager_malmo paid out far too much bonus for the week ending 27 September, it does not fit "
        "the sales at all.",
        symptom=lambda faulty, healthy: faulty["bonus_malmo"] > 1.2 * healthy["bonus_malmo"],
        true=_second_writes,
    ),
    "minor_units": Fault(
        complaint="Porto's margin in the October report is too good to be true, about four thousand more than "
        "in other shops of its size. Braga looks right.",
        symptom=lambda faulty, healthy: faulty["porto"] > healthy["porto"] + 3000,
        true=lambda events: pick(
            events, "cleaner", "read_freight", where=lambda e: e.args["day"] >= "2026-09-12"
        ),
    ),
    "winter_time": Fault(
        complaint="In the last week of October the Zurich shop reports some 8 % less than its tills took.",
        symptom=lambda faulty, healthy: faulty["zurich"] < 0.96 * healthy["zurich"],
        true=lambda events: pick(
            events, "scheduler", "set_close",
            where=lambda e: e.args["currency"] == "CHF" and e.args["until_utc"] != 20, first=1,
        ),
    ),
}  # fmt: skip
