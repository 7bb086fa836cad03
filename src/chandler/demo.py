"""The whole way on bundled bars: finetune, calibrate, and hold untouched, finetuned and naive forecasts against what came."""

from __future__ import annotations

import time
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from chandler.data import SourceSettings
from chandler.errors import ConfigError
from chandler.evaluation.walk_forward import EvaluationSettings, Results, calibrate, evaluate
from chandler.hub import NANO
from chandler.progress import Progress
from chandler.reports import evaluation_text, write_evaluation_report, write_run_report
from chandler.text import duration
from chandler.training import Run, finetune
from chandler.training.logging import RunProgress
from chandler.training.runs import RUN, changed_keys
from chandler.training.settings import Settings, load_settings

PATHS = 100
BASELINES = ["last_close", "bootstrap", "gaussian_walk", "ewma", "volume_by_time_of_day"]
EVALUATION = "evaluation"
"""The folder of the comparison, within the run's."""


def demo_settings(out: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """The shipped settings, on the bundled bars."""
    with resources.as_file(resources.files("chandler") / "assets" / "demo.yaml") as config:
        return load_settings(config, overrides, out=str(out))


def demo_evaluation(settings: Settings, run: Path, paths: int) -> EvaluationSettings:
    """Untouched, finetuned and naive, on the windows of the test part: the bars after all that the run has seen."""
    data = settings.data
    return EvaluationSettings(
        out=str(run / EVALUATION),
        data=SourceSettings.model_validate({key: getattr(data, key) for key in SourceSettings.model_fields}),
        models={"untouched": NANO, "finetuned": str(run)},
        baselines=BASELINES,
        lookback=data.lookback,
        horizon=data.horizon,
        paths=paths,
        seed=settings.seed,
        device=settings.device,
    )


def run_demo(
    out: str | Path = "runs/demo",
    *,
    overrides: Iterable[str] = (),
    paths: int = PATHS,
    progress: tuple[RunProgress, Progress] | None = None,
) -> Run:
    """Finetune, calibrate and evaluate; say what came out and write both reports. Replaces an earlier demo in `out`.

    Args:
        out: the run folder; the comparison goes into evaluation/ within it.
        overrides: `key.sub=value` texts over the shipped settings.
        paths: sampled futures of each window.
        progress: what shows progress of training and of forecasts; default: bars on a terminal, lines elsewhere.

    Raises:
        ConfigError: another run in that folder.
    """
    begun = time.monotonic()
    training, walking = progress or (RunProgress(), Progress())
    settings = demo_settings(out, overrides)
    _require_demo(Path(out), settings)
    what = "Finetune chandler-nano, which has never seen these stocks"
    _step(walking, what, f"finetune configs/demo.yaml --out {out}")
    run = finetune(settings, overwrite=True, progress=training)
    write_run_report(run.folder)

    what = "Calibrate it on the validation years: how much of it to trust, how wide to be"
    _step(walking, what, f"calibrate {run.folder} --seed {settings.seed}")
    found = calibrate(run.folder, paths=paths, seed=settings.seed, device=settings.device, progress=walking)
    walking.note(found.says())

    compared = demo_evaluation(settings, run.folder, paths)
    models = ",".join(f"{name}={source}" for name, source in compared.models.items())
    _step(
        walking,
        "Hold it against the untouched model and naive forecasts, on the two years after",
        f"evaluate {settings.data.path} --models {models} --out {compared.out} --set lookback={compared.lookback} "
        f"--set horizon={compared.horizon} --set seed={compared.seed}",
    )
    results = Results(evaluate(compared, overwrite=True, progress=walking))
    walking.note(f"\n{evaluation_text(results)}")

    walking.note(f"\nReport: {write_evaluation_report(results)}")
    walking.note(f"Of the training: {run.folder / 'report.html'} ({duration(time.monotonic() - begun)} in all)")
    return run


def _require_demo(folder: Path, settings: Settings) -> None:
    """ConfigError where the folder holds a run that is no demo: nobody asked to replace it."""
    if RUN.found(folder):
        RUN.require(folder)
        changed = changed_keys(Run(folder).settings, settings) if (folder / "config.yaml").is_file() else []
        if changed:
            raise ConfigError(
                f"{folder} holds another run than this demo ({'; '.join(changed[:3])}). Choose another folder (out=)."
            )


def _step(shown: Progress, what: str, command: str) -> None:
    """Name a step, and the command that does it; a user's own bars take the same one."""
    shown.note(f"\n{what}\n  $ chandler {command}")
