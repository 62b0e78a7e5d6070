"""Ten people with a glucose sensor and an insulin pump, their relatives, and a coach with a model."""

from __future__ import annotations

import random
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Fault, pick

HOURS = 240
SETUP = {"fault": ""}


class Sensor:
    """Measures under the skin; a finger prick calibrates it every two days."""

    def __init__(self, agent_id: str, dice: random.Random) -> None:
        self.agent_id = agent_id
        self.dice = dice
        self.factor = 1.0
        self.last = 115

    @trace_agent_action()
    def read(self, blood: float, hour: int) -> float:
        """Return the reading in mg/dl."""
        value = blood * self.factor + self.dice.uniform(-6, 6)
        if SETUP["fault"] == "drift" and self.agent_id == "sensor_7" and hour > 64:
            value -= 1.2 * min(hour - 64, 80)
        self.last = round(max(40.0, value))
        return self.last

    @trace_agent_action()
    def calibrate(self, prick: float, unit: str) -> float:
        """Set the factor from a finger prick."""
        mg = prick * 18.0 if unit == "mmol/l" else prick
        self.factor = round(min(1.1, max(0.4, self.factor * mg / self.last)), 3)
        return self.factor


class Patient:
    """A body with a pump."""

    def __init__(self, number: int, seed: int) -> None:
        self.agent_id = f"patient_{number}"
        self.dice = random.Random(f"{seed}-{number}")
        self.log = AgentLogger(self.agent_id, "patient")
        self.sensor = Sensor(f"sensor_{number}", random.Random(f"{seed}s{number}"))
        self.blood = 120.0
        self.carb_ratio = 12.0
        self.sensitivity = 40.0
        self.follows_until = HOURS
        self.units = 0.0
        self.lows = 0
        self.highs: list[int] = []

    def live(self, hour: int) -> int:
        """Eat, dose, and burn through an hour; return the reading."""
        meal = self.dice.choice([40, 50, 60, 70]) if hour % 24 in {7, 12, 18} else 0
        drop = self.dice.uniform(-7, 7)
        party = self.dice.random() < 0.015 or hour % 48 == 22
        reading = self.sensor.read(round(self.blood, 1), hour)
        dose = self.dose(reading, meal)
        self.units += dose
        if meal:
            self.log.log_action("bolus", {"hour": hour, "reading": reading, "grams": meal, "units": dose})
        if hour % 8 == 5:
            self.log.log_action("pump_report", {"hour": hour, "units": round(self.units, 1)})
            self.units = 0.0
        effect = dose * self.sensitivity - 3.33 * meal - 10
        self.blood = max(38.0, self.blood - effect + drop + 0.12 * (115 - self.blood) - (55 if party else 0))
        if self.blood > 175:
            self.highs.append(hour)
        return reading

    def dose(self, reading: int, meal: int) -> float:
        """Let the pump compute a dose from the reading and the carbohydrates of a meal."""
        correction = (reading - 115) / self.sensitivity * 0.35 if reading > 130 or reading < 100 else 0
        basal = 0.25 * min(2.0, max(0.0, (reading - 70) / 45))
        return round(max(0.0, meal / self.carb_ratio + basal + correction), 2)

    @trace_agent_action()
    def set_carb_ratio(self, grams: float, advised_by: str) -> float:
        """Take over a new carbohydrate ratio."""
        old, self.carb_ratio = self.carb_ratio, grams
        return round(grams - old, 2)


class AdviceModel:
    """Proposes carbohydrate ratios from the readings of a week."""

    def __init__(self) -> None:
        self.agent_id = "advice_model"

    @trace_agent_action()
    def propose(self, patient: str, week: int, mean_reading: float) -> dict[str, Any]:
        """Return a proposal with its confidence."""
        grams = 12.0 if mean_reading < 150 else 11.5
        if SETUP["fault"] == "wrong_advice" and patient == "patient_2" and week == 1:
            grams = 27.0
        return {"grams_per_unit": grams, "confidence": 0.9 if mean_reading < 150 else 0.7}


