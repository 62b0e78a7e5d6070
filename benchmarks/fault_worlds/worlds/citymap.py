"""A city map kept by agents: reports come in, mappers ask tools and edit tiles, drivers rely on them.

Coroutines side by side in a run a night, with steps, model and tool calls; actions name causes; no ticks.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, SystemLogger
from Agent.flight import record_tool, recorder
from benchmarks.fault_worlds.kit import Case, World

MAPPERS, EDITORS = ("Aki", "Bao", "Cleo"), ("Eli", "Fay")
COLLECTOR, FETCHER, REVIEWER, REGISTER, PHOTOS = (
    "collector",
    "fetcher",
    "reviewer",
    "bridge register",
    "photo service",
)
DRIVERS = ("bus 14", "courier Lena", "fire engine 3", "lorry Novak", "taxi Osei")
TILES = tuple(f"{row}{column}" for row in "NOPQ" for column in range(1, 6))
WORDS = ("Alder", "Brook", "Chapel", "Elm", "Foundry", "Garden", "Hill", "Mill")
FULL, REFILL, TRIES = 60, 9, 12


@dataclass
class Job:
    """A report that is worked on."""

    number: str
    sort: str
    name: str
    truth: float
    due: int
    cause: str
    tiles: list[str] = field(default_factory=list)
    planned: str = ""


class Team:
    """The team, the map and what is true on the streets, and the plan of one case."""

    def __init__(self, case: Case) -> None:
        self.case, self.night, self.last = case, 0, case.seed % 900
        self.nights = case.rng("nights").choice((18, 34, 60, 85))
        case.window(self.nights, 2 if case.has("retry_storm") else 1)
        self.queues: dict[str, list[Job]] = {name: [] for name in (*MAPPERS, *EDITORS)}
        self.checks: dict[int, list[Job]] = {}
        self.heights: dict[str, float] = {}
        self.roads: dict[int, str] = {}
        self.closed: set[str] = set()
        self.drawn: dict[str, str] = {}
        self.holders: dict[str, tuple[str, str]] = {}
        self.busy: dict[str, Job] = {}
        self.photos, self.cloudy = FULL, "?"
        self.noted = 0
        self.mine: list[str] = []
        rng = case.rng("plan")
        self.driver, self.first, self.second = rng.choice(DRIVERS), *rng.sample(MAPPERS, 2)
        self.tiles = sorted(rng.sample(TILES, 2))
        self.bad_tile, self.drop = rng.choice(TILES), rng.choice((0.4, 0.6, 0.9))

    def do(self, who: str, what: str, causes: str | list[str] | None, /, **data: Any) -> str:
        """Record what somebody does."""
        return AgentLogger(who, role_of(who)).log_action(what, data, causes=causes)

    def report(
        self, sort: str, due: int, to: str, *, tiles: list[str] | None = None, is_first: bool = False
    ) -> Job:
        """Take in a report of a driver and put it into somebody's queue."""
        self.last += 1
        number = f"R{self.last:04}"
        rng = self.case.rng(f"report/{number}")
        name = f"{rng.choice(WORDS)} {'Bridge' if sort == 'height' else 'Street'} {self.last}"
        wrote = self.do(rng.choice(DRIVERS), "report", None, number=number, about=sort, name=name)
        sorted_in = self.do(COLLECTOR, "sort_in", wrote, number=number, to=to)
        job = Job(number, sort, name, round(rng.uniform(2.6, 4.8), 1), due, sorted_in, tiles or [])
        self.queues[to].insert(0 if is_first else len(self.queues[to]), job)
        self.checks.setdefault(due, []).append(job)
        return job


def role_of(who: str) -> str:
    """Return the role of somebody."""
    return next((role for role, names in ROLES.items() if who in names), "service")


ROLES = {"mapper": MAPPERS, "editor": EDITORS, "driver": DRIVERS, "staff": (COLLECTOR, FETCHER, REVIEWER)}


@record_tool
async def look_up_bridge(number: str, height: float, *, is_estimate: bool) -> dict[str, Any]:
    """Answer how high a bridge is."""
    await asyncio.sleep(0)
    return {"number": number, "metres": height, "estimate": is_estimate}


@record_tool
async def load_photo(tile: str, left: int) -> dict[str, Any]:
    """Return a photo of a tile, as long as photos are left of those that were paid for."""
    await asyncio.sleep(0)
    return {"tile": tile, "ok": left > 0}


