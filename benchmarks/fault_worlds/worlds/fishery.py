"""A fishery: boats choose areas and haul, quays weigh, a market pays, a warden rules, a cannery depends on hake.

Evidence: bare actions, decisions and interactions, in ticks.
"""

from __future__ import annotations

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

TIDES = 180
AREAS = ("Skerry", "Longbank", "Pothole", "Rackwick", "Sule", "Foula", "Merrydeep", "Stackhead")
BOATS = ("Aurora", "Brisk", "Carina", "Dunlin", "Egret")
LIMIT_KG = 90
NEED_KG = 80
RATE = 0.004


class Coast:
    """All areas, of which one has hake; the cannery asks for hake at the tide at which the fault shows."""

    def __init__(self, case: Case) -> None:
        self.case = case
        case.window(TIDES)
        rng = case.rng("coast")
        self.hake = rng.choice(AREAS)
        self.other = [area for area in AREAS if area != self.hake]
        self.boats = {name: AgentLogger(name, "boat") for name in BOATS}
        self.quays = {name: AgentLogger(name, "quay") for name in ("quay-east", "quay-west")}
        self.warden, self.biologist = AgentLogger("warden", "office"), AgentLogger("biologist", "office")
        self.market, self.cannery = AgentLogger("market", "trade"), AgentLogger("cannery", "trade")
        self.radio = {name: InteractionLogger(name, "boat") for name in BOATS}
        self.closed: dict[str, int] = {}
        self.belief: dict[str, str] = {}
        self.allowed_t = 160.0
        self.limit_kg = LIMIT_KG
        self.drift_from = -1
        self.owed_kg = 0.0
        window = range(case.begin, case.end)
        self.biomass_kg = sum(kg - LIMIT_KG for now in window for kg in self.efforts(now))
        self.tolerance_kg = sum(self.load(now) * RATE * (now - case.begin + 1) for now in window)

    def efforts(self, now: int) -> list[int]:
        """Return what two boats could take from the hake area on a tide."""
        rng = self.case.rng(f"effort/{now}")
        return [rng.randint(140, 200), rng.randint(140, 200)]

    def load(self, now: int) -> int:
        """Return what Egret lands on a tide."""
        return self.case.rng(f"load/{now}").randint(60, 400)

    def sail(self, now: int) -> None:
        """Let every boat choose an area, haul, land and be paid."""
        for number, (name, log) in enumerate(self.boats.items()):
            rng = self.case.rng(f"sail/{now}/{name}")
            area, kg = rng.choice(self.other), rng.randint(40, 420)
            if self.case.has("config_change") and number < 2:
                area, kg = self.hake, min(self.efforts(now)[number], self.limit_kg)
                self.biomass_kg += LIMIT_KG - kg
            elif area in self.closed and self.closed[area] >= now:
                area = rng.choice([a for a in self.other if a not in self.closed] or self.other)
            if name == "Egret":
                kg = self.load(now)
            log.log_decision(
                "choose_area", {"area": area, "wind": rng.randint(1, 7)}, reasoning="usual ground"
            )
            hauled = log.log_action("haul", {"area": area, "kg": kg})
            if self.case.has("config_change") and number < 2 and now >= self.case.begin:
                self.case.hop(hauled)
            self.land(now, name, kg)

    def land(self, now: int, boat: str, kg: int) -> None:
        """Weigh a landing on a quay's scale, and let the market pay for it."""
        quay = "quay-east" if boat in {"Egret", "Brisk"} else "quay-west"
        shown = float(kg)
        drifts = 0 <= self.drift_from <= now and quay == "quay-east"
        if drifts:
            shown = round(kg * (1 - RATE * (now - self.drift_from + 1)), 1)
        weighed = self.quays[quay].log_action("weigh", {"boat": boat, "kg": shown})
        paid = self.market.log_action("pay", {"boat": boat, "kg": shown, "price": round(2.1 * shown, 2)})
        if drifts and len(self.case.roots) < 4:
            self.case.root(weighed)
        if boat != "Egret":
            return
        if drifts:
            self.case.hop(weighed, paid)
        self.owed_kg += kg - shown
        if self.owed_kg >= 0.98 * self.tolerance_kg and self.case.has("slow_drift") and now >= self.case.end:
            seen = self.boats["Egret"].log_action("dispute", {"kg": round(self.owed_kg, 1)})
            self.case.symptom(
                seen,
                "Fishermen get less money for the same catch, and it becomes worse",
                "Egret says that it is paid for less than it brought in",
                "market pays us too little",
                "quay-east is said to cheat",
            )

    def begin(self, now: int) -> None:
        """Let the act happen at which the fault begins, or its harmless form."""
        case, area = self.case, self.hake
        match case.kind:
            case "config_change":
                new = 420 if case.strikes("config_change", now) else 85
                done = self.warden.log_strategy_update(
                    "haul_limit",
                    {"area": area, "limit_kg": self.limit_kg},
                    {"area": area, "limit_kg": new},
                    "yearly review",
                )
                if case.faulty:
                    self.limit_kg = new
                    case.root(done)
            case "wrong_unit":
                stock = 1800 + case.rng("stock").randint(0, 900)
                self.survey(area, stock, stock / 1000 if case.strikes("wrong_unit", now) else float(stock))
            case "false_belief":
                self.boats["Carina"].log_action(
                    "haul", {"area": area, "kg": 300 + case.seed % 90, "species": "hake"}
                )
                self.tell("Carina", "Egret", area, "none" if case.strikes("false_belief", now) else "plenty")
            case "forgotten_undo":
                done = self.warden.warning("Area closed", {"area": area, "why": "seals"})
                self.closed[area] = TIDES if case.strikes("forgotten_undo", now) else now
                if case.faulty:
                    case.root(done)
            case "slow_drift":
                done = self.quays["quay-east"].log_action("service_scale", {"screws": 4, "minutes": 25})
                if case.strikes("slow_drift", now):
                    self.drift_from = now
                    case.root(done)

    def survey(self, area: str, stock: float, noted: float) -> None:
        """Sound an area, and note its stock in tonnes."""
        self.biologist.log_action("sound", {"area": area, "marks": round(stock * 7.3)})
        done = self.biologist.log_action("note_stock", {"area": area, "stock_t": round(noted, 2)})
        if area == self.hake:
            self.allowed_t = 0.08 * noted
            if self.case.faulty:
                self.case.root(done)

    def tell(self, speaker: str, hearer: str, area: str, fish: str) -> None:
        """Let a boat tell another one by radio what there is in an area, and the other one believe it."""
        told = self.radio[speaker].log_interaction(
            "tell", source_id=speaker, target_id=hearer, data={"area": area, "fish": fish}
        )
        learned = self.boats[hearer].log_decision("believe", {"area": area, "fish": fish}, reasoning="radio")
        if area == self.hake and hearer == "Egret":
            self.belief[area] = fish
            if self.case.strikes("false_belief"):
                self.case.root(told, learned)

    def ask_for_hake(self, now: int) -> None:
        """Let the cannery order hake, and Egret fetch it if it may and believes that there is any."""
        case, area = self.case, self.hake
        asked = self.cannery.log_action("order_fish", {"species": "hake", "kg": NEED_KG, "boat": "Egret"})
        if case.kind in {"false_belief", "forgotten_undo"}:
            case.trigger(asked)
        allotted = self.warden.log_action("allot", {"area": area, "t": round(self.allowed_t, 2)})
        kg = 0.0
        if self.closed.get(area, -1) >= now:
            stays = "the area is closed"
        elif self.belief.get(area) == "none":
            stays = "there is none"
        elif self.allowed_t < 1:
            stays = "allotment too small"
        else:
            stays = ""
            kg = float(min(NEED_KG, max(0, self.biomass_kg))) if case.has("config_change") else NEED_KG
        chosen = self.boats["Egret"].log_decision(
            "choose_area", {"area": self.other[0] if stays else area}, reasoning=stays or "order"
        )
        self.boats["Egret"].log_action("haul", {"area": self.other[0] if stays else area, "kg": kg})
        sold = self.market.log_action("deliver", {"species": "hake", "kg": kg, "to": "cannery"})
        if case.has("wrong_unit"):
            case.hop(allotted)
        case.hop(chosen, sold)
        if kg < NEED_KG / 2:
            seen = self.cannery.log_action("stop_line", {"species": "hake", "kg": kg})
            case.symptom(
                seen,
                "cannery stands still",
                "There is no hake to be had",
                "Egret came back without hake",
                "Workers were sent home because no fish was delivered",
                "cannery waits for hake, and market has none",
            )

    def everyday(self, now: int) -> None:
        """Record surveys, rumours, closures, services, rules, sales and handled errors of other areas."""
        case, rng = self.case, self.case.rng(f"tide/{now}")
        for area in [area for area, until in self.closed.items() if until < now]:
            self.warden.log_action("open_area", {"area": area})
            del self.closed[area]
        area = rng.choice(self.other)
        if rng.random() < 0.3:
            stock = 2 ** rng.uniform(0, 11)
            self.survey(area, stock, stock)
        if rng.random() < 0.4:
            one, two = rng.sample(BOATS, 2)
            self.tell(one, two, area, rng.choice(("none", "plenty", "some")))
        if rng.random() < 0.3 and area not in self.closed:
            self.warden.warning("Area closed", {"area": area, "why": rng.choice(("seals", "mines"))})
            self.closed[area] = TIDES if rng.random() < 0.1 else now
        if rng.random() < 0.25:
            quay = rng.choice(("quay-west", "quay-east"))
            self.quays[quay].log_action("service_scale", {"screws": rng.randint(1, 4), "minutes": 20})
        if rng.random() < 0.4:
            self.warden.log_strategy_update(
                "haul_limit",
                {"area": area, "limit_kg": rng.randint(4, 40) * 10},
                {"area": area, "limit_kg": rng.randint(4, 40) * 10},
                "review",
            )
        if rng.random() < 0.25:
            SystemLogger().log_config(
                rng.choice(("radio_channel", "light_colour")), now % 9, rng.randint(1, 9)
            )
        if rng.random() < 0.3:
            self.cannery.log_action(
                "order_fish", {"species": "cod", "kg": rng.randint(50, 90), "boat": "Dunlin"}
            )
            self.market.log_action("deliver", {"species": "cod", "kg": rng.randint(30, 90), "to": "cannery"})
        if rng.random() < 0.12:
            boat = rng.choice(BOATS)
            self.boats[boat].error("Net torn", {"metres": rng.randint(1, 9)})
            self.boats[boat].log_action("mend_net", {"minutes": rng.randint(10, 50)})
        PerformanceLogger().log_metric("water_c", round(9 + 2 * rng.random(), 2), "C")
        if now == case.decoy_at:
            self.boats["Egret"].error("Echo sounder silent", {"seconds": 12})
            self.boats["Egret"].log_action("restart_sounder", {"seconds": 30})

    def season(self) -> None:
        """Play all tides."""
        for now in range(TIDES):
            with tick(now):
                self.everyday(now)
                if now == self.case.begin:
                    self.begin(now)
                self.sail(now)
                if now == self.case.end and not self.case.has("slow_drift"):
                    self.ask_for_hake(now)


def play(case: Case) -> None:
    """Play one season of the fishery."""
    Coast(case).season()


WORLD = World(
    "fishery",
    "bare",
    ("config_change", "wrong_unit", "false_belief", "forgotten_undo", "slow_drift"),
    play,
    author=3,
)
