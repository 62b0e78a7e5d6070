"""`view`: the pages of recorded sessions in a browser on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypedDict, Unpack
from urllib.parse import quote

import click

from Agent.analysis.session import unknown_agent
from Agent.archive.sealed.reader import open_reader
from Agent.cli import render
from Agent.cli.parameters import Root, command, complete_runs, make_code_importable, misuse, split_run
from Agent.cli.render import shown
from Agent.errors import SessionNotFound
from Agent.render import formats
from Agent.tree.layout import find_session, list_sessions, session_id_of

_PORT = click.IntRange(0, 65535)
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
    file: Annotated[Path | None, "--share FILE.html"] = None,
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
        at: Where the page opens: tick:17, the id of an event, or a time (UTC, ISO).
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
    name, agent = split_run(session or "last")
    path = _session(root, name)
    if agent and not (reader := open_reader(path)).holds_agent(agent):
        raise unknown_agent(reader, agent)
    beside = None if other is None else _session(path.parent, other)
    if beside is not None and beside.parent != path.parent:
        raise SessionNotFound("both sessions must be in one trace root", path=beside)
    names = session_id_of(path), None if beside is None else session_id_of(beside)
    if file is not None:
        if agent:
            raise misuse("--share is of a session, without an agent")
        _share(path.parent, names, at, file)
        return
    if may["allow_fork"]:
        make_code_importable()
    with _without_plugins():
        from Agent.server.pages import PagesServer, editor_of

        server = PagesServer(path.parent, host=host, port=port, editor=editor_of(editor), **may)
    chosen = {"agent": agent, "t": None if at else _END} if agent else {}
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