async def photograph(
    team: Team, who: str, tile: str, cause: str, *, is_clouded: bool = False
) -> tuple[bool, str]:
    """Ask for a photo; it costs one, whether there are clouds on it or not."""
    asked = team.do(who, "ask_for_photo", cause, tile=tile)
    got = await load_photo(tile, team.photos)
    if not got["ok"]:
        return False, team.do(PHOTOS, "refuse", asked, tile=tile, left=0)
    team.photos -= 1
    return not is_clouded, team.do(PHOTOS, "deliver", asked, tile=tile, clouds=9 if is_clouded else 1)


async def fetch_ahead(team: Team) -> None:
    """Fetch photos that may be needed; give a clouded tile three tries, and then a rest."""
    case = team.case
    rng = case.rng(f"fetch/{team.night}")
    start = team.do(FETCHER, "read_weather", None, clouds=rng.randint(0, 8))
    for _ in range(rng.randint(1, 2)):
        tile, tries = rng.choice(TILES), rng.choice((1, 1, 1, 2, 3))
        for number in range(tries):
            _, start = await photograph(team, FETCHER, tile, start, is_clouded=number < tries - 1)
    if not case.has("retry_storm") or not case.begin <= team.night <= case.end:
        return
    tries = 3 if team.night == case.begin else 0
    if case.strikes("retry_storm"):
        tries = FULL // (case.end - case.begin) + 1 + REFILL
    for _ in range(tries):
        _, start = await photograph(team, FETCHER, team.bad_tile, start, is_clouded=True)
        if team.noted < 3:
            team.noted += 1
            case.root(start)
        case.hop(start)


async def collect(team: Team) -> None:
    """Take in the reports of the night."""
    case, rng = team.case, team.case.rng(f"reports/{team.night}")
    sorts = [rng.choice(("height", "closed", "road", "road", "border")) for _ in range(rng.randint(2, 5))]
    if rng.random() < 0.4 or team.night == case.decoy_at:
        sorts += ["road", "road"]
    for number, sort in enumerate(sorts):
        due = team.night + rng.randint(0, 7)
        if case.begin <= team.night <= case.end and (
            (sort == "border" and case.has("deadlock")) or (sort == "closed" and case.has("retry_storm"))
        ):
            due = max(due, case.end + 1)
        tiles = sorted(rng.sample(TILES, 2))
        if sort == "border":
            team.report(sort, due, rng.choice(EDITORS), tiles=tiles)
        else:
            team.report(sort, due, MAPPERS[number % 3], tiles=tiles)
        await asyncio.sleep(0)
    if team.night == case.begin:
        begin(team)
    recorder.record_model_call(
        step_id=f"collect {team.night}",
        call_id=f"sort {team.night}",
        model_name="small-sorter",
        prompt=f"Sort {len(sorts)} reports",
        output=", ".join(sorts),
        prompt_tokens=40 * len(sorts),
    )


def begin(team: Team) -> None:
    """Take in the reports of the case; they are the first ones in their queues."""
    case = team.case
    if case.has("trusted_tool"):
        team.mine = [team.report("height", case.end, team.first, is_first=True).number]
    elif case.has("race"):
        late = team.nights + 9
        one = team.report("road", case.end, team.first, is_first=True)
        team.mine = [one.number, team.report("road", late, team.second, is_first=True).number]
    elif case.has("deadlock"):
        late = team.nights + 9
        jobs = [
            team.report("border", due, editor, tiles=list(team.tiles), is_first=True)
            for editor, due in zip(EDITORS, (case.end, late), strict=True)
        ]
        team.mine = [job.number for job in jobs]


async def work(team: Team, who: str) -> None:
    """Work through a queue."""
    queue = team.queues[who]
    while queue:
        job = queue.pop(0)
        took = team.do(who, "take_report", job.cause, number=job.number)
        await asyncio.sleep(0)
        await {"height": enter_height, "closed": close_road, "road": number_road}[job.sort](
            team, who, job, took
        )
        await asyncio.sleep(0)


