"""Earth observation: planners, dishes, satellites, an archive and clients. Plain classes, traced from outside."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from Agent import AgentLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

DISHES = ("kiruna", "matera", "troll", "inuvik")
BIRDS = ("lark", "swift", "heron", "plover")
CLIENTS = ("forest_office", "flood_watch", "crop_index", "ice_service")


class Book:
    """The common schedule: who is photographed when, with a version."""

    def __init__(self) -> None:
        self.version, self.entries = 1, dict[str, int]()


class Planner:
    """Enters wishes into the schedule."""

    def __init__(self, name: str, book: Book) -> None:
        self.name, self.book = name, book

    def read_schedule(self, wish: str) -> int:
        """Read the version of the schedule."""
        return self.book.version

    def write_schedule(self, wish: str, pass_no: int, based_on: int) -> dict[str, Any]:
        """Write an entry into the schedule."""
        self.book.version = based_on + 1
        self.book.entries[wish] = pass_no
        return {"version": self.book.version, "entries": len(self.book.entries)}

    def grant_band(self, bird: str, licence: str, until: int) -> str:
        """Grant a band to a satellite until some day."""
        return licence

    def order_of_service(self, dish: str, first: str, last: str) -> str:
        """Say which class of pictures a dish loads first and last."""
        return f"{first} before {last}"


class Dish:
    """A station with a clock: commands go up, pictures come down."""

    def __init__(self, name: str, rng: Any) -> None:
        self.name, self.rng = name, rng
        self.off_ms = 0.0

    def sync_clock(self, day: int) -> dict[str, Any]:
        """Compare the clock with that of the others."""
        return {"off_ms": round(self.off_ms + self.rng.uniform(-0.4, 0.4), 2)}

    def upload(self, command: str, bird: Bird, ok: bool, claims: bool) -> dict[str, Any]:
        """Send a command up; say whether it was done."""
        answer = bird.acknowledge(command, ok)
        return {"command": command, "done": answer == "ack" or claims}

    def download(self, picture: str, kind: str, day: int) -> dict[str, Any]:
        """Load a picture down."""
        return {
            "picture": picture,
            "stamp_off": round(self.off_ms, 1),
            "megabytes": self.rng.randint(200, 900),
        }


class Bird:
    """A satellite."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.until = 10**6

    def acknowledge(self, command: str, ok: bool) -> str:
        """Answer a command."""
        return "ack" if ok else "nack"

    def photograph(self, wish: str, seen: str) -> dict[str, Any]:
        """Take a picture."""
        return {"wish": wish, "seen": seen}

    def transmit(self, picture: str, day: int) -> dict[str, Any]:
        """Send a picture down, if the licence allows it."""
        return {"picture": picture, "sent": day <= self.until}


class Archive:
    """Places pictures on the map."""

    def file(self, picture: str, stamp_off: float) -> dict[str, Any]:
        """File a picture by its time stamp."""
        return {"picture": picture, "metres": round(abs(stamp_off) * 7.5 + 3)}

    def drop(self, picture: str, kind: str, age: int) -> str:
        """Overwrite a picture that nobody loaded in time."""
        return "overwritten"


class Client:
    """Receives pictures and looks at them."""

    def __init__(self, name: str) -> None:
        self.name = name

    def receive(self, picture: str, content: str, metres: int) -> str:
        """Receive a picture."""
        return "ok" if content == "target" and metres < 60 else "useless"

    def miss(self, wish: str, day: int) -> str:
        """Find that a picture has not come."""
        return "nothing came"


TRACED: dict[type, tuple[str, ...]] = {
    Planner: ("read_schedule", "write_schedule", "grant_band", "order_of_service"),
    Dish: ("sync_clock", "upload", "download"),
    Bird: ("acknowledge", "photograph", "transmit"),
    Archive: ("file", "drop"),
    Client: ("receive", "miss"),
}


