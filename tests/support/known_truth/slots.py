"""What each slot of an agent's tick says, planted faults included; special cases stand before the usual ones.

`lines` makes the query of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from .faults import Fault, find
from .plan import LEARNING_TICKS, SLOTS, Plan
from .text import TOPIC, Said, quoted, span_id, text, topic

__all__ = ["agent_slots", "is_struck", "lookup_ms", "publishes_now"]


def is_struck(fault: Fault | None, ticks: str) -> str:
    """Whether the cell is one of a fault's agent in some of its ticks; `@` stands for its tick."""
    if fault is None:
        return "false"
    return f"(a = {fault.agent} AND t {ticks.replace('@', str(fault.tick))})"


def lookup_ms(plan: Plan, faults: Sequence[Fault]) -> str:
    """How long a lookup takes."""
    usual = f"(0.25 + 0.2 * {plan.draw_sql(1)})"
    slow = find(faults, "latency_step")
    if slow is not None:
        usual = f"({usual} * CASE WHEN t > {slow.tick} THEN 20 ELSE 1 END)"
    return f"round({usual}, 3)"


def publishes_now(plan: Plan, faults: Sequence[Fault]) -> str:
    """Whether an agent publishes in a tick."""
    stopped = is_struck(find(faults, "missing_action"), ">= @")
    return f"({plan.draw_sql(2)} < 0.75 AND NOT {stopped})"


def agent_slots(plan: Plan, faults: Sequence[Fault]) -> list[Said]:
    """What each slot says, more special cases first."""
    return [
        *_deciding(plan),
        *_looking_up(plan, faults),
        *_publishing(plan, faults),
        *_talking(plan, faults),
        *_changing(plan, faults),
        *_learning(plan, faults),
        *_stepping(plan),
    ]


def _deciding(plan: Plan) -> list[Said]:
    epsilon = "round(0.3 * exp(-t / 200.0) + 0.02, 4)"
    explored = f"({plan.draw_sql(3)} < {epsilon})"
    payload = text(
        quoted(',"action_selected":"'),
        TOPIC,
        quoted('","exploration":'),
        explored,
        quoted(',"epsilon":'),
        epsilon,
        quoted(',"mode":"'),
        f"CASE WHEN {explored} THEN 'exploration' ELSE 'exploitation' END",
        "'\"'",
    )
    return [
        Said(
            "s = 0",
            "exploration",
            quoted("Chooses a topic"),
            payload,
            "DEBUG",
            "learning",
            parent=span_id(plan, 0),
        )
    ]


def _looking_up(plan: Plan, faults: Sequence[Fault]) -> list[Said]:
    poisoned = f"({is_struck(find(faults, 'poisoned_message'), '> @')} AND {plan.draw_sql(4)} < 0.9)"
    failed = f"({plan.draw_sql(5)} < 0.004)"
    error_id = plan.id_sql("a", "t", "1")

    def error(when: str, name: str, message: str) -> Said:
        payload = quoted(f',"error_type":"{name}","error_message":"{message}","action_type":"lookup"')
        return Said(
            f"s = 1 AND {when}",
            "error",
            quoted(f"{name}: {message}"),
            payload,
            "ERROR",
            parent=span_id(plan, 1),
            name=name,
        )

    def action(when: str, end: str) -> Said:
        payload = text(
            quoted(',"action_type":"lookup","call":"Agent.lookup","args":{"topic":"'),
            TOPIC,
            quoted('"}'),
            end,
            quoted(',"duration_ms":'),
            "lookup_ms",
        )
        return Said(
            f"s = 2{when}",
            "agent_action",
            quoted("Agent action: lookup"),
            payload,
            span=span_id(plan, 1),
            parent=span_id(plan, 0),
            name="lookup",
        )

    ended = text(quoted(',"outcome":"error","error_id":"'), error_id, "'\"'")
    found = text(quoted(',"result":{"heat":'), f"round({plan.draw_sql(6)}, 3)", "'}'")
    return [
        error(poisoned, "IndexMissing", "there is no index to look in"),
        error(failed, "LookupTimeout", "no answer within 200 ms"),
        Said("s = 1", "log", quoted("asks the index"), level="DEBUG", parent=span_id(plan, 1)),
        action(f" AND ({poisoned} OR {failed})", ended),
        action("", found),
    ]


def _publishing(plan: Plan, faults: Sequence[Fault]) -> list[Said]:
    stuck = is_struck(find(faults, "stuck_loop"), ">= @")
    content_id = text("'c'", "a", "'-'", "t")
    return [
        *_making(plan, stuck, content_id),
        *_publishing_actions(plan, stuck, content_id),
        *_rewards(plan, faults, stuck),
    ]


