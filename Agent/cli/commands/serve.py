"""Commands for services: `serve`, `keys`, `ship` and `mcp`; and `view`, the pages in a browser."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypedDict, Unpack
from urllib.parse import quote

import click

from Agent.cli import parameters, render
from Agent.cli.parameters import Root, SomeSession, command, complete_runs, misuse
from Agent.cli.render import shown
from Agent.errors import SessionEncrypted, SessionInUse, SessionNotFound
from Agent.event.clock import format_timestamp
from Agent.render import formats
from Agent.render.blocks import Column
from Agent.tree.layout import find_session, list_sessions, readable, recorded_at, session_id_of

if TYPE_CHECKING:
    from Agent.client.destination import Destination
    from Agent.client.shipment import Shipment
    from Agent.server.role_servers import RunningServer
    from Agent.server.settings import ServerRole
    from Agent.store import ApiKey, Project, Store


_MIB = 1 << 20


Database = Annotated[
    str | None,
    "--database URL",
    "sqlite:////path/file.db, a path, or postgresql://user@host/name; default: your own SQLite file.",
    {"envvar": "AGENT_TRACE_DATABASE", "show_envvar": True},
]


def database_of(url: str | None) -> str:
    """The given database URL, else the user's default."""
    from Agent.server.settings import default_database_url

    return url or default_database_url(os.environ)


_PORT = click.IntRange(0, 65535)


class ServeOptions(TypedDict):
    """The options of the service, named as in `ServerSettings`.

    Args:
        host: Address to listen on; beyond loopback, keys are required.
        require_key: Require a key on this machine too.
        ingest_port: Port of ingest and replay.
        query_port: Port of query.
        tls_certificate: Serve HTTPS with this certificate.
        tls_key: The certificate's private key.
        requests_per_second: Requests per second for each key, 0 for no limit.
        executors: Module to load in replays; it calls register_executor. Repeatable.
        replay_workers: Number of parallel replays.
        replay_timeout_s: Seconds that a replay may take.
    """

    host: Annotated[str, "--host HOST", {"default": "127.0.0.1"}]
    require_key: bool
    ingest_port: Annotated[int, "--port N", _PORT, {"default": 8000}]
    query_port: Annotated[int, "--query-port N", _PORT, {"default": 8001}]
    tls_certificate: Annotated[Path | None, "--tls-certificate FILE"]
    tls_key: Annotated[Path | None, "--tls-key FILE"]
    requests_per_second: Annotated[float, "--rate N", parameters.Number(0, 100_000), {"default": 100.0}]
    executors: Annotated[tuple[str, ...], "--executors MODULE"]
    replay_workers: Annotated[int, "--replay-workers N", click.IntRange(1, 64), {"default": 2}]
    replay_timeout_s: Annotated[float, "--replay-timeout S", parameters.Number(1, 3600), {"default": 60.0}]


