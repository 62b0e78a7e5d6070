"""Beehives that learn which field pays, beekeepers who move, feed and harvest, and a scale below each hive."""

from __future__ import annotations

from dataclasses import dataclass, field

from Agent import AgentLogger, LearningLogger, tick
from benchmarks.fault_worlds.kit import Case, World

FIELDS_KG = {"clover": 1.5, "lime": 1.2, "rape": 1.3, "heather": 0.25, "willow": 0.2}
RICH, POOR = ("clover", "lime", "rape"), ("heather", "willow")
HIVES = ("ash", "beech", "elder", "hawthorn", "juniper", "larch", "maple", "rowan", "spruce", "yew")
LEFT_KG = 10.0  # what a harvest leaves in a hive
DRIFT_KG = 7.0  # by how much a drifting scale is wrong at the end


@dataclass
class Hive:
    """A hive: its true weight, its field, what it believes of the fields, and what keepers set."""

    name: str
    number: int
    field: str
    kg: float
    log: AgentLogger
    learner: LearningLogger
    scale: AgentLogger
    values: dict[str, float]
    shown_kg: float = 0.0
    frost_feed_kg: float = 3.0
    closed: bool = False
    gains: list[float] = field(default_factory=list)


class Apiary:
    """The hives of two yards, played day by day."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("apiary")
        self.days = self.rng.randint(50, 90)
        self.begin, self.end = case.window(self.days, shortest=5 if case.has("slow_drift") else 1)
        self.keepers = [AgentLogger(name, "keeper") for name in ("Henrike", "Pascal", "Sunniva")]
        self.feeder, self.mast = AgentLogger("syrup_pump", "pump"), AgentLogger("weather_mast", "mast")
        self.hives = [self.hive(number, name) for number, name in enumerate(HIVES)]
        who = case.rng("who")
        self.target = who.choice(self.hives)
        self.teller = who.choice([one for one in self.hives if one is not self.target])
        self.keeper, self.mover = who.sample(self.keepers, 2)
        self.poor = who.choice(POOR)
        self.wrong_weights = 0

    def hive(self, number: int, name: str) -> Hive:
        """Set up a hive that knows one rich field."""
        where = self.rng.choice(RICH)
        return Hive(
            name,
            number,
            where,
            self.rng.uniform(18, 24),
            AgentLogger(f"hive_{name}", "colony"),
            LearningLogger("foraging", f"hive_{name}", "colony"),
            AgentLogger(f"scale_{number + 1}", "scale"),
            {where: FIELDS_KG[where]},
        )

    def learn(self, hive: Hive, where: str, paid: float) -> str:
        """Let a hive book what a field paid; return the event of the update."""
        hive.values[where] = paid
        return hive.learner.log_learning_update("field_value", {"field": where, "value": paid})

    def scout(self, hive: Hive, where: str, book: str, plenty: float = 1.0) -> str:
        """Let a scout of the hive try a field, and book the reward for a field; return the event of the reward."""
        paid = round(FIELDS_KG[where] * self.rng.uniform(0.9, 1.1) * plenty, 2)
        trip = f"trip_{self.rng.randint(1_000, 9_999)}"
        hive.log.log_action("scout", {"trip": trip, "field": where, "sugar_kg": paid})
        booked = hive.learner.log_reward(f"{trip}_{book}", paid)
        self.learn(hive, book, paid)
        return booked

    def dance(self, teller: Hive, hive: Hive, where: str, told: float) -> tuple[str, str]:
        """Let a stray bee of one hive tell another about a field; return both events."""
        said = teller.log.log_action("dance", {"for": f"hive_{hive.name}", "field": where, "sugar_kg": told})
        return said, self.learn(hive, where, told)

    def fault(self, now: int) -> None:
        """Do what the plan wants on its first day, rightly or wrongly."""
        case, hive = self.case, self.target
        if now != self.begin:
            return
        if case.has("wrong_credit"):
            struck = case.strikes("wrong_credit", now)
            booked = self.scout(hive, "clover", self.poor if struck else "clover", plenty=1.5)
            if struck:
                case.root(booked)
        elif case.has("false_belief"):
            told = 2.2 if case.strikes("false_belief", now) else FIELDS_KG[self.poor]
            said, learned = self.dance(self.teller, hive, self.poor, told)
            if told > 2:
                case.root(said, learned)
        elif case.has("config_change"):
            hive.frost_feed_kg = 0.4 if case.strikes("config_change", now) else 2.9
            changed = self.keeper.log_action(
                "set_threshold", {"hive": hive.name, "frost_feed_kg": hive.frost_feed_kg}
            )
            if hive.frost_feed_kg < 1:
                case.root(changed)

    def storm(self, now: int, yard: list[Hive], keeper: AgentLogger) -> None:
        """Close all hives of a yard for a storm, and open them after it; one stays closed where it strikes."""
        case = self.case
        self.mast.log_action("storm", {"metres_per_s": self.rng.randint(18, 26)})
        closings, openings, missing = {}, [], -1
        for hive in yard:
            closings[hive.name] = keeper.log_action("close_entrance", {"hive": hive.name, "gap_mm": 8})
            hive.closed = True
        self.mast.log_action("calm", {"metres_per_s": self.rng.randint(2, 6)})
        for hive in yard:
            if hive is self.target and case.strikes("forgotten_undo", now):
                missing = len(openings)
                continue
            openings.append(keeper.log_action("open_entrance", {"hive": hive.name, "gap_mm": 120}))
            hive.closed = False
        if missing >= 0:
            case.root(closings[self.target.name], *openings[max(0, missing - 1) : missing + 1])

    def chores(self, now: int) -> None:
        """Do acts that look like the faults and do no harm."""
        rng, case = self.rng, self.case
        others = [one for one in self.hives if one is not self.target]
        if rng.random() < 0.3:
            hive = rng.choice(others)
            hive.frost_feed_kg = round(rng.uniform(2.8, 3.6), 1)
            rng.choice(self.keepers).log_action(
                "set_threshold", {"hive": hive.name, "frost_feed_kg": hive.frost_feed_kg}
            )
        for _ in range(rng.randint(1, 3)):
            hive = rng.choice(others)
            where = rng.choice(RICH + POOR)
            self.scout(hive, where, where, plenty=rng.choice((1.0, 1.0, 1.4)) if where in RICH else 1.0)
        if rng.random() < 0.5:
            teller, hive = rng.sample(others, 2)
            where = rng.choice(RICH + POOR)
            self.dance(teller, hive, where, FIELDS_KG[where])
        if rng.random() < 0.2:
            rng.choice(self.keepers).warning("smoker went out, lit again")
        if rng.random() < 0.12 and now != self.begin:
            half = rng.choice((self.hives[:5], self.hives[5:]))
            if not (case.has("forgotten_undo") and now > self.begin and self.target in half):
                self.storm(now, half, rng.choice(self.keepers))
        if case.has("forgotten_undo") and now == self.begin:
            self.storm(now, self.hives[:5] if self.target in self.hives[:5] else self.hives[5:], self.keeper)
        if now == case.decoy_at:
            self.mover.warning(f"knocked against the stand of {self.target.name}, nothing fell")

    def move(self, hive: Hive, keeper: AgentLogger) -> None:
        """Move a hive to the field that it holds for the best."""
        best = max(hive.values, key=lambda one: hive.values[one])
        chosen = hive.learner.log_exploration_exploitation(best, exploration=False, epsilon=0.1)
        moved = keeper.log_action("move_hive", {"hive": hive.name, "from": hive.field, "to": best})
        hive.field = best
        if hive is self.target:
            self.case.hop(chosen, moved)

    def harvest(self, now: int, hive: Hive, keeper: AgentLogger) -> None:
        """Take the honey that the scale shows above what a hive needs; too little left is a symptom."""
        taken = max(0.0, hive.shown_kg - LEFT_KG)
        event = keeper.log_action("harvest", {"hive": hive.name, "kg": round(taken, 2)})
        hive.kg -= taken
        seen = hive.log.log_action("count_stores", {"left_kg": round(hive.kg, 2)})
        if hive is self.target:
            self.case.hop(event)
        if hive.kg < LEFT_KG - 4:
            self.case.symptom(
                seen,
                f"hive_{hive.name} was left with {hive.kg:.1f} kg after the harvest on day {now}; it should have had ten.",
                "We took too much honey from one of the colonies, they will not get through the winter on that.",
                f"{keeper.agent_id} took {taken:.0f} kg of honey, and now the stores in there are nearly empty.",
            )
        hive.kg = max(hive.kg, 8.0)

    def evening(self, now: int, hive: Hive, weather: str) -> None:
        """Forage, feed, keep warm or cool, and weigh."""
        case, rng = self.case, self.rng
        nectar = FIELDS_KG[hive.field] * rng.uniform(0.95, 1.05) if weather in ("dry", "heat") else 0.0
        hive.log.log_action("forage", {"field": hive.field, "nectar_kg": round(nectar, 2)})
        gain = nectar - 0.6
        if weather == "frost":
            fed = self.feeder.log_action("feed", {"hive": hive.name, "kg": hive.frost_feed_kg})
            gain = hive.frost_feed_kg - 2.5
            if hive is self.target:
                case.hop(fed)
        celsius = round(rng.uniform(33.5, 35.5) + (7 if hive.closed and weather == "heat" else 0), 1)
        fanned = hive.log.log_action("fan", {"celsius": celsius})
        hive.kg += gain
        drift = 0.0
        if hive is self.target and case.strikes("slow_drift") and self.begin <= now:
            drift = DRIFT_KG * min(1.0, (now - self.begin + 1) / (self.end - self.begin))
        hive.shown_kg = hive.kg + drift
        weighed = hive.scale.log_action("weigh", {"hive": hive.name, "kg": round(hive.shown_kg, 2)})
        if drift and self.wrong_weights < 3:
            self.wrong_weights += 1
            case.root(weighed)
        if celsius > 38:
            called = self.keeper.log_action(
                "inspect", {"hive": hive.name, "celsius": celsius, "combs": "soft"}
            )
            case.hop(fanned)
            case.symptom(
                called,
                f"The combs in hive_{hive.name} went soft, {celsius} degrees in there. The ones beside it were fine in the same sun.",
                "One colony is cooking at more than 40 degrees, and it was not even the hottest stand.",
                f"The bees of {hive.name} hang outside in a beard and the wax melts. Why only they?",
            )
        elif gain < 0 and weather != "rain":
            seen = self.mover.log_action("inspect", {"hive": hive.name, "celsius": celsius, "combs": "light"})
            case.hop(weighed)
            case.symptom(
                seen,
                f"{hive.name} is losing weight on day {now}, while the others hold or gain.",
                f"One colony loses {-gain:.1f} kg a day, all the rest of the yard is doing well.",
                f"{hive.scale.agent_id} goes down. The neighbours go up!",
                f"Why do the combs of {hive.name} get lighter?",
            )
        elif rng.random() < 0.1:
            self.mover.log_action("inspect", {"hive": hive.name, "celsius": celsius, "combs": "good"})

    def play(self) -> None:
        """Play all days."""
        case, rng = self.case, self.rng
        for now in range(self.days):
            with tick(now):
                weather = rng.choice(("dry", "dry", "dry", "rain", "heat" if now < self.begin else "dry"))
                if now < self.begin and rng.random() < 0.06:
                    weather = "frost"
                if now == self.end:
                    weather = (
                        "heat"
                        if case.has("forgotten_undo")
                        else "frost"
                        if case.has("config_change")
                        else "dry"
                    )
                said = self.mast.log_action("forecast", {"weather": weather})
                if now == self.end and weather != "dry":
                    case.trigger(said)
                self.fault(now)
                self.chores(now)
                if now == self.end and (case.has("wrong_credit") or case.has("false_belief")):
                    self.move(self.target, self.mover)
                if now == self.end and case.has("slow_drift"):
                    self.harvest(now, self.target, self.mover)
                others = [one for one in self.hives if one is not self.target]
                if rng.random() < 0.3:
                    self.move(rng.choice(others), rng.choice(self.keepers))
                if rng.random() < 0.15 and now > 3:
                    self.harvest(
                        now, rng.choice([one for one in others if one.shown_kg]), rng.choice(self.keepers)
                    )
                for hive in self.hives:
                    self.evening(now, hive, weather)


def play(case: Case) -> None:
    """Play a case."""
    Apiary(case).play()


WORLD = World(
    "apiary",
    "bare",
    ("wrong_credit", "false_belief", "config_change", "forgotten_undo", "slow_drift"),
    play,
    author=5,
)
