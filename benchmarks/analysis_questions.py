"""The same questions in everybody's own words: Agent Trace, DuckDB by hand, jq, lnav.

By hand means: the columns that the question needs and nothing else, no damaged lines told apart, no
envelope, no order of files. Who reads the files by hand knows where one agent's lie as well as anybody.
"""

from __future__ import annotations

from dataclasses import dataclass

from Agent.analysis.query.views import scan

__all__ = ["JOURNEY_JQ", "JOURNEY_LNAV", "JOURNEY_SQL", "QUESTIONS", "Question", "by_hand"]


@dataclass(frozen=True)
class Question:
    """One question over all events, as SQL over a relation, and what it needs of a line."""

    name: str
    keys: tuple[str, ...]
    """Payload keys besides agent_id and event_type."""
    select: str
    """With `{lines}` for the relation."""
    condition: str = "true"
    order: str = ""
    by_time: bool = False
    """Whether it asks for a part of the time; `ts_us` then is a column."""
    jq: str = ""
    """A filter whose lines a `sort | uniq -c` or `awk` adds up."""
    tally: str = ""
    lnav: str = ""

    def own(self, condition: str) -> str:
        """For the engine of `Agent.analysis`."""
        return self._sql(scan(*self.keys), condition)

    def _sql(self, lines: str, condition: str) -> str:
        return f"{self.select.format(lines=f'{lines} WHERE {condition}')} {self.order}"


QUESTIONS = (
    Question(
        "rewards by agent",
        ("reward",),
        "SELECT agent_id, round(sum(reward), 6) AS total FROM {lines} GROUP BY agent_id",
        "event_type = 'reward'",
        jq='select(.extra.event_type=="reward")|"\\(.extra.agent_id) \\(.extra.reward)"',
        tally="awk '{s[$1]+=$2} END {for (a in s) printf \"%s %.6f\\n\", a, s[a]}'",
        lnav='SELECT "extra/agent_id" AS agent_id, round(sum("extra/reward"), 6) AS total FROM agent_trace '
        "WHERE \"extra/event_type\" = 'reward' GROUP BY 1",
    ),
    Question(
        "events by agent and kind",
        (),
        "SELECT agent_id, event_type, count(*) AS n FROM {lines} GROUP BY ALL",
    ),
    Question(
        "ten commonest errors",
        ("error_message",),
        "SELECT error_message, count(*) AS n FROM {lines} GROUP BY ALL",
        "event_type = 'error'",
        "ORDER BY n DESC, error_message LIMIT 10",
    ),
    Question(
        "a fiftieth of the time, by kind",
        (),
        "SELECT event_type, count(*) AS n FROM {lines} GROUP BY ALL",
        by_time=True,
    ),
)

_TYPES = {"reward": "DOUBLE", "error_message": "VARCHAR"}


def by_hand(question: Question, condition: str, *, sealed: bool) -> str:
    """For DuckDB, over files that are its one parameter."""
    if sealed:
        # the columns as they stand in a part: agent_id, event_type, ts_us and the payload's promoted keys
        lines = "(SELECT * FROM read_parquet(?))"
        return question._sql(lines, condition)
    extra = {"agent_id": "VARCHAR", "event_type": "VARCHAR"} | {key: _TYPES[key] for key in question.keys}
    members = ", ".join(f"{name} {sql_type}" for name, sql_type in extra.items())
    columns = ", ".join(f"extra.{name} AS {name}" for name in extra)
    time = "timestamp: 'VARCHAR', " if question.by_time else ""
    if question.by_time:
        columns += ", epoch_us(timestamp::TIMESTAMP) AS ts_us"
    lines = (
        f"(SELECT {columns} FROM read_json(?, format='newline_delimited', records=true, ignore_errors=true, "
        f"columns={{{time}extra: 'STRUCT({members})'}}))"
    )
    return question._sql(lines, condition)


JOURNEY_SQL = (
    "SELECT timestamp, id, message, extra FROM read_json(?, format='newline_delimited', records=true, "
    "ignore_errors=true, columns={timestamp: 'VARCHAR', id: 'VARCHAR', message: 'VARCHAR', extra: 'JSON'}) "
    "WHERE extra->>'agent_id' = ? ORDER BY timestamp, id"
)
JOURNEY_JQ = 'select(.extra.agent_id==$agent)|"\\(.timestamp) \\(.id) \\(.message)"'
JOURNEY_LNAV = "SELECT log_time, id, message FROM agent_trace WHERE \"extra/agent_id\" = '{agent}'"
