"""`setup_logging()`, which `LOGGING_CONFIG` customises.

Change `LOGGING_CONFIG` before the first event, or pass a changed copy to `setup_logging`. It has the form of
the standard library's `dictConfig`: seven handlers are the category files across sessions, and others can be
added; loggers are the sources of events, and a logger's level decides what is recorded. `handler_config.py`
reads it; `recording.py` then connects the parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from Agent.config import recording
from Agent.config.handler_config import HANDLER_CATEGORIES, LOGGING_CONFIG, effective_settings, options_in
from Agent.config.load import options_from, preset_values
from Agent.config.options import Options, with_changes
from Agent.config.process import wiring_lock
from Agent.config.recording import RecordingSession, health, shutdown_logging

if TYPE_CHECKING:
    from Agent.config.handlers import OutputRouter

__all__ = [
    "effective_settings",
    "HANDLER_CATEGORIES",
    "health",
    "LOGGING_CONFIG",
    "options_in",
    "setup_logging",
    "shutdown_logging",
]


def setup_logging(config: Mapping[str, Any] | None = None, **options: Any) -> RecordingSession:
    """Start recording, or change what is recorded; return the session that events go to.

    During a session only levels can change; any other change ends the session and starts a new one.

    Args:
        config: a mapping like `LOGGING_CONFIG`; default: `LOGGING_CONFIG` itself.
        options: fields of `Options` by name, such as `trace_root`, `level`, `console`, and `preset`. They
            override the environment (AGENT_TRACE_ROOT, AGENT_TRACE_LEVEL, ...), which overrides configuration
            files, which override the preset, which overrides `config`.

    Raises:
        ConfigurationError: a setting is invalid, or the trace root cannot be written.
    """
    with wiring_lock():
        session = recording.current_session()
        if session is None:
            chosen = options_from(options, base=options_in(LOGGING_CONFIG if config is None else config))
            return _begin(chosen)
        # Options without a new value stay unchanged.
        base = session.options
        arguments = {name: value for name, value in options.items() if value is not None}
        if config is not None:
            configured = options_in(config)
            arguments = {"levels": configured.levels, "rotation": configured.rotation, **arguments}
            base = replace(base, outputs=configured.outputs)
        if "preset" in arguments:
            arguments = {**preset_values(arguments.pop("preset")), **arguments}
        chosen = recording.placed(with_changes(base, arguments))
        if chosen == replace(session.options, level=chosen.level, levels=chosen.levels):
            return recording.set_levels(chosen)
        from Agent.config.handlers import open_outlets

        # Built first: if that fails, the running session continues.
        outlets = open_outlets(chosen.outputs)
        shutdown_logging()
        return _begin(chosen, outlets)


def restart_recording() -> RecordingSession:
    """Start with the options of the session whose directory was removed, else with the configured ones."""
    options = recording.options_of_removed()
    with wiring_lock():
        return setup_logging() if options is None else _begin(options)


def _begin(options: Options, outlets: OutputRouter | None = None) -> RecordingSession:
    if outlets is None:
        from Agent.config.handlers import open_outlets

        outlets = open_outlets(options.outputs)
    try:
        return recording.begin(options, outlets)
    except BaseException:
        if outlets is not None:
            outlets.close()
        raise
