"""A fleet of crawlers keeps a price index of shops fresh; searchers look pages up."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from Agent import trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

ROUNDS = 58
SITES = ("bluebay", "cartwell", "dorma", "elkshop", "fernhaus", "gildo", "hopmart", "isola")
PAGES = [f"{site}/{number}" for site in SITES for number in range(1, 16)]
LIVELY = ("elkshop/3", "elkshop/7", "dorma/4", "isola/2", "gildo/9", "cartwell/5")
LIMITS = {9: ("isola", 6), 21: ("dorma", 8), 33: ("bluebay", 8), 48: ("gildo", 8)}
SIMILAR = {5: 3, 18: 4, 39: 3, 52: 4}


class Frontier:
    """Decides which pages are fetched next."""

    agent_id, agent_role = "frontier", "frontier"

    def __init__(self) -> None:
        """Start with no page seen."""
        self.weight = 3.0

    @trace_agent_action()
    def set_weight(self, round_no: int, changes: float) -> float:
        """Set how much the known changes of a page count against its age."""
        self.weight = changes
        return changes

    @trace_agent_action()
    def choose(self, round_no: int, site: str, pages: list[str]) -> int:
        """Give out the pages of a site for this round."""
        return len(pages)


class Policy:
    """Keeps how often each site may be asked."""

    agent_id, agent_role = "policy", "policy"

    def __init__(self) -> None:
        """Start with the usual limits."""
        self.limits = dict.fromkeys(SITES, 7)

    @trace_agent_action()
    def set_limit(self, site: str, per_round: int, reason: str) -> int:
        """Set the limit of a site."""
        self.limits[site] = per_round
        return per_round


class Site:
    """A shop on the web."""

    agent_role = "site"

    def __init__(self, agent_id: str) -> None:
        """Start without bans."""
        self.agent_id = agent_id
        self.closed_until = -1

    @trace_agent_action()
    def count_visits(self, round_no: int, visits: int) -> str:
        """Count the visits of a round; too many close the door for a while."""
        if visits > 12:
            self.closed_until = round_no + 9
        return "closed" if round_no < self.closed_until else "open"


class Crawler:
    """Fetches pages."""

    agent_role = "crawler"

    def __init__(self, agent_id: str) -> None:
        """Start with nothing fetched."""
        self.agent_id = agent_id
        self.fetched = 0

    @trace_agent_action()
    def fetch(self, page: str, round_no: int, status: int, price: int) -> int:
        """Fetch a page."""
        if status == 504:
            raise TimeoutError(f"{page} did not answer")
        self.fetched += 1
        return price


class Dedupe:
    """Recognises pages with the same content."""

    agent_id, agent_role = "dedupe", "dedupe"

    def __init__(self) -> None:
        """Start with the usual distance."""
        self.distance = 3

    @trace_agent_action()
    def set_distance(self, bits: int) -> int:
        """Set up to how many different bits two pages are the same."""
        self.distance = bits
        return bits

    @trace_agent_action()
    def compare(self, page: str, nearest: str, bits: int) -> bool:
        """Say whether a page is the copy of another."""
        return bits <= self.distance


class Index:
    """What searchers find."""

    agent_id, agent_role = "index", "index"

    def __init__(self) -> None:
        """Start empty."""
        self.prices: dict[str, tuple[int, int]] = {}

    @trace_agent_action()
    def store(self, page: str, price: int, fetched_in: int) -> str:
        """Store a price."""
        self.prices[page] = (price, fetched_in)
        return "stored"

    @trace_agent_action()
    def remove(self, page: str) -> str:
        """Remove a copy."""
        self.prices.pop(page, None)
        return "removed"

    @trace_agent_action()
    def optimise(self, shards: int) -> int:
        """Write the shards anew."""
        return shards


class Searcher:
    """Looks pages up."""

    agent_role = "searcher"

    def __init__(self, agent_id: str) -> None:
        """Start."""
        self.agent_id = agent_id

    @trace_agent_action()
    def look_up(self, page: str, round_no: int, shown: int | None) -> bool:
        """Look a page up; the price is none if the page is not found."""
        return shown is not None


class _Fleet:
    def __init__(self, seed: int, fault: str) -> None:
        self.fault = fault
        self.rng = random.Random(f"fleet {seed}")
        self.market = random.Random(f"market {seed}")
        self.frontier, self.policy, self.dedupe, self.index = Frontier(), Policy(), Dedupe(), Index()
        self.sites = {name: Site(name) for name in SITES}
        self.crawlers = [Crawler(f"crawler_{number:02d}") for number in range(40)]
        self.searchers = [Searcher(f"searcher_{number}") for number in range(6)]
        self.price = {page: self.market.randint(10, 400) for page in PAGES}
        self.changes = dict.fromkeys(PAGES, 0)
        self.last = {page: -self.rng.randint(1, 6) for page in PAGES}
        self.known: dict[str, int] = {}
        self.held: list[tuple[int, str, int, int]] = []
        self.seen: dict[tuple[int, str], tuple[int | None, int]] = {}

    def change_prices(self, round_no: int) -> None:
        for page in PAGES:
            if self.market.random() < (0.5 if page in LIVELY else 0.04) or (
                page == "hopmart/4" and round_no == 27
            ):
                self.price[page] += self.market.choice((-6, -4, 5, 7))

    def settle(self, round_no: int) -> None:
        if round_no in LIMITS:
            site, limit = LIMITS[round_no]
            if self.fault == "too_many_visits" and round_no == 33:
                limit = 16
            self.policy.set_limit(site, limit, "agreed with the shop")
        if round_no in SIMILAR:
            bits = 9 if self.fault == "too_similar" and round_no == 39 else SIMILAR[round_no]
            self.dedupe.set_distance(bits)
        if round_no in {8, 16, 30, 44}:
            weight = {8: 2.5, 16: 3.5, 30: 3.0, 44: 2.8}[round_no]
            if self.fault == "turned_weight" and round_no >= 16:
                weight = -weight
            self.frontier.set_weight(round_no, weight)
        if round_no == 40:
            self.index.optimise(6)

    def crawl(self, round_no: int, site: str) -> None:
        door = self.sites[site]
        pages = [page for page in PAGES if page.startswith(site)]
        pages.sort(key=lambda page: -(round_no - self.last[page] + self.frontier.weight * self.changes[page]))
        chosen = pages[: self.policy.limits[site] - 3 + round_no % 2]
        if (site, round_no) in {("hopmart", 28), ("hopmart", 26)} and "hopmart/4" not in chosen:
            chosen[-1] = "hopmart/4"
        self.frontier.choose(round_no, site, chosen)
        visits = len(chosen) + self.rng.randint(0, 1)
        closed = door.count_visits(round_no, visits) == "closed"
        for page in chosen:
            self.visit(round_no, page, closed)

    def visit(self, round_no: int, page: str, closed: bool) -> None:
        crawler = self.rng.choice(self.crawlers)
        self.last[page] = round_no
        roll, bits = self.rng.random(), self.rng.randint(4, 24)
        other, price = self.rng.choice(PAGES), self.price[page]
        try:
            crawler.fetch(page, round_no, 429 if closed else 504 if roll < 0.02 else 200, price)
        except TimeoutError:
            return
        if closed:
            return
        self.changes[page] = int(self.known.get(page, price) != price) + self.changes[page] // 2
        if page == "hopmart/4" and round_no == 26:
            self.held.append((29, page, price, round_no))
            return
        self.known[page] = price
        if self.dedupe.compare(page, other, bits):
            self.index.remove(page)
        else:
            self.index.store(page, price, round_no)

    def bring_late(self, round_no: int) -> None:
        for due, page, price, fetched in self.held:
            newer = self.index.prices.get(page, (0, -1))[1] > fetched
            if due == round_no and (not newer or self.fault == "late_page"):
                self.index.store(page, price, fetched)

    def search(self, round_no: int) -> None:
        asked = [self.rng.choice(LIVELY) for _ in range(4)] + [self.rng.choice(PAGES) for _ in range(6)]
        if round_no == 29:
            asked.insert(0, "hopmart/4")
        for page in asked:
            shown = self.index.prices.get(page, (None, 0))[0]
            self.rng.choice(self.searchers).look_up(page, round_no, shown)
            self.seen[round_no, page] = (shown, self.price[page])

    def play(self, round_no: int) -> None:
        self.change_prices(round_no)
        self.settle(round_no)
        for site in SITES:
            self.crawl(round_no, site)
        self.bring_late(round_no)
        self.search(round_no)


def _share(fleet: _Fleet, rounds: range, missing: bool, pages: Sequence[str] = PAGES) -> float:
    """Return which share of searches found nothing, or an old price."""
    seen = [both for (round_no, page), both in fleet.seen.items() if round_no in rounds and page in pages]
    bad = [shown is None if missing else shown != price for shown, price in seen]
    return round(sum(bad) / max(1, len(bad)), 3)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play 58 rounds."""
    fleet = _Fleet(seed, fault)
    for round_no in range(ROUNDS):
        fleet.play(round_no)
    old = [page for page in PAGES if page.startswith("bluebay") and fleet.last[page] >= 0]
    return {
        "missing": _share(fleet, range(40, 52), True),
        "old_lively": _share(fleet, range(40, 58), False, LIVELY),
        "hopmart_4": fleet.seen[29, "hopmart/4"][0],
        "visits_closed": fleet.sites["bluebay"].closed_until,
        "pages": len(old),
    }


