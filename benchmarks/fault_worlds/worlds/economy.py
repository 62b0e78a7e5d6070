"""The economy of a game: players learn what to make, a market takes fees, a guild plans its raids.

Evidence: bare actions and learning steps, in ticks.
"""

from __future__ import annotations

from Agent import AgentLogger, LearningLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

TURNS = 140
PLAYERS = ("Azra", "Bolt", "Cleo", "Dax", "Ember", "Flint", "Gale")
GOODS = ("herbs", "pots", "iron", "cloth", "salt")
STEWARDS = ("steward-Iris", "steward-Olaf")
FEE_PERCENT = 7


class Realm:
    """Players, market, guild and their books."""

    def __init__(self, case: Case) -> None:
        self.case = case
        case.window(TURNS)
        self.logs = {name: AgentLogger(name, "player") for name in PLAYERS}
        self.learners = {name: LearningLogger("bandit", name, "player") for name in PLAYERS}
        self.logs |= {name: AgentLogger(name, "steward") for name in STEWARDS}
        self.logs |= {
            name: AgentLogger(name, "office")
            for name in ("questmaster", "market", "treasury", "guild", "auction", "arbiter")
        }
        self.value: dict[str, dict[str, float]] = {name: dict.fromkeys(GOODS, 5.0) for name in PLAYERS}
        self.vault, self.true_gold = 500, 500
        self.table = 20
        self.floors = False
        self.missing_fee = 0
        self.ticket = 100
        self.blades = 0
        self.herbs_each = 2
        window = range(case.begin, case.end)
        self.herb_stock = sum(3 * self.brewed(now) for now in window) + 8
        self.fee_limit = sum(rest for now in window for _, rest in self.trades(now))

    def brewed(self, now: int) -> int:
        """Return how many potions the guild brews in a turn."""
        return self.case.rng(f"brew/{now}").randint(2, 5)

    def trades(self, now: int) -> list[tuple[int, int]]:
        """Return the prices of a turn's trades, and the hundredths by which each fee is no whole number."""
        rng = self.case.rng(f"trades/{now}")
        prices = [rng.choice([n for n in range(20, 900) if n * FEE_PERCENT % 100 > 9]) for _ in range(3)]
        return [(price, price * FEE_PERCENT % 100) for price in prices]

    def play_turn(self, now: int) -> None:
        """Let everybody make something, and learn what it brought."""
        for name in PLAYERS:
            rng, learner = self.case.rng(f"turn/{now}/{name}"), self.learners[name]
            good, reward = rng.choice(GOODS), round(rng.uniform(2, 8), 1)
            learner.log_exploration_exploitation(good, exploration=rng.random() < 0.2, epsilon=0.2)
            self.logs[name].log_action("make", {"good": good, "count": rng.randint(1, 4)})
            learner.log_reward(good, reward)
            if name != "Cleo" and rng.random() < 0.15:
                self.quest(name, good, good, rng.randint(10, 25))

    def quest(self, player: str, good: str, booked: str, bonus: int) -> str:
        """Give a bonus for something a player made; the player's learner books it."""
        self.ticket += 1
        self.logs["questmaster"].log_action(
            "praise", {"player": player, "good": good, "bonus": bonus, "ticket": self.ticket}
        )
        self.value[player][booked] += bonus / 10
        return self.learners[player].log_reward(booked, float(bonus))

    def trade(self, now: int) -> None:
        """Let the market take fees; the rests of fees are carried to the next one."""
        case = self.case
        for price, rest in self.trades(now):
            seller = case.rng(f"seller/{now}/{price}").choice(PLAYERS)
            sold = self.logs["market"].log_action("sell", {"price": price, "seller": seller})
            carried = 0 if self.floors else rest
            fee = self.logs["market"].log_action(
                "take_fee", {"price": price, "fee": price * FEE_PERCENT // 100, "carried": carried}
            )
            self.missing_fee += rest - carried
            if self.floors:
                case.hop(sold)
                if len(case.roots) < 4:
                    case.root(fee)
        booked = self.logs["treasury"].log_action("count", {"short": self.missing_fee})
        if self.floors:
            case.hop(booked)
        if case.has("rounding_leak") and now >= case.end and self.missing_fee >= self.fee_limit:
            shown = self.logs["guild"].log_action("cancel_feast", {"reason": "treasury short"})
            case.symptom(
                shown,
                "There is less in the treasury than trade should have brought",
                "guild cancelled the feast for lack of money",
                "Income from fees is lower than it should be",
                "The feast was cancelled",
            )

    def move_gold(self, now: int) -> None:
        """Let a steward read the vault's balance, and write it back with a change."""
        rng = self.case.rng(f"gold/{now}")
        one, other = rng.sample(STEWARDS, 2)
        first, second = rng.randint(-9, 30), rng.randint(60, 90)
        if now == self.case.begin and self.case.has("lost_update"):
            lost = self.case.strikes("lost_update", now)
            before = self.vault
            read = self.logs[one].log_action("read_vault", {"gold": before})
            if lost:
                self.logs[other].log_action("read_vault", {"gold": before})
            self.logs[other].log_action("write_vault", {"gold": before + second, "gift": second})
            self.vault = before + second
            if not lost:
                self.logs[one].log_action("read_vault", {"gold": self.vault})
            self.vault = (before if lost else self.vault) + first
            wrote = self.logs[one].log_action("write_vault", {"gold": self.vault, "gift": first})
            self.true_gold += first + second
            if lost:
                self.case.root(wrote, read)
            return
        self.logs[one].log_action("read_vault", {"gold": self.vault})
        if rng.random() < 0.4:
            self.logs[other].log_action("read_vault", {"gold": self.vault})
        self.vault += first
        self.true_gold += first
        self.logs[one].log_action("write_vault", {"gold": self.vault, "gift": first})

    def begin(self, now: int) -> None:
        """Let the act happen at which the fault begins, or its harmless form."""
        case = self.case
        match case.kind:
            case "wrong_credit":
                self.quest("Cleo", "pots", "pots", 20)
                booked = self.quest(
                    "Cleo", "herbs", "pots" if case.strikes("wrong_credit", now) else "herbs", 60
                )
                if case.faulty:
                    case.root(booked)
            case "doubled_act":
                self.ticket += 1
                for _ in range(2 if case.strikes("doubled_act", now) else 1):
                    done = self.logs["questmaster"].log_action(
                        "grant", {"ticket": self.ticket, "player": "Gale", "item": "sun blade"}
                    )
                    taken = self.logs["Gale"].log_action("store_item", {"item": "sun blade"})
                    self.blades += 1
                    if case.faulty:
                        case.root(done)
                        case.hop(taken)
            case "rounding_leak":
                self.table += 1
                done = self.logs["market"].log_action("load_fees", {"table": self.table})
                self.floors = case.strikes("rounding_leak", now)
                if self.floors:
                    case.root(done)
            case "config_change":
                new = 5 if case.strikes("config_change", now) else 2
                done = self.logs["arbiter"].log_strategy_update(
                    "recipe", {"item": "potion", "herbs": 2}, {"item": "potion", "herbs": new}, "balance"
                )
                self.herbs_each = new
                if case.faulty:
                    case.root(done)

    def brew(self, now: int) -> None:
        """Brew potions from the guild's herbs; as many are delivered as the recipe used to need."""
        case, potions = self.case, self.brewed(now)
        need = potions * self.herbs_each
        brewer = PLAYERS[now % 7]
        self.logs[brewer].log_action("deliver_herbs", {"count": 2 * potions})
        self.herb_stock += 2 * potions - need
        done = self.logs["guild"].log_action("brew", {"potions": potions, "herbs": need})
        if case.has("config_change") and now > case.begin:
            case.hop(done)
        if case.has("config_change") and now >= case.end and self.herb_stock < 8:
            failed = self.logs["Flint"].log_action("lose_fight", {"reason": "no potion"})
            case.symptom(
                failed,
                "Flint loses fights for lack of potions",
                "The stock of herbs keeps shrinking until there are no potions",
                "There are no potions any more",
            )

    def end(self, now: int) -> None:
        """Let old books matter: the season's plan, the rent, the tournament."""
        case = self.case
        if case.has("wrong_credit"):
            choice = max(self.value["Cleo"], key=lambda good: self.value["Cleo"][good])
            plan = self.learners["Cleo"].log_policy_update({"season": now, "makes": choice})
            made = self.logs["Cleo"].log_action("make", {"good": choice, "count": 9})
            sold = self.logs["market"].log_action("sell", {"price": 40, "seller": "Cleo", "good": choice})
            case.hop(plan, made, sold)
            if choice != "herbs":
                case.symptom(
                    self.logs["guild"].log_action("cancel_raid", {"reason": "no herbs"}),
                    "The raid was cancelled because nobody brought herbs",
                    "market is full of pots and there are no herbs",
                    "guild has to cancel raids",
                    "Cleo makes the wrong things",
                )
        if case.has("lost_update"):
            rent = self.true_gold - 40
            asked = self.logs["arbiter"].log_action("ask_rent", {"gold": rent})
            case.trigger(asked)
            seen = self.logs["guild"].log_action("open_vault", {"gold": self.vault})
            case.hop(asked, seen)
            if self.vault < rent:
                case.symptom(
                    self.logs["guild"].log_action("lose_castle", {"reason": "rent"}),
                    "guild lost the castle since the rent could not be paid",
                    "Gold that we have been given is not there",
                    "We cannot pay although gifts were plenty",
                    f"arbiter wants {rent} and the vault holds less",
                )
        if case.has("doubled_act"):
            worn = self.logs["Gale"].log_action("show_items", {"sun blade": self.blades})
            case.trigger(self.logs["auction"].log_action("open_tournament", {"turn": now}))
            case.hop(worn)
            seen = self.logs["arbiter"].log_action("inspect", {"player": "Gale", "count": self.blades})
            case.hop(seen)
            if self.blades > 1:
                case.symptom(
                    self.logs["auction"].log_action("disqualify", {"player": "Gale"}),
                    "Gale was thrown out of the tournament",
                    "There are two of an item that exists once",
                    "auction does not accept a blade that is unique",
                    "Somebody was disqualified without having cheated",
                )

    def everyday(self, now: int) -> None:
        """Record settings, grants, chores and handled errors."""
        case, rng = self.case, self.case.rng(f"day/{now}")
        if rng.random() < 0.5:
            old, item = rng.randint(1, 6), rng.choice(("bread", "rope", "shield"))
            self.logs["arbiter"].log_strategy_update(
                "recipe",
                {"item": item, "herbs": old},
                {"item": item, "herbs": rng.randint(1, 9)},
                "balance",
            )
        if rng.random() < 0.4:
            SystemLogger().log_config(rng.choice(("spawn_rate", "map_size")), now, rng.randint(1, 9))
        if rng.random() < 0.2:
            self.table += 1
            self.logs["market"].log_action("load_fees", {"table": self.table})
        for _ in range(rng.randint(0, 2)):
            self.ticket += 1
            player, item = (
                rng.choice([name for name in PLAYERS if name != "Gale"]),
                rng.choice(("arrow", "torch")),
            )
            for _ in range(rng.choice((1, 1, 2))):
                self.logs["questmaster"].log_action(
                    "grant", {"ticket": self.ticket, "player": player, "item": item}
                )
                self.logs[player].log_action("store_item", {"item": item})
        if rng.random() < 0.15:
            player = rng.choice(PLAYERS)
            self.logs[player].error("Connection lost", {"seconds": rng.randint(1, 20)})
            self.logs[player].log_action("reconnect", {"tries": rng.randint(1, 3)})
        if rng.random() < 0.1:
            self.logs["arbiter"].log_action("ask_rent", {"gold": rng.randint(5, 50)})
        if now == case.decoy_at:
            self.logs["market"].error("Two offers at once", {"price": 77})
            self.logs["market"].log_action("repeat_offer", {"price": 77})

    def run(self) -> None:
        """Play all turns."""
        for now in range(TURNS):
            with tick(now):
                self.everyday(now)
                if now == self.case.begin:
                    self.begin(now)
                self.play_turn(now)
                self.move_gold(now)
                self.trade(now)
                self.brew(now)
                if now == self.case.end:
                    self.end(now)


def play(case: Case) -> None:
    """Play one season of the game."""
    Realm(case).run()


WORLD = World(
    "economy",
    "bare",
    ("wrong_credit", "lost_update", "rounding_leak", "config_change", "doubled_act"),
    play,
    author=3,
)
