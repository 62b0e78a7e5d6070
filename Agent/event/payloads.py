"""The payload table: one row per kind of event, from which validators, docs, views and counts are generated.

To add a kind, add one row. `extra` of an event may contain more than the row names (bound fields, the user's
own keys); the named keys have the given types.
"""

from __future__ import annotations

from typing import NamedTuple

from Agent.event.kinds import Category, Home

ANY = "any"
ID = "string"


class Field(NamedTuple):
    """One key of a payload: its JSON type (string, number, integer, boolean, object, array, any)."""

    name: str
    type: str
    required: bool = True
    doc: str = ""


class Kind(NamedTuple):
    """One row of the table; `message` is the template of the message for people."""

    name: str
    category: Category
    message: str
    fields: tuple[Field, ...]
    home: Home = Home.LOG
    is_span: bool = False


def _kind(
    name: str,
    category: Category,
    message: str,
    fields: str = "",
    *,
    home: Home = Home.LOG,
    is_span: bool = False,
) -> Kind:
    """A row from its short form: `name:type` separated by blanks, `?` behind an optional name."""
    parsed = []
    for word in fields.split():
        field_name, _, type_name = word.partition(":")
        parsed.append(Field(field_name.rstrip("?"), type_name or ANY, not field_name.endswith("?")))
    return Kind(name, category, message, tuple(parsed), home, is_span)


_AGENTS, _LEARNING, _INTERACTIONS = Category.AGENTS, Category.LEARNING, Category.INTERACTIONS
_PERFORMANCE, _SYSTEM, _EVENTS, _ERRORS = (
    Category.PERFORMANCE,
    Category.SYSTEM,
    Category.EVENTS,
    Category.ERRORS,
)
_RUN = Home.RUN

