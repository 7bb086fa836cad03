"""A run: both stages in order, and the folder that keeps their settings, metrics, checkpoints and summary."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import chandler
from chandler.checkpoint import WEIGHTS_NAME, replacing
from chandler.errors import ConfigError
from chandler.nn.lora import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer
from chandler.training.config import RANDOM, PredictorSettings, Settings, StageSettings, load_settings
from chandler.training.distributed import close, make_accelerator, telling_of_lost_processes
from chandler.training.loop import StageResult, fit
from chandler.training.plan import derive_seed
from chandler.training.progress import Progress
from chandler.training.signals import StopRequest, stop_on_signal
from chandler.training.sources import Sources, load_sources
from chandler.training.stages import PredictorStage, TokenizerStage
from chandler.training.state import Keeper
from chandler.training.tracking import Tracking, accelerate_names, require_trackers
from chandler.training.trainable import choose_trained

if TYPE_CHECKING:
    from accelerate import Accelerator

STAGES = ("tokenizer", "predictor")
OWN = ("config.yaml", "metrics.jsonl", "summary.json", "report.html", "checkpoints", "adapters", "trackers", *STAGES)
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
    """Listens to the loop: writes metrics into the folder, passes them to trackers, shows progress."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder, self.progress = folder, progress
        self.tracking: Tracking | None = None

    def _append(self, record: dict[str, Any]) -> None:
        with (self.folder / "metrics.jsonl").open("a") as handle:
            handle.write(json.dumps({**record, "time": round(time.time(), 3)}) + "\n")
        if self.tracking is not None:
            self.tracking.log(record)

    def begin(self, stage: str, *, epochs: int, steps: int, windows: int, done: int) -> None:
        self._forget_after(stage, done if done else -1)
        self.progress.begin(stage, epochs=epochs, steps=steps, windows=windows, done=done)

    def _forget_after(self, stage: str, step: int) -> None:
        """Drop records of steps that a resumed stage is going to take again; they were written after its state."""
        path = self.folder / "metrics.jsonl"
        if path.is_file():
            kept = []
            for line in path.read_text().splitlines():
                try:
                    record = json.loads(line)
                except ValueError:
                    continue  # half a line, written as the process died
                if record["stage"] != stage or record["step"] <= step:
                    kept.append(line + "\n")
            write_text(path, "".join(kept))

    def train(self, record: dict[str, Any]) -> None:
        self._append(record)
        self.progress.train(record)

    def validating(self, done: int, total: int) -> None:
        self.progress.validating(done, total)

    def validation(self, record: dict[str, Any]) -> None:
        self._append(record)
        self.progress.validation(record)

    def warn(self, text: str) -> None:
        self.progress.note(f"warning: {text}")

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
    text += " (stopped early: patience)" if result.stopped_early else ""
    if result.replay_start is not None and result.replay_best is not None:
        loss = result.replay_best - result.replay_start
        text += f"; on the replayed bars {result.replay_start:.5g} -> {result.replay_best:.5g}"
        text += f", {loss:.3g} forgotten" if loss > 0 else ", nothing forgotten"
    return text + "."


