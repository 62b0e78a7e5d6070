"""An antiques saleroom: lots come in, are weighed, catalogued, sold and paid out. Plain functions with typed loggers."""

from __future__ import annotations

import math
from types import SimpleNamespace

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

GRAMS = {
    "thimble": (5, 9),
    "spoon": (18, 60),
    "salt cellar": (35, 120),
    "cream jug": (90, 260),
    "teapot": (420, 800),
    "salver": (700, 1900),
}
STAFF = {
    "counter": "front",
    "rostrum": "sale",
    "mr_finch": "valuer",
    "ms_obrien": "cataloguer",
    "cashier": "office",
    "bookkeeper": "office",
    "porter_lane": "porter",
    "porter_webb": "porter",
}
SETTINGS = ("heating_hours", "viewing_minutes", "catalogue_font", "bid_step_pct", "hall_lamps")


def furnish(case: Case) -> SimpleNamespace:
    """Set up the staff, their loggers and the books."""
    rng = case.rng("saleroom")
    return SimpleNamespace(
        case=case,
        rng=rng,
        log={name: AgentLogger(name, role) for name, role in STAFF.items()},
        floor=InteractionLogger("rostrum", "sale"),
        gauge=PerformanceLogger("mr_finch", "valuer"),
        office=SystemLogger("office_system"),
        day=0,
        lots={},
        cards={},
        promised={},
        bills=[],
        serial=1100 + case.seed % 500,
        client=20 + case.seed % 40,
        lot="",
        fund=0.0,
        tally=0.0,
        places=4,
        shares=0,
    )


def new_client(room: SimpleNamespace) -> str:
    room.client += room.rng.randint(1, 3)
    return f"C-{room.client}"


def take_in(room: SimpleNamespace, *, planned: bool = False) -> None:
    """A seller brings a piece; it is weighed, given a reserve and a card."""
    case, rng, log = room.case, room.rng, room.log
    room.serial += 1
    lot, seller, thing = f"{room.serial}", new_client(room), rng.choice(sorted(GRAMS))
    sale = case.end if planned else room.day + rng.randint(1, 9)
    if planned:
        thing, room.lot = rng.choice(("teapot", "salver")), lot
    grams = rng.randint(*GRAMS[thing])
    came = log["counter"].log_action("accept", {"lot": lot, "seller": seller, "piece": f"silver {thing}"})
    shown = float(grams)
    if planned and case.has("wrong_unit") and case.strikes("wrong_unit", room.day):
        shown = round(grams / 31.1, 1)
    weighed = log["mr_finch"].log_action("weigh", {"lot": lot, "weight": shown})
    pence = rng.uniform(58, 66)
    reserve = math.ceil(shown * pence / 100)
    valued = log["mr_finch"].log_decision(
        "reserve", {"lot": lot, "pounds": reserve}, f"{pence:.1f} pence of metal"
    )
    if planned and case.has("wrong_unit"):
        case.root(weighed)
        case.hop(valued)
    room.lots[lot] = {"seller": seller, "sale": sale, "worth": grams * pence / 100, "thing": thing}
    room.cards[lot] = {"rev": 1, "reserve": reserve, "text": f"a silver {thing}"}
    room.promised[lot] = reserve
    log["ms_obrien"].log_state_change({"lot": lot}, {"lot": lot, **room.cards[lot]}, "new card")
    if rng.random() < 0.3:
        log["porter_webb"].log_action(
            "put_on_shelf", {"lot": lot, "bay": rng.randint(1, 30), "after": came[-3:]}
        )


def save_card(room: SimpleNamespace, who: str, lot: str, base: dict[str, object], **change: object) -> str:
    """Write a card as it was read, with one field changed."""
    old = room.cards[lot]
    room.cards[lot] = {**base, **change, "rev": old["rev"] + 1}
    return str(
        room.log[who].log_state_change(
            {"lot": lot, "rev": old["rev"]}, {"lot": lot, **room.cards[lot]}, "saved"
        )
    )


def read_card(room: SimpleNamespace, who: str, lot: str) -> tuple[str, dict[str, object]]:
    card = dict(room.cards[lot])
    return room.log[who].log_action(
        "read_card", {"lot": lot, "rev": card["rev"], "reserve": card["reserve"]}
    ), card


def revise(room: SimpleNamespace, lot: str) -> None:
    """The seller asks for another reserve while the cataloguer polishes the text."""
    case, rng = room.case, room.rng
    planned = lot == room.lot
    factor, year = rng.uniform(1.1, 1.6), rng.randint(1720, 1890)
    raised = math.ceil(room.promised[lot] * (3 if planned else factor))
    opened, draft = read_card(room, "ms_obrien", lot)
    _, card = read_card(room, "counter", lot)
    agreed = save_card(room, "counter", lot, card, reserve=raised)
    room.promised[lot] = raised
    if not (planned and case.strikes("lost_update", room.day)):
        _, draft = read_card(room, "ms_obrien", lot)
    wrote = save_card(room, "ms_obrien", lot, draft, text=f"a silver {room.lots[lot]['thing']}, c. {year}")
    if planned:
        case.root(wrote, opened, agreed)


