"""A brewery: stores weigh, the brewhouse boils, cellar hands fill casks, a cold room keeps them, a taproom serves.

Evidence: messages sent and received between them, and acts that name their causes.
"""

from __future__ import annotations

from dataclasses import dataclass

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

SHIFTS = 170
HANDS = ("Lena", "Otis", "Ravi")
LINES = ("line-1", "line-2", "line-3", "line-4", "line-6", "line-7")  # the last two are spare
ROOM_C = 6.0
SPOILS_C = 3.9
DRIFT_C = 4.0


@dataclass
class Batch:
    """One batch of beer, as it really is."""

    number: int
    hops_g: float
    tap_at: int
    hand: str = ""
    weighed_g: float = 0.0
    soapy: bool = False
    last: str = ""
    victim: bool = False


class Brewery:
    """Brews a batch or two in each shift, and taps what is due."""

    def __init__(self, case: Case) -> None:
        self.case = case
        case.window(SHIFTS)
        offices = ("stores", "brewhouse", "laboratory", "compressor", "taproom", "brewmaster")
        self.log = {name: AgentLogger(name, "office") for name in offices}
        self.log |= {name: AgentLogger(name, "cellar") for name in HANDS}
        self.log |= {name: AgentLogger(name, "thermostat") for name in ("probe-cold", "probe-malt")}
        self.batches: list[Batch] = []
        self.open_lines: dict[str, int] = {}
        self.number = 500
        self.drift_from = -1
        self.room_c = ROOM_C

    def brew(self, now: int, topic: str, tap_at: int, victim: bool = False) -> None:
        """Brew a batch and fill it into a cask."""
        case, rng = self.case, self.case.rng(f"brew/{topic}")
        self.number += 1
        batch = Batch(
            self.number, round(2 ** rng.uniform(0, 6.5), 1), tap_at, rng.choice(HANDS), victim=victim
        )
        if victim:
            batch.hops_g = round(rng.uniform(30, 70), 1)
        planned = self.log["brewmaster"].log_action(
            "plan_batch", {"batch": batch.number, "hops_g": batch.hops_g, "tap_at": tap_at}
        )
        wrong = victim and case.strikes("wrong_unit")
        batch.weighed_g = round(batch.hops_g / 28.35, 1) if wrong else batch.hops_g
        weighed = self.log["stores"].log_action(
            "weigh_hops", {"batch": batch.number, "grams": batch.weighed_g}, causes=planned
        )
        note = self.log["stores"].send(
            "brewhouse", {"batch": batch.number, "grams": batch.weighed_g}, causes=weighed
        )
        got = self.log["brewhouse"].receive(note)
        boiled = self.log["brewhouse"].log_action(
            "boil", {"batch": batch.number, "minutes": rng.randint(50, 90)}, causes=got
        )
        if wrong:
            case.root(weighed)
        if victim:
            case.hop(got, boiled)
        self.fill(batch, boiled, rng.random() < 0.3)
        self.batches.append(batch)

    def fill(self, batch: Batch, boiled: str, plain: bool) -> None:
        """Wash a cask, rinse it if lye was used, and fill it."""
        hand, cask = self.log[batch.hand], 10 + batch.number % 80
        lye = batch.victim or not plain
        washed = hand.log_action("wash_cask", {"cask": cask, "with": "lye" if lye else "water"})
        before = washed
        omitted = batch.victim and self.case.strikes("omitted_step")
        if lye and not omitted:
            before = hand.log_action("rinse_cask", {"cask": cask, "litres": 30}, causes=washed)
        batch.soapy = lye and before == washed
        batch.last = hand.log_action(
            "fill_cask", {"cask": cask, "batch": batch.number}, causes=[boiled, before]
        )
        if omitted:
            self.case.root(batch.last, washed)
        if batch.victim:
            self.case.hop(batch.last)

    def bypass(self, now: int, line: str, hand: str, forgotten: bool) -> str:
        """Open the water bypass of a line for cleaning; it is closed in the next shift."""
        opened = self.log[hand].log_action("open_bypass", {"line": line})
        self.open_lines[line] = SHIFTS if forgotten else now
        return opened

    def close_bypasses(self, now: int) -> None:
        """Close the bypasses that were opened in the last shift."""
        for line in [line for line, until in self.open_lines.items() if until < now]:
            self.log[HANDS[now % 3]].log_action("close_bypass", {"line": line})
            del self.open_lines[line]

    def keep_cold(self, now: int) -> None:
        """Read the probes, set the compressor by them, and check with another thermometer at times."""
        case, rng = self.case, self.case.rng(f"cold/{now}")
        shift = 0.0
        if 0 <= self.drift_from <= now:
            shift = DRIFT_C * (now - self.drift_from + 1) / (case.end - case.begin)
        self.room_c = ROOM_C + shift
        for probe in ("probe-cold", "probe-malt"):
            shown = round((self.room_c - shift if probe == "probe-cold" else 14) + rng.gauss(0, 0.05), 2)
            read = self.log[probe].log_action("read", {"celsius": shown})
            note = self.log[probe].send("compressor", {"probe": probe, "celsius": shown}, causes=read)
            got = self.log["compressor"].receive(note)
            power = round(60 - 6 * (shift if probe == "probe-cold" else 0) + rng.gauss(0, 1), 1)
            done = self.log["compressor"].log_action("set_power", {"percent": power}, causes=got)
            if shift and probe == "probe-cold":
                if len(case.roots) < 4:
                    case.root(read)
                case.hop(done)
        if rng.random() < 0.35:
            self.log["laboratory"].log_action(
                "check_room", {"room": "cold", "celsius": round(self.room_c + rng.gauss(0, 0.1), 1)}
            )

    def begin(self, now: int) -> None:
        """Let the act happen at which the fault begins, or its harmless form."""
        case = self.case
        if case.kind in {"wrong_unit", "omitted_step"}:
            self.brew(now, "victim", case.end, victim=True)
        if case.has("forgotten_undo"):
            opened = self.bypass(now, "line-5", "Ravi", case.strikes("forgotten_undo", now))
            if case.faulty:
                case.root(opened)
        if case.has("slow_drift"):
            adjusted = self.log["laboratory"].log_action("adjust_probe", {"probe": "probe-cold", "turns": 2})
            if case.strikes("slow_drift", now):
                self.drift_from = now
                case.root(adjusted)

    def tap(self, now: int) -> None:
        """Draw what is due through a line, and let guests taste it."""
        case = self.case
        for batch in [batch for batch in self.batches if batch.tap_at == now]:
            rng = case.rng(f"tap/{batch.number}/{batch.victim}")
            self.batches.remove(batch)
            line = (
                "line-5"
                if batch.victim
                else rng.choice([name for name in LINES[:4] if name not in self.open_lines])
            )
            drawn = self.log[batch.hand].log_action(
                "draw", {"batch": batch.number, "line": line}, causes=batch.last
            )
            note = self.log[batch.hand].send("taproom", {"batch": batch.number, "line": line}, causes=drawn)
            got = self.log["taproom"].receive(note)
            served = self.log["taproom"].log_action("serve", {"batch": batch.number}, causes=got)
            fault = self.taste(batch, line)
            if fault or batch.victim:
                case.hop(drawn, got, served)
                if case.has("forgotten_undo"):
                    case.trigger(drawn)
            if fault:
                back = self.log["taproom"].log_action(
                    "take_back", {"batch": batch.number, "taste": fault}, causes=served
                )
                case.symptom(
                    back,
                    f"Guests say that the beer tastes {fault}",
                    f"Beer {batch.number} was sent back, it is {fault}",
                    "What we pour does not taste as it should",
                    f"taproom had to pour away beer that was {fault}",
                    f"brewhouse is blamed for {fault} beer",
                )

    def taste(self, batch: Batch, line: str) -> str:
        """Return what is wrong with a beer, if anything is."""
        if batch.weighed_g < 0.5 * batch.hops_g:
            return "dull"
        if batch.soapy:
            return "soapy"
        if line in self.open_lines:
            return "thin"
        return "sour" if self.room_c > ROOM_C + SPOILS_C else ""

    def everyday(self, now: int) -> None:
        """Record cleaning, adjustments, settings, chores and handled errors."""
        case, rng = self.case, self.case.rng(f"shift/{now}")
        if rng.random() < 0.35:
            line = rng.choice(LINES)
            if line not in self.open_lines:
                spare = line in LINES[4:]
                self.bypass(now, line, rng.choice(HANDS), spare and rng.random() < 0.3)
        if rng.random() < 0.25:
            self.log["laboratory"].log_action(
                "adjust_probe", {"probe": "probe-malt", "turns": rng.randint(1, 3)}
            )
        if rng.random() < 0.3:
            SystemLogger().log_config(
                rng.choice(("opening_hours", "label_colour")), now % 12, rng.randint(1, 20)
            )
        if rng.random() < 0.12:
            failed = self.log["brewhouse"].error("Pump stalled", {"seconds": rng.randint(2, 50)})
            self.log["brewhouse"].log_action("restart_pump", {"tries": 1}, causes=failed)
        if rng.random() < 0.3:
            self.log[rng.choice(HANDS)].log_action("sweep", {"minutes": rng.randint(5, 20)})
        if rng.random() < 0.2:
            self.log["taproom"].log_action("wash_glasses", {"count": rng.randint(20, 90)})
        PerformanceLogger().log_metric("steam_bar", round(2 + rng.random(), 2), "bar")
        if now == case.decoy_at:
            odd = self.log["taproom"].warning("Pressure of carbonic acid low", {"bar": 0.7})
            self.log["taproom"].log_action("change_bottle", {"bar": 2.1}, causes=odd)

    def run(self) -> None:
        """Play all shifts."""
        case = self.case
        early = case.kind in {"forgotten_undo", "slow_drift"}
        for now in range(SHIFTS):
            with tick(now):
                self.everyday(now)
                self.close_bypasses(now)
                for serial in range(case.rng(f"count/{now}").randint(1, 2)):
                    rng = case.rng(f"due/{now}/{serial}")
                    self.brew(now, f"{now}/{serial}", now + round(2 ** rng.uniform(0, 6)))
                if early and now == case.begin - 1:
                    self.brew(now, "victim", case.end, victim=True)
                if now == case.begin:
                    self.begin(now)
                self.keep_cold(now)
                self.tap(now)


def play(case: Case) -> None:
    """Play some weeks of the brewery."""
    Brewery(case).run()


WORLD = World(
    "brewery", "edges", ("wrong_unit", "slow_drift", "omitted_step", "forgotten_undo"), play, author=3
)
