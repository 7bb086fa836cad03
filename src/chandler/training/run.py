"""A run: both stages in order, each from its start to its published checkpoint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from chandler.atomic import atomic_file
from chandler.checkpoint import EXPOSURE_NAME
from chandler.data import note_lines
from chandler.errors import CheckpointError, ConfigError
from chandler.forecasting import SIGNAL, Forecaster, SignalHead
from chandler.nn import ADAPTER_CONFIG, ADAPTER_WEIGHTS, Kronos, KronosTokenizer
from chandler.places import existing, require_apart
from chandler.text import count
from chandler.training import engine, runs
from chandler.training.datasets import RunData, data_inputs, derive_seed, load_sources, nbytes, place_on_device
from chandler.training.logging import MetricsLogger, RunProgress, Tracking, require_trackers, verdict
from chandler.training.resuming import (
    require_same_bars,
    require_same_kept,
    require_same_start,
    require_steps,
    without_effect,
)
from chandler.training.runs import Known, Run
from chandler.training.settings import (
    RANDOM,
    PredictorSettings,
    ScoringSettings,
    Settings,
    SignalSettings,
    TokenizerSettings,
    leaves_bars,
    settings_to_run,
)
from chandler.training.signal import fit_signal, plan_signal, signal_lookback, split_moments
from chandler.version import __version__

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Run", "finetune", "is_main_process"]

_KEPT, _OFF = "kept the result of an earlier run ({})", "switched off"


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

    Works as one plain process or as one of several under torchrun. There a signal head is rank 0's: the others are done before.

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
    accelerator = engine.make_accelerator(
        settings.device,
        settings.precision,
        settings.trackers,
        Path(settings.out) / "trackers",
        settings.distributed,
    )
    shown = progress or RunProgress()
    if told and is_main_process():
        shown.note(told)
    try:
        # Dropout seeds torch's global generator; the caller gets its own state back.
        seeded = [accelerator.device] if accelerator.device.type == "cuda" else []
        with torch.random.fork_rng(seeded), engine.stop_on_signal() as stop, engine.report_lost_processes(accelerator):
            run = _finetune(settings, accelerator, shown, stop, overwrite, resume and not overwrite, force)
    finally:
        shown.close()
    return run


def _finetune(
    settings: Settings,
    accelerator: Accelerator,
    progress: RunProgress,
    stop: engine.StopRequest,
    overwrite: bool,
    resume: bool,
    force: bool,
) -> Run:
    folder = Path(settings.out)
    engine.require_ways(settings, accelerator)
    runs.require_folder(folder, settings, overwrite=overwrite, resume=resume, force=force)
    data, home = place_on_device(load_sources(settings), settings.data.device, accelerator.device)
    described = data.describe()
    if resume:
        require_same_bars(folder, described, force=force)
    # Every rank reads what an earlier run finished, and opens what it starts from, before rank 0 writes anything new.
    stages = _open_stages(settings, folder, overwrite=overwrite, resume=resume)
    opened = {f"{stage.name}.start": existing([stage.settings.start]) for stage in stages if stage.model is not None}
    require_apart(folder, data_inputs(settings) | opened, entries=runs.RUN.found(folder))
    if settings.signal.enabled:  # too few dates are said before the hours
        wanted = _signal_settings(settings, data)
        seen = signal_lookback(wanted, settings.data.lookback, settings.context())
        plan_signal(data.train.main.store, wanted, seen, force=True)
    idle: list[str] = []
    # Nothing to train, and all of it on record: the record stays as well.
    whole = not resume and all(one.model is None and (one.earlier or not one.kept) for one in stages)
    if not resume:
        require_same_kept(folder, settings, described, [stage.name for stage in stages if stage.kept], whole=whole)
    else:
        require_same_start(folder, settings, {stage.name: stage.identity.get("weights") for stage in stages})
        require_steps(folder, settings, data, accelerator.num_processes)
        idle = without_effect(folder, settings, [stage.name for stage in stages if stage.kept])
    if whole and not settings.signal.enabled:
        for stage in stages if accelerator.is_main_process else ():
            progress.note(f"{stage.name}: {_KEPT.format(folder / stage.name) if stage.kept else _OFF}")
        engine.close(accelerator)
        return Run(folder)
    before = {} if overwrite or resume else Run(folder).summary
    noted = before.get("starts") or runs.read_mapping(folder / runs.STARTS)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        runs.prepare_folder(folder, settings, overwrite=overwrite)
    accelerator.wait_for_everyone()
    pasts = {stage.name: stage.past for stage in stages if stage.past is not None}
    summary: dict[str, Any] = {
        "chandler": __version__,
        "data": described,
        "starts": {
            # What stays began as it was told then.
            stage.name: (noted.get(stage.name) if stage.kept and not resume else None)
            or {"start": stage.origin, **stage.identity, **stage.past.to_dict()}
            for stage in stages
            if stage.past is not None
        },
        "stages": {stage.name: stage.earlier for stage in stages if resume and stage.earlier is not None},
        "forecast": _forecast_settings(settings),
        "precision": engine.precision_of(accelerator),
        **(before if whole else {}),
    }
    if accelerator.is_main_process:
        # Until summary.json has them: where a start and bars were there may be others when the run is resumed.
        with runs.writing(folder / runs.STARTS):
            runs.write_json(folder / runs.STARTS, {**summary["starts"], "data": described})
        progress.note(f"computed on {accelerator.device} in {summary['precision']}")
        _announce(progress, settings, data, stages, home)
        for text in idle:
            progress.on_warning(text)
    plain = runs.flattened(settings.model_dump(mode="json"))
    with closing(Tracking(accelerator, plain, progress.on_warning)) as tracking:
        callbacks = [MetricsLogger(folder), tracking, progress]
        context = engine.RunContext(settings, data, accelerator, callbacks, stop, resume)
        while stages:
            stage = stages.pop(0)
            outcome = _run_stage(stage, context, folder, progress)
            summary["stages"][stage.name] = outcome
            if accelerator.is_main_process:
                with runs.writing(folder / stage.name / EXPOSURE_NAME):
                    _record(folder / stage.name, stage, runs.known_of(summary["data"]), pasts, outcome)
                with runs.writing(folder / "summary.json"):
                    runs.write_json(folder / "summary.json", summary)
                (folder / runs.STARTS).unlink(missing_ok=True)
                # Only now: until the summary names its result, an interrupted stage goes on from here.
                engine.CheckpointManager(folder / "checkpoints" / stage.name).clear()
            tracking.stage_over(int(outcome.get("steps", 0)))
            accelerator.wait_for_everyone()
        # In step, and before a head is fitted: for rank 0 alone that takes longer than the others of a group would wait. Not after
        # a failure: the others may be anywhere, and torchrun ends them.
        engine.close(accelerator)
        if settings.signal.enabled and accelerator.is_main_process:
            summary["signal"] = _fit_signal(folder, context, progress)
            with runs.writing(folder / "summary.json"):
                runs.write_json(folder / "summary.json", summary)
    return Run(folder)


@dataclass(frozen=True)
class _StageStart:
    """A stage as it is found before anything is written: what it starts from, or which result of it stays."""

    name: str
    settings: TokenizerSettings | PredictorSettings
    seed: int
    earlier: dict[str, Any] | None
    """What the summary of an earlier run in the folder says of it."""
    kept: bool
    """Whether its finished result in the folder stays."""
    origin: str
    past: Known | None
    """What the weights at `origin` know; None of a predictor that is switched off."""
    identity: Mapping[str, str]
    """Which weights these are, as far as that is known."""
    model: Any
    """The starting weights, chosen parts unfrozen; None where nothing is to be done."""
    trained: engine.ParameterSummary | None
    """None: the model is used as it is."""


def _open_stages(settings: Settings, folder: Path, *, overwrite: bool, resume: bool) -> list[_StageStart]:
    """Both stages, held against what an earlier run left in the folder.

    Raises:
        CheckpointError: a start cannot be loaded. ConfigError: they do not belong together, or nothing is trained.
    """
    summary = {} if overwrite else Run(folder).summary
    # Of a run that goes on: what it wrote down at first.
    written = (summary.get("starts") or runs.read_mapping(folder / runs.STARTS)) if resume else {}
    found: list[_StageStart] = []
    for number, (name, stage) in enumerate(settings.stages()):
        earlier, seed = summary.get("stages", {}).get(name), derive_seed(settings.seed, number)
        kept = runs.has_result(folder, name) and not overwrite and (stage.skip_existing or (resume and bool(earlier)))
        is_off = not stage.enabled and name == "predictor"
        model = trained = None
        if not (kept or is_off):
            with torch.device("cpu"):  # whatever torch's default is: random weights come from generators of the CPU
                model = _open_model(name, stage, seed)
                if name == "predictor":
                    ours = found[0].model
                    _require_pair(
                        KronosTokenizer.from_pretrained(folder / "tokenizer") if ours is None else ours, model
                    )
                if stage.enabled:
                    drawn = torch.Generator().manual_seed(derive_seed(seed, 1))
                    trained = engine.select_parameters(model, name, stage, drawn)
        origin, past = str(folder / name) if kept else stage.start, None
        identity = runs.identity(folder / name if kept else getattr(model, "loaded_from", None))
        if written.get(name, {}).get("start") == stage.start:
            origin, past = stage.start, runs.record_of(written[name])
            identity = {key: written[name][key] for key in ("weights", "commit") if key in written[name]}
        past = None if is_off else past or runs.known(origin)
        found.append(_StageStart(name, stage, seed, earlier, kept, origin, past, identity, model, trained))
    return found


def _open_model(name: str, settings: TokenizerSettings | PredictorSettings, seed: int) -> Any:
    kind: Any = KronosTokenizer if name == "tokenizer" else Kronos
    if settings.start == RANDOM:
        generator = torch.Generator().manual_seed(derive_seed(seed, 0))
        return kind(settings.random_config(), generator=generator)
    return kind.from_pretrained(settings.start, revision=settings.revision)


def _require_pair(tokenizer: KronosTokenizer, predictor: Kronos) -> None:
    want, have = tokenizer.config, predictor.config
    if (want.s1_bits, want.s2_bits) != (have.s1_bits, have.s2_bits):
        raise ConfigError(
            f"the tokenizer has {want.s1_bits} + {want.s2_bits} bits but the predictor reads "
            f"{have.s1_bits} + {have.s2_bits}. Choose a predictor that belongs to this tokenizer."
        )


def _forecast_settings(settings: Settings) -> dict[str, Any]:
    """What the finished model forecasts with unless it is told otherwise."""
    found = {
        "max_context": settings.context(),
        "lookback": settings.data.lookback,
        "dependency_positions": settings.positions(),
    }
    return found if settings.data.calendar is None else {**found, "calendar": settings.data.calendar}


def _announce(
    progress: RunProgress, settings: Settings, data: RunData, stages: Iterable[_StageStart], home: torch.device | None
) -> None:
    """Say what is trained on, and what a person should know of it."""
    for start in {stage.origin: None for stage in stages if stage.past is not None and stage.past.unknown}:
        progress.note(f"{start}: what it was trained on is not on record; an evaluation will say so")
    bars, replay = data.train.main.store, data.train.replay
    replayed = f", {data.train.share:.0%} of each batch replayed from {len(replay):,} others" if replay else ""
    progress.note(
        f"{count(len(bars), 'symbol')}, {bars.rows:,} bars; windows of {settings.data.lookback} + "
        f"{settings.data.horizon} bars: {len(data.train.main):,} to train on{replayed}, "
        f"{len(data.validation):,} to validate on"
    )
    if home is not None:
        progress.note(f"windows are cut on {home}: the bars take {nbytes(data) / 1e9:,.2f} GB there")
    for line in note_lines(data.findings, bars.skipped):
        progress.note(line)
    if not leaves_bars(settings.data.split):
        progress.note(
            "validation takes these bars to their end: to evaluate the result, keep a test part (data.split={train: 0.8, val: 0.1, "
            "test: 0.1}) or take later bars"
        )
    for text in (*settings.context_warnings(), *data.warnings()):
        progress.on_warning(text)
    if data.cleaned is not None:
        progress.note(data.cleaned.to_text(limit=5))


def _run_stage(start: _StageStart, run: engine.RunContext, folder: Path, progress: RunProgress) -> dict[str, Any]:
    """One stage from start to published checkpoint; what happened, for summary.json."""
    name, settings, earlier, result = start.name, start.settings, start.earlier, folder / start.name
    is_main = run.accelerator.is_main_process

    def note(text: str) -> None:
        if is_main:
            progress.note(f"{name}: {text}")

    if start.kept:
        note(_KEPT.format(result))
        return earlier if earlier and run.resume else {**(earlier or {"status": "unknown"}), "reused": True}
    if start.model is None:
        note(_OFF)
        return {"status": "off"}
    if start.trained is None:
        if is_main:
            with runs.writing(result):
                start.model.save_pretrained(result)
        note(f"switched off, {settings.start} is used as it is")
        return {"status": "off", "start": settings.start}
    note(str(start.trained))
    checkpoints = engine.CheckpointManager(folder / "checkpoints" / name)
    stage: Any = engine.TokenizerStage(start.model)
    scorer = None
    if isinstance(settings, PredictorSettings):
        tokenizer = KronosTokenizer.from_pretrained(folder / "tokenizer").requires_grad_(False)
        lookback = run.settings.data.lookback
        stage = engine.PredictorStage(
            start.model, tokenizer, lookback, settings.condition, settings.loss, noise=settings.token_noise
        )
        scorer = _make_scorer(tokenizer, settings, run, derive_seed(start.seed, 0, 0, 4))
    outcome = engine.Trainer(stage, settings, run, checkpoints, start.seed, scorer).fit()
    if is_main:
        best = checkpoints.best(outcome.best_step)
        model = type(stage.model).from_pretrained(best)
        with runs.writing(result):
            model.save_pretrained(result)
        for file in (ADAPTER_CONFIG, ADAPTER_WEIGHTS) if start.trained.adapters else ():
            with runs.writing(path := folder / "adapters" / name / file), atomic_file(path) as scratch:
                shutil.copyfile(best / file, scratch)
    return {
        "status": "improved" if outcome.improved else "kept_start",
        "start": settings.start,
        **start.trained.to_dict(),
        "verdict": verdict(name, outcome),
        **{("start_score" if k == "start" else k): v for k, v in outcome.to_dict().items()},
    }


def _signal_settings(settings: Settings, data: RunData) -> SignalSettings:
    """Those of the run's signal head: along its own split and horizon unless they say otherwise."""
    own = {"horizon": settings.data.horizon, **split_moments(data.train.main.store, settings.data.split)}
    return SignalSettings(**{**own, **settings.signal.model_dump(exclude_defaults=True, exclude_none=True)})