def sell(room: SimpleNamespace, lot: str) -> None:
    """Call a lot: bids come until nobody goes on, and the hammer falls if the reserve is met."""
    case, rng, log = room.case, room.rng, room.log
    entry, card = room.lots.pop(lot), room.cards[lot]
    called = log["rostrum"].log_action("call_lot", {"lot": lot, "reserve": card["reserve"]})
    base = room.promised[lot] / 3 if lot == room.lot and case.has("lost_update") else card["reserve"]
    paddle, bid = 0, 0.85 * base
    for _ in range(rng.randint(3, 6)):
        paddle, bid = rng.randint(200, 420), bid + max(1, 0.07 * base)
        room.floor.log_interaction("bid", f"paddle_{paddle}", "rostrum", lot, {"pounds": round(bid)})
    price = round(bid)
    sold = price >= card["reserve"]
    fell = log["rostrum"].log_decision(
        "hammer" if sold else "pass", {"lot": lot, "pounds": price, "paddle": paddle}
    )
    if lot == room.lot:
        case.hop(called, fell)
    if not sold:
        log["porter_lane"].log_action("carry_back", {"lot": lot, "to": entry["seller"]})
        return
    exact = price * 0.0625 + paddle / 1000
    share = math.floor(exact * 10**room.places) / 10**room.places
    booked = log["cashier"].log_action("book_fund_share", {"lot": lot, "share": share})
    room.fund, room.tally = room.fund + share, room.tally + exact
    if case.has("rounding_leak") and room.day >= case.begin and room.shares < 3:
        room.shares += 1
        case.root(booked)
    paid = log["cashier"].log_action(
        "pay_seller", {"lot": lot, "seller": entry["seller"], "pounds": round(price * 0.82, 2)}
    )
    if price < 0.9 * room.promised[lot] or price < 0.4 * entry["worth"]:
        about = "reserve" if price < 0.9 * room.promised[lot] else "price"
        case.hop(paid)
        at_desk(room, about, lot=lot, seller=entry["seller"], thing=entry["thing"], price=price)


def treaty(room: SimpleNamespace, *, planned: bool = False) -> None:
    """Two clients agree without a sale; the money is due later."""
    case, rng, log = room.case, room.rng, room.log
    buyer, seller = new_client(room), new_client(room)
    if rng.random() < 0.5:
        buyer, seller = seller, buyer
    number, pounds = f"T{room.serial}/{room.client}", rng.randint(60, 2400)
    due = case.end if planned else room.day + rng.randint(1, 12)
    log["counter"].log_action(
        "private_sale", {"deal": number, "buyer": buyer, "seller": seller, "pounds": pounds}
    )
    debit, credit = buyer, seller
    if planned and case.strikes("swapped_fields", room.day):
        debit, credit = credit, debit
    line = log["cashier"].log_action(
        "ledger_line", {"deal": number, "debit": debit, "credit": credit, "pounds": pounds}
    )
    if planned:
        case.root(line)
    room.bills.append((due, number, debit, credit, buyer, pounds))


def send_bills(room: SimpleNamespace) -> None:
    """What is due goes out by post; clients come when they get what is not theirs."""
    log, case = room.log, room.case
    for entry in [each for each in room.bills if each[0] <= room.day]:
        room.bills.remove(entry)
        _, number, debit, credit, buyer, pounds = entry
        billed = log["bookkeeper"].log_action(
            "make_out_bill", {"deal": number, "to": debit, "pounds": pounds}
        )
        posted = log["porter_lane"].log_action("post_letter", {"to": debit, "deal": number})
        log["cashier"].log_action(
            "transfer", {"to": credit, "pounds": round(0.9 * pounds, 2), "deal": number}
        )
        if debit != buyer:
            case.trigger(billed)
            case.hop(posted)
            at_desk(room, "bill", lot=number, seller=debit, thing="piece", price=pounds)


def count_fund(room: SimpleNamespace) -> None:
    """The porters add up their share from the hammer list, and look into the box now and then."""
    case, log = room.case, room.log
    counted = log["porter_webb"].log_action(
        "count_fund", {"in_box": round(room.fund, 2), "from_hammer_list": round(room.tally, 2)}
    )
    if room.tally - room.fund > 0.8 and room.day >= case.end:
        case.hop(counted)
        asked = log["bookkeeper"].log_action("look_at_fund", {"in_box": round(room.fund, 2)})
        case.hop(asked)
        gap = round(room.tally - room.fund, 2)
        at_desk(room, "fund", lot="", seller="porter_webb", thing="fund", price=gap)


