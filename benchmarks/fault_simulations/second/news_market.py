"""A market for news: publishers learn what to write, a recommender learns what to show, readers click."""

import random
from typing import Any

from Agent import (
    AgentLogger,
    InteractionLogger,
    LearningLogger,
    PerformanceLogger,
    SystemLogger,
    tick,
    trace_agent_action,
)
from benchmarks.fault_simulations.kit import Event, Fault, pick

TOPICS = ("politics", "sport", "science", "food")
PUBLISHERS = ("courier", "herald", "gazette", "tribune", "observer")
TASTE = {"politics": 0.34, "sport": 0.42, "science": 0.24, "food": 0.3}
HOURS = 120
READERS = 14
SLOTS = 4
_broken = {"fault": ""}


class Publisher:
    """A publisher with a bandit over topics."""

    def __init__(self, name: str, seed: int) -> None:
        self.agent_id = name
        self.learning = LearningLogger("bandit", name)
        self.log = AgentLogger(name, "publisher")
        self._rng = random.Random(f"{name}{seed}")
        self.value = dict.fromkeys(TOPICS, 1.5)
        self.income = 0.0
        self.strikes = 0

    @trace_agent_action()
    def write(self, hour: int) -> dict[str, Any]:
        """Write an article about the topic that pays best, or about another one."""
        chance, other = self._rng.random(), self._rng.choice(TOPICS)
        topic = other if chance < 0.15 else max(TOPICS, key=lambda name: self.value[name])
        quality = round(0.6 + 0.4 * self._rng.random(), 2)
        self.log.log_content_generation("article", f"{self.agent_id}-{hour}", {"topic": topic})
        return {"id": f"{self.agent_id}-{hour}", "topic": topic, "quality": quality}

    @trace_agent_action()
    def earn(self, topic: str, clicks: int) -> float:
        """Take the income of an article, and learn from it."""
        self.income = round(self.income + 0.2 * clicks, 2)
        self.value[topic] = round(self.value[topic] + 0.1 * (clicks - self.value[topic]), 3)
        self.learning.log_policy_update({"topic": topic, "value": self.value[topic]})
        return self.income


class Moderator:
    """Checks headlines, and suspends a publisher with three strikes."""

    def __init__(self, seed: int) -> None:
        self.agent_id = "moderator"
        self._rng = random.Random(seed + 5)
        self.strikes = dict.fromkeys(PUBLISHERS, 0)
        self.suspended: list[str] = []

    @trace_agent_action()
    def review(self, publisher: str, article: str, hour: int) -> str:
        """Review an article."""
        shrill = self._rng.random() < 0.004 or (publisher == "gazette" and hour in {12, 37})
        if not shrill:
            return "accepted"
        self.strikes[publisher] += 1
        self.last = article
        needed = 2 if _broken["fault"] == "two_strikes" and hour >= 30 else 3
        if self.strikes[publisher] >= needed:
            self.suspended = [*self.suspended, publisher]
        return "strike"


class Index:
    """The index of articles that can be recommended."""

    def __init__(self) -> None:
        self.agent_id = "index"
        self.log = AgentLogger("index", "search")
        self.shard = dict(zip(PUBLISHERS, ("a", "b", "a", "c", "b"), strict=True))
        self.live: dict[str, dict[str, Any]] = {}
        self.failures = 0

    @trace_agent_action()
    def put(self, publisher: str, article: dict[str, Any], hour: int) -> bool:
        """Put an article into its shard; a busy shard is tried again."""
        busy = hour % 19 == 7 and self.shard[publisher] == "b"
        moved = self.shard[publisher] == "c" and hour >= 36
        if busy:
            self.log.warning("shard b is busy, retrying")
        if moved and _broken["fault"] == "lost_shard":
            return False
        self.live[publisher] = article
        return True


class Classifier:
    """A model that finds the section of an article."""

    def __init__(self) -> None:
        self.agent_id = "classifier"
        self.calls = 0

    @trace_agent_action()
    def section(self, publisher: str, sample: str) -> str:
        """Return the section in which a publisher is shown by default."""
        self.calls += 1
        self.sample = sample
        wrong = _broken["fault"] == "wrong_section" and publisher == "observer"
        return "archive" if wrong and self.calls > 5 else "front"


class Recommender:
    """Learns the click rates of publishers, and shows the best ones."""

    def __init__(self, seed: int) -> None:
        self.agent_id = "recommender"
        self.learning = LearningLogger("click_rate", "recommender")
        self._rng = random.Random(seed + 3)
        self.rate = dict.fromkeys(PUBLISHERS, 0.35)
        self.section = dict.fromkeys(PUBLISHERS, "front")

    @trace_agent_action()
    def new_edition(self, sections: dict[str, str]) -> int:
        """Take over the sections of the new edition."""
        self.section = dict(sections)
        return len(sections)

    @trace_agent_action()
    def rank(self, available: list[str]) -> list[str]:
        """Return the publishers of the page in order."""
        noise = {name: self._rng.random() * 0.12 for name in PUBLISHERS}
        shown = [name for name in available if self.section[name] == "front"]
        return sorted(shown, key=lambda name: -self.rate[name] - noise[name])[:SLOTS]

    @trace_agent_action()
    def update(self, publisher: str, views: int, clicks: int) -> float:
        """Learn from the clicks of an hour."""
        if views:
            rate = clicks / views
            self.rate[publisher] = round(self.rate[publisher] + 0.08 * (rate - self.rate[publisher]), 4)
        self.learning.log_learning_update("rate", {"publisher": publisher, "rate": self.rate[publisher]})
        return self.rate[publisher]


