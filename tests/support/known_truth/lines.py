"""The queries that make a generated session's lines, block by block, in the order in which they are written.

`generator` runs them; `plan` says which number, time and span each line has.
"""

from __future__ import annotations

from collections.abc import Sequence

from .faults import Fault, find
from .plan import GROUP_EVENTS, METRIC_EVENTS, SLOTS, START_US, Plan
from .slots import agent_slots, lookup_ms, publishes_now
from .text import Said, cases, line_of, quoted, text

__all__ = ["agent_block", "group_block", "metric_block"]


def agent_block(plan: Plan, session_id: str, faults: Sequence[Fault]) -> str:
    """A query for (a, kind, name, reward in thousandths, line) of $2 agents from $1 on in $4 ticks from $3.

    Rows come by agent, tick and slot.
    """
    said = agent_slots(plan, faults)
    own = text(quoted('"agent_id":"'), "agent_id", quoted('","agent_role":"'), "role", quoted('",'))
    lines = {place: line_of(each, session_id, own) for place, each in enumerate(said)}
    kinds = {place: quoted(each.kind) for place, each in enumerate(said)}
    rewards = {place: each.reward or "NULL" for place, each in enumerate(said)}
    names = {place: quoted(each.name) for place, each in enumerate(said)}
    cells = (
        f"SELECT $1::BIGINT + r // ($4::BIGINT * {SLOTS}) AS a, $3::BIGINT + r // {SLOTS} % $4::BIGINT AS t, "
        f"r % {SLOTS} AS s FROM range(0, $2::BIGINT * $4::BIGINT * {SLOTS}) AS cells(r)"
    )
    placed = (
        f"SELECT a, t, s, {plan.per_process(list(plan.writers))} AS writer, "
        f"{plan.seq_sql('a', 't', 's')} AS seq, {START_US} + (t + 1) * {plan.tick_us} + "
        f"(a // {plan.processes} * {SLOTS} + s) * {plan.step_us} AS us, "
        f"concat('agent_', lpad(a::VARCHAR, 5, '0')) AS agent_id, "
        f"(['creator', 'curator', 'critic'])[a % 3 + 1] AS role, {lookup_ms(plan, faults)} AS lookup_ms, "
        f"{publishes_now(plan, faults)} AS publishes FROM ({cells})"
    )
    return (
        f"SELECT a, {cases(said, kinds, 'NULL')} AS kind, {cases(said, names, 'NULL')} AS name, "
        f"{cases(said, rewards, 'NULL')} AS reward, "
        f"{cases(said, lines, 'NULL')} AS line FROM ({placed})"
    )


def group_block(plan: Plan, session_id: str, faults: Sequence[Fault], process: int) -> str:
    """A query for (category, kind, line) of what a process says of no single agent in $2 ticks from $1 on."""
    said = _group(plan, faults, process)
    lines = {place: line_of(each, session_id, "''") for place, each in enumerate(said)}
    kinds = {place: quoted(each.kind) for place, each in enumerate(said)}
    categories = {place: quoted(each.category) for place, each in enumerate(said)}
    first = plan.base(process) + plan.own_agents(process) * SLOTS
    late = plan.own_agents(process) * SLOTS * plan.step_us
    cells = (
        f"SELECT $1::BIGINT + r // {GROUP_EVENTS} AS t, r % {GROUP_EVENTS} AS s "
        f"FROM range(0, $2::BIGINT * {GROUP_EVENTS}) AS cells(r)"
    )
    placed = (
        f"SELECT t, s, {quoted(plan.writers[process])} AS writer, "
        f"{first} + t * {plan.stride(process)} + s + 1 AS seq, "
        f"{START_US} + (t + 1) * {plan.tick_us} + {late} + s * {plan.step_us} AS us, "
        # an agent of this process, another in every tick
        f"{process} + (t % {plan.own_agents(process)}) * {plan.processes} AS a FROM ({cells})"
    )
    return (
        f"SELECT {cases(said, categories, 'NULL')} AS category, {cases(said, kinds, 'NULL')} AS kind, "
        f"{cases(said, lines, 'NULL')} AS line FROM ({placed})"
    )


