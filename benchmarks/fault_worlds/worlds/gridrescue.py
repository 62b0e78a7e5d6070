"""A power grid after a storm: substations, crews, a store, a radio desk, sites with generators, and a call centre."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

SUBS = ("Alder", "Birch", "Cedar", "Dogwood")
STREETS = {
    f"F{10 * place + number}": street
    for place, names in enumerate(
        (
            ("Mill Lane", "Tanner Row", "Quarry Hill"),
            ("Station Road", "Elm Close", "Bakers Yard"),
            ("Harbour Walk", "Chapel Green", "Sluice Street"),
            ("Orchard End", "Glebe Field", "Ropewalk"),
        ),
        1,
    )
    for number, street in enumerate(names, 1)
}
SUB_OF = {line: SUBS[int(line[1]) - 1] for line in STREETS} | {f"T{n}": sub for n, sub in enumerate(SUBS, 1)}
CREWS = ("crew_1", "crew_2", "crew_3", "crew_4")
HEAVY = ("lift_crew_east", "lift_crew_west")
SHORTEST = {"deadlock": 9, "omitted_message": 4, "forgotten_undo": 4}  # until the work would be done
SITES = ("waterworks", "dairy", "clinic")


def _role(name: str) -> str:
    """Return what somebody is."""
    if name in SUBS:
        return "substation"
    return "site" if name in SITES else "crew" if "crew" in name else name.rstrip("_12")


class Grid:
    """The state of the grid, and everybody who works on it."""

    def __init__(self, case: Case, steps: int) -> None:
        self.case, self.rng, self.steps, self.now, self.serial = case, case.rng("grid"), steps, 0, 0
        self.planned = ""
        people = ("control_room", "call_centre", "stores", "radio_desk", "line_watch", "tanker_1", "tanker_2")
        everyone = (*SUBS, *CREWS, *HEAVY, *SITES, *people)
        self.logs = {name: AgentLogger(name, _role(name)) for name in everyone}
        self.dark: dict[str, str] = {}
        self.permits: dict[str, str] = {}
        self.blocked: set[str] = set()
        self.limits: dict[tuple[str, str], int] = {}
        self.holds = dict.fromkeys(STREETS, 420)
        self.held: dict[str, str] = {}
        self.queue: dict[str, deque[Iterator[None]]] = {name: deque() for name in (*CREWS, *HEAVY)}
        self.aside: list[tuple[str, str, str]] = []
        self.trucks: list[tuple[str, str, str]] = []
        self.patience: list[tuple[int, str]] = []
        self.line = self.rng.choice(list(STREETS))
        self.sub = SUB_OF[self.line]
        self.tie = f"T{SUBS.index(self.sub) + 1}"
        self.other = self.rng.choice([sub for sub in SUBS if sub != self.sub])
        self.crew = self.rng.choice(CREWS)
        self.litres = dict.fromkeys(SITES, 9.0 * (steps + 2))

    def act(self, agent: str, name: str, *causes: str, **data: object) -> str:
        """Record an action."""
        return self.logs[agent].log_action(name, data, causes=[cause for cause in causes if cause])

    def say(self, sender: str, to: str, cause: str, **body: object) -> tuple[str, str]:
        """Send a message that arrives at once; return both events."""
        message = self.logs[sender].send(to, body, causes=cause or None)
        return message.event_id, self.logs[to].receive(message)

    def complain(self, line: str, cause: str, says: str, texts: str) -> None:
        """Take a call from a street or a site."""
        where = STREETS.get(line, line)
        call = self.act(
            "call_centre", "note_call", cause, place=where, says=says, waited=self.rng_of(line, 40)
        )
        guilty = self.site() if texts == "no fuel" else self.line
        if self.now >= self.case.end and line == guilty:
            words = [text.format(place=where, sub=self.other) for text in TEXTS[texts]]
            self.case.symptom(call, *words)

    def rng_of(self, topic: str, most: int) -> int:
        """Draw a number that depends on nothing that happened."""
        return self.case.rng(f"{topic}/{self.now}").randint(1, most)

    def site(self) -> str:
        """Return the site of the case."""
        return SITES[self.case.seed % 3]

    def trip(self, line: str, reason: str, cause: str = "") -> str:
        """Open a feeder, try to close it again, try the tie, and send a crew."""
        sub, case = SUB_OF[line], self.case
        opened = self.act(sub, "open_breaker", cause, line=line, reason=reason)
        due = self.now == case.end and line == self.line
        if due:
            case.hop(opened)
        if reason == "flashover":
            if line not in self.blocked:
                return self.act(sub, "reclose", opened, line=line, after_s=self.rng_of(line, 9))
            opened = self.act(sub, "stay_open", opened, line=line)
        _, told = self.say(sub, "control_room", opened, line=line, state="open", reason=reason)
        tie = f"T{SUBS.index(sub) + 1}"
        if reason == "branch" and (due or self.rng_of(f"tie{line}", 2) == 1):
            _, order = self.say("control_room", sub, told, order="back_feed", line=line, over=tie)
            if tie not in self.permits:
                self.act(sub, "switch_tie", order, line=line, over=tie)
                self.repair(line, told, live=True)
                return opened
            refused = self.act(sub, "refuse", order, over=tie, permit=self.permits[tie])
            if due:
                case.hop(order, refused)
            _, told = self.say(sub, "control_room", refused, line=line, over=tie, done=False)
        self.dark[line] = opened
        self.patience.append((self.now + 14 + self.rng_of(line, 12), line))
        self.complain(line, opened, "dark", reason)
        self.repair(line, told, live=False)
        return opened

    def repair(self, line: str, cause: str, *, live: bool, crew: str = "", tree: bool = False) -> None:
        """Open a job, and give it to a crew."""
        self.serial += 1
        job, given = f"J{self.serial}", crew or self.rng_of_crew(line)
        opened = self.act("control_room", "open_job", cause, job=job, line=line)
        _, order = self.say("control_room", given, opened, job=job, line=line, sub=SUB_OF[line])
        work = self.mend(given, job, line, order, live, tree)
        self.queue[given].append(work) if not crew else self.queue[given].appendleft(work)

    def rng_of_crew(self, line: str) -> str:
        """Draw a crew for a job on a line."""
        return self.case.rng(f"crew/{line}/{self.now}").choice(CREWS)

    def mend(self, crew: str, job: str, line: str, cause: str, live: bool, tree: bool) -> Iterator[None]:
        """Drive, take a permit, mend, hand the line back, and report, a tick for each."""
        case, sub, permit = self.case, SUB_OF[line], f"P{job[1:]}"
        cause = self.act(crew, "drive", cause, job=job, km=self.rng_of(f"km/{line}", 30))
        yield
        if tree:  # a look from the road needs no permit
            cause = self.act(crew, "look", cause, job=job, line=line, finding="clear")
            self.say(crew, "control_room", cause, job=job, report="done")
            return
        _, asked = self.say(crew, sub, cause, job=job, line=line, ask="permit", live=live)
        given = self.act(sub, "give_permit", asked, line=line, permit=permit)
        self.permits[line] = permit
        if live:
            given = self.act(sub, "block_reclose", given, line=line)
            self.blocked.add(line)
        yield
        cause = self.act(
            crew, "mend", given, job=job, line=line, part=f"span {self.rng_of(f'span/{line}', 60)}"
        )
        yield
        planned = job == self.planned
        if planned and case.strikes("omitted_message"):
            sent, _ = self.say(crew, "control_room", cause, job=job, report="done")
            case.root(cause, sent)
            return
        _, back = self.say(crew, sub, cause, job=job, line=line, permit=permit, report="line is free")
        cleared = self.act(sub, "clear_permit", back, line=line, permit=permit)
        self.permits.pop(line, None)
        if live and planned and case.strikes("forgotten_undo"):
            case.root(cleared, given)
        elif live:
            self.act(sub, "allow_reclose", cleared, line=line)
            self.blocked.discard(line)
        _, done = self.say(crew, "control_room", cause, job=job, report="done")
        self.close(line, job, cleared, done)

    def close(self, line: str, job: str, cause: str, done: str) -> None:
        """Bring a feeder back, and tell the call centre."""
        if self.dark.pop(line, None):
            self.act(SUB_OF[line], "close_breaker", cause, line=line)
        closed = self.act("control_room", "close_job", done, job=job)
        if line in STREETS:
            _, told = self.say("control_room", "call_centre", closed, line=line, state="on")
            self.act("call_centre", "update_board", told, place=STREETS[line])

    def swap(self, crew: str, line: str, things: tuple[str, str], cause: str) -> Iterator[None]:
        """Exchange a transformer, which needs a lift and a spare from the store."""
        self.serial += 1
        job = f"J{self.serial}"
        _, order = self.say(
            "control_room", crew, cause, job=job, line=line, sub=SUB_OF[line], part="transformer"
        )
        cause = self.act(crew, "drive", order, job=job, km=self.rng_of(f"km/{line}", 30))
        yield
        for thing in things:
            sent, asked = self.say(crew, "stores", cause, job=job, need=thing)
            if thing in self.held:
                self.case.hop(self.act("stores", "put_on_list", asked, thing=thing, crew=crew))
            waited = 0
            while thing in self.held:
                waited += 1
                if waited % 6 == 0:
                    cause = self.act(crew, "wait", cause, job=job, thing=thing, ticks=waited)
                yield
            self.held[thing] = crew
            cause = self.act("stores", "lend", asked, thing=thing, crew=crew)
            if self.now == self.case.begin and thing == things[0] == "spare":
                self.case.root(sent, cause)
            yield
        cause = self.act(crew, "mend", cause, job=job, line=line, part="transformer")
        yield
        for thing in things:
            _, back = self.say(crew, "stores", cause, job=job, returns=thing)
            self.act("stores", "take_back", back, thing=thing, crew=crew)
            del self.held[thing]
        _, done = self.say(crew, "control_room", cause, job=job, report="done")
        self.close(line, job, cause, done)

    def burnt(self, crew: str, line: str, things: tuple[str, str]) -> None:
        """Lose a transformer, and send a heavy crew."""
        opened = self.act(SUB_OF[line], "open_breaker", line=line, reason="burnt transformer")
        self.dark[line] = opened
        self.complain(line, opened, "dark", "branch")
        _, told = self.say(
            SUB_OF[line], "control_room", opened, line=line, state="open", reason="transformer"
        )
        self.queue[crew].append(self.swap(crew, line, things, told))

    def limit(self, line: str, amps: int, to: str, crew: str) -> tuple[str, ...]:
        """Find that a feeder is weak, and limit its load."""
        found = self.act(crew, "inspect", line=line, finding="hot joint", holds_amps=amps)
        _, told = self.say(crew, "control_room", found, line=line, holds_amps=amps)
        sent, arrived = self.say("control_room", to, told, order="limit", line=line, amps=amps)
        self.limits[to, line] = amps
        return sent, arrived, self.act(to, "set_limit", arrived, line=line, amps=amps)

    def peak(self, line: str, amps: int) -> None:
        """Carry a load: shed what is above the limit, and open where the line cannot hold it."""
        sub = SUB_OF[line]
        load = self.act(sub, "read_load", line=line, amps=amps)
        limit = self.limits.get((sub, line), 400)
        if amps > limit:
            self.act(sub, "shed", load, line=line, to_amps=limit)
            amps = limit
        if amps > self.holds[line]:
            self.case.trigger(load)
            self.trip(line, "overload", load)

    def order_fuel(self, site: str, truck: str, *, reached: bool, planned: bool) -> None:
        """Order diesel for a generator over the radio."""
        asked = self.act(site, "order_diesel", litres=600, has=round(self.litres[site]))
        _, got = self.say(site, "radio_desk", asked, want="diesel", litres=600, truck=truck)
        if reached:
            _, heard = self.say("radio_desk", truck, got, deliver="diesel", site=site, litres=600)
            self.trucks.append((truck, site, heard))
            return
        kept = self.act("radio_desk", "put_aside", got, truck=truck, site=site)
        if planned and self.case.strikes("dead_letter", self.now):
            self.case.root(kept, got)
        else:
            self.aside.append((truck, site, kept))


TEXTS = {
    "branch": (
        "They promised that our street would be fed from the other side if the line fell again. It went dark all the same.",
        "{place} is without power since the gust, while houses on {sub} were switched over in seconds",
        "no light in {place}! friends on {sub} were switched over at once, nobody did that for us",
    ),
    "flashover": (
        "a twig touched the wire, a flash, and since then all is dark here. It always came back by itself!",
        "{place} stays off after one flash, elsewhere, as on {sub}, it flickers and goes on",
        "one short flash and no power for hours in {place}, {sub} has it back",
    ),
    "overload": (
        "Just when everybody cooked, the power went in {place}. They had told us the joint was known and looked after",
        "lights out at supper time, with a bang from the transformer. On {sub} all is well",
        "{place} lost power at the evening peak. {sub} had its boilers turned down, why were ours not?",
    ),
    "still dark": (
        "nobody has come to our broken transformer, the men just sit in their lorry",
        "{place} is still dark, is anybody working on it at all? {sub} has been back for ages",
        "Two lorries stand around and {place} still has no power",
    ),
    "no fuel": (
        "the generator stood still this morning, and no tank lorry has been seen for days",
        "the {place} has no current any more, the diesel is used up although it was ordered",
        "Diesel never came. {sub} cannot help us, we are off the grid",
    ),
}


def play(case: Case) -> None:
    """Play the days after the storm, half an hour a tick."""
    steps = case.rng("size").choice((70, 110, 160, 240))
    case.window(steps, SHORTEST.get(case.kind, 1))
    grid = Grid(case, steps)
    rng, line = grid.rng, grid.line
    if case.has("dead_letter"):
        grid.litres[grid.site()] = 9.0 * case.end + 8.0
    heavy_at = rng.randint(2, 8)
    for grid.now in range(steps):
        now = grid.now
        with tick(now):
            _everyday(grid, [other for other in STREETS if other != line or now < case.begin - 12])
            if now == heavy_at:
                heavy_at = now + rng.randint(12, 25)
                crew, reverse = rng.choice(HEAVY), rng.random() < 0.3
                street = rng.choice([other for other in STREETS if other != line])
                if street not in grid.dark and not (
                    case.has("deadlock") and case.begin - 11 < now <= case.end
                ):
                    grid.burnt(crew, street, ("spare", "lift") if reverse else ("lift", "spare"))
            _begin(grid)
            for crew, jobs in grid.queue.items():
                if jobs and next(jobs[0], grid) is grid:
                    jobs.popleft()
                elif not jobs and rng_chore(grid, crew):
                    grid.act(crew, "check_tools", missing=0)
            _fuel(grid)
            if now == case.end:
                _end(grid)
            for due, dark in grid.patience:
                if due == now and dark in grid.dark:
                    grid.complain(dark, grid.dark[dark], "still dark", "still dark")
            if now == case.decoy_at:
                grid.logs[rng.choice(SUBS)].warning("battery room door open", extra={"tick": now})


def rng_chore(grid: Grid, who: str) -> bool:
    """Tell whether somebody without work does a chore now."""
    return grid.rng_of(f"chore/{who}", 5) == 1


def _everyday(grid: Grid, lines: list[str]) -> None:
    """Damage, limits, loads, flashes and fuel of every day, with chores, settings and handled errors."""
    rng, now = grid.rng, grid.now
    one, two, three, four = rng.sample(lines, 4)
    draws, phase = [rng.random() for _ in range(8)], rng.choice("RST")
    if draws[0] < 0.3 and one not in grid.dark:
        grid.trip(one, "branch")
    if draws[1] < 0.25 and two not in grid.dark and two not in grid.blocked:
        grid.trip(two, "flashover", grid.act("line_watch", "see_flash", line=two, phase=phase))
    if draws[2] < 0.12:
        grid.limit(three, rng.randint(220, 300), SUB_OF[three], rng.choice(CREWS))
    if now % 6 == 0:
        for line in sorted(STREETS):
            grid.peak(line, rng.randint(90, 170) if line == grid.line else rng.randint(90, 310))
    if draws[3] < 0.15:
        tie = rng.choice([t for t in ("T1", "T2", "T3", "T4") if t != grid.tie])
        grid.repair(tie, "", live=rng.random() < 0.3, tree=rng.random() < 0.4)
    if draws[4] < 0.15:
        site = rng.choice([s for s in SITES if s != grid.site()])
        grid.order_fuel(site, rng.choice(("tanker_1", "tanker_2")), reached=rng.random() < 0.7, planned=False)
    if draws[5] < 0.08:
        grid.logs[rng.choice(CREWS)].error("radio: no answer, used the phone", extra={"tries": 2})
    if draws[6] < 0.1:
        name, old = rng.choice(("shift_end", "map_scale", "board_refresh")), rng.randint(1, 9)
        grid.logs["control_room"].log_state_change({name: old}, {name: old + 1}, trigger="by hand")
    if draws[7] < 0.06 and four not in grid.dark:
        grid.logs[SUB_OF[four]].warning("relay test skipped", extra={"line": four})


def _begin(grid: Grid) -> None:
    """Do the act of the plan, rightly or wrongly."""
    case, now, line = grid.case, grid.now, grid.line
    if case.has("wrong_recipient") and now == case.begin:
        grid.holds[line] = 185
        to = grid.other if case.strikes("wrong_recipient", now) else grid.sub
        case.root(*grid.limit(line, 180, to, grid.crew)[:2])
    if case.has("omitted_message") and now == case.begin:
        grid.planned = f"J{grid.serial + 1}"
        grid.repair(grid.tie, "", live=False, crew=grid.crew)
    if case.has("forgotten_undo") and now == case.begin:
        grid.planned = f"J{grid.serial + 1}"
        grid.repair(line, "", live=True, crew=grid.crew)
    if case.has("dead_letter") and now == case.begin:
        grid.order_fuel(grid.site(), "tanker_2", reached=False, planned=True)
    if case.has("deadlock") and now == case.begin - 1:
        first, second = ("spare", "lift") if case.strikes("deadlock") else ("lift", "spare")
        grid.burnt(HEAVY[0], next(s for s in STREETS if SUB_OF[s] == grid.other), (first, second))
        grid.burnt(HEAVY[1], line, ("lift", "spare"))
        grid.patience.append((case.end, line))


def _fuel(grid: Grid) -> None:
    """Deliver what was ordered, try again what was put aside, and burn fuel."""
    for truck, site, heard in grid.trucks:
        filled = grid.act(truck, "fill", heard, site=site, litres=600)
        grid.act(site, "take_fuel", filled, litres=600)
        grid.litres[site] += 9.0 * grid.steps
    grid.trucks.clear()
    waiting, grid.aside = grid.aside, []
    for truck, site, kept in waiting:
        _, heard = grid.say("radio_desk", truck, kept, deliver="diesel", site=site, litres=600)
        grid.trucks.append((truck, site, heard))
    for site in SITES:
        before, grid.litres[site] = grid.litres[site], grid.litres[site] - 9.0
        if grid.now % 8 == 0 and grid.litres[site] > 0:
            grid.act(site, "read_gauge", litres=round(grid.litres[site]))
        if grid.litres[site] <= 0 < before:
            stopped = grid.act(site, "generator_stops", litres=0)
            grid.case.hop(stopped)
            grid.complain(site, stopped, "no current", "no fuel")


def _end(grid: Grid) -> None:
    """Let happen what needs the act of the plan to have been right."""
    case, line = grid.case, grid.line
    if case.has("wrong_recipient"):
        grid.peak(line, 240)
    if case.has("omitted_message"):
        grid.trip(line, "branch")
    if case.has("forgotten_undo"):
        flash = grid.act("line_watch", "see_flash", line=line, phase="S")
        case.trigger(flash)
        case.hop(flash)
        grid.trip(line, "flashover", flash)


WORLD = World(
    "gridrescue",
    "edges",
    ("wrong_recipient", "omitted_message", "dead_letter", "deadlock", "forgotten_undo"),
    play,
    author=11,
)
