"""The page and the API: bars, forecasts and jobs over HTTP, for a browser on this machine and for scripts.

The way through: `ServerSettings` (settings) say what is served; `serve` (server) binds, prints the address and runs `app`,
which puts the routes (the room api) behind the guard (security). Bars come from `sources`, mapped stores that a child process
made of files; forecasts are made by one warm child (the room worker, the only one with torch) and kept by `forecasts`, in
files of the `workspace`. `events` tells open pages what changed; what is true they ask for.
"""

from chandler.serving.server import serve
from chandler.serving.settings import PORT, UPLOAD_BYTES, ServerSettings

__all__ = ["PORT", "UPLOAD_BYTES", "ServerSettings", "serve"]
