"""The payload table: one row per kind of event, from which docs, views, counts and the checks are made.

To add a kind, add a row to `_TABLE`. `extra` of an event may contain further keys (bound fields, keys of the
user); the keys in the row should have the given types. Recording writes whatever the program gave;
`agent-trace verify` and `validate_event` say which events differ from the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from Agent.event.kinds import Category, Home, Meaning


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
    """The payload key by which its events are grouped and named: the action, tool, model or class of error.

    On export its value becomes `name` of the event.
    """
    view: str = ""
    """The SQL view of its events, in addition to the view of all events; a new name makes a new view."""
    also_leaves: tuple[Field, ...] = ()
    """Fields that are added to its payload on export."""
    meaning: Meaning = Meaning.OTHER
    verb: str = "{name}"
    """How `debug` says that a named event happened, in the past tense: an agent `{verb}`, or never did."""
    series: tuple[str, str] = "", ""
    """What `debug` and its experiments count its events as, if agents do such a thing: a word, and the key that
    tells them apart, in the row after a colon."""


_TABLE = """\
# actions of agents
agent_action agents is_span=yes about=action_type view=actions meaning=act series=action:action_type
    Agent action: {action_type} | called {name}
    action_type:string/name action_data?:any decision_context?:any args?:object result?:any
    outcome?:string/outcome error_id?:string/id exit_code?:any raised?:object duration_ms?:number
    call?:string/name root?:boolean code_version?:string/label yielded?:integer returned?:any
    active_ms?:number reads?:object args_after?:object args_held?:object args_shared?:boolean
    result_is?:string capture_ms?:number loop_turns?:array
agent_message agents view=messages series=message:direction
    Message {direction}: {sender} -> {recipient} | {name} a message
    direction:string/label message_id:string/id sender:string/name recipient:string/name body?:any
state agents view=states meaning=observation
    State of {agent_id} ({reason})
    fields:object reason:string/label digest:string class?:string/label class_fields?:object init?:object
    shared?:array shared_with?:object shared_objects?:object written_outside?:array written_late?:array
    unchecked?:boolean streams?:array outside_content?:object end_content?:object adopted?:object
    adopted_at?:object held?:object held_values?:any opaque?:array unseen?:array handles?:array
    ignored?:array loop_turn?:integer
code system meaning=bookkeeping
    Code {qualname}
    digest:string/digest module:string/label qualname:string/name source?:string file?:string
    line?:integer modules?:object
decision agents about=decision_type view=decisions meaning=act series=decision:decision_type
    Decision: {decision_type} | decided {name}
    decision_type:string/name decision_data?:any reasoning?:any
state_change agents view=states meaning=act
    State change: {trigger} | changed {name}
    trigger:any/label old_state?:any new_state?:any changed?:object unset?:array objects?:array
    writers?:object ahead?:boolean moved?:object held?:object loop_turn?:integer by?:string
    asked_at?:string tick_number?:integer tick_in_span?:integer
content_generation agents meaning=act series=content_generation
    Content generated: {content_type} {content_id}
    content_type:any/label content_id:any/key metadata?:any
strategy_update agents meaning=act series=strategy_update
    Strategy update: {strategy_type}
    strategy_type:any/label old_strategy?:any new_strategy?:any reason?:any
# learning
learning_update learning is_span=yes about=learning_stage view=learning meaning=update series=learning_update
    Learning update: {learning_stage}
    learning_stage:any/name update_data?:any args?:object result?:any outcome?:string/outcome
    error_id?:string/id exit_code?:any raised?:object duration_ms?:number call?:string/name
    yielded?:integer returned?:any active_ms?:number reads?:object args_after?:object result_is?:string
    capture_ms?:number loop_turns?:array
training_step learning view=learning series=training_step
    Training step {step}
    step:any/number metrics?:any/numbers model_state?:any learning_type?:string/label
reward learning view=rewards series=reward
    Reward {reward}
    reward:number action_id?:any/key cumulative_reward?:number learning_type?:string/label
exploration learning view=learning series=exploration
    {mode}: {action_selected}
    action_selected:any/key exploration:boolean epsilon?:number mode?:string/label
    learning_type?:string/label
policy_update learning view=learning meaning=update series=policy_update
    Policy update
    policy_data?:any old_policy?:any new_policy?:any learning_type?:string/label
convergence learning about=metric view=learning
    Convergence: {metric}
    metric:any/name value?:any/number converged?:boolean threshold?:any/number learning_type?:string/label
