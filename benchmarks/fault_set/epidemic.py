"""An epidemic in the districts of a town, a Mesa model: people go unrecorded, offices log little more than numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick, trace_agent_action
from Agent.record.messages import Message
from benchmarks.fault_set.case import Plan, Truth, World

PEOPLE = 150
TESTS_A_DAY = 40
HARBOUR = "harbour"  # tests sailors, hardly ever finds anything, and has no measures of its own


@dataclass
class Lot:
    """Test kits, and how many of the infected they find."""

    name: str
    sensitivity: float


class District:
    """Tests some of its people every day and reports how many it found."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.agent_role = "district"
        self._log = AgentLogger(agent_id, "district")
        self._lot = Lot("L-200", 0.9)
        self._unanswered: list[dict[str, Any]] = []
        self.measures = False

    def unpack(self, lot: Lot) -> str:
        """Uses these kits from today on; gives the event."""
        self._lot = lot
        return self._log.log_action("unpack_kits", {"lot": lot.name, "boxes": 12})

    @trace_agent_action()
    def test(self, day: int, found: int, tested: int) -> dict[str, Any]:
        """The report of a day."""
        report = {"report": f"{self.agent_id}/{day}", "found": found, "tested": tested}
        self._unanswered.append(report)
        return report

    def outbox(self) -> list[Message]:
        """All reports that nobody confirmed yet."""
        return [self._log.send("register", report) for report in self._unanswered]

    def confirmed(self, message: Message) -> None:
        self._log.receive(message)
        self._unanswered = [one for one in self._unanswered if one["report"] != message.body["confirms"]]


class Office:
    """Sets measures by district, from the reports that it watches for it."""

    def __init__(self, alarm_share: float) -> None:
        self.agent_id = "office"
        self._log = AgentLogger("office", "health office")
        self.alarm_share = alarm_share
        self.feeds: dict[str, str] = {}

    @trace_agent_action()
    def watch(self, district: str, feed: str) -> str:
        """Whose reports stand for a district."""
        self.feeds = {**self.feeds, district: feed}
        return feed

    def decide(self, district: District, found: dict[str, int]) -> None:
        """Measures on at the alarm share, off at a third of it; logged where it changes."""
        share = found[self.feeds[district.agent_id]] / TESTS_A_DAY
        wanted = share >= (self.alarm_share / 3 if district.measures else self.alarm_share)
        if wanted != district.measures:
            district.measures = wanted
            what = {"district": district.agent_id, "measures": wanted}
            self._log.log_decision("measures", what, f"share {share:.3f}")


