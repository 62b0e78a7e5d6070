"""`doctor` checks what recording and replay need; `config` and `version` show what is in effect here."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson

from Agent.cli import parameters, render
from Agent.cli.parameters import Root, command
from Agent.errors import AgentTraceError
from Agent.render import formats
from Agent.tree.layout import MIRROR_FILES, is_encrypted, list_sessions, shown_name
from Agent.version import __version__

if TYPE_CHECKING:
    from Agent.testing.canary import Entrance
    from Agent.tree.read.losses import Losses


OK, WARN, FAIL = "ok", "warn", "fail"
_LOOKS = {OK: "good", WARN: "warn", FAIL: "bad"}
LIBRARIES = ("orjson", "click", "rich", "duckdb", "watchdog")
_SHOWN_ENTRIES = 5
FREE_BYTES_NEEDED, FREE_BYTES_WANTED = 64 * 1024 * 1024, 1024 * 1024 * 1024
OPEN_FILES_WANTED = 128


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check, with a remedy if it is not OK."""

    name: str
    state: str
    found: str
    remedy: str = ""


Finding = tuple[str, str] | tuple[str, str, str]
"""State, finding and, if needed, remedy."""


@command()
def doctor(root: Root, canary: bool) -> int:
    """Check that recording and replay work here.

    Checks versions, the trace root, disk space, open files, inotify and the board; records, reads and replays
    a small simulation in a temporary directory; and counts what the newest session lost. With --canary, it
    checks instead whether redaction, as configured here, lets a secret through. Exit code 1: a check failed.

    Args:
        canary: Plant made-up secrets through every entry point of a temporary recording, then search its
            files for them.

    Examples:
        agent-trace doctor
        agent-trace doctor --json
        agent-trace doctor --canary
    """
    if canary:
        return _search_for_secrets()
    checks = []
    for check in _all_checks(root):
        checks.append(check)
        _show(check)
    wrong = [check for check in checks if check.state == FAIL]
    report = {"ok": not wrong, "version": __version__, "root": str(root), "checks": list(map(asdict, checks))}
    render.document(lambda: report)
    render.emit()
    render.emit(f"{formats.plural(len(wrong), 'check')} failed" if wrong else "all required checks passed")
    return 1 if wrong else 0


def _show(check: Check) -> None:
    state = render.painted(check.state.ljust(4), _LOOKS[check.state])
    render.emit_beside(f"  {state}  {check.name.ljust(14)}  ", 24, check.found)
    if check.remedy:
        render.emit_beside(" " * 24, 24, check.remedy)


def _all_checks(root: Path) -> Iterator[Check]:
    """Run the checks in order; a check that raises is a failed check."""
    checks: tuple[tuple[str, Callable[[], Finding]], ...] = (
        ("python", _python),
        ("libraries", _libraries),
        ("native parts", _native_parts),
        ("trace root", lambda: _root(root)),
        ("entries", lambda: _entries(root)),
        ("disk space", lambda: _disk_space(root)),
        ("open files", _open_files),
        ("inotify", _inotify),
        ("board", lambda: _board(root)),
        ("self-test", _self_test),
        ("newest session", lambda: _newest_session(root)),
    )
    for name, check in checks:
        try:
            yield Check(name, *check())
        except Exception as error:  # noqa: BLE001 - the exception is the finding
            yield Check(name, FAIL, f"{type(error).__name__}: {error}")


def _python() -> Finding:
    text = f"Agent Trace {__version__}, Python {sys.version.split()[0]}, {sys.platform}"
    if not sys.platform.startswith("linux"):
        return WARN, text, "only Linux is fully supported; elsewhere, record from one process"
    return OK, text


_COLUMNS: Final = "Agent.analysis.query._columns"


