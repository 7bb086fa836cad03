"""A forecast as it is asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from chandler.settings import Precision

SYMBOLS = 5000


class ForecastRequest(BaseModel):
    """Which bars, which model, and how its paths are sampled: as `chandler forecast` takes them."""

    model_config = ConfigDict(extra="forbid", strict=True)
    source_id: str = Field(pattern=r"^src_[0-9a-f]{12}$")
    symbols: list[str] = Field(min_length=1, max_length=SYMBOLS)
    model_id: str = Field(pattern=r"^mdl_[0-9a-f]{12}$")
    horizon: int = Field(24, ge=1, le=4096)
    paths: int = Field(100, ge=1, le=1000)
    origin: int | None = Field(None, ge=-(2**33), le=2**34)
    """The last bar that is known, as the chart has its time; null: the last one there is."""
    interval: str | None = Field(None, max_length=16)
    """Coarser bars first, such as 1h."""
    seed: int = Field(0, ge=0, le=2**63 - 1)
    temperature: float = Field(1.0, gt=0, le=10, allow_inf_nan=False)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, le=2**20)
    lookback: int | None = Field(None, ge=2, le=2**20)
    calendar: str | None = Field(None, max_length=32)
    overflow: Literal["exact", "block", "trim"] = "exact"
    precision: Precision = "float32"
    repair: bool = False
    calibrated: bool = False
    preview: bool = False
    """Ten paths first, then all: the first ten are the same."""
