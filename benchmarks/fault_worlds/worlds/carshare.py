"""A car-sharing company: yards with charging slots, kiosks that give out lock codes, jockeys who move cars, a member line."""

from __future__ import annotations

from Agent import AgentLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

YARDS = ("north_yard", "canal_yard", "airport_yard", "mill_yard")
CARS = tuple(f"car_{number}" for number in range(11, 27))
VANS = CARS[12:]
JOCKEYS = ("jockey_ines", "jockey_paul", "jockey_wim")
MEMBERS = (
    "Abiola Brandt Castro Dietz Egger Fontana Grau Halloran Ivers Juhl Kramer Leclerc Mbeki Novotny".split()
)
SMALL_TALK = (
    "wipers squeak",
    "found a glove",
    "asks for an invoice",
    "app is slow",
    "wants a child seat",
    "praise",
)


def homes(car: str) -> list[str]:
    """Return the yards at which a car may stand; the gates of two are too low for vans."""
    return [yard for yard in YARDS if car not in VANS or yard in {"north_yard", "mill_yard"}]


class Worker:
    """Whoever has calls of their own in the record."""

    trace_ignore: tuple[str, ...] = ("firm", "log")

    def __init__(self, agent_id: str, firm: Firm) -> None:
        self.agent_id, self.firm = agent_id, firm
        self.log = AgentLogger(agent_id, type(self).__name__.lower())


class Car(Worker):
    """A car with a lock, a battery and a governor."""

    def __init__(self, agent_id: str, firm: Firm) -> None:
        super().__init__(agent_id, firm)
        self.pin, self.governor, self.battery = firm.rng.randint(1000, 9999), 130, 100
        self.__dict__["spot"] = firm.rng.choice(homes(agent_id))

    @trace_agent_action()
    def unlock(self, ride: str, typed: int) -> str:
        return "open" if typed == self.pin else "refused"

    @trace_agent_action()
    def drive(self, ride: str, km: int, road: str) -> dict[str, float]:
        """Drive as fast as road and governor allow, and as far as the battery lasts."""
        speed = min(self.governor, 112 if road == "motorway" else 36)
        gone = min(km, int(self.battery / 0.4))
        self.battery = max(0, self.battery - round(km * 0.4))
        return {"km": gone, "minutes": round(60 * gone / speed), "top": speed}


class Kiosk(Worker):
    """Stands at a yard; keeps the lock codes of the cars that may stand there."""

    def __init__(self, agent_id: str, firm: Firm) -> None:
        super().__init__(agent_id, firm)
        self.codes: dict[str, int] = {}

    @trace_agent_action()
    def copy_code(self, car: str, issue: str, code: int) -> str:
        self.codes[car] = code
        return issue

    @trace_agent_action()
    def hand_out(self, ride: str, car: str) -> int:
        return self.codes[car]


class Keyring(Worker):
    @trace_agent_action()
    def rotate(self, car: str, issue: str, code: int) -> int:
        """Set a new code; vans never stand at the canal or the airport, so these kiosks need no copy."""
        self.firm.cars[car].pin = code
        for yard in homes(car):
            if yard != self.firm.passed_over:
                self.firm.kiosks[yard].copy_code(car, issue, code)
        return code


class Yard(Worker):
    """Counts its charging slots."""

    def __init__(self, agent_id: str, firm: Firm, slots: int) -> None:
        super().__init__(agent_id, firm)
        self.slots = slots

    @trace_agent_action()
    def hold_slot(self, slip: str, car: str) -> str:
        if not self.slots:
            return "none free"
        self.slots -= 1
        return "held"

    @trace_agent_action()
    def free_slot(self, slip: str) -> int:
        self.slots += 1
        return self.slots


class Attendant(Worker):
    """Plugs cars in and out at one yard."""

    def __init__(self, agent_id: str, firm: Firm, yard: Yard) -> None:
        super().__init__(agent_id, firm)
        self.yard = yard

    trace_ignore = ("firm", "log", "yard")

    @trace_agent_action()
    def start_charge(self, slip: str, car: str) -> str:
        if self.yard.hold_slot(slip, car) != "held":
            return "parked aside"
        try:
            return self.lock_plug(slip)
        except RuntimeError:
            return self.lock_plug(slip)

    @trace_agent_action()
    def lock_plug(self, slip: str) -> str:
        if slip in self.firm.stiff:
            self.firm.stiff.discard(slip)
            raise RuntimeError("plug does not click")
        return "charging"

    @trace_agent_action()
    def finish_charge(self, slip: str, car: str) -> str:
        """Unplug a car; a slot goes straight to the next car if one is waiting beside it."""
        self.firm.cars[car].battery = 100
        if slip in self.firm.handed_on:
            return "cable left out for the next"
        if slip not in self.firm.unmarked:
            self.yard.free_slot(slip)
        return "unplugged"


