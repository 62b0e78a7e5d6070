"""A food bank: lots with dates, household cards, parcels for the counter and for homes, and a van."""

from __future__ import annotations

from dataclasses import dataclass

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

ITEMS = ("rice", "lentils", "oats", "soup", "beans", "peas", "fishcakes")
SPECIAL = "glutenfree_mix"
PACKERS = ("packer_ida", "packer_jon", "packer_liv")
DONORS = ("mill_road_shop", "harvest_club", "station_bakery")
STREETS = ("Elm Row", "Oak Lane", "Mill Street", "Quay Side", "Hill Path")
NAMES = ("abara", "bianchi", "cohen", "duarte", "eriksen", "fofana", "gruber", "hansen", "ivanov", "jensen")
CAPACITY = 6
WARM, COLD = -2, -18


@dataclass
class Lot:
    """A lot on the shelf: the date on its card, and what is true of it."""

    number: str
    item: str
    card_date: int
    true_date: int
    degrees: int = COLD


@dataclass
class Card:
    """The card of a household."""

    number: str
    household: str
    address: str
    lives_at: str
    open: bool = True


@dataclass
class Wish:
    """A parcel for a home, with the day by which it was promised."""

    household: str
    promised: int
    item: str
    target: bool = False


class FoodBank:
    """The food bank, played day by day."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("days")
        self.days = self.rng.randint(55, 110)
        self.begin, self.end = case.window(self.days)
        who = case.rng("who")
        self.household, self.namesake = who.sample(NAMES, 2)
        self.desk = AgentLogger("intake_desk", "intake")
        self.scanner = AgentLogger("label_scanner", "tool")
        self.stock = AgentLogger("stock_keeper", "stock")
        self.registrar = AgentLogger("registrar", "office")
        self.phone = AgentLogger("phone_desk", "office")
        self.lead = AgentLogger("shift_lead", "office")
        self.counter = AgentLogger("counter", "counter")
        self.van = AgentLogger("van_driver", "transport")
        self.packers = [AgentLogger(name, "packer") for name in PACKERS]
        self.donors = {name: AgentLogger(name, "donor") for name in DONORS}
        self.homes = {name: AgentLogger(name, "household") for name in NAMES}
        self.cards = {
            name: Card(f"H{20 + place}", name, street, street)
            for place, name in enumerate(NAMES)
            if (street := f"{STREETS[place % len(STREETS)]} {place + 3}")
        }
        self.shelf: list[Lot] = []
        self.wishes: list[Wish] = []
        self.numbers = iter(range(1_200, 99_999))
        self.home_first = True
        self.asked = case.rng("asked").randint(self.begin, self.end - 1)

    def take_in(
        self, item: str, date: int, degrees: int = COLD, read: int | None = None, probe: bool = True
    ) -> tuple[str, str, str]:
        """Take a lot in: announce, receive, read the label, probe what is frozen, and put it on the shelf."""
        lot = Lot(f"L{next(self.numbers)}", item, date if read is None else read, date, degrees)
        donor = self.donors[self.rng.choice(DONORS)]
        donor.log_action("announce", {"lot": lot.number, "item": item, "best_before_day": date})
        received = self.desk.log_action("receive_lot", {"lot": lot.number, "item": item})
        label = self.scanner.log_action("read_label", {"lot": lot.number, "best_before_day": lot.card_date})
        if probe:
            self.desk.log_action("probe", {"lot": lot.number, "degrees": degrees + self.rng.randint(0, 2)})
            if degrees > -10:
                refused = self.desk.log_action("refuse_lot", {"lot": lot.number, "item": item})
                return received, label, refused
        data = {"lot": lot.number, "item": item, "use_by": lot.card_date, "bay": self.rng.randint(1, 9)}
        self.shelf.append(lot)
        return received, label, self.stock.log_action("shelve", data)

    def sort_out(self, now: int) -> None:
        """Take lots off the shelf that are past the date on their card."""
        for lot in [one for one in self.shelf if one.card_date < now]:
            self.shelf.remove(lot)
            self.stock.log_action("sort_out", {"lot": lot.number, "item": lot.item, "use_by": lot.card_date})

    def pack(self, household: str, item: str, target: bool) -> tuple[list[Lot], str]:
        """Pack a parcel of lots that have to go first; return them with the event."""
        rng = self.case.rng("pack") if target else self.rng
        wanted = {item, *rng.sample(ITEMS, 2)}
        lots = []
        for one in sorted(wanted):
            there = sorted((lot for lot in self.shelf if lot.item == one), key=lambda lot: lot.card_date)
            if there:
                lots.append(there[0])
                if one != SPECIAL and rng.random() < 0.3:
                    self.shelf.remove(there[0])
        packer = rng.choice(self.packers)
        for lot in lots:
            event = packer.log_action("take_from_lot", {"lot": lot.number, "for": household})
            if target and lot.item == SPECIAL and self.case.kind in ("trusted_tool", "omitted_step"):
                self.case.hop(event)
        data = {"for": household, "lots": [lot.number for lot in lots]}
        return lots, packer.log_action("close_parcel", data)

    def fault(self, now: int) -> None:
        """Do what the plan has for the day on which the fault can begin."""
        case, rng = self.case, self.case.rng("plan")
        card = self.cards[self.household]
        if case.has("trusted_tool"):
            wrong = case.strikes("trusted_tool", now)
            read = self.end + rng.randint(6, 30) if wrong else None
            _, label, _ = self.take_in(SPECIAL, self.end - 1, read=read)
            case.root(label)
        if case.has("omitted_step"):
            skip = case.strikes("omitted_step", now)
            received, label, shelved = self.take_in(SPECIAL, self.days + 40, degrees=WARM, probe=not skip)
            case.root(label, received, shelved)
            case.hop(shelved)
        if case.has("wrong_merge"):
            other = self.cards[self.namesake]
            if case.strikes("wrong_merge", now):
                merged = self.registrar.log_action(
                    "merge_cards", {"keep": other.number, "drop": card.number, "why": "same person"}
                )
                case.root(merged)
                card.open = False
        if case.has("out_of_order"):
            first, second = f"{rng.choice(STREETS)} 71", f"{rng.choice(STREETS)} 84"
            for street in (first, second):
                self.homes[self.household].log_action("call_in", {"new_address": street})
                self.phone.log_action("take_note", {"card": card.number, "address": street})
            card.lives_at = second
            order = (second, first) if case.strikes("out_of_order", now) else (first, second)
            events = [self.change_address(card, street) for street in order]
            case.root(events[1], events[0])
        if case.has("starved_queue"):
            wrong = case.strikes("starved_queue", now)
            self.home_first = not wrong
            value = "counter, homes" if wrong else "homes, counter"
            case.root(self.lead.log_action("set_order", {"list": "parcels", "order": value}))

    def change_address(self, card: Card, street: str) -> str:
        """Write an address onto a card."""
        card.address = street
        return self.registrar.log_action("update_card", {"card": card.number, "address": street})

    def serve(self, now: int) -> None:
        """Pack and bring or hand out as many parcels as there are hands for; the rest at the counter gets a bag."""
        rng = self.rng
        at_counter = [name for name in rng.sample(NAMES, CAPACITY + 1) if name != self.household][:CAPACITY]
        homes, self.wishes = self.wishes, []
        hands = CAPACITY
        for turn in ("homes", "counter") if self.home_first else ("counter", "homes"):
            if turn == "homes":
                for wish in homes:
                    if hands > 0 and (not wish.target or now >= wish.promised):
                        hands -= 1
                        self.bring(now, wish)
                    else:
                        self.wishes.append(wish)
                continue
            for name in at_counter:
                if hands > 0:
                    hands -= 1
                    self.pack(name, rng.choice(ITEMS), False)
                    self.counter.log_action("hand_over", {"card": self.cards[name].number})
                else:
                    self.counter.log_action("give_bag", {"card": self.cards[name].number})

    def bring(self, now: int, wish: Wish) -> None:
        """Pack a parcel and bring it to the address on the card."""
        case, card = self.case, self.cards[wish.household]
        if not card.open:
            return
        lots, closed = self.pack(wish.household, wish.item, wish.target)
        driven = self.van.log_action("drive_to", {"parcel_for": card.number, "address": card.address})
        if wish.target:
            case.hop(closed, driven)
        if card.address != card.lives_at:
            self.van.log_action("leave_at_door", {"address": card.address})
            if wish.target:
                self.complain(now, wish, "miss_parcel", "nothing came")
            return
        self.van.log_action("ring", {"address": card.address})
        bad = any(lot.true_date < now or lot.degrees > -10 for lot in lots if lot.item == SPECIAL)
        if wish.target and bad:
            self.complain(now, wish, "throw_away", "the food smelled")
            return
        self.homes[wish.household].log_action("unpack", {"lots": len(lots)})

    def complain(self, now: int, wish: Wish, what: str, words: str) -> None:
        """Let a household find out; this is the symptom."""
        event = self.homes[wish.household].log_action(what, {"promised": wish.promised})
        self.case.symptom(
            event,
            f"{wish.household} called on day {now}: {words}. How could that be?",
            f"What happened to the help for {wish.household}? On day {now} they told us: {words}.",
            f"One family was let down on day {now} ({words}), all others were content.",
            f"A mother was in tears on the phone: {words}. We have always been so careful.",
        )

    def everyday(self, now: int) -> None:
        """Take lots in, keep cards, change lists, and look after the rooms."""
        case, rng = self.case, self.rng
        for _ in range(rng.randint(2, 4)):
            item = rng.choice(ITEMS)
            date = now + rng.randint(3, 40)
            read = date + rng.randint(20, 30) if rng.random() < 0.04 else None
            self.take_in(
                item,
                date,
                degrees=WARM if rng.random() < 0.04 else COLD,
                read=read,
                probe=rng.random() < 0.93,
            )
        free = [name for name in NAMES if name not in (self.household, self.namesake)]
        if rng.random() < 0.2:
            name = rng.choice(free)
            spare = f"H{next(self.numbers)}"
            self.registrar.log_action("open_card", {"card": spare, "name": name})
            self.registrar.log_action(
                "merge_cards", {"keep": self.cards[name].number, "drop": spare, "why": "same person"}
            )
        if rng.random() < 0.25:
            name, street = rng.choice(free), f"{rng.choice(STREETS)} {rng.randint(20, 60)}"
            card = self.cards[name]
            self.homes[name].log_action("call_in", {"new_address": street})
            self.phone.log_action("take_note", {"card": card.number, "address": street})
            card.lives_at = street
            self.change_address(card, street)
        if rng.random() < 0.15:
            name = rng.choice(("shelves", "sorting", "cleaning"))
            order = rng.choice(("front, back", "back, front", "left, right"))
            self.lead.log_action("set_order", {"list": name, "order": order})
        hurry = rng.random() < 0.12 and not self.begin - 3 <= now <= self.end
        if hurry and self.case.has("starved_queue"):
            self.home_first = False
            self.lead.log_action("set_order", {"list": "parcels", "order": "counter, homes"})
        if rng.random() < 0.12:
            self.lead.log_action("set_threshold", {"crates_per_trolley": rng.randint(4, 9)})
        if rng.random() < 0.06:
            self.scanner.warning("no bar code seen, lamp wiped, read at the second try")
        for packer in self.packers:
            packer.log_action("fold_boxes", {"boxes": rng.randint(10, 30)})
        if now == case.decoy_at:
            self.van.warning("detour because of a street party, all stops made")

    def wish(self, now: int) -> None:
        """Let households ask for parcels at home."""
        case, rng = self.case, self.rng
        free = [name for name in NAMES if name not in (self.household, self.namesake)]
        for _ in range(rng.randint(0, 2)):
            name, promised = rng.choice(free), now + rng.randint(2, 9)
            if case.has("starved_queue") and self.begin - 2 <= now <= self.end:
                promised = self.end + rng.randint(2, 9)
            self.ask(Wish(name, promised, rng.choice(ITEMS)))
        if now == self.asked:
            self.ask(Wish(self.household, self.end, SPECIAL, target=True))

    def ask(self, wish: Wish) -> None:
        """Note a wish."""
        self.homes[wish.household].log_action("ask_for_parcel", {"item": wish.item})
        data = {"card": self.cards[wish.household].number, "item": wish.item, "promised_day": wish.promised}
        event = self.phone.log_action("promise", data)
        if wish.target:
            self.case.hop(event)
        self.wishes.append(wish)

    def play(self) -> None:
        """Play all days."""
        for now in range(self.days):
            with tick(now):
                if now == 0:
                    for name, card in self.cards.items():
                        data = {"card": card.number, "name": name, "address": card.address}
                        self.registrar.log_action("open_card", data)
                    self.take_in(SPECIAL, self.days + 60)
                self.everyday(now)
                if now == self.begin:
                    self.fault(now)
                self.sort_out(now)
                self.wish(now)
                self.serve(now)
                if not self.home_first and not self.begin <= now <= self.end:
                    self.home_first = True
                    self.lead.log_action("set_order", {"list": "parcels", "order": "homes, counter"})
                for wish in self.wishes:
                    if wish.target and now == wish.promised:
                        self.complain(now, wish, "miss_parcel", "nothing came")
                if now == self.end and not self.cards[self.household].open:
                    self.complain(
                        now, Wish(self.household, now, SPECIAL, target=True), "miss_parcel", "nothing came"
                    )


def play(case: Case) -> None:
    """Play a case."""
    FoodBank(case).play()


WORLD = World(
    "foodbank",
    "bare",
    ("trusted_tool", "omitted_step", "wrong_merge", "out_of_order", "starved_queue"),
    play,
    author=7,
)
