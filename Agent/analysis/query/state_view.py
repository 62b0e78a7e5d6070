"""The view `action_states`: the state of an agent after each of its actions."""

# ruff: noqa: S608 - statements are built only from names of this package
from __future__ import annotations

from typing import Final

from Agent.analysis.query.views import ACTION_STATES, EACH, KEYS, OBJECT, Only, scan

_STATE_KINDS: Final = ("agent_action", "state", "state_change")
_STATE_KEYS: Final = (
    "action_type",
    "outcome",
    "duration_ms",
    "fields",
    "changed",
    "unset",
    "trigger",
    "reason",
)


def action_states() -> str:
    """The statement that creates the view `action_states`, the same for both engines.

    The fold is that of `Agent.flight.checkpoints.state_fold`, without the fields that only a run's checkpoint
    stored. Its columns identify the action and its position, and `state` is a JSON object of all fields after
    the action. A value is valid from the event that set it until another event sets or unsets it, or a full
    state lacks it.
    """
    return f"CREATE OR REPLACE TEMP VIEW {ACTION_STATES} AS {_STATE_FOLD}"


_STATE_LINES: Final = scan(*_STATE_KEYS, only=Only(_STATE_KINDS))
_OF_ACTIONS: Final = (
    "a.ts_us, a.timestamp, a.id, a.tick, a.agent_id, a.agent_role, a.action_type, a.outcome, a.duration_ms"
)
_STATE_FOLD: Final = f"""
WITH lines AS (
    SELECT *, CAST(row_number() OVER (PARTITION BY agent_id ORDER BY ts_us, writer, seq) AS BIGINT) AS place,
        CASE WHEN event_type = 'state' THEN fields WHEN trigger IN ('outside', 'intervention') THEN changed
            ELSE json_part(state, 'set') END AS new,
        CASE WHEN trigger IN ('outside', 'intervention') THEN unset ELSE json_part(state, 'unset') END AS gone
    FROM {_STATE_LINES} WHERE agent_id IS NOT NULL AND event_type IN ('agent_action', 'state', 'state_change')
), bases AS (
    SELECT *, max(CASE WHEN event_type = 'state' AND reason IS DISTINCT FROM 'gone' THEN place END)
        OVER (PARTITION BY agent_id ORDER BY place) AS base FROM lines
), writes AS (
    SELECT agent_id, place, field, json_part(new, field) AS value
    FROM (SELECT agent_id, place, new, {EACH}({KEYS}(new)) AS field FROM lines WHERE is_json_object(new))
    UNION ALL SELECT agent_id, place, {EACH}(names) AS field, NULL
        FROM (SELECT agent_id, place, json_texts(gone) AS names FROM lines)
), held AS (
    SELECT *, lead(place, 1, 9223372036854775807) OVER (PARTITION BY agent_id, field ORDER BY place) AS until
    FROM writes
)
SELECT {_OF_ACTIONS},
    {OBJECT} AS state
FROM bases a LEFT JOIN held h
    ON h.agent_id = a.agent_id AND h.place <= a.place AND a.place < h.until AND h.place >= coalesce(a.base, 0)
WHERE a.event_type = 'agent_action' GROUP BY a.place, {_OF_ACTIONS}
"""
