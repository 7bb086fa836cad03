"""Every refusal in one shape: {"error": {"code", "message", "details", "request_id"}}."""

from __future__ import annotations

import errno
import logging
import re
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from chandler.errors import ChandlerError, CheckpointError, ConfigError, DataError, TrainingError

log = logging.getLogger("chandler.serving")
CODES = {
    400: "malformed", 401: "not_signed_in", 403: "forbidden", 404: "not_found", 405: "not_allowed", 409: "state",
    413: "too_large", 415: "wrong_type", 424: "checkpoint", 429: "queue_full", 500: "internal", 503: "worker_died",
}  # fmt: skip
STATUS = {
    ConfigError: (422, "config"),
    DataError: (422, "data"),
    CheckpointError: (424, "checkpoint"),
    TrainingError: (422, "training"),
}
NO_ROOM = "There is no room left on the server's disk."
WORDS = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The body is larger than this server takes.",
    500: "The server failed here; its log says more.",
}


class ErrorBody(BaseModel):
    """What went wrong, in words for people and a code for programs."""

    code: str
    message: str
    details: dict[str, Any] | None = None
    request_id: str = ""


class ErrorAnswer(BaseModel):
    """The body of every refusal."""

    error: ErrorBody


class Refusal(Exception):
    """A request that cannot be granted: status, message, and what a program may want to know of it."""

    def __init__(self, status: int, message: str, *, code: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.details = status, message, code or CODES[status], details


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Refusals as routes declare them."""
    return {status: {"model": ErrorAnswer} for status in statuses}


def error_answer(
    status: int, message: str, code: str = "", details: dict[str, Any] | None = None, request: str = ""
) -> JSONResponse:
    """A refusal as it is sent."""
    body = ErrorBody(
        code=code or CODES.get(status, "refused"), message=message, details=details or None, request_id=request
    )
    headers = {"Retry-After": "5"} if status in (429, 503) else None
    return JSONResponse(ErrorAnswer(error=body).model_dump(), status, headers)


def without_paths(message: str, *known: Path) -> str:
    """A message with paths cut to their last part: a browser need not know where things lie on the server."""
    for path in sorted(map(str, known), key=len, reverse=True):
        message = message.replace(path + "/", "").replace(path, Path(path).name)
    return re.sub(r"(?<![\w.:/])/(?:[\w.@+-]+/)+([\w.@+-]+)", r"\1", message)


def methods_of(app: FastAPI, path: str) -> list[str]:
    """What an address takes. Starlette names the methods of the first route there alone."""
    known = app.openapi()["paths"].items()
    there = [each for template, each in known if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)]
    return sorted({method.upper() for each in there for method in each})


def install(app: FastAPI) -> None:
    """All failures of an app in the one shape."""

    def told(
        request: Request, status: int, message: str, code: str = "", details: dict[str, Any] | None = None
    ) -> JSONResponse:
        return error_answer(status, message, code, details, request.scope.get("request_id", ""))

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> JSONResponse:
        return told(request, error.status, error.message, error.code, error.details)

    @app.exception_handler(ChandlerError)
    async def known(request: Request, error: ChandlerError) -> JSONResponse:
        status, code = next((found for kind, found in STATUS.items() if isinstance(error, kind)), (422, "refused"))
        return told(request, status, without_paths(str(error)), code)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        found = [{"where": ".".join(str(part) for part in one["loc"]), "message": one["msg"]} for one in error.errors()]
        if any(one["type"] == "json_invalid" for one in error.errors()):
            return told(request, 400, "The body is no JSON.", details={"errors": found})
        first = found[0]
        return told(request, 422, f"{first['where']}: {first['message']}.", "config", {"errors": found})

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        answer = told(request, error.status_code, WORDS.get(error.status_code, str(error.detail)))
        if error.status_code == 405:
            answer.headers["Allow"] = ", ".join(methods_of(app, request.url.path))
        return answer

    @app.exception_handler(OSError)
    async def disk(request: Request, error: OSError) -> JSONResponse:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise error
        return told(request, 413, NO_ROOM)

    @app.exception_handler(Exception)
    async def ours(request: Request, error: Exception) -> JSONResponse:
        log.error("request %s failed", request.scope.get("request_id", ""), exc_info=error)
        return told(request, 500, WORDS[500])