def at_desk(room: SimpleNamespace, about: str, **words: object) -> None:
    """Somebody comes to the counter and is not pleased."""
    event = room.log["counter"].log_action(
        "visitor", {"from": words["seller"], "about": about, "lot": words["lot"]}
    )
    room.case.symptom(event, *(text.format(**words) for text in TEXTS[about]))


TEXTS = {
    "reserve": (
        "lot {lot} was knocked down for {price} pounds, I had asked for three times that at least",
        "{seller} is at the desk: the {thing} was not to be sold so low, we had agreed on a limit",
        "Why did rostrum let my {thing} go for {price}?",
    ),
    "price": (
        "They sold my silver {thing} for {price} pounds, the metal alone is worth far more!",
        "how can lot {lot} have made {price} pounds only, asks {seller}",
        "rostrum gave a heavy {thing} away for next to nothing",
    ),
    "bill": (
        "I sold something at the counter and now I am to pay {price} pounds for it?",
        "{seller} got a bill for deal {lot} and expected money",
        "the bookkeeper wants {price} pounds from me, for my own piece, why",
    ),
    "fund": (
        "the porters' fund is {price} pounds short of what the sales should have brought",
        "{seller} counts less in the box than the hammer list gives",
        "Where does the missing money of our fund go? Nobody took any out",
    ),
}


def settings(room: SimpleNamespace) -> None:
    """The office changes this and that."""
    case, rng = room.case, room.rng
    if case.has("rounding_leak") and room.day == case.begin:
        old, room.places = room.places, 0 if case.strikes("rounding_leak") else 3
        case.root(room.office.log_config("share_places", old, room.places))
    elif rng.random() < 0.12 and not case.begin <= room.day <= case.end + 2:
        old, room.places = room.places, 7 - max(3, room.places)
        room.office.log_config("share_places", old, room.places)
    for _ in range(rng.choice((0, 1, 2, 2))):
        room.office.log_config(rng.choice(SETTINGS), rng.randint(1, 4), rng.randint(5, 9))


def chores(room: SimpleNamespace) -> None:
    """What else happens in the house."""
    rng, log = room.rng, room.log
    room.gauge.log_metric("strongroom_humidity", round(rng.uniform(38, 47), 1))
    who = rng.choice(sorted(STAFF))
    if rng.random() < 0.6:
        log[who].log_action(
            rng.choice(("dust_shelves", "answer_phone", "wind_clocks")), {"minutes": rng.randint(3, 50)}
        )
    if rng.random() < 0.25:
        log[who].warning(
            rng.choice(("card reader slow, second try", "label fell off", "line busy")),
            {"n": rng.randint(1, 4)},
        )
    if room.day == room.case.decoy_at:
        log["porter_lane"].error("lift stuck, freed", {"minutes": rng.randint(5, 60)})
        log["rostrum"].log_state_change({"gavel": "ivory"}, {"gavel": "box"}, "spare one")


def open_day(room: SimpleNamespace) -> None:
    """One day, from the first client to the last lot."""
    case, rng, now = room.case, room.rng, room.day
    settings(room)
    if (now == case.begin and case.has("wrong_unit")) or (now == case.begin - 1 and case.has("lost_update")):
        take_in(room, planned=True)
    for _ in range(rng.choice((2, 2, 3))):
        take_in(room)
    open_lots = [lot for lot in sorted(room.lots) if lot != room.lot and room.lots[lot]["sale"] > now]
    chosen = rng.sample(open_lots, min(len(open_lots), rng.choice((0, 1, 1))))
    if now == case.begin and case.has("lost_update"):
        chosen.append(room.lot)
    for lot in chosen:
        revise(room, lot)
    if now == case.begin and case.has("swapped_fields"):
        treaty(room, planned=True)
    if rng.random() < 0.6:
        treaty(room)
    for lot in [each for each in sorted(room.lots) if room.lots[each]["sale"] <= now]:
        sell(room, lot)
    send_bills(room)
    if rng.random() < 0.4 or now == case.end:
        count_fund(room)
    chores(room)


def play(case: Case) -> None:
    """Play some months of days."""
    days = case.rng("days").choice((25, 45, 65, 85))
    case.window(days)
    room = furnish(case)
    for room.day in range(days):
        open_day(room)


WORLD = World(
    "saleroom",
    "bare",
    ("rounding_leak", "lost_update", "wrong_unit", "swapped_fields"),
    play,
    23,
)
