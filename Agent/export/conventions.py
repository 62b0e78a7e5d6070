"""The names of other tools for recorded data, one table for both directions.

`spans.py` writes these names and the service reads them. GenAI names are those of the OpenTelemetry semantic
conventions 1.44.0 (package opentelemetry-semantic-conventions 0.66b2, status Development), kinds of spans
those of OpenInference (package openinference-semantic-conventions 0.1.42). Other names begin with
`agent_trace.`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from Agent.event.kinds import StepType

SEMCONV_VERSION: Final = "1.44.0"
SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{SEMCONV_VERSION}"
OWN: Final = "agent_trace."
"""The prefix of attributes that are in no convention."""

OPERATION: Final = "gen_ai.operation.name"
SPAN_KIND: Final = "openinference.span.kind"
STEP_TYPE: Final = OWN + "step_type"
NAME: Final = OWN + "name"
"""The name of a block, and of a step of any type."""
OWN_NAMES: Final = (NAME, OWN + "action_type")
"""The attributes with the name of a span from our own exporter; they precede the names of its sort."""


class SpanSort(NamedTuple):
    """One row of the table: a sort of span, and its names in both conventions."""

    operation: str
    """`gen_ai.operation.name`; "" if the conventions have no name for it."""
    kind: str
    """`openinference.span.kind`."""
    step_type: StepType = StepType.OTHER
    """The type of the step that the service creates from such a span."""
    named_by: tuple[str, ...] = ()
    """The attributes with the name of the agent, tool or model; the first one found counts."""
    written: tuple[str, ...] = ()
    """The attributes that are written."""
    also: tuple[str, ...] = ()
    """Further operations and kinds that are mapped to this sort."""


_ENTITY: Final = "traceloop.entity.name"
_AGENT: Final = ("gen_ai.agent.name", "gen_ai.agent.id", "agent.name")

RUN: Final = SpanSort(
    "invoke_workflow",
    "CHAIN",
    StepType.OTHER,
    ("gen_ai.workflow.name", *_AGENT, _ENTITY),
    ("gen_ai.workflow.name",),
    ("workflow",),
)
AGENT: Final = SpanSort("invoke_agent", "AGENT", StepType.OTHER, (*_AGENT, _ENTITY), _AGENT, ("agent",))
TOOL: Final = SpanSort(
    "execute_tool",
    "TOOL",
    StepType.TOOL,
    ("gen_ai.tool.name", "tool.name", "ai.toolCall.name", _ENTITY),
    ("gen_ai.tool.name", "tool.name"),
    ("tool",),
)
MODEL: Final = SpanSort(
    "chat",
    "LLM",
    StepType.RESPOND,
    ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name"),
    ("gen_ai.request.model", "llm.model_name"),
    ("text_completion", "generate_content", "completion"),
)
RETRIEVAL: Final = SpanSort(
    "retrieval",
    "RETRIEVER",
    StepType.RETRIEVE,
    ("gen_ai.data_source.id",),
    ("gen_ai.data_source.id",),
    ("RERANKER",),
)
EMBEDDING: Final = SpanSort(
    "embeddings",
    "EMBEDDING",
    StepType.RETRIEVE,
    ("gen_ai.request.model", "embedding.model_name"),
    ("gen_ai.request.model", "embedding.model_name"),
    ("embedding",),
)
PLAN: Final = SpanSort("", "CHAIN", StepType.PLAN, also=("plan",))
BLOCK: Final = SpanSort("", "CHAIN", StepType.OTHER, _AGENT)
"""Everything else: steps, contexts, learning, measured blocks."""

SORTS: Final = (RUN, AGENT, TOOL, MODEL, RETRIEVAL, EMBEDDING, PLAN, BLOCK)

SORT_OF_KIND: Final = {"agent_action": AGENT, "tool.call": TOOL, "model.call": MODEL, "run.finished": RUN}
"""{kind of event: its sort}; the other spans are blocks, except steps with one of these types:"""
SORT_OF_STEP: Final = {StepType.TOOL.value: TOOL, StepType.RETRIEVE.value: RETRIEVAL}

_BY_NAME: Final = {
    **{sort.kind: sort for sort in (AGENT, TOOL, MODEL, RETRIEVAL, EMBEDDING)},
    **{name: sort for sort in SORTS for name in (sort.operation, *sort.also) if name},
}


_NAMED_IN: Final = (OPERATION, SPAN_KIND, "traceloop.span.kind", "llm.request.type")
"""The attributes that name the sort of a received span: GenAI, OpenInference and OpenLLMetry."""


def sort_of(attributes: Mapping[str, object]) -> SpanSort:
    """Return the sort of a received span; `BLOCK` for unknown names.

    Instrumentations without operation names, such as that of Vercel's AI SDK, name the tool or the model:
    their spans are calls of it.
    """
    named = False
    for where in _NAMED_IN:
        name = attributes.get(where)
        if isinstance(name, str):
            named = True
            if name in _BY_NAME:
                return _BY_NAME[name]
    if named:
        return BLOCK
    calls = (
        sort for sort in (TOOL, MODEL) if any(name in attributes for name in sort.named_by if name != _ENTITY)
    )
    return next(calls, BLOCK)


INPUT_TOKENS: Final = ("gen_ai.usage.input_tokens", "llm.token_count.prompt")
OUTPUT_TOKENS: Final = ("gen_ai.usage.output_tokens", "llm.token_count.completion")
READ_INPUT_TOKENS: Final = (*INPUT_TOKENS, "gen_ai.usage.prompt_tokens")
READ_OUTPUT_TOKENS: Final = (*OUTPUT_TOKENS, "gen_ai.usage.completion_tokens")
"""Also the names of older versions."""
TOTAL_TOKENS: Final = "llm.token_count.total"
COST: Final = "llm.cost.total"
"""In US dollars; other currencies are written under `agent_trace.cost` alone."""

CODE_FUNCTION: Final = "code.function.name"
CODE_FILE: Final = "code.file.path"
CODE_LINE: Final = "code.line.number"

PAYLOAD_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "model_provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider"),
    "model_version": ("gen_ai.response.model",),
    "agent_version": ("gen_ai.agent.version",),
}
"""{key of a payload: the attributes under which its value is written}; other keys are `agent_trace.<key>`."""

PARAMETER_NAMES: Final = {
    name: f"gen_ai.request.{name}"
    for name in "temperature top_p top_k max_tokens frequency_penalty presence_penalty seed".split()
}
"""{parameter of a model call: its attribute}."""

LABELS: Final = frozenset(
    {
        *"gen_ai.operation.name gen_ai.provider.name gen_ai.system gen_ai.response.model "
        "gen_ai.agent.version gen_ai.tool.type gen_ai.output.type gen_ai.conversation.id error.type "
        "gen_ai.response.finish_reasons openinference.span.kind llm.provider llm.system session.id".split(),
        *(name for sort in SORTS for name in sort.named_by),
        *(OWN + name for name in "step_type kind outcome role run_id step_id".split()),
        *OWN_NAMES,
        *_NAMED_IN,
        CODE_FUNCTION,
    }
)
"""The attributes whose texts the service keeps if they are labels."""
