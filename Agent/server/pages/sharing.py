"""`shared_page`: a session, a moment of it or a comparison as one HTML file that needs no server.

It is the page of `agent-trace view` with script, style and data inlined. Its content security policy allows
only this script and style, and no requests.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from markupsafe import Markup

from Agent import view
from Agent.errors import DamagedInput, InputError
from Agent.server.pages.app import encoded, environment, static_files
from Agent.view import SessionView, sharing

MOST_BYTES: Final = 5_000_000
_TRIES: Final = 8
_SLACK: Final = 0.9
"""Each try aims at this share of the limit."""


def shared_page(root: Path, session: str, *, at: str | None = None, other: str | None = None) -> bytes:
    """Make one HTML file, at most 5 MB, from a session.

    Of a session that does not fit, the file contains the events around the moment or the leading finding.

    Args:
        root: the trace root.
        session: the id of a session in it.
        at: a moment that the page opens at: tick:17, the id of an event, or a time.
        other: the id of a session that it is compared with.

    Raises:
        SessionNotFound: the session does not exist.
        UsageError, EventNotFound: the session has no such moment.
        InputError: the session cannot be read or explained, or has no event that can be read.
    """
    with ExitStack() as opened:
        views = []
        for name in [session] if other is None else [session, other]:
            each = view.open_view(name, root=root)
            opened.callback(each.close)
            each.wait(sharing.WAIT_S)
            if not each.overview()["events"]:  # which raises if the session cannot be read
                raise DamagedInput(
                    f"session {each.session_id} has no event that can be read",
                    remedy=f"agent-trace verify {each.session_id} names what is damaged",
                )
            views.append(each)
        return _fitted(views, at)


def _fitted(views: list[SessionView], at: str | None) -> bytes:
    session_view = views[0]
    moment = None if at is None else sharing.moment_of(session_view, at)
    query: dict[str, Any] = {}
    if moment is not None:
        query = {"t": int(moment.t)} | ({} if moment.agent is None else {"agent": moment.agent})
        query |= {} if moment.event_id is None else {"event": moment.event_id}
    around = None if moment is None else moment.t
    compared = None
    if len(views) > 1:
        query["compare"] = views[1].session_id
        compared = sharing.shared_comparison(session_view, views[1])
        first = compared["comparison"]["first"]
        around = around if around is not None or first is None else first["t_a"]
    most = sharing.MOST_EVENTS // len(views)
    for _ in range(_TRIES):
        sessions = {each.session_id: sharing.shared_session(each, around, most) for each in views}
        data = {
            "query": urlencode(query),
            "session": session_view.session_id,
            "sessions": sessions,
            "compared": compared,
        }
        page = _page(session_view.session_id, encoded(data))
        if len(page) <= MOST_BYTES:
            return page
        largest = max(len(each["events"]["text"]) for each in sessions.values())
        most = int(min(most, largest) * _SLACK * MOST_BYTES / len(page))
    raise InputError(f"the session does not fit into a page of {MOST_BYTES // 1_000_000} MB")


def _page(session: str, data: bytes) -> bytes:
    files = static_files()
    script, style = (files[name].content.decode() for name in ("view.js", "view.css"))
    script = script.replace("</script", "<\\/script")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    template = environment().get_template("shared.html")
    page = template.render(
        session=session,
        policy=policy,
        style=Markup(style),  # noqa: S704 - files of this package
        script=Markup(script),  # noqa: S704
        data=base64.b64encode(gzip.compress(data, 9, mtime=0)).decode(),
    )
    return page.encode()


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