# interactions
interaction interactions about=interaction_type view=interactions series=interaction:interaction_type
    Interaction: {interaction_type} | interacted ({name})
    interaction_type:string/name source_id?:any/key target_id?:any/key content_id?:any/key data?:any
connection interactions view=interactions series=connection
    Connection: {source_id} -> {target_id}
    source_id:any/key target_id:any/key connection_type?:string/label strength?:number data?:any
cascade interactions view=interactions series=cascade
    Cascade of {content_id}: {size}
    content_id:any/key size:integer depth?:integer root_agent_id?:any/key parent_id?:any/key data?:any
collaboration interactions view=interactions series=collaboration
    Collaboration: {collaboration_type}
    collaboration_type:any/label participants:array/keys content_id?:any/key data?:any
# performance
metric performance is_span=yes about=metric_name view=metrics meaning=observation
    Metric {metric_name} | measured {name}
    metric_name:string/name value:number unit?:string/label duration_ms?:number outcome?:string/outcome
    error_id?:string/id exit_code?:any raised?:object call?:string/name data?:any yielded?:integer
    active_ms?:number
throughput performance about=operation view=metrics meaning=observation
    Throughput {operation}
    operation:string/name count:number duration_s:number per_second?:number data?:any
resource performance view=metrics meaning=observation
    Resources
    memory_bytes?:integer cpu_percent?:number open_files?:integer data?:any
# failures
error errors about=error_type view=errors
    {error_type}: {error_message} | failed with {name}
    error_type:string/label error_message:string error_module?:string/label error_args?:array
    error_left_out?:integer error_attributes?:object error_members?:object error_cause?:object
    error_suppressed?:boolean
    traceback?:string fingerprint?:string/digest action_type?:string/name learning_stage?:string/name
    metric_name?:string/name call?:string/name args?:object context?:any
    +failure_type?:string/failure_type +failure_code?:string/label
# the course of the simulation
simulation_start events about=name meaning=frame
    Simulation starts
    name?:any/name configuration?:any
simulation_end events about=name meaning=frame
    Simulation ends
    name?:any/name outcome?:any/label duration_ms?:number
checkpoint events about=name
    Checkpoint {name}
    name:any/key data?:any step_id?:string/key reason?:string/label stored_as?:string/label digest?:string
    state_bytes?:integer size_bytes?:integer phase?:string/label code_version?:string/label
    agent_version?:string/label exposed?:boolean
phase events about=name
    Phase {name}
    name:any/key previous?:any/key data?:any
intervention events about=command meaning=frame
    Intervention: {command}
    command:string/label by?:string asked_at?:string ticks?:integer paused_ms?:number
milestone events about=name
    Milestone {name}
    name:any/key data?:any
context_entry agents about=context meaning=observation
    Entering {context}
    context:string/name context_span:string/id
context_exit agents is_span=yes about=context meaning=observation
    Leaving {context}
    context:string/name duration_ms:number outcome?:string/outcome error_id?:string/id
span system is_span=yes about=name
    Span {name}
    name:string/name library?:string/label span_kind?:string/label duration_ms?:number
    outcome?:string/outcome error_type?:string/label error_message?:string attributes?:object/metadata
    events?:array trace?:string/id
# the framework
system.init system
    Initialised {component}
    component:any/label data?:any
system.config system
    Configuration {name} | was configured: {name}
    name:any/label old_value?:any new_value?:any data?:any
system.module system
    Module {module}
    module:any/label version?:any/label data?:any
log system
    {message} | logged "{name}"
log.opened system meaning=bookkeeping
    Writer opened
    writer:string/id pid:integer durability:string/label
log.closed system meaning=bookkeeping
    Writer closed
    writer:string/id last_seq:integer counters?:object head?:string program?:object
log.dropped system meaning=bookkeeping
    {count} events were not written: {reason}
    count:integer reason:string
log.retired system meaning=bookkeeping
    Events {first_seq} to {last_seq} of {writer} were retired
    writer:string/id first_seq:integer last_seq:integer policy?:string/label count?:integer files?:integer
    size_bytes?:integer
source.read system meaning=bookkeeping
    Read past the recorder: {source}
    source:string/label value?:any call?:string/name file?:string line?:integer count?:integer
source.state system meaning=bookkeeping
    State of a generator: {source}
    source:string/label value:any name?:string
# recorded runs (flat form)
run.started events home=run meaning=frame
    Run started
    agent?:string/name labels?:object/metadata parent_run_id?:string/id
run.finished events home=run meaning=frame
    Run finished
    ok:boolean error?:any status?:string/status outcome?:string/outcome error_id?:string/id
    duration_ms?:number open_steps?:array/count
