"""`serve` and `keys`: the service, and the API keys that it accepts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from Agent.cli import parameters, render
from Agent.event.clock import format_timestamp

if TYPE_CHECKING:
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


@click.command(
    epilog=parameters.examples(
        "agent-trace serve",
        "agent-trace serve --role ingest --host 0.0.0.0 --tls-certificate cert.pem --tls-key key.pem",
        "agent-trace serve --role query --database postgresql://reader@db/agents",
    )
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
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="Port of ingest and replay.")
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
def serve(  # noqa: PLR0913, PLR0917 - one for each option
    role: str,
    database: str | None,
    host: str,
    require_key: bool,
    port: int,
    query_port: int,
    tls_certificate: Path | None,
    tls_key: Path | None,
    max_body_mib: int,
    rate: float,
    executors: tuple[str, ...],
    replay_workers: int,
    replay_timeout: float,
    replay_memory_mib: int,
    as_json: bool,
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
        host=host,
        require_key=require_key,
        ingest_port=port,
        query_port=query_port,
        max_sent_bytes=max_body_mib * _MIB,
        max_unpacked_bytes=4 * max_body_mib * _MIB,
        requests_per_second=rate,
        executors=executors,
        replay_workers=replay_workers,
        replay_timeout_s=replay_timeout,
        replay_memory_bytes=replay_memory_mib * _MIB,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
    )
    every: list[ServerRole] = ["ingest", "query", "replay"]
    roles = every if role == "all" else [each for each in every if each == role]
    for line in warnings_of(settings, roles):
        render.note(line)

    def started(server: RunningServer) -> None:
        if as_json:
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


@click.group(
    no_args_is_help=True,
    epilog=parameters.examples(
        "agent-trace keys add --project shop --scope ingest",
        "agent-trace keys list --json",
        "agent-trace keys content shop --on",
    ),
)
def keys() -> None:
    """Create, list and revoke API keys of the service.

    A key belongs to one project and sees no other. Only its digest is stored. `content` sets which projects
    store prompts, answers and messages.
    """


@keys.command(
    epilog=parameters.examples(
        "agent-trace keys add --project shop --scope ingest --label 'agents in production'",
        "agent-trace keys add --project shop --scope query",
    )
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
def add(project: str, scopes: tuple[str, ...], label: str, database: str | None, as_json: bool) -> None:
    """Create a key and print it. It is shown only once and not stored."""
    from Agent.store import Scope

    with _store(database) as store:
        issued = store.issue_key(project, [Scope(each) for each in scopes], label=label)
    if as_json:
        render.emit_json({**_key_facts(issued.key), "key": issued.token})
        return
    render.emit(issued.token)
    render.note(f"it is shown only this once; it allows {_scopes(issued.key)} of {project}")


@keys.command(name="list")
@database_option
@parameters.json_option
def list_them(database: str | None, as_json: bool) -> None:
    """List all keys, including revoked ones, and the projects."""
    with _store(database) as store:
        found, projects = store.list_keys(), store.list_projects()
    if as_json:
        render.emit_json(
            {"keys": list(map(_key_facts, found)), "projects": list(map(_project_facts, projects))}
        )
        return
    if found:
        rows = [
            (
                key.key_id,
                key.project,
                _scopes(key),
                _day(key.created_us),
                _day(key.revoked_us),
                key.label or "-",
            )
            for key in found
        ]
        render.table(("KEY", "PROJECT", "SCOPES", "MADE", "REVOKED", "LABEL"), rows)
    else:
        render.emit("there is no key; agent-trace keys add makes one")
    render.emit()
    render.table(("PROJECT", "CONTENT"), [(each.name, _taken(each.content_allowed)) for each in projects])


@keys.command(epilog=parameters.examples("agent-trace keys revoke k3v9q2ma"))
@click.argument("key_id", metavar="KEY")
@database_option
@parameters.json_option
def revoke(key_id: str, database: str | None, as_json: bool) -> None:
    """Revoke a key by its id (the part after atk_): it is refused from the next request on."""
    with _store(database) as store:
        key = store.revoke_key(key_id)
    if as_json:
        render.emit_json(_key_facts(key))
        return
    render.emit(f"{key.key_id} of {key.project} is revoked")


@keys.command(
    epilog=parameters.examples("agent-trace keys content shop --on", "agent-trace keys content shop --off")
)
@click.argument("project")
@click.option("--on/--off", "allowed", required=True, help="Store content from now on, or stop.")
@database_option
@parameters.json_option
def content(project: str, allowed: bool, database: str | None, as_json: bool) -> None:
    """Set whether a project stores prompts, answers and messages that clients send.

    What is already stored stays. Clients also send content only if they are configured to.
    """
    with _store(database) as store:
        done = store.set_content(project, allowed=allowed)
    if as_json:
        render.emit_json(_project_facts(done))
        return
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
