"""Build the user's formatters, filters and handlers, and pass events to them; used only if there are any.

`handler_config.py` has read the configuration. Lines of category files are formatted when a batch is written,
not in the recorded call; an additional handler runs within the call, as in `logging`.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from Agent.config.handler_config import HANDLER_CATEGORIES, LOGGER_CATEGORIES
from Agent.config.options import Options, Outputs
from Agent.config.text_mirrors import TextMirrors, as_log_record
from Agent.errors import ConfigurationError
from Agent.event.kinds import Category
from Agent.record.health import say
from Agent.tree.layout import MIRROR_FILES
from Agent.tree.write.mirror import Mirrors

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import MirrorSink

Take = Callable[[bytes], None]


class _Route(NamedTuple):
    """The receivers of one category's lines."""

    names: tuple[str, ...]
    """All handlers that its logger names, in order."""
    files: Mapping[str, Take]
    handlers: Mapping[str, logging.Handler]
    judge: logging.Filterer | None
    """The filters of its logger."""


class _ThreadState(threading.local):
    """State of the current thread."""

    busy = False
    """True inside a user's handler, filter or formatter: events it logs are recorded, but not handled."""
    line = b""
    taken_by: tuple[str, ...] = ()
    """The handlers that got the last line: an error arrives twice, by its category and as an error."""


