"""A run: both stages in order, and the folder that keeps their settings, metrics, checkpoints and summary."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

import chandler
from chandler.checkpoint import WEIGHTS_NAME
from chandler.data.splits import split_ranges
from chandler.data.store import BarStore
from chandler.data.windows import Windows, require_windows
from chandler.errors import ConfigError
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer
from chandler.training.bars import load_clean
from chandler.training.config import RANDOM, PredictorSettings, Settings, StageSettings, load_settings
from chandler.training.distributed import close, make_accelerator
from chandler.training.loop import StageResult, fit
from chandler.training.plan import derive_seed
from chandler.training.progress import Progress
from chandler.training.stages import PredictorStage, TokenizerStage

if TYPE_CHECKING:
    from accelerate import Accelerator

STAGES = ("tokenizer", "predictor")
OWN = ("config.yaml", "metrics.jsonl", "summary.json", "report.html", "checkpoints", *STAGES)
"""What a run folder holds; --overwrite removes these and nothing else."""


@dataclass(frozen=True)
class Run:
    """A finished (or running) run folder."""

    folder: Path

    @property
    def settings(self) -> Settings:
        """The resolved settings."""
        return load_settings(self.folder / "config.yaml")

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json; empty before the first stage has finished."""
        path = self.folder / "summary.json"
        return dict(json.loads(path.read_text())) if path.is_file() else {}

    def metrics(self) -> list[dict[str, Any]]:
        """metrics.jsonl, a dict per line."""
        path = self.folder / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


class _Recorder:
    """Listens to the loop: writes metrics and best checkpoints into the folder, shows progress."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder, self.progress = folder, progress

    def _append(self, record: dict[str, Any]) -> None:
        with (self.folder / "metrics.jsonl").open("a") as handle:
            handle.write(json.dumps({**record, "time": round(time.time(), 3)}) + "\n")

    def begin(self, stage: str, *, epochs: int, steps: int, windows: int) -> None:
        self.progress.begin(stage, epochs=epochs, steps=steps, windows=windows)

    def train(self, record: dict[str, Any]) -> None:
        self._append(record)
        self.progress.train(record)

    def validating(self, done: int, total: int) -> None:
        self.progress.validating(done, total)

    def validation(self, record: dict[str, Any], model: nn.Module, best: bool) -> None:
        if best:
            assert isinstance(model, KronosTokenizer | Kronos)
            model.save_pretrained(best_folder(self.folder, record["stage"]))
        self._append({**record, "best": best})
        self.progress.validation(record, best)

    def end(self, stage: str, result: StageResult) -> None:
        self.progress.end(stage, verdict(stage, result))


def verdict(stage: str, result: StageResult) -> str:
    """One plain sentence: did training beat the starting weights?"""
    if result.improved:
        gain = (result.start - result.best) / abs(result.start) if result.start else 0.0
        text = (
            f"{stage}: validation {result.measure} {result.start:.5g} at step 0, {result.best:.5g} at its best "
            f"(step {result.best_step}), {gain:.1%} lower"
        )
    else:
        text = (
            f"{stage}: no checkpoint beat the starting weights (validation {result.measure} {result.start:.5g}); "
            "the starting weights are kept"
        )
    return text + (" (stopped early: patience)" if result.stopped_early else "") + "."


def best_folder(run: Path, stage: str) -> Path:
    """Where the best checkpoint of a running stage is kept."""
    return run / "checkpoints" / f"{stage}-best"


def finetune(
    config: Settings | Mapping[str, Any] | str | Path,
    *,
    overrides: Iterable[str] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Run both stages as the settings say: the tokenizer first, then the predictor on its frozen tokens.

    Works as one plain process or as one of several under torchrun.

    Args:
        config: settings, a mapping, or the path of a YAML file.
        overrides: `key.sub=value` texts applied over it.
        overwrite: replace what an earlier run left in the folder.
        progress: what shows progress; default: bars on a terminal, lines elsewhere.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError: with one message that says what to do.
    """
    settings = config if isinstance(config, Settings) else load_settings(config, overrides)
    accelerator = make_accelerator(settings.device, settings.precision)
    try:
        # Dropout seeds torch's global generator; the caller gets its own state back.
        with torch.random.fork_rng(enabled=True):
            return _finetune(settings, accelerator, overwrite, progress or Progress())
    finally:
        close(accelerator)


def _finetune(settings: Settings, accelerator: Accelerator, overwrite: bool, progress: Progress) -> Run:
    folder = Path(settings.out)
    store, cleaned = load_clean(settings)
    windows = {name: make_windows(store, settings, name) for name in ("train", "val")}
    for name, found in windows.items():
        require_windows(found, {"train": "training", "val": "validation"}[name])
    if accelerator.is_main_process:
        prepare_folder(folder, settings, overwrite)
    accelerator.wait_for_everyone()
    recorder = _Recorder(folder, progress)
    summary: dict[str, Any] = {
        "chandler": chandler.__version__,
        "data": describe(store, windows),
        "stages": {},
    }
    if cleaned is not None:
        summary["data"]["cleaning"] = cleaned.to_dict()
    summary["forecast"] = {"max_context": settings.context(), "lookback": settings.data.lookback}
    if accelerator.is_main_process:
        recorder.progress.note(
            f"{len(store)} symbols, {store.rows:,} bars; windows of {settings.data.lookback} + "
            f"{settings.data.horizon} bars: {len(windows['train']):,} to train on, "
            f"{len(windows['val']):,} to validate on"
        )
        if cleaned is not None:
            recorder.progress.note(cleaned.to_text(limit=5))
    for number, (name, stage) in enumerate(settings.stages()):
        outcome = _run_stage(name, stage, settings, windows, folder, accelerator, recorder, seed_part=number)
        summary["stages"][name] = outcome
        if accelerator.is_main_process:
            write_json(folder / "summary.json", summary)
        accelerator.wait_for_everyone()
    return Run(folder)


