"""A market of grain: farms, scales, a laboratory, dealers, clerks with a book, hauliers, silos and mills."""

from __future__ import annotations

import math
from typing import Any

from Agent import AgentLogger, InteractionLogger, tick
from benchmarks.fault_worlds.kit import Case, World

FARMS = ("Upfield", "Mossgate", "Longacre", "Sandholm", "Brookend")
DEALERS = ("Ames", "Borel", "Cato", "Dietz")
MILLS = ("Lowemill", "Hartmill", "Pikemill")
SCALES, CLERKS = ("weighbridge_a", "weighbridge_b"), ("clerk_ida", "clerk_tom")
HAULIERS = ("Vos", "Kern", "Tamm")
CELLS = {"bread": ("N1", "N2", "Q1", "Q2"), "feed": ("N3", "N4", "Q3", "Q4")}
SILOS = {"N": "silo_north", "Q": "silo_quay"}
ROLES = {
    "farm": FARMS,
    "dealer": DEALERS,
    "mill": MILLS,
    "scale": SCALES,
    "clerk": CLERKS,
    "haulier": HAULIERS,
    "silo": ("silo_north", "silo_quay"),
    "laboratory": ("grain_lab",),
    "broker": ("broker",),
}
TEXTS = {
    "wrong_unit": (
        "Three wagons were agreed by handshake, and what came would not fill a cart. Our stones stand still",
        "{mill} has nothing to grind, hardly anything arrived of what we bought from {dealer}",
        "far too little grain came for our order, {dealer} swears he sold us more",
    ),
    "rounding_leak": (
        "We add up our loads every evening, and your statement is short of that",
        "{farm}: your sum is below ours, although no single load looks wrong. With {other} we never had that",
        "statement short, a bit is missing on everything we bring, ask {other}, they are fine",
    ),
    "lost_update": (
        "they say there is not enough in the silo for us, but we have seen it full to the roof",
        "{mill} was refused the barge although {dealer} had the grain lying there",
        "Grain refused, the paper says one thing and the heap another",
    ),
    "misrouted_thing": (
        "our loaves stay flat since the last delivery, it is not bread wheat!",
        "{mill} got something that will not rise. The {other} people always deliver well",
        "flat bread all week, this was animal feed",
    ),
    "swapped_fields": (
        "the last delivery is mouldy and warm, we sent the whole barge back",
        "{mill} cannot use what came from {dealer}, it smells of cellar",
        "Mould in the grain from {dealer}, and it had been tested as dry",
    ),
}


