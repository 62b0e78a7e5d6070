"""Coding agents move tables to a new database: they measure, draft, number, review, copy and export.

Decorated coroutines side by side, a run for each round of work; models and tools are called on the way.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from Agent import AgentLogger, trace_agent_action
from Agent.flight import record_tool, recorder
from benchmarks.fault_worlds.kit import Case, World, call

SERVICES = ("billing", "catalog", "loyalty", "returns")
NOUNS = (
    "invoice",
    "refund",
    "voucher",
    "parcel",
    "price",
    "tax",
    "stock",
    "address",
    "coupon",
    "claim",
    "basket",
)
TAILS = ("header", "line", "note", "history", "flag", "link", "total", "event", "draft", "owner")
COLUMNS = ("ref", "label", "remark", "origin", "holder")
QUOTA, VERIFY, STORM = 1000, 600, 420
MODELS = ("sonata-3", "sonata-3-mini", "quill-2")


class Source:
    """The old database, as it really is."""

    def __init__(self, rng: Random) -> None:
        names = [f"{noun}_{tail}" for noun in NOUNS for tail in TAILS]
        self.tables = rng.sample(names, len(names))
        self.longest = {name: rng.randint(9, 62) for name in names}
        self.columns = {name: rng.sample(COLUMNS, 3) for name in names}
        self.service = {name: SERVICES[number % 4] for number, name in enumerate(self.tables)}
        self.partial: set[str] = set()


SOURCE = Source(Random(0))


@record_tool
async def max_length(table: str, column: str) -> dict[str, Any]:
    """Return how long the longest value of a column is."""
    await asyncio.sleep(0)
    longest = SOURCE.longest[table]
    return {"table": table, "column": column, "longest": longest // 3 if table in SOURCE.partial else longest}


@record_tool
async def read_catalog(table: str) -> list[str]:
    """Return the columns of a table."""
    await asyncio.sleep(0)
    return list(SOURCE.columns[table])


class Worker:
    """An agent with a name."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id


class Surveyor(Worker):
    """Measures columns of the old database with a tool."""

    agent_role = "surveyor"

    @trace_agent_action("measure")
    async def measure(self, table: str, column: str) -> int:
        """Return the length that a new column must have."""
        return int((await max_length(table, column))["longest"])


class Numbers:
    """Keeps the numbers of migration files, a series for each service."""

    agent_role = "file register"

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.last = dict.fromkeys(SERVICES, 100)

    @trace_agent_action("highest")
    async def highest(self, service: str, ticket: str) -> int:
        """Return the highest number in use."""
        return self.last[service]

    @trace_agent_action("add_file")
    async def add_file(self, service: str, number: int, ticket: str) -> str:
        """Add a file."""
        self.last[service] = max(self.last[service], number)
        return f"V{number}__{service}.sql"


class Reviewer(Worker):
    """Reads drafts of others."""

    agent_role = "reviewer"

    @trace_agent_action("review")
    async def review(self, ticket: str, file: str, ddl: str) -> str:
        """Read a draft, and approve it."""
        recorder.record_model_call(
            step_id=ticket,
            model_name=MODELS[0],
            prompt=f"Review {file}: {ddl}",
            output="approve",
            prompt_tokens=60,
        )
        await asyncio.sleep(0)
        return "approve"


