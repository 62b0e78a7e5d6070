"""Clinics train a common model of recovery time without sharing records; three regions average what they send."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from Agent import AgentLogger, LearningLogger, SystemLogger, tick, trace_context, trace_learning_update
from benchmarks.fault_simulations.kit import Event, Fault, pick

ROUNDS = 44
CLINICS = [f"clinic_{number:02d}" for number in range(1, 23)]
REGIONS = ("region_north", "region_west", "region_south")
STEADY = ("clinic_05", "clinic_08", "clinic_17")
HELD_OUT = 40


class Clinic:
    """A clinic with its own patients, scanner and copy of the model."""

    agent_role = "clinic"

    def __init__(self, agent_id: str, seed: int) -> None:
        """Start with an empty model."""
        self.agent_id = agent_id
        self.model = [0.0, 0.0, 0.0]
        self.base = 0
        self._rng = random.Random(f"{agent_id} {seed}")
        self._patients = 150 if agent_id == "clinic_17" else self._rng.randint(12, 40)
        self._mean_days = 2.0
        self._log = AgentLogger(agent_id, "clinic")

    @trace_learning_update("fit")
    def fit(self, round_no: int, rate: float, patients: int, mean_scan: float) -> list[float]:
        """Train on the patients of a round; return the weights."""
        local = list(self.model)
        for _ in range(patients):
            dose, scan, days = self.patient(mean_scan)
            error = days - (local[0] + local[1] * dose + local[2] * scan)
            for at, value in enumerate((1.0, dose, scan)):
                local[at] += rate * error * value
        return [round(one, 4) for one in local]

    def patient(self, mean_scan: float) -> tuple[float, float, float]:
        """Draw a patient: dose, scanned size, and days until recovery."""
        dose, size = self._rng.gauss(0, 1), self._rng.gauss(0, 1)
        days = self._mean_days + 1.4 * dose - 0.8 * size + self._rng.gauss(0, 0.2)
        return dose, size + mean_scan, days


class Study:
    """The server, the regions and all clinics."""

    def __init__(self, seed: int, fault: str) -> None:
        """Set up everybody."""
        self.fault = fault
        self.rng = random.Random(f"study {seed}")
        self.clinics = {name: Clinic(name, seed) for name in CLINICS}
        self.home = {name: REGIONS[number % 3] for number, name in enumerate(CLINICS)}
        self.server = AgentLogger("server", "server")
        self.regions = {name: AgentLogger(name, "region") for name in REGIONS}
        self.auditors = {name: AgentLogger(name, "auditor") for name in ("audit_adult", "audit_child")}
        self.learning, self.system = LearningLogger("federated", "server", "server"), SystemLogger("study")
        self.tests = [self.clinics["clinic_22"].patient(0.0) for _ in range(HELD_OUT)]
        self.model = [0.0, 0.0, 0.0]
        self.rate = 0.05
        self.wear: dict[str, float] = dict.fromkeys(CLINICS, 0.0)
        self.losses: list[float] = []
        self.behind: dict[str, int] = {}

    def scan_quality(self, round_no: int, name: str) -> float:
        """Return the mean of the phantom scan of a clinic, which should be near 0."""
        clinic = self.clinics[name]
        if self.fault == "scanner_drift" and name == "clinic_17" and round_no >= 20:
            self.wear[name] += 0.08
        mean = round(self.wear[name] + clinic._rng.gauss(0, 0.02), 3)
        clinic._log.log_action("scan_phantom", {"round": round_no, "mean": mean})
        return mean

    def begin(self, round_no: int) -> list[str]:
        """Choose who takes part and send them the model, by their regions."""
        away = {name for name in CLINICS if self.rng.random() < 0.12} - set(STEADY)
        taking = [name for name in CLINICS if name not in away]
        self.server.log_decision("take_part", {"round": round_no, "clinics": len(taking)})
        for region, log in self.regions.items():
            stops = self.fault == "region_quiet" and region == "region_west" and round_no >= 25
            letter = self.server.send(
                region, {"round": round_no, "model": [round(one, 3) for one in self.model]}
            )
            log.receive(letter)
            if stops:
                continue
            for name in taking:
                if self.home[name] == region:
                    clinic = self.clinics[name]
                    clinic._log.receive(log.send(name, {"round": round_no}))
                    clinic.model, clinic.base = list(self.model), round_no
        return taking

    def train(self, round_no: int, taking: list[str]) -> dict[str, list[tuple[int, list[float]]]]:
        """Let the clinics train and report to their regions."""
        sent: dict[str, list[tuple[int, list[float]]]] = {name: [] for name in REGIONS}
        for name in taking:
            clinic = self.clinics[name]
            patients = max(4, clinic._patients + clinic._rng.randint(-6, 6))
            mean = self.scan_quality(round_no, name)
            if clinic._rng.random() < 0.02:
                clinic._log.warning("records came late from the archive, asked again")
            weights = clinic.fit(round_no, self.rate, patients, mean)
            if name == "clinic_08" and round_no == 31:
                weights[0] = round(weights[0] + 0.9, 4)
                patients = 1900 if self.fault == "count_too_big" else patients
            body = {"round": round_no, "patients": patients, "weights": weights, "from_round": clinic.base}
            self.regions[self.home[name]].receive(clinic._log.send(self.home[name], body))
            sent[self.home[name]].append((patients, weights))
            self.behind[name] = round_no - clinic.base
        return sent

    def average(self, round_no: int, sent: dict[str, list[tuple[int, list[float]]]]) -> None:
        """Average by numbers of patients, first in the regions, then on the server."""
        parts = []
        for region, log in self.regions.items():
            total = sum(count for count, _ in sent[region])
            if not total:
                continue
            mean = [round(sum(c * w[at] for c, w in sent[region]) / total, 4) for at in range(3)]
            made = log.log_action("average", {"round": round_no, "patients": total, "weights": mean})
            if self.fault == "region_quiet" and region == "region_west" and round_no >= 25:
                continue
            self.server.receive(log.send("server", {"patients": total, "weights": mean}, causes=made))
            parts.append((total, mean))
        everyone = sum(count for count, _ in parts)
        old = [round(one, 3) for one in self.model]
        self.model = [sum(count * mean[at] for count, mean in parts) / everyone for at in range(3)]
        self.learning.log_policy_update({"round": round_no}, old, [round(one, 3) for one in self.model])

    def judge(self, round_no: int) -> None:
        """Try the model on the patients that were held out."""
        error = 0.0
        for dose, scan, days in self.tests:
            error += abs(days - (self.model[0] + self.model[1] * dose + self.model[2] * scan))
        loss = round(error / HELD_OUT, 4)
        self.losses.append(loss)
        for name, log in self.auditors.items():
            shown = round(loss + self.rng.uniform(0, 0.01), 4)
            log.log_action("try_model", {"round": round_no, "days_off": shown, "group": name[6:]})
        self.learning.log_convergence("days_off", loss, loss < 0.3, 0.3)

    def settle(self, round_no: int) -> None:
        """Do what is planned for a round: rates, phantoms, versions."""
        if round_no in {10, 20, 30, 40}:
            new = round(self.rate * {10: 0.9, 20: 0.8, 30: 0.9, 40: 0.8}[round_no], 4)
            self.set_rate(round_no, new)
        if round_no in {19, 26, 37}:
            name = {19: "clinic_17", 26: "clinic_05", 37: "clinic_21"}[round_no]
            self.clinics[name]._log.log_action("service_scanner", {"round": round_no, "hours": 2})
        if round_no == 34:
            self.server.log_action("renew_keys", {"clinics": len(CLINICS)})

    def set_rate(self, round_no: int, new: float) -> None:
        """Set the rate of learning for the next rounds."""
        if self.fault == "rate_rounded" and round_no == 10:
            new = round(new, 1)
        self.system.log_config("rate", self.rate, new, {"round": round_no})
        self.rate = new

    def season(self, round_no: int) -> None:
        """Let a better treatment change recovery in the middle of the study."""
        if round_no == 11:
            self.system.log_milestone("new treatment", {"clinics": len(CLINICS)})
            self.tests = [(dose, scan, days + 0.45) for dose, scan, days in self.tests]
            for clinic in self.clinics.values():
                clinic._mean_days = 2.45

    def play(self, round_no: int) -> None:
        """Play one round."""
        self.settle(round_no)
        self.season(round_no)
        taking = self.begin(round_no)
        with trace_context(self.server, "round", round=round_no):
            sent = self.train(round_no, taking)
            self.average(round_no, sent)
        self.judge(round_no)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play forty-four rounds."""
    study = Study(seed, fault)
    study.system.log_simulation_start("study", {"clinics": len(CLINICS), "rate": study.rate})
    for round_no in range(ROUNDS):
        with tick(round_no):
            study.play(round_no)
    west = [study.behind[name] for name in CLINICS if study.home[name] == "region_west"]
    return {
        "loss_14": study.losses[14],
        "loss_31": study.losses[31],
        "late": round(sum(study.losses[39:]) / 5, 4),
        "west": max(west),
        "loss": study.losses[-1],
    }