def finetune(
    config: Settings | Mapping[str, Any] | str | Path,
    *,
    overrides: Iterable[str] = (),
    overwrite: bool = False,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Run both stages as the settings say: the tokenizer first, then the predictor on its frozen tokens.

    Works as one plain process or as one of several under torchrun.

    Args:
        config: settings, a mapping, or the path of a YAML file.
        overrides: `key.sub=value` texts applied over it.
        overwrite: replace what an earlier run left in the folder.
        resume: go on from what an interrupted run left there (or start, if there is nothing); finished stages stay.
        force: resume although the settings have changed.
        progress: what shows progress; default: bars on a terminal, lines elsewhere.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError: with one message that says what to do.
        Interrupted: by SIGINT or SIGTERM, after the state was saved.
    """
    settings = config if isinstance(config, Settings) else load_settings(config, overrides)
    require_trackers(settings.trackers)
    accelerator = make_accelerator(
        settings.device,
        settings.precision,
        accelerate_names(settings.trackers),
        Path(settings.out) / "trackers",
    )
    shown = progress or Progress()
    try:
        # Dropout seeds torch's global generator; the caller gets its own state back.
        with torch.random.fork_rng(), stop_on_signal() as stop, telling_of_lost_processes(accelerator):
            run = _finetune(settings, accelerator, shown, stop, overwrite, resume, force)
    finally:
        shown.close()
    # Not after a failure: the others may be anywhere, and torchrun ends them.
    close(accelerator)
    return run


def _finetune(
    settings: Settings,
    accelerator: Accelerator,
    progress: Progress,
    stop: StopRequest,
    overwrite: bool,
    resume: bool,
    force: bool,
) -> Run:
    folder = Path(settings.out)
    sources = load_sources(settings)
    if accelerator.is_main_process:
        prepare_folder(folder, settings, overwrite=overwrite, resume=resume, force=force)
    accelerator.wait_for_everyone()
    # Every rank reads what an earlier run finished before rank 0 writes anything new.
    earlier = Run(folder).summary.get("stages", {})
    accelerator.wait_for_everyone()
    recorder = _Recorder(folder, progress)
    summary: dict[str, Any] = {
        "chandler": chandler.__version__,
        "data": sources.describe(),
        "stages": dict(earlier) if resume else {},
    }
    if sources.cleaned is not None:
        summary["data"]["cleaning"] = sources.cleaned.to_dict()
    summary["forecast"] = {
        "max_context": settings.context(),
        "lookback": settings.data.lookback,
        "dependency_positions": settings.positions(),
    }
    if accelerator.is_main_process:
        bars, replay = sources.train.main.store, sources.train.replay
        replayed = f", {sources.train.share:.0%} of each batch replayed from {len(replay):,} others" if replay else ""
        recorder.progress.note(
            f"{len(bars)} symbols, {bars.rows:,} bars; windows of {settings.data.lookback} + "
            f"{settings.data.horizon} bars: {len(sources.train.main):,} to train on{replayed}, "
            f"{len(sources.validation):,} to validate on"
        )
        for text in sources.warnings():
            recorder.warn(text)
        if sources.cleaned is not None:
            recorder.progress.note(sources.cleaned.to_text(limit=5))
    with closing(Tracking(accelerator, _flat(settings.model_dump(mode="json")), recorder.warn)) as recorder.tracking:
        for number, (name, stage) in enumerate(settings.stages()):
            outcome = _run_stage(
                name, stage, settings, sources, folder, accelerator, recorder, stop, resume, earlier.get(name), number
            )
            summary["stages"][name] = outcome
            if accelerator.is_main_process:
                write_json(folder / "summary.json", summary)
                # Only now: until the summary names its result, an interrupted stage goes on from here.
                shutil.rmtree(folder / "checkpoints" / name, ignore_errors=True)
            recorder.tracking.stage_over(int(outcome.get("steps", 0)))
            accelerator.wait_for_everyone()
    return Run(folder)


def _run_stage(
    name: str,
    settings: StageSettings,
    whole: Settings,
    sources: Sources,
    folder: Path,
    accelerator: Accelerator,
    recorder: _Recorder,
    stop: StopRequest,
    resume: bool,
    earlier: dict[str, Any] | None,
    seed_part: int,
) -> dict[str, Any]:
    """One stage from start to published checkpoint; what happened, for summary.json."""
    main = accelerator.is_main_process
    result_folder = folder / name
    if (settings.skip_existing or (resume and earlier)) and (result_folder / WEIGHTS_NAME).is_file():
        if main:
            recorder.progress.note(f"{name}: kept the result of an earlier run ({result_folder})")
        return earlier if earlier and resume else {**(earlier or {"status": "unknown"}), "reused": True}
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
    trained = choose_trained(stage.model, name, settings, torch.Generator().manual_seed(derive_seed(seed, 1)))
    if main:
        recorder.progress.note(f"{name}: {trained}")
    keeper = Keeper(folder / "checkpoints" / name)
    result = fit(
        stage,
        sources.train,
        sources.validation,
        settings,
        accelerator=accelerator,
        listener=recorder,
        keeper=keeper,
        seed=seed,
        replay_validation=sources.replay_validation,
        volume_dropped=whole.data.drop_volume,
        log_every=whole.log_every,
        resume=resume,
        stop=stop,
    )
    if main:
        best = keeper.best(result.best_step)
        type(stage.model).from_pretrained(best).save_pretrained(result_folder)
        if trained.adapters:
            with replacing(folder / "adapters" / name) as scratch:
                for file in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
                    shutil.copy(best / file, scratch / file)
    return {
        "status": "improved" if result.improved else "kept_start",
        "start": settings.start,
        **trained.to_dict(),
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
    return PredictorStage(predictor, tokenizer, whole.data.lookback, settings.condition, settings.loss)


def is_main_process() -> bool:
    """Whether this process writes and prints: always, except under torchrun on ranks other than 0."""
    return int(os.environ.get("RANK", "0")) == 0


def prepare_folder(folder: Path, settings: Settings, *, overwrite: bool, resume: bool, force: bool) -> None:
    """Make the run folder and write config.yaml; ConfigError if an earlier run would be lost or was another one."""
    earlier = [name for name in OWN if (folder / name).exists()]
    if overwrite:
        for name in earlier:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif resume:
        if (folder / "config.yaml").is_file() and not force:
            changed = changed_keys(Run(folder).settings, settings)
            if changed:
                raise ConfigError(
                    f"{folder} was started with other settings: {'; '.join(changed)}. Undo the changes, start anew in "
                    "another folder with --out, or go on all the same with --resume --force."
                )
    elif earlier and not any(stage.skip_existing for _, stage in settings.stages()):
        raise ConfigError(
            f"{folder} already holds a run ({', '.join(earlier)}). Go on with --resume, choose another folder with "
            "--out, replace it with --overwrite, or keep finished stages with --set tokenizer.skip_existing=true "
            "--set predictor.skip_existing=true."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "config.yaml", settings.to_yaml())
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot write there ({error.strerror}). Choose another folder with --out."
        ) from error


def changed_keys(old: Settings, new: Settings) -> list[str]:
    """ "predictor.epochs 30 -> 20" for each setting that differs; where the run lies and runs does not matter."""
    a, b = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    keys = sorted((a.keys() | b.keys()) - {"out", "device", "trackers"})
    return [f"{key} {a.get(key)} -> {b.get(key)}" for key in keys if a.get(key) != b.get(key)]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


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