async def enter_height(team: Team, who: str, job: Job, took: str) -> None:
    """Ask the register how high a bridge is; measure on a photo what it only estimates."""
    case, rng = team.case, team.case.rng(f"height/{job.number}")
    is_mine, is_estimate, metres = job.number in team.mine, rng.random() < 0.3, job.truth
    if is_mine:
        is_estimate = False
    if is_estimate or (is_mine and case.strikes("trusted_tool", team.night)):
        metres = round(job.truth + team.drop, 1)
    asked = team.do(who, "ask_register", took, number=job.number)
    answer = await look_up_bridge(job.number, metres, is_estimate=is_estimate)
    said = team.do(
        REGISTER, "answer", asked, number=job.number, metres=answer["metres"], estimate=is_estimate
    )
    metres = answer["metres"]
    if is_estimate:
        ok, said = await photograph(team, who, job.tiles[0], said)
        metres = job.truth if ok else 2.0
    wrote = team.do(who, "write_height", said, number=job.number, bridge=job.name, metres=metres)
    team.heights[job.number] = metres
    team.drawn[job.number] = team.do(REVIEWER, "approve", wrote, number=job.number)
    if is_mine:
        case.root(said)
        case.hop(wrote, team.drawn[job.number])


async def close_road(team: Team, who: str, job: Job, took: str) -> None:
    """Close a road if a photo shows the excavator."""
    ok, photo = await photograph(team, who, job.tiles[0], took)
    if not ok:
        team.drawn[job.number] = team.do(who, "leave_open", photo, number=job.number)
        team.case.hop(photo, team.drawn[job.number])
        return
    closed = team.do(who, "close_road", photo, number=job.number, road=job.name)
    team.closed.add(job.number)
    team.drawn[job.number] = team.do(REVIEWER, "approve", closed, number=job.number)


async def number_road(team: Team, who: str, job: Job, took: str) -> None:
    """Look for a free number, look again before writing, and give it to a new road."""
    case, is_mine = team.case, job.number in team.mine
    free = max(team.roads, default=100) + 1
    looked = team.do(who, "look_for_number", took, number=job.number, free=free)
    first_look = looked
    await asyncio.sleep(0)
    drew = team.do(who, "draw_line", looked, number=job.number, points=3 + len(job.name))
    await asyncio.sleep(0)
    if free in team.roads and not (is_mine and case.strikes("race", team.night)):
        free = max(team.roads) + 1
        looked = team.do(who, "look_for_number", drew, number=job.number, free=free)
    wrote = team.do(who, "write_road", [looked, drew], number=job.number, road=job.name, id=free)
    team.roads[free] = job.number
    if is_mine:
        case.root(wrote, first_look)
        case.hop(wrote)
    await asyncio.sleep(0)
    team.drawn[job.number] = team.do(REVIEWER, "approve", wrote, number=job.number)
    if is_mine:
        case.hop(team.drawn[job.number])


async def edit_borders(team: Team, who: str) -> None:
    """Edit what lies across two tiles: take both in the order of the map, edit, and give them back."""
    case, queue = team.case, team.queues[who]
    while who in team.busy or queue:
        if who not in team.busy:
            job = team.busy[who] = queue.pop(0)
            is_alone = who == "Fay" and not team.queues["Eli"] and "Eli" not in team.busy
            turns = is_alone and case.rng(f"order/{job.number}").random() < 0.5
            if job.number in team.mine and who == "Fay":
                turns = case.strikes("deadlock", team.night)
            if turns:
                job.tiles.reverse()
            job.planned = team.do(
                who, "plan_edit", job.cause, number=job.number, tiles=" then ".join(job.tiles)
            )
            if job.number in team.mine:
                case.root(job.planned)
        job = team.busy[who]
        taken = [await take_tile(team, who, job, tile) for tile in job.tiles]
        if not all(taken):
            return
        edited = team.do(who, "edit", taken, number=job.number)
        await asyncio.sleep(0)
        team.drawn[job.number] = team.do(REVIEWER, "approve", edited, number=job.number)
        for tile in job.tiles:
            del team.holders[tile]
            team.do(who, "give_back", edited, tile=tile)
        del team.busy[who]


async def take_tile(team: Team, who: str, job: Job, tile: str) -> str:
    """Take a tile; wait for it, if somebody has it, but not longer than this night."""
    case = team.case
    for attempt in range(TRIES):
        holder, event = team.holders.get(tile, (who, ""))
        if holder == who:
            if not event:
                event = team.do(who, "take_tile", job.planned, tile=tile, number=job.number)
                team.holders[tile] = who, event
                if job.number in team.mine:
                    case.root(event)
            await asyncio.sleep(0)
            return event
        if attempt == 0:
            waits = team.do(who, "wait_for_tile", [job.planned, event], tile=tile, holder=holder)
            case.hop(waits)
        await asyncio.sleep(0)
    return ""