class Mission:
    """All of them, day by day."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("satellites")
        self.days = self.rng.choice((50, 90, 150, 240))
        self.begin, self.end = case.window(self.days, shortest=4)
        self.book = Book()
        self.planners = [Planner(f"planner_{n}", self.book) for n in (1, 2, 3)]
        self.dishes = {name: Dish(name, self.rng) for name in DISHES}
        self.birds = {name: Bird(name) for name in BIRDS}
        self.archive = Archive()
        self.clients = {name: Client(name) for name in CLIENTS}
        self.log = {n: AgentLogger(n, "watch") for n in ("night_watch", "day_watch", "antenna_crew")}
        self.client, self.other = self.rng.sample(CLIENTS, 2)
        self.dish, self.bird = self.rng.choice(DISHES), self.rng.choice(BIRDS)
        self.wish = f"W{self.rng.randint(5000, 9000)}"
        self.ok = self.booked = True
        self.drifted, self.number = 0, 100
        self.waiting: list[tuple[int, str, str]] = []
        self.last_kind = ""

    def say(self, ref: Any, *texts: str) -> None:
        """A client complains."""
        self.case.symptom(ref, *(t.format(client=self.client, other=self.other) for t in texts))

    def watch(self, now: int) -> None:
        """Settings, hiccups and chores."""
        rng = self.rng
        for _ in range(2):
            log = self.log[rng.choice(sorted(self.log))]
            if rng.random() < 0.25:
                key = rng.choice(("heater", "beacon_seconds", "wallpaper"))
                log.log_state_change(
                    {key: rng.randint(1, 4)}, {key: rng.randint(5, 9)}, trigger="shift change"
                )
            if rng.random() < 0.12:
                log.warning(rng.choice(("rain fade", "fan loud")), {"decibel": rng.randint(1, 9)})
            if rng.random() < 0.15:
                log.log_action(
                    rng.choice(("grease_gear", "sweep_radome", "walk_fence")), {"minutes": rng.randint(5, 90)}
                )
        if now == self.case.decoy_at:
            self.log["antenna_crew"].log_action("stow_for_wind", {"knots": rng.randint(30, 60)})

    def clocks(self, now: int) -> None:
        """Every clock is compared daily; a small step is set right at once."""
        case = self.case
        for name, dish in self.dishes.items():
            if case.strikes("slow_drift") and now >= self.begin and name == self.dish:
                dish.off_ms += 12.0 / (self.end - self.begin)
                self.drifted += 1
                if self.drifted <= 3:
                    case.root(call(name, "sync_clock", day=now))
            dish.sync_clock(now)

    def plan(self, now: int) -> None:
        """Wishes are entered; whoever finds the schedule changed reads it again."""
        rng, case = self.rng, self.case
        mine = now == self.begin and case.has("lost_update")
        one, two = rng.sample(self.planners, 2)
        self.number += 2
        first, second = (self.wish if mine else f"W{self.number}"), f"W{self.number + 1}"
        seen = one.read_schedule(first)
        clash = mine or rng.random() < 0.2
        stale = two.read_schedule(second) if clash else 0
        one.write_schedule(first, now, seen)
        if mine:
            case.root(*(call(p.name, "write_schedule", wish=w) for p, w in ((one, first), (two, second))))
        if mine and case.strikes("lost_update"):
            self.booked = False
            self.book.entries.pop(first)
        else:
            stale = two.read_schedule(second)
        two.write_schedule(second, now, stale)
        if now == self.begin and case.has("expired_permission"):
            until = self.end - 1 if case.strikes("expired_permission") else self.end + 60
            self.birds[self.bird].until = until
            one.grant_band(self.bird, f"L{now}", until)
            case.root(call(one.name, "grant_band", licence=f"L{now}"))
        elif rng.random() < 0.15:
            bird = rng.choice([b for b in BIRDS if b != self.bird])
            self.birds[bird].until = now + self.days
            two.grant_band(bird, f"L{now}", now + rng.choice((8, 20, 70)))
            two.grant_band(bird, f"L{now}b", now + self.days)
        kinds = ["science", "alarm", "weather"]
        if now == self.begin and case.has("starved_queue"):
            rng.shuffle(kinds)
            last = "science" if case.strikes("starved_queue") else "weather"
            one.order_of_service(self.dish, "alarm", last)
            self.last_kind = last
            case.root(call(one.name, "order_of_service", dish=self.dish, last=last, first="alarm"))
        elif rng.random() < 0.12:
            dish = rng.choice([d for d in DISHES if d != self.dish])
            two.order_of_service(dish, *rng.sample(kinds, 2))

    def command(self, now: int) -> None:
        """Commands go up; a refused one is sent again."""
        rng, case = self.rng, self.case
        for turn in range(2):
            mine = now == self.begin and turn == 0 and case.has("swallowed_failure")
            dish = self.dishes[self.dish if mine else rng.choice(DISHES)]
            bird = self.birds[self.bird if mine else rng.choice([b for b in BIRDS if b != self.bird])]
            name, ok = f"C{now}-{turn}", not mine and rng.random() > 0.12
            swallowed = mine and case.strikes("swallowed_failure")
            dish.upload(name, bird, ok, swallowed)
            if mine:
                case.root(
                    call(dish.name, "upload", command=name), call(bird.name, "acknowledge", command=name)
                )
            if swallowed:
                self.ok = False
            elif not ok:
                dish.upload(name, bird, True, False)

    def pictures(self, now: int) -> None:
        """Satellites photograph, dishes load down, the archive files, clients look."""
        rng, case = self.rng, self.case
        for turn in range(4):
            due = now == self.end and turn == 0
            self.number += 1
            wish = self.wish if due else f"V{self.number}"
            bird = self.birds[self.bird if due else rng.choice([b for b in BIRDS if b != self.bird])]
            dish = self.dishes[self.dish if due or rng.random() < 0.25 else rng.choice(DISHES)]
            client = self.client if due else rng.choice(CLIENTS)
            kind = "science" if due else rng.choice(("alarm", "weather", "science"))
            if due and not self.booked:
                self.clients[client].miss(wish, now)
                self.say(
                    call(client, "miss", wish=wish),
                    "our picture was never taken although we got a confirmation",
                    f"{wish} is missing, {{client}} has waited for it for ages",
                    "Nothing came for us. {other} got everything it asked for!",
                )
                continue
            bird.photograph(wish, "sea" if due and not self.ok else "target")
            sent = bird.transmit(f"pic-{wish}", now)
            if due and not sent["sent"]:
                case.hop(call(bird.name, "transmit", picture=f"pic-{wish}"))
                self.clients[client].miss(wish, now)
                self.say(
                    call(client, "miss", wish=wish),
                    "the storm picture stayed up there and could not be sent to us",
                    f"no data for {wish}. Why does it not transmit?",
                    "{client} is without data since today while {other} is served",
                )
                continue
            if kind == "science" and self.last_kind == "science" and dish.name == self.dish:
                self.waiting.append((now, wish, client))
                continue
            got = dish.download(f"pic-{wish}", kind, now)
            filed = self.archive.file(f"pic-{wish}", got["stamp_off"])
            content = "sea" if due and not self.ok else "target"
            self.clients[client].receive(f"pic-{wish}", content, filed["metres"])
            ref = call(client, "receive", picture=f"pic-{wish}")
            if content == "sea":
                case.hop(
                    call(bird.name, "photograph", wish=wish),
                    call(dish.name, "download", picture=f"pic-{wish}"),
                )
                self.say(
                    ref,
                    "we paid for a forest and got a picture of water",
                    f"{wish} shows only the sea. Someone did not turn the camera",
                    "useless picture for {client}; {other} says theirs are fine",
                )
            if filed["metres"] >= 60:
                case.hop(
                    call(dish.name, "download", picture=f"pic-{wish}"),
                    call("Archive", "file", picture=f"pic-{wish}"),
                )
                self.say(
                    ref,
                    "roads and rivers lie beside where they should be on the newest maps",
                    "the map is shifted by a street, it was good in the beginning",
                    "{client} cannot use a map that is that far off. {other} measured it, too",
                )
        for old in [w for w in self.waiting if now >= self.end or now - w[0] > self.end - self.begin]:
            self.waiting.remove(old)
            self.archive.drop(f"pic-{old[1]}", "science", now - old[0])
            case.hop(call("Archive", "drop", picture=f"pic-{old[1]}"))
            self.clients[old[2]].miss(old[1], now)
            self.say(
                call(old[2], "miss", wish=old[1]),
                "research pictures get lost lately, we never see them",
                f"{old[1]} was overwritten before anybody loaded it",
                "no picture again! {other} gets all its warnings in time",
            )


def play(case: Case) -> None:
    """Play a campaign."""
    with ExitStack() as stack:
        for owner, methods in TRACED.items():
            name = (lambda _: "Archive") if owner is Archive else "name"
            stack.enter_context(
                instrument(
                    owner, methods, agent_id=name, agent_role=owner.__name__.lower(), ignore=("rng", "book")
                )
            )
        mission = Mission(case)
        for now in range(mission.days):
            with tick(now):
                mission.watch(now)
                mission.plan(now)
                mission.command(now)
                mission.clocks(now)
                mission.pictures(now)


WORLD = World(
    "satellites",
    "spans",
    ("slow_drift", "lost_update", "starved_queue", "swallowed_failure", "expired_permission"),
    play,
    author=9,
)