@command()
def serve(
    *,
    role: Literal["all", "ingest", "query", "replay"] = "all",
    database: Database,
    max_body_mib: Annotated[int, "--max-body-mib N", click.IntRange(1, 256)] = 8,
    replay_memory_mib: Annotated[int, "--replay-memory-mib N", click.IntRange(256, 1 << 20)] = 1024,
    root: Root,
    **settings_by_name: Unpack[ServeOptions],
) -> None:
    """Run the service, a shared database of runs.

    Accepts runs and events on port 8000 and answers queries on 8001; checkpoints and replays of runs that
    were sent with content are also on 8000. By default it listens on this machine only, needs no key, and
    keeps an SQLite file. Prompts, answers and other content are not stored. On this machine the query role
    also serves the pages of the trace root, as view does. Stop it with Ctrl-C or SIGTERM.

    Args:
        role: ingest only writes, query only reads, replay continues runs from checkpoints.
        max_body_mib: The largest body as sent; decompressed, four times that.
        replay_memory_mib: Memory that a replay may use.

    Examples:
        agent-trace serve
        agent-trace serve --role ingest --host 0.0.0.0 --tls-certificate cert.pem --tls-key key.pem
        agent-trace serve --role query --database postgresql://reader@db/agents
    """
    from Agent.server import ServerSettings
    from Agent.server import serve as serve_roles
    from Agent.server.role_servers import started_lines, warnings_of

    settings = ServerSettings(
        database_url=database_of(database),
        max_sent_bytes=max_body_mib * _MIB,
        max_unpacked_bytes=4 * max_body_mib * _MIB,
        replay_memory_bytes=replay_memory_mib * _MIB,
        pages_root=root,
        **settings_by_name,
    )
    every: list[ServerRole] = ["ingest", "query", "replay"]
    roles = every if role == "all" else [each for each in every if each == role]
    for line in warnings_of(settings, roles):
        render.note(line)

    def started(server: RunningServer) -> None:
        urls = {name: getattr(server, f"{name}_url") for name in server.roles}
        pages = {} if server.pages_url is None else {"pages": server.pages_url}
        render.document(lambda: urls | pages)
        for line in started_lines(server):
            render.emit(line)
        if "query" in server.roles:
            url = server.query_url.replace("//0.0.0.0:", "//localhost:").replace("//[::]:", "//localhost:")
            key = "" if not settings.needs_keys else ' -H "Authorization: Bearer KEY"'
            render.note(f"try: curl {url}/v1/runs{key}")

    serve_roles(settings, roles, started=started)


def _store(database: str | None) -> Store:
    from Agent.store import open_store

    return open_store(database_of(database), role="admin")


@parameters.group(no_args_is_help=True, usual="list")
def keys() -> None:
    """Create, list and revoke API keys of the service.

    A key belongs to one project and sees no other. Only its digest is stored. `content` sets which projects
    store prompts, answers and messages.

    Examples:
        agent-trace keys add --project shop --scope ingest
        agent-trace keys list --json
        agent-trace keys content shop --on
    """


@command(of=keys)
def add(
    *,
    project: Annotated[str, "--project NAME"] = "default",
    scopes: Annotated[
        tuple[Literal["ingest", "query", "replay", "delete"], ...], "--scope", {"required": True}
    ],
    label: Annotated[str, "--label TEXT"] = "",
    database: Database,
) -> None:
    """Create a key and print it. It is shown only once and not stored.

    Args:
        project: Project of the key; a new name creates a project.
        scopes: What the key allows; repeatable.
        label: A description of the key.

    Examples:
        agent-trace keys add --project shop --scope ingest --label 'agents in production'
        agent-trace keys add --project shop --scope query
    """
    from Agent.store import Scope

    with _store(database) as store:
        issued = store.issue_key(project, [Scope(each) for each in scopes], label=label)
    render.document(lambda: {**_key_facts(issued.key), "key": issued.token})
    render.emit(issued.token)
    render.note(f"it is shown only this once; it allows {_scopes(issued.key)} of {project}")


@command(of=keys, name="list")
def list_them(database: Database) -> None:
    """List all keys, including revoked ones, and the projects.

    Examples:
        agent-trace keys list
    """
    with _store(database) as store:
        listed_keys, projects = store.list_keys(), store.list_projects()
    facts = {"keys": list(map(_key_facts, listed_keys)), "projects": list(map(_project_facts, projects))}
    render.document(lambda: facts)
    if listed_keys:
        render.table(
            listed_keys,
            Column("KEY", "key_id"),
            Column("PROJECT", "project"),
            Column("SCOPES", _scopes),
            Column("MADE", lambda key: _day(key.created_us)),
            Column("REVOKED", lambda key: _day(key.revoked_us), spare=1),
            Column("LABEL", "label"),
        )
    else:
        render.emit("no keys; agent-trace keys add creates one")
    render.emit()
    render.table(
        projects,
        Column("PROJECT", "name"),
        Column("CONTENT", lambda each: _acceptance(each.content_allowed)),
    )


