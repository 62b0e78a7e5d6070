"""An evening of an online game in three regions: players queue, matchers pair them, a ladder rates."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Sequence
from typing import Any

from Agent import (
    AgentLogger,
    InteractionLogger,
    PerformanceLogger,
    setup_logging,
    shutdown_logging,
    trace_agent_action,
)
from benchmarks.fault_simulations.kit import Event, Fault, pick

REGIONS = ("eu", "us", "asia")
EACH, ROOMS = 12, 6
END = 6500.0
MAPS = ("harbor", "mesa", "orchard", "delta")
_PLAY = {"fault": ""}


def _with(name: str) -> bool:
    return _PLAY["fault"] == name


class Clock:
    """Time of the evening in seconds; it jumps when everybody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self.order = itertools.count()

    async def sleep(self, seconds: float) -> None:
        """Wait in the game's time."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self.waiting, (self.now + seconds, next(self.order), future))
        await future

    async def drive(self) -> None:
        """Let time pass until the end of the evening."""
        for _ in range(50):
            await asyncio.sleep(0)
        while self.waiting and self.waiting[0][0] < END:
            self.now, _, future = heapq.heappop(self.waiting)
            if not future.cancelled():
                future.set_result(None)
            for _ in range(12):
                await asyncio.sleep(0)


class Ladder:
    """The rating service; its store answers after a moment."""

    def __init__(self, clock: Clock, seed: int) -> None:
        self.agent_id, self.agent_role = "ladder", "rating"
        self.clock = clock
        self.rng = random.Random(f"{seed}/ladder")
        self.ratings: dict[str, float] = {}
        self.lock = asyncio.Lock()

    @trace_agent_action()
    async def apply(self, winner: str, loser: str) -> dict[str, float]:
        """Move rating from the loser to the winner."""
        async with self.lock:
            high, low = self.ratings[winner], self.ratings[loser]
            expected = 1 / (1 + 10 ** ((low - high) / 400))
            await self.clock.sleep(self.rng.uniform(0.2, 0.9))
            gain = round(40 * (1 - expected), 1)
            self.ratings[winner] = round(high + gain, 1)
            self.ratings[loser] = round(low - gain, 1)
            return {winner: self.ratings[winner], loser: self.ratings[loser]}


class SeasonClerk:
    """Publishes the table, and pays the bonus of the season once in the evening."""

    def __init__(self, clock: Clock, ladder: Ladder) -> None:
        self.agent_id, self.agent_role = "season_clerk", "clerk"
        self.clock, self.ladder = clock, ladder
        self.table: list[str] = []

    @trace_agent_action()
    def publish(self) -> list[str]:
        """Publish the five best."""
        self.table = sorted(self.ladder.ratings, key=lambda name: -self.ladder.ratings[name])[:5]
        return self.table

    @trace_agent_action()
    def copy_ratings(self) -> dict[str, float]:
        """Copy all ratings to compute the bonus from."""
        return dict(self.ladder.ratings)

    @trace_agent_action()
    def write_back(self, ratings: dict[str, float]) -> int:
        """Write all ratings."""
        self.ladder.ratings.update(ratings)
        return len(ratings)

    async def pay_bonus(self) -> None:
        """Add a bonus to everybody while the ladder is closed."""
        closed = not _with("bonus")
        if closed:
            await self.ladder.lock.acquire()
        copied = self.copy_ratings()
        await self.clock.sleep(200)
        self.write_back({name: round(rating + 2, 1) for name, rating in copied.items()})
        if closed:
            self.ladder.lock.release()

    async def evening(self) -> None:
        """Work through the evening."""
        for number in range(1, 14):
            await self.clock.sleep(600)
            self.publish()
            if number == 8:
                await self.pay_bonus()


class Rooms:
    """The room server of a region."""

    def __init__(self, region: str, clock: Clock, seed: int) -> None:
        self.agent_id, self.agent_role = f"rooms_{region}", "rooms"
        self.region, self.clock = region, clock
        self.log = AgentLogger(self.agent_id, "rooms")
        self.metrics = PerformanceLogger(self.agent_id, "rooms")
        self.rng = random.Random(f"{seed}/{self.agent_id}")
        self.free = ROOMS
        self.rewired = random.Random(f"{seed}/{self.agent_id}/lines")

    @trace_agent_action()
    def open_room(self, first: str, second: str) -> int:
        """Open a room; 0 if there is none."""
        if self.free == 0:
            return 0
        self.free -= 1
        return self.free + 1

    @trace_agent_action()
    def close_room(self, how: str) -> int:
        """Close a room."""
        self.free += 1
        return self.free

    async def host(self, first: Player, second: Player) -> dict[str, Any]:
        """Host a match; return who won."""
        place = self.rng.choice(MAPS)
        length = self.rng.uniform(240, 420)
        broken = self.rewired.random() < 0.2
        await self.clock.sleep(length * (0.4 if broken else 1))
        self.metrics.log_metric("round_trip", round(22 + 30 * self.rng.random(), 1), "ms")
        edge = (first.skill - second.skill) / 110 + self.rng.gauss(0, 0.7)
        if broken:
            self.log.warning("a player lost the line, match void", {"map": place})
            if not (_with("rooms") and self.region == "eu" and self.clock.now > 1500):
                self.close_room("void")
            return {"void": True}
        self.close_room("played")
        winner, loser = (first, second) if edge > 0 else (second, first)
        margin = min(3, 1 + int(abs(edge)))
        return {
            "void": False,
            "map": place,
            "winner": winner.agent_id,
            "loser": loser.agent_id,
            "margin": margin,
        }


class Reporter:
    """Brings results of a region to the ladder."""

    def __init__(self, region: str, clock: Clock, ladder: Ladder) -> None:
        self.agent_id, self.agent_role = f"results_{region}", "results"
        self.region, self.clock, self.ladder = region, clock, ladder
        self.log = AgentLogger(self.agent_id, "results")

    async def bring(self, result: dict[str, Any]) -> dict[str, float]:
        """Report one result."""
        winner, loser = result["winner"], result["loser"]
        if _with("sides") and self.region == "us" and self.clock.now > 2300:
            winner, loser = loser, winner
        body = {"map": result["map"], "winner": winner, "loser": loser, "at": round(self.clock.now)}
        self.log.log_action("report_result", body)
        return await self.ladder.apply(winner, loser)


class Matcher:
    """Pairs the waiting players of a region; the allowed gap grows with the wait."""

    def __init__(self, region: str, rooms: Rooms, reporter: Reporter, clock: Clock) -> None:
        self.agent_id, self.agent_role = f"matcher_{region}", "matcher"
        self.rooms, self.reporter, self.clock = rooms, reporter, clock
        self.log = AgentLogger(self.agent_id, "matcher")
        self.widen = 4.0
        self.queue: list[tuple[float, Player, asyncio.Future[Any]]] = []
        self.matches: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Look at the queue every ten seconds."""
        while True:
            await self.clock.sleep(10)
            self.pair_all()

    def pair_all(self) -> None:
        """Pair whom the gap allows."""
        ratings = self.reporter.ladder.ratings
        for early, late in itertools.combinations(sorted(self.queue, key=lambda entry: entry[0]), 2):
            if early not in self.queue or late not in self.queue:
                continue
            gap = abs(ratings[early[1].agent_id] - ratings[late[1].agent_id])
            if gap > 60 + self.widen * (self.clock.now - early[0]):
                continue
            if not self.rooms.open_room(early[1].agent_id, late[1].agent_id):
                return
            self.queue.remove(early)
            self.queue.remove(late)
            self.log.log_decision(
                "pair", {"first": early[1].agent_id, "second": late[1].agent_id, "gap": round(gap)}
            )
            task = asyncio.ensure_future(self.play(early, late))
            self.matches.add(task)

    async def play(self, early: Any, late: Any) -> None:
        """Play one match and tell both."""
        result = await self.rooms.host(early[1], late[1])
        ratings = {} if result["void"] else await self.reporter.bring(result)
        for _, _, future in (early, late):
            if not future.done():
                future.set_result((result, ratings))


