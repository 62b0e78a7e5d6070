"""`setup_logging()`: where the parts of recording meet, and the one place to customise what they do.

Change `LOGGING_CONFIG` before the first event, or hand a changed copy to `setup_logging`. Handlers are the
category files across sessions, loggers the sources of events; a logger's level decides what is recorded at all.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from Agent.config.load import options_from, redaction_key
from Agent.config.options import Options, level_number
from Agent.errors import ConfigurationError
from Agent.event.clock import format_timestamp
from Agent.event.ids import session_id_for, uuid7
from Agent.event.kinds import LEVEL_OFF, Category
from Agent.record import pipeline as installed
from Agent.record.health import say
from Agent.record.levels import LIMITS
from Agent.record.pipeline import Pipeline, RecordOptions, install_pipeline
from Agent.record.redaction import Redactor
from Agent.tree.claim import boot_id, hostname, process_start_ticks
from Agent.tree.mirror import Mirrors
from Agent.tree.session import SessionInfo, create_session, update_session
from Agent.tree.writer import SessionWriter
from Agent.version import __version__

SESSION_VARIABLE = "AGENT_TRACE_SESSION"
"""Tells child processes which session to join: `pid:start:path` of the process that began it."""

_MEGABYTE = 1024 * 1024

LOGGING_CONFIG: dict[str, Any] = {
    "version": 1,
    "handlers": {
        "agent_file": {"filename": "agents/agents.log", "maxBytes": 200 * _MEGABYTE, "backupCount": 10},
        "learning_file": {
            "filename": "learning/learning.log",
            "maxBytes": 100 * _MEGABYTE,
            "backupCount": 10,
        },
        "interaction_file": {
            "filename": "interactions/interactions.log",
            "maxBytes": 100 * _MEGABYTE,
            "backupCount": 10,
        },
        "performance_file": {
            "filename": "performance/performance.log",
            "maxBytes": 50 * _MEGABYTE,
            "backupCount": 5,
        },
        "system_file": {"filename": "system/system.jsonl", "maxBytes": 50 * _MEGABYTE, "backupCount": 5},
        "error_file": {"filename": "errors/errors.jsonl", "maxBytes": 50 * _MEGABYTE, "backupCount": 5},
        "event_file": {"filename": "events/events.log", "maxBytes": 100 * _MEGABYTE, "backupCount": 10},
    },
    "loggers": {
        "agent": {"handlers": ["agent_file"], "level": "DEBUG"},
        "learning": {"handlers": ["learning_file"], "level": "DEBUG"},
        "interaction": {"handlers": ["interaction_file"], "level": "DEBUG"},
        "performance": {"handlers": ["performance_file"], "level": "DEBUG"},
        "system": {"handlers": ["system_file"], "level": "DEBUG"},
        "error": {"handlers": ["error_file"], "level": "DEBUG"},
        "event": {"handlers": ["event_file"], "level": "DEBUG"},
    },
}

HANDLER_CATEGORIES = {
    "agent_file": Category.AGENTS,
    "learning_file": Category.LEARNING,
    "interaction_file": Category.INTERACTIONS,
    "performance_file": Category.PERFORMANCE,
    "system_file": Category.SYSTEM,
    "error_file": Category.ERRORS,
    "event_file": Category.EVENTS,
}
LOGGER_CATEGORIES = {name.removesuffix("_file"): category for name, category in HANDLER_CATEGORIES.items()}
_HANDLER_KEYS = {"filename", "maxBytes", "backupCount", "class", "formatter", "encoding"}
_FIXED_KEYS = {"class", "formatter", "encoding", "filename"}


@dataclass(frozen=True, slots=True)
class RecordingSession:
    """The session that this process records into."""

    session_id: str
    path: Path
    root: Path
    options: Options


_session: RecordingSession | None = None
_mirrors: Mirrors | None = None
_hooks_set = False


def setup_logging(config: Mapping[str, Any] | None = None, **options: Any) -> RecordingSession:
    """Begin to record, or change what is recorded; the session that events go to.

    Args:
        config: a value shaped like `LOGGING_CONFIG`, which holds without it.
        options: fields of `Options` by name, such as `trace_root`, `level`, `console`; they go over the
            environment (AGENT_TRACE_ROOT, AGENT_TRACE_LEVEL, ...), which goes over the configuration.

    Raises:
        ConfigurationError: a setting that cannot be, or a trace root that cannot be written.
    """
    wanted = options_from(options, base=options_in(LOGGING_CONFIG if config is None else config))
    if _session is not None:
        kept = _session.options.trace_root.absolute() == wanted.trace_root.absolute()
        if not options and config is None:
            return _session
        if kept and wanted == _with_levels(_session.options, wanted):
            _set_levels(wanted)
            return _session
        shutdown_logging()
    return _begin(wanted)


def _with_levels(options: Options, levels: Options) -> Options:
    """The options with the levels of other ones: those alone can change while a session runs."""
    from dataclasses import replace

    return replace(options, level=levels.level, levels=levels.levels)


def options_in(config: Mapping[str, Any]) -> Options:
    """The options that a value shaped like `LOGGING_CONFIG` holds; ConfigurationError names what it cannot mean."""
    if not isinstance(config, Mapping) or config.get("version", 1) != 1:
        raise ConfigurationError(
            "the logging configuration is not a mapping with version 1",
            remedy="start from a copy of Agent.config.logging_config.LOGGING_CONFIG",
        )
    rotation: dict[str, tuple[int, int]] = {}
    for name, handler in dict(config.get("handlers", {})).items():
        if name not in HANDLER_CATEGORIES:
            raise ConfigurationError(
                f"handler {name!r} is none of the category files; additional handlers are not supported yet",
                remedy=f"use {', '.join(HANDLER_CATEGORIES)}",
            )
        unknown = sorted(set(handler) - _HANDLER_KEYS)
        if unknown:
            raise ConfigurationError(
                f"handler {name!r} has the setting {unknown[0]!r}, which is not supported",
                remedy="set maxBytes and backupCount; levels belong to loggers",
            )
        default = LOGGING_CONFIG["handlers"][name]
        if any(handler.get(key, default.get(key)) != default.get(key) for key in _FIXED_KEYS):
            raise ConfigurationError(
                f"handler {name!r} changes its file or format, which is not supported yet",
                remedy="leave filename, class and formatter as they are",
            )
        size = handler.get("maxBytes", default["maxBytes"])
        backups = handler.get("backupCount", default["backupCount"])
        if not (isinstance(size, int) and size > 0 and isinstance(backups, int) and backups >= 0):
            raise ConfigurationError(f"handler {name!r} has maxBytes {size!r} and backupCount {backups!r}")
        if (size, backups) != (default["maxBytes"], default["backupCount"]) or config is LOGGING_CONFIG:
            rotation[HANDLER_CATEGORIES[name].value] = (size, backups)
    return Options(levels=_levels_in(config), rotation=rotation)


def _levels_in(config: Mapping[str, Any]) -> dict[str, str]:
    levels: dict[str, str] = {}
    for name, logger in dict(config.get("loggers", {})).items():
        category = LOGGER_CATEGORIES.get(name)
        if category is None:
            raise ConfigurationError(
                f"logger {name!r} is unknown", remedy=f"use one of {', '.join(LOGGER_CATEGORIES)}"
            )
        level = logger.get("level", "DEBUG")
        level_number(level)
        if level != "DEBUG":
            levels[category.value] = level
    return levels


def _set_levels(options: Options) -> None:
    overall = level_number(options.level)
    for category, limit in LIMITS.items():
        own = level_number(options.levels.get(category, "DEBUG"))
        limit.value = max(overall, own)


def _begin(options: Options) -> RecordingSession:
    global _session, _mirrors  # noqa: PLW0603 - the one session of this process
    redactor = Redactor(redaction_key() if options.redact else b"", enabled=options.redact)
    joined = _joinable(options)
    if joined is not None:
        path = joined
        session_id = path.name.removeprefix("session_")
    else:
        path, session_id = _create(options, redactor)
    try:
        writer = SessionWriter(
            path,
            segment_size_bytes=options.segment_size_bytes,
            max_open_files=options.max_open_files,
            board=options.board,
        )
    except OSError as error:
        raise _unwritable(options.trace_root, error) from error
    root = path.parent
    _mirrors = Mirrors(root, rotation=options.rotation or None) if options.mirrors else None
    pipeline = Pipeline(
        writer,
        session_id=session_id,
        redactor=redactor,
        options=RecordOptions(buffer_entries=options.buffer_entries, strict_state=options.state == "strict"),
        mirrors=_console(_mirrors) if options.console else _mirrors,
        board=writer.board,
        open_buffered=(lambda: _buffered_writer(path, options)) if options.buffer_entries else None,
    )
    _session = RecordingSession(session_id, path, root, options)
    _set_levels(options)
    install_pipeline(pipeline)
    pipeline.announce(writer, "kernel")
    if joined is None:
        os.environ[SESSION_VARIABLE] = f"{os.getpid()}:{process_start_ticks(os.getpid())}:{path.absolute()}"
    _set_hooks()
    return _session


def _buffered_writer(path: Path, options: Options) -> SessionWriter:
    return SessionWriter(
        path,
        durability="buffered",
        kind="performance metrics",
        segment_size_bytes=options.segment_size_bytes,
        max_open_files=max(4, options.max_open_files // 4),
        board=False,
    )


def _create(options: Options, redactor: Redactor) -> tuple[Path, str]:
    now_ns = time.time_ns()
    info = SessionInfo(
        session_id=session_id_for(now_ns // 1000),
        session_uid=uuid7(now_ns // 1_000_000, os.urandom(10)),
        host=hostname(),
        boot_id=boot_id(),
        pid=os.getpid(),
        process_start_ticks=process_start_ticks(os.getpid()),
        python=sys.version.split()[0],
        started_at=format_timestamp(now_ns // 1000),
        argv=tuple(redactor.arguments(list(sys.argv))),
        versions={"agent-trace": __version__},
        configuration=redactor.object(_configuration(options)),
    )
    try:
        path = create_session(options.trace_root, info)
    except OSError as error:
        raise _unwritable(options.trace_root, error) from error
    return path, path.name.removeprefix("session_")


def _configuration(options: Options) -> dict[str, Any]:
    shown = asdict(options)
    shown["trace_root"] = str(options.trace_root)
    return shown


def _unwritable(root: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the trace root cannot be written: {error.strerror or error}",
        path=root,
        remedy="set AGENT_TRACE_ROOT to a directory of your own",
    )


def _joinable(options: Options) -> Path | None:
    """The session of the process that started this one, while that process runs and records there."""
    text = os.environ.get(SESSION_VARIABLE, "")
    pid, _, rest = text.partition(":")
    start, _, path_text = rest.partition(":")
    if not pid.isdigit() or not path_text or int(pid) == os.getpid():
        return None
    if str(process_start_ticks(int(pid))) != start:
        return None
    path = Path(path_text)
    same_root = path.parent == options.trace_root.absolute()
    return path if path.is_dir() and (same_root or options.trace_root == Options().trace_root) else None


def shutdown_logging() -> None:
    """Write out what is held back, say in the record that it ends here, and stop recording."""
    global _session, _mirrors  # noqa: PLW0603 - the one session of this process
    session = _session
    if session is None:
        return
    pipeline = installed.active_pipeline()
    _session = None
    _mirrors = None
    install_pipeline(None)
    for limit in LIMITS.values():
        limit.value = 0
    try:
        if pipeline is not None:
            pipeline.close()
        if os.environ.get(SESSION_VARIABLE, "").startswith(f"{os.getpid()}:"):
            del os.environ[SESSION_VARIABLE]
            update_session(session.path, ended_at=format_timestamp(time.time_ns() // 1000))
            from Agent.tree.summary import write_summary

            write_summary(session.path)
    except Exception as error:  # noqa: BLE001 - the end of recording is no reason for the program to fail
        say(f"recording did not end well: {type(error).__name__}: {error}")


def current_session() -> RecordingSession | None:
    """The session that this process records into, None if it does not record."""
    return _session


def health() -> dict[str, Any]:
    """How recording does: events written and dropped by reason, notes, redactions, and the writer's counters."""
    pipeline = installed.active_pipeline()
    if pipeline is None or _session is None:
        return {"recording": False}
    counters = getattr(pipeline.sink, "counters", dict)
    return {
        "recording": True,
        "session_id": _session.session_id,
        "path": str(_session.path),
        "events": pipeline.events,
        "dropped": dict(pipeline.health.dropped),
        "notes": dict(pipeline.health.notes),
        "redacted": pipeline.redactor.count,
        "buffered": len(pipeline.buffer) if pipeline.buffer is not None else 0,
        "writer": dict(counters()),
    }


