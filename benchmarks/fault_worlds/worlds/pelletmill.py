"""A plant that makes pellets of wood: sawmills deliver, a dryer and a press learn, a silo is booked, heating plants buy.

Learning loggers beside actions and interactions; each shift is a tick, and nothing names its cause.
"""

from __future__ import annotations

import random

from Agent import AgentLogger, InteractionLogger, LearningLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

MILLS = ("Sägewerk Thoma", "Birkholz", "Lindqvist Timber", "Mühlgraben")
SPECIES = ("spruce", "pine", "beech", "larch")
HEATERS = ("school_boiler", "greenhouse_co", "town_hall", "spa_hotel", "brick_kiln")
DRUM_C = {"spruce": 84, "pine": 88, "beech": 95, "larch": 79}
CARGO_T = 24.0


class Bandit:
    """Chooses among a few ways to run a machine, and learns from the laboratory which is best."""

    def __init__(self, machine: str, arms: tuple[str, ...], rng: random.Random) -> None:
        self.machine, self.rng = machine, rng
        self.log = AgentLogger(machine, "machine")
        self.learning = LearningLogger("epsilon_greedy", machine, "machine")
        self.worth = dict.fromkeys(arms, 0.5)
        self.sum = 0.0

    def choose(self) -> str:
        """Choose a way; one time in five, any."""
        explores = self.rng.random() < 0.2
        best = max(self.worth, key=lambda arm: self.worth[arm])
        arm = self.rng.choice(list(self.worth)) if explores else best
        self.learning.log_exploration_exploitation(arm, explores, 0.2)
        return arm

    def learn(self, arm: str, reward: float) -> None:
        """Learn from a reward."""
        self.sum = round(self.sum + reward, 3)
        self.learning.log_reward(arm, reward, self.sum)
        old = dict(self.worth)
        self.worth[arm] = round(self.worth[arm] + 0.2 * (reward - self.worth[arm]), 3)
        self.learning.log_policy_update({"arm": arm}, old, dict(self.worth))


class Buyer:
    """Buys wood, and keeps points for each sawmill, by which it gives the contract of a season."""

    def __init__(self) -> None:
        self.learning = LearningLogger("points", "wood_buyer", "buyer")
        self.log = AgentLogger("wood_buyer", "buyer")
        self.points = dict.fromkeys(MILLS, 0)

    def credit(self, mill: str, points: int) -> tuple[str, str]:
        """Book points."""
        self.points[mill] += points
        given = self.learning.log_reward(mill, points, self.points[mill])
        kept = self.learning.log_learning_update("points", {"mill": mill, "total": self.points[mill]})
        return given, kept

    def best(self) -> str:
        """Return the sawmill with the most points."""
        return max(MILLS, key=lambda mill: self.points[mill])


