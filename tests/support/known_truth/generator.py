"""Sessions of known truth: a valid tree of any size, made by a seed, with faults whose causes are told.

For tests of whatever reads sessions, and for benchmarks. `make_session` writes the tree and gives the truth;
`python -m tests.support.known_truth.command` does the same from a command line.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.errors import MissingExtra
from Agent.event.clock import format_timestamp
from Agent.event.codec import encode_event
from Agent.event.ids import session_id_for, uuid7
from Agent.event.model import Event
from Agent.tree.files.session import Claim, SessionInfo, create_session, replace_file, write_claim
from Agent.tree.layout import FILE_MODE, agents_dir, category_file, safe_name

from .faults import FAULTS, Fault, find, plant
from .lines import agent_block, group_block, metric_block
from .plan import METRIC_EVENTS, SLOTS, START_US, Plan, make_plan
from .value import Counted, Truth

__all__ = ["FAULTS", "Fault", "Truth", "make_session"]

_BLOCK_ROWS: Final = 120_000
_SEALED_BYTES: Final = 384 * 1024 * 1024


def make_session(
    root: str | os.PathLike[str],
    *,
    events: int = 100_000,
    agents: int = 100,
    faults: Sequence[str] = (),
    seed: int = 0,
    processes: int = 2,
    sealed: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Truth:
    """Write a session as a simulation of agents would have left it, and tell what is in it.

    In every tick each agent chooses a topic, looks something up, publishes or rests, is rewarded, exchanges
    messages, learns from its last rewards every eighth tick, and follows what it learned. The same arguments
    give the same bytes.

    Args:
        root: the trace root; it is made if it is not there.
        events: about how many; `Truth.events` is exact.
        agents: how many, fewer where the events would not give each eight ticks.
        faults: what to plant, of `FAULTS`; nothing makes a healthy session.
        seed: 0 to 999,999.
        processes: how many processes seem to have recorded it; each is a writer.
        sealed: leave the archive alone: JSON lines are sealed and removed as they come, so that little more
            than a tenth of their size is needed on the disk.
        progress: told (events written, events to write).

    Raises:
        UsageError: a number is out of range, there is no such fault, or the session is too small for it.
        MissingExtra: duckdb is not installed.
    """
    plan = make_plan(events, agents, seed, processes)
    planted = plant(plan, list(faults))
    session_id = session_id_for(START_US)
    session = create_session(Path(root), _info(plan, session_id))
    session_id = session.name.removeprefix("session_")
    making = _Making(plan, planted, session, session_id, sealed, progress)
    truth = making.run()
    place = Path(root) / f"{session.name}.truth.json"
    replace_file(place, orjson.dumps(truth.to_dict(), option=orjson.OPT_INDENT_2, default=str))
    return truth


def _info(plan: Plan, session_id: str) -> SessionInfo:
    ended = START_US + (plan.ticks + 3) * plan.tick_us
    return SessionInfo(
        session_id=session_id,
        session_uid=uuid7(START_US // 1000, plan.seed.to_bytes(10, "big")),
        started_at=format_timestamp(START_US),
        ended_at=format_timestamp(ended),
        argv=("generated", f"seed={plan.seed}"),
    )


class _Making:
    """One session under way."""

    def __init__(
        self,
        plan: Plan,
        faults: tuple[Fault, ...],
        session: Path,
        session_id: str,
        sealed: bool,
        progress: Callable[[int, int], None],
    ) -> None:
        self.plan, self.faults, self.session, self.session_id = plan, faults, session, session_id
        self.sealed, self.progress = sealed, progress
        self.counted = Counted()
        self.lost: dict[str, list[int]] = {}
        self.damaged: dict[str, int] = {}
        self.json_bytes = 0
        self.unsealed_bytes = 0

    def run(self) -> Truth:
        """Write everything."""
        for writer, durability, kind in self._writers():
            write_claim(
                self.session,
                Claim(writer, -1, -1, None, "generated", durability, kind, format_timestamp(START_US)),
            )
        self._metrics()
        for process in range(self.plan.processes):
            self._groups(process)
        self._agents()
        if self.sealed:
            self._seal()
        return Truth(
            session=self.session,
            session_id=self.session_id,
            seed=self.plan.seed,
            agents=self.plan.agents,
            ticks=self.plan.ticks,
            faults=self.faults,
            lost=self.lost,
            damaged=self.damaged,
            json_bytes=self.json_bytes,
            **self.counted.told(),
        )

    def _writers(self) -> Iterator[tuple[str, str, str]]:
        for writer in self.plan.writers:
            yield writer, "kernel", "events"
        yield self.plan.metric_writer, "buffered", "performance metrics"

    def _event(
        self, kind: str, writer: str, seq: int, us: int, agent: int | None = None, /, **extra: Any
    ) -> bytes:
        """The line of one of the few events that are written one by one."""
        self.counted.kinds[kind] += 1
        own: dict[str, Any] = {}
        if agent is not None:
            own = {"agent_id": self.plan.agent_id(agent), "agent_role": self.plan.role(agent)}
            self.counted.by_agent[own["agent_id"]] += 1
        return encode_event(
            Event(
                timestamp=format_timestamp(us),
                id=f"{writer}-{seq}",
                schema_version=1,
                kind=kind,
                session_id=self.session_id,
                level="DEBUG" if kind.startswith("log.") else "INFO",
                logger="system" if agent is None else "agent",
                message=kind,
                extra={**own, "event_type": kind, **extra},
            )
        )

    def _write(self, path: Path, data: bytes) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        self.json_bytes += len(data)
        self.unsealed_bytes += len(data)

    def _category_path(self, category: str, writer: str) -> Path:
        """The first process has the plain names, the others those with their writer."""
        stem = category_file(category)
        return self.session / (f"{stem}.log" if writer == self.plan.writers[0] else f"{stem}@{writer}.log")

    def _metrics(self) -> None:
        plan, writer = self.plan, self.plan.metric_writer
        system, own = self._category_path("system", writer), self.session / "performance.log"
        opened = {"writer": writer, "pid": -1, "durability": "buffered"}
        self._write(system, self._event("log.opened", writer, 1, START_US, **opened))
        query = metric_block(plan, self.session_id, self.faults)
        with _connection() as connection:
            for first, ticks in self._ticks(METRIC_EVENTS):
                rows = connection.execute(
                    f"SELECT kind, count(*), string_agg(line, chr(10)) FROM ({query}) GROUP BY kind",
                    [first, ticks],
                ).fetchall()
                for kind, count, lines in rows:
                    self.counted.kinds[kind] += count
                    self._write(own, lines.encode() + b"\n")
        end = START_US + (plan.ticks + 3) * plan.tick_us
        last = {"writer": writer, "last_seq": plan.metrics, "counters": {}}
        self._write(system, self._event("log.closed", writer, plan.metrics, end, **last))

    def _ticks(self, events_each: int) -> Iterator[tuple[int, int]]:
        """The ticks in pieces of bounded size: (first, how many)."""
        at_once = max(1, _BLOCK_ROWS // events_each)
        for first in range(0, self.plan.ticks, at_once):
            yield first, min(at_once, self.plan.ticks - first)

    def _groups(self, process: int) -> None:
        """What a process says of no single agent, its beginning and its end included."""
        plan, writer = self.plan, self.plan.writers[process]
        system, events = self._category_path("system", writer), self._category_path("events", writer)
        opened = {"writer": writer, "pid": -1, "durability": "kernel"}
        self._write(system, self._event("log.opened", writer, 1, START_US, **opened))
        if process == 0:
            settings = {"agents": plan.agents, "ticks": plan.ticks}
            begun = self._event(
                "simulation_start", writer, 2, START_US + 1, name="known truth", configuration=settings
            )
            self._write(events, begun)
        else:
            self._write(
                system, self._event("system.init", writer, 2, START_US + 1, component=f"process {process}")
            )
        query = group_block(plan, self.session_id, self.faults, process)
        with _connection() as connection:
            for first, ticks in self._ticks(4):
                rows = connection.execute(
                    "SELECT category, kind, count(*), string_agg(line, chr(10)) "
                    f"FROM ({query}) GROUP BY category, kind",
                    [first, ticks],
                ).fetchall()
                for category, kind, count, lines in rows:
                    self.counted.kinds[kind] += count
                    self._write(self._category_path(category, writer), lines.encode() + b"\n")
        after = plan.base(process) + plan.ticks * plan.stride(process) + 1
        end = START_US + (plan.ticks + 2) * plan.tick_us
        kind = "simulation_end" if process == 0 else "milestone"
        self._write(events, self._event(kind, writer, after, end, name="known truth"))
        last = plan.last_seq(process)
        closed = {"writer": writer, "last_seq": last, "counters": {}}
        self._write(system, self._event("log.closed", writer, last, end + 2 * plan.tick_us, **closed))

    def _agents(self) -> None:
        """The agents' files, block by block, made by two threads and written by this one."""
        plan = self.plan
        rows_each = plan.ticks * SLOTS
        at_once = max(1, _BLOCK_ROWS // rows_each)
        blocks: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        made: queue.Queue[tuple[int, list[Any], list[Any], bool] | BaseException] = queue.Queue(maxsize=4)
        firsts = list(range(0, plan.agents, at_once))
        for first in firsts:
            blocks.put(first)
        workers = max(1, min(os.cpu_count() or 1, len(firsts)))
        for _ in range(workers):
            blocks.put(None)
        threads = [
            threading.Thread(target=self._make_blocks, args=(blocks, made, at_once), daemon=True)
            for _ in range(workers)
        ]
        for thread in threads:
            thread.start()
        finished = 0
        while finished < len(firsts):
            got = made.get()
            if isinstance(got, BaseException):
                raise got
            first, counts, chunks, is_last = got
            self.counted.add((self.plan.agent_id(row[0]), *row[1:]) for row in counts)
            self._write_block(chunks)
            if is_last:
                finished += 1
                for agent in range(first, min(first + at_once, plan.agents)):
                    self._end_agent(agent)
            self.progress(sum(self.counted.by_agent.values()), plan.events)
            if self.sealed and is_last and self.unsealed_bytes > _SEALED_BYTES:
                self._seal()
        for thread in threads:
            thread.join()

    def _make_blocks(self, blocks: Any, made: Any, at_once: int) -> None:
        """What a worker does: run the query for one block after another."""
        plan = self.plan
        query = agent_block(plan, self.session_id, self.faults)
        try:
            with _connection() as connection:
                connection.execute(
                    f"PREPARE counts AS SELECT a, kind, name, count(*), sum(reward)::BIGINT FROM ({query}) "
                    "GROUP BY a, kind, name"
                )
                connection.execute(
                    f"PREPARE lines AS SELECT a, string_agg(line, chr(10)) FROM ({query}) "
                    "GROUP BY a ORDER BY a"
                )
                while (first := blocks.get()) is not None:
                    count = min(at_once, plan.agents - first)
                    pieces = list(self._ticks(SLOTS * count))
                    for place, (tick, ticks) in enumerate(pieces):
                        which = f"({first}, {count}, {tick}, {ticks})"
                        counts = connection.execute(f"EXECUTE counts{which}").fetchall()
                        chunks = connection.execute(f"EXECUTE lines{which}").fetchall()
                        made.put((first, counts, chunks, place == len(pieces) - 1))
        except BaseException as error:
            made.put(error)

    def _write_block(self, chunks: list[Any]) -> None:
        torn = find(self.faults, "torn_file")
        for agent, text in chunks:
            path = self._unfinished(agent)
            data = text.encode() + b"\n"
            if not path.exists():
                process, index = agent % self.plan.processes, agent // self.plan.processes
                us = START_US + 2 + index
                data = self._state(agent, "first", self.plan.writers[process], 3 + index, us, 0) + data
            if torn is not None and agent == torn.agent:
                data = self._tear(torn, path, data)
            self._write(path, data)

    def _state(self, agent: int, reason: str, writer: str, seq: int, us: int, ticks: int) -> bytes:
        fields = {"ticks": ticks}
        return self._event("state", writer, seq, us, agent, fields=fields, reason=reason, digest="0" * 16)

    def _end_agent(self, agent: int) -> None:
        plan = self.plan
        process, index = agent % plan.processes, agent // plan.processes
        seq = plan.base(process) + plan.ticks * plan.stride(process) + 1 + index + 1
        us = START_US + (plan.ticks + 2) * plan.tick_us + 1 + index
        path = self._unfinished(agent)
        self._write(path, self._state(agent, "end", plan.writers[process], seq, us, plan.ticks))
        path.rename(agents_dir(self.session) / f"{safe_name(plan.agent_id(agent))}.log")

    def _unfinished(self, agent: int) -> Path:
        """Where an agent's file grows: under its own name it might be sealed before it is whole."""
        return agents_dir(self.session) / f".{safe_name(self.plan.agent_id(agent))}.log.new"

    def _tear(self, fault: Fault, path: Path, data: bytes) -> bytes:
        """Take lines out, and leave half of one."""
        kept = []
        gone = {f'"id":"{each}"'.encode() for each in fault.effects["lost_ids"]}
        torn = f'"id":"{fault.effects["torn_id"]}"'.encode()
        file = path.relative_to(self.session).as_posix().replace("/.", "/").removesuffix(".new")
        for line in data.split(b"\n")[:-1]:
            if any(mark in line[:80] for mark in gone) or torn in line[:80]:
                event = orjson.loads(line)
                writer, _, seq = event["id"].rpartition("-")
                self.lost.setdefault(writer, []).append(int(seq))
                self.counted.kinds[event["extra"]["event_type"]] -= 1
                self.counted.by_agent[fault.agent_id] -= 1
                if torn in line[:80]:
                    kept.append(line[: len(line) // 2])
                    self.damaged[file] = self.damaged.get(file, 0) + 1
            else:
                kept.append(line)
        return b"\n".join(kept) + b"\n"

    def _seal(self) -> None:
        from Agent.archive.sealed.sealing import seal

        seal(self.session, remove=True)
        self.unsealed_bytes = 0


def _connection() -> Any:
    """An engine of one thread: rows come in the order in which they are made."""
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtra("generated sessions need duckdb", remedy="pip install duckdb") from error
    config = {"threads": 1, "memory_limit": "1GB", "autoinstall_known_extensions": False}
    if not duckdb.__version__.startswith("1."):
        config["async_threads"] = 1
    return duckdb.connect(config=config)
