"""A guild of bots in an online game: heroes that learn tactics, a stock of elixirs, dues, standing orders, and raids."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from Agent import AgentLogger, LearningLogger
from benchmarks.fault_worlds.kit import Case, World

HEROES = ("thornwick", "mossbeard", "ysolde", "quillon", "brannagh", "fenella", "oxblood", "tamsin_vale")
BEASTS = {"ogre": "shield", "wyrm": "kite", "lich": "burn", "hydra": "burn"}
TACTICS = ("shield", "kite", "burn", "ambush")
SHELF = ("health_draught", "mana_draught", "fire_oil", "smoke_bomb", "frost_elixir")
GATES = ("north", "east", "south", "postern")
CHORES = ("mend_banner", "polish_trophies", "feed_ravens", "sort_loot")
DUES, SIEGE_FEE = 60, 80


@dataclass
class Hero:
    """A bot with a purse and what it has learnt."""

    name: str
    purse: int = 500
    earned: float = 0.0
    values: dict[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = AgentLogger(self.name, "hero")
        self.learning = LearningLogger("bandit", self.name)
        for beast, best in BEASTS.items():
            for tactic in TACTICS:
                self.values[beast, tactic] = 7.0 if tactic == best else 3.0

    def choose(self, beast: str, curious: float, rng: random.Random) -> tuple[str, str]:
        """Choose a tactic; return it with the event."""
        tactic = max(TACTICS, key=lambda one: self.values[beast, one])
        explores, other = rng.random() < curious, rng.choice(TACTICS)
        tactic = other if explores else tactic
        return tactic, self.learning.log_exploration_exploitation(f"{beast}/{tactic}", explores, curious)

    def learn(self, beast: str, tactic: str, reward: float) -> str:
        """Take a reward for a tactic."""
        self.values[beast, tactic] = round((self.values[beast, tactic] + reward) / 2, 2)
        self.earned = round(self.earned + reward, 2)
        return self.learning.log_reward(f"{beast}/{tactic}", reward, self.earned)


class Guild:
    """The guild and its hall."""

    def __init__(self, case: Case, raids: int) -> None:
        self.case, self.raids, self.now = case, raids, 0
        self.rng = case.rng("guild")
        self.heroes = [Hero(name) for name in HEROES]
        self.key = self.rng.choice(self.heroes)
        self.others = [hero for hero in self.heroes if hero is not self.key]
        roles = (
            "quartermaster",
            "alchemist",
            "treasurer",
            "scorekeeper",
            "adjutant",
            "raid_leader",
            "herald",
        )
        self.staff = {role: AgentLogger(role, role) for role in roles}
        self.stock = dict.fromkeys(SHELF, 40) | {"frost_elixir": 10}
        self.roster = dict.fromkeys(HEROES, "north")
        self.ordered = dict(self.roster)
        self.order, self.raid, self.sips = 30 + case.seed % 40, 700 + case.seed % 200, 0
        if case.has("wrong_credit"):
            for tactic in TACTICS:
                self.key.values["hydra", tactic] = 3.0
        if case.has("doubled_act"):
            self.key.purse = 160

    def fail(self, what: str, cause: str) -> None:
        """Call a raid off, and have it told in the hall."""
        self.case.hop(cause)
        called = self.staff["raid_leader"].log_action("call_off", {"raid": f"R{self.raid}"})
        self.case.hop(called)
        cried = self.staff["herald"].log_action("cry_news", {"raid": f"R{self.raid}", "news": "lost"})
        words = {"hero": self.key.name, "raid": f"R{self.raid}"}
        self.case.symptom(cried, *(text.format(**words) for text in CRIES[what]))

    # learning

    def fight(self, hero: Hero, beast: str, curious: float, drill: str = "") -> None:
        """Fight one beast, and book what it was worth."""
        tactic, chose = hero.choose(beast, curious, self.rng)
        tactic = drill or tactic
        fought = hero.log.log_action("fight", {"beast": beast, "tactic": tactic})
        is_right = tactic == BEASTS[beast]
        worth = round(self.rng.uniform(8, 9) if is_right else self.rng.uniform(1, 2), 2)
        credited = tactic
        slips = bool(drill) and self.case.strikes("wrong_credit", self.now)
        if slips:
            credited = "kite"
        booked = self.staff["scorekeeper"].log_action(
            "book_score", {"hero": hero.name, "beast": beast, "tactic": credited, "score": worth}
        )
        learnt = hero.learn(beast, credited, worth)
        if drill:
            self.case.root(booked, learnt)
        if beast == "hydra" and not is_right:
            self.case.hop(chose)
            self.fail("wipe", fought)

    # the stock

    def look(self, clerk: str, item: str) -> tuple[int, str]:
        """Read what the shelf has."""
        count = self.stock[item]
        return count, self.staff[clerk].log_action("read_stock", {"item": item, "count": count})

    def note(self, clerk: str, item: str, count: int) -> str:
        """Write what the shelf has."""
        self.stock[item] = count
        return self.staff[clerk].log_action("write_stock", {"item": item, "count": count})

    def restock(self, item: str, brewed: int, taken: int) -> None:
        """Bring what was brewed, while somebody takes a little."""
        count, read = self.look("alchemist", item)
        if item == "frost_elixir" and self.case.strikes("lost_update", self.now):
            seen, other = self.look("quartermaster", item)
            wrote = self.note("alchemist", item, count + brewed)
            lost = self.note("quartermaster", item, seen - taken)
            self.case.root(lost, other, wrote, read)
            return
        self.note("alchemist", item, count + brewed)
        seen, _ = self.look("quartermaster", item)
        self.note("quartermaster", item, seen - taken)

    def hand_out(self, item: str, wanted: int) -> None:
        """Give a party what it needs, if it is there."""
        count, read = self.look("quartermaster", item)
        if count < wanted:
            self.case.hop(read)
            self.fail(
                "empty", self.staff["quartermaster"].log_action("refuse", {"item": item, "wanted": wanted})
            )
            return
        self.note("quartermaster", item, count - wanted)

    # dues

    def collect(self, hero: Hero, what: str, amount: int) -> str:
        """Take an amount out of a purse."""
        hero.purse -= amount
        return self.staff["treasurer"].log_action(
            "collect", {"from": hero.name, "for": what, "amount": amount, "left": hero.purse}
        )

    def pay(self, hero: Hero, amount: int) -> None:
        """Give a hero a share of the loot."""
        hero.purse += amount
        hero.log.log_action("pocket", {"amount": amount, "purse": hero.purse})

    def besiege(self, hero: Hero) -> None:
        """Have a hero pay for a place at the ram."""
        self.staff["raid_leader"].log_action("name_fee", {"raid": f"R{self.raid}", "fee": SIEGE_FEE})
        if hero.purse < SIEGE_FEE:
            shown = hero.log.log_action("turn_out_purse", {"purse": hero.purse})
            self.fail("broke", shown)
            return
        self.collect(hero, f"R{self.raid}", SIEGE_FEE)

    # orders

    def command(self, hero: Hero, gates: list[str]) -> None:
        """Give standing orders, which the adjutant enters."""
        numbers = []
        for gate in gates:
            self.order += 1
            numbers.append((self.order, gate))
            self.ordered[hero.name] = gate
            self.staff["raid_leader"].log_decision(
                "standing_order", {"order": self.order, "hero": hero.name, "gate": gate}, "scouts' report"
            )
        is_key = hero is self.key and self.now == self.case.begin and self.case.has("out_of_order")
        if is_key and self.case.strikes("out_of_order", self.now):
            numbers.reverse()
        for number, gate in numbers:
            self.roster[hero.name] = gate
            entered = self.staff["adjutant"].log_action(
                "enter_order", {"order": number, "hero": hero.name, "gate": gate}
            )
            if is_key:
                self.case.root(entered)

    def muster(self, hero: Hero) -> None:
        """Have a hero come to the gate of the roster; the others stand where the last order said."""
        came = hero.log.log_action("muster", {"gate": self.roster[hero.name], "raid": f"R{self.raid}"})
        if self.roster[hero.name] != self.ordered[hero.name]:
            waited = self.staff["raid_leader"].log_action(
                "count_heads", {"raid": f"R{self.raid}", "short": 1}
            )
            self.case.hop(came)
            self.fail("absent", waited)

    # an evening

    def special(self) -> None:
        """Do what the plan has for the first and the last evening of the case."""
        case, key = self.case, self.key
        if self.now == case.begin:
            if case.has("wrong_credit"):
                self.fight(key, "hydra", 0.0, drill="burn")
            elif case.has("lost_update"):
                self.restock("frost_elixir", 12, 1)
            elif case.has("doubled_act"):
                case.root(self.collect(key, f"season {key.name[:3]}", DUES))
                if case.strikes("doubled_act", self.now):
                    case.root(self.collect(key, f"season {key.name[:3]}", DUES))
            else:
                first, last = self.rng.sample(GATES, 2)
                self.command(key, [first, last])
        if self.now == case.end:
            opened = self.staff["raid_leader"].log_action("sound_horn", {"raid": f"R{self.raid}"})
            case.trigger(opened)
            if case.has("wrong_credit"):
                self.fight(key, "hydra", 0.0)
            elif case.has("lost_update"):
                self.hand_out("frost_elixir", 15)
            elif case.has("doubled_act"):
                self.besiege(key)
            else:
                self.muster(key)

    def evening(self) -> None:
        """Play an ordinary evening."""
        rng, case = self.rng, self.case
        self.raid += 1
        chatted = rng.choice(HEROES)
        for hero in rng.sample(self.heroes, rng.randint(2, 4)):
            self.fight(hero, rng.choice(("ogre", "wyrm", "lich")), 0.2)
            self.pay(hero, 1 if hero is self.key else rng.randint(5, 20))
            if hero is self.key:
                self.collect(hero, "toll", 1)
        if rng.random() < 0.4:
            self.fight(rng.choice(self.others), "hydra", 0.0)
        item = rng.choice(SHELF[:4])
        self.restock(item, rng.randint(4, 9), rng.randint(1, 3))
        if self.stock[item] > 20:
            self.hand_out(item, rng.randint(2, 6))
        if rng.random() < 0.1 and self.sips < 3:
            self.sips += 1
            self.hand_out("frost_elixir", 1)
        for hero in rng.sample(self.others, rng.randint(0, 2)):
            self.collect(
                hero, rng.choice((f"season {hero.name[:3]}", "repair", "stable")), rng.randint(4, 16)
            )
        if rng.random() < 0.2:
            rich = [hero for hero in self.others if hero.purse > 200]
            if rich:
                self.besiege(rng.choice(rich))
        for hero in rng.sample(self.others, rng.randint(0, 2)):
            self.command(hero, [rng.choice(GATES) for _ in range(rng.randint(1, 2))])
        for hero in rng.sample(self.others, 2):
            self.muster(hero)
        self.special()
        log = AgentLogger(chatted, "hero")
        log.log_action(rng.choice(CHORES), {"minutes": rng.randint(3, 50)})
        if rng.random() < 0.12:
            log.warning("lag, moved back to the last step", extra={"ms": rng.randint(200, 4000)})
        if rng.random() < 0.25:
            self.staff["herald"].log_action(
                "cry_news", {"raid": f"R{self.raid}", "news": rng.choice(("won", "fair"))}
            )
        if self.now == case.decoy_at:
            self.staff["alchemist"].error(
                "cauldron boiled over, wiped up", extra={"litres": rng.randint(1, 5)}
            )


CRIES = {
    "wipe": (
        "We were slaughtered by a beast that we have known how to beat for ages",
        "{raid} was a wipe, and the hydra did not even lose a head.",
        "what was {hero} doing there, that is no way to fight a hydra",
        "herald cries that {raid} is lost. One hero used a tactic that nobody uses there",
    ),
    "empty": (
        "there should be plenty of frost elixir, we brewed a whole cauldron!",
        "{raid} called off because the shelf had too little",
        "raid_leader sent all of us home, no elixir to be had",
        "Where did the elixirs go? I carried a crate in with my own hands, says alchemist",
    ),
    "broke": (
        "{hero} could not pay for the ram and the siege {raid} fell through",
        "I am always careful with gold and suddenly my purse is nearly empty",
        "raid_leader had to call {raid} off for want of one fee",
        "how can {hero} be broke, with so little spent this season",
    ),
    "absent": (
        "{hero} stood at the wrong gate, again we were one short",
        "We waited for a full party at the gate and {raid} was called off.",
        "one of us never showed up, he says that he was where the roster told him",
        "the roster and what was said do not agree. {hero} missed {raid}",
    ),
}


def play(case: Case) -> None:
    """Play a season, an evening after the other."""
    raids = case.rng("raids").choice((16, 40, 80, 150))
    case.window(raids)
    guild = Guild(case, raids)
    for now in range(raids):
        guild.now = now
        guild.evening()


WORLD = World("guildhall", "bare", ("wrong_credit", "lost_update", "doubled_act", "out_of_order"), play, 28)