step.started events home=run about=name
    Step {step_id} started
    step_id:string/key name?:string/name step_type?:string/label step_span?:string/id
step.finished events home=run about=name
    Step {step_id} finished
    step_id:string/key name?:string/name output_ref:string duration_ms?:number outcome?:string/outcome
    error?:any error_id?:string/id problem?:string metadata?:object/metadata
run.failure events home=run about=failure_code
    Failure: {failure_type} {failure_code}
    failure_type:string/failure_type failure_code:string/label step_id?:string/key step_span?:string/id
    failure_message?:string fingerprint?:string/digest error_id?:string/id
model.call events home=run about=model_name view=model_calls series=model.call
    Model call {model_name} | asked the model {name}
    call_id:string/id model_name:string/name step_id?:string/key model_version?:string/label
    model_provider?:string/label params?:object/numbers prompt_ref?:string output_ref?:string
    prompt_tokens?:integer completion_tokens?:integer latency_ms?:number usage?:object/numbers
    cost?:number currency?:string/label chunks?:integer chunks_ref?:string first_chunk_ms?:number
    outcome?:string/outcome error?:any error_id?:string/id interface?:string/label site?:string/name
    path?:array answered_by?:string/id
tool.call events home=run is_span=yes about=name view=tool_calls series=tool:name
    Tool call {name} | called {name}
    name:string/name call_id:string/id args?:any args_ref?:string defaults?:string args_after?:object
    result_is?:string result?:any result_ref?:string coded?:boolean yielded?:integer items?:array
    items_ref?:string returned?:any outcome?:string/outcome error?:any error_id?:string/id
    duration_ms?:number tool_kind?:string/label idempotency_key?:string site?:string/name path?:array
    answered_by?:string/id
artifact.saved events home=run
    Artifact {path}
    path:string ref:string name?:string media_type?:string/label size_bytes?:integer digest?:string
    digest_without_secrets?:string digest_compared?:string unseen?:array step_id?:string/key
    value_types?:object capture?:string
replay.started events
    Replay started
    replay_id:string/id run_id?:string/id target?:string
replay.finished events
    Replay finished
    replay_id:string/id verdict:string/label
replay.match events
    Inexact answer of {name}
    name:string/name call:string rung:string/label recorded_id:string/id recorded_run?:string/id
    distance?:object
"""
"""The rows: name, category and columns of a kind, its message and verb, and its keys.

A key is `name:type`, with `?` after an optional name; for texts, objects and lists, `/form` after the type
gives the form in which they may be exported. A key with `+` before it is added on export.
"""
_COLUMNS: dict[str, Callable[[str], object]] = {
    "home": Home,
    "is_span": "yes".__eq__,
    "meaning": Meaning,
    "series": lambda text: text.partition(":")[::2],
}
"""What makes a column of its text, where it is not the text itself."""


def _parsed(row: str) -> Kind:
    head, says, *keys = (line.strip() for line in row.splitlines())
    name, category, *pairs = head.split()
    columns = {
        column: _COLUMNS.get(column, str)(text) for column, text in (each.split("=") for each in pairs)
    }
    message, _, verb = says.partition(" | ")
    fields: tuple[list[Field], list[Field]] = [], []
    for word in " ".join(keys).split():
        named, _, leaves = word.lstrip("+").partition("/")
        key, _, type_name = named.partition(":")
        fields[word[0] == "+"].append(
            Field(key.rstrip("?"), type_name, required=not key.endswith("?"), leaves=leaves)
        )
    more: dict[str, object] = {"also_leaves": tuple(fields[1]), **({"verb": verb} if verb else {}), **columns}
    return Kind(name, Category(category), message, tuple(fields[0]), **more)  # type: ignore[arg-type]


KINDS: dict[str, Kind] = {
    row.name: row for row in map(_parsed, re.findall(r"^\w.*\n(?:[ ]{4}.*\n)+", _TABLE, re.MULTILINE))
}
"""Every kind of event by its name."""

_UNNAMED = frozenset({"convergence", "intervention", "model.call", "run.failure"})
NAMED_BY = {row.name: row.about for row in KINDS.values() if row.about and row.name not in _UNNAMED}
"""{kind: the key that names its events to analysis}; events of the other kinds are named after the kind."""


def kinds_of(*meanings: Meaning) -> frozenset[str]:
    """The kinds whose events are one of these to analysis."""
    return frozenset(row.name for row in KINDS.values() if row.meaning in meanings)
