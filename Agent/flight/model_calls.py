"""Record model calls, whole or as a stream, with token counts and cost."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from Agent.errors import UsageError
from Agent.flight.artifact_saving import save_call_part
from Agent.flight.open_runs import is_recorded, pipeline_of_first_call
from Agent.flight.tool_calls import (
    Codec,
    ExternalCall,
    Leave,
    active_player,
    ask_player,
    call_site,
    described_call,
    note_trouble,
)
from Agent.record.emit import installed
from Agent.record.emit.context import Response, SpanScope, current_scope, making_answer
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.safe_text import as_message
from Agent.record.loggers.loggers import present

_END: Any = object()
_LOST = "a part of a model call could not be recorded"

_at_work: ContextVar[tuple[int, ...]] = ContextVar("agent_trace_models_at_work", default=())
"""`id()`s of the recorded models that are inside a call in this context."""

Making = Callable[[], Any]
"""Converts an object of the user or of a library to plain values; if it raises, the part is not recorded."""


class ModelFacts(NamedTuple):
    """Facts about a model that do not depend on the call."""

    model_name: str
    interface: str | None = None
    """The library whose interface it has, such as `langchain`."""
    provider: str | None = None
    params: Mapping[str, Any] | None = None
    step_id: str | None = None


@dataclass(slots=True, eq=False, repr=False)
class OpenModelCall:
    """An open model call. Failures to record are counted and never raised.

    Args:
        answer: the recorded response, returned in place of a call; None if the model is called.
        recording: writes the event; None if nothing is recorded.
        leave: the player's callback for the end of a live call.
        owner: the `id()` of the model; None if nested calls of it are recorded, too.
    """

    answer: Response | None = None
    _recording: _Recording | None = None
    _leave: Leave | None = None
    _owner: int | None = None
    ending_keys: dict[str, Any] = field(default_factory=dict)
    """The payload keys for output, tokens and cost; empty until the call has ended."""

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Return a block for the work of the model itself, or for restoring its recorded response.

        Calls of the same model inside the block belong to this call. Reads of clock and random generator are
        not recorded for the action: a replay returns the response, so the body does not read them again.
        """
        scope = current_scope.get()
        aside = None
        if scope is not None and scope.reads is not None:
            aside = SpanScope(scope)
            aside.reads = None
        at_work = _at_work.set(_at_work.get() if self._owner is None else (*_at_work.get(), self._owner))
        making = making_answer.set(True)
        surrounding = current_scope.set(scope if aside is None else aside)
        try:
            yield
        finally:
            _at_work.reset(at_work)
            making_answer.reset(making)
            current_scope.reset(surrounding)

    def pieces(self, source: Iterator[Any]) -> Iterator[Any]:
        """Yield the pieces of a stream; each one is read in an `inside` block, the consumer runs outside."""
        while True:
            with self.inside():
                piece = next(source, _END)
            if piece is _END:
                return
            yield piece

    async def pieces_async(self, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Do the same for an asynchronous stream."""
        while True:
            with self.inside():
                piece = await anext(source, _END)
            if piece is _END:
                return
            yield piece

    @property
    def first_chunk_ms(self) -> float | None:
        """The time to the first piece in milliseconds; None before it, and if nothing is recorded."""
        return self._recording.first_chunk_ms if self._recording is not None else None

    def chunk(self, make: Making) -> None:
        """Record a piece of the response."""
        if self._recording is not None:
            self._recording.chunk(make)

    def end(self, make: Making, usage: Callable[[], Usage | None] | None = None) -> None:
        """Write the event of a call whose response is complete."""
        self._ended(make, usage)

    def fail(self, error: BaseException, make: Making | None = None) -> None:
        """Write the event of a call that raised; `make` returns the part of the response received so far."""
        self._ended(make, error=error)

    def close(self, make: Making | None = None, usage: Callable[[], Usage | None] | None = None) -> None:
        """Write the event of a stream whose reader stopped before its end."""
        self._ended(make, usage, outcome="closed")

    def _ended(
        self,
        make: Making | None,
        usage: Callable[[], Usage | None] | None = None,
        error: BaseException | None = None,
        outcome: str | None = None,
    ) -> None:
        if self._recording is not None:
            self.ending_keys = self._recording.finish(make, usage, error, outcome)
        if self._leave is not None:
            self._leave(None, error)

    @contextmanager
    def ending(self, make: Making, usage: Callable[[], Usage | None]) -> Iterator[None]:
        """Return a block that writes the event when it ends, closes early (GeneratorExit) or raises."""
        try:
            yield
        except GeneratorExit:
            self.close(make, usage)
            raise
        except BaseException as error:
            self.fail(error, make)
            raise
        self.end(make, usage)

    def raise_recorded(self) -> None:
        """Raise the recorded exception if the recorded call raised."""
        if self.answer is not None and self.answer.error is not None:
            raise self.answer.error


Driven = tuple[Callable[[], Any], Callable[[Any], None], Making, Callable[[], "Usage | None"]]
"""Callbacks of a stream: begin it, take a piece, return the output so far, return the usage so far."""


def streamed(call: OpenModelCall, driven: Driven) -> Iterator[Any]:
    """Yield the pieces of a stream and record it, however it ends."""
    begin, take, output, usage = driven
    source: Any = None
    try:
        with call.ending(output, usage):
            with call.inside():
                source = begin()
                pieces = iter(source)
            for piece in call.pieces(pieces):
                take(piece)
                yield piece
            call.raise_recorded()
    except GeneratorExit:
        if hasattr(source, "close"):
            source.close()
        raise


async def streamed_async(call: OpenModelCall, driven: Driven) -> AsyncGenerator[Any, None]:
    """Do the same for an asynchronous stream; in a replay, `begin` returns a plain iterable of pieces."""
    begin, take, output, usage = driven
    source: Any = None
    try:
        with call.ending(output, usage):
            with call.inside():
                source = begin()
                if hasattr(source, "__await__"):
                    source = await source
                pieces = aiter(source if call.answer is None else _one_by_one(source))
            async for piece in call.pieces_async(pieces):
                take(piece)
                yield piece
            call.raise_recorded()
    except GeneratorExit:
        if hasattr(source, "aclose"):
            await source.aclose()
        raise


async def _one_by_one(pieces: Iterable[Any]) -> AsyncIterator[Any]:
    for piece in pieces:
        yield piece


def open_model_call(
    facts: ModelFacts, request: Making, *, streams: bool = False, owner: object = None
) -> OpenModelCall:
    """Begin a call: ask the replay for the recorded response, and record the request as it is now.

    Args:
        facts: the model.
        request: returns a mapping of plain values, by which a replay finds the recorded call.
        streams: whether the response is a stream.
        owner: the model object; if it is already inside a call, this call belongs to that one and is not
            recorded.

    Raises:
        ReplayError: the replay has no response for the call.
    """
    player = active_player()
    if id(owner) in _at_work.get() or (player is None and not is_recorded()):
        return OpenModelCall()
    site = call_site(2)
    try:
        request_value = request()
    except Exception as error:
        if player is not None:
            raise  # without the request, the replay cannot find the recorded call
        note_trouble("the request of a model", error, _LOST)
        return OpenModelCall()
    answer, leave = None, None
    if player is not None:
        name = facts.model_name
        described = described_call("model.call", name, request_value, site, qualname=name, streams=streams)
        answer, leave = ask_player(player, described)
    recording = None
    if is_recorded():
        try:
            pipeline = installed.active or pipeline_of_first_call()
            if pipeline is not None:
                recording = _Recording(pipeline, facts, request_value, site, answer, streams)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            note_trouble("the call of a model", error, _LOST)
    return OpenModelCall(answer, recording, leave, None if owner is None else id(owner))


class _Recording(ExternalCall):
    """Collects the parts of an open call and writes its event."""

    __slots__ = ("_chunks", "_facts", "_prompt_ref", "first_chunk_ms")

    def __init__(
        self,
        pipeline: Pipeline,
        facts: ModelFacts,
        request: Any,
        site: str,
        answer: Response | None,
        streams: bool,
    ) -> None:
        super().__init__(pipeline, facts.model_name, None, site, answer)
        self._facts = facts
        self._chunks: int | None = 0 if streams else None
        self.first_chunk_ms: float | None = None
        self._prompt_ref = self._saved("prompt", request)
        self._begin(f"model {facts.model_name}")

    def _saved(self, part: str, value: Any) -> str:
        facts = self._facts
        return save_call_part(
            self._pipeline, self._run, self._span_id, part, value, facts.step_id, tool=facts.model_name
        )

    def chunk(self, make: Making) -> None:
        if self.first_chunk_ms is None:
            self.first_chunk_ms = self._elapsed_ms()
        self._chunks = (self._chunks or 0) + 1
        try:
            self._parts.take_item(make())
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            note_trouble("a piece of a model's answer", error, _LOST)
            self._parts.lose_items()

    def finish(
        self,
        make: Making | None,
        usage: Callable[[], Usage | None] | None,
        error: BaseException | None,
        outcome: str | None,
    ) -> dict[str, Any]:
        """Write the event and return its keys for output, tokens and cost; {} if it could not be written."""
        latency_ms = round(self._elapsed_ms(), 6)
        if self._is_late("a model call"):
            return {}
        facts = self._facts
        try:
            self._leave_board()
            keys = self._outcome_keys(make, usage)
            ending = present(outcome=outcome)
            if error is not None:
                ending = self._ending(error, as_message(facts.model_name))
            payload = present(
                call_id=self._span_id,
                model_name=facts.model_name,
                step_id=facts.step_id,
                model_provider=facts.provider,
                interface=facts.interface,
                params=dict(facts.params) if facts.params else None,
            )
            self._add_call_site(payload)
            payload["prompt_ref"] = self._prompt_ref
            self._add_answered_by(payload)
            self._emit("model.call", {**payload, **keys, "latency_ms": latency_ms, **ending})
        except Exception as trouble:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._trouble(trouble)
            return {}
        return keys

    def _outcome_keys(self, make: Making | None, usage: Callable[[], Usage | None] | None) -> dict[str, Any]:
        """The payload keys for output, pieces, tokens and cost; a failure in one does not affect the rest."""
        output = _result_of("the answer of a model", make)
        first_ms = self.first_chunk_ms
        keys = present(
            output_ref=None if output is None else self._saved("output", output),
            chunks=self._chunks,
            chunks_ref=None if self._chunks is None else self._parts.save_items("chunks"),
            first_chunk_ms=None if first_ms is None else round(first_ms, 6),
        )
        used = _result_of("the usage of a model", usage)
        if isinstance(used, Usage):
            counts = {"prompt_tokens": used.prompt_tokens, "completion_tokens": used.completion_tokens}
            keys |= present(**counts, usage=used.details or None)
            if self.answer is None or self.answer.event_id is None:  # a recorded response costs nothing
                keys |= cost_of(self._facts.model_name, *used[:2])
        return keys

    def _trouble(self, error: BaseException) -> None:
        note_trouble("the end of a model call", error, _LOST)


def _result_of(subject: str, make: Making | None) -> Any:
    """The result of `make`; None if there is none or it raises, which is counted."""
    if make is None:
        return None
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
        note_trouble(subject, error, _LOST)
        return None


_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")


class Price(NamedTuple):
    """The price of `per_tokens` input and output tokens of a model."""

    input: float
    output: float
    per_tokens: int = 1_000_000
    currency: str = "USD"


class Usage(NamedTuple):
    """The token counts of a call; None if the model did not report them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    details: dict[str, Any] | None = None
    """Further usage data of the model, as plain values."""


_prices: dict[str, Price] = {}


def set_prices(table: Mapping[str, Price | tuple[float, float] | Mapping[str, Any]]) -> None:
    """Set the prices with which later model calls are recorded; replaces the previous table.

    Args:
        table: {model name: price}. A price is (input, output) per million tokens, a `Price`, or a mapping of
            its fields. A name that ends in `*` matches all names with that prefix; the longest match wins.

    Raises:
        UsageError: a price is invalid.
    """
    prices = {}
    for name, entry in table.items():
        try:
            price = Price(**entry) if isinstance(entry, Mapping) else Price(*entry)
            if price.input < 0 or price.output < 0 or price.per_tokens < 1:
                raise ValueError("negative")  # noqa: TRY301 - all invalid prices are reported in one place
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"the price of {name} is invalid: {error}",
                remedy="give (input, output) for a million tokens, or a Price",
            ) from None
        prices[name] = price
    _prices.clear()
    _prices.update(prices)


