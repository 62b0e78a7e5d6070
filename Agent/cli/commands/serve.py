"""`serve` and `keys`: the service and its API keys; `ship` sends the sessions of this machine to one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from Agent.cli import parameters, render
from Agent.cli.render import Column
from Agent.event.clock import format_timestamp
from Agent.tree.layout import session_id_of

if TYPE_CHECKING:
    from Agent.client.destination import Destination
    from Agent.client.shipment import Shipment
    from Agent.server.running import RunningServer
    from Agent.server.settings import ServerRole
    from Agent.store import ApiKey, Project, Store


_MIB = 1 << 20


database_option = click.option(
    "--database",
    metavar="URL",
    envvar="AGENT_TRACE_DATABASE",
    show_envvar=True,
    help="sqlite:////path/file.db, a path, or postgresql://user@host/name; default: your own SQLite file.",
)


def database_of(given: str | None) -> str:
    """The database that was named, else the user's own."""
    from Agent.server.settings import default_database_url

    return given or default_database_url(os.environ)


_FILE = click.Path(dir_okay=False, path_type=Path)


@parameters.command(
    "agent-trace serve",
    "agent-trace serve --role ingest --host 0.0.0.0 --tls-certificate cert.pem --tls-key key.pem",
    "agent-trace serve --role query --database postgresql://reader@db/agents",
)
@click.option(
    "--role",
    type=click.Choice(["all", "ingest", "query", "replay"]),
    default="all",
    help="ingest only writes, query only reads, replay continues runs from checkpoints.",
)
@database_option
@click.option("--host", default="127.0.0.1", help="Address to listen on; beyond loopback, keys are required.")
@click.option("--require-key", is_flag=True, help="Require a key on this machine too.")
@click.option(
    "--port", "ingest_port", type=click.IntRange(0, 65535), default=8000, help="Port of ingest and replay."
)
@click.option("--query-port", type=click.IntRange(0, 65535), default=8001, help="Port of query.")
@click.option("--tls-certificate", metavar="FILE", type=_FILE, help="Serve HTTPS with this certificate.")
@click.option("--tls-key", metavar="FILE", type=_FILE, help="The certificate's private key.")
@click.option(
    "--max-body-mib",
    metavar="N",
    type=click.IntRange(1, 256),
    default=8,
    help="The largest body as sent; decompressed, four times that.",
)
@click.option(
    "--rate",
    "requests_per_second",
    metavar="N",
    type=parameters.Number(0, 100_000),
    default=100.0,
    help="Requests per second for each key, 0 for no limit.",
)
@click.option(
    "--executors",
    metavar="MODULE",
    multiple=True,
    help="Module to load in replays; it calls register_executor. Repeatable.",
)
@click.option(
    "--replay-workers",
    metavar="N",
    type=click.IntRange(1, 64),
    default=2,
    help="Number of parallel replays.",
)
@click.option(
    "--replay-timeout",
    "replay_timeout_s",
    metavar="S",
    type=parameters.Number(1, 3600),
    default=60.0,
    help="Seconds that a replay may take.",
)
@click.option(
    "--replay-memory-mib",
    metavar="N",
    type=click.IntRange(256, 1 << 20),
    default=1024,
    help="Memory that a replay may use.",
)
@parameters.json_option
def serve(
    role: str, database: str | None, max_body_mib: int, replay_memory_mib: int, **settings_by_name: Any
) -> None:
    """Run the service, a shared database of runs.

    Accepts runs and events on port 8000 and answers queries on 8001; checkpoints and replays of runs that
    were sent with content are also on 8000. By default it listens on this machine only, needs no key, and
    keeps an SQLite file. Prompts, answers and other content are not stored. Stop it with Ctrl-C or SIGTERM.
    """
    from Agent.server import ServerSettings
    from Agent.server import serve as serve_roles
    from Agent.server.running import started_lines, warnings_of

    settings = ServerSettings(
        database_url=database_of(database),
        max_sent_bytes=max_body_mib * _MIB,
        max_unpacked_bytes=4 * max_body_mib * _MIB,
        replay_memory_bytes=replay_memory_mib * _MIB,
        **settings_by_name,
    )
    every: list[ServerRole] = ["ingest", "query", "replay"]
    roles = every if role == "all" else [each for each in every if each == role]
    for line in warnings_of(settings, roles):
        render.note(line)

    def started(server: RunningServer) -> None:
        if render.wants_json():
            urls = {name: getattr(server, f"{name}_url") for name in server.roles}
            render.emit_json(urls)
            return
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


@parameters.group(
    "agent-trace keys add --project shop --scope ingest",
    "agent-trace keys list --json",
    "agent-trace keys content shop --on",
    no_args_is_help=True,
)
def keys() -> None:
    """Create, list and revoke API keys of the service.

    A key belongs to one project and sees no other. Only its digest is stored. `content` sets which projects
    store prompts, answers and messages.
    """