FAULTS = {
    "too_many_visits": Fault(
        complaint="Since round 34 or so we get only 'too many requests' from the bluebay shop, none of its prices move.",
        symptom=lambda faulty, healthy: faulty["visits_closed"] > healthy["visits_closed"],
        true=lambda events: pick(events, "policy", "set_limit", where=lambda e: e.args["site"] == "bluebay"),
    ),
    "too_similar": Fault(
        complaint="Lots of products cannot be found at all any more, searcher_2 and others get empty answers for things "
        "that were there this morning.",
        symptom=lambda faulty, healthy: faulty["missing"] > healthy["missing"] + 0.08,
        true=lambda events: pick(events, "dedupe", "set_distance", first=3)[2:],
    ),
    "turned_weight": Fault(
        complaint="By the end of the day just those products whose prices move most show old prices. The dull ones "
        "are all right.",
        symptom=lambda faulty, healthy: faulty["old_lively"] > healthy["old_lively"] + 0.08,
        true=lambda events: pick(events, "frontier", "set_weight", where=lambda e: e.args["round_no"] >= 16),
    ),
    "late_page": Fault(
        complaint="hopmart/4 went back to the price of before the sale in round 29, minutes after it had been right.",
        symptom=lambda faulty, healthy: faulty["hopmart_4"] != healthy["hopmart_4"],
        true=lambda events: _older(events),
    ),
}


def _older(events: Sequence[Event]) -> list[str]:
    """Return the stores of hopmart/4 that brought an earlier round than the one before."""
    stores = [e for e in events if e.act == "store" and e.args.get("page") == "hopmart/4"]
    pairs = zip(stores, stores[1:], strict=False)
    return [two.id for one, two in pairs if two.args["fetched_in"] < one.args["fetched_in"]][:1]
