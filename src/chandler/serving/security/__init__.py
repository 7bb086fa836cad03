"""Who may ask what: a token or the session that it opens (credentials), and what every request must be (guard)."""

from chandler.serving.security.credentials import Credentials
from chandler.serving.security.guard import CSP, REPORT_CSP, Guard, set_session

__all__ = ["CSP", "REPORT_CSP", "Credentials", "Guard", "set_session"]
