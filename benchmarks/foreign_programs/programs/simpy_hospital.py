"""Emergency department in simpy: nurses triage, doctors treat; both are traced as agents."""
import heapq
import os
import random
from dataclasses import dataclass, field

import simpy

from Agent import AgentLogger, setup_logging, trace_agent_action
from oracle import watch


@dataclass(order=True)
class Patient:
    urgency: int
    number: int
    arrived: float = field(compare=False)
    complaint: str = field(compare=False, default="?")


COMPLAINTS = {"chest pain": 1, "broken arm": 3, "fever": 3, "cut": 4, "dizzy": 2, "rash": 5}


class Nurse:
    def __init__(self, agent_id, seed):
        self.agent_id = agent_id
        self.rng = random.Random(seed)
        self.seen = 0
        self.by_urgency = {}

    @trace_agent_action()
    @watch
    def triage(self, number, complaint, waiting):
        urgency = COMPLAINTS[complaint]
        if self.rng.random() < 0.2:
            urgency = max(1, urgency - 1)
        if waiting > 6 and urgency == 5:
            raise PermissionError(f"patient {number} sent home by {self.agent_id}")
        self.seen += 1
        self.by_urgency.setdefault(urgency, []).append(number)
        return urgency


class Doctor:
    def __init__(self, agent_id, seed, speed=1.0):
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "doctor")
        self.rng = random.Random(seed)
        self.speed = speed
        self.fatigue = 0.0
        self.worst = None
        self.treated = []

    @trace_agent_action()
    @watch
    def treat(self, number, urgency, waited):
        minutes = self.rng.expovariate(1 / (26 - 3 * urgency)) * self.speed + 4
        self.fatigue = round(min(1.0, self.fatigue + minutes / 600), 5)
        minutes *= 1 + self.fatigue / 2
        if self.worst is None or waited > self.worst[1]:
            self.worst = (number, round(waited, 3))
        self.treated.append(number)
        if waited > 60:
            self.logger.log_decision("apologise", {"patient": number}, reasoning="long wait")
        return round(minutes, 3)

    @trace_agent_action()
    @watch
    def rest(self, minutes):
        before = self.fatigue
        self.fatigue = max(0.0, round(self.fatigue - minutes / 100, 5))
        if len(self.treated) > 25:
            self.speed = round(self.speed * 1.02, 5)
        return round(before - self.fatigue, 5)


def staff():
    return {a.agent_id: a for a in (Nurse("nurse_joy", 1), Nurse("nurse_kim", 2), Doctor("dr_abe", 3),
                                    Doctor("dr_bly", 4, 0.9), Doctor("dr_coe", 5, 1.2))}


def build(spec):
    people = staff()
    return people if spec.agent_id is None else people[spec.agent_id]


def arrivals(env, nurses, queue, bell, rng, log):
    for number in range(150):
        yield env.timeout(rng.expovariate(1 / 9))
        complaint = rng.choice(list(COMPLAINTS))
        nurse = nurses[number % 2]
        try:
            urgency = nurse.triage(number, complaint, len(queue))
        except PermissionError as error:
            log.append(str(error))
            continue
        heapq.heappush(queue, Patient(urgency, number, env.now, complaint))
        yield bell.put(1)


def work(env, doctor, queue, bell, shift):
    while True:
        yield bell.get(1)
        patient = heapq.heappop(queue)
        yield env.timeout(doctor.treat(patient.number, patient.urgency, env.now - patient.arrived))
        if len(doctor.treated) % 6 == 0:
            doctor.rest(shift)
            yield env.timeout(shift)


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    env = simpy.Environment()
    people = staff()
    queue, log = [], []
    bell = simpy.Container(env)
    env.process(arrivals(env, [people["nurse_joy"], people["nurse_kim"]], queue, bell, random.Random(99), log))
    for name in ("dr_abe", "dr_bly", "dr_coe"):
        env.process(work(env, people[name], queue, bell, 12))
    env.run(until=60 * 24)
    for person in people.values():
        if isinstance(person, Doctor):
            print(person.agent_id, len(person.treated), person.fatigue, person.worst, person.speed)
        else:
            print(person.agent_id, person.seen, {k: len(v) for k, v in sorted(person.by_urgency.items())})
    print(len(log), log[-1:])


if __name__ == "__main__":
    main()
