"""What every request must be before a route sees it, and what every answer carries.

Host: names of this machine, or those that were allowed (DNS rebinding). Origin: whatever changes something comes from our own
page or from no page. Session: a cookie or a bearer token. Sources: OWASP cheat sheets on CSRF (Fetch Metadata) and CSP.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chandler.serving.errors import error_answer
from chandler.serving.security.credentials import Credentials

log = logging.getLogger("chandler.serving.requests")
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-src 'self'; frame-ancestors 'none'"
)
REPORT_CSP = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; frame-ancestors 'self'"
)
"""Of reports: pages with scripts of their own, which may do nothing but draw."""
SAFE = ("GET", "HEAD")
JSON, FILE = "application/json", "application/octet-stream"
OPEN = ("/api/v1/health", "/api/v1/session")
"""What is answered without a session."""
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, credentials: Credentials, origins: frozenset[str], limits: dict[str, int]) -> None:
        """`origins`: how our own page is reached, as a browser's Origin says it; `limits`: prefix of a path that
        takes files -> bytes; "": of all other bodies."""
        self.app, self.credentials, self.origins, self.limits = app, credentials, origins, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # lifespan; websockets there are none
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        begun, status, taken = time.monotonic(), 0, 0
        scope["request_id"] = secrets.token_hex(6)
        path: str = scope["path"]
        limit = self.limits[self._special(path)]

        async def measured() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:  # bodies need not tell their length
                raise HTTPException(413)
            return message

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Request-Id"] = scope["request_id"]
            await send(message)

        try:
            refusal = self._refusal(scope, Headers(scope=scope))
            await (refusal or self.app)(scope, measured, guarded)
        finally:
            route = getattr(scope.get("route"), "path", "/static" if path.startswith("/static/") else "-")
            line = {
                "request": scope["request_id"], "method": scope["method"], "route": route, "status": status,
                "ms": round(1000 * (time.monotonic() - begun)),
            }  # fmt: skip
            log.info(json.dumps(line))

    def _special(self, path: str) -> str:
        """The prefix of a path that takes files; "" of all others."""
        return next((prefix for prefix in self.limits if prefix and path.startswith(prefix)), "")

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """Why this request goes no further; None where it may."""
        method, path = scope["method"], scope["path"]

        def no(status: int, message: str, code: str = "") -> Response:
            return error_answer(status, message, code, request=scope["request_id"])

        site = headers.get("sec-fetch-site", "none")
        if method in SAFE:
            navigates = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
            if site not in ("same-origin", "none") and not (navigates and not path.startswith("/api/")):
                return no(403, "This address is not for other pages.")
        else:
            if site not in ("same-origin", "none"):
                return no(403, "This request comes from another page.")
            if (origin := headers.get("origin")) is not None and origin not in self.origins:
                return no(403, "This request comes from another page.")
            length, chunked = headers.get("content-length", "0"), "transfer-encoding" in headers
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            special = self._special(path)
            wanted, limit = FILE if special else JSON, self.limits[special]
            if (chunked or length != "0") and kind != wanted:
                return no(415, f"Send the body as {wanted}.")
            if length.isdecimal() and int(length) > limit:
                return no(413, f"The body is larger than the {limit:,} bytes that are taken here.", "too_large")
        return self._session(scope, headers)

    def _session(self, scope: Scope, headers: Headers) -> Response | None:
        path, known = scope["path"], self.credentials
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["method"] == "GET" and "code" in query and not path.startswith(("/api/", "/static/")):
            # The one GET that changes something: a code becomes a session, and leaves the address.
            rest = urlencode([(key, one) for key, values in query.items() if key != "code" for one in values])
            # One slash: with two a browser takes the next word for a host. All else is escaped.
            answer = RedirectResponse("/" + path.lstrip("/\\") + (f"?{rest}" if rest else ""), 303)
            if known.redeem(query["code"][0]):
                set_session(answer, known)
            return answer
        if path in OPEN or not path.startswith("/api/"):  # the shell holds no data
            return None
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(known.cookie)
        except CookieError:
            cookie = None
        session = cookie.value if cookie is not None else ""
        if known.knows(bearer=bearer.strip() if scheme.lower() == "bearer" else "", session=session):
            return None
        return error_answer(401, "Sign in with the token that the server printed.", request=scope["request_id"])


def set_session(answer: Response, known: Credentials) -> None:
    """Open a session in the browser that gets this answer."""
    answer.set_cookie(known.cookie, known.session, httponly=True, samesite="strict", path="/")
