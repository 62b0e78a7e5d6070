"""Calls of models: recorded as a block or as a stream, with tokens and what they cost."""

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
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from Agent.errors import UsageError
from Agent.flight.artifact_saving import save_call_part
from Agent.flight.external_calls import (
    ExternalCall,
    Leave,
    asked_of,
    call_site,
    described_call,
    note_trouble,
    player_here,
)
from Agent.flight.open_runs import is_recorded, pipeline_of_first_call
from Agent.record.emit import installed
from Agent.record.emit.context import Answer, SpanScope, current_scope, making_answer
from Agent.record.encode.safe_text import as_message
from Agent.record.loggers.loggers import present

if TYPE_CHECKING:
    from Agent.flight.tool_calls import Codec
    from Agent.record.emit.pipeline import Pipeline

_END: Any = object()
_LOST = "a part of a model call could not be recorded"

_at_work: ContextVar[tuple[int, ...]] = ContextVar("agent_trace_models_at_work", default=())
"""The recorded models that are working on a call here."""

Making = Callable[[], Any]
"""Makes plain values of an object of a user's or a library's; where it raises, nothing is recorded."""


class ModelFacts(NamedTuple):
    """What is known of a model before it is called."""

    model_name: str
    interface: str | None = None
    """Whose interface it has, such as `langchain`."""
    provider: str | None = None
    params: Mapping[str, Any] | None = None
    step_id: str | None = None


class OpenModelCall:
    """A call that is open; nothing that it is told raises.

    Args:
        answer: what the recording says, which stands for the call; None where the model is called.
        recording: writes it; None where nothing is recorded.
    """

    __slots__ = ("_leave", "_owner", "_recording", "answer", "told")

    def __init__(
        self,
        answer: Answer | None,
        recording: _Recording | None,
        leave: Leave | None,
        owner: int | None = None,
    ) -> None:
        self.answer = answer
        self._recording = recording
        self._leave = leave
        self._owner = owner
        self.told: dict[str, Any] = {}
        """What the event says of output and cost, once the call has ended."""

    @contextmanager
    def inside(self) -> Iterator[None]:
        """While the model itself works, or its recorded response is made again.

        What it calls of itself then is part of this call, and what it reads of clock and chance is no
        action's: a replay answers the model, so nothing in its body is read again.
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
        """Each piece of a stream, taken while the model is at work."""
        while True:
            with self.inside():
                piece = next(source, _END)
            if piece is _END:
                return
            yield piece

    async def pieces_async(self, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The same for an asynchronous stream."""
        while True:
            with self.inside():
                piece = await anext(source, _END)
            if piece is _END:
                return
            yield piece

    @property
    def first_chunk_ms(self) -> float | None:
        """How long the first piece took; None before it came, and where nothing is recorded."""
        return self._recording.first_chunk_ms if self._recording is not None else None

    def chunk(self, make: Making) -> None:
        """A piece came; the first one tells how long that took."""
        if self._recording is not None:
            self._recording.chunk(make)

    def end(self, make: Making, usage: Callable[[], Usage | None] | None = None) -> None:
        """The answer is whole: write the event."""
        self._ended(make, usage)

    def fail(self, error: BaseException, make: Making | None = None) -> None:
        """The call raised, perhaps after some pieces; `make` gives what there is of the answer."""
        self._ended(make, error=error)

    def close(self, make: Making | None = None, usage: Callable[[], Usage | None] | None = None) -> None:
        """Nobody wants the rest of the pieces."""
        self._ended(make, usage, outcome="closed")

    def _ended(
        self,
        make: Making | None,
        usage: Callable[[], Usage | None] | None = None,
        error: BaseException | None = None,
        outcome: str | None = None,
    ) -> None:
        if self._recording is not None:
            self.told = self._recording.finish(make, usage, error, outcome)
        if self._leave is not None:
            self._leave(None, error)

    @contextmanager
    def ending(self, make: Making, usage: Callable[[], Usage | None]) -> Iterator[None]:
        """Write the event as the block ends: whole, left by its reader, or with an error."""
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
        """Raise what ended the recorded call, where it raised."""
        if self.answer is not None and self.answer.error is not None:
            raise self.answer.error


Driven = tuple[Callable[[], Any], Callable[[Any], None], Making, Callable[[], "Usage | None"]]
"""How a stream is driven: what begins it, is told of each piece, and gives output and usage so far."""