def cost_of(model_name: str, prompt_tokens: int | None, completion_tokens: int | None) -> dict[str, Any]:
    """`cost` and `currency` of a call; empty if its price or its token counts are unknown."""
    if not _prices or not isinstance(model_name, str):
        return {}
    price = _prices.get(model_name) or _price_of_family(model_name)
    counts = (prompt_tokens, completion_tokens)
    if price is None or all(type(count) is not int for count in counts):
        return {}
    sums = [count * each for count, each in zip(counts, price[:2], strict=True) if type(count) is int]
    return {"cost": round(sum(sums) / price.per_tokens, 12), "currency": price.currency}


def _price_of_family(model_name: str) -> Price | None:
    beginnings = [name for name in _prices if name.endswith("*") and model_name.startswith(name[:-1])]
    return _prices[max(beginnings, key=len)] if beginnings else None


def usage_of(data: Any) -> Usage | None:
    """The token counts in the usage data of a model, a mapping or an object; None if it has none."""
    if data is None or isinstance(data, Usage):
        return data
    prompt, completion = _first_count(data, _INPUT), _first_count(data, _OUTPUT)
    return None if prompt is None and completion is None else Usage(prompt, completion)


def _first_count(data: Any, names: tuple[str, ...]) -> int | None:
    for name in names:
        value = _field(data, name)
        if type(value) is int:
            return value
    return None