def _rewards(plan: Plan, faults: Sequence[Fault], stuck: str) -> list[Said]:
    bad = is_struck(find(faults, "reward_collapse"), "> @")
    mean = f"CASE WHEN {bad} THEN 100 ELSE 1000 END"
    spread = f"CASE WHEN {bad} THEN 100 ELSE 600 END"
    earned = f"({mean} + (({plan.draw_sql(7)} - 0.5) * {spread})::BIGINT)"

    def rewarded(when: str, thousandths: str) -> Said:
        payload = text(
            quoted(',"reward":'),
            f"({thousandths} / 1000.0)::DOUBLE",
            quoted(',"action_id":"'),
            plan.id_sql("a", "t", "4"),
            quoted('","learning_type":"q"'),
        )
        causes = text("'\"'", plan.id_sql("a", "t", "4"), "'\"'")
        return Said(
            f"s = 5{when}",
            "reward",
            quoted("Reward"),
            payload,
            logger="learning",
            parent=span_id(plan, 0),
            causes=causes,
            reward=thousandths,
        )

    return [rewarded(f" AND {stuck}", "0"), rewarded(" AND publishes", earned), rewarded("", "0")]


def _publishing_actions(plan: Plan, stuck: str, content_id: str) -> list[Said]:
    # what it made stands one step before it
    took_ms = round(plan.step_us / 1000 + 0.05, 3)

    def action(when: str, name: str, args: str, end: str) -> Said:
        payload = text(
            quoted(f',"action_type":"{name}","call":"Agent.{name}","args":'),
            args,
            end,
            quoted(f',"duration_ms":{took_ms}'),
        )
        return Said(
            f"s = 4{when}",
            "agent_action",
            quoted(f"Agent action: {name}"),
            payload,
            span=span_id(plan, 2),
            parent=span_id(plan, 0),
            name=name,
        )

    failed = text(quoted(',"outcome":"error","error_id":"'), plan.id_sql("a", "t", "3"), "'\"'")
    draft = text(quoted('{"draft":"'), content_id, quoted('"}'))
    return [
        action(f" AND {stuck}", "retry_publish", quoted('{"draft":"the locked one"}'), failed),
        action(" AND publishes", "publish", draft, quoted(',"result":{"ok":true}')),
        action("", "rest", quoted("{}"), quoted(',"result":null')),
    ]


def _making(plan: Plan, stuck: str, content_id: str) -> list[Said]:
    locked = quoted(
        ',"error_type":"DraftLocked","error_message":"the draft is locked by another publication",'
        '"action_type":"retry_publish"'
    )
    made = text(quoted(',"content_type":"post","content_id":"'), content_id, quoted('","metadata":{"words":'),
                 f"(80 + 400 * {plan.draw_sql(8)})::BIGINT", "'}'")  # fmt: skip
    message = quoted("DraftLocked: the draft is locked by another publication")
    return [
        Said(
            f"s = 3 AND {stuck}",
            "error",
            message,
            locked,
            "ERROR",
            parent=span_id(plan, 2),
            name="DraftLocked",
        ),
        Said(
            "s = 3 AND publishes",
            "content_generation",
            quoted("Content generated"),
            made,
            parent=span_id(plan, 2),
        ),
        Said(
            "s = 3",
            "decision",
            quoted("Decision: wait"),
            quoted(',"decision_type":"wait"'),
            parent=span_id(plan, 0),
        ),
    ]


def _talking(plan: Plan, faults: Sequence[Fault]) -> list[Said]:
    poison = find(faults, "poisoned_message")
    bad_sender = "false"
    if poison is not None:
        sender = plan.sender_to(poison.agent, poison.tick)
        bad_sender = f"(a = {sender} AND t = {poison.tick - 1})"
    recipient = f"((a + 1 + t % 7) % {plan.agents})"
    sender_sql = f"((a - 1 - (t - 1) % 7 + {plan.agents * 8}) % {plan.agents})"

    def named(agent: str) -> str:
        return f"concat('agent_', lpad(({agent})::VARCHAR, 5, '0'))"

    def half(when: str, direction: str, ends: tuple[str, str], tick: str, body: str, causes: str) -> Said:
        payload = text(
            quoted(f',"direction":"{direction}","message_id":"m'),
            ends[0],
            "'-'",
            tick,
            quoted('","sender":"'),
            named(ends[0]),
            quoted('","recipient":"'),
            named(ends[1]),
            quoted('","body":'),
            body,
        )
        message = quoted(f"Message {direction}")
        return Said(when, "agent_message", message, payload, parent=span_id(plan, 0), causes=causes)

    good = text(quoted('{"trend":"'), TOPIC, quoted('"}'))
    heard = text(quoted('{"trend":"'), topic(sender_sql, "t - 1"), quoted('"}'))
    bad = quoted('{"replace_index":null}')
    causes = text("'\"'", plan.id_sql(sender_sql, "t - 1", "6"), "'\"'")
    received = ("t - 1", sender_sql)
    return [
        half(f"s = 6 AND {bad_sender}", "sent", ("a", recipient), "t", bad, ""),
        half("s = 6", "sent", ("a", recipient), "t", good, ""),
        half(f"s = 7 AND {is_struck(poison, '= @')}", "received", (received[1], "a"), "(t - 1)", bad, causes),
        half("s = 7 AND t > 0", "received", (received[1], "a"), "(t - 1)", heard, causes),
        Said("s = 7", "log", quoted("the inbox is empty"), level="DEBUG", parent=span_id(plan, 0)),
    ]