class OutputRouter:
    """Category files in the user's format, and additional handlers; shared by all threads of a process.

    Raises:
        ConfigurationError: the standard library could not build what the configuration describes.
    """

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self.failures: Counter[str] = Counter()
        self._thread_state = _ThreadState()
        self._mirrors: Mirrors | None = None
        # Handlers that write nothing; each holds the formatter, filters and level of a category file.
        shells = {
            _file_name(category): {"class": "logging.NullHandler", **form.settings}
            for category, form in outputs.forms.items()
            if form.settings
        }
        built, self._filters = build_outputs(outputs, {**outputs.handlers, **shells})
        self._shells = {name: built.pop(name) for name in shells}
        self._handlers = built
        for name, handler in built.items():
            if type(handler).handleError is logging.Handler.handleError:
                # Count failures and report them once; the inherited method prints a traceback for each event.
                handler.handleError = partial(self._count_error, name)  # type: ignore[method-assign]

    def _count_error(self, name: str, _record: logging.LogRecord) -> None:
        self._failed(f"handler {name!r}", sys.exc_info()[1])

    def open_mirrors(self, root: Path, rotation: Mapping[str, tuple[int, int]] | None) -> Mirrors:
        """Open the category files that a logger names, with their paths and formats."""
        named = {name for route in self._outputs.routes.values() for name in route}
        categories = [category for category in HANDLER_CATEGORIES.values() if _file_name(category) in named]
        files = {
            category: form.filename
            for category, form in self._outputs.forms.items()
            if form.filename is not None
        }
        taken = {files.get(category.value, MIRROR_FILES[category.value]) for category in categories}
        twins = [
            f"{category.value}.text"
            for category in categories
            if _file_name(category) in self._outputs.routes[category.value]
            and MIRROR_FILES.get(f"{category.value}.text", "") not in {*taken, ""}
        ]
        return Mirrors(
            root,
            rotation=rotation,
            categories=(*(category.value for category in categories), *twins),
            files=files,
            forms={
                category: self._in_form(shell)
                for category in MIRROR_FILES
                if (shell := self._shells.get(_file_name(category))) is not None
            },
        )

    def attach(self, mirrors: Mirrors | None) -> None:
        """Set the category files that get lines; None for none."""
        self._mirrors = mirrors

    def adder(self, category: str) -> Take | None:
        """The function that takes a category's lines; None if nothing receives them."""
        mirrors = self._mirrors
        if category.endswith(".text"):
            return mirrors.adder(category) if mirrors is not None else None
        names = self._outputs.routes[category]
        files: dict[str, Take] = {}
        for name in names:
            own_category = HANDLER_CATEGORIES.get(name)
            add = mirrors.adder(own_category.value) if mirrors is not None and own_category else None
            if add is not None:
                files[name] = add
        handlers = self._handlers_of(category)
        judge = self._filters.get(category)
        takers = _Route(names, files, handlers, judge)
        if category == Category.ERRORS.value and self._handlers:
            return lambda line: self._hand_out_error(line, takers)
        if not files and not handlers:
            return None
        special = handlers or judge is not None or not self._shells.keys().isdisjoint(files) or len(files) > 1
        if not special and not self._may_arrive_twice(category):
            return next(iter(files.values()))
        return lambda line: self._hand_out(line, takers)

    def _handlers_of(self, category: str) -> dict[str, logging.Handler]:
        """The additional handlers of a category's logger."""
        route = self._outputs.routes[category]
        return {name: self._handlers[name] for name in route if name in self._handlers}

    def _hand_out_error(self, line: bytes, takers: _Route) -> None:
        """Pass on an error; handlers of the logger that logged it get it too, as in `logging`."""
        record = self._tried("making a log record", None, as_log_record, line)
        category = LOGGER_CATEGORIES.get(record.name.partition(".")[0]) if record is not None else None
        before = self._thread_state.taken_by if self._thread_state.line is line else ()
        self._hand_out(line, takers)
        if category is not None and category != Category.ERRORS:
            theirs = {
                name: each
                for name, each in self._handlers_of(category.value).items()
                if name not in before and name not in takers.names
            }
            if theirs:
                self._hand_out(line, _Route(before, {}, theirs, self._filters.get(category.value)))

    def _hand_out(self, line: bytes, takers: _Route) -> None:
        """Pass a line to files and, as a LogRecord, to handlers that do not have it already."""
        records = self._thread_state
        before = records.taken_by if records.line is line else ()
        nested, records.busy = records.busy, True
        try:
            record = None
            if (takers.handlers or takers.judge is not None) and not nested:
                record = self._tried("making a log record", None, as_log_record, line)
                judge = takers.judge if record is not None else None
                if judge and not self._tried("a filter of a logger", True, judge.filter, record):
                    return
            for name, add in takers.files.items():
                # An event logged by a formatter would be formatted too, in an endless loop.
                if name not in before and not (nested and name in self._shells):
                    add(line)
            if nested:
                self.failures["logged by a handler, filter or formatter itself"] += 1
            elif record is not None:
                for name, handler in takers.handlers.items():
                    if name not in before:
                        self._handle(name, handler, record)
        finally:
            records.busy = nested
        records.line, records.taken_by = line, takers.names

    def _may_arrive_twice(self, category: str) -> bool:
        """Whether a handler is named for errors and for this category, so that it could get a line twice."""
        routes, errors = self._outputs.routes, Category.ERRORS.value
        others = routes if category == errors else (category,)
        return any(set(routes[other]) & set(routes[errors]) for other in others if other != errors)

    def _tried(self, action: str, otherwise: Any, call: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a call of user code; `otherwise` if it raises, which is counted."""
        try:
            return call(*arguments)
        except Exception as error:  # noqa: BLE001 - user code may raise anything, and recording must not
            self._failed(action, error)
            return otherwise

    def _handle(self, name: str, handler: logging.Handler, record: logging.LogRecord) -> None:
        if record.levelno >= handler.level:
            try:
                handler.handle(record)
            except Exception as error:  # noqa: BLE001 - a user's handler may raise anything
                self._failed(f"handler {name!r}", error)

    def _in_form(self, shell: logging.Handler) -> Callable[[list[bytes]], list[bytes]]:
        """The function that formats a batch of recorded lines for a category file."""
        forms = self._thread_state

        def in_form(lines: list[bytes]) -> list[bytes]:
            nested, forms.busy = forms.busy, True
            try:
                return [made for line in lines if (made := self._formatted(line, shell)) is not None]
            finally:
                forms.busy = nested

        return in_form

    def _formatted(self, line: bytes, shell: logging.Handler) -> bytes | None:
        """A line formatted for a category file: unchanged if that fails, None if a filter rejects it."""
        try:
            record = as_log_record(line)
            accepted: Any = record.levelno >= shell.level and shell.filter(record)
            if not accepted:
                return None
            if shell.formatter is None:
                return line
            text = shell.formatter.format(accepted if isinstance(accepted, logging.LogRecord) else record)
        except Exception as error:  # noqa: BLE001 - a user's formatter may raise anything
            self._failed("a formatter or filter of a category file", error)
            return line
        return f"{text}\n".encode("utf-8", "backslashreplace")

    def _failed(self, action: str, error: BaseException | None) -> None:
        reason = f"{action}: {type(error).__name__}"
        self.failures[reason] += 1
        if self.failures[reason] == 1:
            say(f"{action} failed: {type(error).__name__}: {error}; `Agent.health()` counts it")

    def flush(self) -> None:
        """Flush category files and handlers."""
        if self._mirrors is not None:
            self._mirrors.flush()
        self._each("flush")

    def close(self) -> None:
        """Flush and close category files and handlers, since they were built here."""
        if self._mirrors is not None:
            self._mirrors.close()
        self._each("flush")
        self._each("close")

    def _each(self, action: str) -> None:
        nested, self._thread_state.busy = self._thread_state.busy, True
        for name, handler in self._handlers.items():
            self._tried(f"handler {name!r}", None, getattr(handler, action))
        self._thread_state.busy = nested


def _file_name(category: str) -> str:
    """The name of a category's handler; empty for a text twin."""
    return next((name for name, own in HANDLER_CATEGORIES.items() if own.value == category), "")


_DEFERRED = "target not configured yet"


def build_outputs(
    outputs: Outputs, handlers: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, logging.Handler], dict[str, logging.Filterer]]:
    """Build handlers by name, and the filters of each category's logger.

    Raises:
        ConfigurationError: the standard library rejected an entry; the message contains its reason.
    """
    parts = {"formatters": outputs.formatters, "filters": outputs.filters, "handlers": handlers}
    # copies, since DictConfigurator replaces entries by what it builds
    anew = {section: {key: _entry(entry) for key, entry in each.items()} for section, each in parts.items()}
    from logging.config import DictConfigurator  # imports sockets and pickle, which few programs need

    configurator = DictConfigurator({"version": 1, **anew})
    config: Any = configurator.config
    for section, build in (
        ("formatters", configurator.configure_formatter),
        ("filters", configurator.configure_filter),
    ):
        for name in config[section]:
            config[section][name] = _build(section, name, build, config[section][name])
    _build_handlers(configurator, config["handlers"])
    judges = {}
    for category, names in outputs.logger_filters.items():
        judges[category] = logging.Filterer()
        _build(
            "filters",
            ", ".join(map(str, names)),
            lambda each: configurator.add_filters(*each),
            (judges[category], names),
        )
    return dict(config["handlers"]), judges


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an entry; a class object as `class` becomes a factory, since dictConfig expects a name."""
    if isinstance(entry.get("class"), type):
        return {"()": entry["class"], **{key: value for key, value in entry.items() if key != "class"}}
    return dict(entry)


def _build_handlers(configurator: Any, entries: Any) -> None:
    """Replace each entry by its handler; a handler whose target is another handler is built after it."""
    waiting = []
    for name in sorted(entries):
        try:
            entries[name] = configurator.configure_handler(entries[name])
        except ValueError as error:
            if _DEFERRED not in str(error.__cause__):
                raise _refused("handlers", name, error) from error
            waiting.append(name)
        except Exception as error:
            raise _refused("handlers", name, error) from error
    for name in waiting:
        entries[name] = _build("handlers", name, configurator.configure_handler, entries[name])


def _build(section: str, name: str, build: Callable[[Any], Any], entry: Any) -> Any:
    try:
        return build(entry)
    except Exception as error:
        raise _refused(section, name, error) from error


def _refused(section: str, name: str, error: BaseException) -> ConfigurationError:
    cause = error.__cause__ or error
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return ConfigurationError(
        f"{section.removesuffix('s')} {name!r} cannot be built: {reason}",
        remedy="use the form of logging.config.dictConfig",
    )


def open_outlets(outputs: Outputs | None) -> OutputRouter | None:
    """Build the user's formatters and handlers; None, without importing anything, if there are none.

    Raises:
        ConfigurationError: the standard library rejected one of them.
    """
    return None if outputs is None else OutputRouter(outputs)


def open_copies(
    root: Path, options: Options, outlets: OutputRouter | None
) -> tuple[Mirrors | None, MirrorSink | None]:
    """Open the category files; return them and the sink for the pipeline, None if nothing is copied."""
    rotation = options.rotation or None
    mirrors = None
    if options.mirrors:
        mirrors = (
            Mirrors(root, rotation=rotation) if outlets is None else outlets.open_mirrors(root, rotation)
        )
    if mirrors is not None:
        mirrors.make_directories()
        if mirrors.refused_at_first:
            reasons = ", ".join(sorted(mirrors.refused_at_first))
            say(f"some category files or links cannot be written ({reasons}); the session holds every event")
    if outlets is not None:
        outlets.attach(mirrors)
    takers = mirrors if outlets is None else outlets
    copies = TextMirrors(takers, console=options.console) if takers or options.console else None
    return mirrors, copies


def handler_counts(copies: MirrorSink | None) -> dict[str, int]:
    """The failures of the user's handlers, filters and formatters, by reason."""
    takers = copies.takers if isinstance(copies, TextMirrors) else None
    return dict(getattr(takers, "failures", {}))