@dataclass(eq=False, repr=False)
class ModelStream:
    """A stream that is recorded while it is read, once, with `for` or `async for`.

    After an error, or if the reader stops early, the pieces up to there are recorded. `usage`, `cost` and
    `output_ref` are set when the stream has ended.
    """

    _source: Any
    _facts: ModelFacts
    _prompt: Any
    _text_of: Callable[[Any], str | None] | None
    _usage_of: Callable[[Any], Any] | None
    _codec: Codec | None
    _texts: list[str] = field(default_factory=list)
    _call: OpenModelCall | None = None
    usage: Usage | None = None
    """The token counts that its pieces reported; None if none did."""
    cost: float | None = None
    """The cost according to `set_prices`; None if unknown."""
    output_ref: str | None = None
    """The reference to the artifact of its text."""

    @property
    def output(self) -> str | None:
        """The text of all pieces so far; None if no piece had text."""
        return "".join(self._texts) if self._texts else None

    @property
    def first_chunk_ms(self) -> float | None:
        """The time to the first piece, in milliseconds."""
        return self._call.first_chunk_ms if self._call is not None else None

    def __iter__(self) -> Iterator[Any]:
        call = self._open()
        yield from streamed(call, self._driven(call))
        self._ended(call)

    async def __aiter__(self) -> AsyncIterator[Any]:
        call = self._open()
        async with aclosing(streamed_async(call, self._driven(call))) as pieces:
            async for chunk in pieces:
                yield chunk
        self._ended(call)

    def _open(self) -> OpenModelCall:
        self._texts = []
        self._call = open_model_call(self._facts, lambda: {"prompt": self._prompt}, streams=True)
        return self._call

    def _driven(self, call: OpenModelCall) -> Driven:
        take = partial(self._take, call)
        return partial(self._begin, call), take, lambda: self.output, lambda: self.usage

    def _begin(self, call: OpenModelCall) -> Any:
        """The recorded pieces in a replay, otherwise the stream of the model."""
        if call.answer is None:
            return self._source() if callable(self._source) else self._source
        items: Iterable[Any] = call.answer.items or ()
        return items if self._codec is None else [self._codec.decode(item) for item in items]

    def _take(self, call: OpenModelCall, chunk: Any) -> None:
        codec = self._codec
        call.chunk(lambda: chunk if codec is None else codec.encode(chunk))
        try:
            text = self._text_of(chunk) if self._text_of is not None else chunk
            reported = self._usage_of(chunk) if self._usage_of is not None else _field(chunk, "usage")
            self.usage = usage_of(reported) or self.usage
        except Exception as error:  # noqa: BLE001 - functions of the user must not break the stream
            note_trouble("what a piece of a model's answer says", error, _LOST)
            return
        if isinstance(text, str):
            self._texts.append(text)

    def _ended(self, call: OpenModelCall) -> None:
        self.cost, self.output_ref = call.ending_keys.get("cost"), call.ending_keys.get("output_ref")


