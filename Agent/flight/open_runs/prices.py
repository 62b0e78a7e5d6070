"""What model calls cost, by a table that the user gives; none is built in, since prices change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from Agent.errors import UsageError

__all__ = ["Price", "Usage", "cost_of", "set_prices", "usage_of"]

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
