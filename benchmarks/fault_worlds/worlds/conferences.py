"""A team of agents that plans conferences: rooms and slots, profiles of speakers, tickets, and a gateway with credits.

All agents of a week work side by side in one run; each has a step, and asks models and tools.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from Agent import AgentLogger, trace_agent_action
from Agent.flight import record_tool, recorder
from benchmarks.fault_worlds.kit import Case, World, call

ROOMS = {"aula": 420, "atrium": 260, "barn": 180, "dome": 150, "gallery": 90, "loft": 60, "cellar": 45}
PLANNERS = ("planner-iris", "planner-juan", "planner-mei")
EVENTS = ("SoilConf", "Glass Days", "OpenRail", "Tidal Forum", "Lexicon Week")
TOWNS = ("Oslo", "Lund", "Turin", "Leeds", "Brno", "Cork", "Nantes", "Gdansk")
SURNAMES = ("Larsen", "Moreau", "Nowak", "Byrne", "Conti", "Lindqvist", "Hughes", "Dvorak")
GIVEN = ("Kim", "Sasha", "Robin", "Andrea", "Noa", "Jo")
CREDITS = 40


@dataclass
class Talk:
    """A talk, as the agents know it."""

    key: str
    event: str
    speaker: str
    expected: int
    week: int
    room: str = ""
    slot: str = ""


@dataclass
class Facts:
    """What is true, and what the services behind the tools hold."""

    answers: dict[str, int] = field(default_factory=dict)
    diary: defaultdict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    homes: dict[str, str] = field(default_factory=dict)
    printer_up: bool = True


class Services:
    """The services that tools reach."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    @record_tool
    async def seats(self, room: str, ask: str) -> int:
        """Tell how many people fit into a room."""
        await asyncio.sleep(0)
        return self.facts.answers.pop(room, ROOMS[room])

    @record_tool
    async def look(self, room: str, slot: str) -> list[str]:
        """Tell what is in the diary of a room."""
        await asyncio.sleep(0)
        return list(self.facts.diary[room, slot])

    @record_tool
    async def write(self, room: str, slot: str, talk: str) -> str:
        """Write a talk into the diary of a room."""
        await asyncio.sleep(0)
        self.facts.diary[room, slot].append(talk)
        return "written"

    @record_tool
    async def printer(self, sheet: str, attempt: int) -> str:
        """Ask the printing firm to take a sheet of badges."""
        await asyncio.sleep(0)
        return "accepted" if self.facts.printer_up else "busy"


class Gateway:
    """The gateway to outside services; each request costs a credit."""

    agent_id, agent_role = "gateway", "gateway"

    def __init__(self) -> None:
        self.credits = CREDITS

    @trace_agent_action("pass_on")
    async def pass_on(self, request: str, by: str) -> str:
        """Pass a request on if there is a credit for it."""
        if self.credits <= 0:
            return "no credit"
        self.credits -= 1
        return "passed"

    @trace_agent_action("top_up")
    async def top_up(self, week: int, credits_: int) -> int:
        """Add the credits that were budgeted for a week."""
        self.credits += credits_
        return self.credits


class Planner:
    """An agent that finds rooms and slots for talks."""

    agent_role = "planner"
    trace_ignore = ("services",)

    def __init__(self, name: str, services: Services) -> None:
        self.agent_id, self.services = name, services

    @trace_agent_action("check_seats")
    async def check_seats(self, ask: str, room: str, expected: int) -> dict[str, Any]:
        """Ask how many people fit into a room."""
        seats = await self.services.seats(room, ask)
        return {"room": room, "seats": seats, "fits": seats >= expected}

    @trace_agent_action("see_diary")
    async def see_diary(self, talk: str, room: str, slot: str) -> str:
        """Look whether a room is free."""
        found = await self.services.look(room, slot)
        return "free" if not found else f"taken by {found[0]}"

    @trace_agent_action("reserve")
    async def reserve(self, talk: str, room: str, slot: str) -> str:
        """Write a talk into the diary."""
        return str(await self.services.write(room, slot, talk))


