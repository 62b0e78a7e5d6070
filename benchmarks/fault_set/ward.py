"""An emergency ward: triage calls patients, doctors ask the lab and the pharmacy; all of it told by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick
from Agent.record.messages import Message
from benchmarks.fault_set.case import Plan, Truth, World

INSULIN_ABOVE = 11.0
TREATMENT_TICKS = 4


@dataclass
class Patient:
    """Somebody in the ward; the glucose is the true one, in mmol/L."""

    name: str
    priority: float | str
    came: int
    glucose: float


@dataclass
class Doctor:
    """Has up to three patients before the door and treats one."""

    agent_id: str
    log: AgentLogger
    inbox: list[tuple[Message, Patient]] = field(default_factory=list)
    patient: Patient | None = None
    since: int = 0
    medicine: str = ""
    on_duty: bool = True
    told_away: bool = False


class Ward:
    """Everybody who works here, and the waiting room."""

    def __init__(self, plan: Plan, rush: bool) -> None:
        self.plan, self.rush = plan, rush
        self.triage = AgentLogger("triage", "nurse")
        self.lab = AgentLogger("lab", "laboratory")
        self.pharmacy = AgentLogger("pharmacy", "pharmacy")
        self.ambulance = AgentLogger("ambulance", "ambulance")
        self.metrics = PerformanceLogger()
        self.doctors = [
            Doctor(plan.name("doctor", n), AgentLogger(plan.name("doctor", n), "doctor"))
            for n in range(plan.size)
        ]
        self.arrivals = plan.chance("arrivals")
        self.analyser = plan.chance("analyser")
        self.waiting: list[Patient] = []
        self.announced: list[tuple[int, Patient]] = []
        self.weak: list[tuple[int, Patient]] = []
        self.samples: list[tuple[int, Doctor, Patient]] = []
        self.orders: list[Message] = []
        self.dispensed = 0
        self.doses: dict[str, int] = {}
        self.waiting_points = 0.8
        self.sheet = (5.5, "mmol/L")
        self.factor = 1.0
        self.seen = 100

    def patient(self, now: int, priority: float | str) -> Patient:
        self.seen += 1
        glucose = round(
            self.arrivals.uniform(12, 17) if self.arrivals.random() < 0.2 else self.arrivals.uniform(4, 9), 1
        )
        return Patient(f"p_{self.seen}", priority, now, glucose)

    def admit(self, now: int) -> None:
        """Who walks in, who was announced, and who comes back."""
        share = 0.175 + (0.1 if self.rush and now % 24 > 17 else 0.0)
        walk_in = sum(self.arrivals.random() < share for _ in self.doctors)
        for _ in range(walk_in + (2 * self.plan.size if now == 0 else 0)):
            found = self.patient(now, self.arrivals.randint(1, 9))
            self.triage.log_decision(
                "priority", {"patient": found.name, "priority": found.priority}, "first look"
            )
            self.waiting.append(found)
        for due, found in [pair for pair in self.announced if pair[0] == now]:
            self.announced.remove((due, found))
            self.triage.log_action("take_over", {"patient": found.name, "from": "ambulance"})
            self.waiting.append(found)
        for due, found in [pair for pair in self.weak if pair[0] == now]:
            self.weak.remove((due, found))
            self.triage.log_action("readmit", {"patient": found.name, "complaint": "weak and dizzy"})
            self.waiting.append(Patient(found.name, 8, now, found.glucose))

    def announce(self, now: int, priority: float | str) -> tuple[str, str]:
        """The ambulance tells whom it brings in two rounds; gives the events of the message."""
        found = self.patient(now, priority)
        message = self.ambulance.send("triage", {"announce": found.name, "priority": priority, "rounds": 2})
        received = self.triage.receive(message)
        found.came = now + 2
        self.announced.append((now + 2, found))
        return message.event_id, received

    def call(self, now: int) -> None:
        """The most urgent go to the doctors that have room; whoever waits gains points."""
        try:
            self.waiting.sort(
                key=lambda one: one.priority + self.waiting_points * (now - one.came),  # type: ignore[operator]
                reverse=True,
            )
        except TypeError:
            self.triage.exception("the waiting room could not be sorted", {"waiting": len(self.waiting)})
            return
        for doctor in self.doctors:
            room = 2 - len(doctor.inbox) - (doctor.patient is not None)
            if room > 0 and self.waiting and not doctor.told_away:
                found = self.waiting.pop(0)
                body = {"patient": found.name, "priority": found.priority, "waited": now - found.came}
                doctor.inbox.append((self.triage.send(doctor.agent_id, body), found))

    def treat(self, doctor: Doctor, now: int) -> None:
        """What one doctor does in a round."""
        if not doctor.on_duty:
            return
        if doctor.patient is None and doctor.inbox:
            message, doctor.patient = doctor.inbox.pop(0)
            doctor.log.receive(message)
            doctor.since = now
            self.lab.receive(doctor.log.send("lab", {"patient": doctor.patient.name, "test": "glucose"}))
            self.samples.append((now + 2, doctor, doctor.patient))
        elif doctor.patient is not None and now - doctor.since >= TREATMENT_TICKS:
            found, doctor.patient = doctor.patient, None
            wrong = doctor.medicine == "insulin" and found.glucose < INSULIN_ABOVE
            wrong = wrong or self.doses.pop(found.name, 1) > 1
            state = "weak" if wrong else "well"
            doctor.log.log_action(
                "discharge", {"patient": found.name, "state": state, "stay": now - found.came}
            )
            if wrong:
                self.weak.append((now + 4, found))

    def analyse(self, now: int) -> None:
        """Results of the lab go back, and what follows from them to the pharmacy."""
        for due, doctor, found in [sample for sample in self.samples if sample[0] == now]:
            self.samples.remove((due, doctor, found))
            value = round(found.glucose * self.factor * self.analyser.uniform(0.98, 1.02), 1)
            doctor.log.receive(self.lab.send(doctor.agent_id, {"patient": found.name, "glucose": value}))
            doctor.medicine = "insulin" if value > INSULIN_ABOVE else "fluids"
            chosen = {"patient": found.name, "medicine": doctor.medicine}
            doctor.log.log_decision("treatment", chosen, f"glucose {value}")
            self.orders.append(doctor.log.send("pharmacy", {"order": len(self.orders), **chosen}))
            self.dispense(self.orders[-1])

    def dispense(self, order: Message) -> None:
        self.pharmacy.receive(order)
        self.pharmacy.log_action(
            "dispense", {key: order.body[key] for key in ("order", "patient", "medicine")}
        )
        self.dispensed += 1
        self.doses[order.body["patient"]] = self.doses.get(order.body["patient"], 0) + 1

    def calibrate(self) -> str:
        """The factor that makes the reference sample come out right; gives the event."""
        reference, unit = self.sheet
        measured = round(5.5 * self.analyser.uniform(0.97, 1.03), 2)
        self.factor = reference / measured
        data = {"analyser": "A2", "unit": unit, "reference": reference, "measured": measured}
        return self.lab.log_action("calibrate", data)

    def resume(self, next_order: int) -> str:
        """The pharmacy's terminal is back and takes orders from that number on; gives the event."""
        event = self.pharmacy.log_action("resume_queue", {"next_order": next_order})
        for order in self.orders[next_order:]:
            self.dispense(order)
        return event