@command(of=keys)
def revoke(key_id: Annotated[str, "KEY"], database: Database) -> None:
    """Revoke a key by its id (the part after atk_): it is refused from the next request on.

    Examples:
        agent-trace keys revoke k3v9q2ma
    """
    with _store(database) as store:
        key = store.revoke_key(key_id)
    render.document(lambda: _key_facts(key))
    render.emit(f"{key.key_id} of {key.project} is revoked")


@command(of=keys)
def content(
    project: Annotated[str, "PROJECT"],
    allowed: Annotated[bool, "--on/--off", {"required": True}],
    database: Database,
) -> None:
    """Set whether a project stores prompts, answers and messages that clients send.

    What is already stored stays. Clients also send content only if they are configured to.

    Args:
        allowed: Store content from now on, or stop.

    Examples:
        agent-trace keys content shop --on
        agent-trace keys content shop --off
    """
    with _store(database) as store:
        done = store.set_content(project, allowed=allowed)
    render.document(lambda: _project_facts(done))
    render.emit(f"content of {done.name} is {_acceptance(done.content_allowed)} from now on")


def _key_facts(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "project": key.project,
        "scopes": sorted(key.scopes),
        "label": key.label,
        "created_at": format_timestamp(key.created_us),
        "revoked_at": None if key.revoked_us is None else format_timestamp(key.revoked_us),
    }


def _project_facts(project: Project) -> dict[str, Any]:
    return {"name": project.name, "content_allowed": project.content_allowed}


def _scopes(key: ApiKey) -> str:
    return " and ".join(sorted(key.scopes))


def _day(unix_us: int | None) -> str:
    return "-" if unix_us is None else format_timestamp(unix_us)[:10]


def _acceptance(allowed: bool) -> str:
    return "stored" if allowed else "not stored"


_POLL_S: Final = 0.5
_TAKE_OVER_S: Final = 120.0
"""Longer than the time in which a finished program's background process sends the rest of its session."""
_SHOWN_PATHS: Final = 6
_KEY = {"envvar": "AGENT_TRACE_API_KEY", "show_envvar": True}


@command()
def ship(
    *,
    session: SomeSession,
    url: Annotated[str, "--to URL", {"required": True}],
    every: Annotated[bool, "--all"],
    api_key: Annotated[str | None, "--api-key KEY", _KEY],
    follow: Annotated[bool, "-f --follow"],
    again: bool,
    content: bool,
    patience_s: parameters.Patience,
    root: Root,
) -> int:
    """Send live or finished sessions to a service.

    Only names, ids, counts, times and short labels leave this machine; what was left out is listed by path.
    The command remembers what it has sent to each database, so the next call sends only new events, and
    nothing is stored twice. If another process still sends the session of a finished program, it waits.
    SESSION is an id, a unique prefix of one, a path, or last (the default).

    Args:
        url: URL of the ingest service.
        every: Every session of the trace root, oldest first.
        api_key: For a service on another machine. The environment variable keeps it out of the process list.
        follow: Continue until the session's programs have ended.
        again: Send everything, even if it was sent before.
        content: Also send payloads and messages; the project must accept them.
        patience_s: How long to wait for an answer.

    Examples:
        agent-trace ship --to http://localhost:8000
        agent-trace ship --to http://localhost:8000 --all
        agent-trace ship --to https://traces.example.com last --follow
    """
    from Agent.client.destination import Destination

    if every and follow:
        raise misuse("--follow needs a single session")
    destination = Destination(url, api_key)
    if destination.shows_key:
        render.note(f"the API key goes to {destination.place} unencrypted; use https")
    answers = []
    for path in parameters.sessions_of(session, root, every=every):
        how = {"content": content, "again": again, "patience_s": patience_s}
        answer = _ship_one(path, destination, how, follow=follow, goes_on=every)
        answers.append(answer)
        if not render.wants_json():
            _show_shipment(answer, destination.place)
    render.give_each(answers, every=every)
    return 1 if any(answer["refused"] for answer in answers) else 0


