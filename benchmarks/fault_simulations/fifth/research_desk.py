"""A research desk: analysts ask, a retriever finds documents, a reader extracts figures, a writer sends briefs."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_simulations.kit import Fault, pick

QUESTIONS = 120
COMPANIES = (
    "Aldane", "Borvik", "Cestra", "Delmar", "Estova", "Fjordan", "Garrick", "Helvet", "Ivanta", "Jorsun",
    "Kelmont", "Lindar", "Morava", "Norvik", "Ostrel", "Padova",
)  # fmt: skip
ANALYSTS = ("hanna", "igor", "joon", "kofi", "leila", "marco", "nadia", "oskar")
CLIENTS = ("fund_east", "fund_west", "bank_delta", "insurer_blue", "family_office")
SECTORS = {
    "shipping": COMPANIES[:4],
    "energy": COMPANIES[4:8],
    "retail": COMPANIES[8:12],
    "tools": COMPANIES[12:],
}
FIXED = {
    18: "Helvet",
    47: "Norvik",
    50: "Norvik",
    20: "Garrick",
    71: "Garrick",
    92: "Cestra",
    93: "Morava",
    108: "Helvet",
}
TUNED = {12: 0.42, 26: 0.4, 46: 0.43, 70: 0.41, 97: 0.42}


@dataclass
class Document:
    """A filing of a company, with the revenue in millions."""

    id: str
    company: str
    revenue: float
    closeness: float


class Library:
    """All documents, newest last."""

    def __init__(self, rng: random.Random) -> None:
        """Write two filings for each company."""
        self.documents: list[Document] = []
        self.count = 100
        for number, company in enumerate(COMPANIES):
            revenue = round(rng.uniform(80, 900), 1)
            closeness = 0.5 if company == "Norvik" else 0.62 + 0.02 * (number % 9)
            for _ in range(2):
                self.add(company, revenue, closeness)

    def add(self, company: str, revenue: float, closeness: float) -> Document:
        """Add a filing."""
        self.count += 1
        self.documents.append(Document(f"doc-{self.count}", company, revenue, closeness))
        return self.documents[-1]

    def of(self, company: str) -> list[Document]:
        """Return the filings of a company, newest first."""
        return [one for one in reversed(self.documents) if one.company == company]


class Desk:
    """The desk with its agents; questions are worked on two at a time."""

    def __init__(self, seed: int, fault: str) -> None:
        """Set up the agents and the library."""
        self.fault = fault
        self.rng = random.Random(f"desk {seed}")
        self.library = Library(random.Random(f"library {seed}"))
        self.analysts = {name: AgentLogger(name, "analyst") for name in ANALYSTS}
        self.clients = {name: AgentLogger(name, "client") for name in CLIENTS}
        self.retriever, self.reader = AgentLogger("finder", "retriever"), AgentLogger("reader", "reader")
        self.writer, self.feed = AgentLogger("writer", "writer"), AgentLogger("filings_feed", "feed")
        self.keeper = AgentLogger("cache_keeper", "keeper")
        self.talk, self.system, self.speed = (
            InteractionLogger(),
            SystemLogger("desk"),
            PerformanceLogger("finder"),
        )
        self.min_score = 0.42
        self.cache: dict[str, list[Document]] = {}
        self.sheet: dict[str, float] = {}
        self.sent: dict[int, dict[str, Any]] = {}
        self.sectors: dict[int, float] = {}

    def company_for(self, number: int) -> str:
        """Return the company that a question is about."""
        drawn = self.rng.choice([name for name in COMPANIES if name not in {"Norvik", "Helvet", "Garrick"}])
        return FIXED.get(number, drawn)

    async def search(self, number: int, company: str, found: asyncio.Queue[list[Document]]) -> None:
        """Find the filings of a company, from the cache if it was asked for before."""
        hits = self.cache.get(company)
        kept = hits is not None
        if hits is None:
            hits = [one for one in self.library.of(company)[:3] if one.closeness >= self.min_score]
            if hits:
                self.cache[company] = hits
        call = {"question": number, "text": f"revenue of {company}", "from_cache": kept}
        self.retriever.log_action("search", call | {"hits": [one.id for one in hits]})
        self.speed.log_latency(
            "lookup_ms", round(self.rng.uniform(4, 9) if kept else self.rng.uniform(40, 130), 1)
        )
        if self.rng.random() < 0.03:
            self.retriever.warning("index shard 2 answered slowly, asked again")
        await asyncio.sleep(0)
        await found.put(hits)

    def read(self, number: int, hits: list[Document]) -> float | None:
        """Extract the revenue from the newest of the filings, in millions."""
        if not hits:
            self.reader.log_decision("no_evidence", {"question": number}, "no filing was found")
            return None
        value = hits[0].revenue
        header = self.rng.choice(("in millions", "in thousands"))
        if self.fault == "read_as_thousands" and number == 71:
            value = round(value / 1000, 4)
        self.reader.log_action("extract", {"document": hits[0].id, "header": header, "millions": value})
        self.sheet[hits[0].company] = value
        return value

    async def answer(self, number: int, analyst: str, company: str, client: str) -> dict[str, Any]:
        """Work on one question until the draft of its brief is ready."""
        asked = self.analysts[analyst].log_action("ask", {"question": number, "company": company})
        found: asyncio.Queue[list[Document]] = asyncio.Queue()
        await self.search(number, company, found)
        hits = await found.get()
        value = self.read(number, hits)
        await asyncio.sleep(0)
        kind = "short" if self.rng.random() < 0.3 else "full"
        self.writer.log_decision("format", {"question": number, "format": kind}, causes=asked)
        return {"question": number, "company": company, "client": client, "millions": value,
                "sources": [one.id for one in hits[:2]]}  # fmt: skip

    def send(self, brief: dict[str, Any]) -> None:
        """Send a finished brief to its client."""
        text = "no figure found" if brief["millions"] is None else f"{brief['millions']} million"
        body = {
            "brief": brief["question"],
            "company": brief["company"],
            "text": text,
            "sources": brief["sources"],
        }
        letter = self.writer.send(brief["client"], body)
        client = self.clients[brief["client"]]
        client.receive(letter)
        owners = {one.id: one.company for one in self.library.documents}
        fits = all(owners[one] == brief["company"] for one in brief["sources"])
        self.talk.log_interaction(
            "open_sources", brief["client"], "writer", str(brief["question"]), body["sources"]
        )
        self.sent[brief["question"]] = {"millions": brief["millions"], "fits": fits}

    def publish(self, number: int) -> None:
        """Take in what companies filed meanwhile; a correction replaces a figure."""
        company = (
            "Helvet"
            if number == 44
            else self.rng.choice([c for c in COMPANIES if c not in {"Helvet", "Norvik"}])
        )
        old = self.library.of(company)[0]
        growth = 1.35 if number == 44 else self.rng.uniform(0.97, 1.04)
        made = self.library.add(company, round(old.revenue * growth, 1), old.closeness)
        self.feed.log_action("file", {"document": made.id, "company": company, "form": "correction"})
        letter = self.feed.send("cache_keeper", {"document": made.id, "company": company})
        self.keeper.receive(letter)
        if not (self.fault == "kept_in_cache" and number == 44):
            self.keeper.log_action("drop_cached", {"company": company})
            self.cache.pop(company, None)

    def tune(self, number: int) -> None:
        """Set the lowest score of a hit as the weekly evaluation says."""
        value = TUNED[number]
        if self.fault == "score_limit" and number == 46:
            value = 0.54
        self.system.log_config("min_score", self.min_score, value, {"evaluated": self.rng.randint(180, 260)})
        self.min_score = value

    def sum_up(self, number: int) -> None:
        """Send the sum of a sector to all funds."""
        name = tuple(SECTORS)[number // 20 % 4] if number != 80 else "energy"
        total = round(sum(self.sheet.get(one, 0.0) for one in SECTORS[name]), 1)
        self.writer.log_action("sum_sector", {"sector": name, "millions": total, "after": number})
        for client in ("fund_east", "fund_west"):
            self.clients[client].receive(self.writer.send(client, {"sector": name, "millions": total}))
        self.sectors[number] = total

    async def work(self) -> None:
        """Work through all questions in pairs."""
        for number in range(0, QUESTIONS, 2):
            if number in TUNED:
                self.tune(number)
            if number % 4 == 0:
                self.publish(number)
            if number == 76:
                self.keeper.log_action("compact", {"entries": len(self.cache), "shards": 3})
            jobs = []
            for each in (number, number + 1):
                company = self.company_for(each)
                who, client = self.rng.choice(ANALYSTS), self.rng.choice(CLIENTS)
                jobs.append(self.answer(each, who, company, client))
            one, two = await asyncio.gather(*jobs)
            if self.fault == "sources_mixed" and number == 92:
                one["sources"], two["sources"] = two["sources"], one["sources"]
            for brief in (one, two):
                self.writer.log_action("compose", dict(brief))
            for brief in (one, two):
                self.send(brief)
            if number and number % 20 == 0:
                self.sum_up(number)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play a week of the desk."""
    desk = Desk(seed, fault)
    desk.system.log_simulation_start("research desk", {"questions": QUESTIONS, "min_score": desk.min_score})
    asyncio.run(desk.work())
    desk.speed.flush()
    return {
        "norvik": desk.sent[50]["millions"],
        "helvet": desk.sent[108]["millions"],
        "energy": desk.sectors[80],
        "misfits": sum(not one["fits"] for one in desk.sent.values()),
        "briefs": len(desk.sent),
    }