def run(plan: Plan, truth: Truth, rush: bool = False) -> None:
    """One session of the ward, a round being ten minutes."""
    ward, system = Ward(plan, rush), SystemLogger("ward")
    system.log_simulation_start("ward", {"doctors": plan.size, "minutes_per_tick": 10})
    for now in range(plan.ticks):
        with tick(now):
            if now == plan.ticks // 5:
                system.log_config("screen_saver_minutes", 5, 15)
            if now % 12 == 1:
                ward.calibrate()
            if now % 9 == 6:
                ward.resume(len(ward.orders))
            if now % 15 == 8:
                points = round(ward.arrivals.uniform(0.75, 0.85), 2)
                _queueing(ward, points if ward.waiting_points else 0.0, "review of the week")
            if now % 5 == 2:
                ward.announce(now, ward.arrivals.randint(6, 9))
            _breaks(ward, now)
            _plant(plan, truth, ward, now)
            ward.admit(now)
            ward.call(now)
            for doctor in ward.doctors:
                ward.treat(doctor, now)
            ward.analyse(now)
            ward.metrics.log_metric("waiting", len(ward.waiting), "patients")
            if now % 10 == 9:
                ward.pharmacy.log_action(
                    "stock_take", {"orders": len(ward.orders), "dispensed": ward.dispensed}
                )
    system.log_simulation_end("ward", "finished")