def _native_parts() -> Finding:
    from importlib.machinery import EXTENSION_SUFFIXES
    from importlib.util import find_spec

    from Agent.record.encode.native import native
    from Agent.tree.files.descriptors import is_built

    parts = {"judge": native is not None, "heads": is_built(), "columns": find_spec(_COLUMNS) is not None}
    index = Path(__file__).parents[2] / "view" / "index"  # as files, since the package needs numpy
    parts["rows"] = any((index / f"_rows{suffix}").exists() for suffix in EXTENSION_SUFFIXES)
    missing = [name for name, built in parts.items() if not built]
    if missing:
        remedy = (
            "events cost about 50 % more, queries of JSON lines twice as much, and the pages' index several "
            "times as much; install with a C compiler"
        )
        return WARN, f"not built; Python is used for: {', '.join(missing)}", remedy
    return OK, "built"


def _libraries() -> Finding:
    from Agent.archive.sealed.duckdb_module import OLDEST_DUCKDB, numbers_of

    versions = {name: _version(name) for name in LIBRARIES}
    missing = [name for name, number in versions.items() if number is None]
    if missing:
        return FAIL, f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}"
    if numbers_of(versions["duckdb"]) < OLDEST_DUCKDB:
        oldest = ".".join(map(str, OLDEST_DUCKDB))
        reason = f"duckdb {versions['duckdb']} is older than {oldest}: no command that queries works"
        return FAIL, reason, f"pip install 'duckdb>={oldest}'"
    return OK, ", ".join(f"{name} {number}" for name, number in versions.items())


def _nearest(root: Path) -> Path:
    """The directory itself, or the nearest existing one above it."""
    directory = root.absolute()
    while not directory.is_dir() and directory != directory.parent:
        directory = directory.parent
    return directory


def _root(root: Path) -> Finding:
    remedy = "choose another with --root or AGENT_TRACE_ROOT, or change its permissions"
    existing = _nearest(root)
    if root.exists() and not root.is_dir():
        return FAIL, f"{root} is not a directory", remedy
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".agent-trace-doctor-") as file:
            file.write(b"can this be written?")
            file.flush()
    except OSError as error:
        return FAIL, f"{existing} cannot be written: {error.strerror}", remedy
    if existing != root.absolute():
        return OK, f"{root} does not exist yet and can be created"
    rights = root.stat().st_mode & 0o777
    if rights & 0o077:
        return WARN, f"{root} is writable, and others can read it (mode {rights:o})", f"chmod 700 {root}"
    return OK, f"{root} is writable, and only by you"


def _entries(root: Path) -> Finding:
    """Find entries below the root and in its newest session that do not belong to a trace."""
    from Agent.archive.verify import find_passed_over

    shared = sorted({(root / name).parent for name in ("runs/id", *MIRROR_FILES.values())})
    odd = find_passed_over(root, root, *shared, below=False)
    odd += [each for ref in list_sessions(root)[-1:] for each in find_passed_over(root, ref.path)]
    if not odd:
        return OK, "every checked entry belongs to the tree"
    listed = ", ".join(str(each) for each in odd[:_SHOWN_ENTRIES])
    more = f" and {len(odd) - _SHOWN_ENTRIES:,} more" if len(odd) > _SHOWN_ENTRIES else ""
    return WARN, f"ignored: {listed}{more}", "rename or remove them; nothing reads or deletes them"


def _disk_space(root: Path) -> Finding:
    free = shutil.disk_usage(_nearest(root)).free
    text = f"{formats.size(free)} free"
    if free < FREE_BYTES_NEEDED:
        return FAIL, text, "free some space: recording would soon lose events, and report it"
    return OK if free >= FREE_BYTES_WANTED else WARN, text


def _open_files() -> Finding:
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= limit < OPEN_FILES_WANTED:
        return WARN, f"limit {limit}", f"ulimit -n {OPEN_FILES_WANTED}, or lower max_open_files"
    return OK, f"limit {limit if limit >= 0 else 'none'}"


