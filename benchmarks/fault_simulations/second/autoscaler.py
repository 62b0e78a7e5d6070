"""A small cloud: services with replicas, a connection pool, and an autoscaler that follows the load."""

import random
from collections.abc import Generator, Sequence
from typing import Any

import simpy

from Agent import PerformanceLogger, SystemLogger, instrument, tick
from benchmarks.fault_simulations.kit import Event, Fault, pick

END = 720
STEP = 6
SERVICES = {"gateway": 22.0, "orders": 14.0, "stock": 16.0, "mailer": 30.0}
CALLS = {"gateway": ["orders"], "orders": ["stock"], "stock": [], "mailer": []}
_chaos = {"fault": ""}


class Service:
    """A service: its replicas work off a queue."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.replicas = 2
        self.ready = 2
        self.queue = 0.0
        self.dropped = 0.0

    def work(self, arriving: float) -> dict[str, float]:
        """Take requests for one interval, and return what was done."""
        self.queue = round(self.queue + arriving, 1)
        served = min(self.queue, self.ready * SERVICES[self.name])
        self.queue = round(self.queue - served, 1)
        if self.queue > 300:
            self.dropped = round(self.dropped + self.queue - 300, 1)
            self.queue = 300.0
        return {"served": round(served, 1), "queue": self.queue}


class Node:
    """A machine that starts replicas."""

    def __init__(self, name: str, disk_free: int) -> None:
        self.name = name
        self.disk_free = disk_free

    def start(self, service: str) -> dict[str, Any]:
        """Pull the image of a service and start a replica."""
        if self.disk_free < 2:
            return {"ready": False, "reason": "no space left"}
        self.disk_free -= 2
        return {"ready": True, "service": service}

    def keep_logs(self, size: int) -> int:
        """Store the logs of the last days."""
        self.disk_free = max(0, self.disk_free - size)
        return self.disk_free

    def prune(self) -> int:
        """Remove old images."""
        self.disk_free = min(80, self.disk_free + 4)
        return self.disk_free


class Monitor:
    """Collects the loads of the services."""

    def __init__(self) -> None:
        self.name = "monitor"
        self.seen: dict[str, float] = {}
        self.primary = "mon-a"

    def failover(self) -> str:
        """Switch to the second collector."""
        self.primary = "mon-b" if self.primary == "mon-a" else "mon-a"
        return self.primary

    def load(self, service: str, demand: float) -> float:
        """Return the load of a service."""
        stale = _chaos["fault"] == "old_sample" and service == "stock" and self.primary == "mon-b"
        if not stale:
            self.seen[service] = round(demand, 1)
        return self.seen[service]


class Scaler:
    """Decides how many replicas each service gets."""

    def __init__(self) -> None:
        self.name = "scaler"
        self.limits = dict.fromkeys(SERVICES, 14)
        self.next_node = 0

    def decide(self, service: str, load: float, replicas: int) -> int:
        """Return how many replicas a service should have."""
        wanted = int(load / (0.75 * SERVICES[service])) + 1
        return max(2, min(self.limits[service], wanted, replicas + 2), replicas - 1)

    def reload(self, document: dict[str, Any]) -> dict[str, Any]:
        """Apply a new configuration document."""
        self.limits.update(document.get("limits", {}))
        return self.limits

    def launch(self, service: Service, nodes: list[Node]) -> bool:
        """Start one replica, on the next node if the first one refuses."""
        for _ in nodes:
            node = nodes[self.next_node % len(nodes)]
            self.next_node += 1
            if node.start(service.name)["ready"]:
                service.replicas += 1
                service.ready += 1
                return True
            if _chaos["fault"] == "assumed_ready":
                service.replicas += 1
                return True
        return False


class Pool:
    """The database connections that the services share."""

    def __init__(self) -> None:
        self.name = "db_pool"
        self.free = 26
        self.retries = 0
        self.borrower = ""

    def acquire(self, service: str, count: int, retry: bool) -> int:
        """Lend connections to a service."""
        self.retries += retry
        lent = min(self.free, count)
        self.free -= lent
        self.borrower = service
        return lent

    def give_back(self, service: str, count: int) -> int:
        """Take connections back from a service."""
        self.free += count
        self.borrower = service
        return self.free


class Cloud:
    """The processes of the simulation."""

    def __init__(self, seed: int) -> None:
        self.env = simpy.Environment()
        self.rng = random.Random(seed)
        self.services = {name: Service(name) for name in SERVICES}
        self.nodes = [Node("node_1", 80), Node("node_2", 70), Node("node_3", 40)]
        self.monitor, self.scaler, self.pool = Monitor(), Scaler(), Pool()
        self.metrics, self.system = PerformanceLogger("dashboard"), SystemLogger("cloud")
        self.worst = {"early": dict.fromkeys(SERVICES, 0.0), "late": dict.fromkeys(SERVICES, 0.0)}
        self.mails = 0.0
        self.demand: dict[str, float] = dict.fromkeys(SERVICES, 0.0)

    def traffic(self) -> Generator[Any, None, None]:
        """Send requests into the services, step by step."""
        while True:
            now = self.env.now
            base = 34 + 10 * (now > 150) + (110 if 380 <= now < 640 else 0) * min(1, (now - 380) / 120)
            with tick(int(now)):
                coming = {"gateway": base + self.rng.uniform(-6, 6), "mailer": 30 + self.rng.uniform(-8, 8)}
                retries = self.rng.random() < 0.5
                for name, service in self.services.items():
                    self.demand[name] = coming.get(name, 0.0)
                    allowed = self.demand[name]
                    if name in {"orders", "mailer"}:
                        allowed = self.query(name, allowed, retries)
                    done = service.work(round(allowed, 1))
                    for called in CALLS[name]:
                        coming[called] = done["served"]
                    part = "late" if now >= 300 else "early"
                    self.worst[part][name] = max(self.worst[part][name], service.queue)
                    self.metrics.log_metric(f"queue_{name}", service.queue)
            yield self.env.timeout(STEP)

    def query(self, name: str, wanted: float, retries: bool) -> float:
        """Let a service use the database; without connections its requests are lost."""
        need = int(wanted // 8) + 1
        retried = retries and name == "orders" and self.env.now > 120
        lent = self.pool.acquire(name, need, retried)
        kept = 1 if retried and lent > 1 and _chaos["fault"] == "lost_connection" else 0
        self.pool.give_back(name, lent - kept)
        if name == "mailer" and self.env.now > 300:
            self.mails += wanted * lent / need
        return wanted * lent / need

    def scaling(self) -> Generator[Any, None, None]:
        """Scale all services at intervals."""
        while True:
            yield self.env.timeout(12)
            with tick(int(self.env.now)):
                for name, service in self.services.items():
                    load = self.monitor.load(name, self.demand[name] + service.queue / 10)
                    wanted = self.scaler.decide(name, load, service.replicas)
                    while service.replicas < wanted and self.scaler.launch(service, self.nodes):
                        pass
                    if wanted < service.replicas:
                        service.replicas = wanted
                        service.ready = min(service.ready, wanted)

    def operations(self) -> Generator[Any, None, None]:
        """Do what the operators do during the day."""
        yield self.env.timeout(90)
        with tick(90):
            self.system.log_config("log_level", "INFO", "DEBUG")
        yield self.env.timeout(60)
        with tick(150):
            self.monitor.failover()
        yield self.env.timeout(75)
        with tick(225):
            limit = 3 if _chaos["fault"] == "low_limit" else 15
            self.system.log_config("limits.stock", 14, limit)
            self.nodes[2].keep_logs(40)
            self.scaler.reload({"limits": {"stock": limit}, "version": 12})
        while True:
            yield self.env.timeout(105)
            with tick(int(self.env.now)):
                self.nodes[0].prune()
                self.nodes[1].prune()


def _instrument() -> None:
    instrument(Service, ["work"], agent_id="name", agent_role="service")
    instrument(Node, ["start", "prune", "keep_logs"], agent_id="name")
    instrument(Monitor, ["load", "failover"], agent_id="name")
    instrument(Scaler, ["decide", "launch", "reload"], agent_id="name", agent_role="controller")
    instrument(Pool, ["acquire", "give_back"], agent_id="name")


def run(seed: int, fault: str) -> dict[str, Any]:
    """Simulate twelve minutes with a peak of traffic."""
    _chaos["fault"] = fault
    _instrument()
    cloud = Cloud(seed)
    cloud.system.log_simulation_start("cloud", {"services": SERVICES, "nodes": 3})
    for process in (cloud.operations, cloud.scaling, cloud.traffic):
        cloud.env.process(process())
    cloud.env.run(until=END)
    dropped = {name: service.dropped for name, service in cloud.services.items()}
    cloud.system.log_simulation_end("cloud", {"dropped": dropped})
    return {"worst": cloud.worst, "dropped": dropped, "mails": cloud.mails}


def _not_returned(events: Sequence[Event]) -> list[str]:
    found, lent = [], 0
    for event in events:
        if event.act == "acquire":
            lent = event.result
        elif event.act == "give_back" and event.args["count"] < lent:
            found.append(event.id)
    return found[:3]


def _refused(events: Sequence[Event]) -> list[str]:
    starts = [e for e in events if e.act == "start" and not e.result["ready"]][:3]
    return [e.id for e in starts] + [e.id for e in events if e.span in {s.parent for s in starts}]


FAULTS = {
    "low_limit": Fault(
        "requests pile up at stock during the peak after 400 s and it never gets more replicas",
        lambda out, ref: out["worst"]["late"]["stock"] > 3 * ref["worst"]["late"]["stock"] + 60,
        lambda events: (
            pick(events, act="reload")
            + pick(events, where=lambda e: e.record["extra"].get("name") == "limits.stock")
        ),
    ),
    "old_sample": Fault(
        "Why did stock drop requests in the traffic peak although there was room on the nodes?",
        lambda out, ref: out["dropped"]["stock"] > ref["dropped"]["stock"] + 100,
        lambda events: pick(
            events, "monitor", "load", lambda at: at > 150, lambda e: e.args["service"] == "stock"
        ),
    ),
    "lost_connection": Fault(
        "The mailer sends far fewer mails in the second half of the run than it should.",
        lambda out, ref: out["mails"] < 0.8 * ref["mails"],
        _not_returned,
    ),
    "assumed_ready": Fault(
        "services show plenty of replicas but queues in the peak are enormous",
        lambda out, ref: max(out["worst"]["late"].values()) > 2 * max(ref["worst"]["late"].values()) + 50,
        _refused,
    ),
}
