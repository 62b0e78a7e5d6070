"""A chain of bakeries by night and day: orders, dough, ovens, vans, cards. Typed loggers and metrics; no ticks."""

from __future__ import annotations

import math

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

SHOPS = ("Market Street", "Station Hall", "Harbour Lane", "Castle Hill")
CAFES = ("Anker", "Bellis", "Corso", "Dahlia", "Eckstein", "Fiore")
OVENS = ("oven_1", "oven_2", "oven_3")
VANS = ("van_red", "van_blue")
PRICES = (285, 345, 419, 199, 255)  # cents; ten cents earn a point
ROLL, LOAF = 45, 310

Order = dict[str, int]


class Chain:
    """The chain, with the café, the shop and the card at which the plan of the case shows."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("bread")
        roles = dict.fromkeys(SHOPS, "shop") | dict.fromkeys(CAFES, "café") | dict.fromkeys(OVENS, "oven")
        roles |= dict.fromkeys(VANS, "van") | dict.fromkeys(
            ("dough_room", "head_office", "card_desk"), "office"
        )
        self.log = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.probe = {name: PerformanceLogger(name, "oven") for name in OVENS}
        self.talk, self.settings = InteractionLogger(), SystemLogger("office")
        self.cafe, self.shop, self.oven = (self.rng.choice(group) for group in (CAFES, SHOPS, OVENS))
        self.elsewhere = self.rng.choice([name for name in SHOPS if name != self.shop])
        self.neighbour = self.rng.choice([name for name in CAFES if name != self.cafe])
        self.card = f"card {self.rng.randint(1000, 4999)}"
        self.sheets: dict[tuple[str, int], Order] = {}
        self.wishes: dict[tuple[str, int], Order] = {}
        self.open_invoices: dict[str, dict[str, int]] = {name: {} for name in CAFES}
        self.owed = dict.fromkeys(CAFES, 0)
        self.limits = dict.fromkeys(CAFES, 520_000)
        self.invoices = 0
        self.points: dict[str, int] = {}
        self.carried: dict[str, int] = {}
        self.spent_cents = 0
        self.drifted = 0

    def act(self, who: str, name: str, **data: object) -> str:
        """Record one act."""
        return self.log[who].log_action(name, data)

    def say(self, event: str, *texts: str) -> None:
        """A user complains, in one of these wordings."""
        fill = {
            "cafe": self.cafe,
            "neighbour": self.neighbour,
            "card": self.card,
            "elsewhere": self.elsewhere,
        }
        self.case.symptom(event, *(text.format(**fill) for text in texts))


def _edit(chain: Chain, cafe: str, day: int, *, mine: bool) -> None:
    """Two shops change one sheet: the first the rolls, the second the loaves."""
    rng, case, key = chain.rng, chain.case, (cafe, day)
    one, other = rng.sample(SHOPS, 2)
    rolls, loaves, again = rng.randint(20, 60), rng.randint(5, 30), rng.random() < 0.3
    early = case.strikes("lost_update") if mine else again
    sheet = chain.sheets[key]
    chain.act(one, "read_sheet", customer=cafe, for_day=day, **sheet)
    seen = dict(sheet)
    if early:
        reading = chain.act(other, "read_sheet", customer=cafe, for_day=day, **seen)
    sheet["rolls"] += rolls
    written = chain.act(one, "write_sheet", customer=cafe, for_day=day, **sheet)
    if not (mine and early):  # reads, or reads again
        seen = dict(sheet)
        reading = chain.act(other, "read_sheet", customer=cafe, for_day=day, **seen)
    seen["loaves"] += loaves
    chain.sheets[key] = seen
    again_written = chain.act(other, "write_sheet", customer=cafe, for_day=day, **seen)
    chain.wishes[key] = {
        "rolls": chain.wishes[key]["rolls"] + rolls,
        "loaves": chain.wishes[key]["loaves"] + loaves,
    }
    if mine:
        case.root(again_written, reading)
        case.hop(written)


def _take(chain: Chain, cafe: str, day: int, *, mine: bool = False) -> None:
    """A café orders by telephone for some day."""
    rng, case, key = chain.rng, chain.case, (cafe, day)
    wish = {"rolls": rng.randint(20, 150), "loaves": rng.randint(20, 150)}
    if mine:
        wish = {"rolls": rng.randint(110, 150), "loaves": rng.randint(20, 60)}
    shop = chain.shop if mine else rng.choice(SHOPS)
    chain.talk.log_interaction("phone_order", cafe, shop, data={"for_day": day, **wish})
    entered = dict(wish)
    if mine and case.strikes("swapped_fields"):
        entered = {"rolls": wish["loaves"], "loaves": wish["rolls"]}
    event = chain.act(shop, "enter_order", customer=cafe, for_day=day, **entered)
    chain.sheets[key], chain.wishes[key] = entered, wish
    if mine and case.has("swapped_fields"):
        case.root(event)


def _orders(chain: Chain, now: int, nights: int) -> None:
    """Orders and changes of the day, for days near and far."""
    rng, case = chain.rng, chain.case
    if now == case.begin and (case.has("lost_update") or case.has("swapped_fields")):
        _take(chain, chain.cafe, case.end, mine=True)
        if case.has("lost_update"):
            _edit(chain, chain.cafe, case.end, mine=True)
    for _ in range(rng.randint(2, 4)):
        cafe, day = rng.choice(CAFES), now + round(math.exp(rng.uniform(0, math.log(0.6 * nights))))
        if (cafe, day) not in chain.sheets and (cafe, day) != (chain.cafe, case.end):
            _take(chain, cafe, day)
            if rng.random() < 0.3:
                _edit(chain, cafe, day, mine=False)


def _bake(chain: Chain, now: int) -> None:
    """Bake for the shops; a probe tells how hot the loaves are inside."""
    rng, case = chain.rng, chain.case
    if now == case.begin or rng.random() < 0.04:
        oven = chain.oven if now == case.begin else rng.choice(OVENS)
        old = rng.randint(100, 500)
        changed = chain.log[oven].log_state_change(
            {"burner": f"B{old}"}, {"burner": f"B{old + 7}"}, trigger="service"
        )
        if now == case.begin and case.has("slow_drift"):
            case.root(changed)
    for number, shop in enumerate(SHOPS):
        oven = chain.oven if shop == chain.shop else OVENS[(number + now) % 3]
        batch, loaves = f"N{now}-{number}", rng.randint(60, 140)
        core = 97 + rng.uniform(-0.7, 0.7)
        if case.strikes("slow_drift") and now >= case.begin and oven == chain.oven:
            core -= 6 * (now - case.begin + 1) / (case.end - case.begin + 1)
        baked = chain.act(oven, "bake", batch=batch, loaves=loaves, degrees=rng.choice((225, 230, 235)))
        measured = chain.probe[oven].log_metric("core_temperature", round(core, 1), "C", {"batch": batch})
        if case.strikes("slow_drift") and now >= case.begin and oven == chain.oven and chain.drifted < 3:
            chain.drifted += 1
            case.root(measured)
        van = rng.choice(VANS)
        brought = chain.act(van, "deliver", to=shop, batch=batch, loaves=loaves)
        reason = rng.choice(("too dark", "squashed", "hard"))
        returned, some = rng.random() < 0.06, rng.randint(1, 30)
        if core < 91.5 and shop == chain.shop:
            case.hop(baked, brought)
            event = chain.act(shop, "take_back", batch=batch, loaves=some, reason="doughy")
            chain.say(
                event,
                "the bread is like chewing gum inside, I took two loaves back and was not the only one",
                "raw dough in the middle. The loaf I got at {elsewhere} on the same day was fine",
                "half of the shop stood there with bread that was not done",
            )
        elif returned:
            chain.act(shop, "take_back", batch=batch, loaves=some, reason=reason)


def _invoice(chain: Chain, cafe: str, cents: int, now: int, *, slip: bool) -> None:
    """Book what was delivered; a booking that was made twice by mistake is cancelled."""
    case = chain.case
    chain.invoices += 1
    number = f"R{chain.invoices:05}"
    chain.open_invoices[cafe][number] = cents
    booked = 1
    chain.act("head_office", "book_invoice", invoice=number, customer=cafe, cents=cents)
    mine = case.has("doubled_act") and cafe == chain.cafe and now == case.begin
    if mine and case.strikes("doubled_act", now):
        booked += 1
        case.root(chain.act("head_office", "book_invoice", invoice=number, customer=cafe, cents=cents))
    elif slip and not mine:
        chain.act("head_office", "book_invoice", invoice=number, customer=cafe, cents=cents)
        chain.act("head_office", "cancel_booking", invoice=number, customer=cafe, cents=cents)
    chain.owed[cafe] += booked * cents


def _serve(chain: Chain, now: int) -> None:
    """Mix, deliver and check what the cafés ordered for this day."""
    rng, case = chain.rng, chain.case
    special = case.has("doubled_act") and now in {case.begin, case.end}
    if special and (chain.cafe, now) not in chain.sheets:
        _take(chain, chain.cafe, now)
    for cafe in [name for name in CAFES if (name, now) in chain.sheets]:
        sheet, wish = chain.sheets.pop((cafe, now)), chain.wishes.pop((cafe, now))
        guests, fallen, slip = rng.randint(20, 60), rng.random() < 0.04, rng.random() < 0.06
        cents, van = sheet["rolls"] * ROLL + sheet["loaves"] * LOAF, rng.choice(VANS)
        if case.has("doubled_act") and now == case.end and cafe == chain.cafe:
            old, chain.limits[cafe] = (
                chain.limits[cafe],
                sum(chain.open_invoices[cafe].values()) + cents + 500,
            )
            case.trigger(
                chain.settings.log_config("credit_limit", old, chain.limits[cafe], {"customer": cafe})
            )
        owed, limit = chain.owed[cafe], chain.limits[cafe]
        decided = chain.log["head_office"].log_decision(
            "credit",
            {
                "customer": cafe,
                "owed": owed,
                "price": cents,
                "limit": limit,
                "deliver": owed + cents <= limit,
            },
        )
        if owed + cents > limit:
            case.hop(decided, chain.act(van, "skip_stop", customer=cafe))
            event = chain.log[cafe].warning("opened without bread", {"guests": guests})
            chain.say(
                event,
                "we always pay on time and today the driver simply drove past our door",
                "no breakfast at {cafe} this morning, the bread did not come",
                "they tell us that we owe too much. We paid everything, like {neighbour} next door",
            )
            continue
        mixed = chain.act("dough_room", "mix", customer=cafe, **sheet)
        brought = chain.act(van, "deliver", to=cafe, **sheet)
        _invoice(chain, cafe, cents, now, slip=slip)
        if sheet == wish:
            if fallen:
                chain.log[cafe].warning("a tray fell off the van", {"rolls": guests // 4})
            continue
        case.hop(mixed, brought)
        event = chain.log[cafe].warning("breakfast called off", {"guests": guests})
        if case.has("lost_update"):
            chain.say(
                event,
                "far too few rolls for our big breakfast though I rang up twice to get more",
                "the rolls for {cafe} ran out at nine, we had asked for a lot more than that",
                "we got the old number of rolls. {neighbour} changed theirs on the same day and that worked",
            )
        else:
            chain.say(
                event,
                "a mountain of bread and hardly any rolls, what shall our guests have for breakfast",
                "{cafe} had ordered mostly rolls, and now look at all these loaves",
                "wedding breakfast spoiled, nobody eats whole loaves there. {neighbour} had to help us out",
            )


def _pay(chain: Chain, now: int) -> None:
    """Cafés pay what is open, invoice by invoice; a limit that was low for a day is raised again."""
    if chain.case.has("doubled_act") and now == chain.case.end:
        old, chain.limits[chain.cafe] = chain.limits[chain.cafe], 520_000
        chain.settings.log_config("credit_limit", old, 520_000, {"customer": chain.cafe})
    for cafe in CAFES:
        total, soon = sum(chain.open_invoices[cafe].values()), chain.rng.random() < 0.1
        if total > 250_000 or (total and soon):
            chain.act(cafe, "pay", invoices=list(chain.open_invoices[cafe]), cents=total)
            chain.open_invoices[cafe].clear()
            chain.owed[cafe] -= total


def _sell(chain: Chain, now: int) -> None:
    """Sell to people with cards, book their points, and hand out gifts for points."""
    rng, case = chain.rng, chain.case
    plan = [(f"card {rng.randint(5000, 5060)}", rng.choice(SHOPS)) for _ in range(5)]
    if case.has("rounding_leak") and now <= case.end:
        plan += [(chain.card, chain.shop)] * 3
    for card, shop in plan:
        cents = rng.choice(PRICES)
        chain.spent_cents += cents if card == chain.card else 0
        exact = cents + chain.carried.get(card, 0)
        earned, chain.carried[card] = divmod(exact, 10)
        low = case.strikes("rounding_leak") and now >= case.begin and shop == chain.shop
        if low:
            earned, chain.carried[card] = cents // 10, 0
        event = chain.act(shop, "book_points", card=card, cents=cents, points=earned)
        chain.points[card] = chain.points.get(card, 0) + earned
        if low and len(case.roots) < 3:
            case.root(event)
    asks = [
        (card, rng.choice((40, 90, 200)), rng.choice(SHOPS)) for card, _ in plan[:5] if rng.random() < 0.1
    ]
    if case.has("rounding_leak") and now == case.end:
        asks.append((chain.card, chain.spent_cents // 10, chain.elsewhere))
    for card, price, shop in asks:
        told = chain.act("card_desk", "tell_balance", card=card, points=chain.points[card], shop=shop)
        if chain.points[card] >= price:
            chain.points[card] -= price
            chain.act(shop, "hand_out_gift", card=card, points=price)
            continue
        event = chain.act(shop, "refuse_gift", card=card, points=price)
        if card == chain.card:
            case.hop(told)
            chain.say(
                event,
                "I kept every receipt, added them up, and I should have enough for the cake by now",
                "they would not give me my cake at {elsewhere}, some points are missing",
                "{card} has less on it than I have bought for",
            )


def _chores(chain: Chain, now: int) -> None:
    """Cleaning, settings and mishaps."""
    rng = chain.rng
    if rng.random() < 0.3:
        chain.act(
            rng.choice((*SHOPS, *OVENS)),
            rng.choice(("sweep", "count_trays", "check_lamps")),
            minutes=rng.randint(3, 30),
        )
    if rng.random() < 0.08:
        chain.settings.log_config(
            rng.choice(("shop_music", "window_lights")), rng.randint(1, 4), rng.randint(5, 9)
        )
    if rng.random() < 0.04:
        cafe, limit = rng.choice(CAFES), rng.randint(46, 60) * 10_000
        chain.settings.log_config("credit_limit", chain.limits[cafe], limit, {"customer": cafe})
        chain.limits[cafe] = limit
    if rng.random() < 0.08:
        chain.log[rng.choice(VANS)].warning("stuck in traffic", {"minutes": rng.randint(5, 25)})
    if now == chain.case.decoy_at:
        chain.log[rng.choice(SHOPS)].warning("power cut", {"minutes": rng.randint(2, 9)})


def play(case: Case) -> None:
    """Play night after night."""
    chain = Chain(case)
    nights = chain.rng.choice((20, 50, 110, 300))
    case.window(nights, shortest=2)
    for now in range(nights):
        _chores(chain, now)
        _orders(chain, now, nights)
        _bake(chain, now)
        _serve(chain, now)
        _pay(chain, now)
        _sell(chain, now)


WORLD = World(
    "bakeries",
    "bare",
    ("slow_drift", "rounding_leak", "lost_update", "swapped_fields", "doubled_act"),
    play,
    author=10,
)
