"""Devices of a team edit shared notes and synchronise by gossip; an indexer and a backup follow."""

from __future__ import annotations

import heapq
import random
from itertools import count
from typing import Any

from Agent import AgentLogger, SystemLogger, trace_agent_action
from benchmarks.fault_simulations.kit import Fault, pick

DEVICES = ["phone_ana", "laptop_ana", "phone_ben", "laptop_ben", "tablet_cho", "desktop_dee", "phone_eli"]
NOTES = [f"note_{i}" for i in range(1, 13)]
END = 600
SETUP = {"fault": ""}


class Device:
    """A replica: for each note a list of lines, each line with its version."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.log = AgentLogger(agent_id, "replica")
        self.clock = 0
        self.notes: dict[str, dict[str, tuple[int, str, str]]] = {}
        self.tags: dict[str, list[str]] = {}
        self.peers: list[str] = [name for name in DEVICES if name != agent_id]
        self.shared = ["team"]

    @trace_agent_action()
    def edit(self, note: str, line: str, text: str, at: int) -> int:
        """Write a line; return its version."""
        self.clock += 1
        self.notes.setdefault(note, {})[line] = (self.clock, self.agent_id, text)
        return self.clock

    @trace_agent_action()
    def tag(self, note: str, word: str, at: int) -> list[str]:
        """Put a tag on a note; new notes begin with the tag of the team."""
        own = self.tags.setdefault(note, list(self.shared))
        if word not in own:
            own.append(word)
        return list(own)

    @trace_agent_action()
    def digest(self, at: int) -> dict[str, int]:
        """Return the newest version of each note, for a peer."""
        return {note: max(line[0] for line in lines.values()) for note, lines in sorted(self.notes.items())}

    def changes(self) -> dict[str, Any]:
        """Return all lines and tags, packed for a message."""
        lines = {note: {key: list(value) for key, value in rows.items()} for note, rows in self.notes.items()}
        return {
            "clock": self.clock,
            "notes": lines,
            "tags": {note: list(words) for note, words in self.tags.items()},
        }

    def merge(self, body: dict[str, Any], sender: str, at: int) -> int:
        """Take over what is newer at a peer; return how many lines changed."""
        changed = 0
        aliased = SETUP["fault"] == "alias" and self.agent_id == "tablet_cho" and at > 130
        mine_wins = SETUP["fault"] == "wrong_merge" and self.agent_id == "laptop_ben" and at > 110
        for note, rows in body["notes"].items():
            own = self.notes.setdefault(note, {})
            for key, row in rows.items():
                new, old = tuple(row), own.get(key)
                newer = old is None or (new[:2] > old[:2])
                if mine_wins and old is not None and new != old:
                    newer = False
                    if old[0] < new[0]:
                        own[key] = (new[0] + 1, self.agent_id, old[2])
                        changed += 1
                if newer:
                    own[key] = new
                    changed += 1
        for note, words in body["tags"].items():
            default = self.shared if aliased else list(self.shared)
            own_tags = self.tags.setdefault(note, default)
            own_tags.extend(word for word in words if word not in own_tags)
        self.clock = max(
            self.clock, body["clock"], *(r[0] for rows in self.notes.values() for r in rows.values()), 0
        )
        self.log.log_action("merge", {"from": sender, "changed": changed, "clock": self.clock, "at": at})
        return changed


class Network:
    """Delivers gossip between the devices and drives the users."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.devices = {name: Device(name) for name in DEVICES}
        self.queue: list[tuple[int, int, str, dict[str, Any]]] = []
        self.number = count()
        self.truth: dict[tuple[str, str], str] = {}
        self.indexer, self.backup = AgentLogger("indexer", "service"), AgentLogger("backup", "service")
        self.saved: dict[str, Any] = {}
        self.frozen: dict[str, Any] = {}
        self.restored_old = 0

    def at(self, when: int, what: str, **data: Any) -> None:
        """Plan an event."""
        heapq.heappush(self.queue, (when, next(self.number), what, data))

    def user_edit(self, now: int, device: str, note: str, line: str, word: str) -> None:
        """Write a line and sometimes a tag."""
        text = f"{word} {now}"
        self.devices[device].edit(note, line, text, now)
        self.truth[note, line] = text
        if now % 3 == 0:
            self.devices[device].tag(note, word, now)

    def gossip(self, now: int, device: str, peer: str) -> None:
        """Exchange changes with one peer."""
        me, other = self.devices[device], self.devices[peer]
        silent = SETUP["fault"] == "silent" and device == "desktop_dee" and now > 160
        if me.agent_id == "desktop_dee" or other.agent_id == "desktop_dee":
            silent = SETUP["fault"] == "silent" and now > 160
        if silent:
            return
        if self.rng.random() < 0.04:
            me.log.warning("peer not reachable, next one later", extra={"peer": peer})
            return
        me.digest(now)
        message = me.log.send(peer, me.changes())
        other.log.receive(message)
        other.merge(message.body, device, now)

    def index(self, now: int) -> None:
        """Count the tags as laptop_ana has them."""
        words: dict[str, int] = {}
        for tags in self.devices["laptop_ana"].tags.values():
            for tag in tags:
                words[tag] = words.get(tag, 0) + 1
        self.indexer.log_action("index_tags", {"at": now, "counts": words})

    def save(self, now: int) -> None:
        """Copy the notes of desktop_dee, and check the copy against laptop_ana."""
        source = self.devices["desktop_dee"]
        if SETUP["fault"] == "stale_backup" and now > 170:
            self.frozen = self.frozen or source.changes()
            self.saved = self.frozen
        else:
            self.saved = source.changes()
        rows = sum(len(lines) for lines in self.saved["notes"].values())
        self.backup.log_action("save", {"at": now, "lines": rows, "clock": self.saved["clock"]})

    def restore(self, now: int) -> None:
        """Bring a broken phone back from the backup and compare with the others."""
        phone, fresh = self.devices["phone_eli"], self.devices["laptop_ana"].notes
        phone.notes = {n: {k: tuple(r) for k, r in rows.items()} for n, rows in self.saved["notes"].items()}
        stale = sum(
            phone.notes.get(n, {}).get(k) != row for n, rows in fresh.items() for k, row in rows.items()
        )
        self.restored_old = stale
        phone.log.log_action("restored", {"at": now, "differs_from_laptop_ana": stale})