def _fit_signal(folder: Path, run: engine.RunContext, progress: RunProgress) -> dict[str, Any]:
    """A signal head on the finished models; what it amounts to, for summary.json."""
    forecaster = Forecaster.from_pretrained(folder, device=run.accelerator.device)
    wanted = _signal_settings(run.settings, run.data)
    if run.resume and SIGNAL.is_at(folder):
        with suppress(CheckpointError):
            head = SignalHead.load(folder)
            head.require(forecaster)
            if head.about.get("settings") == wanted.model_dump(mode="json"):
                progress.note("signal: kept the head of an earlier run")
                return {"verdict": head.about.get("verdict"), "scores": head.about.get("scores")}
    store = run.data.train.main.store

    def leave() -> None:
        if run.stop.signal:
            raise engine.Interrupted(
                "Stopped. Both stages are finished, the signal head is not.", 128 + run.stop.signal
            )

    # By the run's own split: what the stages have seen of the test is said in the notes.
    made = fit_signal(forecaster, store, wanted, known=runs.known(folder), force=True, progress=progress, between=leave)
    with runs.writing(folder / "signal"):
        made.head.save(folder)
    for line in made.to_text().splitlines():
        progress.note(f"signal: {line}")
    return {"verdict": made.verdict, "scores": made.head.about["scores"]}