@dataclass
class Town:
    """The model and the offices around it."""

    plan: Plan
    model: Any
    districts: list[District]
    office: Office = field(default_factory=lambda: Office(0.15))
    register: AgentLogger = field(default_factory=lambda: AgentLogger("register", "register"))
    harbour: AgentLogger = field(default_factory=lambda: AgentLogger(HARBOUR, "harbour"))
    harbour_rng: Random = field(default_factory=lambda: Random(HARBOUR))
    metrics: PerformanceLogger = field(default_factory=PerformanceLogger)
    counted: dict[str, int] = field(default_factory=dict)

    def day(self, now: int, lost: bool) -> str:
        """People meet, districts test, the register counts; gives the event of the victim's confirmation."""
        self.model.step()
        noted = ""
        today = {HARBOUR: int(self.harbour_rng.random() < 0.1)}
        self.register.receive(
            self.harbour.send("register", {"report": f"{HARBOUR}/{now}", "found": today[HARBOUR]})
        )
        for number, district in enumerate(self.districts):
            found = self.model.test(number, district._lot.sensitivity)
            district.test(day=now, found=found, tested=TESTS_A_DAY)
            today[district.agent_id] = 0
            for report in district.outbox():
                self.register.receive(report)
                today[district.agent_id] += report.body["found"]
                if report.body["report"].endswith(f"/{now}"):
                    answer = self.register.send(district.agent_id, {"confirms": report.body["report"]})
                    drops = lost and number == self.plan.victim
                    noted = answer.event_id if drops else noted
                    if not drops:
                        district.confirmed(answer)
            self.counted[district.agent_id] = (
                self.counted.get(district.agent_id, 0) + today[district.agent_id]
            )
        for number, district in enumerate(self.districts):
            self.office.decide(district, today)
            ill = self.model.ill(number)
            self.metrics.log_metric("hospital_beds", ill // 4, "beds", {"district": district.agent_id})
        if now % 10 == 9:
            self.register.log_action("totals", dict(self.counted))
        return noted


def _model(plan: Plan, imported: int) -> Any:
    """The people of the town; mesa is loaded here, as only this world needs it."""
    import mesa

    class Person(mesa.Agent):  # type: ignore[misc]
        def __init__(self, model: Any, home: int) -> None:
            super().__init__(model)
            self.home, self.ill_for, self.safe_for = home, 0, 0

        def step(self) -> None:
            self.safe_for = max(0, self.safe_for - 1)
            if not self.ill_for:
                return
            reach = 0.02 if self.model.town[self.home].measures else 0.16
            for other in self.random.sample(self.model.homes[self.home], 3):
                if not other.ill_for and not other.safe_for and self.random.random() < reach:
                    other.ill_for = 8
            self.ill_for -= 1
            if not self.ill_for:
                self.safe_for = 25

    class People(mesa.Model):  # type: ignore[misc]
        def __init__(self, town: list[District]) -> None:
            super().__init__(rng=plan.chance("people").randrange(2**31))
            self.town = town
            self.homes = [[Person(self, home) for _ in range(PEOPLE)] for home in range(len(town))]
            self.days = 0

        def step(self) -> None:
            for number, home in enumerate(self.homes):
                if (self.days + 5 * number) % 12 == 0:  # somebody comes back from a journey
                    for person in self.random.sample(home, imported):
                        person.ill_for = person.ill_for or 8
            self.days += 1
            self.agents.shuffle_do("step")

        def ill(self, home: int) -> int:
            return sum(bool(person.ill_for) for person in self.homes[home])

        def test(self, home: int, sensitivity: float) -> int:
            tested = self.random.sample(self.homes[home], TESTS_A_DAY)
            return sum(bool(one.ill_for) and self.random.random() < sensitivity for one in tested)

    return People([District(plan.name("district", n)) for n in range(plan.size)])


def run(plan: Plan, truth: Truth, imported: int = 4) -> None:
    """One session of the town, a tick being a day."""
    model, system = _model(plan, imported), SystemLogger("town")
    town = Town(plan, model, model.town)
    system.log_simulation_start("town", {"districts": plan.size, "alarm_share": town.office.alarm_share})
    for district in town.districts:
        town.office.watch(district.agent_id, district.agent_id)
    for now in range(plan.ticks):
        with tick(now):
            if now == plan.ticks // 4:
                system.log_config("newsletter_days", 7, 14)
            _upkeep(town, now)
            _plant(plan, truth, town, system, now)
            noted = town.day(now, lost=plan.begins("duplicate_delivery", now))
            if noted:
                truth.note(noted)
    system.log_simulation_end("town", "finished")


def _upkeep(town: Town, now: int) -> None:
    """Fresh kits, and feeds that are entered again."""
    district = town.districts[now % town.plan.size]
    before, fault = now < town.plan.at, town.plan.fault
    if now % 4 == 1 and (before or fault is None or district is not town.districts[town.plan.victim]):
        town.office.watch(district.agent_id, district.agent_id)
    if now % 14 == 6 and (before or fault != "bad_rollout"):
        for number, one in enumerate(town.districts):
            one.unpack(Lot(f"L-{201 + now // 14 * 2 + number % 2}", 0.9))


def _plant(plan: Plan, truth: Truth, town: Town, system: SystemLogger, now: int) -> None:
    victim = town.districts[plan.victim]
    if plan.begins("wrong_peer", now):
        town.office.watch(victim.agent_id, HARBOUR)
        truth.seek("office", "watch", now, contains=f'"feed": "{HARBOUR}"')
    if plan.begins("bad_threshold", now):
        share = round(plan.rng.uniform(0.7, 0.9), 2)
        truth.note(system.log_config("alarm_share", town.office.alarm_share, share))
        town.office.alarm_share = share
    if now == plan.at - (0 if plan.fault in {None, "bad_rollout"} else 3):
        for number, district in enumerate(town.districts):
            is_bad = plan.fault == "bad_rollout" and number % 2 == plan.victim % 2
            event = district.unpack(Lot(f"L-{231 + number % 2}", 0.04 if is_bad else 0.9))
            if is_bad:
                truth.note(event)


WORLD = World(
    name="epidemic",
    run=run,
    prefix="district",
    sizes=(4, 6),
    ticks=(70, 100),
    complaints={
        "wrong_peer": "the hospital of {victim} is full and no measures were taken there",
        "bad_threshold": "this wave is far higher than the ones before, nobody took any measures",
        "bad_rollout": "hospitals of some districts fill up although hardly anybody is found infected there",
        "duplicate_delivery": "the register counts far more infections in {victim} than that district found itself",
    },
)
CALM = World(
    name="epidemic_mild",
    run=partial(run, imported=2),
    prefix="district",
    sizes=(3, 7),
    ticks=(60, 110),
    complaints={
        "suspects_agent": "I think {victim} does not report all the infections it finds",
        "suspects_measures": "around tick {when} measures were taken or lifted for no good reason",
    },
)
