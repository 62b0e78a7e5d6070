"""Four Ray actors on two hosts deliver parcels; one is killed, and the record still says who caused what.

    pip install ray
    python examples/ray_actors.py
    agent-trace debug "courier_1 fails: too heavy to lift"

Each actor records on its own host; two directories stand for the disks of two hosts. Every call takes its
context along (`carry`, `adopt`), so `agent-trace causes` leads from a courier to the planner on the other
host.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import ray

from Agent import LogAnalyzer, adopt, carry, tick, trace_agent_action

PARCELS = 40
HEAVY_FROM = 25  # from this parcel on the planner reckons in pounds
KILLED_AT = 31  # the process of courier_2 is killed when it takes this parcel


@ray.remote
class Planner:
    agent_id = "planner"

    def __init__(self):
        self.unit = "kg"

    @trace_agent_action()
    def recalibrate(self, unit):
        self.unit = unit

    @trace_agent_action()
    def order(self, parcel):
        weight = 20 if self.unit == "kg" else 44
        return {"parcel": parcel, "weight": weight, "context": carry()}

    def plan(self, parcel):
        with tick(parcel):
            if parcel == HEAVY_FROM:
                self.recalibrate("lb")
            return self.order(parcel)


@ray.remote
class Scale:
    agent_id = "scale"

    @trace_agent_action()
    def weigh(self, parcel, weight):
        return {"parcel": parcel, "weight": weight, "context": carry()}

    def check(self, order):
        with adopt(order["context"]):
            return self.weigh(order["parcel"], order["weight"])


@ray.remote(max_restarts=0)
class Courier:
    def __init__(self, name):
        self.agent_id = name

    @trace_agent_action()
    def deliver(self, parcel, weight):
        if self.agent_id == "courier_2" and parcel == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        if weight > 40:
            raise ValueError("too heavy to lift")
        return parcel

    def take(self, weighed):
        with adopt(weighed["context"]):
            try:
                return self.deliver(weighed["parcel"], weighed["weight"])
            except ValueError:
                return None


def on(host, actor, *arguments):
    """Start an actor whose process records into the trace root of a host."""
    variables = {"AGENT_TRACE_ROOT": str(Path(host).absolute())}
    return actor.options(runtime_env={"env_vars": variables}).remote(*arguments)


def main():
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
    planner, scale = on("host-a", Planner), on("host-a", Scale)
    couriers = [on("host-b", Courier, f"courier_{number}") for number in (1, 2)]
    acknowledged = []
    for parcel in range(PARCELS):
        order = planner.plan.remote(parcel)
        try:
            delivered = ray.get(couriers[parcel % 2].take.remote(scale.check.remote(order)))
        except ray.exceptions.ActorDiedError:
            print(f"parcel {parcel}: the process of courier_2 is gone")
            couriers[1] = couriers[0]
        else:
            acknowledged += [parcel] if delivered is not None else []
    ray.shutdown()

    sessions = [str(path) for host in ("host-a", "host-b") for path in sorted(Path(host).glob("session_*"))]
    subprocess.run([sys.executable, "-m", "Agent", "merge", *sessions], check=False)
    analyzer = LogAnalyzer()
    delivered = "SELECT tick FROM actions WHERE action_type = 'deliver' AND outcome IS DISTINCT FROM 'error'"
    recorded = {row["tick"] for row in analyzer.sql(delivered)}
    kept = len(recorded.intersection(acknowledged))
    print(f"{len(acknowledged)} deliveries acknowledged, {kept} of them recorded")
    print(f"{analyzer.losses()['total_lost']} events lost")


if __name__ == "__main__":
    main()