def _ship_one(
    path: Path,
    destination: Destination,
    how: dict[str, Any],
    *,
    follow: bool,
    goes_on: bool,
) -> dict[str, Any]:
    def problem() -> str | None:
        text = shipment.outcome.problem
        again = f"trying again for {how['patience_s']:g} seconds"
        return f"{destination.place}: {text}, {again}" if text else None

    try:
        shipment = _take_over(readable(path), destination, patient(problem), how, follow=follow)
    except (SessionEncrypted, SessionInUse, SessionNotFound) as error:
        # a session that is busy, encrypted, or has no name yet must not prevent the others from being sent
        if not goes_on:
            raise
        return {**_answer(path, None), "skipped": error.message}
    with shipment:
        _send(shipment, follow=follow)
        return _answer(path, shipment)


def patient(remark: Callable[[], str | None]) -> Callable[[float], bool]:
    """A function that waits for some seconds and returns False; it prints the first remark, once."""
    is_reported = False

    def wait(seconds: float) -> bool:
        nonlocal is_reported
        if not is_reported and (text := remark()):
            is_reported = True
            render.note(text)
        time.sleep(seconds)
        return False

    return wait


def _take_over(
    path: Path, destination: Destination, wait: Callable[[float], bool], how: dict[str, Any], *, follow: bool
) -> Shipment:
    """Wait until no other process sends the session; return its shipment.

    Raises:
        SessionInUse: the program of the sending process is still running, or it took more than 120 s.
    """
    from Agent.client.shipment import Shipment
    from Agent.tree.files.session import is_written

    ends_s = time.monotonic() + _TAKE_OVER_S
    busy = f"another process is sending it to {destination.place}; waiting for it to end"
    wait_for_end = patient(lambda: busy)
    while True:
        try:
            return Shipment(path, destination, wait, **how)
        except SessionInUse:
            if not follow and (is_written(path) or time.monotonic() > ends_s):
                raise
        wait_for_end(_POLL_S)


def _send(shipment: Shipment, *, follow: bool) -> None:
    with render.bar(f"sending {shipment.session.name.removeprefix('session_')}") as show:
        shipment.ship_archive()
        shipment.ship_all(follow=follow, report_caught_up=lambda: show(shipment.share))
        show(1.0)


def _answer(path: Path, shipment: Shipment | None) -> dict[str, Any]:
    from Agent.client.destination import DeliveryOutcome
    from Agent.tree.files.session import is_written

    outcome = DeliveryOutcome() if shipment is None else shipment.outcome
    answer: dict[str, Any] = {
        "session": str(recorded_at(path)), "sent": outcome.sent, "stored": outcome.stored,
        "refused": outcome.refused,
        "reasons": dict(outcome.reasons), "bodies": outcome.bodies, "bytes": outcome.bytes,
        "retries": outcome.retries, "dropped": {}, "left_out": dict(outcome.dropped.most_common()),
        "damaged_lines": 0, "is_written": is_written(path),
    }  # fmt: skip
    if shipment is not None:
        answer["dropped"] = dict(shipment.dropped.most_common())
        answer["damaged_lines"] = shipment.damaged_lines
        answer["cursor_problem"] = shipment.cursor_problem
        answer["is_other_database"] = outcome.is_other_database
    return answer


