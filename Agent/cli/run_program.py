"""Run a program with recording switched on.

`agent-trace run` replaces its process by this one. It traces the classes named by the configuration, loads
the installed OpenTelemetry instrumentations with the span processor of this package, and then runs the
program as Python would. Python processes started by the program do the same (`child_start`) once they import
a module with such a class.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import sys
import time
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from Agent.config.load import InstrumentEntry, classes_to_instrument, configured_root
from Agent.errors import AgentTraceError, ConfigurationError, UsageError
from Agent.event.clock import format_timestamp
from Agent.record.emit import installed
from Agent.record.health import say
from Agent.record.tracing.instrument import instrument
from Agent.tree.files.session import open_session
from Agent.tree.layout import list_sessions

_DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
_STARTED_AT: Final = format_timestamp(time.time_ns() // 1000)
_AROUND: Final = frozenset({__file__, runpy.__file__, "<frozen runpy>"})
"""The files of the frames around the program, which are hidden in its tracebacks."""
_CHILDREN: Final = "AGENT_TRACE_RUN_CHILDREN"
"""The environment variable with the settings for child processes."""
_NEWEST: Final = 8
"""The number of newest sessions that are searched for the program's."""


class ProgramSettings(NamedTuple):
    """The options of `agent-trace run`."""

    is_module: bool = False
    """Whether the program is a module, as in `python -m`."""
    spans: bool = True
    """Whether to record spans of instrumented libraries."""
    endpoint: str | None = None
    """A receiver of OTLP to export the session to while it is recorded."""
    content: bool = False
    """Whether to export content too."""