def streamed(call: OpenModelCall, driven: Driven) -> Iterator[Any]:
    """The pieces of a stream; what came of it is recorded however it ends."""
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
    """The same for an asynchronous stream, whose recorded pieces come from a plain iterator."""
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
    """Begin a call: ask a replay for the recorded response, keep the request as it is now.

    Args:
        request: gives a mapping of plain values; what is in it is what a replay finds the call by.
        streams: the answer comes in pieces.
        owner: the model; where it is at work on a call already, this one is a part of that.

    Raises:
        ReplayError: a replay has no answer.
    """
    player = player_here()
    if id(owner) in _at_work.get() or (player is None and not is_recorded()):
        return OpenModelCall(None, None, None)
    site = call_site(2)
    try:
        asked = request()
    except Exception as error:
        if player is not None:
            raise
        note_trouble("the request of a model", error, _LOST)
        return OpenModelCall(None, None, None)
    answer, leave = None, None
    if player is not None:
        name = facts.model_name
        described = described_call("model.call", name, asked, site, qualname=name, streams=streams)
        answer, leave = asked_of(player, described)
    recording = None
    if is_recorded():
        try:
            pipeline = installed.active or pipeline_of_first_call()
            if pipeline is not None:
                recording = _Recording(pipeline, facts, asked, site, answer, streams)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            note_trouble("the call of a model", error, _LOST)
    return OpenModelCall(answer, recording, leave, None if owner is None else id(owner))


class _Recording(ExternalCall):
    """What is written of an open call."""

    __slots__ = ("_chunks", "_facts", "_prompt_ref", "first_chunk_ms")

    def __init__(
        self,
        pipeline: Pipeline,
        facts: ModelFacts,
        asked: Any,
        site: str,
        answer: Answer | None,
        streams: bool,
    ) -> None:
        super().__init__(pipeline, facts.model_name, None, site, answer)
        self._facts = facts
        self._chunks: int | None = 0 if streams else None
        self.first_chunk_ms: float | None = None
        self._prompt_ref = self._saved("prompt", asked)
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
        """Write the event; what stands in it of tokens, cost and output."""
        latency_ms = round(self._elapsed_ms(), 6)
        if self._is_late("a model call"):
            return {}
        facts = self._facts
        try:
            self._leave_board()
            told = self._told(make, usage)
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
            self._add_place(payload)
            payload["prompt_ref"] = self._prompt_ref
            self._add_answer(payload)
            self._emit("model.call", {**payload, **told, "latency_ms": latency_ms, **ending})
        except Exception as trouble:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._trouble(trouble)
            return {}
        return told

    def _told(self, make: Making | None, usage: Callable[[], Usage | None] | None) -> dict[str, Any]:
        """Output, pieces, tokens and cost, as far as they are known; each for itself."""
        output = _made("the answer of a model", make)
        first_ms = self.first_chunk_ms
        told = present(
            output_ref=None if output is None else self._saved("output", output),
            chunks=self._chunks,
            chunks_ref=None if self._chunks is None else self._parts.save_items("chunks"),
            first_chunk_ms=None if first_ms is None else round(first_ms, 6),
        )
        used = _made("the usage of a model", usage)
        if isinstance(used, Usage):
            counts = {"prompt_tokens": used.prompt_tokens, "completion_tokens": used.completion_tokens}
            told |= present(**counts, usage=used.details or None)
            if self.answer is None or self.answer.event_id is None:  # what a replay answers costs nothing
                told |= cost_of(self._facts.model_name, *used[:2])
        return told

    def _trouble(self, error: BaseException) -> None:
        note_trouble("the end of a model call", error, _LOST)


def _made(what: str, make: Making | None) -> Any:
    """What it makes, None where it cannot."""
    if make is None:
        return None
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
        note_trouble(what, error, _LOST)
        return None


_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")


class Price(NamedTuple):
    """What tokens of one model cost, for so many of them."""

    input: float
    output: float
    per_tokens: int = 1_000_000
    currency: str = "USD"