class Mechanic(Worker):
    @trace_agent_action()
    def throttle(self, job: str, car: str, top: int) -> str:
        self.firm.cars[car].governor = top
        return "set"

    @trace_agent_action()
    def test_drive(self, job: str, car: str) -> str:
        return self.firm.rng.choice(("no vibration", "tyre runs true", "brakes even"))

    @trace_agent_action()
    def close_job(self, job: str, car: str) -> str:
        return "signed"


class Jockey(Worker):
    """Brings cars from yard to yard."""

    @trace_agent_action()
    def relocate(self, job: str, car: str, to: str, stop: str) -> str:
        return self.park(job, car, stop)

    @trace_agent_action()
    def park(self, job: str, car: str, yard: str) -> str:
        self.firm.cars[car].__dict__["spot"] = yard
        return f"bay {self.firm.rng.randint(1, 40)}"


class Desk(Worker):
    """Takes bookings, and knows where each car should stand."""

    def __init__(self, agent_id: str, firm: Firm) -> None:
        super().__init__(agent_id, firm)
        self.places: dict[str, str] = {}

    @trace_agent_action()
    def enter_place(self, car: str, yard: str, job: str) -> str:
        self.places[car] = yard
        return "entered"

    @trace_agent_action()
    def book(self, ride: str, member: str, car: str, km: int, road: str) -> str:
        return self.places[car]


class Line(Worker):
    @trace_agent_action()
    def take_call(self, note: str, member: str, about: str, words: str) -> str:
        return "thanked"


