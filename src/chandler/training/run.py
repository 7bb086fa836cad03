"""A run: both stages in order, each from its start to its published checkpoint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import chandler
from chandler.atomic import replacing_folder
from chandler.checkpoint import CONFIG_NAME, WEIGHTS_NAME
from chandler.errors import ConfigError
from chandler.nn.lora import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer
from chandler.training.config import Settings, settings_to_run
from chandler.training.distributed import close, make_accelerator, telling_of_lost_processes
from chandler.training.exam import Exam
from chandler.training.folder import Run, flattened, prepare_folder, write_json
from chandler.training.loop import fit
from chandler.training.plan import derive_seed
from chandler.training.progress import Progress
from chandler.training.recorder import Recorder, verdict
from chandler.training.residence import footprint, settle
from chandler.training.signals import StopRequest, stop_on_signal
from chandler.training.sources import Sources, load_sources
from chandler.training.stage_settings import RANDOM, PredictorSettings, ScoringSettings, StageSettings
from chandler.training.stages import PredictorStage, TokenizerStage
from chandler.training.state import Keeper
from chandler.training.tracking import Tracking, accelerate_names, require_trackers
from chandler.training.trainable import choose_trained

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
    progress: Progress | None = None,
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
    shown = progress or Progress()
    if told and is_main_process():
        shown.note(told)
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
    sources, home = settle(load_sources(settings), settings.data.device, accelerator.device)
    if accelerator.is_main_process:
        prepare_folder(folder, settings, overwrite=overwrite, resume=resume, force=force)
    accelerator.wait_for_everyone()
    # Every rank reads what an earlier run finished before rank 0 writes anything new.
    earlier = Run(folder).summary.get("stages", {})
    accelerator.wait_for_everyone()
    recorder = Recorder(folder, progress)
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
    if settings.data.calendar is not None:
        summary["forecast"]["calendar"] = settings.data.calendar
    if accelerator.is_main_process:
        bars, replay = sources.train.main.store, sources.train.replay
        replayed = f", {sources.train.share:.0%} of each batch replayed from {len(replay):,} others" if replay else ""
        recorder.progress.note(
            f"{len(bars)} symbols, {bars.rows:,} bars; windows of {settings.data.lookback} + "
            f"{settings.data.horizon} bars: {len(sources.train.main):,} to train on{replayed}, "
            f"{len(sources.validation):,} to validate on"
        )
        if home is not None:
            recorder.progress.note(f"windows are cut on {home}: the bars take {footprint(sources) / 1e9:,.2f} GB there")
        for text in sources.warnings():
            recorder.warn(text)
        if sources.cleaned is not None:
            recorder.progress.note(sources.cleaned.to_text(limit=5))
    with closing(
        Tracking(accelerator, flattened(settings.model_dump(mode="json")), recorder.warn)
    ) as recorder.tracking:
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
    recorder: Recorder,
    stop: StopRequest,
    resume: bool,
    earlier: dict[str, Any] | None,
    seed_part: int,
) -> dict[str, Any]:
    """One stage from start to published checkpoint; what happened, for summary.json."""
    main = accelerator.is_main_process
    result_folder = folder / name
    existing = all((result_folder / file).is_file() for file in (CONFIG_NAME, WEIGHTS_NAME))
    if existing and (settings.skip_existing or (resume and earlier)):
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
            with replacing_folder(folder / "adapters" / name) as scratch:
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


def _make_exam(
    stage: Any, settings: StageSettings, whole: Settings, sources: Sources, accelerator: Accelerator, seed: int
) -> Exam | None:
    """What a predictor's forecasts are asked in validation; None where nobody asked for scores."""
    if not isinstance(settings, PredictorSettings) or (settings.scoring is None and settings.promote_on == "loss"):
        return None
    part = accelerator.process_index, accelerator.num_processes
    scoring = settings.scoring or ScoringSettings()
    return Exam(sources.validation, stage.tokenizer, whole.context(), scoring, whole.positions(), seed, part)


def is_main_process() -> bool:
    """Whether this process writes and prints: always, except under torchrun on ranks other than 0."""
    return int(os.environ.get("RANK", "0")) == 0