class Player:
    """One player of the evening."""

    def __init__(self, name: str, matcher: Matcher, clock: Clock, seed: int, skill: float) -> None:
        self.agent_id, self.agent_role = name, "player"
        self.matcher, self.clock = matcher, clock
        self.rng = random.Random(f"{seed}/{name}")
        self.skill = skill
        self.log = AgentLogger(name, "player")
        self.social = InteractionLogger(name, "player")
        self.remembered = 0.0
        self.out = {"gone": 0, "left": 0}

    async def evening(self) -> None:
        """Play until bed time."""
        await self.clock.sleep(self.rng.uniform(1, 200))
        while True:
            self.look_at_profile()
            start = self.clock.now
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            entry = (start, self, future)
            self.log.log_action("queue_up", {"at": round(start)})
            self.matcher.queue.append(entry)
            while not future.done():
                await self.clock.sleep(30)
                if entry in self.matcher.queue and self.clock.now - start > 400:
                    self.matcher.queue.remove(entry)
                    self.out["left"] += 1
                    self.log.log_action("leave_queue", {"waited": round(self.clock.now - start)})
                    break
            if future.done():
                result, ratings = future.result()
                self.remembered = ratings.get(self.agent_id, self.remembered)
                self.react(result)
            await self.clock.sleep(self.rng.uniform(40, 160))

    def look_at_profile(self) -> None:
        """Look at the own rating."""
        shown = self.matcher.reporter.ladder.ratings[self.agent_id]
        self.out["gone"] += shown < self.remembered - 0.5
        self.log.log_action("open_profile", {"rating": shown, "remembered": self.remembered})
        self.remembered = shown

    def react(self, result: dict[str, Any]) -> None:
        """Leave a mark for the match."""
        if result["void"]:
            return
        mark = "one-sided" if result["margin"] == 3 else "good"
        other = result["loser"] if result["winner"] == self.agent_id else result["winner"]
        self.social.log_interaction(
            "mark_match", self.agent_id, other, data={"mark": mark, "map": result["map"]}
        )