class Market:
    """The grain, and what is written about it."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng, self.now, self.serial = case, case.rng("grain"), 0, 100
        self.logs = {name: AgentLogger(name, role) for role, names in ROLES.items() for name in names}
        self.trades = {name: InteractionLogger(name, "dealer") for name in DEALERS}
        self.book = {(dealer, silo): 900.0 for dealer in DEALERS for silo in SILOS.values()}
        self.heap = dict(self.book)
        self.wet: set[str] = set()
        self.weak: set[str] = set()
        self.rounding = dict.fromkeys(SCALES, "nearest")
        self.due: dict[int, list[dict[str, Any]]] = {}
        self.sums = {farm: [0.0, 0.0, 0.0] for farm in FARMS}
        self.leaking: list[str] = []
        self.farm, self.other = self.rng.sample(FARMS, 2)
        self.mill, self.dealer = self.rng.choice(MILLS), self.rng.choice(DEALERS)
        self.scale, self.cell = self.rng.choice(SCALES), self.rng.choice(CELLS["bread"])
        self.silo = SILOS[self.cell[0]]

    def act(self, agent: str, name: str, **data: object) -> str:
        """Record an action."""
        return self.logs[agent].log_action(name, data)

    def complain(self, event: str) -> None:
        """Note what a mill or a farm writes."""
        words = {"mill": self.mill, "dealer": self.dealer, "farm": self.farm, "other": self.other}
        self.case.symptom(event, *(text.format(**words) for text in TEXTS[self.case.kind]))

    def weigh(self, farm: str, scale: str) -> tuple[str, float]:
        """Weigh a load; return the lot and its booked weight."""
        rng = self.rng
        self.serial += 1
        lot, gross, tare = f"L{self.serial}", rng.randint(24_000, 40_000), rng.randint(9_000, 13_000)
        exact = (gross - tare) / 1000
        down = self.rounding[scale] == "down"
        net = math.floor(exact * 10) / 10 if down else round(exact, 1)
        weighed = self.act(scale, "weigh", lot=lot, farm=farm, gross_kg=gross, tare_kg=tare, net_t=net)
        for place, value in enumerate((exact, net, 1)):
            self.sums[farm][place] += value
        if down and len(self.leaking) < 3:
            self.leaking.append(weighed)
            self.case.root(weighed)
        return lot, net

    def load(
        self, farm: str, scale: str, dealer: str, *, planned: bool = False
    ) -> tuple[tuple[str, str], float]:
        """Bring a load: weigh, grade, buy, dry, and unload; return the account and the weight."""
        case, rng = self.case, self.rng
        lot, net = self.weigh(farm, scale)
        protein, moisture = round(rng.uniform(9.8, 13.9), 1), round(rng.uniform(11.0, 17.9), 1)
        quality, clerk_cell = ("bread" if protein >= 11.5 else "feed"), rng.random()
        hours = rng.randint(3, 9)
        if planned:
            protein, moisture = (10.4, 13.1) if case.has("misrouted_thing") else (12.6, 17.2)
            quality = "feed" if case.has("misrouted_thing") else "bread"
        free = [cell for cell in CELLS[quality] if cell != self.cell or self.now < case.begin]
        cell = self.cell if planned and case.has("swapped_fields") else rng.choice(free)
        probe = round(moisture + rng.uniform(-0.4, 0.4), 1)
        self.act(farm, "hand_in_sample", lot=lot, hand_probe=probe, crop="wheat")
        swapped = planned and case.strikes("swapped_fields", self.now)
        shown = (moisture, protein) if swapped else (protein, moisture)
        graded = self.act("grain_lab", "grade", lot=lot, protein=shown[0], moisture=shown[1])
        price = round(140 + 6 * shown[0] + rng.uniform(-4, 4), 2)
        self.trades[dealer].log_interaction("buy", farm, dealer, lot, {"price": price, "tonnes": net})
        silo = SILOS[cell[0]]
        if shown[1] > 15.0:
            self.act(silo, "dry", lot=lot, hours=hours)
        elif moisture > 15.0:
            self.wet.add(cell)
        self.act(dealer, "send_to", lot=lot, cell=cell)
        if clerk_cell < 0.06 and not planned:  # the cell is full: another one of the same sort
            cell = free[(free.index(cell) + 1) % len(free)]
        if planned and case.strikes("misrouted_thing", self.now):
            cell = self.cell
        unloaded = self.act(rng.choice(HAULIERS), "unload", lot=lot, cell=cell, tonnes=net)
        if quality == "feed" and cell in CELLS["bread"]:
            self.weak.add(cell)
        if planned:
            case.root(graded if case.has("swapped_fields") else unloaded)
        account = (dealer, SILOS[cell[0]])
        self.heap[account] += net
        return account, net

    def read(self, clerk: str, account: tuple[str, str]) -> float:
        """Read a balance from the book."""
        self.act(clerk, "read_book", dealer=account[0], silo=account[1], tonnes=round(self.book[account], 1))
        return self.book[account]

    def write(self, clerk: str, account: tuple[str, str], tonnes: float) -> str:
        """Write a balance into the book."""
        self.book[account] = tonnes
        return self.act(clerk, "write_book", dealer=account[0], silo=account[1], tonnes=round(tonnes, 1))

    def agree(
        self, mill: str, dealer: str, due: int, tonnes: float, cell: str, *, planned: bool = False
    ) -> None:
        """Sell grain to a mill; the broker writes the contract."""
        self.serial += 1
        name, wagons = f"C{self.serial}", tonnes <= 90 and tonnes % 10 == 0
        amount = {"amount": tonnes / 10, "unit": "wagons"} if wagons else {"amount": tonnes, "unit": "t"}
        self.trades[dealer].log_interaction("agree", mill, dealer, name, amount)
        wrong = planned and self.case.strikes("wrong_unit", self.now)
        quantity = tonnes / 10 if wrong else tonnes
        written = self.act("broker", "write_contract", contract=name, quantity=quantity, due=due)
        if planned and self.case.has("wrong_unit"):
            self.case.root(written)
        contract: dict[str, Any] = {"name": name, "mill": mill, "dealer": dealer, "cell": cell}
        contract |= {"quantity": quantity, "need": tonnes, "planned": planned}
        self.due.setdefault(due, []).append(contract)

    def deliver(self, contract: dict[str, Any]) -> str:
        """Fetch what a mill bought; return what the mill says of it."""
        name, mill, dealer, cell = (contract[key] for key in ("name", "mill", "dealer", "cell"))
        quantity, need = contract["quantity"], contract["need"]
        clerk, haulier, silo = self.rng.choice(CLERKS), self.rng.choice(HAULIERS), SILOS[cell[0]]
        way = [self.act(dealer, "call_off", contract=name, tonnes=quantity, cell=cell)]
        balance, account, said = self.read(clerk, (dealer, silo)), (dealer, silo), ""
        if balance < quantity:
            way.append(self.act(clerk, "refuse", contract=name, tonnes=quantity, balance=round(balance, 1)))
            said = self.act(mill, "wait", contract=name)
        else:
            self.write(clerk, account, balance - quantity)
            self.heap[account] -= quantity
            way.append(self.act(silo, "release", contract=name, cell=cell, tonnes=quantity))
            way.append(self.act(haulier, "carry", contract=name, to=mill, tonnes=quantity))
            self.act(mill, "receive", contract=name, tonnes=quantity)
            if quantity < 0.8 * need:
                said = self.act(
                    mill, "stop_stones", contract=name, reason="bin empty", hours=self.now % 9 + 3
                )
            elif cell in self.wet:
                said = self.act(mill, "send_back", contract=name, smell="musty")
            elif cell in self.weak:
                said = self.act(mill, "bake_test", contract=name, height_mm=41)
            else:
                self.act(mill, "bake_test", contract=name, height_mm=self.now % 20 + 80)
        if contract["planned"] and said:
            self.case.hop(*way)
        return said

    def statement(self, farm: str) -> str:
        """Compare a farm's own sum with the book; return the farm's query if it is short by half a sack a load."""
        exact, booked, loads = self.sums[farm]
        self.act("clerk_ida", "send_statement", farm=farm, tonnes=round(booked, 1))
        compared = self.act(farm, "add_up", own_t=round(exact, 2), statement_t=round(booked, 1))
        self.sums[farm] = [0.0, 0.0, 0.0]
        if exact - booked > 0.025 * loads + 0.1 and loads > 5:
            self.case.hop(compared)
            return self.act(farm, "query_statement", short_t=round(exact - booked, 2))
        return ""


def play(case: Case) -> None:
    """Play a season at the market."""
    days = case.rng("size").choice((20, 40, 90, 160, 220))
    case.window(days, shortest=5 if case.has("rounding_leak") else 1)
    market = Market(case)
    for market.now in range(days):
        with tick(market.now):
            if market.now == case.begin:
                _begin(market)
            _everyday(market)
            if market.now == case.end:
                _end(market)
            for contract in market.due.pop(market.now, []):
                said = market.deliver(contract)
                if said and contract["planned"]:
                    market.complain(said)


def _begin(market: Market) -> None:
    """Do the act of the plan, rightly or wrongly."""
    case, now, rng = market.case, market.now, market.case.rng("plan")
    account = (market.dealer, market.silo)
    if case.has("wrong_unit"):
        market.agree(market.mill, market.dealer, case.end, 30.0, market.cell, planned=True)
    elif case.has("rounding_leak"):
        market.statement(market.farm)
        down = case.strikes("rounding_leak", now)
        market.rounding[market.scale] = "down" if down else "nearest"
        case.root(
            market.act(market.scale, "service", by="maker", zero_kg=0, rounding=market.rounding[market.scale])
        )
    elif case.has("lost_update"):
        first, second = rng.sample(CLERKS, 2)
        one, two = (market.weigh(farm, market.scale)[1] for farm in rng.sample(FARMS, 2))
        market.heap[account] += one + two
        balance = market.read(first, account)
        if case.strikes("lost_update", now):
            market.write(second, account, market.read(second, account) + two)
            case.root(market.write(first, account, balance + one))
        else:
            market.write(first, account, balance + one)
            market.write(second, account, market.read(second, account) + two)
    else:
        account, net = market.load(market.farm, market.scale, market.dealer, planned=True)
        market.write("clerk_tom", account, market.read("clerk_tom", account) + net)


def _end(market: Market) -> None:
    """Let happen what needs the act of the plan to have been right."""
    case, account = market.case, (market.dealer, market.silo)
    if case.has("rounding_leak"):
        if query := market.statement(market.farm):
            market.complain(query)
    elif case.has("lost_update"):
        whole = round(market.heap[account] - 4, 1)
        market.agree(market.mill, market.dealer, market.now, whole, market.cell, planned=True)
    elif not case.has("wrong_unit"):
        market.agree(market.mill, market.dealer, market.now, 120.0, market.cell, planned=True)


def _everyday(market: Market) -> None:
    """Loads, contracts, services, statements, settings and chores of every day."""
    rng, case, now = market.rng, market.case, market.now
    spared = (market.dealer, market.silo)
    for number in range(rng.randint(4, 7)):
        farm = market.farm if number == 0 else rng.choice(FARMS)
        scale = market.scale if farm == market.farm else rng.choice(SCALES)
        account, net = market.load(farm, scale, rng.choice(DEALERS))
        clerk, other = rng.sample(CLERKS, 2)
        balance = market.read(clerk, account)
        if rng.random() < 0.1:  # the other clerk looks at the same account, and reads again before writing
            market.read(other, account)
        market.write(clerk, account, balance + net)
    for _ in range(rng.randint(1, 3)):
        dealer, cell = rng.choice(DEALERS), rng.choice(CELLS["bread"])
        tonnes = rng.choice((3.0, 20.0, 30.0, 50.0, 47.5, 64.2))
        mill, due = rng.choice(MILLS), now + rng.randint(1, 25)
        if due < case.begin or (cell != market.cell and (dealer, SILOS[cell[0]]) != spared):
            market.agree(mill, dealer, due, tonnes, cell)
    one, two, three, four = (rng.random() for _ in range(4))
    if one < 0.08:
        market.act(
            rng.choice([s for s in SCALES if s != market.scale]),
            "service",
            by="maker",
            zero_kg=0,
            rounding="nearest",
        )
    if two < 0.2:
        market.statement(rng.choice([farm for farm in FARMS if farm not in (market.farm, market.other)]))
    if three < 0.12:
        key, who = (
            rng.choice(("queue_lights", "opening_hour", "fan_speed")),
            rng.choice((*SCALES, *SILOS.values())),
        )
        market.logs[who].log_state_change(
            {key: rng.randint(1, 4)}, {key: rng.randint(5, 9)}, trigger="by hand"
        )
    if 0.2 < three < 0.28:
        market.logs[rng.choice(HAULIERS)].error(
            "tyre burst, changed on the road", extra={"minutes": rng.randint(20, 90)}
        )
    if four < 0.3:
        market.act(
            rng.choice((*SILOS.values(), "grain_lab")),
            rng.choice(("sweep", "set_traps", "calibrate")),
            minutes=rng.randint(5, 60),
        )
    if 0.5 < four < 0.58:
        market.act(rng.choice(MILLS), "stop_stones", reason="belt", hours=rng.randint(1, 5))
    if now == case.decoy_at:
        market.logs[rng.choice(list(SILOS.values()))].warning("dust alarm, reset", extra={"minutes": 2})


WORLD = World(
    "grainmarket",
    "bare",
    ("wrong_unit", "rounding_leak", "lost_update", "misrouted_thing", "swapped_fields"),
    play,
    author=11,
)
