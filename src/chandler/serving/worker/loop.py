"""A child, `NAME DEVICE`: requests come as lines of JSON, the last models stay loaded, a forecast can be stopped between two bars."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections import OrderedDict
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from chandler.errors import ChandlerError, DataError

MODELS = 2
"""Kept loaded."""
PREVIEW = 10


class Cancelled(Exception):
    """Whoever asked does not want it any more."""


class Child:
    """What the process keeps between requests."""

    def __init__(self, device: str, out: TextIO) -> None:
        self.device, self.out = device, out
        self.models: OrderedDict[str, Any] = OrderedDict()
        self.cancelled: set[str] = set()

    def say(self, kind: str, **rest: Any) -> None:
        """One line to the server."""
        self.out.write(json.dumps({"kind": kind, **rest}, allow_nan=False) + "\n")
        self.out.flush()

    def serve(self, requests: queue.Queue[dict[str, Any] | None]) -> None:
        """Until the server closes the pipe."""
        from chandler.devices import resolve

        self.say("state", state="ready", about={"device": str(resolve(self.device))})
        while (request := requests.get()) is not None:
            self.say("state", state="busy")
            try:
                do = self.forecast if request["do"] == "forecast" else self.look
                self.say("done", **do(request))
            except Cancelled:
                self.say("cancelled")
            except ChandlerError as error:
                self.say("failed", error=type(error).__name__, message=str(error))
            except MemoryError:
                less = " Ask for fewer paths or a shorter horizon." if request["do"] == "forecast" else ""
                self.say("failed", error="ConfigError", message=f"There is not enough memory.{less}")
            except Exception as error:
                import traceback

                traceback.print_exc()
                self.say(
                    "failed",
                    error="",
                    message=f"This failed ({type(error).__name__}); the server's log says more.",
                )
            self.say("state", state="ready")

    def look(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a function of a module beside this one finds: "ledger.summary"."""
        module, name = request["do"].split(".")
        return {"found": getattr(import_module(f"chandler.serving.worker.{module}"), name)(*request["with"])}

    def model(self, source: str, revision: str) -> Any:
        """A loaded forecaster."""
        from chandler.forecasting import Forecaster

        key = f"{source} {revision}"
        if key not in self.models:
            self.models[key] = Forecaster.from_pretrained(source, device=self.device)
            while len(self.models) > MODELS:
                self.models.popitem(last=False)
        self.models.move_to_end(key)
        return self.models[key]

    def forecast(self, request: dict[str, Any]) -> dict[str, Any]:
        """Forecast one part of a request: its only symbol, perhaps with a preview, or some of its many symbols."""
        from chandler.checkpoint import weights_hash
        from chandler.serving.worker.answer import Part, answer, calibration_told, write_part
        from chandler.serving.worker.series import Asked, prepared

        begun, id = time.monotonic(), request["id"]
        forecaster = self.model(request["model"], request["model_revision"])
        asked, many = Asked(**request["asked"]), request["many"]
        previews = [PREVIEW] if request["preview"] and asked.paths > PREVIEW and not many else []
        total, done = sum(previews) + asked.paths * len(request["symbols"]), 0

        def some(symbols: list[str], paths: int) -> Part:
            nonlocal done

            def report(now: int, of: int) -> None:
                if id in self.cancelled:
                    raise Cancelled
                self.say("progress", done=int(done + now / max(of, 1) * paths * len(symbols)), total=total)

            report(0, 1)
            try:
                series = prepared(request["bars"], symbols, asked)
                told, forecasts = answer(forecaster, request["model"], series, asked, paths, report)
            except DataError as error:
                if not many:
                    raise
                if len(symbols) > 1:  # one that cannot be forecast takes no other with it
                    half = len(symbols) // 2
                    return some(symbols[:half], paths) + some(symbols[half:], paths)
                told, forecasts = [{"symbol": symbols[0], "failed": str(error)}], []
            done += paths * len(symbols)
            return Part(told, forecasts)

        for paths in previews:
            self.say("preview", series=some(request["symbols"], paths).told)
        part = some(request["symbols"], asked.paths)
        seconds = round(time.monotonic() - begun, 3)
        write_part(Path(request["folder"]), request["number"], part, seconds)
        if asked.interval is None and part.forecasts:  # no source has coarser bars to score by
            self.keep(request, part.forecasts, forecaster)
        calibration = forecaster.calibration if asked.calibrated else None
        return {
            "seconds": seconds,
            "digest": weights_hash(forecaster.tokenizer, forecaster.predictor)[:12],
            "live": not any(one.get("truth") for one in part.told),
            "says": None if calibration is None else calibration_told(calibration, part.forecasts),
        }

    def keep(self, request: dict[str, Any], forecasts: list[Any], forecaster: Any) -> None:
        """Keep forecasts in the journal, which scores them when their bars have come."""
        from chandler.journal import Journal

        Journal(Path(request["journal"])).keep(forecasts, forecaster, json.dumps(request["request"]))


def main() -> None:
    """Talk over the pipes that the server gave; whatever libraries print goes to its log."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    child = Child(sys.argv[2], out)
    requests: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "cancel" in message:
                child.cancelled.add(message["cancel"])
            else:
                requests.put(message)
        requests.put(None)
        # The server is gone: what is under way is of no use to anyone.
        ends = threading.Timer(2, lambda: os._exit(0))
        ends.daemon = True  # a child that does nothing goes at once
        ends.start()

    threading.Thread(target=read, daemon=True).start()
    import chandler.forecasting  # noqa: F401 - the long part, before anyone waits for it

    child.serve(requests)
