"""The library of a prison: slips come in, trolleys go round the wings, the county lends, passes open a gate.

Everybody writes to everybody; what follows from a letter names it in `causes=`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

WINGS = ("A", "B", "C", "D")
SHELVES = {"LAW": 11, "LAN": 18, "FIC": 40, "TRD": 16, "HIS": 14}
DESK, COUNTY, VETTING, GATE = "issue_desk", "county_depot", "vetting", "gatehouse"
TEACHER, RECEPTION, POST = "education", "reception", "post_room"

OWN = "LAW-012"  # the book that the case is about

Deed = Callable[[str], None]


@dataclass
class Man:
    """A prisoner: where he really is, and what lies in his cell."""

    number: str
    wing: str
    books: set[str] = field(default_factory=set)


class Prison:
    """One session: the people, the books and the letters on their way."""

    def __init__(self, case: Case, days: int) -> None:
        self.case, self.days, self.day = case, days, 0
        rng = case.rng("prison")
        numbers = rng.sample(range(3, 9), 4)
        self.men = [
            Man(f"P{numbers[0]}{rng.randint(100, 999)}{letter}", rng.choice(WINGS)) for letter in "ABCDEF"
        ]
        self.men += [
            Man(f"P{numbers[1]}{rng.randint(100, 999)}{letter}", rng.choice(WINGS)) for letter in "GHJKLM"
        ]
        stem = rng.randint(10, 98)
        self.hero = Man(f"P{numbers[2]}{stem}7X", rng.choice(WINGS))
        self.like = Man(f"P{numbers[2]}{stem}1X", self.hero.wing)
        self.holder = Man(f"P{numbers[3]}{stem}4Z", rng.choice(WINGS))
        everyone = [*self.men, self.hero, self.like, self.holder]
        self.register = {man.number: man.wing for man in everyone}
        self.by_number = {man.number: man for man in everyone}
        self.shelf = {
            f"{mark}-{number:03}" for mark, count in SHELVES.items() for number in range(1, count + 1)
        }
        self.lent: dict[str, str] = {}
        self.waiting: dict[str, str] = {}
        self.asked: dict[str, int] = {}
        self.seen: dict[str, str] = {}
        self.passes: dict[str, int] = {}
        self.agenda: dict[int, list[Deed]] = defaultdict(list)
        self.orders = 100
        roles = {
            name: name.replace("_", " ") for name in (DESK, COUNTY, VETTING, GATE, TEACHER, RECEPTION, POST)
        }
        for wing in WINGS:
            roles |= {f"trolley_{wing}": "trolley", f"officer_{wing}": "officer"}
        roles |= dict.fromkeys(self.by_number, "prisoner")
        self.log = {name: AgentLogger(name, role) for name, role in roles.items()}

    def later(self, days: int, deed: Deed, cause: str) -> None:
        """Do something on a later day because of an event."""
        self.agenda[self.day + days].append(lambda _: deed(cause))

    def write(
        self, sender: str, to: str, body: dict[str, Any], causes: list[str], deed: Deed, days: int = 0
    ) -> str:
        """Send a letter; what the reader does comes when it arrives."""
        letter = self.log[sender].send(to, body, causes=causes)

        def arrive(_: str) -> None:
            deed(self.log[to].receive(letter))

        if days:
            self.agenda[self.day + days].append(arrive)
        else:
            arrive("")
        return letter.event_id

    def planned(self, copy: str) -> bool:
        """Tell whether this is the copy that the case is about."""
        return copy == OWN

    # Slips

    def slip(self, man: Man, copy: str, needed: int) -> None:
        """Let a prisoner ask for a book for a certain day."""
        self.waiting[copy], asked = man.number, self.day
        self.asked[copy] = asked
        body = {"copy": copy, "needed_on": needed}
        self.write(man.number, DESK, body, [], lambda got: self.look(man, copy, got))
        if needed < self.days:
            self.agenda[needed].append(
                lambda _: self.agenda[needed].append(lambda _: self.check(man, copy, asked))
            )

    def look(self, man: Man, copy: str, got: str) -> None:
        """Look for a book: on the shelf, with somebody, or in the county."""
        log = self.log[DESK]
        where = "shelf" if copy in self.shelf else self.lent.get(copy, "county")
        looked = log.log_action("look_up", {"copy": copy, "at": where}, causes=[got])
        if where == "shelf":
            self.shelf.discard(copy)
            self.later(1, lambda cause: self.hand_to_trolley(man, copy, cause), looked)
        elif where == "county":
            self.order(copy, looked)
        else:
            self.recall(copy, where, looked)

    def recall(self, copy: str, holder: str, cause: str) -> None:
        """Ask the trolley of the holder's wing to bring a book back."""
        rng = self.case.rng(f"recall/{copy}/{self.day}")
        wing = self.register[holder]
        other = rng.choice([name for name in WINGS if name != wing])
        slip = rng.random() < 0.2 and not self.planned(copy)
        mine = self.planned(copy) and self.case.has("wrong_recipient")
        to = other if slip or (mine and self.case.strikes("wrong_recipient", self.day)) else wing
        body = {"copy": copy, "holder": holder}

        def round_trip(got: str) -> None:
            self.later(1, lambda cause: self.search(to, holder, copy, cause, forward=slip), got)

        sent = self.write(DESK, f"trolley_{to}", body, [cause], round_trip)
        self.seen[copy] = sent
        if mine:
            self.case.root(sent)

    def search(self, wing: str, holder: str, copy: str, cause: str, *, forward: bool) -> None:
        """Look for a borrowed book on a round."""
        man, log = self.by_number[holder], self.log[f"trolley_{wing}"]
        if man.wing == wing and copy in man.books:
            man.books.discard(copy)
            fetched = log.log_action("fetch_back", {"copy": copy, "from": holder}, causes=[cause])
            self.bring(wing, copy, fetched)
            return
        round_done = log.log_action("finish_round", {"copy": copy, "cells": 28}, causes=[cause])
        if self.planned(copy):
            self.case.hop(round_done)
        if forward:
            body = {"copy": copy, "holder": holder}
            self.write(
                f"trolley_{wing}",
                f"trolley_{man.wing}",
                body,
                [round_done],
                lambda got: self.search(man.wing, holder, copy, got, forward=False),
            )

    def bring(self, wing: str, copy: str, cause: str) -> None:
        """Bring a book to the desk, which gives it to who waits for it or shelves it."""

        def back(got: str) -> None:
            self.lent.pop(copy, None)
            booked = self.log[DESK].log_action("book_in", {"copy": copy}, causes=[got])
            if copy in self.waiting:
                man = self.by_number[self.waiting[copy]]
                self.later(1, lambda cause: self.hand_to_trolley(man, copy, cause), booked)
            else:
                self.shelf.add(copy)

        self.write(f"trolley_{wing}", DESK, {"copy": copy}, [cause], back)

    def order(self, copy: str, cause: str) -> None:
        """Order a book from the county, by post."""
        rng = self.case.rng(f"order/{copy}")
        self.orders += 1
        number = f"ILL{self.orders}"
        mine = self.planned(copy) and self.case.has("dead_letter")
        aside = rng.random() < 0.2 and not self.planned(copy)
        lost = mine and self.case.strikes("dead_letter", self.day)
        ordered = self.log[DESK].log_action("fill_in_order", {"copy": copy, "order": number}, causes=[cause])

        def supply(got: str) -> None:
            parcel = self.log[COUNTY].log_action("pack_parcel", {"copy": copy, "order": number}, causes=[got])
            self.later(1, lambda cause: self.vet(copy, cause), parcel)

        body = {"order": number, "copy": copy}
        self.seen[copy] = ordered
        if not (aside or lost):
            sent = self.write(DESK, COUNTY, body, [ordered], supply)
            if mine:
                self.case.root(sent)
            return
        letter = self.log[DESK].send("county_library", body, causes=[ordered])
        tray = self.log[POST].log_action(
            "put_in_tray", {"order": number, "address": "county_library"}, causes=[letter.event_id]
        )
        if lost:
            self.case.root(letter.event_id, tray)
            self.case.hop(tray)
            return
        self.later(1, lambda cause: self.send_again(number, body, cause, supply), tray)

    def send_again(self, number: str, body: dict[str, Any], cause: str, supply: Deed) -> None:
        """Fetch a letter from the tray and address it anew."""
        fetched = self.log[DESK].log_action("empty_tray", {"order": number}, causes=[cause])
        self.write(DESK, COUNTY, body, [fetched], supply)

    def vet(self, copy: str, cause: str) -> None:
        """Look through a parcel, then bring it to the desk."""
        vetted = self.log[VETTING].log_action("look_through", {"copy": copy, "pages": 300}, causes=[cause])

        def come(got: str) -> None:
            booked = self.log[DESK].log_action("book_in", {"copy": copy}, causes=[got])
            if copy in self.waiting:
                self.hand_to_trolley(self.by_number[self.waiting[copy]], copy, booked)

        self.write(VETTING, DESK, {"copy": copy}, [vetted], come)

    def hand_to_trolley(self, man: Man, copy: str, cause: str) -> None:
        """Give a book to the trolley of the wing where the register has the man."""
        wing = self.register[man.number]
        out = self.log[DESK].log_action(
            "issue", {"copy": copy, "to": man.number, "wing": wing}, causes=[cause]
        )
        if self.planned(copy):
            self.case.hop(out)
        self.write(
            DESK,
            f"trolley_{wing}",
            {"copy": copy, "for": man.number},
            [out],
            lambda got: self.deliver(wing, man, copy, got),
        )

    def deliver(self, wing: str, man: Man, copy: str, cause: str) -> None:
        """Hand a book over at the cell, or bring it back."""
        log = self.log[f"trolley_{wing}"]
        if man.wing != wing:
            back = log.log_action("bring_back", {"copy": copy, "cell_of": man.number}, causes=[cause])
            if self.planned(copy):
                self.case.hop(back)
            self.seen[copy] = back
            return
        log.log_action("hand_over", {"copy": copy, "to": man.number}, causes=[cause])
        man.books.add(copy)
        self.lent[copy] = man.number
        self.waiting.pop(copy, None)

    def check(self, man: Man, copy: str, asked_on: int) -> None:
        """On the day of need, see whether the book is there."""
        if self.waiting.get(copy) != man.number or self.asked[copy] != asked_on:
            return
        asked = self.log[man.number].log_action("ask_officer", {"copy": copy, "day": self.day})
        told = self.log[f"officer_{man.wing}"].log_action(
            "tell_desk", {"copy": copy, "for": man.number}, causes=[asked]
        )
        self.case.hop(asked, told)
        if self.case.rng("answer").random() < 0.5 and copy in self.seen:
            told = self.log[DESK].log_action("look_into_file", {"copy": copy}, causes=[told, self.seen[copy]])
            self.case.hop(told)
        event = self.log[man.number].log_action("file_complaint", {"copy": copy}, causes=[told])
        self.case.symptom(event, *self.texts(man, copy))

    def texts(self, man: Man, copy: str) -> tuple[str, ...]:
        """Return what is written when a book is not there."""
        if self.case.has("dead_letter"):
            return (
                f"{man.number} waited for {copy} from outside until his hearing and it did not come",
                f"the county says it has never heard of {copy}. We did order it!",
                f"why did {man.number} go to court without the book he asked for weeks ago",
                "a book from outside was never supplied, all the others came within three days",
            )
        if self.case.has("false_belief"):
            return (
                f"{man.number} sat in his cell all day and no exam book came to him",
                f"nobody brought {copy} to {man.number}, the orderly says that he was not there",
                "they pushed the trolley through the wrong wing and my client missed his exam",
                f"Where did {copy} go on day {self.day}? He has not been moved for months",
            )
        return (
            f"{man.number} did not get {copy} although he had asked in good time",
            f"{copy} is still in somebody's cell, and another man needs it in court today",
            "nobody asked for the law book back. who was meant to?",
            f"solicitor of {man.number} wants to know why the book was not there on day {self.day}",
        )

    # Moves and passes

    def move(self, man: Man, to: str, *, planned: bool = False) -> None:
        """Move a man, and let the officer of his new wing write to the desk."""
        old, man.wing = man.wing, to
        moved = self.log[RECEPTION].log_action("move", {"number": man.number, "from": old, "to": to})
        mistaken = planned and self.case.strikes("false_belief", self.day)
        number = self.hero.number if mistaken else man.number

        def learn(got: str) -> None:
            known = self.log[DESK].log_action("update_register", {"number": number, "wing": to}, causes=[got])
            self.register[number] = to
            if planned:
                self.case.root(known)

        seen = self.log[f"officer_{to}"].log_action("unlock_cell", {"wing": to, "bed": 1}, causes=[moved])
        if planned:
            letter = self.log[f"officer_{to}"].send(DESK, {"number": number, "wing": to}, causes=[seen])
            self.case.root(letter.event_id)
            learn(self.log[DESK].receive(letter))
        else:
            self.write(f"officer_{to}", DESK, {"number": number, "wing": to}, [seen], learn)

    def ask_pass(self, man: Man, visit: int, *, planned: bool = False) -> None:
        """Let a man ask for a pass to the law room, which the gatehouse will look at."""
        rng = self.case.rng(f"pass/{man.number}/{self.day}")
        spare = rng.randint(1, 3)
        until = visit + spare
        if planned and self.case.strikes("expired_permission", self.day):
            until = max(self.day, visit - spare)

        def grant(got: str) -> None:
            made = self.log[TEACHER].log_decision(
                "grant_pass", {"number": man.number, "valid_to": until}, reasoning="law room", causes=[got]
            )
            if planned:
                self.case.root(made)
            body = {"number": man.number, "valid_to": until}
            self.write(TEACHER, GATE, body, [made], note)

        def note(got: str) -> None:
            noted = self.log[GATE].log_action(
                "list_pass", {"number": man.number, "valid_to": until}, causes=[got]
            )
            self.passes[man.number] = max(until, self.passes.get(man.number, 0))
            if planned:
                self.case.hop(noted)
            self.agenda[visit].append(lambda _: self.visit(man, noted))

        self.write(man.number, TEACHER, {"wants": "law room", "on_day": visit}, [], grant)

    def visit(self, man: Man, listed: str) -> None:
        """Bring a man to the law room, if his pass is good."""
        walk = self.log[f"officer_{man.wing}"].log_action(
            "walk_to_gate", {"number": man.number, "day": self.day}, causes=[listed]
        )
        if self.passes[man.number] >= self.day:
            opened = self.log[GATE].log_action("open_gate", {"number": man.number}, causes=[walk])
            self.log[man.number].log_action("read_in_law_room", {"hours": 2}, causes=[opened])
            return
        self.case.trigger(walk)
        stopped = self.log[GATE].log_action("send_back", {"number": man.number}, causes=[walk])
        self.case.hop(walk, stopped)
        event = self.log[man.number].log_action("file_complaint", {"about": "law room"}, causes=[stopped])
        self.case.symptom(
            event,
            f"{man.number} was turned round at the gate on the day he was to read up on his case",
            f"the officer walked {man.number} all the way to the law room and they would not let him in",
            "my client had a pass for the law room and could not use it!",
            f"what was wrong with the permission of {man.number}? On day {self.day} it did not count",
        )

    # Everyday

    def everyday(self, rng: Random) -> None:
        """Slips, returns, moves, passes, drills."""
        for man in rng.sample(self.men, rng.randint(1, 3)):
            sort = rng.random()
            if sort < 0.7:
                choice = sorted(self.shelf - set(self.waiting) - {OWN})
            elif sort < 0.85:
                choice = sorted(
                    copy
                    for copy, who in self.lent.items()
                    if copy not in self.waiting and who != man.number and not self.planned(copy)
                )
            else:
                choice = [f"EXT-{100 + 12 * self.day + self.men.index(man)}"]
            index = rng.random()
            if choice:
                self.slip(man, choice[int(index * len(choice))], self.day + 9 + rng.randint(0, 9))
        for man in rng.sample(self.men, 2):
            kept = sorted(copy for copy in man.books if copy not in self.waiting)
            if kept:
                man.books.discard(kept[0])
                given = self.log[man.number].log_action("give_back", {"copy": kept[0]})
                self.bring(man.wing, kept[0], given)
        if rng.random() < 0.25:
            man = rng.choice(self.men)
            busy = set(self.waiting.values())
            to = rng.choice([wing for wing in WINGS if wing != man.wing])
            if man.number not in busy and not man.books:
                self.move(man, to)
        if rng.random() < 0.3:
            self.ask_pass(rng.choice(self.men), self.day + rng.randint(1, 8))
        for wing in WINGS:
            if rng.random() < 0.5:
                self.log[f"officer_{wing}"].log_action(
                    "count_heads", {"wing": wing, "heads": rng.randint(80, 99)}
                )
        if rng.random() < 0.15:
            self.log[GATE].warning("lock sticks", extra={"door": rng.randint(1, 9)})
        if rng.random() < 0.12:
            failed = self.log[DESK].error("scanner does not read", extra={"tries": rng.randint(1, 3)})
            self.log[DESK].log_action("type_by_hand", {"digits": 13}, causes=[failed])
        if rng.random() < 0.2:
            old, new = rng.sample(range(1, 9), 2)
            self.log[DESK].log_state_change(
                {"loan_weeks_fiction": old}, {"loan_weeks_fiction": new}, trigger="rota"
            )
        if self.day == self.case.decoy_at:
            self.log[RECEPTION].log_action("fire_drill", {"minutes": 25})
            self.log[f"officer_{self.hero.wing}"].log_action("search_cells", {"cells": 6})

    def plan(self, rng: Random) -> None:
        """Do the acts of the case."""
        case, hero = self.case, self.hero
        if self.day == case.begin:
            if case.has("wrong_recipient") or case.has("dead_letter"):
                self.slip(hero, OWN, case.end)
            elif case.has("false_belief"):
                self.move(self.like, rng.choice([wing for wing in WINGS if wing != hero.wing]), planned=True)
            else:
                self.ask_pass(hero, case.end, planned=True)
        if self.day == case.end - 1 and case.has("false_belief"):
            self.slip(hero, OWN, case.end)


def play(case: Case) -> None:
    """Play some months of the library."""
    days = case.rng("size").choice((24, 45, 80, 125))
    case.window(days, shortest={"wrong_recipient": 3, "dead_letter": 2}.get(case.kind, 1))
    prison = Prison(case, days)
    if case.has("wrong_recipient"):
        prison.holder.books.add(OWN)
        prison.lent[OWN] = prison.holder.number
    elif case.has("false_belief"):
        prison.shelf.add(OWN)
    for day in range(days):
        prison.day = day
        with tick(day):
            prison.plan(case.rng("plan"))
            prison.everyday(case.rng(f"everyday/{day}"))
            waiting = prison.agenda[day]
            for deed in waiting:  # what is added on the way belongs to the same day
                deed("")


WORLD = World(
    "prisonlibrary",
    "edges",
    ("wrong_recipient", "dead_letter", "false_belief", "expired_permission"),
    play,
    22,
)
