"""A run: both stages in order, each from its start to its published checkpoint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from chandler.atomic import atomic_file
from chandler.checkpoint import CONFIG_NAME, WEIGHTS_NAME
from chandler.errors import ConfigError
from chandler.nn.lora import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer
from chandler.places import existing, require_apart
from chandler.training.datasets.batching import derive_seed
from chandler.training.datasets.device_placement import nbytes, place_on_device
from chandler.training.datasets.sources import RunData, data_inputs, load_sources
from chandler.training.engine.checkpoints import CheckpointManager
from chandler.training.engine.distributed import close, make_accelerator, report_lost_processes
from chandler.training.engine.forecast_validation import ForecastScorer
from chandler.training.engine.interrupts import StopRequest, stop_on_signal
from chandler.training.engine.parameters import ParameterSummary, select_parameters
from chandler.training.engine.stages import PredictorStage, TokenizerStage
from chandler.training.engine.trainer import fit
from chandler.training.logging.console import RunProgress
from chandler.training.logging.metrics_log import MetricsLogger, verdict
from chandler.training.logging.trackers import Tracking, accelerate_names, require_trackers
from chandler.training.runs.folder import RUN, STARTS, Run, flattened, prepare_folder, require_folder, write_json
from chandler.training.runs.history import read_mapping
from chandler.training.runs.lineage import RECORD, Known, known, known_of, record_of, write_record
from chandler.training.settings.run import Settings, settings_to_run
from chandler.training.settings.stage import RANDOM, PredictorSettings, ScoringSettings, StageSettings
from chandler.version import __version__

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Run", "finetune", "is_main_process"]


def finetune(
    config: Settings | Mapping[str, Any] | str | Path,
    *,
    overrides: Iterable[str] = (),
    overwrite: bool = False,
    resume: bool = False,
    force: bool = False,
    progress: RunProgress | None = None,
) -> Run:
    """Run both stages as the settings say: the tokenizer first, then the predictor on its frozen tokens.

    Works as one plain process or as one of several under torchrun.

    Args:
        config: settings, a mapping, or the path of a YAML file; one of the reference's CSV pipeline will do.
        overrides: `key.sub=value` texts applied over it.
        overwrite: replace what an earlier run left in the folder.
        resume: go on from what an interrupted run left there (or start, if there is nothing); finished stages stay.
        force: resume although the settings have changed.
        progress: what shows progress; default: bars on a terminal, lines elsewhere.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError: with one message that says what to do.
        Interrupted: by SIGINT or SIGTERM, after the state was saved.
    """
    settings, told = (config, "") if isinstance(config, Settings) else settings_to_run(config, overrides)
    require_trackers(settings.trackers)
    accelerator = make_accelerator(
        settings.device,
        settings.precision,
        accelerate_names(settings.trackers),
        Path(settings.out) / "trackers",
        settings.distributed,
    )
    shown = progress or RunProgress()
    if told and is_main_process():
        shown.note(told)
    try:
        # Dropout seeds torch's global generator; the caller gets its own state back.
        seeded = [accelerator.device] if accelerator.device.type == "cuda" else []
        with torch.random.fork_rng(seeded), stop_on_signal() as stop, report_lost_processes(accelerator):
            run = _finetune(settings, accelerator, shown, stop, overwrite, resume, force)
    finally:
        shown.close()
    # Not after a failure: the others may be anywhere, and torchrun ends them.
    close(accelerator)
    return run


def _finetune(
    settings: Settings,
    accelerator: Accelerator,
    progress: RunProgress,
    stop: StopRequest,
    overwrite: bool,
    resume: bool,
    force: bool,
) -> Run:
    folder = Path(settings.out)
    require_folder(folder, settings, overwrite=overwrite, resume=resume, force=force)
    sources, home = place_on_device(load_sources(settings), settings.data.device, accelerator.device)
    # Every rank reads what an earlier run finished, and opens what it starts from, before rank 0 writes anything new.
    earlier = {} if overwrite else Run(folder).summary.get("stages", {})
    with torch.device("cpu"):  # whatever torch's default is: random weights come from generators of the CPU
        starts = _open_starts(settings, folder, earlier, overwrite=overwrite, resume=resume)
    pasts = _pasts(settings, folder, earlier, overwrite=overwrite, resume=resume)
    read = data_inputs(settings) | {f"{name}.start": existing([one.source]) for name, one in starts.items()}
    require_apart(folder, read, entries=RUN.found(folder))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        prepare_folder(folder, settings, overwrite=overwrite)
    accelerator.wait_for_everyone()
    recorder = MetricsLogger(folder, progress)
    summary: dict[str, Any] = {
        "chandler": __version__,
        "data": sources.describe(),
        "starts": {name: {"start": start, **past.to_dict()} for name, (start, past) in pasts.items()},
        "stages": dict(earlier) if resume else {},
    }
    if sources.cleaned is not None:
        summary["data"]["cleaning"] = sources.cleaned.to_dict()
    summary["forecast"] = {
        "max_context": settings.context(),
        "lookback": settings.data.lookback,
        "dependency_positions": settings.positions(),
    }
    if settings.data.calendar is not None:
        summary["forecast"]["calendar"] = settings.data.calendar
    noted = folder / STARTS
    if accelerator.is_main_process:
        # Until summary.json has them: what stands where a start was may be another model when the run is resumed.
        write_json(noted, summary["starts"])
        for start in {start: None for start, past in pasts.values() if past.unknown}:
            recorder.progress.note(f"{start}: what it was trained on is not on record; an evaluation will say so")
        bars, replay = sources.train.main.store, sources.train.replay
        replayed = f", {sources.train.share:.0%} of each batch replayed from {len(replay):,} others" if replay else ""
        recorder.progress.note(
            f"{len(bars)} symbols, {bars.rows:,} bars; windows of {settings.data.lookback} + "
            f"{settings.data.horizon} bars: {len(sources.train.main):,} to train on{replayed}, "
            f"{len(sources.validation):,} to validate on"
        )
        if home is not None:
            recorder.progress.note(f"windows are cut on {home}: the bars take {nbytes(sources) / 1e9:,.2f} GB there")
        for text in sources.warnings():
            recorder.warn(text)
        if sources.cleaned is not None:
            recorder.progress.note(sources.cleaned.to_text(limit=5))
    with closing(
        Tracking(accelerator, flattened(settings.model_dump(mode="json")), recorder.warn)
    ) as recorder.tracking:
        for number, (name, stage) in enumerate(settings.stages()):
            outcome = _run_stage(
                name, stage, settings, sources, folder, accelerator, recorder, stop, resume, earlier.get(name), number,
                starts.pop(name, None),
            )  # fmt: skip
            summary["stages"][name] = outcome
            if accelerator.is_main_process:
                _record(folder / name, name, stage, known_of(summary["data"]), {n: past for n, (_, past) in pasts.items()},
                        outcome)  # fmt: skip
                write_json(folder / "summary.json", summary)
                noted.unlink(missing_ok=True)
                # Only now: until the summary names its result, an interrupted stage goes on from here.
                CheckpointManager(folder / "checkpoints" / name).clear()
            recorder.tracking.stage_over(int(outcome.get("steps", 0)))
            accelerator.wait_for_everyone()
    return Run(folder)


def _run_stage(
    name: str,
    settings: StageSettings,
    whole: Settings,
    sources: RunData,
    folder: Path,
    accelerator: Accelerator,
    recorder: MetricsLogger,
    stop: StopRequest,
    resume: bool,
    earlier: dict[str, Any] | None,
    seed_part: int,
    start: _Start | None,
) -> dict[str, Any]:
    """One stage from start to published checkpoint; what happened, for summary.json."""
    main = accelerator.is_main_process
    result_folder = folder / name
    if _is_kept(settings, result_folder, earlier, resume):
        if main:
            recorder.progress.note(f"{name}: kept the result of an earlier run ({result_folder})")
        return earlier if earlier and resume else {**(earlier or {"status": "unknown"}), "reused": True}
    if not settings.enabled and name == "predictor":
        if main:
            recorder.progress.note("predictor: switched off")
        return {"status": "off"}
    assert start is not None
    seed = derive_seed(whole.seed, seed_part)
    stage = _make_stage(start.model, settings, whole, folder)
    if start.trained is None:
        if main:
            stage.model.save_pretrained(result_folder)
            recorder.progress.note(f"{name}: switched off, {settings.start} is used as it is")
        return {"status": "off", "start": settings.start}
    trained = start.trained
    if main:
        recorder.progress.note(f"{name}: {trained}")
    keeper = CheckpointManager(folder / "checkpoints" / name)
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
        exam=_make_exam(stage, settings, whole, sources, accelerator, derive_seed(seed, 0, 0, 4)),
        volume_dropped=whole.data.drop_volume,
        log_every=whole.log_every,
        resume=resume,
        stop=stop,
        distributed=whole.distributed,
    )
    if main:
        best = keeper.best(result.best_step)
        type(stage.model).from_pretrained(best).save_pretrained(result_folder)
        if trained.adapters:
            for file in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
                with atomic_file(folder / "adapters" / name / file) as scratch:
                    shutil.copyfile(best / file, scratch)
    return {
        "status": "improved" if result.improved else "kept_start",
        "start": settings.start,
        **trained.to_dict(),
        "verdict": verdict(name, result),
        **{("start_score" if k == "start" else k): v for k, v in result.to_dict().items()},
    }


@dataclass(frozen=True)
class _Start:
    """What a stage starts from, opened before anything is written."""

    source: str
    model: Any
    trained: ParameterSummary | None
    """None: the stage is switched off, the model is used as it is."""


def _open_starts(
    settings: Settings, folder: Path, earlier: Mapping[str, Any], *, overwrite: bool, resume: bool
) -> dict[str, _Start]:
    """The starting weights of the stages that will run, chosen parts unfrozen.

    Raises:
        CheckpointError: one cannot be loaded. ConfigError: they do not belong together, or nothing is trained.
    """
    starts: dict[str, _Start] = {}
    for number, (name, stage) in enumerate(settings.stages()):
        kept = not overwrite and _is_kept(stage, folder / name, earlier.get(name), resume)
        if kept or (not stage.enabled and name == "predictor"):
            continue
        seed = derive_seed(settings.seed, number)
        build: Any = KronosTokenizer if name == "tokenizer" else Kronos
        if stage.start == RANDOM:
            generator = torch.Generator().manual_seed(derive_seed(seed, 0))
            model = build(stage.random_config(), generator=generator)
        else:
            model = build.from_pretrained(stage.start, revision=stage.revision)
        if name == "predictor":
            held = starts.get("tokenizer")
            _require_pair(held.model if held else KronosTokenizer.from_pretrained(folder / "tokenizer"), model)
        drawn = torch.Generator().manual_seed(derive_seed(seed, 1))
        trained = select_parameters(model, name, stage, drawn) if stage.enabled else None
        starts[name] = _Start(stage.start, model, trained)
    return starts


def _pasts(
    settings: Settings, folder: Path, earlier: Mapping[str, Any], *, overwrite: bool, resume: bool
) -> dict[str, tuple[str, Known]]:
    """By stage, what it starts from and what those weights know; of a run that goes on, what it wrote down at first."""
    written = (Run(folder).summary.get("starts") or read_mapping(folder / STARTS)) if resume and not overwrite else {}
    found = {}
    for name, stage in settings.stages():
        if not stage.enabled and name == "predictor":
            continue
        if written.get(name, {}).get("start") == stage.start:
            found[name] = stage.start, record_of(written[name])
            continue
        kept = not overwrite and _is_kept(stage, folder / name, earlier.get(name), resume)
        start = str(folder / name) if kept else stage.start
        found[name] = start, known(start)
    return found


def _record(
    checkpoint: Path,
    name: str,
    stage: StageSettings,
    own: Known,
    pasts: Mapping[str, Known],
    outcome: Mapping[str, Any],
) -> None:
    """What a stage's result knows, beside its weights."""
    if name not in pasts or ((checkpoint / RECORD).is_file() and outcome.get("reused")):
        return
    knows = pasts[name] if outcome.get("reused") or not stage.enabled else pasts[name] | own
    # A predictor has learned the tokens of its tokenizer.
    write_record(checkpoint, knows | pasts["tokenizer"] if name == "predictor" else knows)


