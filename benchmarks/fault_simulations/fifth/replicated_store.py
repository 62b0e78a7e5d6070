"""A key-value store with seven nodes and three copies of each key: quorums, hints, clocks, and merged carts."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import Any

from Agent import AgentLogger, SystemLogger, tick
from benchmarks.fault_simulations.kit import Event, Fault, pick

TICKS = 400
NODES = [f"n{number}" for number in range(1, 8)]
CLIENTS = [f"u{number:02d}" for number in range(1, 13)]
ITEMS = ("lamp", "kettle", "rug", "clock", "vase", "chair", "mirror", "basket")
OUTAGES = {60: "n6", 140: "n1", 250: "n3"}
BACK = {76: "n6", 152: "n1", 261: "n3"}
SPLITS = {108: "u02", 222: "u11", 336: "u05"}
PINNED = {
    64: [("u09", "profile", "put", "n2")],
    166: [("u03", "address", "put", "n4")],
    172: [("u03", "address", "put", "n2")],
    178: [("u03", "address", "get", "n5")],
    306: [("u09", "profile", "get", "n5")],
}


class Node:
    """One node: its copies, its clock and the hints that it keeps for others."""

    def __init__(self, name: str, offset: int) -> None:
        """Start empty."""
        self.name, self.offset = name, offset
        self.log = AgentLogger(name, "node")
        self.copies: dict[str, tuple[int, Any]] = {}
        self.hints: list[tuple[str, str, int, Any]] = []
        self.up = True

    def store(self, key: str, stamp: int, value: Any) -> bool:
        """Keep a version if it is newer than the own one."""
        if key in self.copies and self.copies[key][0] >= stamp:
            return False
        self.copies[key] = (stamp, value)
        return True


class Cluster:
    """All nodes and the clients."""

    def __init__(self, seed: int, fault: str) -> None:
        """Set up nodes with small differences of their clocks."""
        self.fault = fault
        self.rng = random.Random(f"cluster {seed}")
        self.nodes = {name: Node(name, self.rng.randint(0, 2)) for name in NODES}
        self.clients = {name: AgentLogger(name, "client") for name in CLIENTS}
        self.system, self.admin = SystemLogger("cluster"), AgentLogger("admin", "admin")
        self.write_quorum = 2
        self.late: list[tuple[int, str, Any, str]] = []
        self.last: dict[str, Any] = {}
        self.stale = 0
        self.seen: dict[int, Any] = {}
        self.carts: dict[str, dict[str, list[str]]] = {name: {"items": [], "removed": []} for name in CLIENTS}

    def owners(self, key: str) -> list[str]:
        """Return the three nodes of a key."""
        start = zlib.crc32(key.encode()) % 7
        if key == "profile:u09":
            start = 4
        return [NODES[(start + more) % 7] for more in range(3)]

    def put(self, now: int, client: str, key: str, value: Any, through: str) -> None:
        """Write through a coordinator."""
        node = self.nodes[through]
        asked = self.clients[client].log_action("put", {"key": key, "value": value, "through": through})
        stamp = now * 10 + node.offset
        owners = self.owners(key)
        self.rng.shuffle(owners)
        node.log.log_action("coordinate", {"key": key, "stamp": stamp, "copies": owners}, causes=asked)
        done = 0
        for owner in owners:
            body = {"key": key, "stamp": stamp, "value": value}
            if not self.nodes[owner].up:
                node.hints.append((owner, key, stamp, value))
                node.log.log_action("keep_hint", {"for": owner, "key": key})
                continue
            message = node.log.send(owner, body)
            if done < self.write_quorum:
                self.deliver(message, owner)
            else:
                self.late.append((now + self.rng.randint(10, 30), owner, message, key))
            done += 1
        self.last[key] = value

    def deliver(self, message: Any, owner: str) -> None:
        """Let a node receive a version."""
        node = self.nodes[owner]
        if node.up:
            node.log.receive(message)
            node.store(message.body["key"], message.body["stamp"], message.body["value"])

    def get(self, now: int, client: str, key: str, through: str) -> Any:
        """Read two copies, give the newer one, and repair the other."""
        asked = self.clients[client].log_action("get", {"key": key, "through": through})
        up = [one for one in self.owners(key) if self.nodes[one].up]
        picked = self.rng.sample(up, 2)
        found = [(self.nodes[one].copies.get(key, (0, None)), one) for one in picked]
        best = max(found, key=lambda one: one[0][0])
        log = self.nodes[through].log
        log.log_decision(
            "newest", {"key": key, "from": [one[1] for one in found], "stamp": best[0][0]}, causes=asked
        )
        for (stamp, _), name in found:
            if stamp < best[0][0]:
                self.nodes[name].store(key, *best[0])
                log.log_action("repair", {"key": key, "node": name})
        self.clients[client].receive(log.send(client, {"key": key, "value": best[0][1]}))
        self.stale += key in self.last and best[0][1] != self.last[key]
        return best[0][1]

    def shop(self, now: int, client: str, through: str) -> None:
        """Change a cart a little."""
        cart = self.carts[client]
        item = self.rng.choice(ITEMS)
        gone = item in cart["items"] and self.rng.random() < 0.6
        items = sorted({*cart["items"], item} - ({item} if gone else set()))
        removed = sorted({*cart["removed"], item} if gone else set(cart["removed"]) - {item})
        self.carts[client] = {"items": items, "removed": removed}
        self.put(now, client, f"cart:{client}", self.carts[client], through)

    def merge(self, now: int, client: str) -> None:
        """Bring together what two halves of the cluster made of a cart."""
        key, cart = f"cart:{client}", self.carts[client]
        left = {
            "items": sorted({*cart["items"], "lamp"}),
            "removed": [x for x in cart["removed"] if x != "lamp"],
        }
        right = {
            "items": [x for x in left["items"] if x != "lamp"] + ["stool"],
            "removed": [*left["removed"], "lamp"],
        }
        for side, node, value in (("left", "n2", left), ("right", "n5", right)):
            self.nodes[node].log.log_action("keep_sibling", {"key": key, "side": side, "value": value})
        both = {*left["items"], *right["items"]}
        removed = {*left["removed"], *right["removed"]}
        keeps_all = self.fault == "union_of_carts" and client == "u11"
        made = {"items": sorted(both if keeps_all else both - removed), "removed": sorted(removed - both)}
        self.nodes["n5"].log.log_action("merge_versions", {"key": key, "result": made})
        self.carts[client] = made
        self.put(now, client, key, made, "n5")
        self.seen[now] = self.get(now, client, key, "n2")

    def settle(self, now: int) -> None:
        """Do what an administrator or the network does."""
        if now in OUTAGES:
            self.nodes[OUTAGES[now]].up = False
            self.admin.log_action("restart_node", {"node": OUTAGES[now], "reason": "package update"})
        if now in BACK:
            self.bring_back(BACK[now])
        if now % 40 == 0 and now:
            node = self.nodes[NODES[now // 40 * 3 % 7]] if now != 160 else self.nodes["n4"]
            offset = 140 if self.fault == "clock_ahead" and now == 160 else self.rng.randint(0, 2)
            node.offset = offset
            node.log.log_action("sync_clock", {"source": f"time{now // 40 % 3}", "offset": offset})
        if now in {120, 280}:
            old, new = self.write_quorum, {120: 3, 280: 2}[now]
            if self.fault == "one_write" and now == 120:
                new = 1
            self.system.log_config("write_quorum", old, new, {"by": "admin"})
            self.write_quorum = new
        if now == 296:
            self.rebuild("n5", "n6")
            self.rebuild("n7", "n6")
        if now == 170:
            self.admin.log_action("rotate_certificates", {"nodes": 7})

    def bring_back(self, name: str) -> None:
        """Let a node come back and give it what it missed."""
        self.nodes[name].up = True
        self.admin.log_action("node_back", {"node": name})
        for node in self.nodes.values():
            mine = [one for one in node.hints if one[0] == name]
            node.hints = [one for one in node.hints if one[0] != name]
            if mine and not (self.fault == "hints_dropped" and name == "n6" and node.name == "n2"):
                node.log.log_action("replay_hints", {"for": name, "count": len(mine)})
                for owner, key, stamp, value in mine:
                    self.deliver(node.log.send(owner, {"key": key, "stamp": stamp, "value": value}), owner)

    def rebuild(self, name: str, source: str) -> None:
        """Fill a node with a new disk from another one."""
        new, old = self.nodes[name], self.nodes[source]
        shared = [key for key in old.copies if name in self.owners(key)]
        new.log.log_action("rebuild", {"from": source, "keys": len(shared)})
        for key in shared:
            new.copies[key] = old.copies[key]

    def play(self, now: int) -> None:
        """Play one tick."""
        self.settle(now)
        for one in [one for one in self.late if one[0] <= now]:
            self.late.remove(one)
            self.deliver(one[2], one[1])
        if now in SPLITS:
            self.merge(now, SPLITS[now])
        for client, kind, act, through in PINNED.get(now, []):
            key = f"{kind}:{client}"
            if act == "put":
                self.put(now, client, key, f"{kind} of tick {now}", through)
            else:
                self.seen[now] = self.get(now, client, key, through)
        for _ in range(2):
            self.visit(now)

    def visit(self, now: int) -> None:
        """Let some client do something."""
        up = [name for name in NODES if self.nodes[name].up]
        client, through, what = self.rng.choice(CLIENTS), self.rng.choice(up), self.rng.random()
        if what < 0.45:
            self.shop(now, client, through)
        elif what < 0.7:
            self.get(now, client, f"cart:{client}", through)
        elif client not in {"u03", "u09"}:
            if what < 0.85:
                self.put(now, client, f"address:{client}", f"street {self.rng.randint(1, 99)}", through)
            else:
                self.get(now, client, f"address:{client}", through)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play four hundred ticks."""
    cluster = Cluster(seed, fault)
    cluster.nodes["n6"].copies["profile:u09"] = cluster.nodes["n5"].copies["profile:u09"] = (
        1,
        "profile of tick 0",
    )
    cluster.nodes["n7"].copies["profile:u09"] = (1, "profile of tick 0")
    for now in range(TICKS):
        with tick(now):
            cluster.play(now)
    return {
        "stale": cluster.stale,
        "address": cluster.seen[178],
        "profile": cluster.seen[306],
        "cart": cluster.seen[222]["items"],
        "keys": len(cluster.last),
    }


