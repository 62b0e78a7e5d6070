"""Counting an election: ballots are scanned, tallied, sent to counties and declared; a pipeline of stages."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, SystemLogger, trace_agent_action, trace_context
from benchmarks.fault_simulations.kit import Event, Fault, pick

PARTIES = ["Amsel", "Birke", "Cedar", "Distel"]
COUNTIES = ["north", "east", "south", "west"]
PRECINCTS = 40
BATCHES = 9

Tally = dict[str, int]


@dataclass(eq=False)
class Press:
    """Says in which order the names stand on the ballots of a county."""

    agent_id: str = "ballot_office"

    @trace_agent_action("load_layout")
    def load_layout(self, county: str, order: list[str]) -> int:
        """Load the layout of a county's ballot."""
        return len(order)


@dataclass(eq=False)
class Scanner:
    """Reads bundles of ballots."""

    agent_id: str
    sheets: int = 0
    layouts: dict[str, list[str]] = field(default_factory=dict)

    @trace_agent_action("scan")
    def scan(self, precinct: str, bundle: int, sheets: int, columns: list[int]) -> list[int]:
        """Count the marks in each column of a bundle."""
        self.sheets += sheets
        return columns

    @trace_agent_action("clear_jam")
    def clear_jam(self, sheets: int) -> int:
        """Take crumpled sheets out and feed them again."""
        return sheets

    @trace_agent_action("clean")
    def clean(self, lamp_hours: int) -> int:
        """Clean the glass."""
        return lamp_hours


@dataclass(eq=False)
class Clerk:
    """Adds up bundles of a precinct and signs its result."""

    agent_id: str

    @trace_agent_action("sign")
    def sign(self, precinct: str, version: int, tally: Tally) -> int:
        """Sign a result; version 2 replaces version 1."""
        return sum(tally.values())


@dataclass(eq=False)
class County:
    """Merges the results of its precincts."""

    agent_id: str
    total: Tally = field(default_factory=lambda: dict.fromkeys(PARTIES, 0))

    @trace_agent_action("merge")
    def merge(self, precinct: str, versions: list[int], ballots: int) -> int:
        """Take a precinct's result into the county's."""
        return ballots


@dataclass(eq=False)
class Board:
    """Declares winners and orders recounts."""

    agent_id: str = "board"

    @trace_agent_action("publish")
    def publish(self, county: str, tally: Tally, turnout: float) -> str:
        """Publish a county's result."""
        return max(tally, key=lambda p: tally[p])

    @trace_agent_action("judge")
    def judge(self, county: str, lead: int, ballots: int, share: float) -> bool:
        """Tell whether a lead asks for a recount."""
        return share < 0.5

    @trace_agent_action("recount")
    def recount(self, county: str, hours: int) -> int:
        """Order a recount."""
        return hours


