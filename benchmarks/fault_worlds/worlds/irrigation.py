"""A farm that waters itself: zones, valves, a doser, planners with a shared table, an agronomist and a lab.

One tick is an hour. Evidence: bare actions, state changes and metrics, neither spans nor causes.
"""

from __future__ import annotations

from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

STEPS = ("loosen", "sow", "inoculate", "press", "cover")


class Farm:
    """The fields and the people; each has a logger."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = case.rng("farm")
        self.zones = [f"zone_{letter}" for letter in "abcdefghijkl"[: self.rng.randint(4, 12)]]
        self.rng.shuffle(self.zones)
        self.logs = {zone: AgentLogger(zone, "zone") for zone in self.zones}
        for agent, role in (
            ("valves", "device"),
            ("doser", "device"),
            ("planner_1", "planner"),
            ("planner_2", "planner"),
            ("agronomist", "person"),
            ("field_hand", "person"),
            ("lab", "person"),
            ("foreman", "person"),
        ):
            self.logs[agent] = AgentLogger(agent, role)
        self.meter, self.system = PerformanceLogger("valves", "device"), SystemLogger()
        self.water = {zone: self.rng.uniform(42, 60) for zone in self.zones}
        self.stage = dict.fromkeys(self.zones, 1)
        self.dry_below = {(zone, stage): 35 for zone in self.zones for stage in (1, 2)}
        self.nitrogen = dict.fromkeys(self.zones, 50)
        self.table: dict[int, list[str]] = {}  # hour -> zones that are soaked before planting
        self.tests: dict[int, list[tuple[str, str, bool]]] = {}
        self.plots = 0

    def act(self, agent: str, name: str, **data: object) -> str:
        """Record one action."""
        return self.logs[agent].log_action(name, data)

    def dose(self, zone: str, *, fails: bool = False) -> str:
        """Give nutrients to a zone; the doser reports its flow."""
        if not fails and self.rng.random() < 0.15:  # no flow at first, noticed and repeated
            self.act("doser", "dose", zone=zone, ml=200, flow_ml=0, status="blocked")
            self.logs["doser"].warning("nozzle blocked, cleaned", {"zone": zone})
        done = self.act("doser", "dose", zone=zone, ml=200, flow_ml=0 if fails else 200, status="done")
        self.nitrogen[zone] = self.nitrogen[zone] if fails else 70
        self.logs[zone].log_state_change({"fed": False}, {"fed": True}, "doser reported done")
        return done

    def sow(self, zone: str, due: int, *, skip: str = "") -> list[str]:
        """Sow a plot step by step; its growth is checked at `due`."""
        self.plots += 1
        plot = f"plot_{self.plots}"
        steps = [step for step in STEPS if step != skip]
        events = [self.act("field_hand", step, zone=zone, plot=plot) for step in steps]
        events.append(self.act("foreman", "sign_off", zone=zone, plot=plot, steps=len(steps)))
        self.tests.setdefault(due, []).append((zone, plot, "inoculate" in steps))
        return events

    def plan(self, planner: str, zone: str, hour: int, now: int) -> str:
        """A planner reads the shared table, adds one soaking, and writes it back."""
        self.act(planner, "read_table", rows=self.rows(now))
        self.table.setdefault(hour, []).append(zone)
        return self.act(planner, "write_table", rows=self.rows(now), added=f"{zone}@{hour}")

    def rows(self, now: int) -> list[str]:
        """Return the table as it is written down."""
        return [
            f"{zone}@{hour}" for hour, zones in sorted(self.table.items()) if hour >= now for zone in zones
        ]


def play(case: Case) -> None:
    """Play the farm for some weeks."""
    farm = Farm(case)
    rng = farm.rng
    hours = rng.randint(70, 330)
    begin, end = case.window(hours)
    victim, others = farm.zones[-1], farm.zones[:-1]
    planting: dict[int, list[str]] = {}
    begins_stage = max(begin, end - 8)
    for hour in range(hours):
        with tick(hour):
            _everyday(farm, hour, hours, others, planting)
            _planned(farm, hour, victim, others, planting)
            if case.has("config_change") and hour == begins_stage:
                grown = farm.act("agronomist", "note_growth", zone=victim, stage=2)
                farm.logs[victim].log_state_change({"stage": 1}, {"stage": 2}, "growth")
                farm.stage[victim] = 2
                case.trigger(grown)
            for zone in farm.zones:
                _water(farm, zone, planned=zone == victim)
            _soak_and_plant(farm, hour, planting)
            for zone, plot, complete in farm.tests.pop(hour, ()):
                grown = farm.act(
                    "foreman",
                    "count_seedlings",
                    zone=zone,
                    plot=plot,
                    per_metre=rng.randint(38, 52) if complete else 3,
                )
                sampled = farm.act("lab", "examine_roots", plot=plot, nodules=complete)
                if not complete:
                    case.hop(grown)
                    case.symptom(
                        sampled,
                        f"hardly anything grows on {plot}",
                        f"{plot} failed. The doser worked on {zone} as it should",
                        f"no seedlings on {plot}, zone_a is full of them",
                    )
            if hour == end and case.has("swallowed_failure"):
                _leaf_test(farm, victim)
            if rng.random() < 0.1:
                _leaf_test(farm, rng.choice(others))


def _water(farm: Farm, zone: str, *, planned: bool) -> None:
    """Measure a zone, and open its valve if it is dry."""
    case = farm.case
    fast = planned and case.has("config_change") and farm.stage[zone] == 2
    farm.water[zone] -= 3.6 if fast else farm.rng.uniform(0.6, 1.6)
    shown = farm.act(zone, "measure", moisture=round(farm.water[zone], 1))
    if farm.water[zone] < farm.dry_below[zone, farm.stage[zone]]:
        farm.act("valves", "open", zone=zone, minutes=20)
        farm.meter.log_metric("litres", round(farm.rng.uniform(180, 220), 1), "l")
        farm.water[zone] += 20
    if farm.water[zone] < 18:
        seen = farm.act("foreman", "walk", zone=zone, leaves="wilted")
        case.hop(shown)
        case.symptom(
            seen,
            f"the plants in {zone} are wilting",
            f"{zone} is bone dry and no valve has opened there, {farm.zones[0]} is fine",
            f"why does nobody water {zone} any more?",
        )
    elif farm.rng.random() < 0.1:
        farm.act("foreman", "walk", zone=zone, leaves="green")


def _leaf_test(farm: Farm, zone: str) -> None:
    """Take leaves of a zone to the lab."""
    taken = farm.act("foreman", "take_leaves", zone=zone)
    found = farm.act("lab", "test_leaves", zone=zone, nitrogen=farm.nitrogen[zone])
    if farm.nitrogen[zone] < 60 and farm.case.has("swallowed_failure") and zone == farm.zones[-1]:
        farm.case.hop(taken)
        farm.case.symptom(
            found,
            f"the lab finds too little nitrogen in {zone}",
            f"leaves of {zone} are yellow although it was fed; the valves are fine",
            f"{zone}: nitrogen {farm.nitrogen[zone]}, should be 70",
        )


def _soak_and_plant(farm: Farm, hour: int, planting: dict[int, list[str]]) -> None:
    """Soak what the table says, then plant; seedlings in dry soil die."""
    soaked = farm.table.pop(hour, [])
    for zone in soaked:
        farm.act("valves", "soak", zone=zone, hour=hour)
    for zone in planting.pop(hour, ()):
        planted = farm.act(
            "field_hand", "plant_seedlings", zone=zone, soil="soaked" if zone in soaked else "dry"
        )
        if zone not in soaked:
            seen = farm.act("foreman", "count_losses", zone=zone, lost_percent=90)
            farm.case.hop(planted)
            farm.case.symptom(
                seen,
                f"nearly all seedlings in {zone} died right after planting",
                f"the soil of {zone} was dry at planting. field_hand says soaking had been ordered",
                f"seedlings lost in {zone}",
            )
        else:
            farm.act("foreman", "count_losses", zone=zone, lost_percent=farm.rng.randint(0, 6))


def _everyday(farm: Farm, hour: int, hours: int, others: list[str], planting: dict[int, list[str]]) -> None:
    """Settings, feeding, sowing, planning and handled errors that belong to every week."""
    rng, case = farm.rng, farm.case
    if rng.random() < 0.06:
        farm.system.log_config(
            rng.choice(("display", "report_hour", "pump_log", "unit_names")),
            rng.randint(1, 9),
            rng.randint(1, 9),
        )
    if rng.random() < 0.06:  # thresholds are changed, some as low, of stages that are over
        zone, low = rng.choice(farm.zones), rng.choice((30, 32, 36, 8))
        stage = 2 if low == 8 else 1
        if zone not in others and stage == 2:
            zone = others[0]
        farm.act("agronomist", "set_threshold", zone=zone, stage=stage, dry_below=low)
        farm.dry_below[zone, stage] = low
    if hour == case.decoy_at or rng.random() < 0.03:
        farm.act("field_hand", "mow", place=rng.choice(("ditch", "yard", "hedge")))
    if rng.random() < 0.05:
        farm.logs["valves"].error("no answer, asked again", {"zone": rng.choice(others)})
    if rng.random() < 0.1:
        farm.dose(rng.choice(others if case.has("swallowed_failure") else farm.zones))
    if rng.random() < 0.08:
        skipped = rng.choice(("press", "loosen")) if rng.random() < 0.2 else ""  # does no harm
        farm.sow(rng.choice(farm.zones), hour + rng.randint(1, hours // 2), skip=skipped)
    if rng.random() < 0.1:
        zone, due = rng.choice(farm.zones), hour + rng.randint(1, hours // 2)
        farm.plan(f"planner_{rng.randint(1, 2)}", zone, due, hour)
        planting.setdefault(due, []).append(zone)


def _planned(farm: Farm, hour: int, victim: str, others: list[str], planting: dict[int, list[str]]) -> None:
    """Do what the plan has for this hour, with the fault or without it."""
    case = farm.case
    if hour != case.begin:
        return
    if case.has("config_change"):
        low = 8 if case.strikes("config_change") else 33
        farm.dry_below[victim, 2] = low
        case.root(farm.act("agronomist", "set_threshold", zone=victim, stage=2, dry_below=low))
    elif case.has("swallowed_failure"):
        case.root(farm.dose(victim, fails=case.strikes("swallowed_failure")))
    elif case.has("omitted_step"):
        events = farm.sow(victim, case.end, skip="inoculate" if case.strikes("omitted_step") else "")
        case.root(*reversed(events[1:]))
    elif case.has("lost_update"):
        planting.setdefault(case.end, []).append(victim)
        other = others[0]
        due = case.end + 2
        planting.setdefault(due, []).append(other)
        if case.strikes("lost_update"):
            farm.act("planner_2", "read_table", rows=farm.rows(hour))
            before: dict[int, list[Any]] = {key: list(value) for key, value in farm.table.items()}
            farm.plan("planner_1", victim, case.end, hour)
            before.setdefault(due, []).append(other)
            farm.table = before
            case.root(farm.act("planner_2", "write_table", rows=farm.rows(hour), added=f"{other}@{due}"))
        else:
            farm.plan("planner_1", victim, case.end, hour)
            farm.plan("planner_2", other, due, hour)


WORLD = World(
    "irrigation", "bare", ("config_change", "swallowed_failure", "omitted_step", "lost_update"), play
)
