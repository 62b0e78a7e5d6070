"""Access to the pages: only with the token, under a host name of this machine, and by default only with GET.

Another page in the same browser could otherwise read traces: by a request to loopback, or by DNS rebinding.
Forks run code, and control changes a running program, so a POST also needs the origin of these pages, because
browsers send the cookie to all ports of a host. Next:
`app.py`, then `documents.py`.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from Agent.server.settings import is_loopback

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""The content security policy: pages load files and answers of this server only, and no inline script or
style."""
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_REMEDY: Final = "open the address that the command printed, with its token"
_POSTS: Final = {
    re.compile(r"/api/[^/]+/(?:forks|tests)"): "this request may not start a fork",
    re.compile(r"/api/[^/]+/control"): "this request may not control a program",
}
"""The only paths that accept POST, each with the message for a request from elsewhere."""
_MAX_BODY_BYTES: Final = 1 << 20
_OPEN_PATHS: Final = "/static/"
"""The only paths that need no token: the static files of the package."""


def names_of_this_machine(host: str) -> frozenset[str]:
    """Return the host names and addresses that a server listening on `host` accepts.

    Beyond loopback they include the names of the machine; every IP address is accepted there, since DNS
    rebinding needs a name.
    """
    names = {"localhost", "127.0.0.1", "::1", host.strip("[]").casefold()}
    if not is_loopback(host):
        names |= {socket.gethostname().casefold(), socket.getfqdn().casefold()}
    return frozenset(names)


class Guard:
    """ASGI middleware that admits requests with the token: GET, and POST where forks or control are allowed.

    Args:
        app: the guarded application.
        token: the secret; None admits all requests to a host name of this machine.
        host: the address that the server listens on.
        allow_fork, allow_control: whether forks may be started, and programs controlled; only with a token.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        host: str,
        allow_fork: bool = False,
        allow_control: bool = False,
    ) -> None:
        self._app = app
        allowed = zip(_POSTS.items(), (allow_fork, allow_control), strict=True)
        self._posts = [post for post, is_allowed in allowed if is_allowed and token is not None]
        self._token = token
        self._names = names_of_this_machine(host)
        self._any_address = not is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        grants = self._has_token(scope)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                response_headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    response_headers[name] = value
                response_headers.setdefault("Cache-Control", "no-store")
                if grants:
                    response_headers.append("Set-Cookie", self._cookie(scope))
            await send(message)

        refusal = self._refusal(scope, headers, grants=grants)
        await (self._app if refusal is None else refusal)(scope, receive, sent)

    def _refusal(self, scope: Scope, headers: dict[bytes, str], *, grants: bool) -> Response | None:
        """Return why a request is refused; None if it is allowed."""
        wants_page = "text/html" in headers.get(b"accept", "")
        if not self._is_accepted_host(headers.get(b"host", "")):
            remedy = "use localhost or 127.0.0.1"
            return refused(421, "this server has another name", remedy, as_page=wants_page)
        if scope["method"] == "POST":
            for path, refusal in self._posts:
                if path.fullmatch(path_of(scope)):
                    if not _is_same_origin(scope, headers) or not _is_known(scope, headers, str(self._token)):
                        return refused(403, refusal, _REMEDY, as_page=False)
                    length = headers.get(b"content-length", "")
                    if not length.isdecimal() or int(length) > _MAX_BODY_BYTES:
                        limit = f"give its Content-Length, at most {_MAX_BODY_BYTES:,} bytes"
                        return refused(413, "the body is too large", limit, as_page=False)
                    return None
        if scope["method"] != "GET":
            response = refused(405, "the pages are read-only", "use GET", as_page=False)
            response.headers["Allow"] = "GET"
            return response
        if grants or self._token is None or path_of(scope).startswith(_OPEN_PATHS):
            return None
        if not _is_known(scope, headers, self._token):
            return refused(403, "the token is missing or wrong", _REMEDY, as_page=wants_page)
        return None

    def _is_accepted_host(self, host: str) -> bool:
        name = host.rpartition(":")[0] if _has_port(host) else host
        name = name.strip("[]").casefold()
        return name in self._names or (self._any_address and _is_address(name))

    def _has_token(self, scope: Scope) -> bool:
        """Return whether the address contains the token."""
        if self._token is None or b"token=" not in scope["query_string"]:
            return False
        tokens = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        return any(_same(each, self._token) for each in tokens)

    def _cookie(self, scope: Scope) -> str:
        secure = "; Secure" if scope["scheme"] == "https" else ""
        path = scope.get("root_path") or "/"
        return f"{cookie_name(scope)}={self._token}; Path={path}; HttpOnly; SameSite=Strict{secure}"


def cookie_name(scope: Scope) -> str:
    """Return the name of the cookie; it contains the port, since all ports of a host share cookies."""
    server = scope.get("server")
    return f"agent_trace_{server[1] if server else 0}"


def path_of(scope: Scope) -> str:
    """Return the path of a request below the mount point of the pages."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def refused(status: int, message: str, remedy: str | None, *, as_page: bool) -> Response:
    """Return the answer to a refused request: problem JSON, or an HTML page for a browser."""
    if not as_page:
        return JSONResponse({"error": message, "remedy": remedy}, status_code=status)
    from markupsafe import escape

    paragraph = f"<p>{escape(remedy)}</p>" if remedy else ""
    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Agent Trace</title></head>'
        f"<body><main><h1>{escape(message[:1].upper() + message[1:])}</h1>{paragraph}</main></body></html>"
    )
    return HTMLResponse(page, status_code=status)


def _is_known(scope: Scope, headers: dict[bytes, str], token: str) -> bool:
    """Return whether the cookie or the header contains the token."""
    scheme, _, key = headers.get(b"authorization", "").partition(" ")
    if scheme.casefold() == "bearer" and _same(key.strip(), token):
        return True
    # Lenient: a broken cookie of another program on this host must not hide ours.
    cookie = cookie_parser(headers.get(b"cookie", "")).get(cookie_name(scope))
    return cookie is not None and _same(cookie, token)


def _is_same_origin(scope: Scope, headers: dict[bytes, str]) -> bool:
    """Return whether a request comes from a script of these pages, according to the browser."""
    origin = f"{scope['scheme']}://{headers.get(b'host', '')}"
    return (
        headers.get(b"origin", "").casefold() == origin.casefold()
        and headers.get(b"sec-fetch-site", "same-origin") == "same-origin"
        and headers.get(b"content-type", "").partition(";")[0].strip() == "application/json"
    )


def _same(candidate: str, token: str) -> bool:
    return hmac.compare_digest(candidate.encode(), token.encode())


def _has_port(host: str) -> bool:
    name, colon, port = host.rpartition(":")
    return bool(colon) and port.isdecimal() and (":" not in name or name.endswith("]"))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