class Counter:
    """Counts clicks from the browser and from the app."""

    def __init__(self) -> None:
        self.agent_id = "click_counter"

    @trace_agent_action()
    def count(self, publisher: str, browser: int, app: int, hour: int) -> int:
        """Return the clicks of an hour."""
        clicks = browser + app
        if _broken["fault"] == "app_twice" and publisher == "tribune" and hour >= 28:
            clicks += app
        return clicks


class Market:
    """All parts of the market."""

    def __init__(self, seed: int) -> None:
        self.publishers = {name: Publisher(name, seed) for name in PUBLISHERS}
        self.moderator, self.index, self.classifier = Moderator(seed), Index(), Classifier()
        self.recommender, self.counter = Recommender(seed), Counter()
        self.readers = InteractionLogger(agent_role="reader")
        self.metrics, self.system = PerformanceLogger("market"), SystemLogger("market")
        self.rng = random.Random(seed)
        self.views = {name: [0, 0] for name in PUBLISHERS}

    def classify(self) -> dict[str, str]:
        """Find the sections of all publishers anew, for the next edition."""
        live = self.index.live
        return {name: self.classifier.section(name, live[name]["id"]) for name in PUBLISHERS}

    def hour(self, hour: int) -> None:
        """Play one hour."""
        for name, publisher in self.publishers.items():
            article = publisher.write(hour)
            if self.moderator.review(name, article["id"], hour) == "accepted":
                self.index.put(name, article, hour)
        available = [n for n in self.index.live if n not in self.moderator.suspended]
        page = self.recommender.rank(available)
        self.metrics.log_metric("page_length", len(page))
        clicks = {name: [0, 0] for name in PUBLISHERS}
        fate = [[self.rng.random() for _ in PUBLISHERS] for _ in range(READERS)]
        for reader in range(READERS):
            for place, name in enumerate(page):
                article = self.index.live[name]
                age = hour - int(article["id"].rsplit("-", 1)[1])
                appeal = TASTE[article["topic"]] * article["quality"] * 1.4 * 0.85**age
                self.views[name][hour >= 64] += 1
                if fate[reader][PUBLISHERS.index(name)] < appeal / (1 + 0.1 * place):
                    clicks[name][reader % 2] += 1
                    if reader < 4:
                        self.readers.log_content_interaction(f"reader_{reader}", article["id"], "click")
        for name in page:
            total = self.counter.count(name, *clicks[name], hour)
            self.recommender.update(name, READERS, total)
            self.publishers[name].earn(self.index.live[name]["topic"], total)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Simulate five days."""
    _broken["fault"] = fault
    market = Market(seed)
    sections: dict[str, str] = {}
    market.system.log_simulation_start("market", {"publishers": PUBLISHERS, "slots": SLOTS})
    for hour in range(HOURS):
        with tick(hour):
            market.hour(hour)
            if hour in {1, 40}:
                sections = market.classify()
            elif hour in {12, 62}:
                market.recommender.new_edition(sections)
            if hour == 34:
                market.system.log_config("shard_of_tribune", "c", "d")
            if hour == 55:
                market.system.log_config("page_colour", "white", "cream")
    income = {name: publisher.income for name, publisher in market.publishers.items()}
    late = {name: views[1] for name, views in market.views.items()}
    market.system.log_simulation_end("market", {"income": income})
    return {"income": income, "late_views": late, "rate": market.recommender.rate}


def _strikes(event: Event) -> bool:
    return event.args["publisher"] == "gazette" and event.result == "strike"


FAULTS = {
    "two_strikes": Fault(
        "Nobody has seen an article of the gazette since the second day, readers ask where it is.",
        lambda out, ref: out["late_views"]["gazette"] < 0.2 * ref["late_views"]["gazette"],
        lambda events: pick(events, "moderator", "review", lambda at: at >= 30, _strikes, first=1),
    ),
    "lost_shard": Fault(
        "clicks on the tribune's pieces fell to nearly nothing, they all look days old",
        lambda out, ref: out["income"]["tribune"] < 0.6 * ref["income"]["tribune"],
        lambda events: pick(events, "index", "put", where=lambda e: e.result is False),
    ),
    "wrong_section": Fault(
        "why is the observer not on the front page any more?",
        lambda out, ref: out["late_views"]["observer"] < 0.2 * ref["late_views"]["observer"],
        lambda events: pick(events, "classifier", "section", where=lambda e: e.result == "archive"),
    ),
    "app_twice": Fault(
        "The tribune gets far more money and better places than papers that are read just as much",
        lambda out, ref: out["income"]["tribune"] > 1.25 * ref["income"]["tribune"],
        lambda events: pick(
            events,
            "click_counter",
            "count",
            lambda at: at >= 28,
            lambda e: e.args["publisher"] == "tribune" and e.args["app"] > 0,
        ),
    ),
}
