"""`view`: the pages of the recorded sessions, in a browser of this machine."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import click

from Agent.cli import render
from Agent.cli.parameters import Root, SomeSession, command
from Agent.errors import SessionNotFound
from Agent.tree.layout import find_session, list_sessions, session_id_of

_PORT = click.IntRange(0, 65535)


@command()
def view(
    session: SomeSession,
    host: Annotated[str, "--host HOST"] = "127.0.0.1",
    port: Annotated[int, "--port N", _PORT] = 0,
    is_opened: Annotated[bool, "--open/--no-open", {"default": True}] = True,
    *,
    root: Root,
) -> None:
    """Show a session in the browser: what went wrong, when, and why.

    Serves pages over the files of the trace root until Ctrl-C. They need no database, no account and no
    network, and change nothing. The printed address holds a token, without which nothing is shown. SESSION is
    an id, a unique prefix of one, a path, or last (the default).

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 is a free one.
        is_opened: Open the browser.

    Examples:
        agent-trace view
        agent-trace view last --no-open
        agent-trace view 20261120_103045 --port 8765
    """
    path = find_session(root, session or "last")
    if path.name not in {each.path.name for each in list_sessions(path.parent)}:
        raise SessionNotFound(
            "the pages need a directory with the name of a session",
            path=path,
            remedy=f"rename it to session_{path.name}",
        )
    from Agent.server.pages import PagesServer

    server = PagesServer(path.parent, host=host, port=port)
    address = server.address(f"/s/{quote(session_id_of(path), safe='')}")
    if not server.loopback:
        render.note(
            f"whoever can reach {host} and knows the token can read these traces; they are sent unencrypted"
        )

    def started() -> None:
        render.document(lambda: {"url": address, "session": session_id_of(path), "port": server.port})
        render.emit(address, whole=True)
        if not render.wants_json():
            render.note("Ctrl-C stops it")
        if is_opened:
            _open(address)

    server.run(started)


def _open(address: str) -> None:
    """Open the browser from a thread: some browsers keep the caller waiting until they end."""
    import threading
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