def _unanswered(events: Sequence[Event]) -> list[str]:
    """Return the models that region_west took and did not pass on."""
    return pick(
        events, "region_west", "agent_message", tick=lambda at: at >= 25,
        where=lambda e: "model" in e.args and e.record["extra"]["direction"] == "received",
    )  # fmt: skip


FAULTS = {
    "count_too_big": Fault(
        complaint="In round 31 the common model jumped: predictions are off by most of a day for everybody, audit_child "
        "reports it too. The round before it was fine.",
        symptom=lambda faulty, healthy: faulty["loss_31"] > 2 * healthy["loss_31"],
        true=lambda events: pick(
            events, "clinic_08", "agent_message", tick=31, where=lambda e: "patients" in e.args, first=1
        ),
    ),
    "rate_rounded": Fault(
        complaint="The new treatment came in round 11 and by round 14 the model still predicts as if nothing had changed.",
        symptom=lambda faulty, healthy: faulty["loss_14"] > 1.8 * healthy["loss_14"],
        true=lambda events: pick(events, act="system.config", tick=10),
    ),
    "region_quiet": Fault(
        complaint="Here at clinic_05 we train again and again on a model that is weeks old. Others in the study get "
        "a new one each round.",
        symptom=lambda faulty, healthy: faulty["west"] > healthy["west"] + 5,
        true=_unanswered,
    ),
    "scanner_drift": Fault(
        complaint="Towards the end of the study the model has slowly become worse; in the last five rounds the audit of "
        "adults is clearly above what it was at half time.",
        symptom=lambda faulty, healthy: faulty["late"] > 1.25 * healthy["late"],
        true=lambda events: pick(events, "clinic_17", "scan_phantom", tick=lambda at: at >= 20),
    ),
}