def _resync(events: Sequence[Event]) -> list[str]:
    return pick(events, "n4", "sync_clock", tick=160)


FAULTS = {
    "one_write": Fault(
        complaint="Things that customers have just put into their carts are gone on the next page and come back later. "
        "Several of them, since a third of the day.",
        symptom=lambda faulty, healthy: faulty["stale"] > healthy["stale"] + 3,
        true=lambda events: pick(events, act="system.config", tick=120),
    ),
    "clock_ahead": Fault(
        complaint="u03 changed the address a second time, but at tick 178 n5 still returned the first change.",
        symptom=lambda faulty, healthy: faulty["address"] != "address of tick 172" == healthy["address"],
        true=_resync,
    ),
    "hints_dropped": Fault(
        complaint="The profile of u09 is back to what it was long ago, although it had been saved and looked fine.",
        symptom=lambda faulty, healthy: faulty["profile"] != "profile of tick 64" == healthy["profile"],
        true=lambda events: pick(events, "admin", "node_back", tick=76),
    ),
    "union_of_carts": Fault(
        complaint="I had thrown the lamp out of my cart (u11) and now it is in there again",
        symptom=lambda faulty, healthy: "lamp" in faulty["cart"] and "lamp" not in healthy["cart"],
        true=lambda events: pick(events, "n5", "merge_versions", tick=222),
    ),
}
