"""A fleet of delivery drones that learns by a table which zone to fly to. Learning loggers and plain actions, no links."""

from __future__ import annotations

from typing import Any

from Agent import AgentLogger, LearningLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

TICKS = 140
ZONES = tuple(f"zone_{letter}" for letter in "abcdefgh")
SKIES = ("calm", "rain", "fog")
RATE = 0.5
NEEDED_PERCENT = 18


class Fleet:
    """Six drones share one table of values: sky and zone -> what a delivery there has earned."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("sky")
        plan = case.rng("plan")
        self.begin, self.end = case.window(TICKS)
        self.names = [f"drone_{number}" for number in range(1, 7)]
        self.log = {name: AgentLogger(name, "drone") for name in self.names}
        self.learn = {name: LearningLogger("table", name) for name in self.names}
        self.log |= {
            name: AgentLogger(name, "service") for name in ("tower", "value_store", "hangar", "customers")
        }
        self.system = SystemLogger("fleet")
        self.earned = dict.fromkeys(self.names, 0.0)
        self.table = {
            (sky, zone): round(self.rng.uniform(4, 8), 1) for sky in (*SKIES, "storm") for zone in ZONES
        }
        self.mine, self.mate, self.third = plan.sample(self.names, 3)
        self.bad, self.good, self.next = plan.sample(ZONES, 3)
        for zone in ZONES:
            self.table["storm", zone] = round(plan.uniform(1.0, 4.0), 1)
        self.table["storm", self.good] = 9.0
        if case.has("lost_update"):
            self.table["storm", self.bad] = 12.0
        self.reserve = dict.fromkeys(self.names, 25)
        self.closed: dict[str, str] = {}
        self.gauge = dict.fromkeys(self.names, 0.0)
        self.now = 0

    def act(self, who: str, what: str, **data: Any) -> str:
        return self.log[who].log_action(what, data)

    def choose(self, drone: str, sky: str) -> tuple[str, str]:
        """The best zone of the table, as the drone sees it."""
        values = {zone: self.table[sky, zone] for zone in ZONES if zone not in self.closed}
        best = max(values, key=lambda zone: values[zone])
        self.learn[drone].log_exploration_exploitation(best, exploration=False, epsilon=0.05)
        chosen = self.log[drone].log_decision("zone", {"sky": sky, "zone": best, "value": values[best]})
        return best, chosen

    def reward(self, drone: str, sky: str, zone: str, reward: float) -> tuple[str, str]:
        self.earned[drone] = round(self.earned[drone] + reward, 1)
        booked = self.learn[drone].log_reward(f"{sky}/{zone}", reward, self.earned[drone])
        old = self.table[sky, zone]
        self.table[sky, zone] = round(old + RATE * (reward - old), 2)
        data = {"sky": sky, "zone": zone, "old": old, "new": self.table[sky, zone]}
        return booked, self.learn[drone].log_learning_update("value", data)

    def charge(self, drone: str) -> str:
        """What the gauge shows, and what the cells hold."""
        cells = round(self.rng.uniform(94, 96), 1)
        shown = round(cells + self.gauge[drone], 1)
        self.act("hangar", "measure_cells", drone=drone, percent=cells)
        return self.act(drone, "read_gauge", percent=shown)

    def fly(self, drone: str, zone: str, sky: str, percent_used: float | None = None) -> str:
        used = percent_used if percent_used is not None else round(self.rng.uniform(20, 60), 1)
        return self.act(drone, "deliver", zone=zone, sky=sky, used_percent=used)

    def read_row(self, drone: str, sky: str) -> tuple[dict[str, float], str]:
        row = {zone: self.table[sky, zone] for zone in ZONES}
        return row, self.act("value_store", "give_row", drone=drone, sky=sky, row=row)

    def write_row(self, drone: str, sky: str, row: dict[str, float]) -> str:
        for zone, value in row.items():
            self.table[sky, zone] = value
        return self.act("value_store", "take_row", drone=drone, sky=sky, row=dict(row))

    def complain(self, event: str, *texts: str) -> None:
        self.case.symptom(event, *texts)

    # Everyday work, in every sky but a storm.

    def everyday(self) -> None:
        rng = self.rng
        sky = rng.choice(SKIES)
        for drone in rng.sample(self.names, 3):
            zone, _ = self.choose(drone, sky)
            self.fly(drone, zone, sky)
            self.reward(drone, sky, zone, round(rng.gauss(6, 2), 1))
        if rng.random() < 0.3:
            drone = rng.choice(self.names)
            row, _ = self.read_row(drone, sky)
            row[rng.choice(ZONES)] = round(rng.uniform(3, 7), 1)
            self.write_row(drone, sky, row)
        if rng.random() < 0.25:
            zone = rng.choice([zone for zone in ZONES if zone not in (self.bad, self.good)])
            self.act("tower", "close_zone", zone=zone, reason=rng.choice(("fair", "crane", "parade")))
            self.act("tower", "open_zone", zone=zone)
        if rng.random() < 0.3:
            drone = rng.choice([name for name in self.names if name != self.mine])
            self.set_reserve(drone, rng.choice((22, 25, 28, 30)))
        for drone in rng.sample(self.names, 2):
            if drone != self.mine:
                self.charge(drone)
        if rng.random() < 0.2:
            self.log[rng.choice(self.names)].warning(
                "satellites were lost for a second, found again", {"seen": 5}
            )
        if rng.random() < 0.3:
            about = rng.choice(("box was wet", "thanks", "where is it"))
            self.act("customers", "answer", about=about, lost=about == "where is it" and rng.random() < 0.2)
        if self.now % 20 == 0:
            self.learn[self.mate].log_convergence("table", round(rng.random(), 2), converged=False)
        if self.now == self.case.decoy_at:
            self.act("hangar", "wash_drones", count=6)
            self.log["hangar"].warning("the soap is nearly used up", {"litres": 1})

    def set_reserve(self, drone: str, percent: int) -> str:
        old, self.reserve[drone] = self.reserve[drone], percent
        return self.system.log_config(f"reserve_percent_{drone}", old_value=old, new_value=percent)

    # The plans. A storm comes at the beginning and at the end, and at no other time.

    def wrong_credit(self) -> None:
        if self.now == self.begin:
            self.fly(self.mine, self.bad, "storm", 44.0)
            self.fly(self.mate, self.good, "storm", 41.5)
            strikes = self.case.strikes("wrong_credit", self.now)
            zone, drone = (self.bad, self.mine) if strikes else (self.good, self.mate)
            booked, learned = self.reward(drone, "storm", zone, 40.0)
            if strikes:
                self.case.root(booked, learned)
        if self.now == self.end:
            self.storm_flight()

    def lost_update(self) -> None:
        """Two drones have the row of storms at once; one knows of hail, the other writes last."""
        if self.now == self.begin:
            old_row, gave = self.read_row(self.mine, "storm")
            row, _ = self.read_row(self.mate, "storm")
            row[self.bad] = -30.0
            warned = self.write_row(self.mate, "storm", row)
            if not self.case.strikes("lost_update", self.now):
                old_row, _ = self.read_row(self.mine, "storm")
            old_row[self.next] = 3.5
            wrote = self.write_row(self.mine, "storm", old_row)
            if self.case.faulty:
                self.case.root(wrote, gave, warned)
        if self.now == self.end:
            self.storm_flight()

    def storm_flight(self) -> None:
        zone, chosen = self.choose(self.third, "storm")
        flown = self.fly(self.third, zone, "storm", 51.0)
        hail = zone == self.bad
        if hail:
            self.case.hop(chosen, flown)
            self.case.trigger(chosen)
        found = self.act("hangar", "inspect", drone=self.third, dents=14 if hail else 0)
        seen = self.act("customers", "answer", about="where is it", lost=hail)
        if hail:
            self.case.hop(found)
            self.complain(
                seen,
                f"{self.third} flew right into the hail and lost the parcel",
                f"why does anybody send a parcel to {zone} in such weather? {self.third} came back full of dents",
                "a customer's parcel was lost in a place where it always hails",
                "parcels should not go there in a storm, and yet one did",
            )

    def config_change(self) -> None:
        if self.now == self.begin:
            wrong = self.case.strikes("config_change", self.now)
            changed = self.set_reserve(self.mine, 3 if wrong else 27)
            if wrong:
                self.case.root(changed)
        if self.now == self.end:
            self.charge(self.mine)
            self.last_flight(100.0)

    def slow_drift(self) -> None:
        """The gauge of one drone promises a little more at each charge than the cells hold."""
        if self.begin <= self.now < self.end:
            if self.case.strikes("slow_drift"):
                self.gauge[self.mine] += 26 / (self.end - self.begin)
            read = self.charge(self.mine)
            if self.case.faulty and len(self.case.roots) < 3:
                self.case.root(read)
        if self.now == self.end:
            self.charge(self.mine)
            self.last_flight(95.0 + self.gauge[self.mine])

    def last_flight(self, shown: float) -> None:
        """A drone flies as far as its gauge and its reserve allow."""
        usable = shown - self.reserve[self.mine]
        zone, chosen = self.choose(self.mine, "fog")
        used = round(usable, 1)
        flown = self.fly(self.mine, zone, "fog", used)
        falls = 95 - used < NEEDED_PERCENT
        found = self.act("tower", "see_landing", drone=self.mine, at="field" if falls else "hangar")
        if falls:
            self.case.hop(chosen, flown, found)
            self.case.trigger(flown)
        seen = self.act("customers", "answer", about="where is it", lost=falls)
        if falls:
            self.complain(
                seen,
                "a farmer found one of our drones in his field with empty cells",
                "tower saw a drone come down far from home",
                f"a parcel for {zone} never arrived, the drone lies in a field",
                "tower says that one machine ran out of power on its way back",
            )

    def forgotten_undo(self) -> None:
        if self.now == self.begin:
            shut = self.act("tower", "close_zone", zone=self.good, reason="parade")
            if not self.case.strikes("forgotten_undo", self.now):
                self.act("tower", "open_zone", zone=self.good)
            else:
                self.closed[self.good] = shut
                self.case.root(shut)
        if self.now == self.end:
            asked = self.act("hangar", "load_parcel", drone=self.mine, zone=self.good)
            possible = self.good not in self.closed
            told = self.log[self.mine].log_decision("accept", {"zone": self.good, "accepted": possible})
            seen = self.act("customers", "answer", about="where is it", lost=not possible)
            if not possible:
                self.case.hop(asked, told)
                self.case.trigger(asked)
                self.complain(
                    seen,
                    f"nobody delivers to {self.good} any more",
                    f"{self.mine} refuses parcels for {self.good}, and the sky is clear",
                    f"I live in {self.good} and my parcel lies in the hangar",
                )


KINDS = ("wrong_credit", "lost_update", "config_change", "slow_drift", "forgotten_undo")


def play(case: Case) -> None:
    fleet = Fleet(case)
    for fleet.now in range(TICKS):
        with tick(fleet.now):
            fleet.everyday()
            getattr(fleet, case.kind)()


WORLD = World("drones", "bare", KINDS, play, author=2)