def _make_scorer(
    tokenizer: KronosTokenizer, settings: PredictorSettings, run: engine.RunContext, seed: int
) -> engine.ForecastScorer | None:
    """What a predictor's forecasts are asked in validation; None where nobody asked for scores."""
    if settings.scoring is None and settings.promote_on == "loss":
        return None
    part = run.accelerator.process_index, run.accelerator.num_processes
    scoring, whole = settings.scoring or ScoringSettings(), run.settings
    return engine.ForecastScorer(
        run.data.validation, tokenizer, whole.context(), scoring, whole.positions(), seed, part
    )


def _record(
    checkpoint: Path, stage: _StageStart, own: Known, pasts: Mapping[str, Known], outcome: Mapping[str, Any]
) -> None:
    """What a stage's result knows, beside its weights."""
    if stage.past is None or ((checkpoint / EXPOSURE_NAME).is_file() and outcome.get("reused")):
        return
    knows = stage.past if outcome.get("reused") or not stage.settings.enabled else stage.past | own
    # A predictor has learned the tokens of its tokenizer.
    runs.write_record(checkpoint, knows | pasts["tokenizer"] if stage.name == "predictor" else knows)


def is_main_process() -> bool:
    """Whether this process writes and prints: always, except under torchrun on ranks other than 0."""
    return int(os.environ.get("RANK", "0")) == 0
