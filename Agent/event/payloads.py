"""The payload table: one row per kind of event, from which docs, views, counts and the checks are made.

To add a kind, add one row. `extra` of an event may contain further keys (bound fields, keys of the user); the
keys in the row should have the given types. Recording writes whatever the program gave; `agent-trace verify`
and `validate_event` say which events differ from the table.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from Agent.event.kinds import Category, Home, Meaning

ANY = "any"
ID = "string"


class Field(NamedTuple):
    """One key of a payload: its JSON type (string, number, integer, boolean, object, array, any)."""

    name: str
    type: str
    required: bool = True
    doc: str = ""
    leaves: str = ""
    """The form in which a value may be exported (`export/allow_list.py`); numbers and booleans always may."""


class Kind(NamedTuple):
    """One row of the table.

    `message` is the template of the human-readable message. Whoever records an event gives its label: if the
    template ends with its only field, as in "Phase {name}", what belongs in place of the field; for any other
    template, the full text.
    """

    name: str
    category: Category
    message: str
    fields: tuple[Field, ...]
    home: Home = Home.LOG
    is_span: bool = False
    about: str = ""
    """The payload key by which its events are grouped: the action, tool, model or class of error."""
    view: str = ""
    """The SQL view of its events, in addition to the view of all events."""
    also_leaves: tuple[Field, ...] = ()
    """Fields that are added to its payload on export."""
    meaning: Meaning = Meaning.OTHER
    verb: str = "{name}"
    """How `debug` says that a named event happened."""
    series: str = ""
    """What `debug` counts its events as, if agents do such a thing: a word, and after a colon the key that
    tells them apart."""


def _kind(
    name: str, category: Category, message: str, fields: str = "", also_leaves: str = "", **columns: Any
) -> Kind:
    """Make a row from its short form: `name:type` separated by spaces, with `?` after an optional name.

    For texts, objects and lists, `/form` after the type gives the form in which they may be exported.
    """
    return Kind(name, category, message, _fields(fields), also_leaves=_fields(also_leaves), **columns)


def _fields(text: str) -> tuple[Field, ...]:
    parsed = []
    for word in text.split():
        typed_name, _, leaves = word.partition("/")
        name, _, type_name = typed_name.partition(":")
        parsed.append(Field(name.rstrip("?"), type_name or ANY, not name.endswith("?"), "", leaves))
    return tuple(parsed)


_AGENTS, _LEARNING, _INTERACTIONS = Category.AGENTS, Category.LEARNING, Category.INTERACTIONS
_PERFORMANCE, _SYSTEM, _EVENTS, _ERRORS = (
    Category.PERFORMANCE,
    Category.SYSTEM,
    Category.EVENTS,
    Category.ERRORS,
)
_RUN = Home.RUN

_ROWS = (
    # actions of agents
    _kind(
        "agent_action",
        _AGENTS,
        "Agent action: {action_type}",
        "action_type:string/name action_data?:any decision_context?:any args?:object result?:any outcome?:string/outcome "
        "error_id?:string/id exit_code?:any raised?:object duration_ms?:number call?:string/name root?:boolean code_version?:string/label yielded?:integer returned?:any active_ms?:number reads?:object args_after?:object args_held?:object args_shared?:boolean result_is?:string capture_ms?:number loop_turns?:array",
        is_span=True,
        about="action_type",
        view="actions",
        meaning=Meaning.ACT,
        verb="called {name}",
        series="action:action_type",
    ),
    _kind(
        "agent_message",
        _AGENTS,
        "Message {direction}: {sender} -> {recipient}",
        "direction:string/label message_id:string/id sender:string/name recipient:string/name body?:any",
        view="messages",
        series="message:direction",
    ),
    _kind(
        "state",
        _AGENTS,
        "State of {agent_id} ({reason})",
        "fields:object reason:string/label digest:string class?:string/label class_fields?:object init?:object shared?:array shared_with?:object shared_objects?:object written_outside?:array written_late?:array unchecked?:boolean streams?:array outside_content?:object end_content?:object adopted?:object adopted_at?:object held?:object held_values?:any opaque?:array unseen?:array handles?:array ignored?:array loop_turn?:integer",
        view="states",
        meaning=Meaning.OBSERVATION,
    ),
    _kind(
        "code",
        _SYSTEM,
        "Code {qualname}",
        "digest:string/digest module:string/label qualname:string/name source?:string file?:string line?:integer modules?:object",
        meaning=Meaning.BOOKKEEPING,
    ),
    _kind(
        "decision",
        _AGENTS,
        "Decision: {decision_type}",
        "decision_type:string/name decision_data?:any reasoning?:any",
        about="decision_type",
        view="decisions",
        meaning=Meaning.ACT,
        verb="decided {name}",
        series="decision:decision_type",
    ),
    _kind(
        "state_change",
        _AGENTS,
        "State change: {trigger}",
        "trigger:any/label old_state?:any new_state?:any changed?:object unset?:array objects?:array writers?:object ahead?:boolean moved?:object held?:object loop_turn?:integer by?:string asked_at?:string tick_number?:integer tick_in_span?:integer",
        view="states",
        meaning=Meaning.ACT,
        verb="changed {name}",
    ),
    _kind(
        "content_generation",
        _AGENTS,
        "Content generated: {content_type} {content_id}",
        "content_type:any/label content_id:any/key metadata?:any",
        meaning=Meaning.ACT,
        series="content_generation",
    ),
    _kind(
        "strategy_update",
        _AGENTS,
        "Strategy update: {strategy_type}",
        "strategy_type:any/label old_strategy?:any new_strategy?:any reason?:any",
        meaning=Meaning.ACT,
        series="strategy_update",
    ),
    # learning
    _kind(
        "learning_update",
        _LEARNING,
        "Learning update: {learning_stage}",
        "learning_stage:any/name update_data?:any args?:object result?:any outcome?:string/outcome error_id?:string/id exit_code?:any raised?:object "
        "duration_ms?:number call?:string/name yielded?:integer returned?:any active_ms?:number reads?:object args_after?:object result_is?:string capture_ms?:number loop_turns?:array",
        is_span=True,
        about="learning_stage",
        view="learning",
        meaning=Meaning.UPDATE,
        series="learning_update",
    ),
    _kind(
        "training_step",
        _LEARNING,
        "Training step {step}",
        "step:any/number metrics?:any/numbers model_state?:any learning_type?:string/label",
        view="learning",
        series="training_step",
    ),
    _kind(
        "reward",
        _LEARNING,
        "Reward {reward}",
        "reward:number action_id?:any/key cumulative_reward?:number learning_type?:string/label",
        view="rewards",
        series="reward",
    ),
    _kind(
        "exploration",
        _LEARNING,
        "{mode}: {action_selected}",
        "action_selected:any/key exploration:boolean epsilon?:number mode?:string/label learning_type?:string/label",
        view="learning",
        series="exploration",
    ),
    _kind(
        "policy_update",
        _LEARNING,
        "Policy update",
        "policy_data?:any old_policy?:any new_policy?:any learning_type?:string/label",
        view="learning",
        meaning=Meaning.UPDATE,
        series="policy_update",
    ),
    _kind(
        "convergence",
        _LEARNING,
        "Convergence: {metric}",
        "metric:any/name value?:any/number converged?:boolean threshold?:any/number learning_type?:string/label",
        about="metric",
        view="learning",
    ),
    # interactions
    _kind(
        "interaction",
        _INTERACTIONS,
        "Interaction: {interaction_type}",
        "interaction_type:string/name source_id?:any/key target_id?:any/key content_id?:any/key data?:any",
        about="interaction_type",
        view="interactions",
        verb="interaction {name}",
        series="interaction:interaction_type",
    ),
    _kind(
        "connection",
        _INTERACTIONS,
        "Connection: {source_id} -> {target_id}",
        "source_id:any/key target_id:any/key connection_type?:string/label strength?:number data?:any",
        view="interactions",
        series="connection",
    ),
    _kind(
        "cascade",
        _INTERACTIONS,
        "Cascade of {content_id}: {size}",
        "content_id:any/key size:integer depth?:integer root_agent_id?:any/key parent_id?:any/key data?:any",
        view="interactions",
        series="cascade",
    ),
    _kind(
        "collaboration",
        _INTERACTIONS,
        "Collaboration: {collaboration_type}",
        "collaboration_type:any/label participants:array/keys content_id?:any/key data?:any",
        view="interactions",
        series="collaboration",
    ),
    # performance
    _kind(
        "metric",
        _PERFORMANCE,
        "Metric {metric_name}",
        "metric_name:string/name value:number unit?:string/label duration_ms?:number outcome?:string/outcome error_id?:string/id exit_code?:any raised?:object "
        "call?:string/name data?:any yielded?:integer active_ms?:number",
        is_span=True,
        about="metric_name",
        view="metrics",
        meaning=Meaning.OBSERVATION,
        verb="measured {name}",
    ),
    _kind(
        "throughput",
        _PERFORMANCE,
        "Throughput {operation}",
        "operation:string/name count:number duration_s:number per_second?:number data?:any",
        about="operation",
        view="metrics",
        meaning=Meaning.OBSERVATION,
    ),
    _kind(
        "resource",
        _PERFORMANCE,
        "Resources",
        "memory_bytes?:integer cpu_percent?:number open_files?:integer data?:any",
        view="metrics",
        meaning=Meaning.OBSERVATION,
    ),
    # failures
    _kind(
        "error",
        _ERRORS,
        "{error_type}: {error_message}",
        "error_type:string/label error_message:string error_module?:string/label error_args?:array error_left_out?:integer error_attributes?:object error_members?:object error_cause?:object traceback?:string fingerprint?:string/digest action_type?:string/name "
        "learning_stage?:string/name metric_name?:string/name call?:string/name args?:object context?:any",
        about="error_type",
        view="errors",
        also_leaves="failure_type?:string/failure_type failure_code?:string/label",
        verb="failed with {name}",
    ),
    # the course of the simulation
    _kind(
        "simulation_start",
        _EVENTS,
        "Simulation starts",
        "name?:any/name configuration?:any",
        about="name",
        meaning=Meaning.FRAME,
    ),
    _kind(
        "simulation_end",
        _EVENTS,
        "Simulation ends",
        "name?:any/name outcome?:any/label duration_ms?:number",
        about="name",
        meaning=Meaning.FRAME,
    ),
    _kind(
        "checkpoint",
        _EVENTS,
        "Checkpoint {name}",
        "name:any/key data?:any step_id?:string/key reason?:string/label stored_as?:string/label digest?:string state_bytes?:integer "
        "size_bytes?:integer phase?:string/label code_version?:string/label agent_version?:string/label exposed?:boolean",
        about="name",
    ),
    _kind("phase", _EVENTS, "Phase {name}", "name:any/key previous?:any/key data?:any", about="name"),
    _kind(
        "intervention",
        _EVENTS,
        "Intervention: {command}",
        "command:string/label by?:string asked_at?:string ticks?:integer paused_ms?:number",
        about="command",
        meaning=Meaning.FRAME,
    ),
    _kind("milestone", _EVENTS, "Milestone {name}", "name:any/key data?:any", about="name"),
    _kind(
        "context_entry",
        _AGENTS,
        "Entering {context}",
        "context:string/name context_span:string/id",
        about="context",
        meaning=Meaning.OBSERVATION,
    ),
    _kind(
        "context_exit",
        _AGENTS,
        "Leaving {context}",
        "context:string/name duration_ms:number outcome?:string/outcome error_id?:string/id",
        is_span=True,
        about="context",
        meaning=Meaning.OBSERVATION,
    ),
    _kind(
        "span",
        _SYSTEM,
        "Span {name}",
        "name:string/name library?:string/label span_kind?:string/label duration_ms?:number outcome?:string/outcome "
        "error_type?:string/label error_message?:string attributes?:object/metadata events?:array trace?:string/id",
        is_span=True,
        about="name",
    ),
    # the framework
    _kind("system.init", _SYSTEM, "Initialised {component}", "component:any/label data?:any"),
    _kind(
        "system.config",
        _SYSTEM,
        "Configuration {name}",
        "name:any/label old_value?:any new_value?:any data?:any",
        verb="was configured: {name}",
    ),
    _kind("system.module", _SYSTEM, "Module {module}", "module:any/label version?:any/label data?:any"),
    _kind("log", _SYSTEM, "{message}", "", verb='logged "{name}"'),
    _kind(
        "log.opened",
        _SYSTEM,
        "Writer opened",
        "writer:string/id pid:integer durability:string/label",
        meaning=Meaning.BOOKKEEPING,
    ),
    _kind(
        "log.closed",
        _SYSTEM,
        "Writer closed",
        "writer:string/id last_seq:integer counters?:object head?:string program?:object",
        meaning=Meaning.BOOKKEEPING,
    ),
    _kind(
        "log.dropped",
        _SYSTEM,
        "{count} events were not written: {reason}",
        "count:integer reason:string",
        meaning=Meaning.BOOKKEEPING,
    ),
    _kind(
        "log.retired",
        _SYSTEM,
        "Events {first_seq} to {last_seq} of {writer} were retired",
        "writer:string/id first_seq:integer last_seq:integer policy?:string/label count?:integer files?:integer size_bytes?:integer",
        meaning=Meaning.BOOKKEEPING,
    ),
    _kind(
        "source.read",
        _SYSTEM,
        "Read past the recorder: {source}",
        "source:string/label value?:any call?:string/name file?:string line?:integer count?:integer",
        meaning=Meaning.BOOKKEEPING,
    ),
    _kind(
        "source.state",
        _SYSTEM,
        "State of a generator: {source}",
        "source:string/label value:any name?:string",
        meaning=Meaning.BOOKKEEPING,
    ),
    # recorded runs (flat form)
    _kind(
        "run.started",
        _EVENTS,
        "Run started",
        "agent?:string/name labels?:object/metadata parent_run_id?:string/id",
        home=_RUN,
        meaning=Meaning.FRAME,
    ),
    _kind(
        "run.finished",
        _EVENTS,
        "Run finished",
        "ok:boolean error?:any status?:string/status outcome?:string/outcome error_id?:string/id duration_ms?:number open_steps?:array/count",
        home=_RUN,
        meaning=Meaning.FRAME,
    ),
    _kind(
        "step.started",
        _EVENTS,
        "Step {step_id} started",
        "step_id:string/key name?:string/name step_type?:string/label step_span?:string/id",
        home=_RUN,
        about="name",
    ),
    _kind(
        "step.finished",
        _EVENTS,
        "Step {step_id} finished",
        "step_id:string/key name?:string/name output_ref:string duration_ms?:number outcome?:string/outcome error?:any "
        "error_id?:string/id problem?:string metadata?:object/metadata",
        home=_RUN,
        about="name",
    ),
    _kind(
        "run.failure",
        _EVENTS,
        "Failure: {failure_type} {failure_code}",
        "failure_type:string/failure_type failure_code:string/label step_id?:string/key step_span?:string/id "
        "failure_message?:string fingerprint?:string/digest error_id?:string/id",
        home=_RUN,
        about="failure_code",
    ),
    _kind(
        "model.call",
        _EVENTS,
        "Model call {model_name}",
        "call_id:string/id model_name:string/name step_id?:string/key model_version?:string/label model_provider?:string/label "
        "params?:object/numbers prompt_ref?:string output_ref?:string prompt_tokens?:integer "
        "completion_tokens?:integer latency_ms?:number usage?:object/numbers cost?:number currency?:string/label "
        "chunks?:integer chunks_ref?:string first_chunk_ms?:number outcome?:string/outcome error?:any error_id?:string/id "
        "interface?:string/label site?:string/name path?:array answered_by?:string/id",
        home=_RUN,
        about="model_name",
        view="model_calls",
        verb="asked the model {name}",
        series="model.call",
    ),
    _kind(
        "tool.call",
        _EVENTS,
        "Tool call {name}",
        "name:string/name call_id:string/id args?:any args_ref?:string defaults?:string args_after?:object result_is?:string result?:any result_ref?:string coded?:boolean "
        "yielded?:integer items?:array items_ref?:string returned?:any outcome?:string/outcome error?:any error_id?:string/id "
        "duration_ms?:number tool_kind?:string/label idempotency_key?:string site?:string/name path?:array "
        "answered_by?:string/id",
        home=_RUN,
        is_span=True,
        about="name",
        view="tool_calls",
        verb="called {name}",
        series="tool:name",
    ),
    _kind(
        "artifact.saved",
        _EVENTS,
        "Artifact {path}",
        "path:string ref:string name?:string media_type?:string/label size_bytes?:integer digest?:string "
        "digest_without_secrets?:string digest_compared?:string unseen?:array step_id?:string/key "
        "value_types?:object capture?:string",
        home=_RUN,
    ),
    _kind(
        "replay.started", _EVENTS, "Replay started", "replay_id:string/id run_id?:string/id target?:string"
    ),
    _kind("replay.finished", _EVENTS, "Replay finished", "replay_id:string/id verdict:string/label"),
    _kind(
        "replay.match",
        _EVENTS,
        "Inexact answer of {name}",
        "name:string/name call:string rung:string/label recorded_id:string/id recorded_run?:string/id distance?:object",
    ),
)

KINDS: dict[str, Kind] = {row.name: row for row in _ROWS}
"""Every kind of event by its name."""


def kinds_of(*meanings: Meaning) -> frozenset[str]:
    """The kinds whose events are one of these to analysis."""
    return frozenset(row.name for row in _ROWS if row.meaning in meanings)


def kinds_as_markdown() -> str:
    """Return the table for docs/FORMAT.md; a `?` marks a key that may be absent."""
    lines = ["| kind | category | view | keys |", "|---|---|---|---|"]
    for row in KINDS.values():
        keys = ", ".join(
            f"`{field.name}`{'' if field.required else '?'} {field.type}" for field in row.fields
        )
        span = " (a span)" if row.is_span else ""
        lines.append(f"| `{row.name}`{span} | {row.category} | {row.home} | {keys or 'those of the user'} |")
    return "\n".join(lines)
