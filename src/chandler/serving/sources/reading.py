"""A child process reads a file into a store: parsing never runs in the server, and cannot take more than its share."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import sys
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import psutil
import pyarrow
import pyarrow.parquet as parquet
from pydantic import BaseModel, ConfigDict, Field

from chandler.serving.errors import without_paths

SECONDS = 1800
"""A reading that takes longer is stopped."""
SHARE = 0.5
"""Of the machine's memory, for one reading."""
EXPANDS = 10
"""Packed files may be so many times as large as an upload may be."""
ROW = 37
"""Bytes of a bar in a store: six numbers, its time and the parts of its date."""
OPTIONS = {
    "--date-format": "date_format", "--decimal": "decimal", "--timezone": "timezone", "--column": "columns",
    "--sort": "unsorted", "--missing": "missing", "--price-scale": "price_scale", "--join": "join", "--adjust": "adjust",
}  # fmt: skip
"""What the reader's messages offer -> the field that takes it."""


Name = Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
Word = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""They become arguments of a command, which take no control characters."""


class ReadingSettings(BaseModel):
    """How a source is read, where it leaves a question."""

    model_config = ConfigDict(extra="forbid", strict=True)
    columns: dict[Word, Name] | None = Field(None, max_length=16)
    """Canonical name -> name in the file; "" takes the role from every column."""
    timezone: Word | None = None
    date_format: Word | None = None
    decimal: Literal["auto", ".", ","] = "auto"
    adjust: Literal["auto", "none"] = "auto"
    missing: Literal["error", "drop", "split"] = "error"
    unsorted: Literal["error", "sort"] = "error"
    join: bool = False
    price_scale: float | None = Field(None, gt=0, allow_inf_nan=False)

    def arguments(self) -> list[str]:
        """As `chandler prepare` takes them."""
        made: list[str] = []
        for name, value in self.model_dump(exclude_defaults=True).items():
            if name == "columns":
                made += [f"--column={role}={column}" for role, column in value.items()]
            elif name == "unsorted":
                made += ["--sort"]
            elif name == "join":
                made += ["--join"]
            else:
                made += [f"--{name.replace('_', '-')}={value}"]
        return made


def questions(message: str) -> list[str]:
    """The fields that a reader's message asks for; none where no option would help."""
    asked = [OPTIONS[option] for option in re.findall(r"--[a-z-]+", message) if option in OPTIONS]
    return list(dict.fromkeys(asked))


def bomb(path: Path, limit: int) -> str | None:
    """Why a packed file is not opened: it would become larger than `limit` bytes. None for all others.

    By first bytes, as the reader goes; a Parquet file says of itself how large its columns are, and how many rows it has.
    """
    whole = 0
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                whole = sum(one.file_size for one in packed.infolist())
        elif magic[:2] == b"\x1f\x8b":
            with gzip.open(path) as packed_stream:
                while whole <= limit and (piece := packed_stream.read(1 << 20)):
                    whole += len(piece)
        elif magic == b"PAR1":
            about = parquet.read_metadata(path)
            columns = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
            whole = max(columns, about.num_rows * ROW)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, pyarrow.ArrowException):
        return None  # the reader says what is wrong with it
    return f"It would unpack to more than {limit:,} bytes." if whole > limit else None


async def read_into(
    source: Path, store: Path, settings: ReadingSettings, memory: int | None = None
) -> tuple[str | None, list[str]]:
    """Have `chandler prepare` make a store of a source.

    Args:
        memory: bytes that it may take; None: SHARE of the machine's.

    Returns:
        Why it could not be, None where it could; the lines that it told of the bars.
    """
    try:
        str(source).encode()
    except UnicodeEncodeError:
        return "Its name, or that of its folder, is no UTF-8, so that no symbol can be called by it. Rename it.", []
    command = [
        sys.executable,
        "-m",
        "chandler",
        "prepare",
        str(source),
        str(store),
        "--workers=1",
        *settings.arguments(),
    ]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        cwd=store.parent, start_new_session=True, env=child_environment(),
    )  # fmt: skip
    _limit(process.pid, memory or int(SHARE * psutil.virtual_memory().total))
    try:
        _, told = await asyncio.wait_for(process.communicate(), SECONDS)
    except TimeoutError:
        return (
            f"Reading took longer than {SECONDS // 60} minutes and was stopped. Prepare it in a shell: chandler prepare.",
            [],
        )
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    lines = [line.strip() for line in told.decode("utf-8", "replace").splitlines() if line.strip()]
    hide = [store.parent, source.parent]
    if process.returncode == 0:
        return None, [without_paths(line, *hide) for line in lines if not line.startswith("chandler:")]
    if process.returncode == 2 and lines:
        begin = next((n for n, line in enumerate(lines) if line.startswith("chandler: ")), 0)
        return without_paths("\n".join(line.removeprefix("chandler: ") for line in lines[begin:]), *hide), []
    return (
        "The file needs more memory than a reading may take, or the reader was killed. Split it, or prepare it in a shell.",
        [],
    )


def child_environment() -> dict[str, str]:
    """Of processes that the server starts: what it has itself, the interpreter speaking UTF-8."""
    return {**os.environ, "PYTHONUTF8": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def _limit(pid: int, most: int) -> None:
    """Bound the memory of a child, where the system can."""
    try:
        import resource

        resource.prlimit(pid, resource.RLIMIT_DATA, (most, most))
    except (ImportError, AttributeError, OSError, ValueError):
        return