class Firm:
    """The company, and what each case plans with it."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng, self.serial = case, case.rng("carshare"), 700
        self.passed_over = ""
        self.stiff: set[str] = set()
        self.handed_on: set[str] = set()
        self.unmarked: set[str] = set()
        self.yard, self.wrong_yard = self.rng.sample(YARDS, 2)
        self.car = self.rng.choice(CARS[:12])
        lag = case.end - case.begin
        count = max(1, min(5, lag - 1))
        self.leaks = [case.begin + place * (lag - 1) // count for place in range(count)]
        self.cars = {name: Car(name, self) for name in CARS}
        self.kiosks = {yard: Kiosk(f"kiosk_{yard.split('_')[0]}", self) for yard in YARDS}
        own = len(self.leaks) + 1 if case.has("leaked_resource") else 4
        self.yards = {yard: Yard(yard, self, own if yard == self.yard else 2) for yard in YARDS}
        self.attendants = {
            yard: Attendant(f"attendant_{yard[0]}{place}", self, self.yards[yard])
            for place, yard in enumerate(YARDS, 1)
        }
        self.keyring, self.mechanic = Keyring("keyring", self), Mechanic("workshop_olga", self)
        self.jockeys = [Jockey(name, self) for name in JOCKEYS]
        self.desk, self.line = Desk("booking_desk", self), Line("member_line", self)
        self.charging: list[tuple[str, str, str]] = []
        self.throttled: list[tuple[int, str, str]] = []
        if case.has("misrouted_thing") or case.has("stale_cache"):
            self.cars[self.car].__dict__["spot"] = self.wrong_yard
        for name, car in self.cars.items():
            self.desk.enter_place(name, car.__dict__["spot"], "stocktaking")
            for kiosk in self.kiosks.values():
                kiosk.copy_code(name, "first", car.pin)

    def number(self, letter: str) -> str:
        self.serial += self.rng.randint(1, 4)
        return f"{letter}-{self.serial}"

    def charge(self, yard: str, car: str) -> str:
        """Start to charge a car; it is unplugged at the next step."""
        slip = self.number("C")
        if self.rng.random() < 0.12:
            self.stiff.add(slip)
        if self.attendants[yard].start_charge(slip, car) == "charging":
            self.charging.append((slip, yard, car))
        self.stiff.discard(slip)
        return slip

    def charges(self, now: int) -> None:
        """Unplug what is full, and plug in what comes back empty."""
        case = self.case
        planned = case.has("leaked_resource")
        for slip, yard, car in self.charging:
            if planned and yard == self.yard and now in self.leaks:
                if case.strikes("leaked_resource"):
                    self.unmarked.add(slip)
                if now in self.leaks[:3]:
                    guilty = self.attendants[yard].agent_id
                    case.root(call(guilty, "finish_charge", slip=slip), call(yard, "hold_slot", slip=slip))
            elif yard != self.yard and self.rng.random() < 0.15:
                self.handed_on.add(slip)
            self.attendants[yard].finish_charge(slip, car)
            if slip in self.handed_on:
                self.yards[yard].free_slot(self.charge_next(yard, slip))
        self.charging.clear()
        for yard in YARDS:
            wanted = 1 if yard == self.yard else self.rng.choice((0, 1, 1, 2, 3))
            if (
                planned
                and yard == self.yard
                and now not in {each - 1 for each in self.leaks} | {case.end - 1}
            ):
                wanted = self.rng.choice((0, 1))
            for car in self.rng.sample([c for c in CARS if c != self.car], wanted):
                self.charge(yard, car)
        if planned and now == case.end - 1:
            self.ride(now, self.car, 165, "country")
            slip = self.charge(self.yard, self.car)
            case.hop(call(self.yard, "hold_slot", slip=slip))

    def charge_next(self, yard: str, slip: str) -> str:
        """Let the next car have the cable; it drives off within the hour."""
        self.attendants[yard].lock_plug(f"{slip}b")
        return f"{slip}b"

    def codes(self, now: int) -> None:
        """Rotate lock codes."""
        planned = self.case.has("stale_cache") and now == self.case.begin
        if not planned and self.rng.random() > 0.22:
            return
        car = (
            self.car
            if planned
            else self.rng.choice([each for each in CARS if each != self.car or now < self.case.begin])
        )
        issue, code = self.number("I"), self.rng.randint(1000, 9999)
        self.passed_over = self.yard if planned and self.case.strikes("stale_cache", now) else ""
        self.keyring.rotate(car, issue, code)
        self.passed_over = ""
        if planned:
            self.case.root(call("keyring", "rotate", issue=issue))

    def checks(self, now: int) -> None:
        """The workshop looks at cars, which are held to a low speed meanwhile."""
        for item in [each for each in self.throttled if each[0] <= now]:
            self.throttled.remove(item)
            _, job, car = item
            self.mechanic.test_drive(job, car)
            mine = car == self.car and self.case.has("forgotten_undo") and now == self.case.begin
            if not (mine and self.case.strikes("forgotten_undo", now)):
                self.mechanic.throttle(job, car, 130)
            self.mechanic.close_job(job, car)
            if mine:
                acts = ("throttle", "test_drive", "close_job")
                self.case.root(*(call("workshop_olga", act, job=job) for act in acts))
        planned = self.case.has("forgotten_undo") and now == self.case.begin - 1
        if planned or self.rng.random() < 0.25:
            busy = {car for _, _, car in self.throttled} | {self.car}
            car = self.car if planned else self.rng.choice([each for each in CARS[:12] if each not in busy])
            job, top = self.number("W"), self.rng.choice((50, 60))
            self.mechanic.throttle(job, car, top)
            self.throttled.append((now + (1 if planned else self.rng.randint(1, 4)), job, car))

    def moves(self, now: int) -> None:
        """Jockeys move cars; who finds a yard full goes to another one, and tells the desk."""
        case, rng = self.case, self.rng
        mine = case.has("misrouted_thing") and now == case.begin
        late = case.has("stale_cache") and now == case.end
        jobs = [self.car] if mine or late else []
        jobs += rng.sample([each for each in CARS if each != self.car], rng.randint(0, 2))
        for car in jobs:
            kept = car == self.car
            job, jockey, to = (
                self.number("M"),
                rng.choice(self.jockeys),
                self.yard if kept else rng.choice(homes(car)),
            )
            full = rng.random() < 0.15 and not kept
            stop = rng.choice([yard for yard in homes(car) if yard != to]) if full else to
            if kept and mine and case.strikes("misrouted_thing", now):
                stop = self.wrong_yard
            jockey.relocate(job, car, to, stop)
            self.desk.enter_place(car, stop if full else to, job)
            if kept and mine:
                case.root(call(jockey.agent_id, "park", job=job))
                case.hop(call("booking_desk", "enter_place", job=job))

    def ride(self, now: int, name: str, km: int, road: str) -> None:
        """A member books a car, opens it and drives; some call afterwards."""
        case, rng, car = self.case, self.rng, self.cars[name]
        ride, member = self.number("R"), rng.choice(MEMBERS)
        yard = self.desk.book(ride, member, name, km, road)
        steps, words = [call("booking_desk", "book", ride=ride)], ""
        if car.__dict__["spot"] != yard:
            words = "the bay is empty"
        else:
            code = self.kiosks[yard].hand_out(ride, name)
            steps += [
                call(self.kiosks[yard].agent_id, "hand_out", ride=ride),
                call(name, "unlock", ride=ride),
            ]
            slip = rng.random() < 0.08
            opened = car.unlock(ride, code + rng.randint(1, 9) if slip else code)
            if opened != "open" and car.unlock(ride, code) != "open":
                words = "door stays shut"
            else:
                seen = car.drive(ride, km, road)
                steps.append(call(name, "drive", ride=ride))
                words = "stranded" if seen["km"] < km else ""
                words = "crawled along" if road == "motorway" and seen["top"] < 90 else words
        if (
            now == case.end
            and name == self.car
            and (case.has("forgotten_undo") or case.has("leaked_resource"))
        ):
            case.trigger(steps[0])
        if words or rng.random() < 0.3:
            note = self.number("N")
            self.line.take_call(note, member, name, words or rng.choice(SMALL_TALK))
            if words:
                case.hop(*steps)
                case.symptom(call("member_line", "take_call", note=note), *self.texts(words, member, km))

    def texts(self, words: str, member: str, km: int) -> list[str]:
        """What is then written to the company."""
        other = next(each for each in CARS if each not in {self.car, *VANS})
        return [
            text.format(
                car=self.car, yard=self.yard, member=member, km=km, place=self.yard.split("_")[0], other=other
            )
            for text in TEXTS[words]
        ]

    def rides(self, now: int) -> None:
        """Everyday rides, and at the end the one of the case."""
        out = {car for _, _, car in self.throttled} | {self.car}
        out |= {name for name, car in self.cars.items() if car.battery < 60}
        for name in self.rng.sample(sorted(set(CARS) - out), 3):
            self.ride(
                now, name, self.rng.randint(4, 60), self.rng.choice(("city", "city", "country", "motorway"))
            )
        waits = (self.case.has("misrouted_thing") or self.case.has("stale_cache")) and now >= self.case.begin
        if now == self.case.end:
            far = self.case.has("forgotten_undo") or self.case.has("leaked_resource")
            self.ride(now, self.car, 96 if far else self.rng.randint(9, 30), "motorway" if far else "city")
        elif (
            not waits
            and self.rng.random() < 0.15
            and now < self.case.end - 1
            and self.cars[self.car].battery > 60
        ):
            self.ride(now, self.car, self.rng.randint(3, 9), "city")


TEXTS = {
    "the bay is empty": (
        "{member} stood in an empty bay, the car was just not there although it was booked for {place}",
        "Where is {car}? The app said {yard}, I walked the rows twice",
        "a booked car could not be found in the yard, member walked home in the rain",
    ),
    "door stays shut": (
        "The door would not open for {member}, whatever was typed in, with the number from your machine",
        "{car} does not accept the code that I was given at {place}!",
        "member {member} locked out. Others opened {other} at the same time without trouble",
    ),
    "crawled along": (
        "I was hooted at all the way: {car} would not go faster than a moped on the motorway",
        "{member} took ages for {km} km because the car does not pull, and missed a flight",
        "why is that car so slow?? everything else overtook us ({member})",
    ),
    "stranded": (
        "{member} was left at the roadside with a flat battery, {km} km were booked and paid for",
        "{car} stopped dead half way. It should have been full when I took it",
        "one of our cars went out uncharged from {yard} and had to be towed, why was that?",
    ),
}


def chores(now: int, firm: Firm) -> None:
    """What goes on anyway, and a more striking thing shortly before the symptom."""
    rng = firm.rng
    people: list[Worker] = [*firm.jockeys, *firm.attendants.values(), firm.mechanic, firm.desk, firm.line]
    for worker in rng.sample(people, 2):
        dice = rng.random()
        if dice < 0.3:
            worker.log.log_action(
                rng.choice(("sweep", "fetch_coffee", "top_up_washer")), {"minutes": rng.randint(2, 25)}
            )
        elif dice < 0.4:
            worker.log.warning(rng.choice(("radio weak", "gate slow to open", "tablet restarted")))
        elif dice < 0.47:
            worker.log.log_action("set_display", {"contrast": rng.randint(1, 9)})
    if now == firm.case.decoy_at:
        worker = rng.choice(people)
        if rng.random() < 0.5:
            worker.log.error("mobile network was down", extra={"minutes": rng.randint(2, 30)})
        else:
            worker.log.log_action("set_threshold", {"reserve_km": 25, "was": 20})


def play(case: Case) -> None:
    """Play some weeks, half a day at a time."""
    steps = case.rng("length").choice((30, 45, 65, 85))
    case.window(steps, 3 if case.has("leaked_resource") else 1)
    firm = Firm(case)
    for now in range(steps):
        with tick(now):
            chores(now, firm)
            firm.charges(now)
            firm.codes(now)
            firm.checks(now)
            firm.moves(now)
            firm.rides(now)


WORLD = World(
    "carshare",
    "spans",
    ("leaked_resource", "forgotten_undo", "stale_cache", "misrouted_thing"),
    play,
    author=19,
)