def _group(plan: Plan, faults: Sequence[Fault], process: int) -> list[Said]:
    who = "concat('agent_', lpad(a::VARCHAR, 5, '0'))"
    other = f"concat('agent_', lpad(((a + t % 5 + 1) % {plan.agents})::VARCHAR, 5, '0'))"
    content = "concat('c', a, '-', t)"
    made = text("'\"'", plan.id_sql("a", "t", "3"), "'\"'")
    slow = find(faults, "latency_step")
    changed = f"t = {slow.tick}" if slow is not None and process == 0 else "false"
    pair = ['\'","target_id":"\'', other]
    like = text(
        quoted(',"interaction_type":"like","source_id":"'),
        who,
        *pair,
        quoted('","content_id":"'),
        content,
        "'\"'",
    )
    follow = text(quoted(',"source_id":"'), who, *pair, quoted('","connection_type":"follow"'))
    joint = text(
        quoted(',"collaboration_type":"joint_post","participants":["'), who, "'\",\"'", other,
        quoted('"],"content_id":"'),
        content, "'\"'",
    )  # fmt: skip
    spread = text(
        quoted(',"content_id":"'), content, quoted('","size":'), f"(1 + 50 * {plan.draw_sql(9)})::BIGINT",
        quoted(',"depth":'), "t % 4 + 1", quoted(',"root_agent_id":"'), who, "'\"'",
    )  # fmt: skip
    pool = quoted(',"name":"connection_pool","old_value":32,"new_value":1')
    saved = text(quoted(',"name":"tick '), "t", "'\"'")
    social = {"logger": "interaction", "category": "interactions"}
    own = {"logger": "system"}
    return [
        Said("s = 0", "interaction", quoted("Interaction: like"), like, causes=made, **social),
        Said("s = 1", "cascade", quoted("Cascade"), spread, causes=made, **social),
        Said("s = 2 AND t % 2 = 0", "connection", quoted("Connection"), follow, **social),
        Said("s = 2", "collaboration", quoted("Collaboration: joint_post"), joint, **social),
        Said(f"s = 3 AND {changed}", "system.config", quoted("Configuration connection_pool"), pool,
             category="system", **own),
        Said("s = 3 AND t % 50 = 49", "checkpoint", quoted("Checkpoint"), saved, category="events", **own),
        Said("s = 3", "log", quoted("the tick is over"), level="DEBUG", category="system", **own),
    ]  # fmt: skip


def metric_block(plan: Plan, session_id: str, faults: Sequence[Fault]) -> str:
    """A query for (kind, line) of the performance metrics in ticks $1 to $1 + $2."""
    slow = find(faults, "latency_step")
    factor = "1.0" if slow is None else f"(CASE WHEN t > {slow.tick} THEN 20.0 ELSE 1.0 END)"
    took = f"round({factor} * (30 + 10 * {plan.draw_sql(10, '1')}), 3)"
    tick = text(quoted(',"metric_name":"tick","value":'), took, quoted(',"unit":"ms","duration_ms":'), took)
    flow = text(quoted(f',"operation":"step","count":{plan.agents},"duration_s":'), f"{took} / 1000")
    used = text(quoted(',"memory_bytes":'), f"(200000000 + 20000000 * {plan.draw_sql(11, '1')})::BIGINT",
                 quoted(',"cpu_percent":'), f"round(60 + 30 * {plan.draw_sql(12, '1')}, 1)")  # fmt: skip
    span = f"lpad(lower(to_hex({plan.agents * plan.ticks * 4 + 5} + t)), 16, '0')"
    said = [
        Said("s = 0", "metric", quoted("Metric tick"), tick, logger="performance", span=span),
        Said("s = 1", "throughput", quoted("Throughput step"), flow, logger="performance"),
        Said("s = 2", "resource", quoted("Resources"), used, logger="performance"),
    ]
    lines = {place: line_of(each, session_id, "''") for place, each in enumerate(said)}
    kinds = {place: quoted(each.kind) for place, each in enumerate(said)}
    cells = (
        f"SELECT $1::BIGINT + r // {METRIC_EVENTS} AS t, r % {METRIC_EVENTS} AS s "
        f"FROM range(0, $2::BIGINT * {METRIC_EVENTS}) AS cells(r)"
    )
    placed = (
        f"SELECT t, s, {quoted(plan.metric_writer)} AS writer, 1 + t * {METRIC_EVENTS} + s + 1 AS seq, "
        f"{START_US} + (t + 2) * {plan.tick_us} - 10 + s AS us FROM ({cells})"
    )
    return (
        f"SELECT {cases(said, kinds, 'NULL')} AS kind, {cases(said, lines, 'NULL')} AS line FROM ({placed})"
    )