@parameters.command(
    "agent-trace keys add --project shop --scope ingest --label 'agents in production'",
    "agent-trace keys add --project shop --scope query",
    of=keys,
)
@click.option(
    "--project", metavar="NAME", default="default", help="Project of the key; a new name creates a project."
)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(["ingest", "query", "replay"]),
    multiple=True,
    required=True,
    help="What the key allows; repeatable.",
)
@click.option("--label", metavar="TEXT", default="", help="A name for people.")
@database_option
@parameters.json_option
def add(project: str, scopes: tuple[str, ...], label: str, database: str | None) -> None:
    """Create a key and print it. It is shown only once and not stored."""
    from Agent.store import Scope

    with _store(database) as store:
        issued = store.issue_key(project, [Scope(each) for each in scopes], label=label)
    if render.gave_json(lambda: {**_key_facts(issued.key), "key": issued.token}):
        return
    render.emit(issued.token)
    render.note(f"it is shown only this once; it allows {_scopes(issued.key)} of {project}")


@keys.command(name="list")
@database_option
@parameters.json_option
def list_them(database: str | None) -> None:
    """List all keys, including revoked ones, and the projects."""
    with _store(database) as store:
        found, projects = store.list_keys(), store.list_projects()
    facts = {"keys": list(map(_key_facts, found)), "projects": list(map(_project_facts, projects))}
    if render.gave_json(lambda: facts):
        return
    if found:
        render.table(
            found,
            Column("KEY", lambda key: key.key_id),
            Column("PROJECT", lambda key: key.project),
            Column("SCOPES", _scopes),
            Column("MADE", lambda key: _day(key.created_us)),
            Column("REVOKED", lambda key: _day(key.revoked_us)),
            Column("LABEL", lambda key: key.label or None),
        )
    else:
        render.emit("there is no key; agent-trace keys add makes one")
    render.emit()
    render.table(
        projects,
        Column("PROJECT", lambda each: each.name),
        Column("CONTENT", lambda each: _taken(each.content_allowed)),
    )


@parameters.command("agent-trace keys revoke k3v9q2ma", of=keys)
@click.argument("key_id", metavar="KEY")
@database_option
@parameters.json_option
def revoke(key_id: str, database: str | None) -> None:
    """Revoke a key by its id (the part after atk_): it is refused from the next request on."""
    with _store(database) as store:
        key = store.revoke_key(key_id)
    if not render.gave_json(lambda: _key_facts(key)):
        render.emit(f"{key.key_id} of {key.project} is revoked")


@parameters.command("agent-trace keys content shop --on", "agent-trace keys content shop --off", of=keys)
@click.argument("project")
@click.option("--on/--off", "allowed", required=True, help="Store content from now on, or stop.")
@database_option
@parameters.json_option
def content(project: str, allowed: bool, database: str | None) -> None:
    """Set whether a project stores prompts, answers and messages that clients send.

    What is already stored stays. Clients also send content only if they are configured to.
    """
    with _store(database) as store:
        done = store.set_content(project, allowed=allowed)
    if not render.gave_json(lambda: _project_facts(done)):
        render.emit(f"content of {done.name} is {_taken(done.content_allowed)} from now on")


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


def _taken(allowed: bool) -> str:
    return "stored" if allowed else "not stored"


_LOOK_S: Final = 0.5
_TAKE_OVER_S: Final = 120.0
"""Longer than the process goes on that sends what a program has left."""
_SHOWN_PATHS: Final = 6


@parameters.command(
    "agent-trace ship --to http://localhost:8000",
    "agent-trace ship --to http://localhost:8000 --all",
    "agent-trace ship --to https://traces.example.com last --follow",
)
@click.argument("session", required=False, shell_complete=parameters.complete_sessions)
@click.option("--to", "url", required=True, metavar="URL", help="URL of the ingest service.")
@click.option("--all", "every", is_flag=True, help="Every session of the trace root, oldest first.")
@click.option(
    "--api-key",
    envvar="AGENT_TRACE_API_KEY",
    show_envvar=True,
    metavar="KEY",
    help="For a service on another machine. The environment variable keeps it out of the process list.",
)
@click.option("-f", "--follow", is_flag=True, help="Continue until the session's programs have ended.")
@click.option("--again", is_flag=True, help="Send everything, even if it was sent before.")
@click.option(
    "--content", is_flag=True, help="Also send payloads and messages; the project must accept them."
)
@click.option(
    "--patience", "patience_s", default=30.0, metavar="SECONDS", help="How long to wait for an answer."
)
@parameters.common_options
def ship(
    session: str | None,
    url: str,
    every: bool,
    api_key: str | None,
    follow: bool,
    content: bool,
    again: bool,
    patience_s: float,
    root: Path,
) -> int:
    """Send live or finished sessions to a service.

    Only names, ids, counts, times and short labels leave this machine; what was left out is listed by path.
    The command remembers what it has sent to each database, so the next call sends only new events, and
    nothing is stored twice. If another process still sends the session of a finished program, it waits.
    SESSION is an id, a unique prefix of one, a path, or last (the default).
    """
    from Agent.client.destination import Destination

    if every and follow:
        raise click.UsageError("--follow needs a single session", click.get_current_context())
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
    from Agent.errors import SessionInUse, SessionNotFound

    told = False

    def wait(seconds: float) -> bool:
        nonlocal told
        if shipment.outcome.problem and not told:
            told = True
            longest = f"trying again for {how['patience_s']:g} seconds"
            render.note(f"{destination.place}: {shipment.outcome.problem}, {longest}")
        time.sleep(seconds)
        return False

    try:
        shipment = _taken_over(path, destination, wait, how, follow=follow)
    except (SessionInUse, SessionNotFound) as error:
        # one that is busy, or begins just now and has no name yet, keeps no other from being sent
        if not goes_on:
            raise
        return {**_answer(path, None), "skipped": error.message}
    with shipment:
        _send(shipment, follow=follow)
        return _answer(path, shipment)