async def rely_on_map(team: Team, driver: str, job: Job) -> None:
    """Drive by the map."""
    case, causes = team.case, [team.drawn[job.number]] if job.number in team.drawn else None
    opened = team.do(driver, "open_map", causes, number=job.number, about=job.sort)
    await asyncio.sleep(0)
    if job.number in team.mine:
        case.trigger(opened)
    if job.sort == "height" and team.heights.get(job.number, 0.0) > job.truth:
        case.symptom(
            team.do(driver, "get_stuck", opened, number=job.number),
            f"My trailer is wedged under the {job.name}, and your map let me through",
            f"{driver} has lost the roof at a bridge that was said to be high enough",
            "I drove by the app, as always, and there was a bang and the load was on the road",
        )
    elif job.sort == "closed" and job.number not in team.closed:
        case.symptom(
            team.do(driver, "turn_round", opened, number=job.number),
            f"{job.name} has been dug up for days, I reported it, and the route still goes there",
            f"{driver} stood before a trench that the map knows nothing about",
            "You take my report, you thank me, and then you send everybody into the roadworks",
        )
    elif job.sort == "road" and job.number not in team.roads.values():
        case.symptom(
            team.do(driver, "search_in_vain", opened, number=job.number),
            f"{job.name} was on the map when it was built, and now the search does not find it",
            f"{driver} needed a quarter of an hour to find a house in the new quarter",
            "The road where I live has disappeared from your map, and no ambulance would find me",
        )
    elif job.sort == "border" and job.number not in team.drawn:
        case.symptom(
            team.do(driver, "see_old_map", opened, number=job.number),
            f"What I wrote about {job.name} in report {job.number} has still not been done",
            "Your map has a gap where the new road crosses into the next sheet, and nobody mends it",
            f"{driver} waits for a correction that was promised for the next morning",
        )
    else:
        team.do(driver, "arrive", opened, number=job.number)


async def chores(team: Team) -> None:
    """Do what belongs to any night."""
    case, rng = team.case, team.case.rng(f"chores/{team.night}")
    if rng.random() < 0.5:
        name = rng.choice(("font", "zoom", "night_colours", "logo", "icon_size"))
        SystemLogger("map").log_config(name, 5, rng.randint(1, 9))
    for who in MAPPERS:
        if rng.random() < 0.3:
            tidied = team.do(who, "tidy_layer", None, layer=rng.choice(("parks", "shops", "water")))
            await asyncio.sleep(0)
            team.do(REVIEWER, "glance", tidied, ok=True)
    if rng.random() < 0.25 or team.night == case.decoy_at:
        AgentLogger(REGISTER, "service").warning(
            "slow answer, asked once more", {"ms": rng.randint(900, 4000)}
        )
    if team.night == case.decoy_at:
        AgentLogger(PHOTOS, "service").error("one request timed out, repeated", {"tile": rng.choice(TILES)})


async def night_shift(team: Team) -> None:
    """Play one night."""
    case, rng = team.case, team.case.rng(f"night/{team.night}")
    team.photos = min(FULL, team.photos + REFILL)
    with recorder.run("city map", {"night": team.night}):
        with recorder.step(f"collect {team.night}", "Collect reports"):
            await asyncio.gather(collect(team), fetch_ahead(team), chores(team))
        if team.night == case.end and case.has("retry_storm"):
            team.report("closed", team.night, team.first, tiles=list(team.tiles), is_first=True)
        with recorder.step(f"edit {team.night}", "Edit tiles") as edit:
            await asyncio.gather(
                *(work(team, who) for who in (team.first, team.second)),
                *(work(team, who) for who in MAPPERS if who not in {team.first, team.second}),
                *(edit_borders(team, who) for who in EDITORS),
            )
            edit.output = {"drawn": len(team.drawn)}
        with recorder.step(f"drive {team.night}", "Let drivers use the map"):
            jobs = team.checks.pop(team.night, [])
            await asyncio.gather(
                *(
                    rely_on_map(team, team.driver if job.number in team.mine else rng.choice(DRIVERS), job)
                    for job in jobs
                )
            )


async def all_nights(team: Team) -> None:
    """Play all nights."""
    for night in range(team.nights):
        team.night = night
        await night_shift(team)


def play(case: Case) -> None:
    """Play some weeks."""
    asyncio.run(all_nights(Team(case)))


FAULTS = ("race", "trusted_tool", "deadlock", "retry_storm")
WORLD = World("citymap", "edges", FAULTS, play, 30)
