"""A canal: keepers of locks, barges, launches, a control room with a relay, a pump house, permits, divers and a tug."""

from __future__ import annotations

from typing import Any

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

LOCKS = ("alder", "birch", "cedar", "damson", "elder")
BARGES = (
    "barge_tern",
    "barge_coot",
    "barge_heron",
    "barge_teal",
    "barge_grebe",
    "barge_smew",
    "barge_wigeon",
)
LAUNCHES = ("launch_amber", "launch_beryl", "launch_coral")
MILLS = ("flour_mill", "malt_house", "cement_works")
DEPTH_CM, UNDER_KEEL_CM = 240, 15


class Post:
    """Somebody with a log, a box of messages, and a view of the canal."""

    def __init__(self, name: str, canal: Canal) -> None:
        self.name, self.canal = name, canal
        self.log = AgentLogger(name, name.partition("_")[0])
        self.box: list[Any] = []

    def tell(self, to: str, about: str, causes: list[str] | None = None, **body: Any) -> str:
        """Send a message; returns its event."""
        message = self.log.send(to, {"about": about, **body}, causes=causes)
        self.canal.posts[to].box.append(message)
        return str(message.event_id)

    def read(self) -> None:
        """Receive what is in the box, and act on it."""
        waiting, self.box = self.box, []
        for message in waiting:
            received = self.log.receive(message)
            getattr(self, f"on_{message.body['about']}")(message.body, message.sender, received)


class Keeper(Post):
    """Works the gates of a lock by what is known there."""

    def __init__(self, name: str, canal: Canal) -> None:
        super().__init__(name, canal)
        self.lock = name.partition("_")[2]
        self.closed: dict[int, str] = {}
        self.depth, self.sounded = DEPTH_CM, ""
        self.slots: dict[str, tuple[int, str]] = {}

    def on_closure(self, body: dict[str, Any], _sender: str, got: str) -> None:
        own = body["lock"] == self.lock
        act = "note_closure" if own else "file_notice"
        event = self.log.log_action(act, {key: body[key] for key in ("lock", "watch", "works")}, causes=[got])
        if own:
            self.closed[body["watch"]] = event

    def on_sounding(self, body: dict[str, Any], _sender: str, got: str) -> None:
        self.depth = body["cm"]
        self.sounded = self.log.log_action("note_depth", {"lock": self.lock, "cm": body["cm"]}, causes=[got])
        if self.canal.planned_sounding == body["number"]:
            self.canal.case.root(self.sounded)
            self.canal.case.hop(self.sounded)

    def on_slot(self, body: dict[str, Any], _sender: str, got: str) -> None:
        act = {"launch": body["launch"], "watch": body["watch"], "guests": body["guests"]}
        event = self.log.log_action("set_slot", act, causes=[got])
        self.slots[body["launch"]] = (body["watch"], event)
        if body["number"] in self.canal.planned_slots:
            self.canal.case.root(event)

    def on_pass(self, body: dict[str, Any], sender: str, got: str) -> None:
        """Decide about a boat that wants through."""
        watch, causes = self.canal.watch, [got]
        slot, slot_event = self.slots.get(sender, (-1, ""))
        if watch in self.closed:
            word, causes = "hold", [got, self.closed[watch]]
        elif body["cargo"] == "dangerous" and body["permit_until"] < watch:
            word = "refuse"
        elif body["draught_cm"] > self.depth - UNDER_KEEL_CM:
            word = "lighten"
        elif sender in LAUNCHES and slot != watch:
            word, causes = "not_ready", [got, *filter(None, [slot_event])]
        else:
            word, causes = "go", [got, *filter(None, [self.sounded])]
        act = "work_gates" if word == "go" else "keep_shut"
        event = self.log.log_action(act, {"boat": sender, "lock": self.lock, "word": word}, causes=causes)
        if self.canal.planned_trip(sender):
            self.canal.case.hop(event)
        if word == "go" and (self.lock, watch) in self.canal.dives:
            divers = self.canal.posts["diver_team"]
            alarm = divers.log.log_action(
                "surface", {"lock": self.lock, "why": "pulled to the sluice"}, causes=[event]
            )
            self.canal.complain(alarm, "surface")
        self.tell(sender, "answer", [event], word=word, lock=self.lock)


