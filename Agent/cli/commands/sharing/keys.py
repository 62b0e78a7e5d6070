"""`agent-trace keys`: who may use the service; `Agent.store.keys` does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from Agent.cli.commands.sharing.serve import database_of, database_option
from Agent.cli.options import parameters
from Agent.cli.output import render
from Agent.event.clock import format_timestamp

if TYPE_CHECKING:
    from Agent.store import ApiKey, Project, Store


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
