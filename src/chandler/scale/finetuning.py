"""One finetune on the workers of a Ray cluster: what torchrun does, with workers that Ray places and starts again.

Ray opens the process group and sets what torchrun sets, so that `chandler.training.finetune` joins as it always does. States
are chandler's own, in the run folder, which all nodes must see.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from chandler.atomic import write_text
from chandler.engines import RayEngine, prepare_worker
from chandler.errors import ChandlerError, ConfigError, TrainingError
from chandler.places import Layout
from chandler.progress import Progress, plain_console
from chandler.training.runs import Run, require_folder
from chandler.training.settings import Settings

_SIGN, _SAID = "ray.json", "said.txt"
KEPT = Layout("what Ray keeps of a run", (_SIGN, _SAID, "attempt-*/**"), {_SIGN: "run"})
"""What OUT-ray holds while the run is trained; it goes with the end."""


def finetune(
    settings: Settings,
    *,
    engine: RayEngine,
    retries: int = 3,
    overwrite: bool = False,
    resume: bool = False,
    force: bool = False,
) -> Run:
    """`chandler.training.finetune` with one process for each worker of `engine`, equal to torchrun with as many.

    Args:
        engine: how many workers, on what; a device of its own for each with gpus=1.
        retries: times that all workers are started again after some were lost, from the last state (`save_every`). A
            user's mistake is not tried again.
        overwrite, resume, force: as there.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError: as there; also: workers that cannot be had, or are lost more
            often than `retries`.
    """
    folder = Path(settings.out)
    require_folder(folder, settings, overwrite=overwrite, resume=resume, force=force)
    flags = {"overwrite": overwrite, "resume": resume, "force": force}
    beside = folder.absolute().with_name(folder.absolute().name + "-ray")
    with engine.session() as ray:
        workers = engine.workers or engine.room(ray)
        if engine.room(ray) < workers:
            raise ConfigError(
                f"workers={workers}: there is room for {engine.room(ray)}. Lower workers=, cpus= or gpus=."
            )
        KEPT.claim(beside, "something else")
        KEPT.clear(beside)  # of a driver that was killed: Ray would go on from it
        write_text(beside / _SIGN, json.dumps({"run": str(folder)}))
        try:
            with _following(beside / _SAID, Progress(plain_console(soft_wrap=True))) as shown:
                began = _stamp(folder)
                for attempt in range(retries + 1):
                    if _stamp(folder) != began:  # the folder is this run's now
                        flags = {"overwrite": False, "resume": True, "force": False}
                    failed = _fit(
                        engine, workers, beside, attempt, {"settings": settings.model_dump(mode="json"), **flags}
                    )
                    if failed is None:
                        return Run(folder)
                    shown.note(f"workers were lost ({failed}); {retries - attempt} more tries")
        finally:
            KEPT.clear(beside)
            with suppress(OSError):
                beside.rmdir()
    raise TrainingError(
        f"workers were lost {retries + 1} times, the last time: {failed}. What was saved is intact. Go on with resume=True."
    )


def _fit(engine: RayEngine, workers: int, beside: Path, attempt: int, how: dict[str, Any]) -> str | None:
    """Train until the end, None; or until workers are lost: how. Raises what a worker has to say to the user."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    booked = {"CPU": engine.cpus} | ({"GPU": engine.gpus} if engine.gpus else {})
    trainer = TorchTrainer(
        _loop,
        train_loop_config={**how, "setup": engine.setup(), "folder": os.getcwd(), "said": str(beside / _SAID)},
        torch_config=TorchConfig(backend=None if engine.gpus else "gloo"),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=engine.gpus > 0, resources_per_worker=booked),
        # Ray would repeat a mistyped path as well.
        run_config=RunConfig(
            name=f"attempt-{attempt}", storage_path=str(beside), failure_config=FailureConfig(max_failures=0)
        ),
    )
    try:
        trainer.fit()
    except ChandlerError:
        raise
    except Exception as error:
        from chandler.training.engine import LostContact

        failures = list(getattr(error, "worker_failures", {}).values()) or [error]
        told = [one for one in failures if isinstance(one, ChandlerError) and not isinstance(one, LostContact)]
        if told:
            raise told[0] from None
        first = next((one for one in failures if not isinstance(one, LostContact)), failures[0])
        lines = str(first).strip().splitlines() or [type(first).__name__]
        return lines[0][:200].rstrip(".")
    return None


def _loop(how: dict[str, Any]) -> None:
    """What each worker runs."""
    from chandler.training import finetune as train
    from chandler.training.logging import RunProgress

    prepare_worker(how["setup"])
    if not Path(how["folder"]).is_dir():
        raise ConfigError(f"{how['folder']}: a worker does not see this folder. Start in one that all nodes share.")
    os.chdir(how["folder"])  # Ray starts its workers elsewhere, and paths are relative to here
    flags = {name: how[name] for name in ("overwrite", "resume", "force")}
    with open(how["said"] if os.environ["RANK"] == "0" else os.devnull, "a", buffering=1, encoding="utf-8") as said:
        shown = RunProgress(plain_console(file=said, width=200, soft_wrap=True))
        train(Settings(**how["settings"]), **flags, progress=shown)


@contextmanager
def _following(path: Path, shown: Progress) -> Iterator[Progress]:
    """What the first worker writes there is shown here, line by line."""
    over = threading.Event()

    def follow() -> None:
        read = 0
        while True:
            last = over.wait(0.5)
            text = path.read_bytes()[read:] if path.is_file() else b""
            text = text[: text.rfind(b"\n") + 1]
            read += len(text)
            for line in text.decode(errors="replace").splitlines():
                shown.note(line)
            if last:
                return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield shown
    finally:
        over.set()
        follower.join()


def _stamp(folder: Path) -> tuple[int, int] | None:
    """Which config.yaml there is: `finetune` writes its own when the folder is prepared."""
    try:
        found = (folder / "config.yaml").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
