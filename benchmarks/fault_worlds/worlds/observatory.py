"""Four telescopes observe what astronomers ask for: decorated methods that call each other, so that the calls nest."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from Agent import tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

STEPS = 96
BANDS = ("red", "green", "blue", "infrared")
SLIT_ARCSEC = 6.0


@dataclass
class Request:
    """One observation that was asked for."""

    number: str
    target: str
    band: str
    magnitude: float
    seconds: float
    slot: int
    telescope: int
    reducer: int
    astronomer: int


class Actor:
    """An agent of the observatory; the site that all share is no part of its state."""

    trace_ignore = ("site",)
    agent_role = "actor"

    def __init__(self, agent_id: str, site: Site) -> None:
        self.agent_id = agent_id
        self.site = site


class Desk(Actor):
    agent_role = "request desk"

    @trace_agent_action()
    def enter_request(
        self, number: str, target: str, band: str, magnitude: float, exposure: float
    ) -> dict[str, Any]:
        return {"accepted": True, "in_hours": self.site.hours(number)}


class Telescope(Actor):
    agent_role = "telescope"

    def __init__(self, agent_id: str, site: Site) -> None:
        super().__init__(agent_id, site)
        self.encoder = "A"
        self.guide_gain = 0.8
        self.dew_heater = 2
        self.creep = 0.0
        self.error_arcsec = 0.0

    @trace_agent_action()
    def point(self, number: str, target: str) -> dict[str, Any]:
        self.error_arcsec += self.creep
        offset = self.error_arcsec + self.site.noise(f"point/{number}", 0.35)
        self.site.pointed(self, number)
        return {"target": target, "offset_arcsec": round(abs(offset), 2)}

    @trace_agent_action()
    def expose(self, number: str, seconds: float) -> dict[str, Any]:
        width = 1.3 + self.site.noise(f"width/{number}", 0.2)
        if self.guide_gain > 1.5 and self.site.wind_m_s > 9:
            width += 3.1
        return {"seconds": seconds, "width_arcsec": round(width, 2)}

    @trace_agent_action()
    def observe(self, number: str, target: str, seconds: float) -> dict[str, Any]:
        aimed = self.point(number, target)
        shot = self.expose(number, seconds)
        return {"offset_arcsec": aimed["offset_arcsec"], **shot}

    @trace_agent_action()
    def put(self, name: str, value: float) -> float:
        setattr(self, name, value)
        return value

    @trace_agent_action()
    def fit_part(self, part: str, serial: str) -> str:
        self.encoder = serial
        return "fitted"


class Calibrator(Actor):
    agent_role = "calibration"

    @trace_agent_action()
    def renew_flat(self, band: str) -> dict[str, Any]:
        site = self.site
        site.flats[band] += 1
        missed = site.missed_reducer(band)
        for reducer in site.reducers:
            if reducer is not missed:
                reducer.drop_flat(band)
        return {"band": band, "flat": f"{band}-{site.flats[band]}"}


class Reducer(Actor):
    agent_role = "reduction"

    def __init__(self, agent_id: str, site: Site) -> None:
        super().__init__(agent_id, site)
        self.held: dict[str, int] = {}

    @trace_agent_action()
    def drop_flat(self, band: str) -> bool:
        return self.held.pop(band, None) is not None

    @trace_agent_action()
    def load_flat(self, band: str) -> str:
        self.held[band] = self.site.flats[band]
        return f"{band}-{self.held[band]}"

    @trace_agent_action()
    def reduce(
        self, number: str, band: str, offset_arcsec: float, width_arcsec: float, seconds: float
    ) -> dict[str, Any]:
        if band not in self.held:
            self.load_flat(band)
        request = self.site.requests[number]
        lost = offset_arcsec > SLIT_ARCSEC / 2
        signal = 0.0 if lost else math.sqrt(max(seconds, 0.01) * 10 ** (-0.4 * (request.magnitude - 15))) * 9
        stale = self.held[band] != self.site.flats[band]
        magnitude = request.magnitude + self.site.noise(f"mag/{number}", 0.02) - (0.31 if stale else 0.0)
        return {
            "flat": f"{band}-{self.held[band]}",
            "magnitude": round(magnitude, 2),
            "signal_to_noise": round(signal, 1),
            "star_width": width_arcsec,
        }


class Astronomer(Actor):
    agent_role = "astronomer"

    @trace_agent_action()
    def judge(self, number: str, target: str, catalogue: float, image: dict[str, Any]) -> dict[str, Any]:
        why = "good"
        if image["signal_to_noise"] == 0:
            why = "no star in the slit"
        elif image["signal_to_noise"] < 12:
            why = "too noisy"
        elif image["star_width"] > 3:
            why = "smeared"
        elif abs(image["magnitude"] - catalogue) > 0.15:
            why = "wrong brightness"
        elif self.site.rng.random() < 0.06:
            why = "thin cloud"
        return {"keep": why == "good", "why": why}


class Engineer(Actor):
    agent_role = "engineer"

    @trace_agent_action()
    def adjust(self, telescope: str, name: str, value: float) -> float:
        chosen = next(item for item in self.site.telescopes if item.agent_id == telescope)
        return chosen.put(name, value)

    @trace_agent_action()
    def replace_part(self, telescope: str, part: str, serial: str) -> str:
        chosen = next(item for item in self.site.telescopes if item.agent_id == telescope)
        return chosen.fit_part(part, serial)

    @trace_agent_action()
    def chore(self, what: str, minutes: int) -> str:
        return "done"


class Mast(Actor):
    agent_role = "weather"

    @trace_agent_action()
    def read_mast(self, wind_m_s: float, humidity: int) -> dict[str, Any]:
        self.site.wind_m_s = wind_m_s
        return {"safe": wind_m_s < 20}

    @trace_agent_action()
    def call_station(self, station: str) -> str:
        raise TimeoutError(f"{station} does not answer")

    @trace_agent_action()
    def call_again(self, station: str) -> str:
        return "answered"


class Site:
    """One session of the observatory."""

    def __init__(self, case: Case) -> None:
        self.case = case
        case.window(STEPS, 8 if case.has("slow_drift") else 2)
        self.rng = case.rng("night")
        self.now = 0
        self.wind_m_s = 4.0
        self.flats = dict.fromkeys(BANDS, 1)
        self.requests: dict[str, Request] = {}
        self.slots: dict[int, list[Request]] = defaultdict(list)
        self.telescopes = [Telescope(f"telescope_{number}", self) for number in range(1, 5)]
        self.reducers = [Reducer(f"pipeline_{number}", self) for number in range(1, 4)]
        self.astronomers = [Astronomer(f"astronomer_{number}", self) for number in range(1, 7)]
        self.desks = [Desk(f"desk_{number}", self) for number in (1, 2)]
        self.engineers = [Engineer(f"engineer_{number}", self) for number in (1, 2)]
        self.calibrator = Calibrator("lamp_room", self)
        self.mast = Mast("weather_mast", self)
        who = case.rng("who")
        self.scope = who.randrange(4)
        self.pipeline = who.randrange(3)
        self.band = who.choice(BANDS)
        self.drifts = 0
        self.gusts = [
            step
            for step in case.rng("gusts").sample(range(3, STEPS), 9)
            if not case.begin - 1 <= step <= case.end
        ]
        self.swaps = case.rng("swaps").sample(range(5, STEPS - 3), 5)
        self.flat_days = case.rng("flats").sample(range(4, STEPS - 3), 7)

    def noise(self, topic: str, width: float) -> float:
        return self.case.rng(topic).uniform(-width, width)

    def hours(self, number: str) -> int:
        return self.requests[number].slot - self.now

    def missed_reducer(self, band: str) -> Reducer | None:
        """Return the pipeline that is not told of the new flat, if this is the time of the fault."""
        if band == self.band and self.case.strikes("stale_cache", self.now):
            return self.reducers[self.pipeline]
        return None

    def pointed(self, telescope: Telescope, number: str) -> None:
        if telescope.creep and self.drifts < 3:
            self.drifts += 1
            self.case.root(call(telescope.agent_id, "point", number=number))

    def ask(
        self,
        slot: int,
        magnitude: float,
        band: str = "",
        telescope: int = -1,
        reducer: int = -1,
        wrong: bool = False,
    ) -> Request:
        rng = self.rng
        number = f"R{len(self.requests) + 101}"
        seconds = round(0.5 + 40 * 10 ** (0.4 * (magnitude - 15)), 1)
        band = band or rng.choice(BANDS)
        if band == self.band and self.case.has("stale_cache") and self.case.begin <= slot < self.case.end:
            reducer = (self.pipeline + rng.randint(1, 2)) % 3
        request = Request(
            number,
            f"HD {rng.randint(10000, 99999)}",
            band,
            magnitude,
            round(seconds / 60, 2) if wrong else seconds,
            slot,
            rng.randrange(4) if telescope < 0 else telescope,
            rng.randrange(3) if reducer < 0 else reducer,
            rng.randrange(6),
        )
        self.requests[number] = request
        self.slots[slot].append(request)
        desk = rng.choice(self.desks)
        desk.enter_request(number, request.target, band, magnitude, request.seconds)
        if wrong:
            self.case.root(call(desk.agent_id, "enter_request", number=number))
        return request

    def carry_out(self, request: Request) -> None:
        telescope, reducer = self.telescopes[request.telescope], self.reducers[request.reducer]
        shot = telescope.observe(request.number, request.target, request.seconds)
        image = reducer.reduce(
            request.number, request.band, shot["offset_arcsec"], shot["width_arcsec"], shot["seconds"]
        )
        astronomer = self.astronomers[request.astronomer]
        verdict = astronomer.judge(request.number, request.target, request.magnitude, image)
        why = str(verdict["why"])
        if why in ("good", "thin cloud"):
            return
        case = self.case
        if why != "wrong brightness":
            case.hop(call(telescope.agent_id, "observe", number=request.number))
        case.hop(call(reducer.agent_id, "reduce", number=request.number))
        texts = {
            "no star in the slit": (
                f"{astronomer.agent_id} got an empty frame for {request.target}: no star in the slit at all.",
                f"{request.target} should be in the middle of {request.number}, and there is nothing. It is an easy star.",
                "Frames come in without the star that was asked for. Yesterday it always sat in the middle.",
            ),
            "too noisy": (
                f"{astronomer.agent_id} cannot use {request.number}: nothing but noise, although the night was clear.",
                f"Why is the image of {request.target} so noisy? I asked for long enough.",
                "One of our images from this clear night is far too noisy to keep.",
            ),
            "smeared": (
                f"All stars of {request.number} are smeared, {astronomer.agent_id} has to throw it away.",
                f"{request.target} looks like a sausage. Other images of the same hour are sharp.",
                "Since the wind got up, stars are three times too wide on some images. We have observed in worse.",
            ),
            "wrong brightness": (
                f"{request.target} is a third of a magnitude off its catalogue value, says {astronomer.agent_id}.",
                f"The brightness in {request.number} is wrong. The star is a constant one and was measured well last week.",
                f"In {request.band} some of the stars now come out much too bright.",
            ),
        }
        case.symptom(call(astronomer.agent_id, "judge", number=request.number), *texts[why])

    def everyday(self) -> None:
        rng = self.case.rng(f"everyday/{self.now}")
        if rng.random() < 0.35:
            name, values = rng.choice(
                (("guide_gain", (0.6, 0.7, 0.9, 1.0)), ("dew_heater", (1, 2, 3)), ("dew_heater", (1, 2, 3)))
            )
            others = [item for number, item in enumerate(self.telescopes) if number != self.scope]
            rng.choice(self.engineers).adjust(rng.choice(others).agent_id, name, rng.choice(values))
        if rng.random() < 0.15:
            what = rng.choice(
                ("wipe dome rail", "check oil", "empty trap", "count filters", "log sky brightness")
            )
            rng.choice(self.engineers).chore(what, rng.randint(5, 30))
        if rng.random() < 0.08:
            station = rng.choice(("valley", "ridge"))
            try:
                self.mast.call_station(station)
            except TimeoutError:
                self.mast.call_again(station)
        if self.now in self.swaps:
            others = [item for number, item in enumerate(self.telescopes) if number != self.scope]
            rng.choice(self.engineers).replace_part(
                rng.choice(others).agent_id, "encoder", f"E{rng.randint(100, 999)}"
            )
        if self.now in self.flat_days:
            bands = (
                [band for band in BANDS if band != self.band] if self.case.has("stale_cache") else list(BANDS)
            )
            self.calibrator.renew_flat(rng.choice(bands))
        if self.now == self.case.decoy_at:
            self.engineers[0].chore("reset dome light", 2)
            self.engineers[1].adjust(self.telescopes[(self.scope + 1) % 4].agent_id, "dew_heater", 3)

    def begin(self) -> None:
        """Do what the plan has for the step at which the fault begins."""
        case = self.case
        if case.has("stale_cache"):
            self.calibrator.renew_flat(self.band)
            if case.strikes("stale_cache", self.now):
                number = self.flats[self.band]
                case.root(call("lamp_room", "renew_flat", flat=f"{self.band}-{number}"))
                told = [reducer for place, reducer in enumerate(self.reducers) if place != self.pipeline]
                case.root(*(call(reducer.agent_id, "drop_flat", band=self.band) for reducer in told))
            self.ask(case.end, 14.2, self.band, reducer=self.pipeline)
        if case.has("wrong_unit"):
            self.ask(case.end, 15.3, wrong=case.strikes("wrong_unit", self.now))
        if case.has("slow_drift"):
            scope = self.telescopes[self.scope]
            self.engineers[0].replace_part(scope.agent_id, "encoder", "E77")
            if case.strikes("slow_drift", self.now):
                case.root(
                    call("engineer_1", "replace_part", serial="E77"),
                    call(scope.agent_id, "fit_part", serial="E77"),
                )
                scope.creep = 3.6 / (case.end - case.begin)
            for step in range(case.begin + 1, case.end + 6):
                self.ask(step, 14.0, telescope=self.scope)
        if case.has("config_change"):
            scope = self.telescopes[self.scope]
            value = 2.4 if case.strikes("config_change", self.now) else 0.9
            self.engineers[1].adjust(scope.agent_id, "guide_gain", value)
            if case.strikes("config_change", self.now):
                case.root(call("engineer_2", "adjust", value=value), call(scope.agent_id, "put", value=value))
            self.ask(case.end, 13.5, telescope=self.scope)

    def step(self, now: int) -> None:
        self.now = now
        case, rng = self.case, self.rng
        self.everyday()
        windy = now in self.gusts or (case.has("config_change") and now == case.end)
        wind = rng.uniform(9.5, 13) if windy else rng.uniform(2, 8)
        self.mast.read_mast(round(wind, 1), rng.randint(30, 80))
        if windy and now == case.end and case.has("config_change"):
            case.trigger(call("weather_mast", "read_mast", wind_m_s=round(wind, 1)))
        if now == case.begin:
            self.begin()
        for _ in range(rng.randint(1, 4)):
            lead = round(math.exp(rng.uniform(0, math.log(50))))
            self.ask(now + lead, round(rng.choice((rng.uniform(10.5, 12), rng.uniform(13, 15.5))), 1))
        for request in self.slots.pop(now, ()):
            self.carry_out(request)


def play(case: Case) -> None:
    """Play one session."""
    site = Site(case)
    for now in range(STEPS):
        with tick(now):
            site.step(now)


WORLD = World(
    "observatory", "spans", ("stale_cache", "slow_drift", "wrong_unit", "config_change"), play, author=4
)
