"""Camps on an ice sheet: they ask by radio to be fetched, desks plan journeys, sledge trains drive from depot to depot.

Whatever one tells another is a message, sent and received, and each act names what led to it. One tick is a day.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

CAMPS = ("camp_skua", "camp_petrel", "camp_krill", "camp_tern", "camp_orca", "camp_minke")
TRAINS = ("train_anna", "train_boris", "train_chen", "train_dagny")
OPERATORS = ("radio_day", "radio_night")
POSTS = {
    "camp_skua": "post_ridge",
    "camp_krill": "post_bay",
    "camp_minke": "post_ridge",
    "camp_orca": "post_bay",
}
DEPOTS = tuple(f"depot_{number}" for number in range(1, 9))
WANTS = ("fetch_people", "fetch_cores", "fetch_waste")


@dataclass
class Journey:
    """A journey to a camp, as the travel desk planned it and as its train knows it."""

    call: str
    camp: str
    day: int
    is_planned: bool = False
    train: str = ""
    depot: str = ""
    order: dict[str, Any] = field(default_factory=dict)
    planned: str = ""
    known_day: int = -1
    known: str = ""
    permit_until: int = 10**6
    permit: str = ""
    asks_again: bool = False
    asked: str = ""
    came: str = ""


class Ice:
    """The ice sheet, played day by day."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.days = case.rng("days").randint(60, 105)
        self.begin, self.end = case.window(self.days)
        self.now = 0
        roles = {
            **dict.fromkeys(CAMPS, "camp"),
            **dict.fromkeys(TRAINS, "sledge_train"),
            **dict.fromkeys(OPERATORS, "operator"),
            **dict.fromkeys(POSTS.values(), "ranger"),
            "travel_desk": "desk",
            "stores_desk": "desk",
            "weather_desk": "desk",
            "fuel_clerk": "clerk",
            "warden": "warden",
            "hill_repeater": "repeater",
        }
        self.log = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.calls, self.orders, self.sheets = 3100, 500, 40
        self.due: dict[int, list[Journey]] = {}
        self.plans: dict[int, list[tuple[Journey, str]]] = {}
        self.spike: list[tuple[str, Journey, str]] = []
        self.later: list[tuple[Journey, dict[str, Any], str]] = []
        self.drums = dict.fromkeys(DEPOTS, 9)
        self.board = dict.fromkeys(DEPOTS, 9)
        self.chalked = dict.fromkeys(DEPOTS, "")
        self.belief = ""
        who = case.rng("who")
        self.camp = who.choice(sorted(POSTS)) if case.has("expired_permission") else who.choice(CAMPS)
        self.train, self.passer = who.sample(TRAINS, 2)
        self.operator = who.choice(OPERATORS)
        self.lonely, self.sure, self.plenty = who.sample(DEPOTS, 3)
        self.planned_on = who.randint(self.begin, self.end)
        self.target: Journey | None = None

    def tell(self, sender: str, to: str, body: dict[str, Any], because: str | list[str]) -> str:
        """Send a message and let it be received; return the event of the receipt."""
        return self.tell_both(sender, to, body, because)[1]

    def tell_both(
        self, sender: str, to: str, body: dict[str, Any], because: str | list[str]
    ) -> tuple[str, str]:
        """Send a message and let it be received; return both events."""
        message = self.log[sender].send(to, body, causes=because)
        return message.event_id, self.log[to].receive(message)

    def act(self, who: str, what: str, data: dict[str, Any], because: str | list[str] = "") -> str:
        """Note an act with what led to it."""
        reasons = [because] if isinstance(because, str) else because
        return self.log[who].log_action(what, data, causes=[one for one in reasons if one])

    def hop(self, journey: Journey, *events: str) -> None:
        """Note events on the way to the symptom."""
        if journey.is_planned:
            self.case.hop(*events)

    # A camp asks

    def ask(
        self, rng: random.Random, camp: str, day: int, *, is_planned: bool = False, plan_on: int = -1
    ) -> Journey:
        """Let a camp ask to be fetched; an operator passes it to the desk that plans, sometimes with a copy."""
        case = self.case
        self.calls += 1
        journey = Journey(f"K{self.calls}", camp, day, is_planned)
        want, operator = rng.choice(WANTS), self.operator if is_planned else rng.choice(OPERATORS)
        journey.asked = self.act(camp, "write_log", {"call": journey.call, "want": want, "on": day})
        got = self.tell(camp, operator, {"call": journey.call, "want": want, "on": day}, journey.asked)
        taken = self.act(operator, "take_down", {"call": journey.call}, got)
        to = "travel_desk"
        struck = is_planned and case.strikes("wrong_recipient", self.now)
        if struck:
            to = "stores_desk"
        body = {"call": journey.call, "camp": camp, "want": want, "on": day}
        sent, there = self.tell_both(operator, to, body, taken)
        if is_planned and case.has("wrong_recipient"):
            case.root(sent, there)
        if to == "travel_desk":
            when = max(self.now, min(plan_on, day))
            self.plans.setdefault(when, []).append((journey, there))
            if rng.random() < 0.4 and not (is_planned and case.has("wrong_recipient")):
                there = self.tell(operator, "stores_desk", body, taken)
                self.act(
                    "stores_desk",
                    "put_aside_rations",
                    {"call": journey.call, "boxes": rng.randint(1, 4)},
                    there,
                )
        else:
            put = self.act(
                "stores_desk", "put_aside_rations", {"call": journey.call, "boxes": rng.randint(1, 4)}, there
            )
            self.hop(journey, put)
        self.due.setdefault(day, []).append(journey)
        return journey

    # The desk plans

    def plan(self, journey: Journey, there: str, rng: random.Random) -> None:
        """Let the travel desk choose a train and a depot, get the permit, and order the journey."""
        journey.train = self.train if journey.is_planned else rng.choice(TRAINS)
        asked = self.tell("travel_desk", "fuel_clerk", {"call": journey.call, "need": 2}, there)
        if journey.is_planned and self.case.has("false_belief"):
            first = [self.lonely, self.sure]
        else:
            first = [depot for depot in rng.sample(DEPOTS, 8) if not self.is_left_alone(depot, journey.day)]
        journey.depot = next((depot for depot in first if self.board[depot] >= 2), self.plenty)
        told = self.tell(
            "fuel_clerk", "travel_desk", {"use": journey.depot}, [asked, self.chalked[journey.depot]]
        )
        self.orders += 1
        journey.order = {
            "order": f"S{self.orders}",
            "camp": journey.camp,
            "day": journey.day,
            "depot": journey.depot,
        }
        journey.planned = self.act(
            "travel_desk", "plan_journey", {**journey.order, "train": journey.train}, [there, told]
        )
        self.hop(journey, journey.planned)
        if journey.camp in POSTS:
            self.permit(journey, rng)
        self.send_order(journey, rng)

    def is_left_alone(self, depot: str, day: int) -> bool:
        """Tell whether nobody else uses a depot any more, from a few days before the fault."""
        return self.case.has("false_belief") and depot == self.lonely and day >= self.begin - 4

    def permit(self, journey: Journey, rng: random.Random) -> None:
        """Let the warden allow a train to enter; the permit is for the day of the journey and some days more."""
        self.sheets += 1
        data = {"sheet": f"E{self.sheets}", "train": journey.train, "post": POSTS[journey.camp]}
        asked = self.tell("travel_desk", "warden", {**data, "on": journey.day}, journey.planned)
        until = journey.day + rng.randint(0, 6)
        if (
            not journey.is_planned and rng.random() < 0.15
        ):  # the train sees that it is short, and asks once more
            until = rng.randint(self.now, max(self.now, journey.day - 1))
            journey.asks_again = True
        struck = journey.is_planned and self.case.strikes("expired_permission", self.now)
        if struck:
            until = rng.randint(self.now, self.end - 1)
        given = self.act("warden", "allow_entry", {**data, "until": until}, asked)
        sent, journey.permit = self.tell_both("warden", journey.train, {**data, "until": until}, given)
        journey.permit_until = until
        if journey.is_planned and self.case.has("expired_permission"):
            self.case.root(given, sent)

    def permit_again(self, journey: Journey) -> None:
        """Let a train ask for a permit that is valid on its day."""
        self.sheets += 1
        data = {"sheet": f"E{self.sheets}", "train": journey.train, "post": POSTS[journey.camp]}
        asked = self.tell(journey.train, "warden", {**data, "on": self.now}, [journey.known, journey.permit])
        journey.permit_until = self.now + self.sheets % 3
        given = self.act("warden", "allow_entry", {**data, "until": journey.permit_until}, asked)
        journey.permit = self.tell("warden", journey.train, {**data, "until": journey.permit_until}, given)

    def send_order(self, journey: Journey, rng: random.Random) -> None:
        """Send an order by radio; a train that does not answer gets it in the evening round."""
        case, operator = self.case, self.operator if journey.is_planned else rng.choice(OPERATORS)
        got = self.tell("travel_desk", operator, journey.order, [journey.planned])
        silent = rng.random() < 0.35
        if journey.is_planned:
            silent = case.has("dead_letter")
        if not silent:
            self.note(journey, journey.order, self.tell(operator, journey.train, journey.order, got))
            return
        tried = self.act(
            operator, "call_in_vain", {"order": journey.order["order"], "train": journey.train}, got
        )
        if journey.is_planned and case.strikes("dead_letter", self.now):
            put = self.act(operator, "put_in_folder", {"order": journey.order["order"]}, tried)
            case.root(put)
            case.hop(got)
            return
        if (
            not journey.is_planned and rng.random() < 0.3
        ):  # the other operator is told as well, and reaches them
            self.act(operator, "put_in_folder", {"order": journey.order["order"]}, tried)
            other = OPERATORS[1 - OPERATORS.index(operator)]
            got = self.tell("travel_desk", other, journey.order, [journey.planned])
            self.note(journey, journey.order, self.tell(other, journey.train, journey.order, got))
            return
        put = self.act(operator, "put_on_spike", {"order": journey.order["order"]}, tried)
        if journey.is_planned:
            case.root(put)
        self.spike.append((operator, journey, put))
        if rng.random() < 0.3 and not journey.is_planned:  # a second slip of the same order is only kept
            self.act(operator, "put_in_folder", {"order": journey.order["order"]}, tried)

    def evening_round(self) -> None:
        """Send what is on the spike."""
        for operator, journey, put in self.spike:
            self.note(journey, journey.order, self.tell(operator, journey.train, journey.order, put))
        self.spike = []

    def note(self, journey: Journey, order: dict[str, Any], got: str) -> str:
        """Let a train note an order as it is told, in place of what it had noted for it."""
        journey.known_day = order["day"]
        journey.known = self.act(
            journey.train, "note_order", {"order": order["order"], "day": order["day"]}, got
        )
        self.hop(journey, journey.known)
        return journey.known

    # Changes

    def change(self, journey: Journey, day: int, sledges: int, why: str, keep: bool) -> str:
        """Change an order; the repeater passes it on at once, or keeps it until its window."""
        changed = self.act(
            "travel_desk",
            "change_journey",
            {"order": journey.order["order"], "day": day},
            [journey.planned, why],
        )
        order = {**journey.order, "day": day, "sledges": sledges}
        got = self.tell("travel_desk", "hill_repeater", order, changed)
        if keep:
            kept = self.act("hill_repeater", "keep_for_window", {"order": order["order"]}, got)
            self.later.append((journey, order, kept))
            return kept
        self.note(journey, order, self.tell("hill_repeater", journey.train, order, got))
        return got

    def open_window(self) -> list[str]:
        """Let the repeater pass on what it kept."""
        events = []
        for journey, order, kept in self.later:
            sent, got = self.tell_both("hill_repeater", journey.train, order, kept)
            noted = self.note(journey, order, got)
            if journey.is_planned:
                events += [sent, noted]
        self.later = []
        return events

    def changes(self, rng: random.Random) -> None:
        """Change some journeys of the next days."""
        for day in sorted(self.due):
            for journey in list(self.due[day]):
                if journey.is_planned or not journey.known or day <= self.now or rng.random() > 0.09:
                    continue
                new = day + rng.choice((0, 0, 1, 2))
                if new >= self.days or journey.permit_until < new or self.is_left_alone(journey.depot, new):
                    new = day
                why = self.tell(journey.camp, "travel_desk", {"call": journey.call, "on": new}, journey.asked)
                if new > day:
                    self.due[day].remove(journey)
                    self.due.setdefault(new, []).append(journey)
                journey.day = new
                keep = rng.random() < 0.5
                self.change(journey, new, rng.randint(2, 4), why, keep)
                if rng.random() < 0.35:  # the number of sledges changes once more
                    self.change(journey, new, rng.randint(2, 4), why, False)

    # On the day

    def drive(self, journey: Journey, rng: random.Random) -> None:
        """Drive to a camp; without fuel or without a valid permit a train gets no further."""
        train, case = journey.train, self.case
        asked = self.tell(train, "weather_desk", {"for": journey.camp}, journey.known)
        told = self.tell(
            "weather_desk", train, {"wind": rng.randint(4, 31), "cloud": rng.randint(0, 8)}, asked
        )
        if journey.asks_again and journey.permit_until < self.now:
            self.permit_again(journey)
        out = self.act(train, "set_out", {"order": journey.order["order"]}, [journey.known, told])
        if rng.random() < 0.1:
            out = self.act(train, "make_camp", {"at": f"km_{rng.randint(20, 300)}"}, out)
        left = self.drums[journey.depot] - 2
        if left < 0:
            found = self.act(
                train, "dig_for_drums", {"depot": journey.depot, "found": self.drums[journey.depot]}, out
            )
            self.hop(journey, found)
            return
        if rng.random() < 0.12:  # under the snow
            found = {"depot": journey.depot, "found": self.drums[journey.depot]}
            out = self.act(train, "dig_for_drums", found, out)
        self.drums[journey.depot] = left
        fuel = self.act(train, "take_drums", {"depot": journey.depot, "took": 2, "left": left}, out)
        self.report(train, journey.depot, left, fuel)
        if journey.camp in POSTS:
            post = POSTS[journey.camp]
            shown = self.tell(train, post, {"order": journey.order["order"]}, [fuel, journey.permit])
            valid = journey.permit_until >= self.now
            looked = self.act(post, "look_at_sheet", {"train": train, "until": journey.permit_until}, shown)
            answer = self.tell(post, train, {"pass": valid}, looked)
            if not valid:
                turned = self.act(train, "make_camp", {"at": post}, answer)
                case.hop(looked, turned)
                return
            fuel = answer
        journey.came = self.act(train, "reach_camp", {"camp": journey.camp}, fuel)
        self.hop(journey, journey.came)

    def report(self, train: str, depot: str, drums: int, because: str) -> tuple[str, str]:
        """Let a train report the drums of a depot, which the clerk chalks up."""
        sent, got = self.tell_both(train, "fuel_clerk", {"depot": depot, "drums": drums}, because)
        self.board[depot] = drums
        self.chalked[depot] = self.act("fuel_clerk", "chalk_up", {"depot": depot, "drums": drums}, got)
        return sent, got

    def close_day(self) -> None:
        """Let camps note who came; a camp that waited in vain is the symptom."""
        for journey in self.due.pop(self.now, []):
            self.act(journey.camp, "strike_tents", {"call": journey.call}, journey.asked)
            event = self.act(
                journey.camp,
                "close_day",
                {"call": journey.call, "came": bool(journey.came)},
                [journey.came, journey.asked],
            )
            if not journey.came:
                self.case.symptom(
                    event,
                    f"{journey.camp} stood at the flag all day on day {self.now} and nobody came to fetch them.",
                    f"We waited in vain on day {self.now} although we had asked in good time. The tents were already down.",
                    f"Why was {journey.camp} left out there? weather_desk says that the sky was clear.",
                    f"Nobody turned up for call {journey.call}.",
                )

    # Everyday

    def refill(self, rng: random.Random) -> None:
        """Bring drums to depots that run low."""
        for depot in DEPOTS:
            need = 2 * sum(1 for journey in self.due.get(self.now, []) if journey.depot in (depot, ""))
            if self.drums[depot] < 2 + need and not self.is_left_alone(depot, self.now):
                train = rng.choice(TRAINS)
                self.drums[depot] += max(8, need)
                laid = self.act(
                    train, "lay_drums", {"depot": depot, "left": self.drums[depot]}, self.chalked[depot]
                )
                self.report(train, depot, self.drums[depot], laid)

    def pass_by(self, rng: random.Random) -> None:
        """Let trains count drums as they pass; who miscounts is put right by the next."""
        depot = rng.choice(DEPOTS)
        if not self.is_left_alone(depot, self.now) and rng.random() < 0.5:
            first, second = rng.sample(TRAINS, 2)
            miscounts = rng.random() < 0.2
            saw = self.act(first, "pass_depot", {"depot": depot})
            self.report(first, depot, self.drums[depot] + miscounts * rng.choice((-1, 1, 3)), saw)
            if miscounts:
                self.report(
                    second, depot, self.drums[depot], self.act(second, "pass_depot", {"depot": depot})
                )

    def order_food(self, rng: random.Random) -> None:
        """Let camps ask for rations, which the stores desk sends with whatever goes there."""
        for camp in rng.sample(CAMPS, rng.choice((0, 0, 1, 2))):
            self.calls += 1
            call, operator, on = f"K{self.calls}", rng.choice(OPERATORS), self.now + rng.randint(1, 30)
            asked = self.act(camp, "write_log", {"call": call, "want": "rations", "on": on})
            got = self.tell(camp, operator, {"call": call, "want": "rations", "on": on}, asked)
            taken = self.act(operator, "take_down", {"call": call}, got)
            body = {"call": call, "camp": camp, "want": "rations", "on": on}
            there = self.tell(operator, "stores_desk", body, taken)
            self.act("stores_desk", "put_aside_rations", {"call": call, "boxes": rng.randint(1, 4)}, there)

    def chores(self, rng: random.Random) -> None:
        """Note small troubles and everyday settings."""
        if rng.random() < 0.3:
            self.act(rng.choice(OPERATORS), "set_threshold", {"squelch": rng.randint(2, 9)})
        if rng.random() < 0.15:
            self.act("weather_desk", "set_display", {"hpa_step": rng.choice((2, 4, 5))})
        if rng.random() < 0.1:
            self.log[rng.choice(CAMPS)].warning("aerial iced over, knocked free")
        if rng.random() < 0.07:
            self.log["hill_repeater"].error("battery low, second bank switched in")
        if rng.random() < 0.25:
            self.act(rng.choice(CAMPS), "bore_core", {"metres": rng.randint(10, 300)})
        if rng.random() < 0.02:
            self.act("warden", "count_seals", {"seen": rng.randint(3, 80)})
        for name in rng.sample(TRAINS, 2):
            heard = self.tell(name, rng.choice(OPERATORS), {"km": rng.randint(0, 90)}, "")
            if rng.random() < 0.3:
                self.act(name, "mend_runner", {"sledge": rng.randint(1, 6)}, heard)
        if self.now == self.case.decoy_at:
            self.log[self.camp].warning("aerial iced over, knocked free")
            self.act(self.train, "mend_runner", {"sledge": 2})

    # The plan of the case

    def ask_target(self, plan_on: int) -> None:
        """Let the camp of the case ask to be fetched at `end`."""
        self.target = self.ask(self.case.rng("target"), self.camp, self.end, is_planned=True, plan_on=plan_on)

    def fault(self) -> None:
        """Do what the plan has for this day, with the fault or without it."""
        case, now = self.case, self.now
        early = self.begin - case.rng("early").randint(1, 2)
        if case.has("wrong_recipient") and now == self.begin:
            self.ask_target(self.planned_on)
        elif now == early and (case.has("dead_letter") or case.has("expired_permission")):
            self.ask_target(self.begin)
        elif case.has("out_of_order") and now == early:
            self.ask_target(now)
        elif case.has("false_belief"):
            self.fault_of_belief(early)
        if case.has("out_of_order") and now == self.begin and self.target is not None:
            self.fault_of_order(self.target)

    def fault_of_belief(self, early: int) -> None:
        """Let somebody take the last drums, somebody else report the depot, and the camp ask."""
        case, now = self.case, self.now
        if now == early:
            took = self.drums[self.lonely]
            self.drums[self.lonely] = 0
            fuel = self.act(self.train, "take_drums", {"depot": self.lonely, "took": took, "left": 0})
            self.report(self.train, self.lonely, 0, fuel)
        if now == self.begin:
            saw = self.act(self.passer, "pass_depot", {"depot": self.lonely})
            drums = case.rng("drums").randint(4, 7) if case.strikes("false_belief", now) else 0
            sent, got = self.report(self.passer, self.lonely, drums, saw)
            case.root(sent, got)
            case.hop(self.chalked[self.lonely])
        if now == case.rng("asks").randint(self.begin, self.planned_on):
            self.ask_target(self.planned_on)

    def fault_of_order(self, journey: Journey) -> None:
        """Change the journey of the case twice; the day of the second change is the day that the camp knows."""
        rng = self.case.rng("changes")
        wrong = self.end + rng.randint(1, 4)
        why = self.tell(journey.camp, "travel_desk", {"call": journey.call, "on": wrong}, journey.asked)
        keep = self.case.strikes("out_of_order", self.now)
        kept = self.change(journey, wrong, 3, why, keep)
        why = self.tell(journey.camp, "travel_desk", {"call": journey.call, "on": self.end}, why)
        self.change(journey, self.end, 3, why, False)
        self.case.root(kept)
        if keep:
            self.case.root(*self.open_window())

    def play(self) -> None:
        """Play all days."""
        case = self.case
        for now in range(self.days):
            self.now = now
            with tick(now):
                self.refill(case.rng(f"refill/{now}"))
                self.pass_by(case.rng(f"pass/{now}"))
                rng = case.rng(f"ask/{now}")
                for _ in range(rng.choice((0, 1, 1, 2))):
                    lead = round(math.exp(rng.uniform(0, math.log(0.5 * self.days))))
                    day, camp = now + lead, rng.choice(CAMPS)
                    if day < self.days and not (camp == self.camp and day == self.end):
                        self.ask(rng, camp, day, plan_on=rng.randint(now, day))
                self.fault()
                for journey, there in self.plans.pop(now, []):
                    self.plan(journey, there, case.rng(f"plan/{journey.call}"))
                self.changes(case.rng(f"changes/{now}"))
                self.open_window()
                self.evening_round()
                self.order_food(case.rng(f"food/{now}"))
                self.chores(case.rng(f"chores/{now}"))
                for journey in list(self.due.get(now, [])):
                    if journey.known and journey.known_day <= now:
                        self.drive(journey, case.rng(f"drive/{journey.call}"))
                self.close_day()


def play(case: Case) -> None:
    """Play a case."""
    Ice(case).play()


WORLD = World(
    "icecamps",
    "edges",
    ("wrong_recipient", "dead_letter", "out_of_order", "false_belief", "expired_permission"),
    play,
    author=17,
)