class _Night:
    def __init__(self, seed: int, case: str) -> None:
        self.case, self.rng = case, random.Random(seed)
        self.press, self.board = Press(), Board()
        self.scanners = [Scanner(f"scanner_{n}") for n in range(1, 9)]
        self.clerks = {p: Clerk(f"clerk_{p:02d}") for p in range(1, PRECINCTS + 1)}
        self.counties = {c: County(f"county_{c}") for c in COUNTIES}
        self.layouts = {c: self._order(c) for c in COUNTIES}
        self.truth: dict[int, Tally] = {p: dict.fromkeys(PARTIES, 0) for p in self.clerks}
        self.said: dict[int, Tally] = {p: dict.fromkeys(PARTIES, 0) for p in self.clerks}
        self.voters = dict.fromkeys(COUNTIES, 0)
        self.observer = AgentLogger("observer", "observer")
        self.outcome: dict[str, Any] = {"off": {}, "winners": {}, "recounts": [], "turnout": {}}

    @staticmethod
    def _order(county: str) -> list[str]:
        place = COUNTIES.index(county)
        return PARTIES[place:] + PARTIES[:place]

    def _county(self, precinct: int) -> str:
        return COUNTIES[(precinct - 1) // 10]

    def _votes(self, county: str, precinct: int) -> Tally:
        weights = {"north": [34, 30, 20, 16], "east": [28, 37, 19, 16], "south": [24, 30, 29, 17]}
        if county == "west":  # a close race: equal numbers but for one bundle
            a = self.rng.randrange(16, 22)
            c = self.rng.randrange(6, 12)
            return {"Amsel": a, "Birke": a, "Cedar": c, "Distel": 8}
        drawn = self.rng.choices(PARTIES, weights[county], k=self.rng.randrange(44, 58))
        return {p: drawn.count(p) for p in PARTIES}

    def _scan(self, precinct: int, bundle: int, done: int) -> None:
        county = self._county(precinct)
        votes = self._votes(county, precinct)
        if county == "west" and precinct == 31 and bundle == 0:
            votes["Amsel"] += 7
        scanner = self.scanners[(precinct + bundle) % 8]
        right = [votes[p] for p in self._order(county)]
        seen = list(right)
        if self.case == "glass" and scanner.agent_id == "scanner_6" and done >= 210 and county != "west":
            lost = min(seen[0], 5)
            seen = [seen[0] - lost, seen[1] + lost, *seen[2:]]
        with trace_context(self.observer, "bundle", bundle=f"{precinct:02d}/{bundle}"):
            if self.rng.random() < 0.05:
                scanner.clear_jam(self.rng.randrange(1, 4))
            scanner.scan(f"P-{precinct:02d}", bundle, sum(right), seen)
        for party, number in zip(self.layouts[county], seen, strict=True):
            self.said[precinct][party] += number
        for party, number in votes.items():
            self.truth[precinct][party] += number
        self.voters[county] += sum(right)

    def _merge(self, precinct: int) -> None:
        county = self.counties[self._county(precinct)]
        tally = self.said[precinct]
        clerk = self.clerks[precinct]
        versions = [1]
        first = dict(tally)
        if precinct % 9 == 5:  # a bundle was forgotten in the first version
            first = {p: round(n * 0.9) for p, n in tally.items()}
            clerk.sign(f"P-{precinct:02d}", 1, first)
            versions = [1, 2]
        clerk.sign(f"P-{precinct:02d}", versions[-1], tally)
        both = self.case == "versions" and precinct == 23
        added = {p: tally[p] + (first[p] if both else 0) for p in PARTIES}
        county.merge(f"P-{precinct:02d}", versions, sum(added.values()))
        for party, number in added.items():
            county.total[party] += number

    def _load(self, bundle: int) -> None:
        for county in COUNTIES:
            if self.case == "layout" and county == "east" and bundle:
                order = self.layouts[county]
                self.layouts[county] = [order[1], order[0], *order[2:]]
            self.press.load_layout(county, self.layouts[county])

    def play(self) -> Mapping[str, Any]:
        system = SystemLogger("count")
        done = 0
        for bundle in range(BATCHES):
            system.log_phase(f"bundle {bundle}")
            if bundle in (0, 4):  # after the change of shift all is loaded anew
                self._load(bundle)
            for precinct in self.clerks:
                self._scan(precinct, bundle, done)
                done += 1
            for scanner in self.scanners:
                if self.rng.random() < 0.25:
                    scanner.clean(self.rng.randrange(20, 90))
            if bundle == 6:
                self.observer.log_action("power_dip", {"seconds": 2, "lost": 0})
        for precinct in self.clerks:
            self._merge(precinct)
            if precinct % 13 == 4:
                self.observer.warning("line to the precinct was busy, sent again", {"precinct": precinct})
        for name, county in self.counties.items():
            ballots, roll = sum(county.total.values()), round(self.voters[name] * 1.3)
            turnout = round(100 * ballots / roll, 1)
            winner = self.board.publish(name, dict(county.total), turnout)
            leads = sorted(county.total.values(), reverse=True)
            lead = leads[0] - leads[1]
            share = round(lead / ballots * 100, 3)
            if self.case == "recount" and name == "west":
                share = round(lead / leads[2] * 100, 3)
            if self.board.judge(name, lead, ballots, share):
                self.board.recount(name, self.rng.randrange(5, 9))
                self.outcome["recounts"].append(name)
            truth = {
                p: sum(self.truth[q][p] for q in self.clerks if self._county(q) == name) for p in PARTIES
            }
            self.outcome["off"][name] = sum(abs(truth[p] - county.total[p]) for p in PARTIES)
            self.outcome["winners"][name], self.outcome["turnout"][name] = winner, turnout
        return self.outcome


def run(seed: int, fault: str) -> Mapping[str, Any]:
    """Count one night."""
    return _Night(seed, fault).play()


def _off(faulty: Mapping[str, Any], healthy: Mapping[str, Any], county: str) -> int:
    return faulty["off"][county] - healthy["off"][county]


def _late(events: Sequence[Event], after: int) -> list[Event]:
    return [e for e in events if e.act == "scan"][after:]


FAULTS = {
    "layout": Fault(
        "Birke has won the east by a mile in every hand count, yet on the screen Cedar has a good part of those votes.",
        lambda faulty, healthy: faulty["winners"]["east"] != healthy["winners"]["east"] or (
            _off(faulty, healthy, "east") > 300
        ),
        lambda events: pick(
            events, "ballot_office", "load_layout", where=lambda e: e.args["county"] == "east"
        )[1:],
    ),
    "glass": Fault(
        "The sums that county_north and others published do not agree with the hand count, a percent or so is off.",
        lambda faulty, healthy: _off(faulty, healthy, "north") + _off(faulty, healthy, "south") >= 60,
        lambda events: [
            e.id for e in _late(events, 210) if e.agent == "scanner_6" and e.args["precinct"] < "P-31"
        ][:3],
    ),
    "versions": Fault(
        "More votes were published for the south than there can have been, turnout is several points too high.",
        lambda faulty, healthy: faulty["turnout"]["south"] >= healthy["turnout"]["south"] + 3,
        lambda events: pick(
            events, "county_south", "merge", where=lambda e: e.args["precinct"] == "P-23"
        ),
    ),
    "recount": Fault(
        "In the west seven votes decided, and nobody counts again!",
        lambda faulty, healthy: "west" in healthy["recounts"] and "west" not in faulty["recounts"],
        lambda events: pick(events, "board", "judge", where=lambda e: e.args["county"] == "west"),
    ),
}  # fmt: skip
