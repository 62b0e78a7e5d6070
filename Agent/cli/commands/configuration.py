"""`config` and `version`: the settings and their origin, and which versions run here."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import click
import orjson

from Agent.cli import parameters, render
from Agent.errors import AgentTraceError
from Agent.version import __version__

STYLES: dict[str, dict[str, Any]] = {"missing": {"dim": True}, "read": {"fg": "green"}}


@click.group(
    no_args_is_help=True,
    epilog=parameters.examples(
        "agent-trace config show --origin",
        "agent-trace config show --json",
        "agent-trace config presets production",
    ),
)
def config() -> None:
    """Show the settings and where they come from."""


@config.command(
    epilog=parameters.examples(
        "agent-trace config show --origin", "agent-trace config show > agent-trace.toml"
    )
)
@click.option("--origin", is_flag=True, help="Show the origin of each setting.")
@parameters.json_option
def show(origin: bool, as_json: bool) -> int:
    """Print every setting in effect here, as TOML.

    The first of these sources wins: an argument of setup_logging in the program itself (unknown here), an
    environment variable, agent-trace.toml or [tool.agent-trace] in pyproject.toml of this directory or the
    nearest one above, the user's file, the preset, LOGGING_CONFIG, the default.
    """
    from Agent.config.logging_config import effective_settings
    from Agent.config.options import TABLES

    found = effective_settings()
    if as_json:
        entries = {
            name: {"value": setting.value, "origin": setting.origin, "line": setting.line}
            for name, setting in found.settings.items()
        }
        preset = found.preset
        chosen = (
            None if preset is None else {"value": preset.value, "origin": preset.origin, "line": preset.line}
        )
        render.emit_json({"preset": chosen, "settings": entries, "outputs": found.outputs})
        return 0
    lines = [] if found.preset is None else [("preset", found.preset)]
    lines += [(name, setting) for name, setting in found.settings.items() if "." not in name]
    width = max(len(f"{name} = {_toml(setting.value)}") for name, setting in lines) + 2
    for name, setting in lines:
        _line(name, setting, width if origin else 0)
    for table in TABLES:
        render.emit(f"\n[{table}]")
        for name, setting in found.settings.items():
            if name.startswith(f"{table}."):
                _line(_toml_key(name.partition(".")[2]), setting, width if origin else 0)
    if found.outputs is not None:
        render.emit("\n# LOGGING_CONFIG also sets formatters or handlers:")
        render.emit(f"# {orjson.dumps(found.outputs).decode()}")
    return 0


def _line(name: str, setting: Any, width: int) -> None:
    """One setting; with a width, its source as a comment in that column."""
    text = f"{name} = {_toml(setting.value)}"
    where = render.paint(f"# {render.clean(setting)}", dim=True)
    render.emit(f"{text.ljust(width)}{where}" if width else text)


def _toml_key(name: str) -> str:
    """A name as a key of TOML, quoted unless it is one word of letters."""
    return name if name.isidentifier() and name.isascii() else _toml(name)


def _toml(value: Any) -> str:
    """A value of an option as TOML, of which these are a part that JSON has, too."""
    return orjson.dumps(str(value) if isinstance(value, Path) else value).decode().replace(",", ", ")


@config.command(epilog=parameters.examples("agent-trace config path"))
@parameters.json_option
def path(as_json: bool) -> int:
    """List the configuration files that are searched, nearest first, and whether each was used."""
    from Agent.config.toml_files import project_paths, state_of, user_path

    rows: list[tuple[str, str]] = []
    found = False
    for place in project_paths():
        is_hidden = found and os.path.exists(place)  # noqa: PTH110
        state = "not read: a nearer file was found" if is_hidden else _state(state_of, place)
        found = found or state == "read" or state.startswith("wrong")
        rows.append((place, state))
    own = user_path(os.environ)
    if own is not None:
        rows.append((own, _state(state_of, own)))
    if as_json:
        render.emit_json([{"path": place, "state": state} for place, state in rows])
        return 0
    width = max(len(place) for place, _ in rows) + 2
    for place, state in rows:
        style = STYLES.get(state, {"fg": "yellow"})
        render.emit(f"{render.clean(place).ljust(width)}{render.paint(render.clean(state), **style)}")
    return 0


def _state(state_of: Any, place: str) -> str:
    try:
        return str(state_of(place))
    except AgentTraceError as error:
        return f"wrong: {error.message}"


@config.command(
    epilog=parameters.examples("agent-trace config presets", "agent-trace config presets production")
)
@click.argument("name", required=False, shell_complete=lambda *words: _complete(words[-1]))
@parameters.json_option
def presets(name: str | None, as_json: bool) -> int:
    """List the presets, or print the settings of one.

    Select a preset with preset = "production" in a file, AGENT_TRACE_PRESET=production, or
    setup_logging(preset="production").
    """
    from Agent.config.load import preset_values
    from Agent.config.toml_files import preset_names, preset_path

    if name is not None:
        if as_json:
            render.emit_json(preset_values(name))
        else:
            render.emit(preset_path(name).read_text(encoding="utf-8").rstrip())
        return 0
    if as_json:
        render.emit_json({each: preset_values(each) for each in preset_names()})
        return 0
    width = max(map(len, preset_names())) + 2
    for each in preset_names():
        about = preset_path(each).read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        render.emit(f"{each.ljust(width)}{about}")
    return 0


def _complete(incomplete: str) -> list[str]:
    from Agent.config.toml_files import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


_LIBRARIES = ("orjson", "duckdb", "zstandard", "watchdog")


@click.command(epilog=parameters.examples("agent-trace version --json"))
@parameters.json_option
def version(as_json: bool) -> None:
    """Show the versions of Agent Trace, Python and libraries.

    Include them in a bug report.
    """
    found = {
        "agent-trace": __version__,
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        **{name: _version(name) for name in _LIBRARIES},
    }
    if as_json:
        render.emit_json(found)
        return
    for name, number in found.items():
        render.emit(f"{name:<12}  {number or 'not installed'}")


def _version(name: str) -> str | None:
    try:
        return version_of(name)
    except PackageNotFoundError:
        return None  # shown as not installed