def _queueing(ward: Ward, points: float, reason: str) -> str:
    old, ward.waiting_points = ward.waiting_points, points
    return ward.triage.log_strategy_update(
        "queue", {"points_per_round": old}, {"points_per_round": points}, reason
    )


def _breaks(ward: Ward, now: int) -> None:
    """Doctors go away for three rounds, and say so before."""
    doctor = ward.doctors[(now // 8) % ward.plan.size]
    if now < 8 or (doctor is ward.doctors[ward.plan.victim] and now + 10 > ward.plan.at):
        return
    if now % 8 == 2:
        doctor.told_away = True
        ward.triage.receive(doctor.log.send("triage", {"available": False}))
        doctor.log.log_state_change("on_duty", "off_duty", trigger="break")
        doctor.on_duty = False
    elif now % 8 == 5 and not doctor.on_duty:
        doctor.told_away, doctor.on_duty = False, True
        doctor.log.log_state_change("off_duty", "on_duty", trigger="break")
        ward.triage.receive(doctor.log.send("triage", {"available": True}))


def _plant(plan: Plan, truth: Truth, ward: Ward, now: int) -> None:
    victim = ward.doctors[plan.victim]
    if plan.begins("unit_mixup", now):
        ward.sheet = (99.0, "mg/dL")  # the same sample in the other unit; doctors still think in mmol/L
        truth.note(ward.calibrate())
    if plan.begins("starvation", now):
        truth.note(_queueing(ward, 0.0, "the sickest first"))
    if plan.begins("duplicate_delivery", now):
        truth.note(ward.resume(len(ward.orders) - plan.rng.randint(5, 7)))
    if plan.begins("silent_agent", now):
        truth.note(victim.log.log_state_change("on_duty", "off_duty", trigger="break"))
        victim.on_duty = False
    if plan.begins("poisoned_message", now):
        truth.note(*ward.announce(now, "8 of 10"))


WORLD = World(
    name="ward",
    run=run,
    prefix="doctor",
    sizes=(5, 8),
    ticks=(60, 90),
    complaints={
        "unit_mixup": "since about tick {when} nearly everybody is put on insulin, and people come back weak and dizzy",
        "starvation": "people with small injuries sit in the waiting room for hours, others who came much later go first",
        "duplicate_delivery": "several patients were given their medicine twice",
        "silent_agent": "nobody treats the patients that triage sent to {victim} any more",
        "poisoned_message": "nobody is called from the waiting room any more, it gets fuller and fuller",
    },
)
CALM = World(
    name="ward_rush",
    run=partial(run, rush=True),
    prefix="doctor",
    sizes=(4, 9),
    ticks=(50, 100),
    complaints={
        "suspects_agent": "{victim} seems to treat fewer patients than the others, is something wrong there?",
        "suspects_lab": "I do not trust the glucose values of the lab since about tick {when}",
        "suspects_waiting": "the waiting room is too full in the evenings, triage must be doing something wrong",
    },
)