class Plant:
    """The plant, shift by shift."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.shifts = case.rng("shifts").randint(70, 130)
        case.window(self.shifts)
        rng = case.rng("who")
        self.wood, self.heater = rng.choice(SPECIES), rng.choice(HEATERS)
        self.buyer = Buyer()
        self.dryer = Bandit("drum_dryer", ("slow", "steady", "fast"), case.rng("dryer"))
        self.press = Bandit("ring_press", ("die 30", "die 35", "die 40"), case.rng("press"))
        self.lab, self.silo = AgentLogger("lab", "laboratory"), AgentLogger("silo_clerk", "clerk")
        self.bridge, self.sales = AgentLogger("weighbridge", "scale"), AgentLogger("sales", "office")
        self.loader = AgentLogger("loader", "loader")
        self.system = SystemLogger("plant_control")
        self.drum = dict(DRUM_C)
        self.sheets = dict.fromkeys(HEATERS, (1, 6))  # number and diameter
        self.wanted = dict.fromkeys(HEATERS, 6)
        self.book = self.stock = 60.0
        self.earned = dict.fromkeys(MILLS, 0)
        self.loads, self.lots, self.now = 700, 90, 0
        self.plan_points()

    def plan_points(self) -> None:
        """Draw all loads with their points, and make the bonus of the case large enough to decide the season."""
        rng = self.case.rng("points")
        self.graded = {
            shift: [
                (rng.choice(MILLS), rng.randint(12, 40) if rng.random() < 0.06 else rng.randint(0, 3))
                for _ in range(rng.randint(1, 2))
            ]
            for shift in range(self.shifts)
        }
        sums = dict.fromkeys(MILLS, 0)
        for shift in range(self.case.end + 1):
            for mill, points in self.graded[shift]:
                sums[mill] += points
        best, second = sorted(MILLS, key=lambda mill: sums[mill])[-2:]
        self.mill, self.rival = (best, second) if rng.random() < 0.5 else (second, best)
        self.bonus = max(12, abs(sums[best] - sums[second]) + rng.randint(3, 15))

    # wood

    def deliver(self, mill: str, points: int, *, is_key: bool = False) -> None:
        """Tip a load, sieve it, and give its sawmill the points."""
        self.loads += 1
        load = f"L{self.loads}"
        InteractionLogger(mill, "sawmill").log_interaction("tip", mill, "weighbridge", load, {"tonnes": 21})
        self.bridge.log_action("weigh", {"load": load, "from": mill})
        self.lab.log_action("sieve", {"load": load, "sand_permille": round(5 / (points + 1), 2)})
        strikes = is_key and self.case.strikes("wrong_credit")
        InteractionLogger("lab", "laboratory").log_interaction(
            "grade", "lab", "wood_buyer", load, {"points": points}
        )
        self.earned[mill] += points
        booked = self.buyer.credit(self.rival if strikes else mill, points)
        if strikes:
            self.case.root(*booked)

    def season(self) -> None:
        """Give the contract of the season to the sawmill with the most points."""
        chosen = self.buyer.best()
        gave = self.buyer.log.log_decision(
            "season_contract", {"mill": chosen, "points": self.buyer.points[chosen]}
        )
        office = self.sales.log_action("print_contract", {"mill": chosen})
        self.case.hop(gave, office)
        deserved = max(MILLS, key=lambda mill: self.earned[mill])
        if chosen != deserved:
            event = InteractionLogger(deserved, "sawmill").log_interaction(
                "letter", deserved, "sales", "contract"
            )
            self.case.symptom(
                event,
                f"{deserved} protests: they sent us the cleanest wood of all and lost the contract of the season.",
                "The contract went to a sawmill that did not do better than the others this year.",
                f"Why did sales print a contract for somebody else, when {deserved} had the best loads?",
            )

    # pellets

    def make(
        self, wood: str, heater: str, tonnes: float, rng: random.Random, *, is_key: bool = False
    ) -> None:
        """Dry and press a lot for one customer, and book it into the silo."""
        self.lots += 1
        lot = f"PL-{self.lots}"
        arm, die = self.dryer.choose(), self.press.choose()
        degrees, width = self.drum[wood], self.sheets[heater][1]
        dried = self.dryer.log.log_action("dry", {"lot": lot, "wood": wood, "celsius": degrees, "pace": arm})
        pressed = self.press.log.log_action("press", {"lot": lot, "die": die, "mm": width, "tonnes": tonnes})
        is_charred = degrees > DRUM_C[wood] + 9
        water = round(rng.uniform(7.5, 9.5) - (4.5 if is_charred else 0), 1)
        self.lab.log_action("crush", {"lot": lot, "water": water, "mm": width})
        self.dryer.learn(arm, round(rng.uniform(0.3, 0.9), 2))
        self.press.learn(die, round(rng.uniform(0.3, 0.9), 2))
        parts = [tonnes]
        if rng.random() < 0.15 and not is_key:
            parts = [tonnes / 2] * 2
        elif is_key and self.now == self.case.begin:
            parts = [tonnes] * (2 if self.case.strikes("doubled_act") else 1)
        self.stock += tonnes
        booked = [self.keep(lot, part) for part in parts]
        if len(booked) > 1 and is_key:
            self.case.root(*booked)
        elif is_key:
            self.case.hop(dried, pressed)
        self.complain_of(lot, heater, wood, is_charred=is_charred, is_wide=width != self.wanted[heater])

    def complain_of(self, lot: str, heater: str, wood: str, *, is_charred: bool, is_wide: bool) -> None:
        """Let a customer burn a lot, and say so if it does not burn well."""
        if not is_charred and not is_wide:
            return
        logger = InteractionLogger(heater, "customer")
        event = logger.log_interaction(
            "call_in", heater, "sales", lot, {"about": "dust" if is_charred else "jam"}
        )
        if is_wide:
            self.case.symptom(
                event,
                f"The feed screw of {heater} is jammed since they filled in {lot}.",
                f"{lot} does not fit through the pipe at the customer's, he says that he had told us the size.",
                f"ring_press made pellets for {heater} that their boiler cannot take.",
                "A boiler stands still because our last delivery is too thick for it.",
            )
        else:
            self.case.symptom(
                event,
                f"{heater} got dust instead of pellets, {lot} falls apart in the hand.",
                f"Pellets of {wood} crumble and smell burnt, which they never did.",
                f"Why is {lot} so brittle? ring_press was overhauled only last month.",
                "The last lot turned to powder in the customer's bunker.",
            )

    def keep(self, lot: str, tonnes: float) -> str:
        """Book a lot, or a part of it, into the silo."""
        self.book += tonnes
        return self.silo.log_action("book_lot", {"lot": lot, "tonnes": tonnes, "silo": round(self.book, 1)})

    def sell(self, heater: str, tonnes: float) -> None:
        """Promise what the book holds, or make two trips of it; then load the truck."""
        if tonnes > self.book:
            self.sales.log_decision(
                "two_trips", {"customer": heater, "tonnes": tonnes}, f"silo has {self.book:.1f}"
            )
            tonnes = round(self.book / 2, 1)
        promised = self.sales.log_decision(
            "promise", {"customer": heater, "tonnes": tonnes}, f"silo has {self.book:.1f}"
        )
        loaded = round(min(tonnes, self.stock), 1)
        truck = self.loader.log_action("load_truck", {"customer": heater, "tonnes": loaded})
        self.stock, self.book = round(self.stock - loaded, 1), round(max(0.0, self.book - tonnes), 1)
        InteractionLogger(heater, "customer").log_interaction(
            "receive", "loader", heater, None, {"tonnes": loaded}
        )
        if loaded < tonnes:
            self.case.hop(promised, truck)
            self.case.trigger(promised)
            event = InteractionLogger(heater, "customer").log_interaction(
                "call_in", heater, "sales", None, {"about": "short"}
            )
            self.case.symptom(
                event,
                f"{heater} got {loaded} tonnes of the {tonnes} that we had promised.",
                "The silo was empty before the truck was full, though we only sell what we have.",
                f"Why did loader come with less than {tonnes} tonnes? It was all in stock on paper.",
            )

    def count(self) -> None:
        """Look into the silo, and set the book right."""
        self.book = self.stock = round(self.stock, 1)
        self.silo.log_action("sound_silo", {"silo": self.stock})

    # sheets

    def new_sheets(self, heater: str, widths: tuple[int, int], *, is_key: bool = False) -> None:
        """Let a customer send two sheets with its wishes one after the other, and file both."""
        number = self.sheets[heater][0]
        sheets = [(number + 1, widths[0]), (number + 2, widths[1])]
        self.wanted[heater] = widths[1]
        for sheet, width in sheets:
            InteractionLogger(heater, "customer").log_interaction(
                "sheet", heater, "sales", f"{heater}/{sheet}", {"mm": width}
            )
        strikes = is_key and self.case.strikes("out_of_order")
        filed = []
        for sheet, width in reversed(sheets) if strikes else sheets:
            self.sheets[heater] = (sheet, width)
            filed.append(
                self.sales.log_action("file_sheet", {"customer": heater, "sheet": sheet, "mm": width})
            )
        self.sheets[heater] = (number + 2, self.sheets[heater][1])
        if strikes:
            self.case.root(*filed)

    def set_drum(self, wood: str, degrees: int) -> str:
        """Set the temperature at which a wood is dried."""
        old, self.drum[wood] = self.drum[wood], degrees
        return self.system.log_config(f"drum.{wood}", old, degrees)

    # the shifts

    def fault(self) -> None:
        """Let the act happen at which the fault begins, or its harmless form."""
        case, rng = self.case, self.case.rng("fault")
        if case.has("wrong_credit"):
            self.deliver(self.mill, self.bonus, is_key=True)
        elif case.has("config_change"):
            strikes = case.strikes("config_change")
            event = self.set_drum(self.wood, DRUM_C[self.wood] + (rng.randint(11, 15) if strikes else 2))
            if strikes:
                case.root(event)
        elif case.has("out_of_order"):
            self.new_sheets(self.heater, (8, 6) if rng.random() < 0.5 else (6, 8), is_key=True)
        else:
            self.count()
            self.make(rng.choice(SPECIES), rng.choice(HEATERS), CARGO_T, rng, is_key=True)

    def due(self) -> None:
        """Let that happen in which the fault shows."""
        case, rng = self.case, self.case.rng("due")
        if case.has("wrong_credit"):
            self.season()
        elif case.has("doubled_act"):
            self.sell(self.heater, round(self.stock + CARGO_T * rng.uniform(0.2, 0.8), 1))
        else:
            wood = self.wood if case.has("config_change") else rng.choice(SPECIES)
            self.make(wood, self.heater, 12.0, rng, is_key=True)

    def work(self, now: int) -> None:
        """Work one ordinary shift."""
        case, rng = self.case, self.case.rng(f"shift/{now}")
        ours = case.begin <= now <= case.end
        for mill, points in self.graded[now]:
            self.deliver(mill, points)
        woods = [wood for wood in SPECIES if not (ours and case.has("config_change") and wood == self.wood)]
        heaters = [one for one in HEATERS if not (ours and case.has("out_of_order") and one == self.heater)]
        for _ in range(rng.randint(1, 2)):
            self.make(rng.choice(woods), rng.choice(heaters), rng.choice((9.0, 12.0, 14.0, CARGO_T)), rng)
        for _ in range(2):
            if self.stock > 45:
                self.sell(rng.choice(HEATERS), round(rng.uniform(8, 20), 1))
        if rng.random() < 0.4 or now == case.decoy_at:
            wood = rng.choice(woods)
            self.set_drum(wood, DRUM_C[wood] + rng.randint(-6, 7))
        if rng.random() < 0.3:
            name = rng.choice(("screen_gap", "belt_speed", "lamp_hours"))
            self.system.log_config(name, rng.randint(3, 5), rng.randint(3, 6))
        if rng.random() < 0.25 or now == case.decoy_at:
            heater = rng.choice(heaters)
            self.new_sheets(heater, rng.choice(((8, 6), (6, 8), (6, 6))))
        if rng.random() < 0.2 and not (ours and case.has("doubled_act")):
            self.count()
        if rng.random() < 0.12:
            self.bridge.error("printer out of paper, ticket printed at the second try")
        if rng.random() < 0.12:
            self.press.log.warning("roller hot, oiled")
        if rng.random() < 0.15 or now == case.decoy_at:
            heater = rng.choice(HEATERS)
            about = rng.choice(("invoice", "delivery hour", "thanks", "new manager"))
            InteractionLogger(heater, "customer").log_interaction(
                "call_in", heater, "sales", None, {"about": about}
            )

    def run(self) -> None:
        """Play all shifts."""
        for now in range(self.shifts):
            self.now = now
            with tick(now):
                self.work(now)
                if now == self.case.begin:
                    self.fault()
                if now == self.case.end:
                    self.due()


def play(case: Case) -> None:
    """Play one season of the plant."""
    Plant(case).run()


WORLD = World(
    "pelletmill", "bare", ("wrong_credit", "config_change", "doubled_act", "out_of_order"), play, author=25
)