def _inotify() -> Finding:
    """Check that a change in a directory wakes a watcher; without it, following polls."""
    import threading

    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    woken = threading.Event()

    class Waker(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:  # noqa: ARG002
            woken.set()

    with tempfile.TemporaryDirectory(prefix="agent-trace-doctor-") as directory:
        observer = Observer()
        observer.schedule(Waker(), directory)
        try:
            observer.start()
        except OSError as error:
            found = f"cannot watch files: {error.strerror}; tail -f polls instead"
            return WARN, found, "raise fs.inotify.max_user_instances or max_user_watches"
        try:
            Path(directory, "file").touch()
            is_awake = woken.wait(2.0)
        finally:
            observer.stop()
            observer.join()
    if is_awake:
        return OK, "changes wake tail -f immediately"
    return WARN, "no notification of changes here; tail -f polls instead"


def _board(root: Path) -> Finding:
    """Check that the crash board can be created, the file that lists open spans after a crash."""
    from Agent.tree.write.crash_board import Board, read_board

    nearest = _nearest(root)
    writable = nearest if os.access(nearest, os.W_OK) else Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix=".agent-trace-doctor-", dir=writable) as directory:
        path = Path(directory, "board")
        board = Board.create(path)
        board.thread_slot()(41)
        board.open_span("0123456789abcdef", "agent", "action", 1)
        view = read_board(path)
        board.remove()
    if view is None or view.last_seq != 41 or [span.name for span in view.open_spans] != ["action"]:
        return FAIL, "a board returns other values than were stored"
    return OK, "last numbers and open spans survive a kill"


def _self_test() -> Finding:
    """Record a small simulation, read every event back, and replay one agent."""
    from Agent.demo.platform import Settings, record_session
    from Agent.replay import replay_run
    from Agent.tree.read.reader import TreeReader

    with tempfile.TemporaryDirectory(prefix="agent-trace-doctor-") as directory:
        root = Path(directory, "trace")
        recording = record_session(root, Settings(agents=3, ticks=12))
        reader = TreeReader(recording.session)
        kinds = [event.kind for event in reader.events()]
        losses = reader.losses()
        report = replay_run(f"{recording.session_id}/creator_001", "Agent.demo.targets:creator", root)
    posts = kinds.count("content_generation")
    if posts != recording.outcome.posts or not losses.clean:
        published = recording.outcome.posts
        return FAIL, f"{published} posts were published, {posts} read; lost: {losses.total_lost}"
    if report.verdict != "IDENTICAL":
        return FAIL, f"{formats.plural(len(kinds), 'event')} read, but the replay is {report.verdict}"
    return OK, f"{len(kinds)} events recorded and read, one agent replayed: IDENTICAL"


def _losses(session: Path) -> Losses:
    from Agent.analysis.questions.listing import is_for_engine
    from Agent.analysis.session import counted_losses
    from Agent.archive.sealed.reader import open_reader

    reader = open_reader(session)
    if not is_for_engine(session):
        return reader.losses()
    from Agent.analysis.query.engine import open_engine

    with open_engine(session) as engine:
        return counted_losses(session, engine) or reader.losses()


def _newest_session(root: Path) -> Finding:
    from Agent.analysis.questions.listing import size_on_disk

    sessions = list_sessions(root)
    if not sessions:
        return OK, "no session yet"
    if is_encrypted(sessions[-1].path):
        return OK, f"{sessions[-1].session_id}: encrypted, {formats.size(size_on_disk(sessions[-1].path))}"
    losses = _losses(sessions[-1].path)
    size = formats.size(size_on_disk(sessions[-1].path))
    read = formats.plural(losses.total_read, "event")
    text = f"{sessions[-1].session_id}: {read} read, {losses.total_lost:,} lost, {size}"
    if not losses.clean:
        return FAIL, f"{text}, {losses.total_unknown:,} unexplained", "see its log.dropped events"
    if losses.damaged_lines:
        return WARN, f"{text}, {formats.plural(losses.damaged_lines, 'damaged line')}"
    return OK, text