def _is_kept(settings: StageSettings, result: Path, earlier: Any, resume: bool) -> bool:
    """Whether a stage's finished result in the run folder stays."""
    existing = all((result / file).is_file() for file in (CONFIG_NAME, WEIGHTS_NAME))
    return existing and (settings.skip_existing or (resume and bool(earlier)))


def _require_pair(tokenizer: KronosTokenizer, predictor: Kronos) -> None:
    want, have = tokenizer.config, predictor.config
    if (want.s1_bits, want.s2_bits) != (have.s1_bits, have.s2_bits):
        raise ConfigError(
            f"the tokenizer has {want.s1_bits} + {want.s2_bits} bits but the predictor reads "
            f"{have.s1_bits} + {have.s2_bits}. Choose a predictor that belongs to this tokenizer."
        )


def _make_stage(model: Any, settings: StageSettings, whole: Settings, folder: Path) -> Any:
    if not isinstance(settings, PredictorSettings):
        return TokenizerStage(model)
    tokenizer = KronosTokenizer.from_pretrained(folder / "tokenizer").requires_grad_(False)
    return PredictorStage(model, tokenizer, whole.data.lookback, settings.condition, settings.loss)


def _make_exam(
    stage: Any, settings: StageSettings, whole: Settings, sources: RunData, accelerator: Accelerator, seed: int
) -> ForecastScorer | None:
    """What a predictor's forecasts are asked in validation; None where nobody asked for scores."""
    if not isinstance(settings, PredictorSettings) or (settings.scoring is None and settings.promote_on == "loss"):
        return None
    part = accelerator.process_index, accelerator.num_processes
    scoring = settings.scoring or ScoringSettings()
    return ForecastScorer(sources.validation, stage.tokenizer, whole.context(), scoring, whole.positions(), seed, part)


def is_main_process() -> bool:
    """Whether this process writes and prints: always, except under torchrun on ranks other than 0."""
    return int(os.environ.get("RANK", "0")) == 0
