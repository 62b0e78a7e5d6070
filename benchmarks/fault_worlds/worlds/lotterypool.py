"""Lottery syndicates: money comes in by standing order, goes out for tickets, and prizes are split by rows.

Plain functions over one book of accounts, with a logger for each sort of fact; no ticks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

SURNAMES = (
    *("Abbott", "Baines", "Corrigan", "Dacosta", "Eklund", "Farrell", "Gupta", "Hatch", "Ibsen", "Jarvis"),
    *("Kowalski", "Lindqvist", "Mbeki", "Novak", "Osei", "Pruitt", "Quigley", "Romano", "Sandoval", "Tran"),
    *("Urbina", "Vickers", "Wojcik", "Xu", "Yardley", "Zeller", "Ashdown", "Birch", "Castell", "Devlin"),
    *("Egan", "Foxley", "Grimes", "Holt", "Ince", "Judd", "Kemp", "Lowry", "Marsh", "Nye", "Orr", "Pell"),
)
CLUBS = ("Foundry", "Night Bus", "Choir", "Canteen", "Post Room", "Bowls")
SHOPS = ("kiosk Elm Road", "kiosk Station", "kiosk Arcade")
ROW = 100  # cents
RESERVE = 3000


@dataclass
class Member:
    """Somebody with rows in a club; `order` is what the bank takes for a draw, from draw `since` on."""

    name: str
    rows: int
    account: str
    order: int = 0
    since: int = 0
    paid_to: str = ""
    funded: int = 0


@dataclass
class Club:
    """A club: its members and its money."""

    name: str
    members: list[Member]
    cents: int = RESERVE
    is_rounded_up: bool = False
    remainders: str = "pot"


@dataclass
class Office:
    """Everything that the office knows; `own` is the club of the case."""

    case: Case
    clubs: dict[str, Club]
    own: Club
    spare: list[str]
    draw: int = 0
    tickets: int = 40
    wrong: int = 0
    marked: list[Member] = field(default_factory=list)
    inbox: dict[str, int] = field(default_factory=dict)


def person(name: str) -> AgentLogger:
    """Return the logger of a member."""
    return AgentLogger(name, "member")


def desk(name: str) -> AgentLogger:
    """Return the logger of somebody who works here."""
    return AgentLogger(name, name.split(" ", maxsplit=1)[0])


def booked(club: Club, cents: int, text: str) -> str:
    """Book money in or out of a club's pot."""
    old, club.cents = club.cents, club.cents + cents
    return desk("bookkeeper").log_state_change(
        {"club": club.name, "pot": old}, {"club": club.name, "pot": club.cents}, trigger=text
    )


def enrol(office: Office, rng: Random, club: Club, first_draw: int, *, planned: bool = False) -> Member:
    """Let somebody fill in a form for a standing order, which the front desk types in."""
    name, rows = office.spare.pop(), rng.randint(2, 5)
    member = Member(name, rows, f"{rng.randint(10**7, 10**8 - 1)}", ROW * rows, first_draw)
    InteractionLogger(name, "member").log_interaction(
        "hand_in_form", name, "front_desk", f"form {name}", {"euro_per_draw": rows, "club": club.name}
    )
    if planned and office.case.strikes("wrong_unit", office.draw):
        member.order = rows
    typed = desk("front_desk").log_action(
        "type_in_order", {"payer": name, "amount": member.order, "from_draw": first_draw, "club": club.name}
    )
    member.paid_to = member.account
    club.members.append(member)
    if planned:
        office.case.root(typed)
    return member


def enrol_pair(office: Office, rng: Random, club: Club, *, planned: bool = False) -> None:
    """Let a couple join on one sheet; sometimes the lines are mixed up and put right at once."""
    one, two = office.spare.pop(), office.spare.pop()
    accounts = [f"{rng.randint(10**7, 10**8 - 1)}" for _ in range(2)]
    slip = rng.random() < 0.25 and not planned
    couple = [Member(one, 1, accounts[0]), Member(two, 4, accounts[1])]
    InteractionLogger(one, "member").log_interaction(
        "hand_in_sheet", one, "front_desk", f"sheet {one}", {one: accounts[0], two: accounts[1]}
    )
    typed = (
        accounts[::-1]
        if slip or (planned and office.case.strikes("swapped_fields", office.draw))
        else accounts
    )
    event = desk("front_desk").log_action(
        "type_in_sheet", {"first": one, "first_account": typed[0], "second": two, "second_account": typed[1]}
    )
    if planned:
        office.case.root(event)
        office.marked = couple
    if slip:
        typed = accounts
        desk("front_desk").log_action(
            "amend_sheet",
            {"first": one, "first_account": typed[0], "second": two, "second_account": typed[1]},
        )
    for member, account in zip(couple, typed, strict=True):
        member.paid_to, member.order, member.since = account, ROW * member.rows, office.draw + 1
        club.members.append(member)