class Usage(NamedTuple):
    """How many tokens a call took, None where the model did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    details: dict[str, Any] | None = None
    """What else the model said of it, as plain values."""


_prices: dict[str, Price] = {}


def set_prices(table: Mapping[str, Price | tuple[float, float] | Mapping[str, Any]]) -> None:
    """Have model calls recorded with their cost from here on; replaces the table that was given before.

    Args:
        table: {model name: (price of input, of output)} for a million tokens, a `Price`, or a mapping of
            its fields. A name that ends in `*` stands for all that begin so; the longest one counts.

    Raises:
        UsageError: a price is none.
    """
    made = {}
    for name, given in table.items():
        try:
            price = Price(**given) if isinstance(given, Mapping) else Price(*given)
            if price.input < 0 or price.output < 0 or price.per_tokens < 1:
                raise ValueError("negative")  # noqa: TRY301 - the one way out for what is no price
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"the price of {name} is invalid: {error}",
                remedy="give (input, output) for a million tokens, or a Price",
            ) from None
        made[name] = price
    _prices.clear()
    _prices.update(made)


def cost_of(model_name: str, prompt_tokens: int | None, completion_tokens: int | None) -> dict[str, Any]:
    """`cost` and `currency` of a call; empty where the table or the number of tokens is not known."""
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


def usage_of(told: Any) -> Usage | None:
    """The numbers of tokens in what a model says of them, a mapping or an object; None without any."""
    if told is None or isinstance(told, Usage):
        return told
    prompt, completion = _first_count(told, _INPUT), _first_count(told, _OUTPUT)
    return None if prompt is None and completion is None else Usage(prompt, completion)


def _first_count(told: Any, names: tuple[str, ...]) -> int | None:
    for name in names:
        value = told.get(name) if isinstance(told, Mapping) else getattr(told, name, None)
        if type(value) is int:
            return value
    return None


class ModelStream:
    """A stream that is recorded while it is read, once, with `for` or with `async for`.

    An error in its middle, and a reader who stops, leave what came until then. What is told of it stands here
    when it has ended.
    """

    def __init__(
        self,
        source: Any,
        facts: ModelFacts,
        prompt: Any,
        text: Callable[[Any], str | None] | None,
        usage: Callable[[Any], Any] | None,
        codec: Codec | None,
    ) -> None:
        self._source = source
        self._facts = facts
        self._prompt = prompt
        self._text_of = text
        self._usage_of = usage
        self._codec = codec
        self._texts: list[str] = []
        self._call: OpenModelCall | None = None
        self.usage: Usage | None = None
        """The tokens that it took, as far as its pieces tell."""
        self.cost: float | None = None
        """By the table of `set_prices`."""
        self.output_ref: str | None = None
        """The artifact of its text."""

    @property
    def output(self) -> str | None:
        """The text of all pieces so far; None where none has one."""
        return "".join(self._texts) if self._texts else None

    @property
    def first_chunk_ms(self) -> float | None:
        """The time to the first piece."""
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
        """The recorded pieces, or the model's own."""
        if call.answer is None:
            return self._source() if callable(self._source) else self._source
        items: Iterable[Any] = call.answer.items or ()
        return items if self._codec is None else [self._codec.decode(item) for item in items]

    def _take(self, call: OpenModelCall, chunk: Any) -> None:
        codec = self._codec
        call.chunk(lambda: chunk if codec is None else codec.encode(chunk))
        try:
            text = self._text_of(chunk) if self._text_of is not None else chunk
            told = self._usage_of(chunk) if self._usage_of is not None else _field(chunk, "usage")
            self.usage = usage_of(told) or self.usage
        except Exception as error:  # noqa: BLE001 - functions of the user's: the stream goes on without them
            note_trouble("what a piece of a model's answer says", error, _LOST)
            return
        if isinstance(text, str):
            self._texts.append(text)

    def _ended(self, call: OpenModelCall) -> None:
        self.cost, self.output_ref = call.told.get("cost"), call.told.get("output_ref")


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
    """Record the streamed answer of a model while it is read: pieces, text, tokens, time to the first, cost.

    Args:
        source: the stream, or a function that begins it: in a replay that one is not called.
        prompt: what was asked, any value; a replay finds the call by it.
        text: the text of a piece; without it pieces that are text are taken as it.
        usage: what a piece says of tokens, in names such as `prompt_tokens` or `input_tokens`; without it the
            `usage` of a piece, if it has one.
        codec: encodes pieces that have no exact form of their own, and decodes them in a replay.
    """
    facts = ModelFacts(model_name, None, model_provider, params, step_id)
    return ModelStream(source, facts, prompt, text, usage, codec)


def _field(chunk: Any, name: str) -> Any:
    return chunk.get(name) if isinstance(chunk, Mapping) else getattr(chunk, name, None)
