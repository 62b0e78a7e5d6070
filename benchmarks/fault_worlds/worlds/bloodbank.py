"""A blood bank: a van collects, a laboratory types, depots keep, couriers bring, wards transfuse.

Evidence: each act names the acts that led to it (`causes=`); messages between houses are acts of a dispatcher.
"""

from __future__ import annotations

from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

HOURS = 190
GROUPS = ("A", "B", "AB", "0")
DEPOTS = ("depot-harbour", "depot-hill", "depot-station")
WARDS = ("ward-surgery", "ward-maternity", "ward-oncology", "ward-trauma")
RIDERS = ("Hugo", "Selma", "Ibrahim")

Unit = dict[str, Any]


class Bank:
    """Keeps units as plain records; the victim's unit is collected, changed or booked at the hour of the fault."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.begin, self.end = case.window(HOURS)
        self.units: dict[str, Unit] = {}
        self.booked: dict[str, str] = {}
        self.due: dict[int, list[tuple[str, str]]] = {}
        self.loggers: dict[str, AgentLogger] = {}
        self.serial = 4000
        self.order = 700

    def act(self, who: str, what: str, causes: str | list[str] | None = None, /, **data: Any) -> str:
        """Record an act and return its id."""
        if who not in self.loggers:
            self.loggers[who] = AgentLogger(who, who.partition("-")[0] if "-" in who else "staff")
        return self.loggers[who].log_action(what, data, causes=causes or None)

    def struck(self, kind: str, victim: bool) -> bool:
        """Tell whether the fault happens to this unit now."""
        return victim and self.case.strikes(kind)

    def collect(self, topic: str, victim: bool = False) -> list[Unit]:
        """Collect and type a pair of units, bring them to depots, and shelve them."""
        rng = self.case.rng(f"collect/{topic}")
        depot, rider = rng.choice(DEPOTS), rng.choice(RIDERS)
        pair = []
        for _ in range(2):
            self.serial += 1
            unit = {"unit": f"U{self.serial}", "group": rng.choice(GROUPS), "donor": rng.randint(100, 999)}
            pair.append(unit | {"depot": depot, "warm": False, "barred": False})
        first, second = pair
        if victim and first["group"] == second["group"]:
            second["group"] = GROUPS[(GROUPS.index(first["group"]) + 1) % 4]
        drawn = [self.act("van", "collect", unit=unit["unit"], donor=unit["donor"]) for unit in pair]
        typed = [unit["group"] for unit in pair]
        if self.struck("swapped_fields", victim):
            typed.reverse()
        result = self.act(
            "laboratory",
            "type_pair",
            drawn,
            tube_1=first["unit"],
            group_1=typed[0],
            tube_2=second["unit"],
            group_2=typed[1],
        )
        if self.struck("swapped_fields", victim):
            self.case.root(result)
        cold = True if not victim else not self.case.has("swallowed_failure")
        cold = cold and rng.random() < 0.88
        took = self.act(rider, "load_box", result, units=[unit["unit"] for unit in pair], depot=depot)
        came = self.bring(rider, depot, pair, took, cold, victim)
        for unit, label in zip(pair, typed, strict=True):
            unit["label"] = label
            unit["last"] = self.act(depot, "shelve", came, unit=unit["unit"], group=label)
            self.units[unit["unit"]] = unit
        if victim:
            self.case.hop(took, came, first["last"])
        return pair

    def bring(
        self, rider: str, depot: str, pair: list[Unit], took: str, cold: bool, victim: bool
    ) -> str | list[str]:
        """Ride to the depot; a box that got warm is reported, and its units are replaced from the cool room."""
        if cold:
            return self.act(rider, "deliver", took, depot=depot, state="cold")
        alarm = self.loggers[rider].warning(
            "Box above 8 degrees", {"units": [u["unit"] for u in pair]}, causes=took
        )
        if self.struck("swallowed_failure", victim):
            done = self.act(rider, "deliver", alarm, depot=depot, state="cold")
            self.case.root(alarm, done)
            for unit in pair:
                unit["warm"] = True
            return done
        done = self.act(rider, "deliver", alarm, depot=depot, state="warm")
        return self.act("laboratory", "replace_units", done, units=[unit["unit"] for unit in pair])

    def plan(self, unit: Unit, at: int, topic: str, victim: bool = False) -> None:
        """Let a ward order a unit for an operation; the order goes through the exchange to the registry."""
        rng = self.case.rng(f"plan/{topic}")
        ward = rng.choice(WARDS)
        self.order += 1
        number = f"R{self.order}"
        asked = self.act(ward, "order", number=number, group=unit["group"], at=at)
        self.due.setdefault(at, []).append((number, ward))
        unit["order"] = number
        lost = self.struck("dead_letter", victim)
        if lost or rng.random() < 0.1:
            parked = self.put_aside(number, "registry", asked)
            if lost:
                self.case.root(parked)
                return
            asked = self.act("exchange", "repost", parked, number=number, to="registry")
        self.book(number, unit, asked, rng.random() < 0.5, victim)

    def put_aside(self, number: str, to: str, asked: str | None) -> str:
        """Put a note aside that the exchange cannot deliver at once."""
        if "exchange" not in self.loggers:
            self.loggers["exchange"] = AgentLogger("exchange", "staff")
        return self.loggers["exchange"].warning(
            "Format not understood, note put aside", {"number": number, "to": to}, causes=asked
        )

    def book(self, number: str, unit: Unit, why: str, twice: bool, victim: bool) -> None:
        """Enter an order into the list of bookings; two clerks may have the list open."""
        version = len(self.booked)
        read = self.act("clerk-Noor", "open_list", why, entries=version)
        other = self.act("clerk-Emil", "open_list", entries=version) if twice or victim else ""
        self.booked[number] = unit["unit"]
        wrote = self.act("clerk-Noor", "save_list", read, entries=version + 1, number=number)
        unit["last"] = self.act(unit["depot"], "set_aside", [wrote, unit["last"]], unit=unit["unit"])
        if victim:
            self.case.hop(wrote, unit["last"])
        if not other:
            return
        self.order += 1
        lost = self.struck("lost_update", victim)
        if not lost:
            other = self.act("clerk-Emil", "open_list", other, entries=len(self.booked))
        entries = version + 1 if lost else len(self.booked) + 1
        saved = self.act("clerk-Emil", "save_list", other, entries=entries, number=f"R{self.order}")
        if lost:
            del self.booked[number]
            self.case.root(other, saved)
        self.booked[f"R{self.order}"] = "reserve"

    def inspect(self, unit: Unit, now: int, topic: str, victim: bool = False) -> None:
        """Bar a unit until a second test, and free it again; the depot applies both notes."""
        rng = self.case.rng(f"inspect/{topic}")
        bar = self.act("laboratory", "note", unit["last"], unit=unit["unit"], status="barred", nr=1)
        free = self.act("laboratory", "note", bar, unit=unit["unit"], status="free", nr=2)
        extra = [self.act("laboratory", "note", free, unit=unit["unit"], status="free", nr=3)]
        notes = [("barred", 1, bar), ("free", 2, free)]
        if self.struck("out_of_order", victim):
            notes.reverse()
        elif rng.random() < 0.4 and not victim:
            notes = [("free", 2, free), ("barred", 1, bar), ("free", 3, extra[0])]
        for status, number, why in notes:
            unit["barred"] = status == "barred"
            unit["last"] = self.act(
                unit["depot"], "apply_note", why, unit=unit["unit"], status=status, nr=number
            )
            if self.struck("out_of_order", victim):
                self.case.root(unit["last"])

    def recall(self, units: list[Unit], topic: str, victim: bool = False) -> None:
        """Tell every depot that keeps a unit of a donor to withdraw it; where none is left, nobody is told."""
        donor = units[0]["donor"]
        raised = self.act("laboratory", "recall", donor=donor, units=[unit["unit"] for unit in units])
        told = raised
        for number, unit in enumerate(units):
            if self.struck("omitted_message", victim) and number == 1:
                self.case.root(raised, told)
                unit["tainted"] = True
                continue
            if number and self.case.rng(f"recall/{topic}").random() < 0.4 and not victim:
                continue  # this one has been used up before
            told = self.act("laboratory", "tell_depot", raised, depot=unit["depot"], unit=unit["unit"])
            unit["last"] = self.act(unit["depot"], "withdraw", told, unit=unit["unit"])
            self.units.pop(unit["unit"], None)

    def operate(self, now: int) -> None:
        """Let each ward fetch what it ordered for this hour, test it, and use it."""
        for number, ward in self.due.pop(now, []):
            mine = now == self.end and number == self.target.get("order")
            unit = self.target if mine else self.units.get(self.booked.get(number, ""), None)
            if unit is None:
                continue
            rider = RIDERS[now % 3]
            asked = self.act(ward, "fetch", number=number)
            if number not in self.booked or unit["barred"]:
                answer = self.act(
                    unit["depot"],
                    "refuse",
                    [asked, unit["last"]],
                    number=number,
                    reason="not booked" if number not in self.booked else "barred",
                )
                self.case.hop(answer)
                shown = self.act(ward, "postpone", [answer], number=number)
                self.words(shown, ward, unit, "refused")
                continue
            if unit["unit"] not in self.units:
                substitute = self.act("laboratory", "substitute", asked, number=number)
                self.act(ward, "transfuse", substitute, number=number)
                continue
            out = self.act(
                unit["depot"],
                "issue",
                [asked, unit["last"]],
                unit=unit["unit"],
                number=number,
                group=unit["label"],
            )
            rode = self.act(rider, "ride", out, unit=unit["unit"], ward=ward)
            ok = unit["label"] == unit["group"] and not unit["warm"] and not unit.get("tainted")
            test = self.act(ward, "crossmatch", rode, unit=unit["unit"], fits=ok)
            self.case.hop(*((out, rode) if mine else ()))
            if ok:
                self.act(ward, "transfuse", test, unit=unit["unit"], number=number)
            else:
                self.case.trigger(out) if self.case.kind in {"omitted_message", "swallowed_failure"} else None
                shown = self.act(ward, "send_back", test, unit=unit["unit"], number=number)
                self.words(shown, ward, unit, "unfit")

    def words(self, shown: str, ward: str, unit: Unit, how: str) -> None:
        """Note the symptom."""
        name = unit["unit"]
        if how == "refused":
            self.case.symptom(
                shown,
                f"{ward} had to put off an operation, there was no blood for it",
                "Operations are postponed although everything was ordered in time",
                f"Order {unit['order']} was not fulfilled",
                f"{unit['depot']} refuses to hand out blood that was ordered long ago",
            )
        else:
            self.case.symptom(
                shown,
                f"{ward} could not use what it was given",
                "Blood that is brought to the operating rooms is unfit",
                f"Unit {name} failed the test at the bedside",
                f"laboratory says all is well, but {name} had to go back"
                if self.case.seed % 3 == 0
                else f"What {unit['depot']} sent could not be given to the patient",
            )

    def everyday(self, now: int) -> None:
        """Record collections, orders, inspections, recalls, settings, chores and handled errors."""
        rng = self.case.rng(f"hour/{now}")
        shelved = [u for u in self.units.values() if u is not self.target and "order" not in u]
        for unit in self.collect(f"{now}"):
            if rng.random() < 0.6:
                self.plan(unit, now + 1 + round(2 ** rng.uniform(0, 6)), f"{now}/{unit['unit']}")
        if shelved and rng.random() < 0.5:
            self.inspect(rng.choice(shelved), now, f"{now}")
        if len(shelved) > 4 and rng.random() < 0.3:
            self.recall(rng.sample(shelved, rng.randint(1, 3)), f"{now}")
        if rng.random() < 0.3:
            SystemLogger().log_config(rng.choice(("label_size", "shift_hours", "box_count")), now, now + 1)
        PerformanceLogger().log_metric("cool_room_c", round(4 + rng.gauss(0, 0.3), 2), "C")
        if rng.random() < 0.2:
            self.act(rng.choice(DEPOTS), "count_shelf", units=len(self.units))
        if rng.random() < 0.1:
            self.put_aside(f"N{now}", "canteen", None)
        if rng.random() < 0.1:
            failed = self.act("clerk-Emil", "log_in", user="emil")
            bad = self.loggers["clerk-Emil"].error("Password expired", {"user": "emil"}, causes=failed)
            self.act("clerk-Emil", "renew_login", bad, user="emil")
        if now == self.case.decoy_at:
            self.act(self.target.get("depot", DEPOTS[0]), "power_dip", seconds=rng.randint(1, 9))

    def run(self) -> None:
        """Play all hours."""
        case = self.case
        late = {"out_of_order", "omitted_message"}
        made_at = self.begin - 1 if case.kind in late else self.begin
        self.target: Unit = {}
        for now in range(HOURS):
            with tick(now):
                self.everyday(now)
                if now == made_at:
                    self.target, companion = self.collect("victim", victim=True)
                    self.plan(self.target, self.end, "victim", victim=True)
                if now == self.begin:
                    if case.has("out_of_order"):
                        self.inspect(self.target, now, "victim", victim=True)
                    if case.has("omitted_message"):
                        companion["donor"] = self.target["donor"]
                        self.recall([companion, self.target], "victim", victim=True)
                self.operate(now)


def play(case: Case) -> None:
    """Play the days of a blood bank."""
    Bank(case).run()


WORLD = World(
    "bloodbank",
    "edges",
    ("swapped_fields", "lost_update", "dead_letter", "out_of_order", "omitted_message", "swallowed_failure"),
    play,
    author=3,
)
