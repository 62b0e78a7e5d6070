"""An epidemic in a town, with tests and contact tracing. Acts name their causes, and results travel as messages."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from Agent import AgentLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

HOURS = 110
PRACTICES = ("practice_east", "practice_west", "practice_hill")
TRACERS = ("tracer_ana", "tracer_ben", "tracer_cleo")
PLACES = ("choir", "market hall", "chess club", "swimming pool", "library")


class Town:
    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("town")
        plan = case.rng("plan")
        self.begin, self.end = case.window(HOURS)
        self.practice, self.elsewhere = plan.sample(PRACTICES, 2)
        self.tracer = plan.choice(TRACERS)
        self.place = plan.choice(PLACES)
        self.carrier, self.double = "p901", "p910"
        self.index, self.tubes = "p950", itertools.count(1000)
        self.ordered_home: dict[str, str] = {}
        roles = dict.fromkeys(PRACTICES, "practice") | dict.fromkeys(TRACERS, "tracer")
        roles |= {"lab": "lab", "analyser_1": "analyser", "analyser_2": "analyser", "health_office": "office"}
        roles |= {"town_hall": "host", "statistics": "office"}
        self.log = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.people = itertools.cycle(f"p{number}" for number in range(100, 800))
        self.settings = SystemLogger("town")
        self.planned = False

    def note(self, who: str, what: str, causes: Any = None, **data: Any) -> str:
        return self.log[who].log_action(what, data, causes=causes)

    def way(self, *events: str) -> None:
        """The planned chain, as far as there is one."""
        if self.planned and self.case.faulty:
            self.case.hop(*events)

    def swab(
        self, practice: str, persons: Sequence[str], infected: set[str], exchanged: bool = False
    ) -> None:
        """Two persons at a time: two tubes, two labels, and what the analyser finds in them."""
        tubes = [f"t{next(self.tubes)}" for _ in persons]
        taken = [
            self.note(practice, "take_swab", person=p, tube=t) for p, t in zip(persons, tubes, strict=True)
        ]
        names = list(reversed(persons)) if exchanged else list(persons)
        labels = self.note(practice, "label_tubes", taken, tubes=tubes, persons=names)
        if exchanged:
            self.case.root(labels, *taken)
        for person, tube, label in zip(persons, tubes, names, strict=True):
            self.test(practice, tube, label, person in infected, labels)

    def test(self, practice: str, tube: str, label: str, infected: bool, cause: str) -> None:
        case, special = self.case, self.planned and label == self.carrier
        machine = self.rng.choice(("analyser_1", "analyser_2"))
        blind = special and case.strikes("trusted_tool")
        control = 0.04 if blind else round(self.rng.uniform(0.9, 1.1), 2)
        cycles = self.rng.randint(18, 29)
        positive = infected and not blind
        run = self.note(
            machine,
            "run_tube",
            cause,
            tube=tube,
            cycles=cycles if positive else 40,
            control=control,
            positive=positive,
        )
        read = self.note("lab", "read_result", run, tube=tube, person=label, positive=positive)
        if blind:
            case.root(run, read)
        self.way(run, read)
        if special and case.strikes("omitted_message"):
            case.root(read)
            return
        to = self.elsewhere if special and case.strikes("wrong_recipient") else practice
        letter = self.log["lab"].send(to, {"tube": tube, "person": label, "positive": positive}, causes=read)
        got = self.log[to].receive(letter)
        if to != practice:
            case.root(letter.event_id, got)
        filed = self.note(to, "file_result", got, tube=tube, person=label, known=to == practice)
        self.way(filed)
        if positive and to == practice:
            self.report(practice, label, filed)

    def report(self, practice: str, person: str, cause: str) -> None:
        letter = self.log[practice].send("health_office", {"case": person}, causes=cause)
        opened = self.note(
            "health_office", "open_case", self.log["health_office"].receive(letter), person=person
        )
        self.stay_home("health_office", person, opened)
        tracer = self.tracer if self.planned else self.rng.choice(TRACERS)
        self.trace(tracer, person, opened)

    def trace(self, tracer: str, person: str, cause: str) -> None:
        case, rng = self.case, self.rng
        contacts = [next(self.people) for _ in range(rng.randint(1, 3))]
        if self.planned and person == self.index:
            contacts.insert(1, self.carrier)
        asked = self.note(tracer, "ask_contacts", cause, person=person, contacts=contacts)
        self.way(asked)
        for contact in contacts:
            called = self.note(tracer, "call_contact", asked, contact=contact, spoke=True)
            if contact == self.carrier and case.strikes("omitted_step"):
                case.root(called, asked)
            else:
                self.stay_home(tracer, contact, called)
        self.note(tracer, "close_list", asked, person=person)

    def stay_home(self, who: str, person: str, cause: str) -> None:
        self.ordered_home[person] = self.note(who, "order_home", cause, person=person, days=10)

    def evening(self, place: str, guests: Sequence[str], infected: set[str], causes: Any) -> None:
        """Who was ordered to stay at home does not come."""
        came = [guest for guest in guests if guest not in self.ordered_home]
        met = self.note("town_hall", "open_evening", causes, place=place, guests=came)
        sick = 6 * len(infected & set(came)) + self.rng.randint(0, 1)
        counted = self.note("health_office", "count_sick", met, place=place, sick=sick)
        seen = self.note("statistics", "print_bulletin", counted, place=place, sick=sick)
        if sick >= 5:
            self.case.hop(met, counted)
            self.case.trigger(met)
            self.case.symptom(
                seen,
                f"six members of the {place} fell ill after one evening, how could that happen",
                f"an outbreak at the {place}: who brought it in?",
                f"statistics shows half of the {place} ill within a day, and we thought all were in quarantine",
                f"why did health_office not keep the virus away from the {place}?",
            )

    def everyday(self, hour: int) -> None:
        rng = self.rng
        for _ in range(rng.randint(1, 2)):
            pair = [next(self.people), next(self.people)]
            self.swab(rng.choice(PRACTICES), pair, {person for person in pair if rng.random() < 0.15})
        if rng.random() < 0.35:
            self.evening(rng.choice(PLACES), [next(self.people) for _ in range(4)], set(), None)
        if rng.random() < 0.3:
            level = rng.choice((1, 2, 3))
            self.settings.log_config(f"mask_level_{rng.choice(PLACES)}", old_value=1, new_value=level)
        if rng.random() < 0.15:
            machine = rng.choice(("analyser_1", "analyser_2"))
            self.log[machine].warning("a tube was jammed and put in again", {"hour": hour})
        if rng.random() < 0.15:
            got = self.note(rng.choice(TRACERS), "call_contact", contact=next(self.people), spoke=False)
            self.note("health_office", "send_letter", got, reason="not reached")
        if rng.random() < 0.1:
            lost = self.log["lab"].send(
                "practice_hill", {"tube": "t0000", "person": "unknown", "positive": False}
            )
            got = self.log["practice_hill"].receive(lost)
            self.note("practice_hill", "file_result", got, tube="t0000", person="unknown", known=False)
        if hour == self.case.decoy_at:
            self.note("town_hall", "air_rooms", minutes=30)
            self.log["town_hall"].warning("the heating failed for an hour", {"degrees": 14})

    def beginning(self) -> None:
        self.planned = True
        if self.case.has("omitted_step"):
            self.swab(self.practice, [self.index, self.double], {self.index})
        else:
            exchanged = self.case.strikes("swapped_fields")
            self.swab(self.practice, [self.carrier, self.double], {self.carrier}, exchanged)
        self.planned = False


def play(case: Case) -> None:
    town = Town(case)
    for hour in range(HOURS):
        with tick(hour):
            town.everyday(hour)
            if hour == case.begin:
                town.beginning()
            if hour == case.end:
                guests = [town.carrier, *(next(town.people) for _ in range(3))]
                town.evening(town.place, guests, {town.carrier}, None)


KINDS = ("swapped_fields", "omitted_message", "wrong_recipient", "trusted_tool", "omitted_step")
WORLD = World("epidemic", "edges", KINDS, play, author=2)
