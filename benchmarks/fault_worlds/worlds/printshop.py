"""A print shop: tickets, plates in racks, ink by the gram, cards for paper, and customers who send goods back."""

from __future__ import annotations

import math
from dataclasses import dataclass

from Agent import AgentLogger, InteractionLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

CUSTOMERS = ("acorn_cafe", "birch_school", "cobalt_gym", "dune_choir", "elder_clinic", "fjord_tours")
STOCKS = {"ivory_90": 2.8, "white_120": 3.7, "linen_170": 5.2, "board_250": 7.6, "craft_100": 3.1}
FORMATS = ((148, 210), (210, 297), (105, 148), (99, 210), (120, 170))
PRESSES = ("press_lark", "press_wren")
RACKS = ("D1", "D2", "D3", "D4")
POUNDS_PER_KILO = 2.2046
USUAL_DENSITY, PALE_BELOW = 1.42, 1.17
CAN_GRAMS, MOST_INK_GRAMS = 60.0, 27.0


@dataclass
class Job:
    """What a customer wants, and the ticket that the shop works by."""

    number: str
    customer: str
    wanted: tuple[int, int]
    ticket: tuple[int, int]
    loose: bool
    stock: str
    sheets: int
    press: str
    target: bool = False


class Shop:
    """The shop, played job by job."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("jobs")
        self.steps = self.rng.randint(130, 260)
        self.begin, self.end = case.window(self.steps)
        self.lag = self.end - self.begin
        who = case.rng("who")
        self.customer, self.neighbour, *_ = who.sample(CUSTOMERS, 3)
        self.stock, self.press = who.choice(tuple(STOCKS)), who.choice(PRESSES)
        self.ordered = case.rng("ordered").randint(self.begin, self.end - 1)
        self.desk = InteractionLogger("front_desk", "desk")
        self.tickets = AgentLogger("front_desk", "desk")
        self.planner = AgentLogger("planner", "planner")
        self.store = AgentLogger("paper_store", "store")
        self.plates = AgentLogger("plate_keeper", "plates")
        self.presses = {name: AgentLogger(name, "press") for name in PRESSES}
        self.bindery = AgentLogger("bindery", "bindery")
        self.courier = InteractionLogger("courier", "courier")
        self.customers = {name: AgentLogger(name, "customer") for name in CUSTOMERS}
        self.system = SystemLogger("shop")
        self.index = {name: RACKS[place // 2] for place, name in enumerate(CUSTOMERS)}
        self.index[self.neighbour] = self.index[self.customer]
        self.racks: dict[str, list[str]] = {rack: [] for rack in RACKS}
        for name, rack in self.index.items():
            self.racks[rack].append(name)
        self.cards = dict(STOCKS)
        self.piles = dict.fromkeys(STOCKS, 20_000)
        self.due: dict[int, list[Job]] = {}
        self.numbers = iter(range(2_100, 9_999))
        self.wrong_prints = 0
        self.coarse_g = 5 if self.lag > 30 else 10
        margin = max(MOST_INK_GRAMS, 0.5 * self.coarse_g * self.lag - CAN_GRAMS / 4)
        self.ink_there = self.ink_card = margin + CAN_GRAMS
        self.low_ink, self.coarse = margin, False

    def order(self, due: int, customer: str, target_at: int | None = None) -> None:
        """Take an order, and open its ticket; `target_at` is the step at which the one that matters is taken."""
        case, target = self.case, target_at is not None
        rng = case.rng("target") if target else self.rng
        wanted, sheets = rng.choice(FORMATS), rng.randint(40, 160) * 10
        loose = rng.random() < 0.3 and not target
        turned = loose and rng.random() < 0.35
        stock, press = rng.choice(tuple(STOCKS)), rng.choice(PRESSES)
        if target:
            stock, press = self.stock, self.press
            turned = case.strikes("swapped_fields", target_at)
        elif stock == self.stock and case.has("wrong_unit"):
            stock = next(name for name in STOCKS if name != self.stock)
        ticket = (wanted[1], wanted[0]) if turned else wanted
        job = Job(f"J{next(self.numbers)}", customer, wanted, ticket, loose, stock, sheets, press, target)
        data = {"product": "flyers" if loose else "booklets", "wide": wanted[0], "high": wanted[1]}
        self.desk.log_interaction("order", customer, "front_desk", job.number, data | {"sheets": sheets})
        data = {"job": job.number, "width_mm": ticket[0], "height_mm": ticket[1], "stock": stock, "slot": due}
        opened = self.tickets.log_action("open_ticket", data)
        if target and case.has("swapped_fields"):
            case.root(opened)
        elif target and case.has("misrouted_thing"):
            case.trigger(opened)
        self.due.setdefault(due, []).append(job)

    def produce(self, step: int, job: Job) -> None:
        """Fetch plates, issue paper, print, file the plates again, trim, bring and bill."""
        case, rng, log = self.case, self.case.rng(f"work {job.number}"), self.presses[job.press]
        rack = self.index[job.customer]
        picked = self.planner.log_decision("pick_rack", {"job": job.number, "rack": rack}, "card index")
        pile = self.racks[rack]
        plates = job.customer if job.customer in pile else pile[-1]
        fetched = self.plates.log_action("fetch_plates", {"job": job.number, "rack": rack, "plates": plates})
        pile.remove(plates)
        before = self.piles[job.stock]
        self.piles[job.stock] -= job.sheets
        self.store.log_state_change({job.stock: before}, {job.stock: self.piles[job.stock]}, job.number)
        density = round(self.density(step, job.press) + rng.gauss(0, 0.015), 3)
        needed = round(rng.uniform(16, MOST_INK_GRAMS), 1)
        held = needed > self.ink_there
        if held:
            printed = log.log_action("hold_job", {"job": job.number, "ink_g": needed, "why": "duct is dry"})
            self.ink_there += 4 * CAN_GRAMS
        else:
            self.ink_there -= needed
            data = {"job": job.number, "sheets": job.sheets, "ink_g": needed, "density": density}
            printed = log.log_action("print", data)
        self.note_drift(step, job, printed)
        self.book_ink(step, job, needed)
        self.file(step, job, plates, rng.random())
        size = {"job": job.number, "width_mm": job.ticket[0], "height_mm": job.ticket[1]}
        trimmed = self.bindery.log_action("trim", size)
        kilos = round(job.sheets / 500 * self.cards[job.stock], 1)
        weighed = self.planner.log_action(
            "work_out_freight", {"job": job.number, "stock": job.stock, "kilos": kilos}
        )
        self.courier.log_interaction("deliver", "courier", job.customer, job.number, {"kilos": kilos})
        paths = {"misrouted_thing": (fetched, printed), "wrong_unit": (weighed,), "rounding_leak": (printed,)}
        paths |= {"slow_drift": (trimmed,), "swapped_fields": (trimmed,)}
        case_path = (picked, *paths[case.kind]) if case.has("misrouted_thing") else paths[case.kind]
        late = held and case.has("rounding_leak")
        self.judge(job, plates, density, kilos, case_path, late)

    def density(self, step: int, press: str) -> float:
        """Return the density of a print; behind a blanket that slips it falls by a little each time."""
        gone = step - self.begin if self.case.strikes("slow_drift") and press == self.press else 0
        return USUAL_DENSITY - max(0, gone) * (USUAL_DENSITY - PALE_BELOW + 0.04) / self.lag

    def note_drift(self, step: int, job: Job, printed: str) -> None:
        """Note the first three prints that are wrong."""
        wrong = self.case.strikes("slow_drift") and job.press == self.press and step > self.begin
        if wrong and self.wrong_prints < 3:
            self.wrong_prints += 1
            self.case.root(printed)

    def book_ink(self, step: int, job: Job, grams: float) -> None:
        """Book the ink that a job used, and fill the duct from a can when the card says that it is low."""
        booked = math.floor(grams / self.coarse_g) * self.coarse_g if self.coarse else grams
        event = self.store.log_action("book_ink", {"job": job.number, "grams": booked})
        if self.coarse and self.wrong_prints < 3:
            self.wrong_prints += 1
            self.case.root(event)
        self.ink_card -= booked
        while self.ink_card < self.low_ink:
            self.ink_card += CAN_GRAMS
            self.ink_there += CAN_GRAMS
            left = round(self.ink_card, 1)
            self.store.log_state_change({"ink_g": round(left - CAN_GRAMS, 1)}, {"ink_g": left}, "new can")

    def file(self, step: int, job: Job, plates: str, chance: float) -> None:
        """File plates after use; now and then into the wrong rack, from which they are taken back at once."""
        case, rack = self.case, self.index[plates]
        wrong = next(one for one in reversed(RACKS) if one != rack)
        if job.customer == self.customer and case.strikes("misrouted_thing", step):
            event = self.plates.log_action(
                "file_plates", {"job": job.number, "plates": plates, "rack": wrong}
            )
            case.root(event)
            self.racks[wrong].append(plates)
            return
        if chance < 0.1:
            self.plates.log_action("file_plates", {"job": job.number, "plates": plates, "rack": wrong})
            self.plates.log_action("move_plates", {"plates": plates, "rack": rack, "from": wrong})
        else:
            self.plates.log_action("file_plates", {"job": job.number, "plates": plates, "rack": rack})
        self.racks[rack].append(plates)

    def judge(
        self, job: Job, plates: str, density: float, kilos: float, path: tuple[str, ...], late: bool
    ) -> None:
        """Let the customer look at what came; sending it back is the symptom."""
        case, log = self.case, self.customers[job.customer]
        weight = round(job.sheets / 500 * STOCKS[job.stock], 1)
        size = job.ticket != job.wanted and not job.loose
        bad = late or size or plates != job.customer or density < PALE_BELOW or kilos > 1.5 * weight
        data = {"job": job.number, "weighed_at_home": weight}
        if not bad:
            log.log_action("accept_goods", data)
            return
        reasons = (("late", late), ("cut", size), ("motif", plates != job.customer))
        why = [word for word, there in (*reasons, ("colour", density < PALE_BELOW)) if there] or ["bill"]
        case.hop(*path)
        event = log.log_action("send_back", data | {"why": ", ".join(why)})
        what = {
            "misrouted_thing": "somebody else's artwork",
            "slow_drift": "grey and washed-out pages",
            "wrong_unit": "a carriage charge more than twice too high",
            "rounding_leak": "a delivery a day late",
            "swapped_fields": "booklets lying the wrong way round",
        }[case.kind]
        case.symptom(
            event,
            f"{job.customer} got {what} and is furious. How did it come to this?",
            f"Why did {job.customer} refuse {job.number}? Everybody here says they worked as always.",
            f"We were told off today because of {what}. It had never happened before.",
            f"A regular got {what}, and now wants the money back.",
        )

    def everyday(self, step: int) -> None:
        """Renew cards, change settings, look after the presses."""
        case, rng = self.case, self.rng
        if rng.random() < 0.2:
            stock = rng.choice(tuple(STOCKS))
            if not (stock == self.stock and case.has("wrong_unit") and self.begin <= step <= self.end):
                self.write_card(stock, 1)
        if rng.random() < 0.12:
            name = rng.choice(("oven_celsius", "powder_grains", "night_light", "label_font"))
            self.change_rule(name, rng.randint(1, 50), rng.randint(1, 50))
        for name, log in self.presses.items():
            if rng.random() < 0.08 and not (name == self.press and self.begin < step <= self.end):
                log.log_action("fit_blanket", {"press": name, "batch": rng.choice(("K4", "K5", "K6"))})
            if rng.random() < 0.25:
                log.log_action("wash_rollers", {"press": name, "litres": round(rng.uniform(0.5, 1.5), 1)})
        if rng.random() < 0.04:
            self.bindery.error("blade sensor gave no answer, asked again", {"tries": 2})
        if rng.random() < 0.3:
            self.store.log_action("count_pile", {"stock": rng.choice(tuple(STOCKS)), "by": "eye"})
        for stock, pile in self.piles.items():
            if pile < 4_000:
                self.piles[stock] = pile + 16_000
                self.store.log_state_change({stock: pile}, {stock: pile + 16_000}, "pallet came")
        if step == case.decoy_at:
            self.presses[self.press].warning("paper jam, two sheets lost, cleared at once")

    def change_rule(self, name: str, old: float, new: float) -> str:
        """Change one of the rules of the house."""
        return self.system.log_config("house_rules", {name: old}, {name: new})

    def write_card(self, stock: str, factor: float) -> str:
        """Write a new card for a paper, with what a ream of it weighs."""
        self.cards[stock] = round(STOCKS[stock] * factor * self.rng.uniform(0.98, 1.02), 2)
        return self.store.log_action("write_card", {"stock": stock, "ream_weight": self.cards[stock]})

    def fault(self, step: int) -> None:
        """Do what the plan has for the step at which the fault can begin."""
        case = self.case
        if case.has("wrong_unit"):
            card = self.write_card(self.stock, POUNDS_PER_KILO if case.strikes("wrong_unit", step) else 1)
            case.root(card)
        if case.has("slow_drift"):
            fitted = self.presses[self.press].log_action("fit_blanket", {"press": self.press, "batch": "K5"})
            case.root(fitted)
        if case.has("rounding_leak"):
            self.coarse = case.strikes("rounding_leak", step)
            if self.coarse:
                case.root(self.change_rule("book_ink_in_g", 0.1, self.coarse_g))
            else:
                self.change_rule("powder_grains", 20, 25)
        if case.has("swapped_fields"):
            self.order(self.end, self.customer, step)

    def play(self) -> None:
        """Play all jobs."""
        case, rng = self.case, self.rng
        ahead = [name for name in CUSTOMERS if name != self.customer]
        for step in range(self.steps):
            self.everyday(step)
            if step == self.begin:
                self.fault(step)
            if step == self.ordered and not case.has("swapped_fields"):
                self.order(self.end, self.customer, step)
            quiet = self.begin - 3 <= step <= self.end
            customer, lead = rng.choice(ahead if quiet else CUSTOMERS), rng.randint(1, 12)
            clash = customer == self.customer and self.begin <= step + lead <= self.end
            self.order(step + lead, self.neighbour if clash else customer)
            if case.has("misrouted_thing") and step == self.begin:
                self.order(step, self.customer)
            if step % 7 == 0:
                self.order(step, self.neighbour)
            for job in self.due.pop(step, []):
                self.produce(step, job)


def play(case: Case) -> None:
    """Play a case."""
    Shop(case).play()


WORLD = World(
    "printshop",
    "bare",
    ("slow_drift", "wrong_unit", "rounding_leak", "misrouted_thing", "swapped_fields"),
    play,
    author=7,
)