_LOOKS_OF_ENTRANCES = {"not found": "good", "FOUND": "bad", "NOT RECORDED": "bad", "not installed": "warn"}


def _search_for_secrets() -> int:
    """Plant secrets and search for them; return 0 if none was found, else 1."""
    from Agent.testing.canary import ABSENT, plant_and_search

    def tell(durability: str) -> None:
        if not render.wants_json():
            render.note(f"planting secrets under durability {durability} ...")

    searched = plant_and_search(tell)
    rows = [asdict(entrance) for entrance in searched.entrances]
    report = {"files": searched.files, "bytes": searched.size_bytes, "entrances": rows}
    render.document(lambda: {"ok": not searched.wrong, **report})
    _show_entrances(searched.entrances)
    planted = sum(entrance.planted for entrance in searched.entrances if entrance.state != ABSENT)
    failed = f"{formats.plural(len(searched.wrong), 'entrance')} failed" if searched.wrong else "none found"
    render.emit()
    render.emit(
        f"{formats.plural(planted, 'secret')} planted, "
        f"{formats.plural(searched.files, 'file')} and {formats.size(searched.size_bytes)} searched: {failed}"
    )
    return 1 if searched.wrong else 0


def _show_entrances(rows: list[Entrance]) -> None:
    """Print one line per entrance, followed by what was found there."""
    width = max(len(row.name) for row in rows)
    for durability in dict.fromkeys(row.durability for row in rows):
        render.heading(f"durability {durability}")
        for row in rows:
            if row.durability != durability:
                continue
            state = render.painted(row.state.ljust(13), _LOOKS_OF_ENTRANCES[row.state])
            render.emit(f"  {state}  {row.name.ljust(width)}  {row.planted:>3} planted")
            for shape in dict.fromkeys(leak.shape for leak in row.leaks):
                files = [render.clean(leak.file) for leak in row.leaks if leak.shape == shape]
                more = f" and {formats.plural(len(files) - 1, 'other file')}" if len(files) > 1 else ""
                render.emit(f"{'':17}{shape} in {files[0]}{more}")
            if row.unrecorded:
                render.emit(f"{'':17}found in no file, so not checked: {', '.join(row.unrecorded)}")


_LOOKS_OF_FILES = {"not there": "soft", "read": "good"}


@parameters.group(no_args_is_help=True, usual="show")
def config() -> None:
    """Show the settings and where they come from.

    Examples:
        agent-trace config show --origin
        agent-trace config show --json
        agent-trace config presets production
    """


@command(of=config)
def show(origin: bool) -> None:
    """Print every setting in effect here, as TOML.

    The first of these sources wins: an argument of setup_logging in the program itself (unknown here), an
    environment variable, agent-trace.toml or [tool.agent-trace] in pyproject.toml of this directory or the
    nearest one above, the user's file, the preset, LOGGING_CONFIG, the default.

    Args:
        origin: Show the origin of each setting.

    Examples:
        agent-trace config show --origin
        agent-trace config show > agent-trace.toml
    """
    from Agent.config.handler_config import effective_settings
    from Agent.config.options import TABLES

    settings = effective_settings()
    entries = {name: setting._asdict() for name, setting in settings.settings.items()}
    chosen = None if settings.preset is None else settings.preset._asdict()
    render.document(lambda: {"preset": chosen, "settings": entries, "outputs": settings.outputs})
    lines = [] if settings.preset is None else [("preset", settings.preset)]
    lines += [(name, setting) for name, setting in settings.settings.items() if "." not in name]
    width = max(len(f"{name} = {_toml(setting.value)}") for name, setting in lines) + 2
    for name, setting in lines:
        _line(name, setting, width if origin else 0)
    for table in TABLES:
        render.emit(f"\n[{table}]")
        for name, setting in settings.settings.items():
            if name.startswith(f"{table}."):
                _line(_toml_key(name.partition(".")[2]), setting, width if origin else 0)
    if settings.outputs is not None:
        render.emit("\n# LOGGING_CONFIG also sets formatters or handlers:")
        render.emit(f"# {orjson.dumps(settings.outputs).decode()}", verbatim=True)


