"""A token for scripts, a session for browsers, and codes that open one session each."""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass, field
from hashlib import sha256

CODE_SECONDS = 900


@dataclass
class Credentials:
    """What opens the server. `token` None: nothing is asked for."""

    token: str | None
    port: int
    _codes: dict[str, float] = field(default_factory=dict)

    @property
    def cookie(self) -> str:
        """Its name: cookies are shared by all ports of a host."""
        return f"chandler-{self.port}"

    @property
    def session(self) -> str:
        """The value of the cookie: made of the token, which it does not tell; the same after a restart."""
        return hmac.new((self.token or "").encode(), b"session", sha256).hexdigest()

    def code(self) -> str:
        """A code that opens one session, for an address that a browser is sent to."""
        made = secrets.token_urlsafe(24)
        self._codes[made] = time.monotonic() + CODE_SECONDS
        return made

    def redeem(self, code: str) -> bool:
        """Whether a code was good; it is not any more."""
        until = self._codes.pop(code, 0.0)
        return time.monotonic() < until

    def knows(self, *, bearer: str, session: str) -> bool:
        """Whether a request with this token or this cookie may go on."""
        if self.token is None:
            return True
        return _equal(bearer, self.token) or _equal(session, self.session)


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
