"""`--normalise` and `--ignore`: what a replay may differ in and leaves out, for `replay` and `golden`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from Agent.replay.compare.normaliser import Normaliser

__all__ = ["ignore_option", "normalise_option"]

F = TypeVar("F", bound=Callable[..., Any])
_NEAR = 1e-9
"""How far numbers may be apart where nobody says how far."""


def _normaliser(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Normaliser:
    from Agent.errors import UsageError
    from Agent.replay.compare.normaliser import Normaliser

    stored: dict[str, Any] = {}
    for value in (part for each in values for part in each.split(",") if part):
        name, sign, number = value.partition("=")
        try:
            stored[name] = float(number) if sign else True
        except ValueError:
            raise click.BadParameter(f"{number!r} is not a number", ctx, param) from None
    if stored.get("floats") is True:
        stored["floats"] = _NEAR
    try:
        return Normaliser.from_object(stored)
    except UsageError as error:
        raise click.BadParameter(str(error), ctx, param) from None


normalise_option = click.option(
    "--normalise",
    "normaliser",
    multiple=True,
    callback=_normaliser,
    metavar="WHAT",
    help="Differences to allow: ids, times, order, paths, floats[=1e-9]; repeatable, or separated by commas.",
)
ignore_option = click.option(
    "--ignore",
    multiple=True,
    metavar="FIELD",
    help="Ignore this field: field, agent.field or a pattern; repeatable, named in the report.",
)
