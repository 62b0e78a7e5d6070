"""`create_pool`: what was sent to a database is replayed from it by the calls that a trace root takes."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("sqlalchemy", reason="the store needs the extra [server]")

from Agent.errors import EventNotFound, InputError, RunNotFound, SessionNotFound, UsageError
from Agent.event.ids import uuid7
from Agent.flight import StepEvent, recorder
from Agent.flight.checkpoints.model import CheckpointInfo
from Agent.replay import CheckpointManager, ReplayConfig, ReplayExecutor
from Agent.replay.executors import register_executor, unregister_executor
from Agent.store import EventRow, RunRow, create_pool, open_store
from Agent.tree.write.artifacts import ROOT_RUN

T0 = 1_795_170_645_000_000
SESSION = uuid7(T0 // 1000, b"0123456789")


def sent_event(number: int, kind: str, body: dict, **more) -> EventRow:
    values = {
        "session_uid": SESSION,
        "event_id": f"k3v7q2ma-{number}",
        "ts_us": T0 + number * 1000,
        "kind": kind,
    }
    return EventRow(**values | {"agent_id": "weather", "run_id": "trace-123", "body": body} | more)


def events() -> list[EventRow]:
    """A run of two steps, as it comes with content."""
    rows = [sent_event(1, "run.started", {})]
    for number, output in ((2, '{"query":"weather"}'), (5, '{"answer":"sunny"}')):
        step, span = f"step_{number}", f"{number:016x}"
        ref = f"artifact://artifacts/steps/{step}.json"
        told = {"path": ref[11:], "ref": ref, "media_type": "application/json", "artifact_text": output}
        rows += [
            sent_event(number, "step.started", {"step_id": step, "step_span": span}),
            sent_event(number + 1, "artifact.saved", told | {"step_id": step}),
            sent_event(number + 2, "step.finished", {"step_id": step, "output_ref": ref}, span_id=span),
        ]
    return [*rows, sent_event(9, "run.finished", {"ok": True})]


@pytest.fixture
def filled(database_url):
    """A database that stores content, and holds a run."""
    with open_store(database_url) as store:
        project = store.set_content("default", allowed=True)
        store.ingest(project, events=events(), runs=[RunRow("trace-123", session_uid=SESSION)])
        store.ingest(project, runs=[RunRow("plain")])
    return database_url


def test_a_run_in_the_database_is_checkpointed_and_replayed_in_this_process(filled):
    async def shout(input, state, config, overrides=None):
        return {"answer": state["step_2"]["query"].upper()}

    async def whole():
        async with create_pool(filled) as pool:
            manager = CheckpointManager(pool)
            ids = await manager.auto_checkpoint_trace("trace-123")
            result = await ReplayExecutor(manager, pool).replay(ids[0], ReplayConfig(executor="shout"))
            root = pool.trace_root
        assert not root.exists()
        return ids, result

    register_executor("shout", shout)
    try:
        ids, result = asyncio.run(whole())
    finally:
        unregister_executor("shout")
    assert ids == ["trace-123:step_2", "trace-123:step_5"]
    assert result.diff["changed"] == {"answer": {"old": "sunny", "new": "WEATHER"}}
    with open_store(filled, role="replay") as store:
        project = store.find_project("default")
        assert [row["checkpoint_id"] for row in store.list_checkpoints(project, "trace-123").items] == ids
        (kept,) = store.list_replays(project, "trace-123").items
        assert (kept["replay_id"], kept["status"]) == (result.replay_id, "completed")
        assert '"WEATHER"' in store.find_replay(project, kept["replay_id"])["result"]


@pytest.mark.further
def test_what_one_pool_keeps_another_one_finds_and_what_it_deletes_is_gone(filled):
    async def made():
        async with create_pool(filled) as pool:
            ids = await CheckpointManager(pool).auto_checkpoint_trace("trace-123")
            given = {"run_id": "plain", "step_id": "by_hand", "state": {"seen": (1, 2)}}
            return [*ids, await CheckpointManager(pool).create_checkpoint(given)]

    async def again(ids):
        async with create_pool(filled) as one, create_pool(filled) as other:
            first, second = CheckpointManager(one), CheckpointManager(other)
            assert (await first.get_checkpoint(ids[2])).state == {"seen": (1, 2)}
            assert [each.checkpoint_id for each in await second.list_checkpoints("trace-123")] == ids[:2]
            assert await first.delete_checkpoint(ids[0])
            assert not await first.delete_checkpoint(ids[0])
            assert [each.checkpoint_id for each in await second.list_checkpoints("trace-123")] == ids[1:2]

    ids = asyncio.run(made())
    assert ids[2] == "plain:by_hand"
    asyncio.run(again(ids))


def test_events_that_come_later_are_seen_by_a_pool_that_is_open(filled):
    async def whole():
        async with create_pool(filled) as pool:
            manager = CheckpointManager(pool)
            assert await manager.list_checkpoints("trace-123") == []
            with open_store(filled) as store:
                late = RunRow("late", session_uid=SESSION)
                ref = "artifact://artifacts/steps/one.json"
                rows = [
                    sent_event(20, "step.started", {"step_id": "one", "step_span": "f" * 16}, run_id="late"),
                    sent_event(21, "artifact.saved", {"ref": ref, "artifact_text": "7"}, run_id="late"),
                    sent_event(
                        22,
                        "step.finished",
                        {"step_id": "one", "output_ref": ref},
                        run_id="late",
                        span_id="f" * 16,
                    ),
                ]
                store.ingest(store.find_project("default"), events=rows, runs=[late])
            return await manager.auto_checkpoint_trace("late")

    assert asyncio.run(whole()) == ["late:one"]


def test_runs_that_are_not_there_and_pools_that_are_not_open_say_so(filled):
    async def whole():
        async with create_pool(filled) as pool:
            with pytest.raises(RunNotFound) as unknown:
                await CheckpointManager(pool).auto_checkpoint_trace("unknown")
            assert f"in {pool.name}, nor under {pool.local_root}" in str(unknown.value)
            assert "agent-trace-pool" not in str(unknown.value)
            for name in ("\ud800", "a\0b", "last:\udfff", "trace-123:\ud800:agent"):
                for question in ("auto_checkpoint_trace", "list_checkpoints", "get_checkpoint"):
                    with pytest.raises(UsageError):
                        await getattr(CheckpointManager(pool), question)(name)
            with pytest.raises(EventNotFound, match="if it was sent without content"):
                await CheckpointManager(pool).auto_checkpoint_trace("plain")
            with open_store(filled) as store:
                store.set_content("default", allowed=False)
        async with create_pool(filled) as pool:
            with pytest.raises(UsageError, match="stores no content"):
                await CheckpointManager(pool).auto_checkpoint_trace("trace-123")
        with pytest.raises(InputError, match="no project"):
            await create_pool(filled, project="shop")
        with pytest.raises(UsageError, match="not open"):
            CheckpointManager(create_pool(filled))

    asyncio.run(whole())


def test_a_run_that_this_program_recorded_is_found_beside_the_database_and_stays_here(filled, trace_root):
    with recorder.run("weather") as run:
        for number in (1, 2):
            recorder.record_step(StepEvent(f"s{number}", {"n": number - 1}, output_state={"n": number}))

    async def whole():
        async with create_pool(filled) as pool:
            manager = CheckpointManager(pool)
            ids = await manager.auto_checkpoint_trace(run.run_id)
            assert [each.checkpoint_id for each in await manager.list_checkpoints(run.run_id)] == ids
            assert (await manager.get_checkpoint(ids[1])).state == {"n": 1}
            result = await ReplayExecutor(manager, pool).replay(ids[1], ReplayConfig(dry_run=True))
            assert result.replay_id
            assert await manager.delete_checkpoint(ids[2])
            # what the database knows is found there all the same
            assert await manager.auto_checkpoint_trace("trace-123")
            return ids

    assert asyncio.run(whole()) == [f"{run.run_id}:{step}" for step in ("start", "s1", "s2")]
    with open_store(filled, role="replay") as store:
        assert store.list_checkpoints(store.find_project("default"), run.run_id).items == []


def test_a_session_that_is_not_of_the_database_is_refused_by_name(filled, tmp_path):
    info = CheckpointInfo(ROOT_RUN, "one", None, "2026-11-20T10:30:45Z", "snapshot", 1, 1, "")

    async def main():
        async with create_pool(filled) as pool:
            for ask in (
                lambda: pool.keep(tmp_path, [info]),
                lambda: pool.drop(tmp_path, info),
                lambda: pool.keep_replay(tmp_path, info, "r1", {}),
            ):
                with pytest.raises(SessionNotFound, match="the session is not one of the database"):
                    ask()

    asyncio.run(main())


def test_an_elided_url_means_the_database_of_the_environment(filled, monkeypatch):
    async def ids():
        pool = await create_pool("postgresql://...")
        try:
            return await CheckpointManager(pool).auto_checkpoint_trace("trace-123")
        finally:
            await pool.close()

    monkeypatch.delenv("AGENT_TRACE_DATABASE", raising=False)
    with pytest.raises(UsageError, match="AGENT_TRACE_DATABASE"):
        asyncio.run(ids())
    monkeypatch.setenv("AGENT_TRACE_DATABASE", filled)
    assert asyncio.run(ids()) == ["trace-123:step_2", "trace-123:step_5"]
