"""A small hotel by the sea. Staff and booking sites record what they do, and nothing links one record to another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, InteractionLogger, tick
from benchmarks.fault_worlds.kit import Case, World

DAYS = 90
ROOMS = tuple(range(101, 131))
PRICES = {"sea": 160, "yard": 95, "tower": 210, "garden": 130, "attic": 80}


@dataclass
class Stay:
    guest: str
    room: int
    arrives: int
    nights: int
    adults: int
    category: str = "yard"
    card: bool = True
    planned: bool = False


@dataclass
class Hotel:
    case: Case
    stays: list[Stay] = field(default_factory=list)
    blocked: dict[int, str] = field(default_factory=dict)
    rates: dict[str, int] = field(default_factory=lambda: dict(PRICES))
    day: int = 0
    number: int = 0

    def __post_init__(self) -> None:
        self.dice = self.case.rng("guests")
        self.staff = {
            name: AgentLogger(name, role)
            for role, names in {
                "site": ("rooms_direct", "sunfinder", "tourist_office"),
                "porter": ("olga", "henrik", "pia"),
                "cleaner": ("team_east", "team_west"),
                "manager": ("mrs_lund",),
                "auditor": ("night_audit",),
                "engineer": ("rolf",),
            }.items()
            for name in names
        }
        self.talk = InteractionLogger()
        self.case.window(DAYS)
        plan = self.case.rng("plan")
        self.porter = plan.choice(("olga", "henrik", "pia"))
        self.second_porter = plan.choice([name for name in ("olga", "henrik", "pia") if name != self.porter])
        self.room = plan.choice(ROOMS[-4:])

    def act(self, who: str, what: str, **data: Any) -> str:
        return self.staff[who].log_action(what, data)

    def free(self, rooms: tuple[int, ...], first: int, nights: int) -> Iterator[int]:
        for room in rooms:
            taken = any(
                stay.room == room and stay.arrives < first + nights and first < stay.arrives + stay.nights
                for stay in self.stays
            )
            if not taken and room not in self.blocked:
                yield room

    def new_guest(self) -> str:
        self.number += 1
        return f"guest {self.number}"

    def enter(self, site: str, stay: Stay, *, swapped: bool = False) -> str:
        if swapped:
            stay.nights, stay.adults = stay.adults, stay.nights
        self.stays.append(stay)
        values = {"guest": stay.guest, "room": stay.room, "day": stay.arrives, "nights": stay.nights}
        return self.act(site, "enter_booking", **values, adults=stay.adults, category=stay.category)

    def check_in(self, porter: str, stay: Stay, *, hasty: bool = False) -> None:
        passport = self.act(porter, "see_passport", guest=stay.guest)
        if not hasty:
            self.act(porter, "take_card", guest=stay.guest)
        stay.card = not hasty
        key = self.act(porter, "code_key", guest=stay.guest, room=stay.room, nights=stay.nights)
        if hasty:
            self.case.root(passport, key)
        elif stay.planned and self.case.faulty:
            self.case.hop(key)
        self.talk.log_interaction("hand_over_key", porter, stay.guest, f"room {stay.room}")

    def leave(self, porter: str, stay: Stay) -> tuple[int, str]:
        bill = self.rates[stay.category] * stay.nights
        made = self.act(
            porter, "write_bill", guest=stay.guest, category=stay.category, nights=stay.nights, total=bill
        )
        self.talk.log_interaction("say_goodbye", porter, stay.guest, f"room {stay.room}")
        self.act("team_east" if stay.room % 2 else "team_west", "clean_room", room=stay.room)
        if stay.planned and self.case.faulty:
            self.case.hop(made)
        return bill, made

    def repair(self, room: int, *, until_released: bool = True) -> None:
        closed = self.act("rolf", "block_room", room=room, reason=self.dice.choice(("tap", "lamp", "window")))
        done = self.act("rolf", "finish_repair", room=room)
        if until_released:
            self.act("rolf", "release_room", room=room)
        else:
            self.blocked[room] = closed
            self.case.root(done, closed)

    def everyday(self) -> None:
        dice, ordinary = self.dice, ROOMS[:-4]
        for site in ("rooms_direct", "sunfinder", "tourist_office"):
            if dice.random() < 0.8:
                first, nights = self.day + dice.randint(0, 6), dice.randint(1, 4)
                self.act(site, "look_up_rooms", day=first, nights=nights)
                room = next(self.free(ordinary, first, nights), None)
                if room is not None:
                    category = dice.choice(("sea", "yard", "tower", "attic"))
                    stay = Stay(self.new_guest(), room, first, nights, dice.randint(1, 4), category)
                    self.enter(site, stay)
        for stay in [stay for stay in self.stays if not stay.planned]:
            porter = dice.choice(("olga", "henrik", "pia"))
            if stay.arrives == self.day:
                self.check_in(porter, stay)
            elif stay.arrives + stay.nights == self.day:
                total, _ = self.leave(porter, stay)
                self.stays.remove(stay)
                self.act("night_audit", "book_income", guest=stay.guest, amount=total)
        if dice.random() < 0.35:
            self.repair(dice.choice(ordinary))
        if dice.random() < 0.45:
            category = dice.choice(("sea", "yard", "tower", "attic"))
            self.set_rate(category, round(PRICES[category] * dice.uniform(0.9, 1.1)))
        if dice.random() < 0.3:
            guest = self.new_guest()
            self.act(
                dice.choice(("olga", "henrik", "pia")), "turn_away", guest=guest, wish="a room with a piano"
            )
        if dice.random() < 0.2:
            self.staff["sunfinder"].error("the payment page did not answer, asked again", {"attempt": 1})
        for team in ("team_east", "team_west"):
            self.act(team, "change_towels", rooms=dice.randint(6, 14))
        self.act("night_audit", "close_day", occupied=len(self.stays))

    def set_rate(self, category: str, euros: int) -> str:
        old, self.rates[category] = self.rates[category], euros
        return self.staff["mrs_lund"].log_strategy_update(
            f"rate {category}", {"euros": old}, {"euros": euros}
        )


def _race(hotel: Hotel) -> None:
    """Two sites sell the same room; in the healthy twin the second one looks again, and takes another."""
    case, late = hotel.case, hotel.case.end
    if hotel.day == case.begin:
        looks = [
            hotel.act(site, "look_up_rooms", day=late, nights=2) for site in ("rooms_direct", "sunfinder")
        ]
        first = Stay(hotel.new_guest(), hotel.room, late, 2, 2, "garden", planned=True)
        second = Stay(hotel.new_guest(), hotel.room, late, 2, 1, "garden", planned=True)
        one = hotel.enter("rooms_direct", first)
        if not case.strikes("race", hotel.day):
            hotel.act("sunfinder", "look_up_rooms", day=late, nights=2)
            second.room = ROOMS[-1] if hotel.room != ROOMS[-1] else ROOMS[-2]
            hotel.enter("sunfinder", second)
        else:
            case.root(hotel.enter("sunfinder", second), one, *looks)
    if hotel.day == late:
        inside: set[int] = set()
        for stay, porter in zip(
            [s for s in hotel.stays if s.planned], (hotel.porter, hotel.second_porter), strict=True
        ):
            if stay.room in inside:
                seen = hotel.act(porter, "turn_away", guest=stay.guest, wish=f"room {stay.room}")
                case.symptom(
                    seen,
                    f"a family with a paid booking stood in the hall, and {porter} had no room for them",
                    "we had to send somebody away who had booked months ago",
                    f"{porter} says there was already somebody in the room when the guests came up with the key",
                )
            else:
                inside.add(stay.room)
                hotel.check_in(porter, stay)


def _forgotten_undo(hotel: Hotel) -> None:
    case = hotel.case
    if hotel.day == case.begin:
        hotel.repair(hotel.room, until_released=not case.strikes("forgotten_undo", hotel.day))
    if hotel.day == case.end:
        wish = (hotel.room,)
        asked = hotel.act("tourist_office", "look_up_rooms", day=hotel.day, nights=1)
        found = next(hotel.free(wish, hotel.day, 1), None)
        case.hop(asked)
        case.trigger(asked)
        if found is None:
            seen = hotel.act(hotel.porter, "turn_away", guest=hotel.new_guest(), wish=f"room {hotel.room}")
            case.symptom(
                seen,
                f"{hotel.porter} turned a guest away although room {hotel.room} was empty all week",
                f"why do we never sell room {hotel.room} any more",
                "a walk-in guest was told that we are full, but I saw an empty room",
            )
        else:
            stay = Stay(hotel.new_guest(), found, hotel.day, 1, 1, "garden", planned=True)
            hotel.enter("tourist_office", stay)
            hotel.check_in(hotel.porter, stay)


def _config_change(hotel: Hotel) -> None:
    case = hotel.case
    if hotel.day == case.begin:
        wrong = case.strikes("config_change", hotel.day)
        changed = hotel.set_rate("garden", 14 if wrong else 138)
        if wrong:
            case.root(changed)
    if hotel.day == case.end:
        stay = Stay("Mr Aas", hotel.room, hotel.day - 2, 2, 2, "garden", planned=True)
        total, made = hotel.leave(hotel.porter, stay)
        case.trigger(made)
        booked = hotel.act("night_audit", "book_income", guest=stay.guest, amount=total)
        if total < 60:
            case.symptom(
                booked,
                f"{hotel.porter} gave Mr Aas a bill for two nights that does not even cover the breakfast",
                "the night's income is far too low for a garden room",
                "Mr Aas paid next to nothing for his stay, please check",
            )


def _swapped_fields(hotel: Hotel) -> None:
    case = hotel.case
    arrives = case.end - 1
    if hotel.day == case.begin:
        stay = Stay("Ms Berg", hotel.room, arrives, 4, 1, "garden", planned=True)
        swapped = case.strikes("swapped_fields", hotel.day)
        entered = hotel.enter("tourist_office", stay, swapped=swapped)
        if swapped:
            case.root(entered)
    mine = next((stay for stay in hotel.stays if stay.planned), None)
    if mine is not None and hotel.day == arrives:
        hotel.check_in(hotel.porter, mine)
    if mine is not None and hotel.day == case.end:
        opens = hotel.day < mine.arrives + mine.nights
        team = "team_east" if mine.room % 2 else "team_west"
        seen = hotel.act(team, "open_door_for_guest", room=mine.room, key_opens=opens)
        if not opens:
            case.symptom(
                seen,
                f"{team} had to let Ms Berg into her room because her key had stopped working",
                "Ms Berg's key does not open her door any more, and her stay is not over",
                f"why was a guest locked out in the middle of her holiday? {team} found her in the corridor",
            )


def _omitted_step(hotel: Hotel) -> None:
    case = hotel.case
    if hotel.day == case.begin:
        stay = Stay("Dr Holm", hotel.room, hotel.day, case.end - case.begin, 1, "garden", planned=True)
        hotel.enter("sunfinder", stay)
        hotel.check_in(hotel.porter, stay, hasty=case.strikes("omitted_step", hotel.day))
    if hotel.day == case.end:
        stay = next(stay for stay in hotel.stays if stay.planned)
        total, _ = hotel.leave(hotel.second_porter, stay)
        paid = total if stay.card else 0
        seen = hotel.act("night_audit", "book_income", guest=stay.guest, amount=paid)
        if not paid:
            case.symptom(
                seen,
                f"Dr Holm left without paying, and {hotel.second_porter} could do nothing about it",
                "one guest's bill was never paid and the audit shows a hole",
                f"money is missing in the books since {hotel.second_porter} said goodbye to Dr Holm",
            )


STORIES = {
    "race": _race,
    "forgotten_undo": _forgotten_undo,
    "config_change": _config_change,
    "swapped_fields": _swapped_fields,
    "omitted_step": _omitted_step,
}


def play(case: Case) -> None:
    hotel = Hotel(case)
    for hotel.day in range(DAYS):
        with tick(hotel.day):
            STORIES[case.kind](hotel)
            hotel.everyday()
            if hotel.dice.random() < 0.3:
                room, opens = hotel.dice.choice(ROOMS[:-4]), hotel.dice.random() < 0.8
                hotel.act(
                    "team_east" if room % 2 else "team_west",
                    "open_door_for_guest",
                    room=room,
                    key_opens=opens,
                )
            if hotel.day == case.decoy_at:
                hotel.act("mrs_lund", "switch_printer", floor=1)
                hotel.staff["mrs_lund"].warning("power was off for two minutes", {"floor": 1})


WORLD = World("hotel", "bare", tuple(STORIES), play, author=2)
