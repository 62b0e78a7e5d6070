"""The account at the end of a soak: every number that a writer took, every id that a call returned."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from oracle import Found, read_plainly
from soak_processes import read_bits

from Agent.tree.read.losses import Losses
from Agent.tree.read.reader import TreeReader
from Agent.tree.read.removal_logs import read_account

if TYPE_CHECKING:
    from soak import Soak


def account_of(soak: Soak, writers: dict[str, Any], follower: dict[str, Any]) -> dict[str, Any]:
    """Every number that was taken, and every id that was given: read or retired, once."""
    found = read_plainly(soak.session)
    losses = TreeReader(soak.session).losses()
    present: dict[str, set[int]] = {}
    for identity in found.events:
        writer, _, seq = identity.rpartition("-")
        present.setdefault(writer, set()).add(int(seq))
    doubled = sum(len(events) - 1 for events in found.events.values())
    soak.expect(doubled == 0, f"{doubled} events stand twice")
    soak.expect(not found.torn, f"{len(found.torn)} torn lines: {found.torn[:5]}")
    retired = _judge_losses(soak, losses, present)
    missing = surplus = 0
    acknowledged: Counter[str] = Counter()
    for name in writers:
        prefix = f"acknowledged-{name.removeprefix('writer-')}-"
        for writer, numbers in read_bits(soak.directory, prefix).items():
            acknowledged[name] += len(numbers)
            missing += len(numbers - present.get(writer, set()) - retired.get(writer, set()))
    soak.expect(missing == 0, f"{missing} acknowledged events are neither read nor retired")
    followed = read_bits(soak.directory, "followed-")
    unseen = sum(len(numbers - followed.get(writer, set())) for writer, numbers in present.items())
    late = _own_events(found)
    soak.expect(unseen <= late, f"{unseen} events are in the files and were not followed")
    overtaken = 0
    for writer, numbers in retired.items():
        overtaken += len(numbers - followed.get(writer, set()))
    for writer, numbers in followed.items():
        surplus += len(numbers - present.get(writer, set()) - retired.get(writer, set()))
    soak.expect(surplus == 0, f"{surplus} events were followed that no account knows")
    soak.expect(follower.get("doubled", 1) == 0, f"{follower.get('doubled')} events were followed twice")
    made = sum((Counter(told.get("made", {})) for told in writers.values()), Counter())
    _judge_writers(soak, writers, acknowledged)
    return {
        "made": made,
        "acknowledged": dict(acknowledged),
        "read": losses.total_read,
        "retired": losses.total_retired,
        "lost": losses.total_lost,
        "unacknowledged": losses.total_unacknowledged,
        "unknown": losses.total_unknown,
        "numbers_taken": sum(account.last_seq for account in losses.writers),
        "followed": follower.get("events", 0),
        "retired_before_followed": overtaken,
        "acknowledged_and_missing": missing,
    }


def _own_events(found: Found) -> int:
    """How many events this process wrote, which ends after the follower: its opening, its retiring, its end."""
    pid = os.getpid()
    opened = [event for event in found.of_kind("log.opened") if event["extra"]["pid"] == pid]
    own = {event["extra"]["writer"] for event in opened}
    return sum(identity.rpartition("-")[0] in own for identity in found.events)


def _judge_losses(soak: Soak, losses: Losses, present: dict[str, set[int]]) -> dict[str, set[int]]:
    """The account of `losses()` against what was read by plain lines; gives the retired numbers."""
    retired: dict[str, set[int]] = {}
    removed = read_account(soak.session).numbers
    for account in losses.writers:
        name = account.writer
        own = present.get(name, set())
        ranges = removed[name].ranges() if name in removed else []
        numbers = {seq for first, last in ranges for seq in range(first, last + 1)} - own
        retired[name] = numbers
        soak.expect(account.retired == len(numbers), f"{name}: losses() counts {account.retired} retired")
        soak.expect(account.closed, f"{name} was never closed")
        other = account.lost + account.unacknowledged + account.unknown + account.in_flight
        soak.expect(other == 0, f"{name}: {account.lost} lost, {account.unknown} unknown, {account.gaps[:3]}")
        whole = own | numbers == set(range(1, account.last_seq + 1))
        soak.expect(whole, f"{name}: {len(own)} read and {len(numbers)} retired of {account.last_seq}")
        soak.expect(account.read == len(own), f"{name}: losses() reads {account.read}, there are {len(own)}")
    return retired


def _judge_writers(soak: Soak, writers: dict[str, Any], acknowledged: Counter[str]) -> None:
    for name, told in writers.items():
        if not told:
            continue
        health = told["health"]
        soak.expect(told["refused"] == 0, f"{name}: {told['refused']} calls gave no id")
        soak.expect(acknowledged[name] == told["given"], f"{name}: ids were given twice")
        soak.expect(not health["dropped"], f"{name}: {health['dropped']} dropped")
        # what the system refused; other counters tell of what found its way all the same
        trouble = {key: value for key, value in health["writer"].items() if ":" in key}
        soak.expect(not trouble, f"{name}: {trouble}")
