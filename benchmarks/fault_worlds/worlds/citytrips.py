"""Agents that plan city trips side by side: a brief, sights, beds, tickets and a dossier in the steps of a run a round."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger
from Agent.flight import record_tool, recorder
from benchmarks.fault_worlds.kit import Case, World

CITIES = {
    "Ghent": ("Gravensteen", "Design Hall", "Bell Tower", "Castle Mill"),
    "Porto": ("Tile House", "Bridge Lift", "Port Cellar", "Clerigos"),
    "Graz": ("Armoury", "Clock Hill", "Kunsthaus", "Puppet Attic"),
    "Lviv": ("Arsenal", "Coffee Mine", "Opera Tour", "Lyczakow"),
}
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
BEDS = ("Hotel Linde", "Pension Rosa", "The Lantern", "Casa Azul", "Old Post Inn")
MODEL = "planner-small"
TICKETS_PER_ROUND = 8

ROLES = {
    "front": ("front.mia", "aftercare"),
    "scout": ("scout.a", "scout.b"),
    "beds": ("beds.lou", "beds.kai"),
    "desk": ("tickets.zoe", "editor.tim"),
    "outside": ("venue.desk", "hotel.desk"),
}
LOGS = {name: AgentLogger(name, role) for role, names in ROLES.items() for name in names}


@dataclass
class Trip:
    """A trip that somebody has asked for."""

    code: str
    city: str
    sight: str
    day: str
    night: int
    party: int
    beds: str
    rng: random.Random
    brief: str = ""
    bed: tuple[str, str] = ("", "")
    visit: tuple[str, str] = ("", "")
    ticket: tuple[str, str] = ("", "")


@dataclass
class Team:
    """What is true in the cities, and what the team keeps in common."""

    case: Case
    closed: dict[str, str] = field(default_factory=dict)
    notes: dict[str, tuple[list[str], str]] = field(default_factory=dict)
    rooms: dict[tuple[str, int], int] = field(default_factory=dict)
    guests: dict[tuple[str, int], int] = field(default_factory=dict)
    allowance: int = 0
    jobs: list[tuple[str, str, int]] = field(default_factory=list)
    arrivals: dict[int, list[Trip]] = field(default_factory=dict)
    valid: set[str] = field(default_factory=set)
    retries: int = 0
    now: int = 0

    def __post_init__(self) -> None:
        self.rng = self.case.rng("trips")
        sights = [sight for places in CITIES.values() for sight in places]
        for sight in sights:
            self.closed[sight] = self.rng.choice(DAYS)
        self.city = self.rng.choice(sorted(CITIES))
        self.sight, self.spare = self.rng.sample(CITIES[self.city], 2)
        self.walk_in = {places[0] for places in CITIES.values()} - {self.sight}
        self.inn, self.other_inn = self.rng.sample(BEDS, 2)
        self.full = 8 + 7 * (self.case.end - self.case.begin)
        self.allowance = self.full
        self.lock = asyncio.Lock()


TEXTS = {
    "closed": (
        "We stood before the {sight} with the dossier {code} in hand and it was shut, as on every {day}",
        "scout.b had praised the {sight}, but on {day} nobody lets you in there",
        "trip {code}: closed door at the {sight}. Does nobody look at the opening days",
    ),
    "no room": (
        "Arrived in {city} at midnight and {beds} had given our room to another party",
        "hotel.desk says the last room of {beds} was sold to two of us, {code} slept at the station",
        "two trips in the same bed! {code} was sent away in {city}",
    ),
    "no name": (
        "our name was not on the list of the {sight}, {party} of us had to go home",
        "venue.desk knows nothing about tickets of {code}, and we have it in writing that they are booked",
        "No tickets at the {sight} for {code} although the dossier says booked",
    ),
    "no search": (
        "{code} came without any bed, {party} people in {city} with nowhere to sleep",
        "why is the page for the night empty in the dossier {code}? editor.tim sent it as it was",
        "beds.lou found nothing at all for {code}, and half of {city} is vacant",
    ),
}


@record_tool(name="opening_days")
async def opening_days(sight: str, closed: str) -> list[str]:
    """Ask the city guide on which days a sight is open."""
    await asyncio.sleep(0)
    return [day for day in DAYS if day != closed]


@record_tool(name="ticket_office")
async def ticket_office(sight: str, party: int, answer: dict[str, Any]) -> dict[str, Any]:
    """Ask for tickets."""
    await asyncio.sleep(0)
    return {"sight": sight, "party": party, **answer}


async def act(who: str, what: str, causes: str | list[str] | None, /, **data: Any) -> str:
    """Record an act with its causes."""
    return await LOGS[who].alog_action(what, data, causes=causes)


def think(prompt: str, output: str) -> None:
    """Record a model call of the step."""
    recorder.record_model_call(model_name=MODEL, prompt=prompt, output=output)


async def take_brief(w: Team, trip: Trip) -> None:
    """Take the wish of a customer and pass it on."""
    with recorder.step(f"{trip.code}-brief", "Brief") as step:
        wish = await act(
            "front.mia", "take_wish", None, trip=trip.code, city=trip.city, day=trip.day, likes=trip.sight
        )
        if w.case.has("trusted_tool") and w.now == w.case.end and trip.sight == w.sight:
            w.case.trigger(wish)
        think(f"summarise {trip.code}", f"{trip.party} people to {trip.city}")
        note = await LOGS["front.mia"].asend("scout.a", {"trip": trip.code, "party": trip.party}, causes=wish)
        trip.brief = await LOGS["scout.a"].areceive(note)
        step.output = {"party": trip.party}


async def ask_guide(w: Team, sight: str, causes: str | None, scout: str) -> None:
    """Ask the guide about a sight and note its days."""
    planned = w.case.has("trusted_tool") and sight == w.sight and w.now == w.case.begin
    closed = w.closed[sight]
    if planned and w.case.strikes("trusted_tool", w.now):
        closed = DAYS[(DAYS.index(closed) + 3) % 7]
    days = await opening_days(sight, closed)
    answered = await act(scout, "ask_guide", causes, sight=sight, days=days)
    noted = await act(scout, "note_days", answered, sight=sight, days=days)
    w.notes[sight] = days, noted
    if planned:
        w.case.root(answered, noted)


async def choose_sight(w: Team, trip: Trip) -> None:
    """Choose a sight that is open by the notes."""
    with recorder.step(f"{trip.code}-sight", "Sights") as step:
        kept = w.case.has("trusted_tool") and trip.sight == w.sight
        scout, fresh = trip.rng.choice(("scout.a", "scout.b")), trip.rng.random() < 0.5
        if trip.sight not in w.notes or (fresh and not kept):
            await ask_guide(w, trip.sight, trip.brief, "scout.a")
        days, note = w.notes[trip.sight]
        think(f"{trip.sight} on {trip.day}?", "yes" if trip.day in days else "no")
        sight = trip.sight if trip.day in days else "old town walk"
        chosen = await act(scout, "put_in", [trip.brief, note], trip=trip.code, sight=sight, day=trip.day)
        trip.visit = sight, chosen
        step.output = {"sight": sight}


async def find_bed(w: Team, trip: Trip, who: str) -> None:
    """Look for rooms and take one; two agents may do so at once."""
    with recorder.step(f"{trip.code}-bed", "Beds") as step:
        planned = (
            w.case.has("race") and w.now == w.case.begin and (trip.beds, trip.night) == (w.inn, w.case.end)
        )
        if w.allowance < 1:
            empty = await act(who, "search", trip.brief, trip=trip.code, found=0, allowance=w.allowance)
            trip.bed = "", empty
            w.case.hop(empty)
            return
        w.allowance -= 1
        if waits := planned and not w.case.strikes("race", w.now):
            await w.lock.acquire()
        place, key = trip.beds, (trip.beds, trip.night)
        left = w.rooms.setdefault(key, 1 if planned else 6)
        seen = await act(who, "look", trip.brief, trip=trip.code, at=place, night=trip.night, left=left)
        await asyncio.sleep(0)
        think(f"{place} with {left} left", "take it" if left else "look elsewhere")
        await asyncio.sleep(0)
        if left == 0:
            place = w.other_inn
        taken = await act(who, "take", seen, trip=trip.code, at=place, night=trip.night)
        w.rooms[key] = max(0, left - 1)
        if waits:
            w.lock.release()
        if planned:
            w.case.root(seen, taken)
        trip.bed = place, taken
        step.output = {"bed": place}


async def buy_tickets(w: Team, trip: Trip) -> None:
    """Ask the ticket office, again if it is busy, and mark the tickets as booked."""
    with recorder.step(f"{trip.code}-tickets", "Tickets") as step:
        sight, cause = trip.visit
        busy, serial = trip.rng.random() < 0.25, trip.rng.randint(1000, 9999)
        planned = w.case.has("swallowed_failure") and w.now == w.case.begin and trip.night == w.case.end
        if sight == "old town walk":
            trip.ticket = "", cause
            return
        ref = "" if sight in w.walk_in else f"{sight[:2].upper()}{serial}"
        answers: list[dict[str, Any]] = [{"ref": "", "wait_s": 30}] * busy
        if planned and w.case.strikes("swallowed_failure", w.now):
            answers, ref = [], ""  # busy once, and not asked again
        for answer in [*answers, {"ref": ref, "wait_s": 0 if ref or sight in w.walk_in else 30}]:
            got = await ticket_office(sight, trip.party, answer)
            cause = await act("tickets.zoe", "ask_office", cause, trip=trip.code, **got)
            if planned:
                w.case.root(cause)
        marked = await act("tickets.zoe", "mark_booked", cause, trip=trip.code, sight=sight, ref=ref)
        if planned:
            w.case.root(marked)
        if ref or sight in w.walk_in:
            w.valid.add(trip.code)
        trip.ticket = ref, marked
        step.output = {"ref": ref}


async def write_dossier(w: Team, trip: Trip) -> None:
    """Put all together for the customer."""
    with recorder.step(f"{trip.code}-dossier", "Dossier") as step:
        causes = [trip.visit[1], trip.bed[1], trip.ticket[1]]
        think(f"write {trip.code}", f"{trip.city}: {trip.visit[0]}, {trip.bed[0]}")
        sent = await act(
            "editor.tim", "send_dossier", causes, trip=trip.code, visit=trip.visit[0], bed=trip.bed[0]
        )
        step.output = {"pages": 2}
        if not trip.bed[0]:
            w.case.hop(sent)
            await hear(w, trip, sent, "no search")
        trip.brief = sent
    if trip.bed[0]:
        w.arrivals.setdefault(trip.night, []).append(trip)


async def plan_trip(w: Team, trip: Trip, who: str) -> None:
    """Plan a trip from the wish to the dossier."""
    await take_brief(w, trip)
    await choose_sight(w, trip)
    await find_bed(w, trip, who)
    await buy_tickets(w, trip)
    await write_dossier(w, trip)


async def hear(w: Team, trip: Trip, cause: str, what: str) -> None:
    """Hear what a customer says afterwards."""
    event = await act("aftercare", "read_mail", cause, trip=trip.code, stars=1)
    words = {name: getattr(trip, name) for name in ("code", "city", "day", "party")}
    texts = (text.format(sight=trip.visit[0], beds=trip.bed[0], **words) for text in TEXTS[what])
    w.case.symptom(event, *texts)


async def travel(w: Team, trip: Trip) -> None:
    """Let the customers travel."""
    stars, key = w.rng.randint(3, 5), (trip.bed[0], trip.night)
    booked = w.guests[key] = w.guests.get(key, 0) + 1
    last = 1 if w.case.has("race") and key == (w.inn, w.case.end) else 99
    house = await act(
        "hotel.desk",
        "check_in",
        trip.bed[1],
        trip=trip.code,
        at=trip.bed[0],
        party=trip.party * (booked <= last),
    )
    if booked > last:
        w.case.hop(house)
        await hear(w, trip, house, "no room")
        return
    if trip.visit[0] == "old town walk":
        return
    is_open = w.closed[trip.visit[0]] != trip.day
    admitted = trip.party if is_open and trip.code in w.valid else 0
    door = await act(
        "venue.desk",
        "count_in",
        [trip.visit[1], trip.ticket[1]],
        trip=trip.code,
        sight=trip.visit[0],
        people=admitted,
    )
    if not admitted:
        w.case.hop(trip.visit[1], trip.brief, door)
        await hear(w, trip, door, "no name" if is_open else "closed")
    else:
        await act("aftercare", "read_mail", [house, door], trip=trip.code, stars=stars)


async def work_off_jobs(w: Team) -> None:
    """Ask restaurants for tables, some again and again."""
    rng, planned = w.rng, w.case.has("retry_storm") and w.now == w.case.begin
    for _ in range(2):
        job, cap, needed = (
            f"job{rng.randint(10_000, 99_999)}",
            rng.choice((0, 3, 5)),
            rng.choice((1, 1, 2, 3)),
        )
        started = await act("tickets.zoe", "start_job", None, job=job, table_for=rng.randint(2, 8), cap=cap)
        w.jobs.append((job, started, needed if cap == 0 else min(cap, needed)))
    if planned:
        cap = 0 if w.case.strikes("retry_storm", w.now) else 3
        job = f"job{rng.randint(10_000, 99_999)}"
        started = await act("tickets.zoe", "start_job", None, job=job, table_for=rng.randint(2, 8), cap=cap)
        w.case.root(started)
        w.jobs.append((job, started, 10**6 if cap == 0 else cap))  # closed for the season
    open_jobs = []
    for job, event, needed in w.jobs:
        for number in range(min(needed, TICKETS_PER_ROUND, max(0, w.allowance))):
            w.allowance -= 1
            answer = "table for you" if number + 1 == needed < 3 else "nothing free"
            event = await act("tickets.zoe", "ask_table", event, job=job, answer=answer)
            w.retries += needed > 100
            if needed > 100 and w.retries <= 3:
                w.case.root(event)
        if needed > TICKETS_PER_ROUND:
            open_jobs.append((job, event, needed))
        else:
            await act("tickets.zoe", "close_job", event, job=job, asked=needed)
    w.jobs = open_jobs


def wishes(w: Team) -> list[Trip]:
    """Return what customers wish in this round."""
    case, rng, now = w.case, w.rng, w.now
    trips = []
    for number in range(2):
        city = rng.choice(sorted(CITIES))
        sight, day = rng.choice(CITIES[city]), rng.choice(DAYS)
        code, party, inn = f"T{now}{'ab'[number]}{rng.randint(10, 99)}", rng.randint(2, 6), rng.choice(BEDS)
        trip = Trip(code, city, sight, day, 0, party, inn, case.rng(code))
        trip.night = now + rng.randint(1, 9) + 1
        trips.append(trip)
        if sight == w.sight and case.has("trusted_tool") and now != case.end:
            trip.sight = w.spare
        if trip.night == case.end and (case.has("race") or case.has("swallowed_failure")):
            trip.night += 1
    first, second = trips
    if case.has("race") and now == case.begin:
        first.beds = second.beds = w.inn
        first.night = second.night = case.end
    if case.has("swallowed_failure") and now == case.begin:
        first.city, first.sight, first.night = w.city, w.sight, case.end
        first.day = DAYS[(DAYS.index(w.closed[w.sight]) + 2) % 7]
    if case.has("trusted_tool") and now == case.end:
        first.city, first.sight, first.day, first.night = w.city, w.sight, w.closed[w.sight], now
    return trips


async def a_round(w: Team) -> None:
    """Plan the trips of a round side by side, and let others travel."""
    rng, now = w.rng, w.now
    w.allowance = min(w.full, w.allowance + 6)
    async with recorder.run("city-trips", {"round": str(now)}):
        if now == w.case.begin and w.case.has("trusted_tool"):
            await ask_guide(w, w.sight, None, "scout.a")
        await work_off_jobs(w)
        pairs = zip(wishes(w), ("beds.lou", "beds.kai"), strict=True)
        await asyncio.gather(*(plan_trip(w, trip, who) for trip, who in pairs))
        for trip in w.arrivals.pop(now, []):
            await travel(w, trip)
        who, number, draw = rng.choice(sorted(LOGS)), rng.randint(1, 50), rng.random()
        if draw < 0.3:
            await LOGS[who].awarning("slow answer, asked again", extra={"ms": 100 * number})
        elif draw < 0.6:
            await act(who, rng.choice(("tidy_notes", "rank_photos", "store_plan")), None, items=number)
        elif draw < 0.75:
            await LOGS[who].alog_state_change({"tone": number}, {"tone": number + 1}, "style guide")
        if now == w.case.decoy_at:
            await LOGS[who].aerror("map server gave no tiles for a while", extra={"seconds": number})


async def season(case: Case, rounds: int) -> None:
    """Play all rounds."""
    w = Team(case)
    for w.now in range(rounds):
        await a_round(w)


def play(case: Case) -> None:
    """Play a season of trips."""
    rounds = case.rng("rounds").choice((20, 35, 55, 80))
    case.window(rounds, shortest=2 if case.has("race") or case.has("retry_storm") else 1)
    asyncio.run(season(case, rounds))


WORLD = World("citytrips", "edges", ("trusted_tool", "retry_storm", "race", "swallowed_failure"), play, 24)
