"""Support by chat bots: a router, four bots, a knowledge base, a warehouse and finance. Messages between agents.

One tick is a quarter of an hour. Evidence: each received message names the sent one as its cause.
"""

from __future__ import annotations

from typing import Any

from Agent import AgentLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

TOPICS = ("warranty", "invoice", "delivery", "setup")
BOTS = ("ada_bot", "ben_bot", "cleo_bot", "dan_bot")
ARTICLES = {topic: f"kb-{number}" for number, topic in enumerate(TOPICS, 11)}


class Office:
    """The mail between the agents: each delivery is recorded at both ends."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = case.rng("office")
        self.logs: dict[str, AgentLogger] = {}
        self.system = SystemLogger()
        self.open: dict[str, dict[str, Any]] = {}  # tickets that wait for a parcel
        self.cache: dict[tuple[str, str], int] = {}
        self.version = dict.fromkeys(TOPICS, 1)
        self.best = dict(zip(TOPICS, BOTS, strict=True))
        self.score = {
            (topic, bot): 40.0 if self.best[topic] == bot else 30.0 for topic in TOPICS for bot in BOTS
        }
        self.shipments: dict[int, list[str]] = {}

    def who(self, name: str, role: str) -> AgentLogger:
        """Return the logger of an agent."""
        return self.logs.setdefault(name, AgentLogger(name, role))

    def post(
        self, sender: AgentLogger, to: AgentLogger, body: dict[str, Any], causes: str | None = None
    ) -> tuple[str, str]:
        """Send a message and let it arrive; return both events."""
        message = sender.send(str(to.agent_id), body, causes=causes)
        return message.event_id, to.receive(message)


def play(case: Case) -> None:
    """Play the office for some days."""
    office = Office(case)
    rng = office.rng
    steps = rng.randint(60, 260)
    begin, end = case.window(steps)
    flow = rng.uniform(0.8, 4.0)
    router, kb, finance = (
        office.who("router", "router"),
        office.who("knowledge", "library"),
        office.who("finance", "office"),
    )
    warehouse, survey = office.who("warehouse", "office"), office.who("survey", "office")
    bots = {name: office.who(name, "bot") for name in BOTS}
    number = rng.randint(2000, 8000)
    victim_topic = rng.choice(TOPICS)
    victim_bot = office.best[victim_topic]
    calm = case.has("stale_cache") or case.has("wrong_credit")
    watched: dict[str, str] = {}
    for name, topic in ((name, topic) for name in BOTS for topic in TOPICS):
        office.cache[name, topic] = 1

    def ticket(now: int, topic: str, *, planned: bool) -> None:
        nonlocal number
        number += 1
        case_id = f"T{number}"
        customer = office.who(f"customer_{rng.randint(1, 60)}", "customer")
        bot_name = max(BOTS, key=lambda name: (office.score[topic, name], name))
        bot = bots[bot_name]
        _, arrived = office.post(customer, router, {"ticket": case_id, "topic": topic})
        sent, got = office.post(router, bot, {"ticket": case_id, "topic": topic}, arrived)
        skill = office.best[topic] == bot_name
        used = office.cache[bot_name, topic]
        answer = {"ticket": case_id, "article": ARTICLES[topic], "version": used, "solved": skill}
        reply, read = office.post(bot, customer, answer, got)
        if used < office.version[topic]:
            case.hop(got, reply)
            case.symptom(
                read,
                f"ticket {case_id}: I was told the old rules for {topic}",
                f"why does support quote outdated terms for {topic}? {customer.agent_id} showed me the chat",
                f"outdated answer on ticket {case_id}",
            )
        if not skill:
            case.hop(sent, reply)
            case.symptom(
                read,
                f"questions about {topic} are no longer solved since ticket {case_id}",
                f"{customer.agent_id} got no solution for {topic}, this always worked",
            )
        if topic in {"warranty", "delivery"} and (planned or rng.random() < 0.4):
            promise(now, case_id, customer, bot, read, planned=planned)

    def promise(
        now: int, case_id: str, customer: AgentLogger, bot: AgentLogger, after: str, *, planned: bool
    ) -> None:
        """A replacement is promised for some later moment, and ordered from the warehouse."""
        due = end if planned else now + rng.randint(1, max(2, steps // 2))
        said = bot.log_decision("promise_replacement", {"ticket": case_id, "by": due}, causes=after)
        body = {"ticket": case_id, "order": "replacement", "by": due}
        office.open[case_id] = {"by": due, "customer": customer, "promise": said}
        if planned and case.strikes("omitted_message"):
            case.root(said)
            return
        if planned and case.strikes("wrong_recipient"):
            sent, got = office.post(bot, finance, body, said)
            filed = finance.log_action("file", {"ticket": case_id}, causes=got)
            case.root(sent, got)
            case.hop(got, filed)
            return
        if planned and case.strikes("dead_letter"):
            message = bot.send("warehouse", body, causes=said)
            parked = office.who("mail_room", "mail").warning(
                "undeliverable, parked", {"ticket": case_id, "to": "warehouse"}, causes=message.event_id
            )
            case.root(message.event_id, parked)
            case.hop(parked)
            return
        _, got = office.post(bot, warehouse, body, said)
        if rng.random() < 0.15:  # finance gets a copy of some orders
            _, copied = office.post(bot, finance, body, said)
            finance.log_action("file", {"ticket": case_id}, causes=copied)
        office.shipments.setdefault(due, []).append(case_id)
        watched[case_id] = got

    for now in range(steps):
        with tick(now):
            if rng.random() < 0.07:
                office.system.log_config(
                    rng.choice(("greeting", "font", "idle_minutes", "log_lines")),
                    rng.randint(1, 9),
                    rng.randint(1, 9),
                )
            if rng.random() < 0.05:  # undeliverable newsletters are everyday
                office.who("mail_room", "mail").warning(
                    "undeliverable, parked", {"newsletter": rng.randint(1, 99), "to": "customer_0"}
                )
            if rng.random() < 0.04:
                bots[rng.choice(BOTS)].error("reply timed out, sent again", {"attempt": 1})
            if now == case.decoy_at or rng.random() < 0.02:
                bots[rng.choice(BOTS)].log_action("restart", {"warm": True})
            for _ in range(int(flow) + (rng.random() < flow % 1)):
                topic = rng.choice(TOPICS)
                if case.has("stale_cache") and topic == victim_topic and begin <= now < end:
                    topic = TOPICS[(TOPICS.index(topic) + 1) % 4]
                ticket(now, topic, planned=False)
            if now == begin and not calm:
                ticket(now, rng.choice(("warranty", "delivery")), planned=True)
            if now == end + case.has("wrong_credit") and calm:
                ticket(now, victim_topic, planned=False)
            _publish(office, kb, bots, now, victim_topic, victim_bot)
            _surveys(office, survey, router, now, victim_topic)
            for case_id in office.shipments.pop(now, ()):
                shipped = warehouse.log_action("ship", {"ticket": case_id}, causes=watched[case_id])
                office.post(
                    warehouse,
                    office.open.pop(case_id)["customer"],
                    {"ticket": case_id, "shipped": True},
                    shipped,
                )
            for case_id, entry in list(office.open.items()):
                if entry["by"] <= now:
                    del office.open[case_id]
                    customer = entry["customer"]
                    asked, _ = office.post(customer, router, {"ticket": case_id, "where_is": "replacement"})
                    case.symptom(
                        asked,
                        f"the replacement for ticket {case_id} never came, although it was promised",
                        f"{customer.agent_id} is still waiting for the replacement ({case_id})",
                        f"no parcel for {case_id}. The warehouse says there is no order",
                    )


def _publish(
    office: Office, kb: AgentLogger, bots: dict[str, AgentLogger], now: int, topic: str, bot_name: str
) -> None:
    """Publish new versions of articles; every bot is told."""
    case = office.case
    planned = case.has("stale_cache") and now == case.begin
    if not planned and office.rng.random() >= 0.05:
        return
    chosen = topic if planned else office.rng.choice([t for t in TOPICS if t != topic])
    office.version[chosen] += 1
    done = kb.log_content_generation(
        "article", ARTICLES[chosen], {"topic": chosen, "version": office.version[chosen]}
    )
    if planned:
        case.root(done)
    for name, bot in bots.items():
        if planned and case.strikes("stale_cache") and name == bot_name:
            continue
        if name != bot_name and office.best[chosen] != name and office.rng.random() < 0.2:
            continue  # this bot never answers questions of the topic, and reads the article when it is asked
        office.post(kb, bot, {"article": ARTICLES[chosen], "version": office.version[chosen]}, done)
        office.cache[name, chosen] = office.version[chosen]


def _surveys(office: Office, survey: AgentLogger, router: AgentLogger, now: int, topic: str) -> None:
    """Credit the answers of surveys to bots; the router ranks anew from time to time."""
    case, rng = office.case, office.rng
    planned = case.has("wrong_credit") and now == case.begin
    scores = office.__dict__.setdefault("pending", dict(office.score))
    if planned or rng.random() < 0.15:
        others = [other for other in TOPICS if other != topic or not case.has("wrong_credit")]
        about = topic if planned else rng.choice(others)
        bot = office.best[about]
        rival = BOTS[(BOTS.index(bot) + 1) % 4]
        points = round(scores[about, bot] - scores[about, rival] + 5) if planned else rng.randint(1, 9)
        credited = rival if planned and case.strikes("wrong_credit") else bot
        form = survey.log_action("collect", {"topic": about, "answered_by": bot, "points": points})
        event = survey.log_action("credit", {"topic": about, "bot": credited, "points": points}, causes=form)
        scores[about, credited] += points
        if planned and case.faulty:
            case.root(event)
        if rng.random() < 0.2 and not planned:  # credited to the wrong bot, and corrected
            other = BOTS[(BOTS.index(bot) + 2) % 4]
            first = survey.log_action("credit", {"topic": about, "bot": other, "points": points}, causes=form)
            survey.log_action("credit", {"topic": about, "bot": other, "points": -points}, causes=first)
    due = now == case.end or (
        now % 16 == 0 and not (case.has("wrong_credit") and case.begin <= now < case.end)
    )
    if due:
        office.score.update(scores)
        ranked = router.log_strategy_update(
            "ranking", None, {t: max(BOTS, key=lambda b: scores[t, b]) for t in TOPICS}, "weekly"
        )
        if case.has("wrong_credit") and now == case.end:
            case.hop(ranked)
            case.trigger(ranked)


WORLD = World(
    "support",
    "edges",
    ("wrong_recipient", "dead_letter", "omitted_message", "stale_cache", "wrong_credit"),
    play,
)