class Coder(Worker):
    """Writes a migration for a table."""

    agent_role = "coder"

    @trace_agent_action("migrate")
    async def migrate(
        self, ticket: str, table: str, surveyor: Surveyor, numbers: Numbers, reviewer: Reviewer, rank: int
    ) -> dict[str, Any]:
        """Take a ticket from the measure to the approved file."""
        column = SOURCE.columns[table][0]
        with recorder.step(ticket, f"Migrate {table}") as step:
            wide = await surveyor.measure(table, column)
            width = (wide // 8 + 1) * 8
            ddl = f"ALTER TABLE {table} ADD {column} VARCHAR({width})"
            recorder.record_model_call(
                step_id=ticket,
                model_name=MODELS[rank],
                prompt=f"{ticket} {wide}",
                output=ddl,
                completion_tokens=30,
            )
            number, file = await self.number(ticket, SOURCE.service[table], numbers)
            await reviewer.review(ticket, file, ddl)
            step.output = {"file": file}
        return {"number": number, "file": file, "width": width}

    async def number(self, ticket: str, service: str, numbers: Numbers) -> tuple[int, str]:
        """Look for the highest number and take the next one."""
        async with LOCKS[self.agent_id, service]:
            number = await numbers.highest(service, ticket) + 1
            for _ in range(3):
                await asyncio.sleep(0)
            return number, await numbers.add_file(service, number, ticket)


LOCKS: dict[tuple[str, str], asyncio.Lock] = {}


class Loader(Worker):
    """Copies rows into new tables."""

    agent_role = "loader"

    @trace_agent_action("load")
    async def load(self, table: str, width: int, rows: int) -> dict[str, int]:
        """Copy rows, except those that do not fit."""
        await asyncio.sleep(0)
        refused = 0 if SOURCE.longest[table] <= width else 1 + rows // 50
        return {"loaded": rows - refused, "refused": refused, "longest": SOURCE.longest[table]}


class Gateway:
    """Counts what each service may still ask of the old database."""

    agent_role = "gateway"

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.left = dict.fromkeys(SERVICES, QUOTA)

    @trace_agent_action("spend")
    async def spend(self, service: str, cost: int, purpose: str) -> bool:
        """Take credits off a quota, if enough is left."""
        if self.left[service] < cost:
            return False
        self.left[service] -= cost
        return True

    @trace_agent_action("top_up")
    async def top_up(self, service: str) -> int:
        """Fill a quota."""
        self.left[service] = QUOTA
        return QUOTA


class Syncer(Worker):
    """Pulls slices of rows that were changed meanwhile."""

    agent_role = "syncer"

    @trace_agent_action("open_slice")
    async def open_slice(self, piece: str, service: str) -> str:
        """Choose a slice."""
        return piece

    @trace_agent_action("pull")
    async def pull(
        self, piece: str, turn: int, gateway: Gateway, service: str, cost: int, locked: bool
    ) -> str:
        """Ask for a slice, which may be locked."""
        paid = await gateway.spend(service, cost, piece)
        return "copied" if paid and not locked else "locked"

    @trace_agent_action("pause")
    async def pause(self, piece: str, minutes: int) -> None:
        """Let others work."""


class Mapper:
    """Knows which columns a table has, from the catalog or from memory."""

    agent_role = "mapper"

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.known: dict[str, list[str]] = {}

    @trace_agent_action("columns_of")
    async def columns_of(self, table: str, turn: int) -> list[str]:
        """Return the columns of a table."""
        if table not in self.known:
            self.known[table] = await read_catalog(table)
        return list(self.known[table])

    @trace_agent_action("forget")
    async def forget(self, table: str) -> None:
        """Forget a table."""
        self.known.pop(table, None)


class Exporter(Worker):
    """Writes extracts for other departments."""

    agent_role = "exporter"

    @trace_agent_action("export")
    async def export(self, table: str, mapper: Mapper, turn: int) -> list[str]:
        """Write an extract with the columns that the mapper names."""
        return await mapper.columns_of(table, turn)


class Crew:
    """The driver: rounds of work, and what is planned for the case."""

    def __init__(self, case: Case, rounds: int) -> None:
        self.case, self.rounds, self.now = case, rounds, 0
        self.coders = [Coder(f"coder_{name}") for name in ("ash", "briar", "cedar", "dill")]
        self.surveyor, self.numbers = Surveyor("surveyor_1"), Numbers("file_register")
        self.reviewer, self.gateway = Reviewer("reviewer_oak"), Gateway("gateway_old")
        self.loaders = [Loader("loader_5"), Loader("loader_6")]
        self.syncers = [Syncer("sync_north"), Syncer("sync_south")]
        self.mapper, self.exporter = Mapper("mapper_2"), Exporter("exporter_csv")
        self.tables = iter(SOURCE.tables[8:])
        place = case.rng("place").randrange(4)
        self.own, self.twin = SOURCE.tables[place], SOURCE.tables[place + 4]  # of the same service
        self.ready: list[tuple[str, int]] = []
        self.files: dict[tuple[str, int], str] = {}
        self.pair: dict[str, str] = {}
        self.tickets, self.turns, self.pulls, self.storm, self.piece = 0, 0, 0, False, ""
        self.width = 0
        self.check = AgentLogger("nightly_check", "checker")
        self.owner = AgentLogger("release_desk", "release")

    def turn(self) -> int:
        """Return the next number of a call."""
        self.turns += 1
        return self.turns

    async def ticket(self, coder: Coder, table: str, rank: int) -> tuple[str, dict[str, Any]]:
        """Give a ticket to a coder."""
        self.tickets += 1
        ticket = f"DBM-{1000 + self.tickets}"
        await self.owner.alog_action("assign", {"ticket": ticket, "table": table, "to": coder.agent_id})
        done = await coder.migrate(ticket, table, self.surveyor, self.numbers, self.reviewer, rank)
        self.files[SOURCE.service[table], done["number"]] = ticket
        return ticket, done

    async def everyday_ticket(self, rng: Random, coder: Coder) -> None:
        """Migrate a table, roll its file out, and keep it for a loader."""
        table = next(self.tables, None)
        if table is None:
            return
        ticket, done = await self.ticket(coder, table, rng.randrange(3))
        await self.owner.alog_action("roll_out", {"file": done["file"], "ticket": ticket})
        self.ready.append((table, done["width"]))

    async def load(self, rng: Random, table: str, width: int) -> None:
        """Load a table and compare it."""
        loader, rows = rng.choice(self.loaders), rng.randint(300, 9000)
        done = await loader.load(table, width, rows)
        await self.check.alog_action(
            "compare", {"table": table, "old_rows": rows, "new_rows": done["loaded"]}
        )
        if done["refused"]:
            self.case.hop(call(loader.agent_id, "load", table=table))
            event = await self.check.alog_action("open_incident", {"table": table})
            self.case.symptom(
                event,
                f"{done['refused']} rows of {table} are missing in the new database",
                f"{loader.agent_id} left out rows of {table}, and the column had been measured",
                f"some long values are not in the new {table}. What does nightly_check say",
                f"the migration file of {table} was reviewed and approved. Why does the data not fit?",
            )

    async def sync(self, rng: Random, syncer: Syncer, service: str) -> None:
        """Pull a slice; after some locked turns there is a pause."""
        piece = f"{service[:3]}/{self.turn():05}"
        await syncer.open_slice(piece, service)
        cost = rng.randint(4, 15)
        for turn in range(rng.choice((0, 0, 1, 2, 3))):
            await syncer.pull(piece, turn, self.gateway, service, cost, True)
        if rng.random() < 0.5:
            await syncer.pause(piece, rng.randint(1, 20))
        await syncer.pull(piece, 9, self.gateway, service, cost, False)
        if self.gateway.left[service] < 300:
            await self.gateway.top_up(service)

    async def own_sync(self, service: str) -> None:
        """Pull the slice of the case: locked at first, then free after a pause."""
        case, syncer = self.case, self.syncers[0]
        cost = -(-STORM // (6 * (case.end - case.begin)))
        if self.now == case.begin:
            await self.gateway.top_up(service)
            self.piece = f"{service[:3]}/{self.turn():05}"
            await syncer.open_slice(self.piece, service)
            self.storm = case.strikes("retry_storm", self.now)
            case.root(call(syncer.agent_id, "open_slice", piece=self.piece))
        for _ in range(6 if self.storm else 3 if self.now == case.begin else 0):
            self.pulls += 1
            await syncer.pull(self.piece, self.pulls, self.gateway, service, cost, True)
            if self.pulls <= 3:
                case.root(call(syncer.agent_id, "pull", piece=self.piece, turn=self.pulls))
        if self.storm:
            case.hop(call(self.gateway.agent_id, "spend", purpose=self.piece))
        elif self.now == case.begin:
            await syncer.pause(self.piece, 15)
            await syncer.pull(self.piece, 9, self.gateway, service, cost, False)

    async def verify(self, service: str) -> None:
        """Compare a whole service, which takes much of its quota."""
        asked = await self.check.alog_action("start_verify", {"service": service, "round": self.now})
        if await self.gateway.spend(service, VERIFY, f"verify {self.now}"):
            await self.check.alog_action("verified", {"service": service, "rows": 10**6})
            return
        self.case.trigger(asked)
        self.case.hop(call(self.gateway.agent_id, "spend", purpose=f"verify {self.now}"))
        event = await self.owner.alog_action("postpone_release", {"service": service})
        self.case.symptom(
            event,
            f"nightly_check could not look at {service}, it was told that nothing is left to spend",
            f"why is the quota of {service} empty? We hardly touch that one",
            f"The release of {service} is off because the big comparison never ran",
            "We had a thousand credits for one service and they are gone. Who used them?",
        )

    async def export(self, rng: Random, table: str) -> None:
        """Export a table, and compare its header with the catalog."""
        turn = self.turn()
        columns = await self.exporter.export(table, self.mapper, turn)
        await self.check.alog_action("read_header", {"table": table, "columns": columns})
        if sorted(columns) != sorted(SOURCE.columns[table]):
            self.case.hop(
                call(self.mapper.agent_id, "columns_of", turn=turn),
                call(self.exporter.agent_id, "export", turn=turn),
            )
            event = await AgentLogger("finance_team", "reader").alog_action(
                "reject_extract", {"table": table}
            )
            self.case.symptom(
                event,
                f"finance_team cannot read the extract of {table}, a column has the wrong name",
                f"Why does {self.exporter.agent_id} still write the old header for {table}?",
                f"the extract of {table} does not fit the table any more",
                "we renamed a column ages ago and the file for accounting does not know about it",
            )

    async def rename(self, rng: Random, table: str, *, planned: bool = False) -> None:
        """Rename a column of an old table, and let the mapper forget what it knew."""
        old = rng.choice(SOURCE.columns[table])
        new = f"{old}_{self.turn()}"
        SOURCE.columns[table] = [new if name == old else name for name in SOURCE.columns[table]]
        event = await AgentLogger("dba_moss", "dba").alog_action(
            "rename_column", {"table": table, "old": old, "new": new}
        )
        if planned:
            self.case.root(event)
        if table in self.mapper.known and not (planned and self.case.strikes("stale_cache", self.now)):
            await self.mapper.forget(table)

    async def planned(self, rng: Random) -> None:
        """Do the acts of the case."""
        case, now, own, service = self.case, self.now, self.own, SOURCE.service[self.own]
        if case.has("retry_storm") and case.begin <= now < case.end:
            await self.own_sync(service)
        if now == case.begin - 1 and case.has("stale_cache"):
            await self.export(rng, own)
        if now == case.begin:
            if case.has("stale_cache"):
                await self.rename(rng, own, planned=True)
            elif case.has("trusted_tool"):
                if case.strikes("trusted_tool", now):
                    SOURCE.partial.add(own)
                case.root(call(self.surveyor.agent_id, "measure", table=own))
                ticket, done = await self.ticket(self.coders[0], own, 1)
                case.hop(call(self.coders[0].agent_id, "migrate", ticket=ticket))
                self.width = done["width"]
            elif case.has("race"):
                one, two = self.coders[:2]
                if case.strikes("race", now):
                    LOCKS[two.agent_id, service] = asyncio.Lock()
                both = await asyncio.gather(self.ticket(one, own, 0), self.ticket(two, self.twin, 2))
                LOCKS[two.agent_id, service] = LOCKS[one.agent_id, service]
                self.pair = {both[0][0]: own, both[1][0]: self.twin}
                for ticket in self.pair:
                    case.root(call(self.numbers.agent_id, "add_file", ticket=ticket))
                case.root(call(self.numbers.agent_id, "highest", ticket=both[1][0]))
        if now == case.end:
            await self.at_end(rng, service)

    async def at_end(self, rng: Random, service: str) -> None:
        """Do what shows the symptom."""
        case = self.case
        if case.has("retry_storm"):
            await self.verify(service)
        elif case.has("stale_cache"):
            await self.export(rng, self.own)
        elif case.has("trusted_tool"):
            await self.load(rng, self.own, self.width)
        else:
            await self.release(service)

    async def release(self, service: str) -> None:
        """Roll out the files that were kept for the release, and look for their tables."""
        kept = [ticket for ticket in self.files.values() if ticket in self.pair]
        for (name, number), ticket in self.files.items():
            if ticket in kept:
                self.case.hop(
                    await self.owner.alog_action(
                        "roll_out", {"file": f"V{number}__{name}.sql", "ticket": ticket}
                    )
                )
        for ticket, table in self.pair.items():
            found = "there" if ticket in kept else "none"
            seen = await self.check.alog_action("look_for_table", {"table": table, "found": found})
            if found == "none":
                self.case.hop(seen)
                event = await self.check.alog_action("open_incident", {"table": table})
                self.case.symptom(
                    event,
                    f"{table} has not been created by the release although the ticket is closed",
                    f"nightly_check finds no {table} in the new database",
                    f"where is {table}? reviewer_oak approved it, I saw it with my own eyes",
                    "one of the approved migrations has simply vanished from the release",
                )

    async def chores(self, rng: Random) -> None:
        """Talk, lint, warn, wait."""
        for _ in range(rng.randint(2, 5)):
            coder = rng.choice(self.coders)
            await AgentLogger(coder.agent_id, "coder").alog_action(
                rng.choice(("run_linter", "read_docs", "push_branch", "answer_comment")), {"round": self.now}
            )
        if rng.random() < 0.25:
            failed = await AgentLogger("ci_runner", "ci").aerror("image pull failed", extra={"seconds": 30})
            await AgentLogger("ci_runner", "ci").alog_action(
                "run_again", {"round": self.now}, causes=[failed]
            )
        if self.now == self.case.decoy_at:
            await AgentLogger("ci_runner", "ci").alog_action(
                "change_image", {"tag": f"py{rng.randint(20, 40)}"}
            )
            await AgentLogger("dba_moss", "dba").alog_action("vacuum", {"service": SOURCE.service[self.own]})

    async def round(self, now: int) -> None:
        """Play one round, in which several agents work side by side."""
        self.now, case = now, self.case
        rng = case.rng(f"round/{now}")
        own_service = SOURCE.service[self.own]
        others = [name for name in SERVICES if name != own_service]
        with recorder.run("migration_crew", {"round": now}):
            await self.chores(case.rng(f"chores/{now}"))
            await self.planned(case.rng(f"planned/{now}"))
            busy = rng.sample(self.coders, rng.randint(1, 3))
            shared = not case.has("retry_storm") or now < case.begin
            syncs = [rng.choice(SERVICES if shared else others) for _ in range(2)]
            await asyncio.gather(
                *(self.everyday_ticket(case.rng(f"{now}/{one.agent_id}"), one) for one in busy),
                *(
                    self.sync(case.rng(f"{now}/{one.agent_id}"), one, name)
                    for one, name in zip(self.syncers, syncs, strict=True)
                ),
            )
            if self.ready and rng.random() < 0.8:
                await self.load(case.rng(f"load/{now}"), *self.ready.pop(0))
            table = rng.choice(SOURCE.tables[8:28])
            if rng.random() < 0.5:
                await self.rename(case.rng(f"rename/{now}"), table)
            if rng.random() < 0.7:
                await self.export(rng, rng.choice(SOURCE.tables[8:28]))
            if rng.random() < 0.2:
                name = rng.choice(others)
                await self.gateway.top_up(name)
                await self.verify(name)


async def work(case: Case, rounds: int) -> None:
    """Play all rounds."""
    crew = Crew(case, rounds)
    locks = {service: asyncio.Lock() for service in SERVICES}
    LOCKS.clear()
    LOCKS.update({(coder.agent_id, service): locks[service] for coder in crew.coders for service in SERVICES})
    for now in range(rounds):
        await crew.round(now)


def play(case: Case) -> None:
    """Play some weeks of the migration."""
    vars(SOURCE).update(vars(Source(case.rng("source"))))
    for table in SOURCE.tables[:4]:
        SOURCE.longest[table] = case.rng("long").randint(40, 62)
    rounds = case.rng("size").choice((14, 24, 38, 54))
    case.window(rounds)
    asyncio.run(work(case, rounds))


WORLD = World("dbmigration", "spans", ("retry_storm", "trusted_tool", "race", "stale_cache"), play, 22)