def collect(office: Office, club: Club) -> None:
    """Let the bank take what each standing order says."""
    total = 0
    for member in club.members:
        if member.since > office.draw:
            continue
        event = desk("bank").log_action("direct_debit", {"payer": member.name, "amount": member.order})
        member.funded = member.order // ROW
        total += member.order
        if member in office.marked and office.case.has("wrong_unit"):
            office.case.hop(event)
    booked(club, total, "dues")


def buy(office: Office, rng: Random, club: Club) -> None:
    """Buy a ticket with all rows that are paid for."""
    office.tickets += 1
    ticket = f"T/{office.tickets}"
    rows = {member.name: member.funded for member in club.members if member.since <= office.draw}
    cost = sum(member.order for member in club.members if member.since <= office.draw)
    shop = rng.choice(SHOPS)
    style = rng.choice(("quick pick", "birthdays", "same as last time"))
    chosen = desk("picker").log_decision("choose_rows", {"club": club.name, "rows": rows}, reasoning=style)
    if office.case.has("wrong_unit") and club is office.own and office.draw == office.case.end:
        office.case.hop(chosen)
    sold = desk(shop).log_action("sell_ticket", {"ticket": ticket, "club": club.name, "cents": cost})
    paid = booked(club, -cost, f"ticket {ticket}")
    slip = rng.random() < 0.1 and club is not office.own
    planned = office.case.has("doubled_act") and club is office.own and office.draw == office.case.begin
    if planned:
        office.case.root(sold, paid)
    if slip or (planned and office.case.strikes("doubled_act", office.draw)):
        again = desk(shop).log_action("sell_ticket", {"ticket": ticket, "club": club.name, "cents": cost})
        twice = booked(club, -cost, f"ticket {ticket}")
        if planned:
            office.case.root(again, twice)
    if slip:
        desk(shop).log_action("cancel_sale", {"ticket": ticket, "club": club.name, "cents": cost})
        booked(club, cost, f"cancelled {ticket}")
    for member in club.members:
        if member.since <= office.draw and (rng.random() < 0.15 or member in office.marked):
            look_up(office, member, ticket)


def look_up(office: Office, member: Member, ticket: str) -> None:
    """Let a member look at the ticket."""
    seen = person(member.name).log_action("look_at_ticket", {"ticket": ticket, "my_rows": member.funded})
    if member.funded < member.rows:
        office.case.symptom(
            seen,
            f"{member.name} has no row on ticket {ticket} and is furious, the numbers would have won",
            f"Why was nothing played for {member.name}? The form was handed in properly",
            "somebody pays for a ticket and is not on it. The others in the club are all there",
            f"we left a member out in draw {office.draw}, who did that",
        )