class Clinic:
    """The coach, the portal with its permissions, and the relatives who are called at night."""

    def __init__(self, seed: int) -> None:
        self.patients = [Patient(number, seed) for number in range(1, 11)]
        self.coach, self.portal = AgentLogger("coach", "nurse"), AgentLogger("portal", "service")
        self.relatives = {
            p.agent_id: AgentLogger(f"relative_{p.agent_id[8:]}", "relative") for p in self.patients
        }
        self.model = AdviceModel()
        self.unseen: dict[str, int] = {}
        self.readings: dict[str, list[int]] = {p.agent_id: [] for p in self.patients}

    def grant(self, hour: int) -> None:
        """Renew the right of the relatives to follow the readings."""
        for patient in self.patients:
            days = 2 if SETUP["fault"] == "early_end" and patient.agent_id == "patient_9" else 20
            patient.follows_until = hour + 24 * days
            data = {"patient": patient.agent_id, "to": self.relatives[patient.agent_id].agent_id}
            self.portal.log_action("grant_follow", {**data, "until_hour": patient.follows_until})

    def watch(self, patient: Patient, hour: int, reading: int) -> None:
        """Alarm a relative if the blood sugar is low at night."""
        if reading >= 70:
            return
        patient.lows += 1
        if hour < patient.follows_until:
            alarm = self.portal.send(self.relatives[patient.agent_id].agent_id, {"reading": reading})
            relative = self.relatives[patient.agent_id]
            relative.receive(alarm)
            patient.blood += 40
            relative.log_action("give_juice", {"patient": patient.agent_id, "hour": hour})
        else:
            self.unseen[patient.agent_id] = self.unseen.get(patient.agent_id, 0) + 1
            patient.log.warning("low reading, nobody came", extra={"reading": reading})

    def review(self, week: int) -> None:
        """Ask the model for each patient and pass its advice on."""
        for patient in self.patients:
            last = self.readings[patient.agent_id][-72:]
            advice = self.model.propose(patient.agent_id, week, round(sum(last) / len(last), 1))
            self.coach.log_decision(
                "accept_advice", {"patient": patient.agent_id, **advice}, "within the limits"
            )
            patient.set_carb_ratio(advice["grams_per_unit"], "coach")

    def pricks(self, hour: int) -> None:
        """Calibrate all sensors with a finger prick."""
        for patient in self.patients:
            value, unit = round(patient.blood), "mg/dl"
            if patient.agent_id in {"patient_4", "patient_6"} and hour > 80:  # they have new meters
                value, unit = round(patient.blood / 18, 1), "mmol/l"
                if SETUP["fault"] == "unit" and patient.agent_id == "patient_4":
                    unit = "mg/dl"
            patient.sensor.calibrate(value, unit)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Live for ten days."""
    SETUP["fault"] = fault
    clinic, gauge, system = Clinic(seed), PerformanceLogger("portal"), SystemLogger("portal")
    system.log_simulation_start("ten days", {"patients": 10})
    for hour in range(HOURS):
        with tick(hour):
            if hour == 60:
                clinic.grant(hour)
            if hour in {48, 90, 190}:
                clinic.pricks(hour)
            if hour in {72, 216}:
                clinic.review(1 if hour == 72 else 2)
            if hour == 130:
                system.log_config("reading_interval_minutes", 60, 60, {"smoothing": "off"})
            for patient in clinic.patients:
                reading = patient.live(hour)
                clinic.readings[patient.agent_id].append(reading)
                clinic.watch(patient, hour, reading)
            if hour % 12 == 11:
                low = sum(values[-1] < 70 for values in clinic.readings.values())
                gauge.log_metric("low_now", low, "patients")
    late = {p.agent_id: sum(hour > 100 for hour in p.highs) for p in clinic.patients}
    return {
        "late_highs": late,
        "unseen": clinic.unseen,
        "lows": {p.agent_id: p.lows for p in clinic.patients},
    }


FAULTS = {
    "drift": Fault(
        "patient_7 had low alarms one after the other in the last days and was high nevertheless",
        lambda f, h: f["late_highs"]["patient_7"] > h["late_highs"]["patient_7"] + 8,
        lambda events: pick(events, "sensor_7", "read", lambda hour: hour > 64),
    ),
    "unit": Fault(
        "Why is the sugar of patient_4 so high since the fifth day, with hardly any insulin given?",
        lambda f, h: f["late_highs"]["patient_4"] > h["late_highs"]["patient_4"] + 8,
        lambda events: pick(events, "sensor_4", "calibrate", lambda hour: hour > 80),
    ),
    "wrong_advice": Fault(
        "After every meal patient_2 is far above 175 now, that was not so in the first days",
        lambda f, h: f["late_highs"]["patient_2"] > h["late_highs"]["patient_2"] + 8,
        lambda events: pick(
            events, "advice_model", "propose", 72, lambda e: e.args["patient"] == "patient_2"
        ),
    ),
    "early_end": Fault(
        "nobody came when patient_9 had a low reading, earlier somebody always did",
        lambda f, h: f["unseen"].get("patient_9", 0) > h["unseen"].get("patient_9", 0),
        lambda events: pick(
            events, "portal", "grant_follow", where=lambda e: e.args["patient"] == "patient_9"
        ),
    ),
}