_ROWS = (
    # what agents do
    _kind(
        "agent_action",
        _AGENTS,
        "Agent action: {action_type}",
        "action_type:string action_data?:any decision_context?:any args?:object result?:any outcome?:string "
        "error_id?:string duration_ms?:number call?:string root?:boolean code_version?:string yielded?:integer returned?:any active_ms?:number reads?:object args_after?:object result_is?:string capture_ms?:number",
        is_span=True,
    ),
    _kind(
        "agent_message",
        _AGENTS,
        "Message {direction}: {sender} -> {recipient}",
        "direction:string message_id:string sender:string recipient:string body?:any",
    ),
    _kind(
        "state",
        _AGENTS,
        "State of {agent_id} ({reason})",
        "fields:object reason:string digest:string class?:string class_fields?:object init?:object shared?:array shared_with?:object shared_objects?:object written_outside?:array adopted?:object opaque?:array unseen?:array handles?:array ignored?:array",
    ),
    _kind(
        "code",
        _SYSTEM,
        "Code {qualname}",
        "digest:string module:string qualname:string source?:string",
    ),
    _kind(
        "decision",
        _AGENTS,
        "Decision: {decision_type}",
        "decision_type:string decision_data?:any reasoning?:any",
    ),
    _kind(
        "state_change",
        _AGENTS,
        "State change: {trigger}",
        "trigger:any old_state?:any new_state?:any changed?:object unset?:array objects?:array",
    ),
    _kind(
        "content_generation",
        _AGENTS,
        "Content generated: {content_type} {content_id}",
        "content_type:any content_id:any metadata?:any",
    ),
    _kind(
        "strategy_update",
        _AGENTS,
        "Strategy update: {strategy_type}",
        "strategy_type:any old_strategy?:any new_strategy?:any reason?:any",
    ),
    # what they learn
    _kind(
        "learning_update",
        _LEARNING,
        "Learning update: {learning_stage}",
        "learning_stage:any update_data?:any args?:object result?:any outcome?:string error_id?:string "
        "duration_ms?:number call?:string yielded?:integer returned?:any active_ms?:number reads?:object args_after?:object result_is?:string capture_ms?:number",
        is_span=True,
    ),
    _kind(
        "training_step",
        _LEARNING,
        "Training step {step}",
        "step:any metrics?:any model_state?:any learning_type?:string",
    ),
    _kind(
        "reward",
        _LEARNING,
        "Reward {reward}",
        "reward:number action_id?:any cumulative_reward?:number learning_type?:string",
    ),
    _kind(
        "exploration",
        _LEARNING,
        "{mode}: {action_selected}",
        "action_selected:any exploration:boolean epsilon?:number mode?:string learning_type?:string",
    ),
    _kind(
        "policy_update",
        _LEARNING,
        "Policy update",
        "policy_data?:any old_policy?:any new_policy?:any learning_type?:string",
    ),
    _kind(
        "convergence",
        _LEARNING,
        "Convergence: {metric}",
        "metric:any value?:any converged?:boolean threshold?:any learning_type?:string",
    ),
    # what happens between them
    _kind(
        "interaction",
        _INTERACTIONS,
        "Interaction: {interaction_type}",
        "interaction_type:string source_id?:any target_id?:any content_id?:any data?:any",
    ),
    _kind(
        "connection",
        _INTERACTIONS,
        "Connection: {source_id} -> {target_id}",
        "source_id:any target_id:any connection_type?:string strength?:number data?:any",
    ),
    _kind(
        "cascade",
        _INTERACTIONS,
        "Cascade of {content_id}: {size}",
        "content_id:any size:integer depth?:integer root_agent_id?:any parent_id?:any data?:any",
    ),
    _kind(
        "collaboration",
        _INTERACTIONS,
        "Collaboration: {collaboration_type}",
        "collaboration_type:any participants:array content_id?:any data?:any",
    ),
    # how long it takes
    _kind(
        "metric",
        _PERFORMANCE,
        "Metric {metric_name}",
        "metric_name:string value:number unit?:string duration_ms?:number outcome?:string error_id?:string "
        "call?:string data?:any yielded?:integer active_ms?:number",
        is_span=True,
    ),
    _kind(
        "throughput",
        _PERFORMANCE,
        "Throughput {operation}",
        "operation:string count:number duration_s:number per_second?:number data?:any",
    ),
    _kind(
        "resource",
        _PERFORMANCE,
        "Resources",
        "memory_bytes?:integer cpu_percent?:number open_files?:integer data?:any",
    ),
    # what goes wrong
    _kind(
        "error",
        _ERRORS,
        "{error_type}: {error_message}",
        "error_type:string error_message:string error_module?:string error_args?:array error_attributes?:object error_members?:object error_cause?:object traceback?:string fingerprint?:string action_type?:string "
        "learning_stage?:string metric_name?:string call?:string args?:object context?:any",
    ),
    # the course of the simulation
    _kind("simulation_start", _EVENTS, "Simulation starts", "name?:any configuration?:any"),
    _kind("simulation_end", _EVENTS, "Simulation ends", "name?:any outcome?:any duration_ms?:number"),
    _kind(
        "checkpoint",
        _EVENTS,
        "Checkpoint {name}",
        "name:any data?:any step_id?:string reason?:string stored_as?:string digest?:string state_bytes?:integer "
        "size_bytes?:integer phase?:string code_version?:string agent_version?:string exposed?:boolean",
    ),
    _kind("phase", _EVENTS, "Phase {name}", "name:any previous?:any data?:any"),
    _kind("milestone", _EVENTS, "Milestone {name}", "name:any data?:any"),
    _kind("context_entry", _AGENTS, "Entering {context}", "context:string context_span:string"),
    _kind(
        "context_exit",
        _AGENTS,
        "Leaving {context}",
        "context:string duration_ms:number outcome?:string error_id?:string",
        is_span=True,
    ),
    # the framework
    _kind("system.init", _SYSTEM, "Initialised {component}", "component:any data?:any"),
    _kind(
        "system.config", _SYSTEM, "Configuration {name}", "name:any old_value?:any new_value?:any data?:any"
    ),
    _kind("system.module", _SYSTEM, "Module {module}", "module:any version?:any data?:any"),
    _kind("log", _SYSTEM, "{message}", ""),
    _kind("log.opened", _SYSTEM, "Writer opened", "writer:string pid:integer durability:string"),
    _kind(
        "log.closed", _SYSTEM, "Writer closed", "writer:string last_seq:integer counters?:object head?:string"
    ),
    _kind("log.dropped", _SYSTEM, "{count} events were not written: {reason}", "count:integer reason:string"),
    _kind(
        "log.retired",
        _SYSTEM,
        "Events {first_seq} to {last_seq} of {writer} were retired",
        "writer:string first_seq:integer last_seq:integer policy?:string count?:integer files?:integer size_bytes?:integer",
    ),
    _kind(
        "source.read",
        _SYSTEM,
        "Read past the recorder: {source}",
        "source:string value?:any call?:string file?:string line?:integer count?:integer",
    ),
    _kind("source.state", _SYSTEM, "State of a generator: {source}", "source:string value:any name?:string"),
    # recorded runs (flat form)
    _kind(
        "run.started", _EVENTS, "Run started", "agent?:string labels?:object parent_run_id?:string", home=_RUN
    ),
    _kind(
        "run.finished",
        _EVENTS,
        "Run finished",
        "ok:boolean error?:any status?:string outcome?:string error_id?:string duration_ms?:number open_steps?:array",
        home=_RUN,
    ),
    _kind(
        "step.started",
        _EVENTS,
        "Step {step_id} started",
        "step_id:string name?:string step_type?:string step_span?:string",
        home=_RUN,
    ),
    _kind(
        "step.finished",
        _EVENTS,
        "Step {step_id} finished",
        "step_id:string name?:string output_ref:string duration_ms?:number outcome?:string error?:any "
        "error_id?:string problem?:string metadata?:object",
        home=_RUN,
    ),
    _kind(
        "run.failure",
        _EVENTS,
        "Failure: {failure_type} {failure_code}",
        "failure_type:string failure_code:string step_id?:string step_span?:string "
        "failure_message?:string fingerprint?:string error_id?:string",
        home=_RUN,
    ),
    _kind(
        "model.call",
        _EVENTS,
        "Model call {model_name}",
        "call_id:string model_name:string step_id?:string model_version?:string model_provider?:string "
        "params?:object prompt_ref?:string output_ref?:string prompt_tokens?:integer "
        "completion_tokens?:integer latency_ms?:number usage?:object cost?:number currency?:string "
        "chunks?:integer chunks_ref?:string first_chunk_ms?:number outcome?:string error?:any error_id?:string "
        "interface?:string site?:string path?:array answered_by?:string",
        home=_RUN,
    ),
    _kind(
        "tool.call",
        _EVENTS,
        "Tool call {name}",
        "name:string call_id:string args?:any args_ref?:string args_after?:object result_is?:string result?:any result_ref?:string coded?:boolean "
        "yielded?:integer items?:array items_ref?:string returned?:any outcome?:string error?:any error_id?:string "
        "duration_ms?:number tool_kind?:string idempotency_key?:string site?:string path?:array "
        "answered_by?:string",
        home=_RUN,
        is_span=True,
    ),
    _kind(
        "artifact.saved",
        _EVENTS,
        "Artifact {path}",
        "path:string ref:string name?:string media_type?:string size_bytes?:integer digest?:string "
        "digest_without_secrets?:string digest_compared?:string unseen?:array step_id?:string "
        "value_types?:object capture?:string",
        home=_RUN,
    ),
    _kind("replay.started", _EVENTS, "Replay started", "replay_id:string run_id?:string target?:string"),
    _kind("replay.finished", _EVENTS, "Replay finished", "replay_id:string verdict:string"),
    _kind(
        "replay.match",
        _EVENTS,
        "Inexact answer of {name}",
        "name:string call:string rung:string recorded_id:string recorded_run?:string distance?:object",
    ),
)

KINDS: dict[str, Kind] = {row.name: row for row in _ROWS}
"""Every kind of event by its name."""


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