def main() -> int:
    """Run the program named by the arguments after the settings; return the exit code."""
    settings_json, program, *arguments = sys.argv[1:]
    settings = ProgramSettings(**json.loads(settings_json))
    try:
        if not settings.is_module:
            try:
                with open(program, "rb"):
                    pass
            except OSError as error:
                raise UsageError(f"the program cannot be read: {error.strerror}", path=program) from None
        sys.argv = [program, *arguments]
        if sys.path[0] not in sys.path[1:]:
            sys.path.append(sys.path[0])  # this package, for child processes
        # A script imports from its own directory, a module from the working directory.
        beside = os.getcwd() if settings.is_module else os.path.dirname(os.path.realpath(program))  # noqa: PTH109, PTH120
        sys.path[0] = beside
        entries = classes_to_instrument()
        for entry in entries:
            _instrument(entry)
        _configure_children(entries, spans=settings.spans)
        if settings.spans:
            record_spans()
        if settings.endpoint is not None:
            from Agent.client.otlp import export_otlp

            export_otlp(settings.endpoint, content=settings.content)
    except AgentTraceError as error:
        say(str(error))
        return error.exit_code
    atexit.register(_report_if_nothing)
    try:
        if settings.is_module:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(program, run_name="__main__")
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - shown as Python shows it
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename in _AROUND:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _configure_children(entries: Iterable[InstrumentEntry], *, spans: bool) -> None:
    os.environ[_CHILDREN] = json.dumps({"entries": [*entries], "spans": spans})
    paths = [str(Path(__file__).with_name("child_start")), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def begin_in_child() -> None:
    """Record in a Python process started by the program, with the same settings."""
    settings_text = os.environ.get(_CHILDREN)
    if settings_text is None:
        return
    try:
        settings = json.loads(settings_text)
        sys.meta_path.insert(0, _TracedImports([InstrumentEntry(*each) for each in settings["entries"]]))
        if settings["spans"]:
            record_spans()
    except Exception as error:  # noqa: BLE001 - recording never keeps the user's program from running
        say(f"this process is not recorded ({type(error).__name__}: {error})")


class _TracedImports(MetaPathFinder):
    """Traces the named classes of a module when it is imported, since the program may never import it."""

    def __init__(self, entries: Iterable[InstrumentEntry]) -> None:
        self._entries: dict[str, list[InstrumentEntry]] = {}
        for entry in entries:
            self._entries.setdefault(entry.module, []).append(entry)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return the module's spec with a loader that traces its classes; None for other modules."""
        entries = self._entries.pop(fullname, None)  # so that the other finders are used now
        spec = None if entries is None else find_spec(fullname)
        if entries is not None and spec is not None and spec.loader is not None:
            spec.loader = _TracingLoader(spec.loader, entries)
        return spec


class _TracingLoader(Loader):
    """Loads a module with its original loader, and then traces its classes."""

    def __init__(self, loader: Loader, entries: Iterable[InstrumentEntry]) -> None:
        self._loader = loader
        self._entries = entries

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module with its original loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module, then trace its classes; failures are reported and the import continues."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for entry in self._entries:
            try:
                _instrument(entry)
            except AgentTraceError as error:
                say(str(error))


def _instrument(entry: InstrumentEntry) -> None:
    """Trace a class named by the configuration.

    Raises:
        ConfigurationError: the class or a method does not exist; names the file and line.
    """
    target: Any
    try:
        target = import_module(entry.module)
        for name in entry.name.split("."):
            target = getattr(target, name)
        instrument(
            target,
            methods=entry.methods,
            agent_id=entry.agent_id,
            agent_role=entry.agent_role,
            ignore=entry.ignore,
            level=entry.level,
        )
    except (ImportError, AttributeError, ConfigurationError) as error:
        reason = error.message if isinstance(error, ConfigurationError) else str(error)
        raise ConfigurationError(
            f"{entry.module}:{entry.name} cannot be traced: {reason}",
            path=entry.path,
            line=entry.line,
            remedy="a class of the script itself takes @trace_agent_action instead",
        ) from None


def record_spans() -> list[str]:
    """Record the spans of every instrumented library, and return the names of the instrumentations loaded.

    As `opentelemetry-instrument` does, this sets the global tracer provider; a program that sets its own adds
    `AgentTraceSpanProcessor` to it instead. OTEL_SDK_DISABLED and OTEL_PYTHON_DISABLED_INSTRUMENTATIONS are
    obeyed. An instrumentation that fails to load is reported and left out.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
    except ImportError:
        say('no spans of libraries are recorded: pip install "agent-trace[otel]" brings opentelemetry-sdk')
        return []
    from Agent.bridges import AgentTraceSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(AgentTraceSpanProcessor())
    trace.set_tracer_provider(provider)
    disabled = {name.strip() for name in os.environ.get(_DISABLED, "").split(",")}
    loaded = []
    for entry in () if "*" in disabled else entry_points(group="opentelemetry_instrumentor"):
        if entry.name in disabled:
            continue
        try:
            # Raises if the library is missing or has a version that the instrumentation does not know.
            entry.load()().instrument(tracer_provider=provider, raise_exception_on_conflict=True)
        except Exception as error:  # noqa: BLE001 - one of them must not keep the program from running
            conflict = getattr(error, "conflict", None)
            lacks_library = conflict is not None and getattr(conflict, "found", None) is None
            if not lacks_library and not isinstance(error, ModuleNotFoundError):  # else it is no failure
                say(f"the instrumentation {entry.name} is left out ({type(error).__name__}: {error})")
        else:
            loaded.append(entry.name)
    return loaded


def _report_if_nothing() -> None:
    """Report if the program has ended and neither it nor its children recorded anything."""
    sessions = list_sessions(configured_root())
    if installed.active_pipeline() is not None:
        return
    try:
        started = [open_session(each.path).started_at for each in sessions[-_NEWEST:]]
    except AgentTraceError:
        return  # something was recorded, even if incomplete
    if not any(each >= _STARTED_AT for each in started):
        say(
            "nothing was recorded: no library of the program has an installed OpenTelemetry instrumentation, "
            "and no [[instrument]] in agent-trace.toml names one of its classes"
        )