def _run_stage(
    name: str,
    settings: StageSettings,
    whole: Settings,
    windows: Mapping[str, Windows],
    folder: Path,
    accelerator: Accelerator,
    recorder: _Recorder,
    *,
    seed_part: int,
) -> dict[str, Any]:
    """One stage from start to published checkpoint; what happened, for summary.json."""
    main = accelerator.is_main_process
    result_folder = folder / name
    if settings.skip_existing and (result_folder / WEIGHTS_NAME).is_file():
        if main:
            recorder.progress.note(f"{name}: kept the result of an earlier run ({result_folder})")
        earlier = Run(folder).summary.get("stages", {}).get(name, {"status": "unknown"})
        return {**earlier, "reused": True}
    if not settings.enabled and name == "predictor":
        if main:
            recorder.progress.note("predictor: switched off")
        return {"status": "off"}
    seed = derive_seed(whole.seed, seed_part)
    stage = _make_stage(name, settings, whole, folder, seed)
    if not settings.enabled:
        if main:
            stage.model.save_pretrained(result_folder)
            recorder.progress.note(f"{name}: switched off, {settings.start} is used as it is")
        return {"status": "off", "start": settings.start}
    result = fit(
        stage,
        windows["train"],
        windows["val"],
        settings,
        accelerator=accelerator,
        listener=recorder,
        seed=seed,
        windows_per_epoch=whole.data.windows_per_epoch,
        log_every=whole.log_every,
    )
    if main:
        type(stage.model).from_pretrained(best_folder(folder, name)).save_pretrained(result_folder)
        shutil.rmtree(best_folder(folder, name))
    parameters = sum(p.numel() for p in stage.model.parameters())
    return {
        "status": "improved" if result.improved else "kept_start",
        "start": settings.start,
        "parameters": parameters,
        "verdict": verdict(name, result),
        **{("start_score" if k == "start" else k): v for k, v in result.to_dict().items()},
    }


def _make_stage(name: str, settings: StageSettings, whole: Settings, folder: Path, seed: int) -> Any:
    generator = torch.Generator().manual_seed(derive_seed(seed, 0))
    if name == "tokenizer":
        tokenizer = (
            KronosTokenizer(whole.tokenizer.random_config(), generator=generator)
            if settings.start == RANDOM
            else KronosTokenizer.from_pretrained(settings.start, revision=settings.revision)
        )
        return TokenizerStage(tokenizer)
    assert isinstance(settings, PredictorSettings)
    predictor = (
        Kronos(settings.random_config(), generator=generator)
        if settings.start == RANDOM
        else Kronos.from_pretrained(settings.start, revision=settings.revision)
    )
    tokenizer = KronosTokenizer.from_pretrained(folder / "tokenizer").requires_grad_(False)
    want, have = tokenizer.config, predictor.config
    if (want.s1_bits, want.s2_bits) != (have.s1_bits, have.s2_bits):
        raise ConfigError(
            f"the tokenizer has {want.s1_bits} + {want.s2_bits} bits but the predictor reads "
            f"{have.s1_bits} + {have.s2_bits}. Choose a predictor that belongs to this tokenizer."
        )
    return PredictorStage(predictor, tokenizer, whole.data.lookback, settings.condition)


def is_main_process() -> bool:
    """Whether this process writes and prints: always, except under torchrun on ranks other than 0."""
    return int(os.environ.get("RANK", "0")) == 0


def load_store(settings: Settings) -> BarStore:
    """The bars that the settings name, resampled and cleaned as they say."""
    return load_clean(settings)[0]


def make_windows(store: BarStore, settings: Settings, split: str) -> Windows:
    """The windows of one split: "train", "val" or "test"."""
    d = settings.data
    ranges = split_ranges(store, d.split)
    stride = d.stride if split == "train" else d.validation_stride
    return Windows(store, ranges[split], d.lookback, d.horizon, stride)


def describe(store: BarStore, windows: Mapping[str, Windows]) -> dict[str, Any]:
    """What was trained on: symbols, rows, and the span and windows of each split."""
    parts = {}
    for name, found in windows.items():
        used = found.ranges[:, 1] > found.ranges[:, 0]
        first = [store.timestamps[lo] for lo in found.ranges[used, 0]]
        last = [store.timestamps[hi - 1] for hi in found.ranges[used, 1]]
        parts[name] = {
            "windows": len(found),
            "rows": int((found.ranges[:, 1] - found.ranges[:, 0]).sum()),
            "first": str(min(first).astype("datetime64[ns]").astype("datetime64[s]")),
            "last": str(max(last).astype("datetime64[ns]").astype("datetime64[s]")),
        }
    return {"symbols": len(store), "rows": store.rows, "splits": parts}


def prepare_folder(folder: Path, settings: Settings, overwrite: bool) -> None:
    """Make the run folder and write config.yaml; ConfigError if an earlier run would be lost."""
    earlier = [name for name in OWN if (folder / name).exists()]
    if overwrite:
        for name in earlier:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif earlier and not any(stage.skip_existing for _, stage in settings.stages()):
        raise ConfigError(
            f"{folder} already holds a run ({', '.join(earlier)}). Choose another folder with --out, replace it with "
            "--overwrite, or keep finished stages with --set tokenizer.skip_existing=true "
            "--set predictor.skip_existing=true."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "config.yaml", settings.to_yaml())
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot write there ({error.strerror}). Choose another folder with --out."
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write beside, then rename."""
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