def _show_shipment(answer: dict[str, Any], destination: str) -> None:
    name = session_id_of(Path(answer["session"]))
    if "skipped" in answer:
        render.note(f"{name}: {answer['skipped']}")
        return
    if answer["sent"]:
        duplicates = answer["sent"] - answer["stored"]
        aside = f", {formats.count(duplicates)} of them already there" if duplicates else ""
        amount = f"{formats.size(answer['bytes'])} in {formats.plural(answer['bodies'], 'request')}"
        sent = formats.plural(answer["sent"], "event")
        render.emit(f"{name}: {sent} sent to {destination}{aside}, {amount}")
    elif not answer["refused"]:
        render.emit(f"{name}: everything is already at {destination}")
    if answer.get("is_other_database"):
        render.note("  a different database answered than before, so everything was sent")
    show_paths("not sent", answer["dropped"])
    show_paths("left out by the service", answer["left_out"])
    if "/state" in answer["left_out"] or "/message" in answer["left_out"]:
        render.note(
            "  its project takes no content: agent-trace keys content PROJECT --on there, then ship again"
        )
    for reason, times in list(answer["reasons"].items())[:_SHOWN_PATHS]:
        render.note(f"  {formats.plural(times, 'event')} refused: {render.clean(reason)}")
    render.note_damage(answer["damaged_lines"])
    if answer.get("cursor_problem"):
        render.note(
            f"  progress cannot be saved ({answer['cursor_problem']}), so everything is sent again next time"
        )
    if answer["is_written"]:
        render.note("  a program is still writing to it: --follow continues until it has ended")


def show_paths(title: str, paths: Mapping[str, int]) -> None:
    """Print the values that stayed on this machine, by path."""
    if not paths:
        return
    shown = [f"{path} {formats.count(times)}" for path, times in list(paths.items())[:_SHOWN_PATHS]]
    more = len(paths) - len(shown)
    aside = f", and {formats.plural(more, 'more path')}" if more > 0 else ""
    render.note(f"  {title}: {', '.join(shown)}{aside}")


@command(json=False)
def mcp(
    root: Root,
    timeout: Annotated[float, "--timeout SECONDS", parameters.ABOVE_ZERO] = 60.0,
    max_chars: Annotated[int, "--max-chars N", click.IntRange(1000, 1_000_000)] = 20_000,
) -> None:
    """Answer questions of an MCP client about sessions.

    With it, an agent can debug its own runs. Speaks the Model Context Protocol on stdin and stdout; clients
    start this command themselves. The tools are sessions, analyze, journey, errors, debug, causes, state,
    diff and sql. All only read, and only under the trace root. What they return, recorded content without
    secrets, goes to the client and so to its model.

    Args:
        timeout: Stop an answer that takes longer.
        max_chars: The most characters of an answer; longer ones are cut, and say so.

    Examples:
        agent-trace mcp
        agent-trace mcp --root /path/of/trace --max-chars 40000
    """
    from Agent.mcp import serve_stdio

    serve_stdio(root, timeout_s=timeout, max_chars=max_chars)


_END = "9e15"
"""A time after the end of every session, which the page treats as the end."""


class Allowed(TypedDict):
    """What the page may do.

    Args:
        allow_fork: Let the page fork runs, which runs the code of their targets in child processes.
        allow_control: Let the page pause a running program and change its agents, as control does.
    """

    allow_fork: bool
    allow_control: bool


