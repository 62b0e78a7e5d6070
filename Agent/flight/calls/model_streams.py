"""`record_model_stream`: the pieces of a model's answer go on to whoever reads them, and into the record.

It works on the stream of any client; `recorded_models/` does the same for whole model interfaces.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from Agent.flight.calls.model_calls import ModelFacts, OpenModelCall, note_trouble, open_model_call
from Agent.flight.open_runs.prices import Usage, usage_of

if TYPE_CHECKING:
    from Agent.flight.calls.tool_calls import Codec

__all__ = ["ModelStream", "record_model_stream"]


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
        source: Any = None
        try:
            with call.inside():
                source = self._recorded(call)
                if source is None:
                    source = self._live()
                pieces = iter(source)
            for chunk in call.pieces(pieces):
                self._take(call, chunk)
                yield chunk
            _raise_recorded(call)
        except GeneratorExit:
            call.close(lambda: self.output, lambda: self.usage)
            if hasattr(source, "close"):
                source.close()
            raise
        except BaseException as error:
            call.fail(error, lambda: self.output)
            raise
        self._end(call)

    async def __aiter__(self) -> AsyncIterator[Any]:
        call = self._open()
        source: Any = None
        try:
            recorded = self._recorded(call)
            if recorded is not None:
                for chunk in recorded:
                    self._take(call, chunk)
                    yield chunk
                _raise_recorded(call)
            else:
                with call.inside():
                    source = self._live()
                    if hasattr(source, "__await__"):
                        source = await source
                    pieces = aiter(source)
                async for chunk in call.pieces_async(pieces):
                    self._take(call, chunk)
                    yield chunk
        except GeneratorExit:
            call.close(lambda: self.output, lambda: self.usage)
            if hasattr(source, "aclose"):
                await source.aclose()
            raise
        except BaseException as error:
            call.fail(error, lambda: self.output)
            raise
        self._end(call)

    def _open(self) -> OpenModelCall:
        self._texts = []
        self._call = open_model_call(self._facts, lambda: {"prompt": self._prompt}, streams=True)
        return self._call

    def _recorded(self, call: OpenModelCall) -> Iterable[Any] | None:
        """The recorded pieces, None where the model itself gives them."""
        if call.answer is None:
            return None
        items: Iterable[Any] = call.answer.items or ()
        return items if self._codec is None else [self._codec.decode(item) for item in items]

    def _live(self) -> Any:
        return self._source() if callable(self._source) else self._source

    def _take(self, call: OpenModelCall, chunk: Any) -> None:
        codec = self._codec
        call.chunk(lambda: chunk if codec is None else codec.encode(chunk))
        try:
            text = self._text_of(chunk) if self._text_of is not None else chunk
            told = self._usage_of(chunk) if self._usage_of is not None else _field(chunk, "usage")
            self.usage = usage_of(told) or self.usage
        except Exception as error:  # noqa: BLE001 - functions of the user's: the stream goes on without them
            note_trouble("what a piece of a model's answer says", error)
            return
        if isinstance(text, str):
            self._texts.append(text)

    def _end(self, call: OpenModelCall) -> None:
        told = call.end(lambda: self.output, lambda: self.usage)
        self.cost, self.output_ref = told.get("cost"), told.get("output_ref")


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


def _raise_recorded(call: OpenModelCall) -> None:
    if call.answer is not None and call.answer.error is not None:
        raise call.answer.error


def _field(chunk: Any, name: str) -> Any:
    return chunk.get(name) if isinstance(chunk, Mapping) else getattr(chunk, name, None)
