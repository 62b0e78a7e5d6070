"""What must be left after a kill or a fault, judged from what the program had been told and from the files.

The files are read three times: by a few plain lines of this module, which share nothing with the package, by
the public reader, and by the follower. All three have to find the same.
"""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import Outcome
from support.session_files import kind_of, record_files, session_directories
from told import payload

from Agent.tree.read.follower import Follower
from Agent.tree.read.reader import TreeReader
from Agent.tree.read.removal_logs import read_account
from Agent.tree.write.chain import read_chains

TOLERATED = frozenset({"EINTR", "EPERM"})
"""Errors that are no fault: a call is made again, and where a file system has no links files are renamed."""


@dataclass
class Verdict:
    """`problems` is empty where everything is as it must be."""

    problems: list[str] = field(default_factory=list)
    acknowledged: int = 0
    read: int = 0
    torn: int = 0
    unacknowledged: int = 0
    lost: int = 0
    unknown: int = 0

    def expect(self, holds: bool, what: str) -> None:
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(what)


@dataclass
class Found:
    """What plain reading finds: each id with its objects, what is no line, and ids whose files went by policy."""

    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    torn: list[str] = field(default_factory=list)
    retired: set[str] = field(default_factory=set)

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind."""
        return [event for events in self.events.values() for event in events if kind_of(event) == kind]


def read_plainly(session: Path) -> Found:
    """Split at newlines, parse JSON; nothing else."""
    found = Found()
    for path in record_files(session):
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            if not line:
                continue
            try:
                event = json.loads(line)
                found.events.setdefault(event["id"], []).append(event)
            except (ValueError, KeyError, TypeError):
                found.torn.append(f"{path.name}:{number}")
    found.retired = _retired(session) - found.events.keys()
    return found


def _retired(session: Path) -> set[str]:
    """The ids in the account of retention; what is read all the same was not removed yet."""
    numbers = read_account(session).numbers
    return {
        f"{writer}-{seq}"
        for writer, gone in numbers.items()
        for first, last in gone.ranges()
        for seq in range(first, last + 1)
    }


def judge(outcome: Outcome, *, buffer_entries: int = 0, torn_lines: int | None = None) -> Verdict:
    """Whether everything acknowledged is there once, and nothing is there that nobody wrote.

    Args:
        outcome: what the program said.
        buffer_entries: how many buffered events a kill may cost.
        torn_lines: how many torn lines there may be; by default one for each process that was killed.
    """
    verdict = Verdict()
    acknowledged = {call.identity: call for call in outcome.calls if call.identity}
    verdict.acknowledged = len(acknowledged)
    told = [call.identity for call in outcome.calls if call.identity]
    verdict.expect(len(told) == len(acknowledged), "an id was given out twice")
    verdict.expect("Traceback" not in outcome.stderr, f"an exception came out: {outcome.stderr[-600:]}")
    sessions = session_directories(outcome.root)
    if not sessions:
        verdict.expect(not acknowledged, "there is no session")
        return verdict
    verdict.expect(len(sessions) == 1, f"{len(sessions)} sessions")
    session = sessions[0]
    found = read_plainly(session)
    verdict.read, verdict.torn = len(found.events), len(found.torn)
    if torn_lines is None:
        torn_lines = len(outcome.pids) if _somebody_died(outcome) else 0
    verdict.expect(len(found.torn) <= torn_lines, f"{len(found.torn)} torn lines: {found.torn[:5]}")
    _judge_plain(verdict, outcome, found, buffer_entries)
    _judge_readers(verdict, session, found)
    _judge_losses(verdict, outcome, session, found, set(acknowledged), buffer_entries)
    return verdict


def _somebody_died(outcome: Outcome) -> bool:
    return outcome.exit_code != 0 or len(outcome.done) < len(outcome.pids)


def _judge_plain(verdict: Verdict, outcome: Outcome, found: Found, buffer_entries: int) -> None:
    doubled = [identity for identity, events in found.events.items() if len(events) > 1]
    verdict.expect(not doubled, f"{len(doubled)} events stand twice: {doubled[:5]}")
    known = found.events.keys() | found.retired
    missing = [call for call in outcome.calls if call.identity and call.identity not in known]
    firm = [call.identity for call in missing if not call.held]
    verdict.expect(not firm, f"{len(firm)} acknowledged events are missing: {firm[:5]}")
    held = [call.identity for call in missing if call.held]
    # what the disk refused of a buffer is counted, and told
    dropped = sum(
        count for health in outcome.healths.values() for count in health.get("dropped", {}).values()
    )
    most = buffer_entries + dropped
    verdict.expect(len(held) <= most, f"{len(held)} buffered events are missing: {held[:5]}")
    buffered = [call.identity for call in outcome.calls if call.identity and call.held]
    # handed over in order: only the last ones can be missing; threads tell of their calls in any order
    in_order = outcome.threads == 1 and not (outcome.injected or outcome.injected_later)
    verdict.expect(
        not in_order or held == buffered[len(buffered) - len(held) :],
        "buffered events are missing in between",
    )

    for call in outcome.calls:
        if call.identity in found.events and call.mark != "B":
            data = found.events[call.identity][0]["extra"]["action_data"]
            expected = payload(call.process, call.thread, call.number)
            verdict.expect(data == expected, f"{call.identity} holds {data}")
    written = Counter(
        (data["process"], data["thread"], data["number"])
        for data in (event["extra"].get("action_data") for event in found.of_kind("agent_action"))
        if data is not None
    )
    verdict.expect(max(written.values(), default=1) == 1, "a call stands under two ids")
    returned = Counter((c.process, c.thread, c.number) for c in outcome.calls if c.mark != "B")
    surplus = written - returned
    # what each thread was writing when it died
    most = len(outcome.pids) * outcome.threads if _somebody_died(outcome) else 0
    verdict.expect(surplus.total() <= most, f"{surplus.total()} events that no call returned from")


def _judge_readers(verdict: Verdict, session: Path, found: Found) -> None:
    plain = dict.fromkeys(found.events, 1)
    reader = TreeReader(session)
    read = Counter(event.id for event in reader.events())
    verdict.expect(read == plain, f"the reader finds other events: {difference(read, plain)}")
    verdict.expect(
        reader.damaged_lines <= verdict.torn, f"{reader.damaged_lines} damaged lines: {reader.damage()[:3]}"
    )
    follower = Follower(session)
    followed: Counter[str] = Counter()
    while events := follower.poll():
        followed.update(event.id for event in events)
    follower.close()
    # a line without its newline is no line yet for a follower
    no_lines = unfinished(session)
    complete = {identity: 1 for identity in plain if identity not in no_lines}
    verdict.expect(followed == complete, f"the follower finds others: {difference(followed, complete)}")


def unfinished(session: Path) -> set[str]:
    """The ids of whole events that lack their newline."""
    ids = set()
    for path in record_files(session):
        tail = path.read_bytes().rpartition(b"\n")[2]
        with suppress(ValueError):  # it may be torn, even behind a bracket of a value
            ids.add(json.loads(tail)["id"])
    return ids


def difference(one: Any, other: Any) -> str:
    """How two collections of ids differ."""
    missing, surplus = sorted(set(other) - set(one)), sorted(set(one) - set(other))
    return f"{len(missing)} missing {missing[:3]}, {len(surplus)} more {surplus[:3]}"


def _judge_losses(
    verdict: Verdict,
    outcome: Outcome,
    session: Path,
    found: Found,
    acknowledged: set[str],
    buffer_entries: int,
) -> None:
    losses = TreeReader(session).losses()
    verdict.lost, verdict.unknown = losses.total_lost, losses.total_unknown
    verdict.unacknowledged = losses.total_unacknowledged
    present = set(found.events)
    in_memory = {call.identity: call.held for call in outcome.calls}
    known: dict[str, set[int]] = {}
    for identity in present | acknowledged:
        writer, _, seq = identity.rpartition("-")
        known.setdefault(writer, set()).add(int(seq))
    # where calls were made to fail, losses are to be told, whatever call they came to
    refused = len(outcome.refused) + len(outcome.injected) + len(outcome.injected_later)
    for account in losses.writers:
        name = account.writer
        own = {int(i.rpartition("-")[2]) for i in present if i.startswith(f"{name}-")}
        verdict.expect(
            account.read == len(own), f"{name}: losses() counts {account.read} read, not {len(own)}"
        )
        gaps = {seq for gap in account.gaps for seq in range(gap.first_seq, gap.last_seq + 1)}
        verdict.expect(
            gaps == set(range(1, account.last_seq + 1)) - own, f"{name}: the gaps are not what is missing"
        )
        # what was acknowledged and is not there: held in memory or retired, nothing else, and told as that
        held = {seq for seq in known.get(name, ()) if f"{name}-{seq}" not in present | found.retired}
        # by what the call was, since a claim that says how the writer holds its lines may be missing
        firm = {seq for seq in gaps & held if not in_memory.get(f"{name}-{seq}", False)}
        verdict.expect(not firm, f"{name}: acknowledged numbers are missing: {sorted(firm)}")
        if account.durability == "queued":
            verdict.expect(held <= gaps, f"{name}: {sorted(held - gaps)} are missing and not told")
        gone = sum(identity.startswith(f"{name}-") for identity in found.retired)
        verdict.expect(
            account.retired == gone, f"{name}: losses() counts {account.retired} retired of {gone}"
        )
        if not refused:
            verdict.expect(
                (account.lost, account.unknown) == (0, 0),
                f"{name}: lost {account.lost}, unknown {account.unknown}: {account.gaps}",
            )
        most = outcome.threads + refused + (buffer_entries if account.durability == "queued" else 0)
        verdict.expect(
            account.unacknowledged <= most,
            f"{name}: {account.unacknowledged} unacknowledged of {outcome.threads} threads",
        )
    verdict.expect(losses.total_read == len(present), f"losses() reads {losses.total_read} of {len(present)}")


def _is_harmless(line: str) -> bool:
    """Whether a failing call has an answer that costs nothing.

    A start time that `/proc` does not tell is not in the claim, a key that cannot be read serves one process,
    sockets are the program's own, and where a lease cannot be had a file's age tells whether it is in use.
    """
    if "/proc/" in line or "/agent-trace/" in line or "<socket:" in line or "/.lease." in line:
        return True
    if "/.state/counts" in line:
        # a cache: without it the lines are read
        return True
    if " mkdir" in line:
        # a directory that stands there all the same
        return Path(line.partition('"')[2].partition('"')[0]).is_dir()
    if "/.state/board/" in line and " close(" in line:
        # the map closes what it holds, and nobody hears of it; what stands in the board is there
        return True
    if "/.state/writers/" in line and ("O_RDONLY" in line or " close(" in line):
        # a claim that cannot be read says all the same that its writer exists
        return True
    # a directory that was listed: there was nothing to be written to it
    return " close(" in line and Path(line.partition("<")[2].partition(">")[0]).is_dir()


def _drops_at_the_end(found: Found, outcome: Outcome) -> Counter[str]:
    """How many events were dropped for which reason, as the last words of the writers say."""
    reasons = {event["extra"]["reason"] for event in found.of_kind("log.dropped")}
    reasons |= {reason for health in outcome.healths.values() for reason in health["dropped"]}
    ends: Counter[str] = Counter()
    for event in found.of_kind("log.closed"):
        ends.update({key: n for key, n in event["extra"]["counters"].items() if key in reasons})
    return ends


def _judge_end(verdict: Verdict, outcome: Outcome, sessions: list[Path], error: str) -> None:
    """A fault that came after a process had told its health is named by its last words, on disk or on stderr."""
    late = [line for line in outcome.injected_later if not _is_harmless(line) and not _is_for_a_cache(line)]
    if all(chain.ended for session in sessions for chain in read_chains(session).values()):
        # a log file could not be opened for its digests, and was the second time
        late = [line for line in late if not (".log" in line and "O_RDONLY" in line)]
    if not late or any("/stderr.txt" in line for line in late):
        # where stderr fails as well there is nobody left to tell
        return
    said = outcome.stderr + json.dumps(outcome.healths)
    for session in sessions:
        found = read_plainly(session)
        said += json.dumps(found.of_kind("log.closed") + found.of_kind("log.dropped"))
        summary = session / "trace_summary.json"
        # what could not be read for it stands in it
        said += summary.read_text() if summary.exists() else ""
    verdict.expect(_names(error, said), f"nobody names {error} at the end: {late[:2]}")


def _names(error: str, said: str) -> bool:
    return error in said or os.strerror(getattr(errno, error)) in said


def _is_for_a_cache(line: str) -> bool:
    """Whether a claim or a board could not be read for the summary, which is made again."""
    return "/.state/" in line and ("O_RDONLY" in line or " close(" in line)


def judge_fault(
    outcome: Outcome,
    calls: int,
    *,
    error: str,
    buffer_entries: int = 0,
    torn_lines: int = 0,
    lasting: bool = False,
) -> Verdict:
    """Whether a program whose system calls failed went on to its end, and said what it lacks.

    Args:
        outcome: what the program said.
        calls: how many calls of the package it makes in all.
        error: the symbolic name of the error, such as ENOSPC.
        buffer_entries, torn_lines: as in `judge`.
        lasting: the fault never ends, so that nothing need be in the tree.
    """
    verdict = judge(outcome, buffer_entries=buffer_entries, torn_lines=torn_lines)
    verdict.expect(outcome.exit_code == 0, f"exit code {outcome.exit_code}: {outcome.stderr[-300:]}")
    verdict.expect(len(outcome.calls) == calls, f"{len(outcome.calls)} of {calls} calls were made")
    if not outcome.healths:
        return verdict
    health = outcome.healths[0]
    if error in TOLERATED:
        verdict.expect(not outcome.refused, f"{len(outcome.refused)} calls gave up at {error}")
    elif any(not _is_harmless(line) for line in outcome.injected):
        # what was raised to the program is the program's to tell, where stderr takes it
        said = json.dumps(outcome.healths) + outcome.own_words()
        silenced = any("/stderr.txt" in line for line in outcome.injected)
        verdict.expect(
            silenced or _names(error, said),
            f"health() does not name {error}: {health}; {outcome.injected[:2]}",
        )
    first = [call for call in outcome.refused if call.process == 0]
    if not health["recording"]:
        verdict.expect(
            len(outcome.refused) == len(outcome.calls), "ids were given out and nothing is recorded"
        )
        return verdict
    dropped = sum(count for health in outcome.healths.values() for count in health["dropped"].values())
    verdict.expect(dropped >= len(first), f"health() counts {dropped} dropped of {len(first)}")
    sessions = session_directories(outcome.root)
    if error not in TOLERATED:
        _judge_end(verdict, outcome, sessions, error)
    last = [call for call in outcome.calls if call.process == 0 or call.process == 2][-1:]
    if sessions and last and last[0].identity and not lasting:
        found = read_plainly(sessions[0])
        told = sum(event["extra"]["count"] for event in found.of_kind("log.dropped"))
        counted = sum(_drops_at_the_end(found, outcome).values())
        # what was refused while the program ended is told by the tree alone, and by its last words where the
        # report was refused as well
        agree = max(told, counted) >= dropped if outcome.injected_later else told == dropped
        verdict.expect(agree, f"the tree tells of {told} dropped events, health() of {dropped}")
        verdict.expect(
            counted >= told or not found.of_kind("log.closed"),
            f"the tree tells of {told} dropped events, its end of {counted}",
        )
    return verdict
