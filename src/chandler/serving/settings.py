"""What a server serves, to whom, and where it keeps its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chandler.errors import ConfigError

PORT = 8421
UPLOAD_BYTES = 512 << 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ServerSettings:
    """As `chandler studio` and `chandler serve` take them."""

    workspace: Path = Path("chandler-studio")
    """Where uploads, prepared bars and forecasts are kept."""
    page: bool = True
    """Serve the page beside the API."""
    host: str = "127.0.0.1"
    port: int | None = None
    """0 takes any free one; None PORT, or the next one that is free."""
    data: tuple[Path, ...] = ()
    """Folders whose files of bars are offered."""
    runs: Path = Path("runs")
    """Where finished runs are looked for."""
    models: Mapping[str, Path] = field(default_factory=dict)
    """Further models: name -> folder."""
    device: str = "auto"
    jobs: bool = True
    """Take jobs: finetunings and evaluations, which run commands on this machine."""
    parallel_jobs: int = 1
    """How many run at once; the others wait."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which the server is reached, besides those of this machine."""
    no_token: bool = False
    """Ask for no token; only where nobody else gets in."""
    token_file: Path | None = None
    """Read the token from there rather than from the workspace."""
    upload_bytes: int = UPLOAD_BYTES
    certfile: Path | None = None
    keyfile: Path | None = None

    @property
    def local(self) -> bool:
        """Whether only this machine reaches the server."""
        return self.host in LOOPBACK

    def check(self) -> None:
        """ConfigError for what cannot be, before anything is begun."""
        if self.no_token and not self.local:
            raise ConfigError(
                f"no_token=True is for this machine only, and host={self.host} lets others in: leave one of them out."
            )
        if self.no_token and self.token_file is not None:
            raise ConfigError("no_token=True asks for no token, and token_file= has one: leave one of them out.")
        if (self.certfile is None) != (self.keyfile is None):
            raise ConfigError("certfile= and keyfile= go together: give both, or none for plain HTTP.")
        files = [one for one in (self.certfile, self.keyfile, self.token_file) if one is not None and not one.is_file()]
        if files:
            raise ConfigError(f"{files[0]}: there is no such file.")
        for folder in (*self.data, *self.models.values()):
            if not folder.is_dir():
                raise ConfigError(f"{folder}: there is no such folder.")
        if self.parallel_jobs < 1:
            raise ConfigError(f"parallel_jobs= is 1 or more, found {self.parallel_jobs}.")
        if self.parallel_jobs > 1 and not self.jobs:
            raise ConfigError(
                f"parallel_jobs={self.parallel_jobs} is for a server that takes jobs: give jobs=True as well, or leave it out."
            )
        if self.port is not None and not 0 <= self.port < 65536:
            raise ConfigError(f"port= is a number from 0 to 65535, found {self.port}.")
