"""De-icing at an airport: crews spray what stands in line, with fluid out of totes and headsets on loan.

Decorated methods that call each other; a tick is a quarter of an hour.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random

from Agent import AgentLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

CARRIERS = ("LH", "SK", "AY", "BT", "LO", "OS", "KL", "DY")
CREWS = ("Blizzard", "Flurry", "Sleet", "Rime", "Hoar")
BAYS = {"A1": "I", "A2": "I", "C1": "IV", "C2": "IV", "C3": "IV"}
HOLDOVER = {"I": 1, "IV": 6}  # quarters of an hour
GAUGES = ("brix_11", "brix_12", "brix_13")
LEADERS = ("Aune", "Kari", "Pelle", "Sunniva", "Tor", "Yrsa")
HEADSETS = 9
TARGET, WEAK = 36.0, 30.5  # per cent of glycol


class PumpBlockedError(Exception):
    """The pump of a lorry was frozen for a moment."""


class Gauge:
    """A refractometer: what it shows is the truth and its offset."""

    agent_role = "gauge"

    def __init__(self, agent_id: str) -> None:
        self.agent_id, self.offset = agent_id, 0.0

    @trace_agent_action("zero")
    def zero(self, no: int, drops: float) -> float:
        """Take what distilled water shows as the new zero."""
        self.offset = drops
        return self.offset

    @trace_agent_action("refit")
    def refit(self, part: str, no: int) -> str:
        """Get a new part."""
        return f"{part} {no}"

    @trace_agent_action("read_brix")
    def read_brix(self, mix: str, glycol: float) -> float:
        """Show how much glycol is in a sample."""
        return round(glycol + self.offset, 2)


class Mixer:
    """Blends glycol and water until the gauge shows the target."""

    agent_role = "mixer"

    def __init__(self, agent_id: str) -> None:
        self.agent_id, self.blended = agent_id, 0

    @trace_agent_action("blend")
    def blend(self, mix: str, gauge: Gauge, start: float) -> float:
        """Blend, and return the glycol that is in it."""
        seen = gauge.read_brix(mix, start)
        self.blended += 1
        return round(start + TARGET - seen, 2)


class Yard:
    """Totes of fluid stand in bays; who comes takes the one that was put there last."""

    agent_role = "yard"

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.bays: dict[str, list[str]] = {name: [] for name in BAYS}

    @trace_agent_action("put_away")
    def put_away(self, tote: str, fluid: str, bay: str) -> int:
        """Set a tote down in a bay."""
        self.bays[bay].append(tote)
        return len(self.bays[bay])

    @trace_agent_action("shift_tote")
    def shift_tote(self, tote: str, bay: str, to_bay: str) -> None:
        """Carry a tote to another bay."""
        self.bays[bay].remove(tote)
        self.bays[to_bay].append(tote)

    @trace_agent_action("take_tote")
    def take_tote(self, bay: str) -> str:
        """Hand out the nearest tote."""
        return self.bays[bay].pop()


class KitRoom:
    """Lends headsets, so that crews hear the cockpit."""

    agent_role = "kit room"

    def __init__(self, agent_id: str) -> None:
        self.agent_id, self.on_hooks = agent_id, [f"hs{number:02}" for number in range(HEADSETS)]

    @trace_agent_action("lend")
    def lend(self, crew: str) -> str | None:
        """Lend a headset."""
        return self.on_hooks.pop(0) if self.on_hooks else None

    @trace_agent_action("hang_up")
    def hang_up(self, headset: str) -> int:
        """Take a headset back."""
        self.on_hooks.append(headset)
        return len(self.on_hooks)


class Flight:
    """A cockpit that waits for a spray and then taxies."""

    def __init__(self, agent_id: str, sort: str, slot: int, taxi: int) -> None:
        self.agent_id, self.agent_role, self.sort, self.slot, self.taxi = (
            agent_id,
            "cockpit",
            sort,
            slot,
            taxi,
        )

    @trace_agent_action("ask_for_spray")
    def ask_for_spray(self, desk: Desk, now: int) -> None:
        """Join the line."""
        desk.line_up(self.agent_id, self.sort, now)

    @trace_agent_action("take_off")
    def take_off(self, job: str) -> None:
        """Leave."""

    @trace_agent_action("return_to_stand")
    def return_to_stand(self, job: str, wings: str) -> None:
        """Come back from the holding point."""

    @trace_agent_action("give_up_slot")
    def give_up_slot(self, slot: int) -> None:
        """Lose the time that was allotted."""


class Crew:
    """Sprays one aircraft after the other."""

    agent_role = "spray crew"

    def __init__(self, agent_id: str) -> None:
        self.agent_id, self.leader, self.headset = agent_id, "", ""
        self.blocked = False

    @trace_agent_action("begin_shift")
    def begin_shift(self, leader: str, no: int) -> None:
        """Get a new leader."""
        self.leader = leader

    @trace_agent_action("pump")
    def pump(self, tote: str, litres: int) -> int:
        """Pump fluid from a tote to the boom."""
        if self.blocked:
            self.blocked = False
            raise PumpBlockedError("pump does not turn")
        return litres

    @trace_agent_action("spray")
    def spray(self, job: str, flight: str, yard: Yard, bay: str, kit: KitRoom, litres: int) -> dict[str, str]:
        """Fetch what is needed and spray an aircraft."""
        self.headset = kit.lend(self.agent_id) or ""
        if not self.headset:
            return {"tote": "", "state": "no headset"}
        tote = yard.take_tote(bay)
        try:
            self.pump(tote, litres)
        except PumpBlockedError:
            self.pump(tote, litres)
        return {"tote": tote, "state": "sprayed"}

    @trace_agent_action("bring_back")
    def bring_back(self, job: str, kit: KitRoom) -> int:
        """Return what was borrowed for a job."""
        return kit.hang_up(self.headset)


class Desk:
    """Keeps the line and sends crews."""

    agent_role = "desk"

    def __init__(self, agent_id: str) -> None:
        self.agent_id, self.behind = agent_id, ""
        self.line: list[tuple[str, str]] = []

    @trace_agent_action("line_up")
    def line_up(self, flight: str, sort: str, now: int) -> int:
        """Add a flight to the line."""
        self.line.append((flight, sort))
        return len(self.line)

    @trace_agent_action("set_order")
    def set_order(self, behind: str, no: int) -> None:
        """Let one sort of flight stand behind the others."""
        self.behind = behind

    @trace_agent_action("call_next")
    def call_next(self, no: int) -> str | None:
        """Return who is next."""
        if not self.line:
            return None
        chosen = next((pair for pair in self.line if pair[1] != self.behind), self.line[0])
        self.line.remove(chosen)
        return chosen[0]

    @trace_agent_action("send_crew")
    def send_crew(
        self, job: str, flight: str, crew: Crew, yard: Yard, bay: str, kit: KitRoom, litres: int
    ) -> dict[str, str]:
        """Send a crew to an aircraft."""
        return crew.spray(job, flight, yard, bay, kit, litres)


@dataclass
class Airport:
    """The driver: who comes when, and what is planned for the case."""

    case: Case
    rng: Random
    steps: int
    desk: Desk = field(default_factory=lambda: Desk("iceman"))
    east: Desk = field(default_factory=lambda: Desk("frostman"))
    yard: Yard = field(default_factory=lambda: Yard("totes_yard"))
    kit: KitRoom = field(default_factory=lambda: KitRoom("kit_room"))
    mixer: Mixer = field(default_factory=lambda: Mixer("mixer_2"))
    crews: list[Crew] = field(default_factory=lambda: [Crew(name) for name in CREWS])
    gauges: list[Gauge] = field(default_factory=lambda: [Gauge(name) for name in GAUGES])
    flights: dict[str, Flight] = field(default_factory=dict)
    fluid: dict[str, str] = field(default_factory=dict)
    glycol: dict[str, float] = field(default_factory=dict)
    rolling: list[tuple[int, str, str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    wrong: int = 0
    keeps: bool = False
    reset_order: int = -1
    spread: deque[int] = field(default_factory=deque)
    lot: str = ""

    def count(self, what: str) -> int:
        """Return the next number of a series."""
        self.counts[what] = self.counts.get(what, 0) + 1
        return self.counts[what]

    def stock(self, rng: Random, fluid: str, bay: str, gauge: Gauge, start: float) -> str:
        """Blend a tote and put it away."""
        tote = f"{fluid}-{self.count('tote'):04}"
        self.fluid[tote] = fluid
        self.glycol[tote] = self.mixer.blend(tote, gauge, start)
        self.yard.put_away(tote, fluid, bay)
        return tote

    def arrive(self, rng: Random, now: int, sort: str, slot: int, desk: Desk | None = None) -> Flight:
        """Let a flight ask for a spray."""
        number = f"{rng.choice(CARRIERS)}{100 + self.count('flight')}"
        self.flights[number] = Flight(number, sort, slot, rng.randint(2, 4))
        self.flights[number].ask_for_spray(desk or self.desk, now)
        return self.flights[number]

    def serve(self, rng: Random, now: int, number: str, crew: Crew, bay: str) -> None:
        """Spray one flight, and let it roll."""
        case = self.case
        job = f"job{self.count('job'):05}"
        flight = self.flights[number]
        crew.blocked = rng.random() < 0.04
        done = self.desk.send_crew(job, number, crew, self.yard, bay, self.kit, rng.randint(180, 700))
        if not done["tote"]:
            case.hop(call(crew.agent_id, "spray", job=job), call(self.desk.agent_id, "send_crew", job=job))
            event = AgentLogger(number, "cockpit").log_action("wait_on_stand", {"job": job})
            case.symptom(
                event,
                f"{number} sits on its stand with ice all over it, the people left without spraying",
                f"they tell {number} there is nothing to talk to the cockpit with. We own nine!",
                "all my headsets are gone and nobody knows where to, the morning wave cannot be sprayed",
            )
            return
        mine = case.has("leaked_resource") and crew.agent_id == CREWS[0] and now >= case.begin
        if mine and self.wrong < 3:
            self.wrong += 1
            case.root(call(crew.agent_id, "spray", job=job))
        if not (mine and self.keeps):
            crew.bring_back(job, self.kit)
        kept = HOLDOVER[self.fluid[done["tote"]]]
        state = "frozen" if kept < flight.taxi and bay.startswith("C") else "clean"
        state = "slush" if self.glycol[done["tote"]] < WEAK else state
        self.rolling.append((now + 1, number, job, state))
        if state != "clean":
            case.hop(
                call(self.mixer.agent_id, "blend", mix=done["tote"]), call(crew.agent_id, "spray", job=job)
            )

    def roll(self, now: int) -> None:
        """Let those who have reached the holding point take off, or come back."""
        due = [one for one in self.rolling if one[0] <= now]
        self.rolling = [one for one in self.rolling if one[0] > now]
        for _, number, job, state in due:
            flight = self.flights.pop(number)
            if state == "clean":
                flight.take_off(job)
                continue
            flight.return_to_stand(job, state)
            ref = call(number, "return_to_stand", job=job)
            if state == "frozen":
                self.case.trigger(call(self.desk.agent_id, "send_crew", job=job))
                self.case.symptom(
                    ref,
                    f"{number} had ice on its wings again before it got to the runway",
                    f"Captain of {number} asks what on earth we sprayed on his wings, it held for minutes",
                    "one plane froze up again at the holding point. Same weather, the others were fine",
                    "why does a thick fluid protect no longer than hot water does?",
                )
            else:
                self.case.symptom(
                    ref,
                    f"{number} found slush on the wings although our papers say 36 % glycol",
                    "the mix is far too thin today. who watered it down?",
                    f"we sprayed {number} by the book and it froze at minus nine",
                    "Slush on treated wings. The labels all say thirty-six.",
                )

    def drift(self, now: int) -> None:
        """Set the gauges to zero, and refit one now and then."""
        case, rng = self.case, self.case.rng(f"gauges/{now}")
        for number, gauge in enumerate(self.gauges):
            mine = case.has("slow_drift") and number == 0
            drops = round(rng.uniform(-0.12, 0.12), 2)
            if (rng.random() < 0.09 and not mine) or (mine and (now == case.begin or rng.random() < 0.04)):
                no = self.count("refit")
                gauge.refit(rng.choice(("prism", "lamp", "lid", "seal")), no)
                if mine and now == case.begin:
                    case.root(call(gauge.agent_id, "refit", no=no))
            if mine and self.keeps and case.begin <= now:
                drops = round(drops + 6.2 * (now - case.begin + 1) / (case.end - case.begin + 1), 2)
            no = self.count("zero")
            gauge.zero(no, drops)
            if mine and now >= case.begin and self.wrong < 3:
                self.wrong += 1
                case.root(call(gauge.agent_id, "zero", no=no))

    def everyday(self, now: int) -> None:
        """Shifts, moved totes, new orders of the line, small talk."""
        case, rng = self.case, self.case.rng(f"everyday/{now}")
        if now == self.reset_order:
            self.desk.set_order("", self.count("order"))
        elif rng.random() < 0.1 and not (case.has("starved_queue") and now >= case.begin - 3):
            self.desk.set_order(rng.choice(("business", "ferry", "cargo")), self.count("order"))
            self.reset_order = now + 1
        if rng.random() < 0.35:
            crew = self.crews[rng.randint(int(now > case.begin), len(self.crews) - 1)]
            crew.begin_shift(rng.choice(LEADERS), self.count("shift"))
        if rng.random() < 0.08:  # set down in the wrong bay, seen and carried over
            tote = self.stock(rng, "I", "C2", self.gauges[2], 40.0)
            self.yard.shift_tote(tote, "C2", "A1")
        if rng.random() < 0.4:  # the pad in the east has a line of its own
            self.east.set_order(rng.choice(("ferry", "cargo", "business")), self.count("order"))
        for sort in rng.sample(("ferry", "cargo", "short"), 2 if rng.random() < 0.3 else 0):
            name = self.arrive(rng, now, sort, now + 40, self.east).agent_id
            if self.east.call_next(self.count("call")) == name:
                self.flights[name].taxi = 1
                self.serve(rng, now, name, self.crews[4], "A2")
        log = AgentLogger("met_office", "weather")
        log.log_action("observe", {"celsius": -rng.randint(4, 8), "snow": rng.random() < 0.3})
        if rng.random() < 0.1:
            log.warning("runway visual range low", extra={"metres": rng.randint(300, 900)})
        if now == case.decoy_at:
            log.log_action("announce_gusts", {"knots": rng.randint(28, 41)})
            self.crews[2].begin_shift(rng.choice(LEADERS), self.count("shift"))

    def fault(self, now: int) -> None:
        """Do the act with which the fault may begin."""
        case, rng = self.case, self.case.rng("fault")
        if now != case.begin:
            return
        if case.has("leaked_resource"):
            self.keeps = case.strikes("leaked_resource", now)
            no = self.count("shift")
            self.crews[0].begin_shift(rng.choice(LEADERS), no)
            case.root(call(CREWS[0], "begin_shift", no=no))
        elif case.has("slow_drift"):
            self.keeps = case.strikes("slow_drift", now)
        elif case.has("starved_queue"):
            behind = "cargo" if case.strikes("starved_queue", now) else "ferry"
            no = self.count("order")
            self.desk.set_order(behind, no)
            case.root(call(self.desk.agent_id, "set_order", no=no))
        elif case.has("misrouted_thing"):
            self.stock(rng, "IV", "C3", self.gauges[1], 41.0)
            bay = "C3" if case.strikes("misrouted_thing", now) else "A2"
            self.lot = self.stock(rng, "I", bay, self.gauges[1], 39.0)
            case.root(call(self.yard.agent_id, "put_away", tote=self.lot))

    def step(self, now: int) -> None:
        """Play a quarter of an hour."""
        case, rng = self.case, self.case.rng(f"traffic/{now}")
        self.everyday(now)
        self.fault(now)
        self.drift(now)
        self.roll(now)
        bays = ("A1", "A2", "C1", "C2")
        for bay in bays:
            mine = case.has("slow_drift") and bay == "C1"
            gauge = self.gauges[0] if mine else self.gauges[rng.randint(1, 2)]
            needed = max(int(mine), 8 - len(self.yard.bays[bay]))
            for _ in range(needed if needed > 3 or mine else 0):
                start = case.rng(f"start/{self.counts['tote']}").uniform(34, 44)
                self.stock(rng, BAYS[bay], bay, gauge, round(start, 2))
        for _ in range(3):
            self.arrive(rng, now, rng.choice(("short", "short", "long", "business")), now + 20)
        extra = rng.random() < 0.15 or (case.has("starved_queue") and now == case.begin)
        in_window = case.has("starved_queue") and case.begin <= now <= case.end
        if extra and (not in_window or self.count("cargo_in_window") <= 4):
            slot = max(case.end, now + 3) if in_window else now + 40
            self.arrive(rng, now, "cargo", slot)
        else:
            extra = False
        for _ in range(3 + extra):
            crew = self.crews[rng.randint(1, len(self.crews) - 1)]
            number = self.desk.call_next(self.count("call"))
            bay = rng.choice(bays)
            if number is not None:
                self.flights[number].taxi = 1 if bay[0] == "A" else self.flights[number].taxi
                self.serve(rng, now, number, crew, bay)
        self.planned(now)
        for number, sort in list(self.desk.line):
            if self.flights[number].slot < now:
                self.desk.line.remove((number, sort))
                self.late(number)

    def planned(self, now: int) -> None:
        """Serve the flights that the case needs."""
        case, rng = self.case, self.case.rng(f"planned/{now}")
        while self.spread and self.spread[0] <= now:
            self.spread.popleft()
            flight = self.arrive(rng, now, "short", now + 20)
            self.desk.line.remove((flight.agent_id, "short"))
            flight.taxi = 1
            self.serve(rng, now, flight.agent_id, self.crews[0], rng.choice(("A1", "A2")))
        if now == case.end and case.kind in {"misrouted_thing", "slow_drift"}:
            flight = self.arrive(rng, now, "long", now + 20)
            self.desk.line.remove((flight.agent_id, "long"))
            flight.taxi = 4
            self.serve(
                rng, now, flight.agent_id, self.crews[3], "C3" if case.has("misrouted_thing") else "C1"
            )

    def late(self, number: str) -> None:
        """Let a flight lose its slot, for it was not served in time."""
        slot = self.flights[number].slot
        self.flights[number].give_up_slot(slot)
        self.case.hop(call(number, "ask_for_spray"))
        self.case.symptom(
            call(number, "give_up_slot", slot=slot),
            f"{number} lost its slot, it has been standing in line for ages",
            f"why was {number} never sprayed? Three aircraft that came after it are in the air",
            "The freighters do not get away tonight, everybody else does",
            f"Parcels on board {number} will be a day late because nobody came to de-ice",
        )


def play(case: Case) -> None:
    """Play some days of frost."""
    steps = case.rng("size").choice((24, 36, 50, 70))
    shortest = {"leaked_resource": 3, "slow_drift": 3, "starved_queue": 2}.get(case.kind, 1)
    case.window(steps, shortest)
    airport = Airport(case, case.rng("airport"), steps)
    lag = case.end - case.begin
    if case.has("leaked_resource"):
        airport.spread.extend(case.begin + lag * number // (HEADSETS - 1) for number in range(HEADSETS))
        airport.spread.append(case.end)
    for bay, fluid in BAYS.items():
        for _ in range(8):
            airport.stock(airport.rng, fluid, bay, airport.gauges[1], 40.0)
    for _ in range(6):
        airport.arrive(airport.rng, 0, "short", 30)
    for now in range(steps):
        with tick(now):
            airport.step(now)


WORLD = World(
    "deicing", "spans", ("leaked_resource", "misrouted_thing", "starved_queue", "slow_drift"), play, 22
)