FAULTS = {
    "kept_in_cache": Fault(
        complaint="Your brief 108 still gives Helvet's revenue from before their correction, the new filing has been "
        "out for days.",
        symptom=lambda faulty, healthy: faulty["helvet"] < 0.9 * healthy["helvet"],
        true=lambda events: pick(
            events,
            "cache_keeper",
            where=lambda e: e.args.get("company") == "Helvet" and e.kind == "agent_message",
        ),
    ),
    "score_limit": Fault(
        complaint="we asked about Norvik twice this week and nadia's team says no figure was found?! it is a listed "
        "company with filings",
        symptom=lambda faulty, healthy: faulty["norvik"] is None and healthy["norvik"] is not None,
        true=lambda events: pick(events, act="system.config", where=_is_third_tuning, first=1),
    ),
    "read_as_thousands": Fault(
        complaint="The energy sector total that went out after question 80 is far lower than what finder's own hits add "
        "up to. One company seems to be missing almost completely.",
        symptom=lambda faulty, healthy: faulty["energy"] < 0.97 * healthy["energy"],
        true=lambda events: _reading_of(events, 71),
    ),
    "sources_mixed": Fault(
        complaint="The sources under the Cestra brief (no. 92) are about an entirely different company.",
        symptom=lambda faulty, healthy: faulty["misfits"] > healthy["misfits"],
        true=lambda events: pick(
            events, "writer", "compose", where=lambda e: e.args["question"] in {92, 93}, first=2
        ),
    ),
}


def _is_third_tuning(event: Any) -> bool:
    held = event.record.get("extra", {})
    return held.get("name") == "min_score" and held.get("old_value") == TUNED[26]


def _reading_of(events: Any, number: int) -> list[str]:
    asked = pick(events, act="search", where=lambda e: e.args["question"] == number, first=1)
    later = [one for one in events if asked and one.number > int(asked[0].rsplit("-", 1)[1])]
    hits = next(one.args["hits"] for one in events if one.id in asked)
    return pick(later, "reader", "extract", where=lambda e: e.args["document"] == hits[0], first=1)
