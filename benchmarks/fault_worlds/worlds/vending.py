"""Vending machines that learn what sells, vans that fill them, and offices that count: single events without any link."""

from __future__ import annotations

import math
import random
from collections import defaultdict

from Agent import AgentLogger, LearningLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

STEPS = 90
PRODUCTS = {"soup": 2.4, "tea": 1.6, "nuts": 1.9, "juice": 2.1, "milk": 1.3, "bun": 1.1}
MACHINES = ("kiosk_mill", "kiosk_pier", "kiosk_park", "kiosk_hall", "kiosk_gym", "kiosk_inn")
OWNERS = ("owner_abt", "owner_bux", "owner_coy", "owner_dorn", "owner_eck", "owner_fenn")
FULL = 60
RATE = 0.3


class Machine:
    """One machine: its stock, its fridge, and what it has learned about its products."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self.name = name
        self.log = AgentLogger(name, "machine")
        self.learning = LearningLogger("assortment", name, "machine")
        self.stock = {product: rng.randint(8, FULL) for product in PRODUCTS}
        self.worth = {product: 0.8 * price for product, price in PRODUCTS.items()}
        self.refill_below = 6
        self.booked_as: dict[str, str] = {}
        self.sensor_error = 0.0
        self.creep = 0.0
        self.total = 0.0


class Business:
    """One session of the business."""

    def __init__(self, case: Case) -> None:
        self.case = case
        shortest = {"wrong_credit": 6, "rounding_leak": 5, "slow_drift": 8}.get(case.kind, 2)
        case.window(STEPS, shortest)
        self.rng = case.rng("trade")
        self.machines = {name: Machine(name, case.rng(f"stock/{name}")) for name in MACHINES}
        self.office = SystemLogger("office")
        roles = {"planner_1": "planner", "depot": "depot", "cash_east": "cash", "cash_west": "cash"}
        roles |= {"van_1": "van", "van_2": "van", "van_3": "van", "fitter_1": "fitter", "fitter_2": "fitter"}
        roles |= dict.fromkeys(OWNERS, "owner")
        self.log = {name: AgentLogger(name, role) for name, role in roles.items()}
        who = case.rng("who")
        self.chosen = self.machines[who.choice(MACHINES)]
        self.product = who.choice(("soup", "tea", "nuts"))
        self.cash = who.choice(("cash_east", "cash_west"))
        self.listed = dict.fromkeys(PRODUCTS, 300)
        self.shelf = dict.fromkeys(PRODUCTS, 300)
        self.coarse: set[str] = set()
        self.owed: dict[str, float] = defaultdict(float)
        self.paid: dict[str, float] = defaultdict(float)
        self.wrong = 0
        self.relabels = case.rng("relabel").sample(range(4, STEPS - 2), 5)
        self.sensors = case.rng("sensors").sample(range(4, STEPS - 2), 5)
        self.programs = case.rng("programs").sample(range(4, STEPS - 2), 4)
        self.reviews = {name: case.rng(f"review/{name}").sample(range(4, STEPS), 3) for name in MACHINES}
        self.reckonings = {name: case.rng(f"reckon/{name}").sample(range(3, STEPS), 5) for name in OWNERS}
        if case.has("wrong_credit"):
            self.reviews[self.chosen.name] = [case.end]
        if case.has("rounding_leak"):
            for name in self.owners_of(self.cash):
                self.reckonings[name] = [
                    step for step in self.reckonings[name] if not case.begin <= step < case.end
                ]
            self.reckonings[self.owners_of(self.cash)[0]].append(case.end)

    def owners_of(self, cash: str) -> tuple[str, ...]:
        return OWNERS[:3] if cash == "cash_east" else OWNERS[3:]

    def others(self) -> list[Machine]:
        return [machine for machine in self.machines.values() if machine is not self.chosen]

    # Sales and learning

    def sell(self, machine: Machine, product: str, now: int) -> None:
        case = self.case
        if machine.stock[product] <= 0:
            empty = machine.log.log_action(
                "show_empty", {"product": product, "customers": self.rng.randint(1, 3)}
            )
            case.symptom(
                empty,
                f"There is no {product} left at {machine.name}. People stand in front of it and leave.",
                f"{machine.name} shows empty for {product}. Nobody seems to come and fill it.",
                "One of the machines has run dry. The others are filled long before that happens.",
            )
            return
        if product not in machine.worth:
            vain = machine.log.log_action(
                "wanted_in_vain", {"product": product, "customers": self.rng.randint(2, 5)}
            )
            if product == self.product and machine is self.chosen:
                case.symptom(
                    vain,
                    f"Why is there no {product} at {machine.name} any more? It was what everybody bought there.",
                    f"{machine.name} has thrown out the {product}, of all things. People keep asking for it.",
                    "The thing that sold best at one of our machines has been taken out of it.",
                )
            return
        machine.stock[product] -= 1
        price = PRODUCTS[product]
        machine.log.log_action("sell", {"product": product, "price": price, "left": machine.stock[product]})
        booked = machine.booked_as.get(product, product)
        machine.total += price
        machine.worth[product] += RATE * ((price if booked == product else 0.0) - machine.worth[product])
        if booked != product:
            machine.worth[booked] += RATE * (price - machine.worth[booked])
        reward = machine.learning.log_reward(booked, price, round(machine.total, 2))
        if booked != product and self.wrong < 3:
            self.wrong += 1
            case.root(reward)
        if self.rng.random() < 0.3:
            machine.learning.log_learning_update(
                "worth", {name: round(value, 2) for name, value in sorted(machine.worth.items())}
            )

    def review(self, machine: Machine) -> None:
        scores = machine.worth
        weakest = min(scores, key=lambda name: scores[name] / PRODUCTS[name])
        if scores[weakest] > 0.5 * PRODUCTS[weakest]:
            self.log["planner_1"].log_decision(
                "keep_products", {"machine": machine.name}, reasoning="all sell"
            )
            return
        dropped = self.log["planner_1"].log_decision(
            "drop_product",
            {"machine": machine.name, "product": weakest, "worth": round(scores[weakest], 2)},
            reasoning="lowest worth",
        )
        taken = self.log["van_3"].log_action("clear_slot", {"machine": machine.name, "product": weakest})
        self.case.hop(dropped, taken)
        del machine.worth[weakest]

    def trade(self, now: int) -> None:
        case, rng = self.case, self.rng
        for machine in self.machines.values():
            marked = machine is self.chosen and case.kind in ("wrong_credit", "config_change")
            for product in rng.sample(sorted(PRODUCTS), 2):
                if not (marked and product == self.product) and product in machine.worth:
                    self.sell(machine, product, now)
            if marked:
                self.sell(machine, self.product, now)
            if now in self.reviews[machine.name]:
                self.review(machine)

    # Filling

    def take_from_depot(self, van: str, product: str, wanted: int) -> None:
        """Read the list, take from the shelf, and write the list back."""
        read = self.listed[product]
        self.log[van].log_action("read_list", {"product": product, "listed": read})
        self.pick(van, product, wanted, read)

    def pick(self, van: str, product: str, wanted: int, read: int) -> str:
        if self.shelf[product] < wanted:
            short = self.log[van].log_action(
                "find_shelf_short", {"product": product, "wanted": wanted, "there": self.shelf[product]}
            )
            self.case.symptom(
                short,
                f"{van} stood in front of an almost bare shelf of {product} although the list promises plenty.",
                f"The list has more {product} than there is. Has somebody stolen {wanted - self.shelf[product]} of them?",
                "What the depot's list says and what lies there no longer agree for one of the products.",
            )
            return short
        self.shelf[product] -= wanted
        self.listed[product] = read - wanted
        return self.log[van].log_action(
            "write_list", {"product": product, "taken": wanted, "was": read, "listed": self.listed[product]}
        )

    def fill(self, now: int) -> None:
        case, rng = self.case, self.rng
        needy = {
            machine.name: [
                product
                for product in sorted(PRODUCTS)
                if product in machine.worth and machine.stock[product] < machine.refill_below
            ]
            for machine in self.machines.values()
        }
        tour = self.log["planner_1"].log_action(
            "plan_tour", {"stops": [name for name, short in needy.items() if short]}
        )
        if case.has("config_change") and now == case.end - 1:
            case.hop(tour)
        for name, short in needy.items():
            for product in short:
                van = rng.choice(("van_1", "van_2"))
                self.take_from_depot(van, product, FULL - self.machines[name].stock[product])
                self.machines[name].stock[product] = FULL
                self.log[van].log_action("fill_slot", {"machine": name, "product": product, "to": FULL})
        if rng.random() < 0.4:
            self.take_from_depot("van_3", rng.choice(sorted(PRODUCTS)), rng.randint(1, 4))
        if case.has("lost_update") and now == case.begin:
            one, two = self.log["van_1"], self.log["van_2"]
            product = self.product
            first = one.log_action("read_list", {"product": product, "listed": self.listed[product]})
            if case.strikes("lost_update", now):
                read = self.listed[product]
                second = two.log_action("read_list", {"product": product, "listed": read})
                earlier = self.pick("van_1", product, 35, read)
                case.root(self.pick("van_2", product, 3, read), earlier, second, first)
            else:
                self.pick("van_1", product, 35, self.listed[product])
                two.log_action("read_list", {"product": product, "listed": self.listed[product]})
                self.pick("van_2", product, 3, self.listed[product])
        elif now % 13 == 4:
            listed_now = {product: self.listed[product] for product in rng.sample(sorted(PRODUCTS), 2)}
            pair = list(zip(("van_1", "van_2"), listed_now, strict=True))
            for van, product in pair:
                self.log[van].log_action("read_list", {"product": product, "listed": listed_now[product]})
            for van, product in pair:
                self.pick(van, product, rng.randint(2, 5), listed_now[product])
        for product, listed in self.listed.items():
            if listed < 180:
                self.listed[product] += 200
                self.shelf[product] += 200
                self.log["depot"].log_action(
                    "take_delivery", {"product": product, "crates": 20, "was": listed, "listed": listed + 200}
                )
        if case.has("lost_update") and now == case.end:
            order = self.log["planner_1"].log_decision(
                "fair_order",
                {"product": self.product, "amount": self.listed[self.product] - 10},
                reasoning="village fair",
            )
            case.trigger(order)
            case.hop(order)
            self.take_from_depot("van_3", self.product, self.listed[self.product] - 10)

    # Money

    def settle(self, now: int) -> None:
        case, rng = self.case, self.rng
        for cash in ("cash_east", "cash_west"):
            for owner in self.owners_of(cash):
                takings = round(rng.uniform(18, 60), 2)
                exact = takings * 0.125
                share = math.floor(exact * 10) / 10 if cash in self.coarse else round(exact, 2)
                self.owed[owner] += exact
                self.paid[owner] += share
                paid = self.log[cash].log_action(
                    "pay_share", {"owner": owner, "takings": takings, "percent": 12.5, "share": share}
                )
                if cash in self.coarse:
                    if self.wrong < 3:
                        case.root(paid)
                        self.wrong += 1
                    case.hop(paid)
        for owner in OWNERS:
            if now in self.reckonings[owner]:
                missing = self.owed[owner] - self.paid[owner]
                expected = round(self.owed[owner], 2)
                reckoned = self.log[owner].log_action(
                    "add_up_shares", {"expected": expected, "received": round(self.paid[owner], 2)}
                )
                if missing > 0.1:
                    case.symptom(
                        reckoned,
                        f"{owner} has added everything up and received {missing:.2f} less than the percentage would give.",
                        f"My shares are {missing:.2f} short of what they should be, and each single one looks all right.",
                        "The owners get a bit too little from us. It is only cents, but always the same way.",
                    )

    # Cold

    def cool(self, now: int) -> None:
        case, rng = self.case, self.rng
        for machine in self.machines.values():
            machine.sensor_error += machine.creep
            inside = 4 + machine.sensor_error + rng.uniform(-0.2, 0.2)
            report = machine.log.log_action(
                "report_fridge",
                {
                    "shown_degrees": round(inside - machine.sensor_error, 1),
                    "compressor_s": round(300 - 22 * machine.sensor_error + rng.uniform(-5, 5)),
                },
            )
            if machine.creep and self.wrong < 3:
                self.wrong += 1
                case.root(report)
                case.hop(report)
            if rng.random() < 0.12:
                probe = self.log[rng.choice(("van_1", "van_2"))].log_action(
                    "probe_fridge", {"machine": machine.name, "degrees": round(inside, 1)}
                )
                if machine.creep:
                    case.hop(probe)
            if inside > 9:
                sour = self.log["van_3"].log_action(
                    "throw_away",
                    {
                        "machine": machine.name,
                        "product": "milk",
                        "because": "sour",
                        "bottles": machine.stock["milk"],
                    },
                )
                case.symptom(
                    sour,
                    f"The milk at {machine.name} was sour, all of it. It shows four degrees!",
                    f"van_3 threw away all milk from {machine.name}. It had not reached its date.",
                    "Customers of one of the machines complain of bad milk, although it was delivered fresh.",
                )
        if rng.random() < 0.1:
            name = rng.choice(MACHINES)
            self.log["van_3"].log_action(
                "throw_away",
                {"machine": name, "product": "bun", "because": "date", "bottles": rng.randint(1, 4)},
            )

    # Everyday life

    def begin(self, now: int) -> None:
        """Do what the plan has for the step at which the fault begins."""
        case, machine = self.case, self.chosen
        if case.has("wrong_credit"):
            struck = case.strikes("wrong_credit", now)
            done = self.log["fitter_1"].log_action(
                "relabel_slots", {"machine": machine.name, "slots": len(PRODUCTS)}
            )
            if struck:
                machine.booked_as = {self.product: "bun"}
                case.root(done)
        if case.has("config_change"):
            value = 0 if case.strikes("config_change", now) else 7
            machine.stock[self.product] = min(FULL, case.end - now)
            changed = self.office.log_config(f"refill_below/{machine.name}", machine.refill_below, value)
            machine.refill_below = value
            if case.strikes("config_change", now):
                case.root(changed)
        if case.has("slow_drift"):
            fitted = self.log["fitter_2"].log_action(
                "replace_sensor", {"machine": machine.name, "part": "S4"}
            )
            if case.strikes("slow_drift", now):
                machine.creep = 5.4 / (case.end - now)
                case.root(fitted)
        if case.has("rounding_leak"):
            release = self.log[self.cash].log_action("install_calculator", {"release": "5.2"})
            if case.strikes("rounding_leak", now):
                self.coarse.add(self.cash)
                case.root(release)

    def everyday(self, now: int) -> None:
        rng = self.case.rng(f"everyday/{now}")
        if rng.random() < 0.45:
            name = rng.choice([machine.name for machine in self.others()])
            setting, values = rng.choice(
                (
                    (f"refill_below/{name}", (4, 5, 6, 7, 8)),
                    (f"lamp/{name}", (1, 2, 3)),
                    (f"beep/{name}", (0, 1, 2)),
                )
            )
            old, new = rng.sample(values, 2)
            self.office.log_config(setting, old, new)
            if setting.startswith("refill"):
                self.machines[name].refill_below = new
        if rng.random() < 0.12:
            name = rng.choice(MACHINES)
            self.machines[name].log.warning("coin stuck", {"slot": rng.randint(1, 3)})
            self.machines[name].log.log_action("coin_freed", {"shakes": rng.randint(1, 3)})
        if rng.random() < 0.2:
            self.log[rng.choice(("fitter_1", "fitter_2"))].log_action(
                rng.choice(
                    ("wipe_glass", "oil_flap", "change_lamp", "read_meter", "test_lock", "scrape_gum")
                ),
                {"machine": rng.choice(MACHINES)},
            )
        if rng.random() < 0.2:
            machine = rng.choice(self.others())
            machine.learning.log_exploration_exploitation(rng.choice(sorted(PRODUCTS)), True, 0.1)
        if now in self.relabels:
            self.log["fitter_1"].log_action(
                "relabel_slots", {"machine": rng.choice(self.others()).name, "slots": len(PRODUCTS)}
            )
        if now in self.sensors:
            self.log["fitter_2"].log_action(
                "replace_sensor", {"machine": rng.choice(self.others()).name, "part": f"S{rng.randint(5, 9)}"}
            )
        if now in self.programs:
            self.log["cash_east" if self.cash == "cash_west" else "cash_west"].log_action(
                "install_calculator", {"release": f"5.{rng.randint(0, 2)}"}
            )
        if now == self.case.decoy_at:
            self.log["fitter_2"].log_action("reboot_card_reader", {"machine": self.chosen.name})
            self.office.log_config("night_mode", "off", "on")

    def step(self, now: int) -> None:
        self.everyday(now)
        if now == self.case.begin:
            self.begin(now)
        self.trade(now)
        self.fill(now)
        self.settle(now)
        self.cool(now)


def play(case: Case) -> None:
    """Play one session."""
    business = Business(case)
    for now in range(STEPS):
        with tick(now):
            business.step(now)


WORLD = World(
    "vending",
    "bare",
    ("wrong_credit", "lost_update", "rounding_leak", "slow_drift", "config_change"),
    play,
    author=4,
)