def prize(office: Office, rng: Random, club: Club) -> None:
    """Share out a prize, row by row."""
    members = [member for member in club.members if member.since <= office.draw]
    rows = sum(member.rows for member in members)
    cents = rng.randint(2, 60) * rows + rng.randint(1, rows - 1)
    won = desk("draw_hall").log_action("pay_prize", {"club": club.name, "cents": cents, "draw": office.draw})
    booked(club, cents, "prize")
    each = -(-cents // rows) if club.is_rounded_up else cents // rows
    splitter = f"splitter {list(office.clubs).index(club.name) // 2 + 1}"
    split = desk(splitter).log_action(
        "split", {"club": club.name, "cents": cents, "rows": rows, "per_row": each}
    )
    case = office.case
    if case.has("rounding_leak") and club is office.own and office.draw >= case.begin and office.wrong < 3:
        office.wrong += 1
        case.root(split)
    if case.has("swapped_fields") and club is office.own and office.draw == case.end:
        case.hop(won, split)
    paid = 0
    for number, member in enumerate(members):
        share = each * member.rows
        if club.remainders == "last" and number == len(members) - 1:
            share = max(share, cents - paid)
        paid += share
        sent = desk("bank").log_action(
            "transfer", {"account": member.paid_to, "cents": share, "club": club.name}
        )
        office.inbox[member.paid_to] = office.inbox.get(member.paid_to, 0) + share
        if member in office.marked and case.has("swapped_fields"):
            case.hop(sent)
    out = booked(club, -paid, "shares")
    if case.has("rounding_leak") and club is office.own and office.draw >= case.begin:
        case.hop(out)
    for member in members:
        if rng.random() < 0.2 or (member in office.marked and member.rows > 1):
            read_statement(office, member, each * member.rows)


def read_statement(office: Office, member: Member, expected: int) -> None:
    """Let a member look at what came in."""
    found = office.inbox.get(member.account, 0)
    person(member.name).log_action("read_statement", {"account": member.account, "came_in": found})
    if found < expected:
        event = person(member.name).log_action(
            "phone_office", {"draw": office.draw, "missing": expected - found}
        )
        office.case.symptom(
            event,
            f"{member.name} won four times as much as what arrived",
            f"The bank statement of {member.name} shows {found} cents, it should be {expected}",
            "two people who joined together fell out over their winnings: one got far too much",
            "why did a prize go to the wrong half of a couple?",
        )


def special(office: Office, club: Club, cents: int) -> None:
    """Buy a share in a big draw out of the reserve."""
    asked = person(club.members[0].name).log_action("ask_for_big_draw", {"club": club.name, "cents": cents})
    if club.cents >= cents:
        desk("front_desk").log_action("buy_big_draw", {"club": club.name, "cents": cents})
        booked(club, -cents, "big draw")
        booked(club, cents, "top-up")
        return
    office.case.trigger(asked)
    refused = desk("front_desk").log_decision(
        "turn_down", {"club": club.name, "cents": cents}, reasoning=f"{club.cents} in the pot"
    )
    office.case.symptom(
        refused,
        f"{club.name} cannot play the big draw, {cents - club.cents} cents are missing in the pot",
        f"{club.members[0].name} was turned down because the pot is not full. But nobody took anything out!",
        f"the reserve of {club.name} has been {RESERVE / 100:.2f} for ever. Where did the cents go",
        "A few cents too little in one pot, in the others there is more than there should be",
    )


def wind_up(office: Office, club: Club) -> None:
    """Close a club and give the reserve back to its members."""
    deposit = RESERVE // len(club.members)
    asked = person(club.members[0].name).log_action("give_notice", {"club": club.name, "deposit": deposit})
    for member in list(club.members):
        if club.cents >= deposit:
            desk("bank").log_action("pay_deposit", {"to": member.name, "cents": deposit, "club": club.name})
            booked(club, -deposit, "deposit")
            continue
        office.case.trigger(asked)
        event = person(member.name).log_action("protest", {"club": club.name, "deposit": deposit})
        office.case.symptom(
            event,
            f"{member.name} did not get the deposit back when {club.name} closed",
            f"the pot of {club.name} was empty before everybody had been paid",
            f"Where is the money of {member.name}? {deposit} cents, it was promised when we closed",
            "there was not enough in it for all deposits. In each week we only spent what came in!",
        )
    club.cents = RESERVE


def everyday(office: Office, rng: Random) -> None:
    """Phone calls, adverts, new tables, slow printers."""
    for _ in range(rng.randint(2, 6)):
        club = rng.choice(list(office.clubs.values()))
        InteractionLogger(club.members[0].name, "member").log_interaction(
            rng.choice(("phone", "visit", "postcard")), club.members[0].name, "front_desk"
        )
    if rng.random() < 0.25:
        SystemLogger("office").log_config(
            rng.choice(("opening_hour", "advert_budget", "receipt_copies")),
            rng.randint(1, 9),
            rng.randint(10, 20),
        )
    if rng.random() < 0.2:
        desk("printer").warning("paper low", extra={"sheets": rng.randint(3, 30)})
    if rng.random() < 0.12:
        desk("bank").error("line busy", extra={"seconds": rng.randint(20, 60)})
        desk("bank").log_action("dial_again", {"draw": office.draw})
    others = [name for name in CLUBS if name != office.own.name]
    if rng.random() < 0.3:
        new_table(office, office.clubs[rng.choice(others)])
    if rng.random() < 0.2 and len(office.spare) > 8:
        enrol(office, rng, office.clubs[rng.choice(others)], office.draw + rng.randint(0, 6))
    if rng.random() < 0.2 and len(office.spare) > 8:
        enrol_pair(office, rng, office.clubs[rng.choice(others)])
    if rng.random() < 0.25:
        club = office.clubs[rng.choice(others)]
        special(office, club, min(club.cents, 100 * rng.randint(5, 25)))
    if office.draw == office.case.decoy_at:
        desk("bookkeeper").log_action("move_desk", {"floor": rng.randint(1, 3)})
        SystemLogger("office").log_config("receipt_copies", 2, 1)


def new_table(office: Office, club: Club) -> str:
    """Load the table of shares of a club anew."""
    splitter = f"splitter {list(office.clubs).index(club.name) // 2 + 1}"
    rows = sum(member.rows for member in club.members)
    return desk(splitter).log_action("load_table", {"club": club.name, "rows": rows, "draw": office.draw})


def planned_acts(office: Office, rng: Random) -> None:
    """Do what the case needs, before the money of this draw is collected."""
    case, own, now = office.case, office.own, office.draw
    if now == case.begin and case.has("wrong_unit"):
        office.marked = [enrol(office, rng, own, case.end, planned=True)]
    elif now == case.begin and case.has("swapped_fields"):
        enrol_pair(office, rng, own, planned=True)
    elif now == case.begin and case.has("rounding_leak"):
        case.root(new_table(office, own))
        own.is_rounded_up = case.strikes("rounding_leak", now)
    if now == case.end and case.has("rounding_leak"):
        special(office, own, RESERVE)
    elif now == case.end and case.has("doubled_act"):
        wind_up(office, own)


def one_draw(office: Office) -> None:
    """Play one draw."""
    case, now = office.case, office.draw
    rng = case.rng(f"draw/{now}")
    everyday(office, case.rng(f"everyday/{now}"))
    planned_acts(office, case.rng("planned"))
    for club in office.clubs.values():
        collect(office, club)
        buy(office, case.rng(f"buy/{now}/{club.name}"), club)
        PerformanceLogger("bookkeeper", "bookkeeper").log_metric(
            "pot_cents", club.cents, "cents", {"club": club.name}
        )
    numbers = sorted(rng.sample(range(1, 50), 6))
    desk("draw_hall").log_action("draw_numbers", {"draw": now, "numbers": numbers})
    for club in office.clubs.values():
        luck = rng.random() < 0.4
        mine = club is office.own
        if mine and case.has("rounding_leak") and now == case.begin:
            luck = True
        if mine and case.has("swapped_fields") and case.begin <= now <= case.end:
            luck = now == case.end
        if luck:
            prize(office, case.rng(f"prize/{now}/{club.name}"), club)


def founding_members(rng: Random, names: list[str], count: int) -> list[Member]:
    """Return the first members of a club."""
    found: list[Member] = []
    for _ in range(count):
        rows, account = rng.randint(1, 4), f"{rng.randint(10**7, 10**8 - 1)}"
        found.append(Member(names.pop(), rows, account, ROW * rows, paid_to=account))
    return found


def names_of(rng: Random) -> list[str]:
    """Return names that nobody else has."""
    found: Sequence[str] = [f"{letter}. {name}" for letter in "ADJMRS" for name in SURNAMES]
    return rng.sample(found, len(found))


def play(case: Case) -> None:
    """Play some weeks of draws."""
    rng = case.rng("office")
    draws = rng.choice((14, 20, 28, 38))
    case.window(draws)
    names = names_of(rng)
    clubs = {name: Club(name, founding_members(rng, names, rng.randint(3, 5))) for name in CLUBS}
    own = clubs[rng.choice(CLUBS)]
    own.remainders = "last"
    office = Office(case, clubs, own, names)
    for name in clubs:
        SystemLogger("office").log_init(name, {"reserve_cents": RESERVE, "row_cents": ROW})
    for office.draw in range(draws):
        one_draw(office)


WORLD = World(
    "lotterypool", "bare", ("rounding_leak", "wrong_unit", "doubled_act", "swapped_fields"), play, 22
)