def _changing(plan: Plan, faults: Sequence[Fault]) -> list[Said]:
    received = text("'\"'", plan.id_sql("a", "t", "7"), "'\"'")

    def changed(when: str, trigger: str, old: str, new: str, causes: str = "") -> Said:
        payload = quoted(f',"trigger":"{trigger}","old_state":{old},"new_state":{new}')
        message = quoted(f"State change: {trigger}")
        return Said(
            f"s = 8 AND {when}", "state_change", message, payload, parent=span_id(plan, 0), causes=causes
        )

    stopped = quoted(
        ',"strategy_type":"publishing","old_strategy":{"publish":0.75},"new_strategy":{"publish":0.0},'
        '"reason":"cost"'
    )
    before = "= @ - 1"
    return [
        changed(
            is_struck(find(faults, "stuck_loop"), before), "lock", '{"draft":"free"}', '{"draft":"locked"}'
        ),
        changed(
            is_struck(find(faults, "poisoned_message"), "= @"),
            "message",
            '{"index":"full"}',
            '{"index":null}',
            received,
        ),
        Said(
            f"s = 8 AND {is_struck(find(faults, 'missing_action'), before)}",
            "strategy_update",
            quoted("Strategy update: publishing"),
            stopped,
            parent=span_id(plan, 0),
        ),
        changed("t % 10 = 9", "mood", '{"mood":"eager"}', '{"mood":"calm"}'),
        Said(
            "s = 8",
            "decision",
            quoted("Decision: plan"),
            quoted(',"decision_type":"plan"'),
            parent=span_id(plan, 0),
        ),
    ]


def _learning(plan: Plan, faults: Sequence[Fault]) -> list[Said]:
    due = f"t % {LEARNING_TICKS} = {LEARNING_TICKS - 1}"
    ids = text(
        *(
            part
            for back in range(LEARNING_TICKS - 1, -1, -1)
            for part in ("'\"'", plan.id_sql("a", f"t - {back}", "5"), "'\"'" if not back else "'\",'")
        )
    )
    experience = text(
        quoted(',"learning_stage":"q_update","update_data":{"experience":['),
        ids,
        quoted(']},"duration_ms":0.05'),
    )
    learned = text("'\"'", plan.id_sql("a", "t", "9"), "'\"'")
    new = quoted(',"policy_data":{"learning_rate":0.1,"quality":0.8},"learning_type":"q"')
    bad = quoted(',"policy_data":{"learning_rate":10.0,"quality":0.0},"learning_type":"q"')
    bad_now = is_struck(find(faults, "reward_collapse"), "= @")
    step = text(
        quoted(',"step":'),
        "t",
        quoted(',"metrics":{"loss":'),
        "round(greatest(exp(-t / 100.0), 0.001), 4)",
        "'}'",
    )
    inside = span_id(plan, 0)
    return [
        Said(f"s = 9 AND {due}", "learning_update", quoted("Learning update: q_update"), experience,
             logger="learning", span=span_id(plan, 3), parent=inside, causes=ids),
        Said(f"s = 9 AND t % {LEARNING_TICKS} = 3", "training_step", quoted("Training step"), step,
             logger="learning", parent=inside),
        Said("s = 9", "log", quoted("keeps what it has learned"), level="DEBUG", parent=inside),
        Said(f"s = 10 AND {bad_now}", "policy_update", quoted("Policy update"), bad,
             logger="learning", parent=inside, causes=learned),
        Said(f"s = 10 AND {due}", "policy_update", quoted("Policy update"), new,
             logger="learning", parent=inside, causes=learned),
        Said("s = 10", "log", quoted("follows its policy"), level="DEBUG", parent=inside),
    ]  # fmt: skip


def _stepping(plan: Plan) -> list[Said]:
    """The outermost action of a tick; the first after an update is caused by it."""
    used = text("'\"'", plan.id_sql("a", "t - 1", "10"), "'\"'")
    payload = text(
        quoted(',"action_type":"step","call":"Agent.step","root":true,"args":{"tick":'),
        "t",
        quoted('},"result":{"did":"'),
        "CASE WHEN publishes THEN 'publish' ELSE 'rest' END",
        quoted('"},"duration_ms":'),
        f"round(lookup_ms + {SLOTS * plan.step_us / 1000}, 3)",
    )
    tail = text(
        quoted(',"code":"5f0c9a1e22b7d6c4","state":{"set":{"ticks":'), "t + 1", quoted('},"unset":[]}')
    )

    def step(when: str, causes: str) -> Said:
        message = quoted("Agent action: step")
        return Said(
            when,
            "agent_action",
            message,
            payload,
            span=span_id(plan, 0),
            tail=tail,
            causes=causes,
            name="step",
        )

    return [step(f"s = 11 AND t > 0 AND t % {LEARNING_TICKS} = 0", used), step("s = 11", "")]
