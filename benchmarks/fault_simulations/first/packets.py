"""A packet network whose routers learn by Q-routing which neighbour brings a packet home fastest."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from Agent import (
    AgentLogger,
    PerformanceLogger,
    SystemLogger,
    tick,
    trace_agent_action,
    trace_learning_update,
)
from benchmarks.fault_simulations.kit import Event, Fault, pick

BROKEN: set[str] = set()
NODES = [f"R{n}" for n in range(9)]
LINKS = [(n, (n + 1) % 9) for n in range(9)] + [(0, 4), (2, 6), (3, 8), (5, 7)]
TICKS = 110
DOWN = 99.0


@dataclass
class Packet:
    """What travels."""

    number: int
    target: str
    born: int
    arrived: int = 0
    hops: int = 0
    damaged: bool = False


class Router:
    """A router with a buffer, a clock, and a table of estimated times."""

    trace_ignore = ("logger", "queue", "rng", "net")

    def __init__(self, name: str, neighbours: list[str], rng: random.Random, net: dict[str, Router]) -> None:
        self.agent_id = name
        self.logger = AgentLogger(name, "router")
        self.rng, self.net = rng, net
        self.queue: deque[Packet] = deque()
        self.slots = 9
        self.used = 0
        self.drops = 0
        self.clock = 0.0
        self.up = dict.fromkeys(neighbours, True)
        self.table = {node: dict.fromkeys(neighbours, 3.0) for node in NODES}
        self.rate = 0.4
        self.firmware = "7.0"

    @trace_agent_action()
    def upgrade(self, firmware: str) -> str:
        """Install a firmware."""
        self.firmware = firmware
        return self.firmware

    def advance(self) -> None:
        """Let the clock of the router run on."""
        late = "drift" in BROKEN and self.agent_id == "R3" and self.clock >= 30
        self.clock = round(self.clock + (1.3 if late else 1.0), 2)

    @trace_agent_action()
    def link_down(self, neighbour: str) -> None:
        """Note that a link is broken."""
        self.up[neighbour] = False
        for row in self.table.values():
            row[neighbour] = DOWN

    @trace_agent_action()
    def link_up(self, neighbour: str) -> None:
        """Use a link again, with an optimistic estimate."""
        self.up[neighbour] = True
        for row in self.table.values():
            if not ("stays" in BROKEN and self.agent_id in {"R2", "R6"}):
                row[neighbour] = 1.0

    @trace_agent_action()
    def take(self, packet: int, source: str, target: str, damaged: bool) -> bool:
        """Accept a packet into the buffer, if there is room."""
        if self.used >= self.slots:
            self.drops += 1
            self.logger.warning("buffer full", extra={"packet": packet, "source": source, "target": target})
            return False
        self.used += 1
        if damaged:
            self.discard(packet)
            return False
        return True

    @trace_agent_action()
    def discard(self, packet: int) -> int:
        """Throw a packet with a wrong checksum away."""
        self.logger.info("checksum", extra={"packet": packet})
        if not ("buffer" in BROKEN and self.firmware == "7.1"):
            self.used -= 1
        return self.used

    @trace_agent_action()
    def estimate(self, target: str, waited: float) -> float:
        """Tell the neighbour that sent a packet how long it will take from here."""
        if target == self.agent_id:
            return 0.0
        ahead = min(self.table[target].values())
        if "reward" in BROKEN and self.firmware == "7.1" and self.agent_id == "R2":
            return 0.0
        return round(max(0.0, waited) + ahead, 2)

    @trace_learning_update("q_routing")
    def learn(self, target: str, via: str, told: float) -> float:
        """Move the estimate for a neighbour towards what it told."""
        old = self.table[target][via]
        self.table[target][via] = round(old + self.rate * (1.0 + told - old), 3)
        return self.table[target][via]

    def forward(self, now: int, errors: random.Random) -> Packet | None:
        """Send the oldest packet on; return it if it is delivered."""
        packet = self.queue.popleft()
        self.used -= 1
        row = self.table[packet.target]
        open_links = [name for name, is_up in self.up.items() if is_up]
        best = min(open_links, key=lambda name: (row[name], name))
        explored = self.rng.random() < 0.05
        if explored:
            best = self.rng.choice(open_links)
        about = {
            "packet": packet.number,
            "target": packet.target,
            "via": best,
            "cost": row[best],
            "explored": explored,
        }
        self.logger.log_decision("route", about)
        other = self.net[best]
        packet.hops += 1
        packet.damaged = errors.random() < 0.08
        if best == packet.target and not packet.damaged:
            self.learn(packet.target, best, 0.0)
            return packet
        told = other.estimate(packet.target, float(len(other.queue)) + other.clock - (now + 1))
        self.learn(packet.target, best, told)
        if packet.hops > 12:
            self.logger.log_action("expire", {"packet": packet.number, "hops": packet.hops})
        elif other.take(packet.number, self.agent_id, packet.target, packet.damaged):
            packet.arrived = now
            other.queue.append(packet)
        return None


def build(seed: int) -> dict[str, Router]:
    """Wire the routers."""
    net: dict[str, Router] = {}
    for number, name in enumerate(NODES):
        near = [b if a == number else a for a, b in LINKS if number in {a, b}]
        net[name] = Router(name, [NODES[n] for n in near], random.Random(50 * seed + number), net)
    return net


def run(seed: int, fault: str) -> dict[str, Any]:
    """Route packets."""
    BROKEN.clear()
    BROKEN.add(fault)
    net, traffic, errors = build(seed), random.Random(seed), random.Random(f"errors{seed}")
    noc, probe = SystemLogger("noc"), PerformanceLogger("noc")
    times: list[int] = []
    forwarded = dict.fromkeys(NODES, 0)
    crossed, number = 0, 0
    drops_early = 0
    for now in range(TICKS):
        with tick(now):
            if now == 35:
                noc.log_config("firmware", "7.0", "7.1")
                for router in net.values():
                    router.upgrade("7.1")
            if now in {44, 56}:
                change = "link_down" if now == 44 else "link_up"
                getattr(net["R2"], change)("R6")
                getattr(net["R6"], change)("R2")
            if now == 70:
                drops_early = sum(router.drops for router in net.values())
            for _ in range(3):
                source, target = traffic.sample(NODES, 2)
                number += 1
                if net[source].take(number, "host", target, damaged=False):
                    net[source].queue.append(Packet(number, target, now))
            for router in net.values():
                router.advance()
                for _ in range(min(1, len([p for p in router.queue if p.arrived < now]))):
                    forwarded[router.agent_id] += now >= 70
                    via = router.table[router.queue[0].target]
                    crossed += (
                        now >= 70 and router.agent_id == "R2" and min(via, key=lambda n: via[n]) == "R6"
                    )
                    done = router.forward(now, errors)
                    if done and now >= 70:
                        times.append(now - done.born)
            probe.log_metric("queued", sum(len(router.queue) for router in net.values()), "packets")
    return {
        "latency": round(sum(times) / len(times), 2),
        "delivered": len(times),
        "drops": sum(router.drops for router in net.values()) - drops_early,
        "forwarded": forwarded,
        "crossed": crossed,
    }


def _answers(events: Sequence[Event], router: str, since: int) -> list[str]:
    return pick(
        events,
        router,
        "estimate",
        tick=lambda now: now >= since,
        where=lambda e: e.args["target"] != router,
    )


FAULTS = {
    "buffer": Fault(
        "Routers drop packets because of full buffers in the last third, with hardly anything queued",
        lambda f, h: f["drops"] > h["drops"] + 3 and f["latency"] < h["latency"],
        lambda events: pick(events, act="discard", tick=lambda now: now >= 35),
    ),
    "reward": Fault(
        "why is so much traffic sent to R2 that its buffer overflows, when other ways are free?",
        lambda f, h: f["drops"] > h["drops"] + 10,
        lambda events: _answers(events, "R2", 35),
    ),
    "stays": Fault(
        "nothing crosses the link between R2 and R6 any more although it was repaired at tick 56",
        lambda f, h: f["crossed"] < h["crossed"] / 2,
        lambda events: pick(events, act="link_up"),
    ),
    "drift": Fault(
        "Its neighbours route around R3 in the last forty ticks. Did something go wrong with it?",
        lambda f, h: f["forwarded"]["R3"] < h["forwarded"]["R3"] - 5,
        lambda events: _answers(events, "R3", 30),
    ),
}
