"""A biology laboratory: researchers book machines, borrow cold boxes, take reagents, let a robot work, and upload.

Coroutines that run side by side and record single actions. There are no ticks, no spans and no links.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Coroutine
from typing import Any

from Agent import AgentLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

PEOPLE = ("anouk", "bilal", "chiara", "dmitri", "elif", "farid", "greta", "henrik")
MACHINES = ("centrifuge", "thermocycler", "sequencer")
REAGENTS = ("ligase", "trypsin", "agarose", "ethanol")
PROTOCOLS = ("miniprep", "colony_pcr", "western", "elisa", "digest")
STAFF = {
    "calendar": "desk",
    "cold_store": "desk",
    "stock_room": "desk",
    "methods_group": "desk",
    "robot": "robot",
    "gateway": "gateway",
    "sync_client": "client",
    "caretaker": "caretaker",
    **dict.fromkeys(MACHINES, "machine"),
}
LOW_ML, REFILL_ML, COUNTED_ML = 20, 80, 60
AWAY_BOXES = 3


class Lab:
    """The laboratory, played half-day by half-day; a half-day is called a shift."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.shifts = case.rng("shifts").randint(70, 120)
        self.begin, self.end = case.window(self.shifts)
        self.now = 0
        self.log = {name: AgentLogger(name, "researcher") for name in PEOPLE}
        self.log |= {name: AgentLogger(name, role) for name, role in STAFF.items()}
        self.house = SystemLogger("house")
        who = case.rng("who")
        self.first, self.second, self.victim = who.sample(PEOPLE, 3)
        self.machine, self.reagent = who.choice(MACHINES), who.choice(REAGENTS)
        self.protocol = who.choice(PROTOCOLS)
        self.numbers = iter(range(5000, 99_999))
        self.desk = asyncio.Lock()
        self.booked: dict[tuple[str, int], str] = {}
        self.visits: dict[int, list[tuple[str, str, str]]] = {}
        self.running: dict[str, str] = {}
        self.sheet = dict.fromkeys(REAGENTS, 70)
        self.bottle = dict.fromkeys(REAGENTS, 70)
        self.version = dict.fromkeys(PROTOCOLS, 1)
        self.needed = dict.fromkeys(PROTOCOLS, 1)
        self.copy = dict.fromkeys(PROTOCOLS, 1)
        self.roots_left = 3
        self.plan_uploads()
        self.plan_boxes()

    def number(self, letter: str) -> str:
        """Return a new number."""
        return f"{letter}{next(self.numbers)}"

    def guard(self, kind: str) -> contextlib.AbstractAsyncContextManager[Any]:
        """Return the lock of the desk; in a case of this kind, the two who meet there do without it."""
        return contextlib.nullcontext() if self.case.strikes(kind, self.now) else self.desk

    # machines

    async def book(self, person: str, machine: str, shift: int, guard: Any, pause: int) -> None:
        """Look for a free place on a machine and book it; where it is taken, a later one."""
        case, log = self.case, self.log[person]
        is_case = case.has("race") and guard is not self.desk
        async with guard:
            while (machine, shift) in self.booked:
                shift += 1
            looked = log.log_action("look_at_calendar", {"machine": machine, "free": shift})
            for _ in range(pause):
                await asyncio.sleep(0)
            sample = self.number("S")
            noted = log.log_action("book", {"machine": machine, "shift": shift, "sample": sample})
            self.log["calendar"].log_action("keep", {"machine": machine, "shift": shift, "for": person})
        self.booked[machine, shift] = person
        self.visits.setdefault(shift, []).append((person, machine, sample))
        if is_case:
            case.root(looked, noted)

    def visit(self) -> None:
        """Let those who booked this shift put their samples in; two for one machine is the symptom."""
        self.running = {}
        for person, machine, sample in self.visits.pop(self.now, []):
            self.log[person].log_action("bring_sample", {"sample": sample, "to": machine})
            if machine in self.running:
                event = self.log[person].log_action("throw_away", {"sample": sample})
                self.case.symptom(
                    event,
                    f"Sample {sample} had to be thrown away in the corridor, although there was a place for it in the {machine}.",
                    f"Somebody stood in front of an occupied {machine} with a thawed sample. It had been arranged long before.",
                    f"Weeks of work are lost because the {machine} was in use when {sample} came.",
                )
                continue
            self.running[machine] = sample
            ran = self.log[machine].log_action("spin_up", {"sample": sample})
            if self.case.has("race") and self.now == self.end and machine == self.machine:
                self.case.hop(ran)
            self.log[person].log_action("take_out", {"sample": sample})

    # reagents

    async def take(self, person: str, reagent: str, millilitres: int, guard: Any, pause: int) -> None:
        """Read the sheet, take from the bottle, and write what is left; an empty bottle is the symptom."""
        case, log = self.case, self.log[person]
        async with guard:
            left = self.sheet[reagent]
            read = log.log_action("read_sheet", {"reagent": reagent, "left_ml": left})
            for _ in range(pause):
                await asyncio.sleep(0)
            enough = self.bottle[reagent] >= millilitres
            took = log.log_action("pour", {"reagent": reagent, "ml": min(millilitres, self.bottle[reagent])})
            self.bottle[reagent] = max(0, self.bottle[reagent] - millilitres)
            self.sheet[reagent] = max(0, left - millilitres)
            wrote = log.log_action("write_sheet", {"reagent": reagent, "left_ml": self.sheet[reagent]})
        if case.has("lost_update") and guard is not self.desk and person == self.first:
            case.root(read, wrote)
        if not enough:
            case.symptom(
                took,
                f"{person} found the {reagent} bottle all but dry in the middle of an experiment.",
                f"We ran out of {reagent}, and none was on its way. There should have been plenty.",
                f"Why did nobody get new {reagent} in time? {person} lost a day.",
            )

    def evening(self, rng: random.Random) -> None:
        """Look over the sheet and refill what is low, by the sheet."""
        looked = self.log["stock_room"].log_action("look_over", dict(self.sheet))
        if self.now == self.end - 1 and self.case.has("lost_update"):
            self.case.hop(looked)
        for reagent in REAGENTS:
            if self.sheet[reagent] < LOW_ML:
                self.log["stock_room"].log_action("refill", {"reagent": reagent, "ml": REFILL_ML})
                self.sheet[reagent] += REFILL_ML
                self.bottle[reagent] += REFILL_ML
        if rng.random() < 0.2:
            reagent = rng.choice(REAGENTS)
            self.log["stock_room"].log_action("wipe_shelf", {"reagent": reagent})
        if self.case.has("lost_update") and self.now == self.begin - 1:
            self.log["stock_room"].log_action("recount", {"reagent": self.reagent, "ml": COUNTED_ML})
            self.sheet[self.reagent] = self.bottle[self.reagent] = COUNTED_ML

    def is_spared(self, reagent: str) -> bool:
        """Tell whether a reagent is left alone because the case decides how much is taken."""
        spared = self.case.has("lost_update") and self.begin <= self.now <= self.end
        return spared and reagent == self.reagent

    # boxes

    def plan_boxes(self) -> None:
        """Draw who borrows a cold box and when; there are as many as one careless person can keep until the end."""
        rng = self.case.rng("boxes")
        self.loans = {
            shift: [person for person in PEOPLE if rng.random() < 0.25] for shift in range(self.shifts)
        }
        self.loans[self.begin] = sorted({*self.loans[self.begin], self.first})
        self.loans[self.end] = [self.victim, *(one for one in self.loans[self.end] if one != self.victim)]
        kept = sum(self.first in self.loans[shift] for shift in range(self.begin, self.end))
        self.boxes = [f"box_{number}" for number in range(1, kept + 1)]
        self.away = [f"box_{number}" for number in range(kept + 1, kept + 1 + AWAY_BOXES)]

    def carry(self, person: str) -> None:
        """Borrow a cold box, carry something in it, and bring it back; none being left is the symptom."""
        case, desk = self.case, self.log["cold_store"]
        self.log[person].log_action("ask_for_box", {"for": self.number("S")})
        if not self.boxes:
            refused = desk.log_action("wave_off", {"person": person})
            case.hop(refused)
            event = self.log[person].log_action("leave_on_bench", {"hours": 3})
            case.symptom(
                event,
                f"{person} had nothing to keep the cells cold in, and they are dead now.",
                "Somebody's cells died on the bench. There used to be something to carry them in, always.",
                f"Where has all the cold equipment gone? {person} could not get any.",
            )
            return
        box = self.boxes.pop(0)
        lent = desk.log_action("lend", {"box": box, "to": person})
        carried = self.log[person].log_action("carry", {"box": box})
        keeps = person == self.first and self.begin <= self.now < self.end and case.strikes("leaked_resource")
        if keeps and self.roots_left:
            case.root(carried, lent)
            self.roots_left -= 1
        if not keeps:
            self.log[person].log_action("bring_back", {"box": box})
            self.boxes.append(box)

    def courier(self, rng: random.Random) -> None:
        """Let the courier's own boxes come and go, which takes many shifts and harms nobody."""
        if rng.random() < 0.15:
            box = rng.choice(self.away)
            act = rng.choice(("lend", "log_return"))
            self.log["cold_store"].log_action(act, {"box": box, "to": "courier"})

    # protocols

    def revise(self, rng: random.Random) -> None:
        """Revise protocols; the robot copies what changes the work, and may go without what only changes words."""
        case, group = self.case, self.log["methods_group"]
        if rng.random() < 0.45:
            protocol, words_only = rng.choice(PROTOCOLS), rng.random() < 0.5
            copies = not words_only or rng.random() < 0.5
            if not (case.has("stale_cache") and protocol == self.protocol and self.now >= self.begin - 1):
                self.publish(protocol, words_only, copies)
        if self.now == self.begin and case.has("stale_cache"):
            self.publish(self.protocol, words_only=False, copies=not case.strikes("stale_cache", self.now))
        if rng.random() < 0.3:
            group.log_action("answer_question", {"protocol": rng.choice(PROTOCOLS)})

    def publish(self, protocol: str, words_only: bool, copies: bool) -> None:
        """Publish a version, and let the robot copy it."""
        group = self.log["methods_group"]
        self.version[protocol] += 1
        pages = {"protocol": protocol, "version": self.version[protocol]}
        revised = group.log_action("revise", pages)
        pinned = group.log_action("pin_to_board", pages)
        if not words_only:
            self.needed[protocol] = self.version[protocol]
        if copies:
            self.log["robot"].log_action("copy", pages)
            self.copy[protocol] = self.version[protocol]
        elif self.case.strikes("stale_cache", self.now) and protocol == self.protocol:
            self.case.root(revised, pinned)

    async def let_robot_work(self, person: str, protocol: str) -> None:
        """Let the robot work by its copy, and read the gel; one without bands is the symptom."""
        plate = self.number("P")
        self.log[person].log_action("hand_in", {"plate": plate, "protocol": protocol})
        await asyncio.sleep(0)
        worked = self.log["robot"].log_action(
            "pipette", {"plate": plate, "protocol": protocol, "version": self.copy[protocol]}
        )
        if self.case.has("stale_cache") and self.now == self.end and protocol == self.protocol:
            self.case.hop(worked)
        await asyncio.sleep(0)
        works = self.copy[protocol] >= self.needed[protocol]
        bands = self.case.rng(f"bands/{self.now}/{person}").randint(3, 9) if works else 0
        event = self.log[person].log_action("read_gel", {"plate": plate, "bands": bands})
        if not works:
            self.case.symptom(
                event,
                f"The plate of {person} came out empty, and the machine says that everything went well.",
                f"Not one line to be seen on {plate}. The same work went fine a while ago.",
                f"Why is there nothing on the picture that {person} took this morning?",
            )

    # uploads

    def plan_uploads(self) -> None:
        """Draw who uploads and when, and how many requests a month has room for."""
        rng = self.case.rng("uploads")
        self.uploads = {
            shift: [person for person in PEOPLE if rng.random() < 0.3] for shift in range(self.shifts)
        }
        self.uploads[self.end] = [self.victim, *(one for one in self.uploads[self.end] if one != self.victim)]
        self.flaws = {shift for shift in range(self.shifts) if rng.random() < 0.2} | {self.begin}
        length = max(30, self.end - self.begin + 6)
        self.renewals = set(range(self.end + 2, -1, -length)) | set(range(self.end + 2, self.shifts, length))
        used, most = 0, 0
        for shift in range(self.shifts):
            used = 0 if shift in self.renewals else used
            if shift == self.end:
                before = used
            used += len(self.uploads[shift]) + 3 * (shift in self.flaws)
            most = max(most, used)
        self.room = self.left = most + 6
        self.storm = self.room - before + 3  # instead of the three attempts at the flaw of that shift

    def upload(self, person: str) -> None:
        """Upload a file; being refused because the month is used up is the symptom."""
        name = self.number("F")
        self.log[person].log_action("upload", {"file": name})
        if self.left <= 0:
            refused = self.log["gateway"].log_action("answer", {"file": name, "code": 429})
            self.case.hop(refused)
            event = self.log[person].log_action("keep_local", {"file": name})
            self.case.symptom(
                event,
                f"{person} could not send any results to the partners, and the deadline passed.",
                "The partners in Lyon see nothing new from us. Sending does not work since today.",
                f"Why are the results of {person} still only on the laptop?",
            )
            return
        self.left -= 1
        self.log["gateway"].log_action("answer", {"file": name, "code": 200})

    def attempt(self, name: str, pause_s: int) -> str:
        """Let the client offer a file that is not accepted, once."""
        tried = self.log["sync_client"].log_action("offer", {"file": name, "pause_s": pause_s})
        self.left -= self.left > 0
        self.log["gateway"].log_action("answer", {"file": name, "code": 409})
        return tried

    def synchronise(self) -> None:
        """Offer files that have a flaw: three times with growing pauses, then the file is set aside."""
        case = self.case
        if self.now in self.flaws:
            name = self.number("F")
            if self.now == self.begin and case.strikes("retry_storm"):
                self.stormed = name
            else:
                for pause_s in (1, 60, 3600):
                    self.attempt(name, pause_s)
                self.log["sync_client"].log_action("set_aside", {"file": name})
        if case.strikes("retry_storm") and self.begin <= self.now < self.end:
            lag, past = self.end - self.begin, self.now - self.begin
            for _ in range(self.storm * (past + 1) // lag - self.storm * past // lag):
                tried = self.attempt(self.stormed, 0)
                if self.roots_left:
                    case.root(tried)
                    self.roots_left -= 1

    # the shifts

    async def routine(self, person: str) -> None:
        """Do what one person does in a shift."""
        rng = self.case.rng(f"routine/{self.now}/{person}")
        await asyncio.sleep(0)
        if rng.random() < 0.2:
            machine, ahead = rng.choice(MACHINES), rng.randint(1, 20)
            if not self.case.has("race") or machine != self.machine or abs(self.now + ahead - self.end) > 6:
                await self.book(person, machine, self.now + ahead, self.desk, 1)
        await asyncio.sleep(0)
        reagent, millilitres = rng.choice(REAGENTS), rng.randint(1, 3)
        if rng.random() < 0.5 and not self.is_spared(reagent):
            await self.take(person, reagent, millilitres, self.desk, 1)
        if person in self.loans[self.now]:
            self.carry(person)
        protocol = rng.choice(PROTOCOLS)
        spared = self.case.has("stale_cache") and self.begin <= self.now < self.end
        if rng.random() < 0.35 and not (spared and protocol == self.protocol):
            await self.let_robot_work(person, protocol)
        await asyncio.sleep(0)
        if rng.random() < 0.3:
            self.log[person].log_action("write_notebook", {"pages": rng.randint(1, 4)})
        if person in self.uploads[self.now]:
            self.upload(person)

    def specials(self) -> list[Coroutine[Any, Any, None]]:
        """Return what the two of the case do together, and what the third one does at the end."""
        case, now = self.case, self.now
        found: list[Coroutine[Any, Any, None]] = []
        if case.has("race") and now == self.begin:
            guard = self.guard("race")
            found = [self.book(one, self.machine, self.end, guard, 2) for one in (self.first, self.second)]
        if case.has("lost_update") and now == self.begin:
            guard = self.guard("lost_update")
            found.append(self.take(self.first, self.reagent, 4, guard, 4))
            found.append(self.take(self.second, self.reagent, 30, guard, 1))
        if case.has("lost_update") and now == self.end:
            found.append(self.take(self.victim, self.reagent, 12, self.desk, 1))
        if case.has("stale_cache") and now == self.end:
            found.append(self.let_robot_work(self.victim, self.protocol))
        return found

    async def between(self) -> None:
        """Take the rest of the reagent bit by bit between the two shifts of a case of lost update."""
        rng = self.case.rng("between")
        for _ in range(3):
            shift, person = rng.randint(self.begin, self.end - 1), rng.choice(PEOPLE)
            if shift == self.now:
                await self.take(person, self.reagent, 6, self.desk, 1)

    def chores(self, rng: random.Random) -> None:
        """Change everyday settings, and note small troubles that are dealt with at once."""
        if rng.random() < 0.3:
            name, value = rng.choice((("hood_airflow", 45), ("room_degrees", 21), ("alarm_delay", 90)))
            self.house.log_config(name, value, value + rng.randint(-3, 3))
        if rng.random() < 0.15:
            self.log["caretaker"].warning("autoclave door did not close, closed at the second try")
        if rng.random() < 0.08:
            self.log[rng.choice(MACHINES)].error("lid sensor gave no answer, run went on after a reset")
        if rng.random() < 0.4:
            self.log["caretaker"].log_action("empty_bins", {"floor": rng.randint(1, 4)})
        if self.now == self.case.decoy_at:
            self.log["gateway"].warning("line was down for a minute, all came through afterwards")

    async def live(self) -> None:
        """Let all shifts pass."""
        for now in range(self.shifts):
            self.now = now
            if now in self.renewals:
                self.left = self.room
                self.log["gateway"].log_action("new_month", {"requests": self.room})
            self.revise(self.case.rng(f"revise/{now}"))
            self.courier(self.case.rng(f"courier/{now}"))
            self.visit()
            order = self.case.rng(f"order/{now}").sample(PEOPLE, len(PEOPLE))
            if now == self.end:
                order.sort(key=lambda one: one != self.victim)
            await asyncio.gather(*(self.routine(person) for person in order))
            await asyncio.gather(*self.specials())
            if self.case.has("lost_update"):
                await self.between()
            self.synchronise()
            self.evening(self.case.rng(f"evening/{now}"))
            self.chores(self.case.rng(f"chores/{now}"))


def play(case: Case) -> None:
    """Play a case."""
    asyncio.run(Lab(case).live())


WORLD = World(
    "biolab",
    "bare",
    ("race", "retry_storm", "leaked_resource", "stale_cache", "lost_update"),
    play,
    author=6,
)
