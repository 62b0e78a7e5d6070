"""A hospital: desks reserve beds, wards place and discharge patients, cleaners make beds ready. Decorated methods.

One tick is an hour. Evidence: nested calls (spans), no recorded causes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

MEDICINES = ("amoxicillin", "codeine", "aspirin", "ibuprofen")


@dataclass
class House:
    """The shared boards of the hospital."""

    case: Case
    beds: dict[str, str] = field(default_factory=dict)  # bed -> ready, dirty, blocked or the patient in it
    booked: dict[str, list[str]] = field(default_factory=dict)  # bed -> patients that it is promised to
    charts: dict[str, dict[str, Any]] = field(default_factory=dict)
    same_as: dict[str, str] = field(default_factory=dict)


class Staff:
    """Somebody who works here; the boards are not part of their state."""

    trace_ignore = ("house",)

    def __init__(self, house: House, agent_id: str, agent_role: str) -> None:
        self.house = house
        self.agent_id = agent_id
        self.agent_role = agent_role
        self.journal = AgentLogger(agent_id, agent_role)


class Desk(Staff):
    """A reception that promises beds to patients who come later."""

    @trace_agent_action()
    def look_up_beds(self, patient: str, ward: str) -> dict[str, Any]:
        free = [bed for bed, state in self.house.beds.items() if bed.startswith(ward) and state == "ready"]
        return {"patient": patient, "free": [bed for bed in free if not self.house.booked.get(bed)]}

    @trace_agent_action()
    def reserve(self, patient: str, bed: str, arrives: int) -> str:
        self.house.booked.setdefault(bed, []).append(patient)
        return f"{bed} for {patient} at {arrives}"

    @trace_agent_action()
    def register(self, patient: str, ward: Ward) -> str | None:
        return ward.place(patient, None)


class Ward(Staff):
    """A ward with its beds."""

    @trace_agent_action()
    def place(self, patient: str, bed: str | None) -> str | None:
        beds = self.house.beds
        if bed is None:
            bed = next(
                (
                    b
                    for b, s in beds.items()
                    if b.startswith(self.agent_id[-1]) and s == "ready" and not self.house.booked.get(b)
                ),
                None,
            )
            if bed is None:
                self.journal.log_decision("send_elsewhere", {"patient": patient})
                return None
        elif beds[bed] != "ready":
            found = self.journal.log_action(
                "bed_not_available", {"patient": patient, "bed": bed, "found": beds[bed]}
            )
            self.house.case.symptom(
                found,
                f"{patient} came for bed {bed} as agreed and could not have it, although it was promised",
                f"Why did {patient} have to wait in the corridor? Bed {bed} was reserved. ward_a worked as always",
                f"arrival of {patient}: bed {bed} not available, {self.agent_id} sent the patient away",
            )
            return None
        beds[bed] = patient
        return bed

    @trace_agent_action()
    def discharge(self, patient: str, bed: str, cleaner: Cleaner | None) -> None:
        self.house.beds[bed] = "dirty"
        if cleaner is not None:
            self.request_cleaning(bed, cleaner)

    @trace_agent_action()
    def request_cleaning(self, bed: str, cleaner: Cleaner) -> None:
        cleaner.clean(bed)

    @trace_agent_action()
    def block_bed(self, bed: str, reason: str) -> None:
        self.house.beds[bed] = "blocked"

    @trace_agent_action()
    def unblock_bed(self, bed: str) -> None:
        self.house.beds[bed] = "ready"

    @trace_agent_action()
    def prepare_dose(self, patient: str, medicine: str) -> dict[str, Any]:
        chart = self.house.charts[self.house.same_as.get(patient, patient)]
        return {
            "patient": patient,
            "medicine": medicine,
            "weight": chart["weight"],
            "avoid": chart["allergy"],
        }


class Cleaner(Staff):
    """Somebody who makes beds ready."""

    @trace_agent_action()
    def clean(self, bed: str) -> None:
        try:
            self.take_lift(bed)
        except TimeoutError:
            self.journal.warning("took the stairs", {"bed": bed})
        self.house.beds[bed] = "ready"

    @trace_agent_action()
    def take_lift(self, bed: str) -> None:
        self.lifts = getattr(self, "lifts", 0) + 1
        if self.lifts % 11 == 0:
            raise TimeoutError("lift does not come")


class Technician(Staff):
    """Somebody who repairs beds."""

    @trace_agent_action()
    def finish_work(self, bed: str, ward: Ward, *, hand_over: bool = True) -> None:
        if hand_over:
            ward.unblock_bed(bed)


class Records(Staff):
    """The office that keeps charts and joins those of one person."""

    @trace_agent_action()
    def open_chart(self, patient: str, surname: str, weight: int, allergy: str) -> None:
        self.house.charts[patient] = {"surname": surname, "weight": weight, "allergy": allergy}

    @trace_agent_action()
    def compare_charts(self, kept: str, other: str) -> dict[str, Any]:
        one, two = self.house.charts[kept], self.house.charts[other]
        return {"kept": one, "other": two}

    @trace_agent_action()
    def merge_charts(self, kept: str, other: str) -> None:
        self.house.same_as[other] = kept


class Pharmacist(Staff):
    """Gives out medicines by what the ward prepared."""

    @trace_agent_action()
    def dispense(self, order: dict[str, Any]) -> str:
        return f"{order['medicine']} to {order['patient']}"


def _next_bed(bed: str) -> str:
    return f"{bed[0]}{1 + int(bed[1:]) % 12}"


def play(case: Case) -> None:
    """Play the hospital for some days."""
    rng = case.rng("house")
    hours = rng.randint(60, 220)
    _, end = case.window(hours)
    house = House(case)
    wards = [Ward(house, f"ward_{letter}", "ward") for letter in "abcd"]
    house.beds = {f"{ward.agent_id[-1]}{number}": "ready" for ward in wards for number in range(1, 13)}
    desks = [Desk(house, f"desk_{side}", "desk") for side in ("north", "south")]
    cleaners = [Cleaner(house, f"cleaner_{number}", "cleaner") for number in (1, 2)]
    technician, office = (
        Technician(house, "technician", "technician"),
        Records(house, "records_office", "office"),
    )
    pharmacy, system = Pharmacist(house, "pharmacy", "pharmacy"), SystemLogger()

    guest, rival, patient_before = (f"p{n}" for n in rng.sample(range(30, 99), 3))
    slot = f"{rng.choice('bcd')}{rng.randint(1, 12)}"
    ward = next(ward for ward in wards if ward.agent_id[-1] == slot[0])
    leaving: dict[int, list[tuple[Ward, str, str]]] = {}
    arriving: dict[int, list[tuple[Ward, str, str]]] = {}
    due_doses: dict[int, list[tuple[Ward, str]]] = {}
    number = 100
    flow = rng.uniform(0.6, 2.4)

    def chart(patient: str, hour: int) -> None:
        office.open_chart(
            patient, rng.choice(("Berg", "Lind", "Holm", "Dahl")), rng.randint(48, 99), rng.choice(MEDICINES)
        )
        due_doses.setdefault(hour + rng.randint(2, 40), []).append((rng.choice(wards), patient))

    # The bed of the plan is set aside from the beginning, so that nobody else uses it in either twin.
    house.booked[slot] = ["planned"]
    if case.has("race"):
        house.booked[_next_bed(slot)] = ["planned"]
    with tick(0):
        office.open_chart(guest, "Berg", rng.randint(50, 70), "codeine")
        office.open_chart(rival, "Berg", rng.randint(80, 99), "aspirin")
        if case.has("omitted_step"):
            ward.place(patient_before, slot)
        if case.has("forgotten_undo"):
            ward.block_bed(slot, "wheel")
    for hour in range(1, hours):
        with tick(hour):
            if hour % 8 == 0:
                system.log_phase(f"shift_{hour // 8}")
            if rng.random() < 0.06:
                name = rng.choice(("visiting_hours", "meal_time", "noise_limit"))
                system.log_config(name, rng.randint(1, 9), rng.randint(1, 9))
            for home, patient, bed in leaving.pop(hour, ()):
                by_hand = rng.random() < 0.08  # the ward calls a cleaner itself, after the discharge
                home.discharge(patient, bed, None if by_hand else rng.choice(cleaners))
                if by_hand:
                    home.request_cleaning(bed, rng.choice(cleaners))
            for _ in range(int(flow) + (rng.random() < flow % 1)):
                number += 1
                home, patient = rng.choice(wards), f"p{number}"
                chart(patient, hour)
                if rng.random() < 0.3:  # comes later, to a reserved bed
                    desk = rng.choice(desks)
                    free = desk.look_up_beds(patient, home.agent_id[-1])["free"]
                    if rng.random() < 0.2:  # somebody asks at the other desk as well, and does not reserve
                        desks[1 - desks.index(desk)].look_up_beds(patient, home.agent_id[-1])
                    if free:
                        at = hour + rng.randint(1, 30)
                        desk.reserve(patient, free[0], at)
                        arriving.setdefault(at, []).append((home, patient, free[0]))
                else:
                    given = rng.choice(desks).register(patient, home)
                    if given is not None:
                        leaving.setdefault(hour + rng.randint(2, 14), []).append((home, patient, given))
            for home, patient, bed in arriving.pop(hour, ()):
                if home.place(patient, bed) is not None:
                    leaving.setdefault(hour + rng.randint(2, 14), []).append((home, patient, bed))
                house.booked[bed].remove(patient)
            for home, patient in due_doses.pop(hour, ()):
                medicine = next(m for m in MEDICINES if m != house.charts[patient]["allergy"])
                pharmacy.dispense(home.prepare_dose(patient, medicine))
            if (
                rng.random() < 0.12
            ):  # a bed is repaired and handed over; now and then by the ward itself, later
                fixed = f"a{rng.randint(1, 12)}"
                if house.beds[fixed] == "ready" and not house.booked.get(fixed):
                    wards[0].block_bed(fixed, rng.choice(("wheel", "rail")))
                    late = rng.random() < 0.3
                    technician.finish_work(fixed, wards[0], hand_over=not late)
                    if late:
                        wards[0].unblock_bed(fixed)
            if rng.random() < 0.08 and number > 110:  # one person who was registered twice
                one, two = f"p{number}", f"p{number}b"
                house.charts[two] = dict(house.charts[one])
                office.compare_charts(one, two)
                office.merge_charts(one, two)
            if hour == case.decoy_at or rng.random() < 0.02:
                rng_ward = ward if hour == case.decoy_at else rng.choice(wards)
                rng_ward.journal.log_action("fire_drill", {"minutes": 5})
            _fault(
                case,
                hour,
                house,
                ward,
                slot,
                guest,
                rival,
                patient_before,
                desks,
                cleaners[0],
                technician,
                office,
                pharmacy,
            )
            if case.has("race") and hour == end:
                ward.place(rival, slot)
            if hour == end and not case.has("wrong_merge"):
                ward.place(guest, house.charts[guest].get("bed", slot))  # the bed that was reserved


def _fault(
    case: Case,
    hour: int,
    house: House,
    ward: Ward,
    slot: str,
    guest: str,
    rival: str,
    before: str,
    desks: list[Desk],
    cleaner: Cleaner,
    technician: Technician,
    office: Records,
    pharmacy: Pharmacist,
) -> None:
    """Do what the plan has for this hour, with the fault or without it."""
    begin, end = case.begin, case.end
    if hour == begin:
        if case.has("omitted_step"):
            ward.discharge(before, slot, None if case.strikes("omitted_step") else cleaner)
            case.root(call(ward.agent_id, "discharge", patient=before))
            desks[0].reserve(guest, slot, end)
            case.hop(call(desks[0].agent_id, "reserve", patient=guest))
        elif case.has("forgotten_undo"):
            technician.finish_work(slot, ward, hand_over=not case.strikes("forgotten_undo"))
            case.root(call("technician", "finish_work", bed=slot))
            desks[1].reserve(guest, slot, end)
            case.hop(call(desks[1].agent_id, "reserve", patient=guest))
        elif case.has("race"):
            second = _next_bed(slot)
            house.booked[slot], house.booked[second] = [], []
            desks[0].look_up_beds(rival, slot[0])
            if case.strikes("race"):
                desks[1].look_up_beds(guest, slot[0])
                desks[0].reserve(rival, slot, end)
                desks[1].reserve(guest, slot, end)
            else:
                desks[0].reserve(rival, slot, end)
                desks[1].look_up_beds(guest, slot[0])
                desks[1].reserve(guest, second, end)
                house.charts[guest]["bed"] = second
            case.root(
                call(desks[1].agent_id, "reserve", patient=guest),
                call(desks[1].agent_id, "look_up_beds", patient=guest),
            )
        elif case.has("wrong_merge"):
            office.compare_charts(rival, guest)
            if case.strikes("wrong_merge"):
                office.merge_charts(rival, guest)
                case.root(call("records_office", "merge_charts", other=guest))
    if case.has("wrong_merge") and hour == end:
        own = house.charts[guest]
        order = ward.prepare_dose(guest, next(m for m in MEDICINES if m != own["allergy"]))
        pharmacy.dispense(order)
        if order["weight"] != own["weight"]:
            case.hop(call(ward.agent_id, "prepare_dose", patient=guest))
            case.symptom(
                call("pharmacy", "dispense", result=f"{order['medicine']} to {guest}"),
                f"{guest} got a dose for somebody else's weight",
                f"the pharmacy gave {guest} the wrong amount around hour {hour}, the scale shows another weight",
                f"wrong dose for {guest}, who is in {ward.agent_id}",
            )


WORLD = World("hospital", "spans", ("omitted_step", "forgotten_undo", "race", "wrong_merge"), play)