async def operations(clock: Clock, matchers: dict[str, Matcher]) -> None:
    """Change settings during the evening, as the plan of the week says."""
    log = AgentLogger("operations", "operator")
    for at, region, value in ((1500.0, "eu", 4.5), (2000.0, "asia", 0.05 if _with("widen") else 5.0)):
        await clock.sleep(at)
        matchers[region].widen = value
        log.log_action("set_option", {"region": region, "option": "widen", "value": value})
    await clock.sleep(700)
    log.info("new banner for the winter event", {"file": "banner_w4.png"})


async def play(seed: int) -> dict[str, Any]:
    """Play the evening."""
    clock = Clock()
    ladder = Ladder(clock, seed)
    skills = random.Random(f"{seed}/skills")
    matchers: dict[str, Matcher] = {}
    players: list[Player] = []
    for region in REGIONS:
        rooms = Rooms(region, clock, seed)
        matchers[region] = Matcher(region, rooms, Reporter(region, clock, ladder), clock)
        for number in range(EACH):
            skill = 1500 + 60 * (number - EACH / 2) + skills.gauss(0, 25)
            player = Player(f"{region}_{number + 1:02d}", matchers[region], clock, seed, skill)
            ladder.ratings[player.agent_id] = round(skill + skills.gauss(0, 30), 1)
            players.append(player)
    jobs = [player.evening() for player in players] + [matcher.run() for matcher in matchers.values()]
    tasks = [asyncio.ensure_future(job) for job in jobs]
    clerk = SeasonClerk(clock, ladder)
    tasks.append(asyncio.ensure_future(clerk.evening()))
    tasks.append(asyncio.ensure_future(operations(clock, matchers)))
    await clock.drive()
    tasks += [task for matcher in matchers.values() for task in matcher.matches]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    out: dict[str, Any] = {"gone": sum(player.out["gone"] for player in players), "table": clerk.table}
    for region in REGIONS:
        own = [player.out for player in players if player.agent_id.startswith(region)]
        out[region] = {key: sum(one[key] for one in own) for key in ("left",)}
    return out


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play one evening; return what players noticed."""
    _PLAY["fault"] = fault
    setup_logging()
    outcome = asyncio.run(play(seed))
    shutdown_logging()
    return outcome


def _swapped(events: Sequence[Event]) -> list[str]:
    return pick(
        events,
        "results_us",
        "report_result",
        where=lambda event: event.args["at"] > 2300,
    )


def _never_closed(events: Sequence[Event]) -> list[str]:
    rooms = {"open_room", "close_room"}
    found = []
    for place, event in enumerate(events):
        if event.agent == "rooms_eu" and "match void" in event.message:
            following = next(
                (later for later in events[place + 1 :] if later.agent == "rooms_eu" and later.act in rooms),
                None,
            )
            if following is None or following.act != "close_room" or following.args.get("how") != "void":
                found.append(event.id)
    return found[:3]


FAULTS: dict[str, Fault] = {
    "bonus": Fault(
        "I won, my rating went up, and a minute later the points were gone; several friends report the same.",
        lambda faulty, healthy: faulty["gone"] > 0 == healthy["gone"],
        lambda events: (
            pick(events, "season_clerk", "write_back") + pick(events, "season_clerk", "copy_ratings")
        ),
    ),
    "sides": Fault(
        "The strongest player of region us has dropped out of the table of the five best, "
        "although she has hardly lost all evening.",
        lambda faulty, healthy: "us_12" in healthy["table"] and "us_12" not in faulty["table"],
        _swapped,
    ),
    "rooms": Fault(
        "Nobody in eu gets a game any more; eu_03 waited for ages and went to bed.",
        lambda faulty, healthy: faulty["eu"]["left"] > 3 > healthy["eu"]["left"],
        _never_closed,
    ),
    "widen": Fault(
        "The best of our asia players wait and wait without ever being given an opponent.",
        lambda faulty, healthy: faulty["asia"]["left"] > 3 > healthy["asia"]["left"],
        lambda events: pick(
            events, "operations", "set_option", where=lambda event: event.args["region"] == "asia"
        ),
    ),
}