def begin_by_default() -> None:
    """Set up what nobody set up: called by the first event.

    A root that cannot be written is told once on stderr; the program that is recorded goes on unrecorded.
    """
    try:
        setup_logging()
    except ConfigurationError as error:
        say(f"nothing is recorded: {error}")
        for limit in LIMITS.values():
            limit.value = LEVEL_OFF


def _set_hooks() -> None:
    global _hooks_set  # noqa: PLW0603 - hooks of the process are set once
    if _hooks_set:
        return
    _hooks_set = True
    atexit.register(shutdown_logging)
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)


def _before_fork() -> None:
    pipeline = installed.active_pipeline()
    if pipeline is not None and _session is not None:
        pipeline.flush()


def _after_fork_in_child() -> None:
    pipeline = installed.active_pipeline()
    if pipeline is None or _session is None:
        return
    if isinstance(pipeline.sink, SessionWriter):
        pipeline.sink.after_fork_in_child()
        if _mirrors is not None:
            _mirrors.after_fork_in_child()
        pipeline.after_fork_in_child(pipeline.sink.board)
        pipeline.announce(pipeline.sink, "kernel")
    forked = sys.modules.get("multiprocessing.util")
    if forked is not None:
        # Such children end without atexit; their own list of last things is cleared after this hook ran.
        forked.register_after_fork(_END, _end_with_multiprocessing)


class _End:
    """Something for multiprocessing to hold a weak reference to."""


_END = _End()


def _end_with_multiprocessing(_: object) -> None:
    sys.modules["multiprocessing.util"].Finalize(None, shutdown_logging, exitpriority=-100)


def _console(mirrors: Mirrors | None) -> Any:
    from Agent.config.console import ConsoleMirrors

    return ConsoleMirrors(mirrors)