class Boat(Post):
    """A barge or a launch with its skipper."""

    def __init__(self, name: str, canal: Canal) -> None:
        super().__init__(name, canal)
        self.permit: tuple[int, str] = (-1, "")
        self.draught_cm, self.cargo = 0, ""

    def on_permit(self, body: dict[str, Any], _sender: str, got: str) -> None:
        self.permit = (
            body["until"],
            self.log.log_action("pin_permit", {"paper": body["paper"]}, causes=[got]),
        )

    def ask(self, lock: str, draught_cm: int, cargo: str = "gravel") -> None:
        """Ask to pass a lock."""
        self.draught_cm, self.cargo = draught_cm, cargo
        shown: dict[str, Any] = {"cargo": cargo, "draught_cm": draught_cm}
        causes = [self.permit[1]] if cargo == "dangerous" and self.permit[1] else None
        asked = self.tell(f"keeper_{lock}", "pass", causes, permit_until=self.permit[0], **shown)
        if self.canal.planned_trip(self.name):
            self.canal.case.trigger(asked)

    def on_answer(self, body: dict[str, Any], sender: str, got: str) -> None:
        """Do as the keeper says, and tell whoever is hit by it."""
        if body["word"] == "go" and self.draught_cm > DEPTH_CM:
            event = self.log.log_action("touch_bottom", {"lock": body["lock"]}, causes=[got])
            self.canal.hop_of(self, event)
            self.tell("tug_boat", "aground", [event], lock=body["lock"])
            return
        act = "pass_lock" if body["word"] == "go" else "moor"
        event = self.log.log_action(act, {"lock": body["lock"], "word": body["word"]}, causes=[got])
        self.canal.hop_of(self, event)
        if body["word"] == "refuse":
            self.tell(self.canal.mill, "late", [event], cargo=self.cargo)
        elif body["word"] == "not_ready":
            self.tell("tour_office", "missed", [event], launch=self.name)
        elif body["word"] == "go" and self.canal.may_sound(sender):
            error = self.canal.rng.choice((0, 2, -3, 1, -1, 3, -28))
            self.tell(sender, "sounding", [event], cm=DEPTH_CM + error, number=self.canal.next())


class Control(Post):
    def on_closure(self, body: dict[str, Any], _sender: str, got: str) -> None:
        """Forward a closure to the keeper of its lock; paint is nothing that a neighbour could not pass on."""
        canal, lock = self.canal, body["lock"]
        planned = body["number"] == canal.planned_closure
        careless = canal.rng.random() < 0.15 and body["works"] == "paint"
        neighbour = canal.rng.choice([each for each in LOCKS if each != lock])
        to = neighbour if careless or (planned and canal.case.strikes("wrong_recipient")) else lock
        values = {key: body[key] for key in ("lock", "watch", "works")}
        sent = self.tell(f"keeper_{to}", "closure", [got], **values)
        if planned:
            canal.case.root(sent)
        elif to == lock and canal.rng.random() < 0.3:
            self.tell(f"keeper_{neighbour}", "closure", [got], **values)  # for information


class Relay(Post):
    """Passes slots on to the keepers, in the order of arrival if all is well."""

    def __init__(self, name: str, canal: Canal) -> None:
        super().__init__(name, canal)
        self.held: list[tuple[dict[str, Any], str]] = []

    def on_slot(self, body: dict[str, Any], _sender: str, got: str) -> None:
        self.held.append((body, got))

    def forward(self) -> None:
        held, self.held = self.held, []
        by_launch: dict[str, list[tuple[dict[str, Any], str]]] = {}
        for body, got in held:
            by_launch.setdefault(body["launch"], []).append((body, got))
        for pair in by_launch.values():
            same = len(pair) == 2 and pair[0][0]["watch"] == pair[1][0]["watch"]
            planned = pair[0][0]["number"] in self.canal.planned_slots
            late = self.canal.rng.random() < 0.5
            if (same and late) or (planned and self.canal.case.strikes("out_of_order")):
                pair.reverse()
            for body, got in pair:
                sent = self.tell(f"keeper_{body['lock']}", **{**body, "causes": [got]})
                if planned:
                    self.canal.case.root(sent)


class Moorings(Post):
    def on_level(self, body: dict[str, Any], _sender: str, got: str) -> None:
        """Give rope, or take it in, as the water falls or rises."""
        self.canal.rope[body["reach"]] += body["cm"]
        act = {"reach": body["reach"], "cm": body["cm"]}
        self.log.log_action("adjust_ropes", act, causes=[got])


class Gauge(Post):
    def on_level(self, body: dict[str, Any], _sender: str, got: str) -> None:
        self.log.log_action("write_gauge", {"reach": body["reach"], "cm": body["cm"]}, causes=[got])