class Curator:
    """An agent that keeps the profiles of speakers."""

    agent_id, agent_role = "curator", "curator"

    def __init__(self) -> None:
        self.same_as: dict[str, str] = {}

    @trace_agent_action("settle_pair")
    async def settle_pair(self, pair: str, kept: str, other: str, verdict: str) -> str:
        """File what was decided about two profiles with one name."""
        if verdict == "one person":
            self.same_as[other] = kept
        return verdict


class TravelDesk:
    """An agent that buys tickets for speakers."""

    agent_id, agent_role = "travel-desk", "travel"
    trace_ignore = ("gateway", "curator", "homes")

    def __init__(self, gateway: Gateway, curator: Curator, homes: dict[str, str]) -> None:
        self.gateway, self.curator, self.homes = gateway, curator, homes

    @trace_agent_action("buy_ticket")
    async def buy_ticket(self, talk: str, profile: str) -> dict[str, str]:
        """Buy a ticket from the town on the profile."""
        passed = await self.gateway.pass_on(f"fare-{talk}", self.agent_id)
        on_file = self.curator.same_as.get(profile, profile)
        return {"from": self.homes[on_file], "file": on_file, "request": passed}


class BadgeDesk:
    """An agent that has badges printed."""

    agent_id, agent_role = "badge-desk", "badges"
    trace_ignore = ("gateway", "services")

    def __init__(self, gateway: Gateway, services: Services) -> None:
        self.gateway, self.services = gateway, services

    @trace_agent_action("push_sheet")
    async def push_sheet(self, sheet: str, attempt: int) -> str:
        """Send a sheet to the printing firm."""
        if await self.gateway.pass_on(f"{sheet}/{attempt}", self.agent_id) != "passed":
            return "not sent"
        return str(await self.services.printer(sheet, attempt))


class Desk:
    """An agent that meets people: at the door of a room, or in the post."""

    def __init__(self, name: str, role: str) -> None:
        self.agent_id, self.agent_role = name, role

    @trace_agent_action("open_doors")
    async def open_doors(self, talk: str, came: int, inside: int, sign: list[str]) -> dict[str, int]:
        """Let people in."""
        return {"inside": inside, "outside": came - inside}

    @trace_agent_action("read_mail")
    async def read_mail(self, about: str, text: str) -> str:
        """Read what somebody wrote."""
        return text