def _taken_over(
    path: Path, destination: Destination, wait: Callable[[float], bool], how: dict[str, Any], *, follow: bool
) -> Shipment:
    """The shipment, as soon as no other process sends the session.

    Raises:
        SessionInUse: another one does, of a program that still runs, or for longer than it may take to end.
    """
    from Agent.client.shipment import Shipment, is_written
    from Agent.errors import SessionInUse

    ends_s = time.monotonic() + _TAKE_OVER_S
    told = False
    while True:
        try:
            return Shipment(path, destination, wait, **how)
        except SessionInUse:
            if not follow and (is_written(path) or time.monotonic() > ends_s):
                raise
        if not told:
            told = True
            render.note(f"another process is sending it to {destination.place}; waiting for it to end")
        time.sleep(_LOOK_S)


def _send(shipment: Shipment, *, follow: bool) -> None:
    from Agent.cli.render import bar
    from Agent.client.shipment import is_written

    with bar(f"sending {shipment.session.name.removeprefix('session_')}") as show:
        shipment.ship_archive()
        while True:
            # Asked first: what was written before the last program ended is then sent below.
            may_grow = follow and is_written(shipment.session)
            while shipment.ship() or shipment.behind:
                show(shipment.share)
            if not may_grow:
                break
            time.sleep(_LOOK_S)
        show(1.0)


def _answer(path: Path, shipment: Shipment | None) -> dict[str, Any]:
    from Agent.client.shipment import is_written

    answer: dict[str, Any] = {
        "session": str(path), "sent": 0, "stored": 0, "refused": 0, "reasons": {}, "bodies": 0, "bytes": 0,
        "retries": 0, "dropped": {}, "left_out": {}, "damaged_lines": 0, "is_written": is_written(path),
    }  # fmt: skip
    if shipment is None:
        return answer
    outcome = shipment.outcome
    for name in ("sent", "stored", "refused", "bodies", "bytes", "retries"):
        answer[name] = getattr(outcome, name)
    answer["reasons"] = dict(outcome.reasons)
    answer["dropped"] = dict(shipment.dropped.most_common())
    answer["left_out"] = dict(outcome.dropped.most_common())
    answer["damaged_lines"] = shipment.damaged_lines
    answer["cursor_problem"] = shipment.cursor_problem
    answer["is_other_database"] = outcome.is_other_database
    return answer


def _show_shipment(answer: dict[str, Any], place: str) -> None:
    name = session_id_of(Path(answer["session"]))
    if "skipped" in answer:
        render.note(f"{name}: {answer['skipped']}")
        return
    if answer["sent"]:
        known = answer["sent"] - answer["stored"]
        aside = f", {render.count(known)} of them already there" if known else ""
        amount = f"{render.size(answer['bytes'])} in {render.plural(answer['bodies'], 'request')}"
        render.emit(f"{name}: {render.plural(answer['sent'], 'event')} sent to {place}{aside}, {amount}")
    elif not answer["refused"]:
        render.emit(f"{name}: everything is already at {place}")
    if answer.get("is_other_database"):
        render.note("  a different database answered than before, so everything was sent")
    _show_paths("not sent", answer["dropped"])
    _show_paths("left out by the service", answer["left_out"])
    if "/state" in answer["left_out"] or "/message" in answer["left_out"]:
        render.note(
            "  its project takes no content: agent-trace keys content PROJECT --on there, then ship again"
        )
    for reason, times in list(answer["reasons"].items())[:_SHOWN_PATHS]:
        render.note(f"  {render.plural(times, 'event')} refused: {render.clean(reason)}")
    render.note_damage(answer["damaged_lines"])
    if answer.get("cursor_problem"):
        render.note(
            f"  progress cannot be saved ({answer['cursor_problem']}), so everything is sent again next time"
        )
    if answer["is_written"]:
        render.note("  a program is still writing to it: --follow continues until it has ended")


def _show_paths(what: str, paths: dict[str, int]) -> None:
    if not paths:
        return
    shown = [f"{path} {render.count(times)}" for path, times in list(paths.items())[:_SHOWN_PATHS]]
    more = len(paths) - len(shown)
    aside = f", and {render.plural(more, 'more path')}" if more > 0 else ""
    render.note(f"  {what}: {', '.join(shown)}{aside}")