def record_model_stream(
    source: Iterable[Any] | AsyncIterable[Any] | Callable[[], Any],
    *,
    model_name: str,
    prompt: Any = None,
    model_provider: str | None = None,
    params: Mapping[str, Any] | None = None,
    step_id: str | None = None,
    text: Callable[[Any], str | None] | None = None,
    usage: Callable[[Any], Any] | None = None,
    codec: Codec | None = None,
) -> ModelStream:
    """Record a model's streamed response while it is read: pieces, text, tokens, time to first piece, cost.

    Args:
        source: the stream, or a function that begins it and is not called in a replay.
        model_name: the recorded name, by which prices and recorded calls are found.
        prompt: the prompt, any value; a replay finds the recorded call by it.
        model_provider: the recorded provider.
        params: the recorded parameters, such as the temperature.
        step_id: the step to which the call belongs.
        text: returns the text of a piece; default: the piece itself if it is a string.
        usage: returns the token counts of a piece, under names such as `prompt_tokens` or `input_tokens`;
            default: the `usage` of the piece, if it has one.
        codec: encodes pieces that have no exact recorded form, and decodes them in a replay.
    """
    facts = ModelFacts(model_name, None, model_provider, params, step_id)
    return ModelStream(source, facts, prompt, text, usage, codec)


def _field(chunk: Any, name: str) -> Any:
    return chunk.get(name) if isinstance(chunk, Mapping) else getattr(chunk, name, None)