def _line(name: str, setting: Any, width: int) -> None:
    """Print one setting; with a width, its source follows as a comment in that column."""
    text = f"{name} = {_toml(setting.value)}"
    where = render.paint(f"# {render.clean(setting)}", dim=True)
    render.emit(f"{text.ljust(width)}{where}" if width else text, verbatim=True)


def _toml_key(name: str) -> str:
    """A name as a TOML key, quoted unless it is an ASCII identifier."""
    return name if name.isidentifier() and name.isascii() else _toml(name)


def _toml(value: Any) -> str:
    """An option's value as TOML; for these types JSON and TOML have the same syntax."""
    return (
        orjson.dumps(shown_name(str(value)) if isinstance(value, Path) else value).decode().replace(",", ", ")
    )


@command(of=config)
def path() -> None:
    """List the configuration files that are searched, nearest first, and whether each was used.

    Examples:
        agent-trace config path
    """
    from Agent.config.load import project_paths, state_of, user_path

    rows: list[tuple[str, str]] = []
    any_read = False
    for path_text in project_paths():
        is_hidden = any_read and os.path.exists(path_text)  # noqa: PTH110
        state = "not read: a nearer file was found" if is_hidden else _state(state_of, path_text)
        any_read = any_read or state == "read" or state.startswith("wrong")
        rows.append((path_text, state))
    user_file = user_path(os.environ)
    if user_file is not None:
        rows.append((user_file, _state(state_of, user_file)))
    render.document(lambda: [{"path": path_text, "state": state} for path_text, state in rows])
    columns = (render.width_of_terminal() or sys.maxsize) - max(len(state) for _, state in rows)
    width = min(max(len(path_text) for path_text, _ in rows), columns - 2)
    for path_text, state in rows:
        shown = render.painted(render.clean(state), _LOOKS_OF_FILES.get(state, "warn"))
        render.emit(f"{render.clean(path_text).ljust(width)}  {shown}")


def _state(state_of: Any, path_text: str) -> str:
    try:
        return str(state_of(path_text))
    except AgentTraceError as error:
        return f"wrong: {error.message}"


def _complete(*arguments: Any) -> list[str]:
    from Agent.config.load import preset_names

    return [name for name in preset_names() if name.startswith(arguments[-1])]


@command(of=config)
def presets(name: Annotated[str | None, "[NAME]", {"shell_complete": _complete}]) -> None:
    """List the presets, or print the settings of one.

    Select a preset with preset = "production" in a file, AGENT_TRACE_PRESET=production, or
    setup_logging(preset="production").

    Examples:
        agent-trace config presets
        agent-trace config presets production
    """
    from Agent.config.load import preset_names, preset_path, preset_values

    if name is not None:
        render.document(lambda: preset_values(name))
        render.emit(preset_path(name).read_text(encoding="utf-8").rstrip(), verbatim=True)
        return
    render.document(lambda: {each: preset_values(each) for each in preset_names()})
    width = max(map(len, preset_names())) + 2
    for each in preset_names():
        about = preset_path(each).read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        render.emit_beside(each.ljust(width), width, about)


_LIBRARIES = ("orjson", "duckdb", "zstandard", "watchdog")


@command()
def version() -> None:
    """Show the versions of Agent Trace, Python and libraries.

    Include them in a bug report.

    Examples:
        agent-trace version --json
    """
    versions = {
        "agent-trace": __version__,
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        **{name: _version(name) for name in _LIBRARIES},
    }
    render.document(lambda: versions)
    for name, number in versions.items():
        render.emit(f"{name:<12}  {number or 'not installed'}")


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None  # shown as not installed