class Team:
    """The team, played week by week."""

    def __init__(self, case: Case) -> None:
        self.case, self.facts = case, Facts()
        self.weeks = case.rng("weeks").randint(50, 85)
        self.begin, self.end = case.window(self.weeks)
        self.services, self.gateway, self.curator = Services(self.facts), Gateway(), Curator()
        self.travel = TravelDesk(self.gateway, self.curator, self.facts.homes)
        self.badges = BadgeDesk(self.gateway, self.services)
        self.planners = [Planner(name, self.services) for name in PLANNERS]
        self.doors = {room: Desk(f"host-{room}", "host") for room in ROOMS}
        self.chair, self.post = Desk("chair", "chair"), Desk("speaker-desk", "post")
        self.operator = AgentLogger("operator", "operator")
        self.turn = asyncio.Lock()
        self.agenda: defaultdict[int, list[Callable[[], Awaitable[None]]]] = defaultdict(list)
        self.serial = self.budget = 0
        who = case.rng("who")
        self.event, self.room, self.small = (
            who.choice(EVENTS),
            who.choice(("aula", "atrium")),
            who.choice(list(ROOMS)[5:]),
        )
        self.pushes: dict[int, int] = defaultdict(int)
        self.storm_from, self.sheet, self.attempts = -1, "", 0
        for number in range(CREDITS):
            lag = self.end - self.begin
            self.pushes[self.begin + number * lag // CREDITS] += 1

    def key(self, prefix: str) -> str:
        """Return a new key."""
        self.serial += 1
        return f"{prefix}{self.serial:x}"

    def lead(self, rng: Random) -> int:
        """Draw how many weeks ahead something is planned."""
        return max(1, round(math.exp(rng.uniform(0, math.log(0.6 * self.weeks)))))

    def think(self, who: str, week: int, prompt: str, output: str) -> None:
        """Record a call of a model within a step."""
        recorder.record_model_call(
            step_id=f"{who}-w{week}",
            call_id=self.key("m"),
            model_name="conf-large",
            prompt=prompt,
            output=output,
        )

    # ---- rooms

    async def find_room(self, planner: Planner, talk: Talk, rooms: list[str]) -> list[str]:
        """Ask for the seats of rooms until one is large enough; return the asks."""
        asks = []
        for room in rooms:
            asks.append(self.key("q"))
            found = await planner.check_seats(asks[-1], room, talk.expected)
            if found["fits"]:
                talk.room = room
                break
        return asks

    async def place(self, planner: Planner, talk: Talk, slots: list[str], waits: bool) -> None:
        """Put a talk into the first slot that is free in its room; who shares a room waits for its turn."""
        turn: AbstractAsyncContextManager[Any] = self.turn if waits else nullcontext()
        async with turn:
            for slot in slots:
                if await planner.see_diary(talk.key, talk.room, slot) == "free":
                    talk.slot = slot
                    await planner.reserve(talk.key, talk.room, slot)
                    self.agenda[talk.week].append(partial(self.hold, talk))
                    return

    async def hold(self, talk: Talk) -> None:
        """Hold a talk; people who do not get in are a symptom."""
        case, host = self.case, self.doors[talk.room]
        booked = self.facts.diary[talk.room, talk.slot]
        inside = 0 if booked[0] != talk.key else min(talk.expected, ROOMS[talk.room])
        result = await host.open_doors(talk.key, talk.expected, inside, booked)
        outside = result["outside"]
        text = "thanks" if not outside else f"{outside} of us stood outside"
        await self.chair.read_mail(talk.key, text)
        if not outside:
            return
        case.hop(call(host.agent_id, "open_doors", talk=talk.key))
        event = call("chair", "read_mail", about=talk.key)
        if len(booked) > 1:
            case.symptom(
                event,
                f"{host.agent_id} had two audiences at one door in {talk.slot}. Who let that happen?",
                f"Why did {host.agent_id} have talks {booked[0]} and {booked[1]} at the same time?",
                f"{talk.event} had its hall in the {talk.room} taken away by somebody else. We had a reservation.",
                f"A speaker of {talk.event} found another speaker on the stage, and {outside} people left.",
            )
        case.symptom(
            event,
            f"{outside} people could not get into talk {talk.key} in the {talk.room}.",
            f"{host.agent_id} sent {outside} people away. The number of guests was known from the start.",
            f"Why was {talk.key} of {talk.event} put into a room as small as the {talk.room}?",
            f"{host.agent_id} complains: {talk.expected} guests for a handful of chairs.",
        )

    # ---- speakers

    async def settle(self, week: int, first: str, second: str, verdict: str) -> str:
        """Ask a model whether two profiles are one person, and file its verdict; return the key of the pair."""
        pair, homes = self.key("pair-"), self.facts.homes
        prompt = f"{first}: {homes[first]}. {second}: {homes[second]}. One person?"
        self.think("curator", week, prompt, verdict)
        await self.curator.settle_pair(pair, first, second, verdict)
        return pair

    async def ticket(self, talk: str, speaker: str) -> None:
        """Buy a ticket; a speaker who cannot use it is a symptom."""
        case, home = self.case, self.facts.homes[speaker]
        bought = await self.travel.buy_ticket(talk, speaker)
        fine = bought["from"] == home and bought["request"] == "passed"
        text = "thank you" if fine else f"I live in {home}, this cannot be right"
        text = text if bought["request"] == "passed" else "I have no ticket yet"
        await self.post.read_mail(f"ticket {talk}", text)
        if fine:
            return
        case.hop(call("travel-desk", "buy_ticket", talk=talk))
        event = call("speaker-desk", "read_mail", about=f"ticket {talk}")
        if bought["request"] == "passed":
            case.symptom(
                event,
                f"The speaker of {talk} lives in {home} and got a ticket from {bought['from']}.",
                f"Why does travel-desk send somebody from {home} a train from {bought['from']}?",
                f"speaker-desk has a letter from {home}: the ticket for {talk} starts in the wrong town.",
                f"A guest cannot come, as the journey for {talk} begins in {bought['from']}. Why there?",
            )
            return
        case.trigger(call("travel-desk", "buy_ticket", talk=talk))
        case.hop(call("gateway", "pass_on", request=f"fare-{talk}"))
        case.symptom(
            event,
            f"travel-desk could not buy the ticket for {talk}, the gateway has no credit left. What used it up?",
            f"Where did all our credits go? The speaker of {talk} has no ticket.",
            f"The speaker of {talk} writes to speaker-desk that nothing has come.",
            "Our credits were budgeted for every request of the week, and now there are none.",
        )

    # ---- badges

    async def badge_storm(self, week: int) -> None:
        """Go on with a sheet that the firm did not take: three times at most, or as long as there are credits."""
        case = self.case
        if week == self.begin:
            self.sheet = self.key("sheet-")
            self.storm_from = week if case.strikes("retry_storm", week) else -1
        self.facts.printer_up = False
        for _ in range(3 if week == self.begin and self.storm_from < 0 else 0):
            await self.push(watched=False)
        if 0 <= self.storm_from <= week:
            for _ in range(self.pushes[week] if week < self.end else 3):
                await self.push(watched=True)
        self.facts.printer_up = True

    async def push(self, *, watched: bool) -> None:
        """Push the planned sheet once more."""
        self.attempts += 1
        await self.badges.push_sheet(self.sheet, self.attempts)
        if watched and self.attempts <= 3:
            self.case.root(call("badge-desk", "push_sheet", sheet=self.sheet, attempt=self.attempts))

    # ---- weeks

    async def planner_week(self, planner: Planner, week: int) -> None:
        """Plan one or two talks."""
        rng = self.case.rng(f"{planner.agent_id} {week}")
        with recorder.step(f"{planner.agent_id}-w{week}", "Plan talks"):
            for _ in range(rng.randint(1, 2)):
                on, rooms = week + self.lead(rng), rng.sample(sorted(ROOMS), 4)
                largest = max(ROOMS[room] for room in rooms)
                expected = rng.randint(10, max(11, largest - 5))
                talk = Talk(self.key("talk-"), rng.choice(EVENTS), rng.choice(GIVEN), expected, on)
                self.think(
                    planner.agent_id, week, f"Rooms for {talk.event}, {expected} people", ", ".join(rooms)
                )
                await self.find_room(planner, talk, rooms)
                slots = [f"w{on}-{part}" for part in rng.sample(("mon", "tue", "wed", "thu", "fri"), 3)]
                await self.place(planner, talk, slots, waits=True)

    async def curator_week(self, week: int) -> None:
        """Add a profile or two, and look at those with one name."""
        rng = self.case.rng(f"curator {week}")
        with recorder.step(f"curator-w{week}", "Keep profiles"):
            first, town = f"{rng.choice(GIVEN)} {rng.choice(SURNAMES)} #{self.key('')}", rng.choice(TOWNS)
            self.facts.homes[first] = town
            if rng.random() < 0.6:
                second, same = f"{first.partition('#')[0]}#{self.key('')}", rng.random() < 0.5
                self.facts.homes[second] = town if same else rng.choice([one for one in TOWNS if one != town])
                await self.settle(week, first, second, "one person" if same else "two people")
                self.agenda[week + self.lead(rng)].append(partial(self.everyday_ticket, second))
            if rng.random() < 0.5:
                self.agenda[week + self.lead(rng)].append(partial(self.everyday_ticket, first))

    async def everyday_ticket(self, speaker: str) -> None:
        """Buy a ticket that is in the budget."""
        self.budget += 1
        await self.ticket(self.key("talk-"), speaker)

    async def badge_week(self, week: int) -> None:
        """Have badges printed; the firm is busy now and then, and is asked again once."""
        rng = self.case.rng(f"badges {week}")
        with recorder.step(f"badge-desk-w{week}", "Print badges"):
            for _ in range(rng.randint(1, 3)):
                sheet, self.facts.printer_up = self.key("sheet-"), rng.random() < 0.7
                for attempt in (1, 2):
                    self.budget += 1
                    if await self.badges.push_sheet(sheet, attempt) == "accepted":
                        break
                    self.facts.printer_up = True

    async def planned(self, week: int) -> None:
        """Do what the plan has for this week."""
        case, rng = self.case, self.case.rng(f"plan {week}")
        if case.has("retry_storm"):
            await self.badge_storm(week)
        if week == self.begin and case.has("trusted_tool"):
            planner, expected = rng.choice(self.planners), ROOMS[self.room] - rng.randint(20, 60)
            talk = Talk(self.key("talk-"), self.event, rng.choice(GIVEN), expected, self.end)
            if case.strikes("trusted_tool", week):
                self.facts.answers[self.small] = 10 * ROOMS[self.small]
            asks = await self.find_room(planner, talk, [self.small, self.room])
            case.root(call(planner.agent_id, "check_seats", ask=asks[0]))
            await self.place(planner, talk, [f"w{self.end}-eve"], waits=True)
            case.hop(call(planner.agent_id, "reserve", talk=talk.key))
        if week == self.begin and case.has("race"):
            pair, waits = rng.sample(self.planners, 2), not case.strikes("race", week)
            events = rng.sample(EVENTS, 2)
            talks = [
                Talk(self.key("talk-"), event, rng.choice(GIVEN), rng.randint(50, 240), self.end, self.room)
                for event in events
            ]
            slots = [f"w{self.end}-eve", f"w{self.end}-night"]
            await asyncio.gather(*(self.place(p, t, slots, waits) for p, t in zip(pair, talks, strict=True)))
            for planner, talk in zip(pair, talks, strict=True):
                case.root(call(planner.agent_id, "reserve", talk=talk.key))
                case.root(call(planner.agent_id, "see_diary", talk=talk.key))
        if week == self.begin and case.has("wrong_merge"):
            name = f"{rng.choice(GIVEN)} {rng.choice(SURNAMES)}"
            first, second = f"{name} #{self.key('')}", f"{name} #{self.key('')}"
            self.facts.homes[first], self.facts.homes[second] = rng.sample(TOWNS, 2)
            verdict = "one person" if case.strikes("wrong_merge", week) else "two people"
            pair_key = await self.settle(week, first, second, verdict)
            case.root(call("curator", "settle_pair", pair=pair_key))
            self.agenda[self.end].append(partial(self.everyday_ticket, second))
        if week == self.end and case.has("retry_storm"):
            speaker = rng.choice(sorted(self.facts.homes))
            await self.ticket(self.key("talk-"), speaker)

    async def week(self, week: int) -> None:
        """Let all agents work side by side, then do what is due."""
        rng = self.case.rng(f"week {week}")
        with recorder.run("planning-team", {"week": str(week)}):
            works = [self.planner_week(planner, week) for planner in self.planners]
            await asyncio.gather(*works, self.curator_week(week), self.badge_week(week))
            await self.planned(week)
            for act in self.agenda.pop(week, []):
                await act()
            await self.gateway.top_up(week, self.budget)
            self.budget = 0
            if rng.random() < 0.1:
                self.operator.warning("model answered slowly, asked again")
            if rng.random() < 0.06:
                self.operator.error("connection to the archive was reset, opened anew")
            if rng.random() < 0.15:
                self.operator.log_action("set_threshold", {"model_seconds": rng.randint(20, 60)})
            if week == self.case.decoy_at:
                self.operator.warning(f"host-{self.room} and host-{self.small} were moved to new hardware")

    async def play(self) -> None:
        """Play all weeks."""
        for week in range(self.weeks):
            await self.week(week)


def play(case: Case) -> None:
    """Play a case."""
    asyncio.run(Team(case).play())


WORLD = World("conferences", "spans", ("trusted_tool", "race", "wrong_merge", "retry_storm"), play, 18)