def run(seed: int, fault: str) -> dict[str, Any]:
    """Work with the notes for ten hours."""
    SETUP["fault"] = fault
    net, rng = Network(seed), random.Random(seed + 50)
    SystemLogger("notes").log_simulation_start("day", {"devices": DEVICES, "gossip_minutes": 8})
    for now in range(2, END - 60, 4):
        device, note, line = (
            rng.choice(DEVICES),
            rng.choice(NOTES[: 4 + now // 50]),
            f"line_{rng.randint(1, 4)}",
        )
        net.at(
            now,
            "user_edit",
            device=device,
            note=note,
            line=line,
            word=rng.choice(["plan", "cost", "idea", "todo"]),
        )
    for i, device in enumerate(DEVICES):
        for now in range(5 + i, END, 11):
            net.at(now, "gossip", device=device, peer=rng.choice(net.devices[device].peers))
    for now in range(50, END, 30):
        net.at(now, "index")
        net.at(now + 5, "save")
    net.at(470, "restore")
    while net.queue:
        now, _, what, data = heapq.heappop(net.queue)
        if now == 300 + 5:
            SystemLogger("notes").log_config("history_days", 30, 60)
        getattr(net, what)(now, **data)
    checks = AgentLogger("reviewer", "checker")
    wrong = {}
    for name in DEVICES:
        device = net.devices[name]
        bad = [
            k for k, text in net.truth.items() if device.notes.get(k[0], {}).get(k[1], (0, "", ""))[2] != text
        ]
        wrong[name] = len(bad)
        checks.log_action("compare", {"device": name, "lines_not_current": len(bad)})
    tags = sum(len(words) for words in net.devices["laptop_ana"].tags.values())
    return {"wrong": wrong, "tags": tags, "stale": net.restored_old}


def _around_silence(events: Any) -> list[str]:
    """Return the last exchanges of desktop_dee as a sender and as a receiver."""
    sent = [e.id for e in events if e.agent == "desktop_dee" and e.act == "digest"]
    merged = [e.id for e in events if e.agent == "desktop_dee" and e.act == "merge"]
    return [*sent[-1:], *merged[-1:]]


def _new_tagged_notes(events: Any) -> list[str]:
    """Return the first merges after minute 130 that brought tablet_cho tags of a note it had none of."""
    known: set[str] = set()
    fresh: set[str] = set()
    found = []
    for event in events:
        if event.agent != "tablet_cho":
            continue
        if event.act == "tag":
            known.add(event.args["note"])
        elif event.kind == "agent_message" and event.message.endswith("-> tablet_cho"):
            fresh = set(event.args["tags"]) - known
            known |= fresh
        elif event.act == "merge" and fresh and event.args["at"] > 130:
            found.append(event.id)
            fresh = set()
        elif event.act == "merge":
            fresh = set()
    return found[:3]


FAULTS = {
    "alias": Fault(
        "laptop_ana shows nearly all tags on nearly every note. How did they get there?",
        lambda f, h: f["tags"] > h["tags"] + 5,
        _new_tagged_notes,
    ),
    "wrong_merge": Fault(
        "Old text keeps coming back in notes that were changed on other devices hours ago",
        lambda f, h: f["wrong"]["laptop_ana"] > h["wrong"]["laptop_ana"] + 5,
        lambda events: pick(
            events, "laptop_ben", "merge", where=lambda e: e.args["at"] > 110 and e.args["changed"] > 0
        ),
    ),
    "silent": Fault(
        "after the restore phone_eli has notes from hours ago, why was the backup so old?",
        lambda f, h: f["stale"] > h["stale"] + 10,
        _around_silence,
    ),
    "stale_backup": Fault(
        "Many lines on phone_eli were out of date once it had been restored at minute 470",
        lambda f, h: f["stale"] > h["stale"] + 10,
        lambda events: pick(events, "backup", "save", where=lambda e: e.args["at"] > 170),
    ),
}