@command()
def view(
    session: Annotated[str | None, "[SESSION]", {"shell_complete": complete_runs}],
    host: Annotated[str, "--host HOST"] = "127.0.0.1",
    port: Annotated[int, "--port N", _PORT] = 0,
    is_opened: Annotated[bool, "--open/--no-open", {"default": True}] = True,
    at: Annotated[str | None, "--at WHEN"] = None,
    other: Annotated[str | None, "--compare SESSION"] = None,
    file: Annotated[Path | None, "--share FILE.html", parameters.OUTPUT] = None,
    editor: Annotated[
        str, "--editor NAME|TEMPLATE", {"envvar": "AGENT_TRACE_EDITOR", "show_envvar": True}
    ] = "vscode",
    *,
    root: Root,
    **may: Unpack[Allowed],
) -> None:
    """Show a session in the browser: what went wrong, when, and why.

    Serves pages over the files of the trace root until Ctrl-C. They need no database, no account and no
    network, and change nothing. The printed address holds a token, without which nothing is shown. SESSION is
    an id, a unique prefix of one, a path, or last (the default); SESSION/agent_id opens with that
    agent, at the end.

    --share writes one HTML file instead, of at most 5 MB, that shows the session without any server; of a
    session that does not fit, it holds the events around --at, or around the leading finding.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 is a free one.
        is_opened: Open the browser.
        at: Where the page opens: tick:17, the id of an event, or a time (UTC; ISO, or 10:30:45.123).
        other: A second session of the trace root, or a fork, to compare with.
        editor: What a link to the code of an event opens: vscode, cursor, pycharm, none, or an address with
            {path} and {line}.
        file: Write a file that holds the page and its data, and serve nothing.

    Examples:
        agent-trace view
        agent-trace view last --no-open
        agent-trace view 20261120_103045 --port 8765
        agent-trace view last --allow-fork
        agent-trace view last --editor 'zed://file/{path}:{line}'
        agent-trace view last --allow-control
        agent-trace view last --at tick:34 --share moment.html
        agent-trace view last --compare last-fork --share difference.html
    """
    from Agent.analysis.session import check_agent
    from Agent.archive.sealed.reader import open_reader

    name, agent = parameters.split_run(session or "last")
    path = _session(root, name)
    if agent is not None:
        check_agent(open_reader(path), agent)
    if at is not None:
        from Agent.analysis.questions.states import NamedMoment

        NamedMoment.of(at, path.name)
    beside = None if other is None else _session(path.parent, other)
    if beside is not None and beside.parent != path.parent:
        raise SessionNotFound("both sessions must be in one trace root", path=beside)
    names = session_id_of(path), None if beside is None else session_id_of(beside)
    if file is not None:
        if agent is not None:
            raise misuse("--share is of a session, without an agent")
        _share(path.parent, names, at, file)
        return
    if may["allow_fork"]:
        parameters.make_code_importable()
    with _without_plugins():
        from Agent.server.pages import PagesServer, editor_of

        server = PagesServer(path.parent, host=host, port=port, editor=editor_of(editor), **may)
    chosen = {"agent": agent, "t": None if at else _END} if agent is not None else {}
    address = server.address(f"/s/{quote(names[0], safe='')}", compare=names[1], at=at, **chosen)
    if not server.loopback:
        render.note(
            f"whoever can reach {host} and knows the token can read these traces; they are sent unencrypted"
        )

    def started() -> None:
        render.document(lambda: {"url": address, "session": session_id_of(path), "port": server.port})
        render.emit(address, verbatim=True)
        if not render.wants_json():
            render.note("Ctrl-C stops it")
        if is_opened:
            _open(address)

    server.run(started)


@contextmanager
def _without_plugins() -> Iterator[None]:
    """Prevent pydantic from loading plugins within the block.

    The pages need none, and that of logfire takes 16 MB. Child processes get the original environment.
    """
    name = "PYDANTIC_DISABLE_PLUGINS"
    before = os.environ.get(name)
    os.environ[name] = "__all__"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _session(root: Path, name: str) -> Path:
    path = find_session(root, name)
    if path.name not in {each.path.name for each in list_sessions(path.parent)}:
        raise SessionNotFound(
            "the pages need a directory with the name of a session",
            path=path,
            remedy=f"rename it to session_{path.name}",
        )
    return path


def _share(root: Path, names: tuple[str, str | None], at: str | None, file: Path) -> None:
    from Agent.analysis.report.session_report import write_whole
    from Agent.server.pages import shared_page

    with shown("gathering"):
        page = shared_page(root, names[0], at=at, other=names[1])
    written = write_whole(file, page)
    render.document(lambda: {"file": str(written), "size_bytes": len(page), "session": names[0]})
    render.emit(f"{written} ({formats.size(len(page))}); it needs no server", verbatim=True)


def _open(address: str) -> None:
    """Open the browser from a thread, since some browsers block the caller until they end."""
    import threading
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
