"""`fork --sweep`: many forks of one point, from the command's options to the distribution on the screen."""

from __future__ import annotations

import itertools
from typing import Any

import click
import orjson

from Agent.cli.output import render
from Agent.cli.output.progress import shown_forks


def run_sweep(
    run: str,
    step: str,
    patch: Any,
    *,
    seeds: int | None,
    vary: tuple[str, ...],
    outcome: str | None,
    as_json: bool,
    **how: Any,
) -> int:
    """Try every change and show what came of them; the exit code."""
    from Agent.replay import sweep_forks

    every_seed = range(1, (seeds or 0) + 1)
    with shown_forks("sweeping"):
        report = sweep_forks(
            run, step, _patches(patch, vary), seeds=every_seed, outcome=outcome or "error", **how
        )
    if as_json:
        render.emit_json(report.to_dict())
    else:
        for line in str(report).splitlines():
            render.emit(render.clean(line))
    return report.exit_code


def _patches(patch: Any, vary: tuple[str, ...]) -> list[Any]:
    """A list of patches, and every combination of values of the fields that vary on top of each."""
    is_list_of_patches = isinstance(patch, list) and not all(
        isinstance(each, dict) and "op" in each for each in patch
    )
    given = patch if is_list_of_patches else [] if patch is None else [patch]
    if not vary:
        return list(given)
    fields = [_values(text) for text in vary]
    if any(isinstance(each, list) for each in given):
        raise click.UsageError(
            "--vary requires merge patches, not a list of operations", click.get_current_context()
        )
    combined = [
        dict(zip((name for name, _ in fields), values, strict=True))
        for values in itertools.product(*(values for _, values in fields))
    ]
    return [{**base, **more} for base in (given or [{}]) for more in combined]


def _values(text: str) -> tuple[str, list[Any]]:
    name, sign, values = text.partition("=")
    if not (name and sign and values):
        raise click.UsageError(f"--vary {text!r} is not FIELD=VALUE,VALUE", click.get_current_context())
    try:
        return name, orjson.loads(f"[{values}]")
    except orjson.JSONDecodeError:
        return name, [_scalar(value.strip()) for value in values.split(",")]


def _scalar(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