class Helper(Post):
    """The tug, mills and the tour office: those who feel it when something went wrong."""

    def on_aground(self, body: dict[str, Any], sender: str, got: str) -> None:
        event = self.log.log_action(
            "pull_off", {"boat": sender, "lock": body["lock"], "why": "aground"}, causes=[got]
        )
        self.canal.complain(event, "pull_off")

    def on_late(self, body: dict[str, Any], _sender: str, got: str) -> None:
        event = self.log.log_action("stand_still", {"waits_for": body["cargo"], "hours": 5}, causes=[got])
        self.canal.complain(event, "stand_still")

    def on_missed(self, body: dict[str, Any], _sender: str, got: str) -> None:
        event = self.log.log_action(
            "refund", {"launch": body["launch"], "why": "stood before the lock"}, causes=[got]
        )
        self.canal.complain(event, "refund")


class Canal:
    """The water, who works on it, and the plan of the case."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("canal")
        self.posts: dict[str, Post] = {}
        self.watch, self.count = 0, 0
        self.lock, self.wrong_lock = self.rng.sample(LOCKS, 2)
        self.mill = self.rng.choice(MILLS)
        barge, self.bystander = self.rng.sample(BARGES, 2)
        self.boat = self.rng.choice(LAUNCHES) if case.has("out_of_order") else barge
        self.level, self.rope = dict.fromkeys(LOCKS, 0), dict.fromkeys(LOCKS, 0)
        self.dives: set[tuple[str, int]] = set()
        self.trips: list[tuple[int, str, str, int, str]] = []
        self.planned_closure, self.planned_sounding, self.planned_slots = -1, -1, set[int]()
        kinds: dict[str, type[Post]] = {f"keeper_{lock}": Keeper for lock in LOCKS}
        kinds |= dict.fromkeys((*BARGES, *LAUNCHES), Boat)
        kinds |= dict.fromkeys(("tug_boat", "tour_office", *MILLS), Helper)
        kinds |= {
            "control_room": Control,
            "relay_post": Relay,
            "mooring_master": Moorings,
            "gauge_hut": Gauge,
        }
        kinds |= dict.fromkeys(("diver_team", "paint_crew", "permit_office", "pump_house"), Post)
        kinds |= dict.fromkeys((f"houseboat_{lock}" for lock in LOCKS), Post)
        self.posts = {name: kind(name, self) for name, kind in kinds.items()}

    def next(self) -> int:
        self.count += 1
        return self.count

    def has(self, kind: str, watch: int) -> bool:
        return self.case.has(kind) and self.watch == watch

    def far(self, watches: int) -> bool:
        """Tell whether nothing that begins now and takes so long can meet what is planned."""
        return not self.case.begin - watches <= self.watch <= self.case.end

    def planned_trip(self, boat: str) -> bool:
        return boat == self.boat and self.watch == self.case.end and not self.case.has("omitted_message")

    def hop_of(self, boat: Boat, event: str) -> None:
        if self.planned_trip(boat.name):
            self.case.hop(event)

    def may_sound(self, keeper: str) -> bool:
        """Skippers report the depth now and then; at one lock nobody does while the case is on."""
        chance = self.rng.random() < 0.3
        reserved = self.case.has("false_belief") and keeper == f"keeper_{self.lock}"
        return chance and not (reserved and self.case.begin <= self.watch <= self.case.end)

    def complain(self, event: str, what: str) -> None:
        names = {"lock": self.lock, "boat": self.boat, "mill": self.mill, "other": self.bystander}
        self.case.symptom(event, *(text.format(**names) for text in TEXTS[what]))

    def deliver(self) -> None:
        """Let everybody read their messages until there is none."""
        while any(post.box for post in self.posts.values()):
            for post in self.posts.values():
                post.read()

    def close_locks(self) -> None:
        """Divers and painters ask for closures; divers go down at the hour they asked for."""
        rng, planned = self.rng, self.has("wrong_recipient", self.case.begin)
        if planned or rng.random() < 0.35:
            divers = planned or rng.random() < 0.4
            lock, when = rng.choice(LOCKS), self.watch + 1 + round(rng.expovariate(0.12))
            while (lock, when) == (self.lock, self.case.end):
                lock = rng.choice(LOCKS)
            lock, when = (self.lock, self.case.end) if planned else (lock, when)
            number = self.next()
            self.planned_closure = number if planned else self.planned_closure
            works = "divers" if divers else "paint"
            crew = self.posts["diver_team" if divers else "paint_crew"]
            crew.tell("control_room", "closure", lock=lock, watch=when, works=works, number=number)
            if divers:
                self.dives.add((lock, when))
        for lock, when in sorted(self.dives):
            if when == self.watch:
                self.posts["diver_team"].log.log_action("dive", {"lock": lock, "watch": when})

    def move_water(self) -> None:
        """The pump house moves water, and says so if it is more than a ripple."""
        planned = self.case.has("omitted_message") and self.watch in (self.case.begin, self.case.end)
        if self.rng.random() < 0.5:
            self.look_at_ropes(self.rng.choice(LOCKS))
        if not planned and self.rng.random() > 0.35:
            return
        free = [lock for lock in LOCKS if lock != self.lock or not self.case.has("omitted_message")]
        reach = self.lock if planned else self.rng.choice(free)
        ripple, pump = self.rng.random() < 0.4 and not planned, self.posts["pump_house"]
        size = self.rng.randint(1, 3) if ripple else self.rng.randint(11, 14)
        change = -size if planned or self.level[reach] >= 0 else size
        event = pump.log.log_action("move_water", {"reach": reach, "cm": change})
        sent = pump.tell("gauge_hut", "level", [event], reach=reach, cm=change)
        if planned and self.watch == self.case.begin:
            self.case.root(event, sent)
        elif planned:
            self.case.trigger(event)
        if ripple:
            return
        self.level[reach] += change
        tight = self.rope[reach] - self.level[reach]
        house = self.posts[f"houseboat_{reach}"]
        if planned and self.watch == self.case.end:
            self.case.hop(self.look_at_ropes(reach))
        if tight > 20:
            self.complain(
                house.log.log_action("lean", {"degrees": tight - 6, "why": "ropes too tight"}), "lean"
            )
        elif self.rng.random() < 0.5:
            house.log.log_action("lean", {"degrees": 1, "why": "wake of a barge"})
        if not (planned and self.case.strikes("omitted_message", self.watch)):
            pump.tell("mooring_master", "level", [event], reach=reach, cm=change)

    def look_at_ropes(self, reach: str) -> str:
        book = {"reach": reach, "rope_cm": self.rope[reach], "found": "as in the book"}
        return self.posts["mooring_master"].log.log_action("look_at_ropes", book)

    def plan_trips(self) -> None:
        """Permits for dangerous cargo, slots for launches, false and true soundings, and ordinary trips."""
        rng, case, control = self.rng, self.case, self.posts["control_room"]
        planned = self.has("expired_permission", case.begin)
        sailing = {trip[1] for trip in self.trips}
        ashore = [barge for barge in BARGES if barge not in sailing and (barge != self.boat or self.far(4))]
        if planned or (ashore and rng.random() < 0.25):
            barge, lock = (self.boat, self.lock) if planned else (rng.choice(ashore), rng.choice(LOCKS))
            ahead = rng.choice((0, 1, 2, 4) if barge == self.boat else (0, 1, 2, 4, 9, 25))
            paper, sail = f"P{self.next()}", case.end if planned else self.watch + ahead
            until = sail + rng.choice((0, 1, 3, 6))
            if planned and case.strikes("expired_permission", self.watch):
                until = sail - 1
            permit: dict[str, Any] = {"paper": paper, "until": until, "cargo": "dangerous"}
            sent = self.posts["permit_office"].tell(barge, "permit", **permit)
            if planned:
                case.root(sent)
            if planned or rng.random() < 0.8:  # some never sail, and their permit ends unused
                self.trips.append((sail, barge, lock, 180, "dangerous"))
        planned = self.has("out_of_order", case.begin)
        idle = [each for each in LAUNCHES if each not in sailing and (each != self.boat or self.far(10))]
        if planned or (idle and rng.random() < 0.5):
            launch, lock = (self.boat, self.lock) if planned else (rng.choice(idle), rng.choice(LOCKS))
            ahead = rng.choice((1, 2, 3, 5) if launch == self.boat else (1, 2, 3, 5, 12, 30))
            last = case.end if planned else self.watch + ahead
            first = last + rng.choice((1, 2, 3)) if planned or rng.random() < 0.4 else last
            for when in (first, last) if planned or rng.random() < 0.6 else (last,):
                number = self.next()
                if planned:
                    self.planned_slots.add(number)
                values: dict[str, Any] = {
                    "launch": launch,
                    "watch": when,
                    "guests": rng.randint(8, 40),
                    "number": number,
                }
                control.tell("relay_post", "slot", lock=lock, **values)
            self.trips.append((last, launch, lock, 90, "guests"))
        if self.has("false_belief", case.begin):
            self.planned_sounding = number = self.next()
            cm = 298 if case.strikes("false_belief", self.watch) else 241
            case.root(
                self.posts[self.bystander].tell(f"keeper_{self.lock}", "sounding", cm=cm, number=number)
            )
        elif rng.random() < 0.12 and self.may_sound(keeper := f"keeper_{rng.choice(LOCKS)}"):
            for cm in (rng.randint(285, 305), DEPTH_CM):  # and somebody measures again at once
                self.posts[rng.choice(BARGES)].tell(keeper, "sounding", cm=cm, number=self.next())

    def sail(self) -> None:
        """Boats that are due ask at their locks, and some others without a plan."""
        rng, case, asked = self.rng, self.case, set[str]()
        if self.watch == case.end and (case.has("false_belief") or case.has("wrong_recipient")):
            self.trips.append(
                (self.watch, self.boat, self.lock, 252 if case.has("false_belief") else 190, "gravel")
            )
        for trip in [trip for trip in self.trips if trip[0] <= self.watch]:
            self.trips.remove(trip)
            boat = self.posts[trip[1]]
            if isinstance(boat, Boat):
                boat.ask(trip[2], trip[3], trip[4])
                asked.add(trip[1])
        for name in rng.sample(BARGES, rng.randint(2, 4)):
            lock, boat = rng.choice(LOCKS), self.posts[name]
            deep = rng.random() < 0.06 and not (case.has("false_belief") and lock == self.lock)
            draught, cargo = (
                rng.randint(244, 258) if deep else rng.randint(140, 215),
                rng.choice(("gravel", "grain", "coal")),
            )
            if isinstance(boat, Boat) and name not in asked:
                boat.ask(lock, draught, cargo)


TEXTS = {
    "surface": (
        "Two of our people were pulled towards the sluice while under water. The gates were not to be touched!",
        "gates of {lock} were worked with men below, and {other} was not even there. Who slept?",
        "near accident under water at {lock}, it had been closed for {boat} and everybody else",
    ),
    "pull_off": (
        "{boat} is stuck on the bottom at {lock}, loaded as it was it should never have been let in",
        "Why was such a deep barge let through at {lock}? It sits on the sand",
        "stuck at {lock} for half a day until they pulled us off",
    ),
    "stand_still": (
        "We stand still because our load was not let through at {lock}. We had done all the paperwork weeks before!",
        "{mill} has no goods, {boat} lies before {lock} and may not go on",
        "{boat} was turned away at the lock with everything in order, they say the paper is too old",
    ),
    "refund": (
        "forty guests stood before a shut lock, and all want their money back",
        "{boat} was on time at {lock}, but nothing was prepared",
        "lock {lock} did not expect our round trip although the hour had been agreed on the phone, and changed once",
    ),
    "lean": (
        "my crockery is on the floor, the whole boat hangs in its ropes since the water went down",
        "A houseboat near {lock} leans over badly, the ropes are far too tight",
        "we are hanging on the quay wall at {lock}! {other} took pictures",
    ),
}


def chores(canal: Canal) -> None:
    """Settings, hiccups and work of no consequence; and something striking shortly before the symptom."""
    rng, posts = canal.rng, list(canal.posts.values())
    for post in rng.sample(posts, 3):
        dice = rng.random()
        if dice < 0.12:
            post.log.log_action("set_display", {"lamps": rng.randint(1, 6)})
        elif dice < 0.22:
            post.log.warning(
                rng.choice(("radio crackles", "duck in the way", "fog")), extra={"watch": canal.watch}
            )
        elif dice < 0.5:
            post.log.log_action(
                rng.choice(("grease_hinge", "scrub_deck", "write_diary")), {"minutes": rng.randint(5, 50)}
            )
    if canal.watch == canal.case.decoy_at:
        kind, post = rng.randrange(3), rng.choice(posts)
        if kind == 0:
            canal.posts["pump_house"].log.error(
                "pump two tripped, started again", extra={"minutes": rng.randint(1, 9)}
            )
        elif kind == 1:
            post.log.log_action("set_threshold", {"wind_m_s": 14, "before": 12})
        else:
            post.log.log_action("swap_watch", {"with": rng.choice(BARGES)})


def play(case: Case) -> None:
    """Play some weeks on the canal, four watches a day."""
    watches = case.rng("length").choice((45, 70, 110, 160))
    case.window(watches)
    canal = Canal(case)
    relay = canal.posts["relay_post"]
    for canal.watch in range(watches):
        with tick(canal.watch):
            chores(canal)
            canal.close_locks()
            canal.move_water()
            canal.plan_trips()
            canal.deliver()
            if isinstance(relay, Relay):
                relay.forward()
            canal.deliver()
            canal.sail()
            canal.deliver()


WORLD = World(
    "canal",
    "edges",
    ("wrong_recipient", "false_belief", "expired_permission", "omitted_message", "out_of_order"),
    play,
    author=13,
)
