"""The guard of the local page: access by token, permitted requests, and the headers of every answer."""

from __future__ import annotations

import secrets
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost")
"""Host names of requests from a browser of this machine or behind a tunnel to it. An attacker may have made any other point here."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Lets through to `app` only GET and HEAD, for this machine, with the token: in the URL, in a cookie, or as ``Authorization: Bearer``.

    A token in the URL counts before a cookie, and is returned as a cookie that scripts cannot read and other sites cannot send.
    """

    def __init__(self, app: ASGIApp, token: str, cookie: str) -> None:
        self._app = app
        self._token = token
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        given = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("token")
        if not is_of_this_machine(headers.get("host", "")):
            await _refuse(send, 403, "this page answers to 127.0.0.1 and localhost only")
        elif not self._may(given, headers):
            await _refuse(send, 403, "this page needs the token in the URL that `persistable serve` printed")
        elif scope["method"] not in ("GET", "HEAD"):
            await _refuse(send, 405, "this page is read-only", (b"allow", b"GET, HEAD"))
        else:
            await self._app(scope, receive, self._answering(send, given is not None))

    def _may(self, given: list[str] | None, headers: dict[str, str]) -> bool:
        if given is not None:
            return len(given) == 1 and self._is_token(given[0])
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._is_token(bearer.strip())
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return found is not None and self._is_token(found.value)

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode("utf-8", "surrogateescape"), self._token.encode())

    def _answering(self, send: Send, with_cookie: bool) -> Send:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message["headers"]}
                message["headers"] += [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in own]
                if with_cookie:
                    cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
                    message["headers"].append((b"set-cookie", cookie.encode()))
            await send(message)

        return answer


def is_of_this_machine(host: str) -> bool:
    """Tell whether a Host header, with or without a port, names this machine."""
    name, _, port = host.partition(":")
    return name.lower() in HOSTS and (not port or (port.isascii() and port.isdecimal()))


async def _refuse(send: Send, status: int, why: str, *headers: tuple[bytes, bytes]) -> None:
    body = why.encode() + b"\n"
    plain = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    every = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    await send({"type": "http.response.start", "status": status, "headers": [*plain, *every, *headers]})
    await send({"type": "http.response.body", "body": body})
