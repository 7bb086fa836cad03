"""A remedy that a message offers has been tried: what the command says is typed after it, and the command works."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chandler import finetune, load_bars
from chandler.cli.remedies import COMMANDS, KEYWORD, as_typed, options_of
from chandler.data import PRICES, write_qlib
from chandler.errors import ConfigError, DataError
from chandler.evaluation.backtest import load_backtest
from chandler.evaluation.walk_forward import load_evaluation
from chandler.training.settings import load_settings
from tests.cli.test_cli import SMALL_RUN
from tests.data.reading.test_wrong_data import doubled, rows, subtracted
from tests.shell import chandler

ROOT = Path(__file__).parents[1]
DAILY = {"freq": "D", "count": 120}
SMALLER = ("--set", "data.calendar=24/7", "--set", "data.windows_per_epoch=8")
FINETUNE = shlex.join(["finetune", "run.yaml", "--out", "run", *SMALL_RUN, *SMALLER])
WINDOWS = "--lookback 8 --horizon 2 --set data.split.train=0.6 --set data.split.val=0.4"
EVALUATE = "--set lookback=8 --set horizon=4 --set origins=5 --set paths=2 --set baselines=[last_close] --out ev"
ALONE = "--set random=0 --set momentum=null --set reversal=null --set start=2024-06-20"
BACKTEST = f"--set portfolio.k=1 --set portfolio.n_drop=1 {ALONE} --out bt"
TRADING = f"{BACKTEST} --set lookback=8 --set horizon=2 --set paths=2"


def wrong_order() -> pd.DataFrame:
    return rows(count=200)[["time", "open", "close", "high", "low", "volume"]].set_axis(
        ["time", "open", "high", "low", "close", "volume"], axis=1
    )


def block_deals(column: str = "SctySrs") -> pd.DataFrame:
    frame = rows(freq="D", count=200).assign(**{column: "EQ"})
    return doubled(frame, range(0, 200, 9), close=1.01, low=1.0, **{column: "BL"})


def gaps() -> pd.DataFrame:
    frame = rows(count=200)
    frame.loc[[40, 41], "close"] = float("nan")
    return frame


def shuffled() -> pd.DataFrame:
    return pd.concat([rows(count=400).iloc[200:], rows(count=400).iloc[:200]])


def both_ways() -> pd.DataFrame:
    frame = rows("2024-01-01", count=11, freq="D")
    times = [f"0{day}/0{month}/2024" for month in range(1, 6) for day in range(1, 10)]
    return pd.concat([frame] * 5).iloc[: len(times)].assign(time=times)


def short_years() -> pd.DataFrame:
    frame = rows(count=200)
    return frame.assign(time=pd.to_datetime(frame["time"]).dt.strftime("%d/%m/%y %H:%M"))


def clocks_back() -> pd.DataFrame:
    """Hours of Chicago's market in local time: 01:00 came twice on 3 November."""
    moments = pd.date_range("2024-10-30", periods=200, freq="h", tz="America/New_York")
    return rows(count=200).assign(time=moments.tz_localize(None).astype(str))


def winter_all_year() -> pd.DataFrame:
    """With the hour that summer time skips."""
    return rows("2024-03-28", count=200).rename(columns={"time": "Time (EET)"})


def two_stocks() -> pd.DataFrame:
    """Half an hour apart, one behind the other."""
    one, two = rows(count=200).assign(stock="A"), rows("2024-03-04 09:30", count=200, level=9.0).assign(stock="B")
    return pd.concat([one, two])


def commas() -> pd.DataFrame:
    frame = rows(count=200, level=500.0)
    whole = (frame[["open", "high", "low", "close"]] * 1000).round().astype(int)
    return frame.assign(**{name: [f"{one // 1000},{one % 1000:03d}" for one in whole[name]] for name in whole})


def twins() -> pd.DataFrame:
    frame = rows(count=200)
    frame.insert(1, "Close", frame["close"] + 1e-4)
    return frame


def unadjusted() -> pd.DataFrame:
    frame = rows(count=200).assign(**{"Adj Close": 1.0})
    frame.loc[5, "Adj Close"] = np.nan
    return frame


def zoned() -> pd.DataFrame:
    return rows(count=200).iloc[100:].assign(time=lambda frame: frame["time"] + "+00:00")


def panel() -> pd.DataFrame:
    return pd.concat([rows(**DAILY, seed=seed).assign(symbol=name) for seed, name in enumerate("ABC")])


def signals(known: str = "A") -> pd.DataFrame:
    made = panel()[["time", "symbol"]].set_axis(["timestamp", "symbol"], axis=1).replace({"symbol": {"A": known}})
    return made.assign(score=np.arange(len(made)) % 7)


def nanos() -> pd.DataFrame:
    frame = rows(count=200, level=150.0)
    return frame.assign(**{name: (frame[name].round(2) * 1e9).round().astype("int64") for name in PRICES})


def other_names() -> pd.DataFrame:
    return rows(count=200).set_axis(
        ["SessionTime", "OpenAuction", "DayHigh", "DayLow", "ClosingAuction", "volume"], axis=1
    )


FILES: dict[str, Callable[[], pd.DataFrame]] = {
    "bars.csv": lambda: rows(count=400),
    "order.csv": wrong_order,
    "deals.csv": block_deals,
    "dotted.csv": lambda: block_deals("Scty.Srs"),
    "gaps.csv": gaps,
    "shuffled.csv": shuffled,
    "dates.csv": both_ways,
    "years.csv": short_years,
    "back.csv": clocks_back,
    "past.csv": subtracted,
    "winter.csv": winter_all_year,
    "stocks.csv": two_stocks,
    "commas.csv": commas,
    "twins.csv": twins,
    "adjusted.csv": unadjusted,
    "pieces/2023/A.csv": lambda: rows(count=200).iloc[:100],
    "pieces/2024/A.csv": lambda: rows(count=200).iloc[100:],
    "mixed/A1.csv": lambda: rows(count=200).iloc[:100].assign(symbol="A"),
    "mixed/A2.csv": lambda: zoned().assign(symbol="A"),
    "zones/2023/A.csv": lambda: rows(count=200).iloc[:100],
    "zones/2024/A.csv": zoned,
    "coins/Bitcoin.csv": lambda: rows(count=200).assign(name="2781"),
    "coins/Ethereum.csv": lambda: rows(count=200).assign(name="2781"),
    "bad/A.csv": lambda: rows(count=200),
    "bad/B.csv": lambda: gaps().iloc[:60],
    "halved.csv": lambda: rows(count=200).assign(**{"Adj Close": lambda frame: frame["close"] / 2}),
    "panel.csv": panel,
    "signals.csv": signals,
    "strange.csv": lambda: signals("Z"),
    "nanos.csv": nanos,
    "names.csv": other_names,
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files as users have them, and of a small run on bars.csv."""
    folder = tmp_path_factory.mktemp("shelf")
    for name, make in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        make().to_csv(folder / name, index=False)
    (folder / "mine").mkdir()
    (folder / "mine" / "config.yaml").write_text("predictor: mine  # with a word of mine\n")
    (folder / "run.yaml").write_text("data: {path: bars.csv}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in (
            FINETUNE,
            f"evaluate bars.csv {EVALUATE} --out had",
            f"backtest panel.csv --model run {TRADING} --out traded",
            "prepare bars.csv done.store",
        ):
            assert chandler(*shlex.split(command)) == 0
        write_qlib(load_bars("panel.csv"), "qlib")
        for whole, part, name in (("run", "damaged", "summary.json"), ("had", "lost", "evaluation.json")):
            shutil.copytree(whole, part)
            Path(part, name).write_text("{")
        for whole, part, name in (("had", "part", "scores.parquet"), ("traded", "begun", "summary.json")):
            shutil.copytree(whole, part)
            Path(part, name).unlink()
        shutil.copytree("run", "tuned")
        assert chandler("calibrate", "tuned", "--stride", "1", "--paths", "20") == 0
    for page in folder.glob("*/report.html"):  # large, and of no use here
        page.unlink()
    return folder


@pytest.fixture
def at_the_shelf(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For those who write nothing."""
    monkeypatch.chdir(shelf)


@pytest.fixture
def desk(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A working folder; with copies of what the commands in a text name."""
    monkeypatch.chdir(tmp_path)

    def lay(commands: str) -> None:
        for one in shelf.iterdir():
            if re.search(rf"(?<![\w.]){re.escape(one.name)}(?![\w.])", f"bars.csv run.yaml {commands}"):
                (shutil.copytree if one.is_dir() else shutil.copy)(one, one.name)

    return lay


def tried(capfd: pytest.CaptureFixture[str], given: str, said: str, typed: str = "") -> None:
    """Type a command that fails, find in what it prints the remedy, and type that after it, or what it is with the user's
    own names in it, `typed`: several steps with ; between them, whole commands or what comes after the given one."""
    capfd.readouterr()
    assert chandler(*shlex.split(given)) == 2, capfd.readouterr().out
    told = capfd.readouterr().err
    found = re.search(rf"{re.escape(said)}(?=[\s.,;:)`'?]|$)", told)
    assert found, told
    assert not in_python(told), told
    for step in (typed or found[0]).split(";"):
        whole = step if step.startswith("chandler ") else f"chandler {given} {step}"
        assert chandler(*shlex.split(whole)[1:]) == 0, capfd.readouterr().err


def in_python(told: str) -> list[str]:
    """What is said as Python's functions take it."""
    plain = re.sub(r"--set ('[^']*'|\S+)", "", told)
    known = {name for command in COMMANDS for name in options_of(command)} | {"columns", "unsorted", "memory_budget"}
    return [one for one in re.findall(KEYWORD, plain) if one.partition("=")[0] in known]


READING = {
    "order": ("order.csv", "--column open=open --column high=low --column low=close --column close=high"),
    "rows": ("deals.csv", "--where SctySrs=EQ"),
    "a series each": ("deals.csv", "--column symbol=SctySrs"),
    "rows by a dotted name": ("dotted.csv", "--where Scty.Srs=EQ"),
    "missing": ("gaps.csv", "--missing drop"),
    "sort": ("shuffled.csv", "--sort"),
    "date": ("dates.csv", "--date-format %d/%m/%Y"),
    "years": ("years.csv", "--date-format '%d/%m/%y %H:%M'"),
    "zone": ("back.csv", "--timezone America/New_York"),
    "decimal point": ("commas.csv", "--decimal '.'"),
    "decimal comma": ("commas.csv", "--decimal ','"),
    "adjust": ("adjusted.csv", "--adjust none"),
    "twins": ("twins.csv", "--column close=Close"),
    "join": ("pieces", "--join"),
    "zones": ("zones --join", "--timezone UTC"),
    "symbol": ("coins", "--column symbol="),
    "skip": ("bad", "--skip-bad"),
    "clock": ("winter.csv", "--timezone Etc/GMT-2"),
    "series": ("stocks.csv", "--column symbol=stock"),
    "names": (
        "names.csv",
        "--column timestamp=SessionTime --column open=OpenAuction --column high=DayHigh --column low=DayLow "
        "--column close=ClosingAuction",
    ),
    "scale": ("nanos.csv", "--price-scale 1000000000"),
    "past": ("past.csv", "--start '2020-03-31 00:00:00'"),
}


@pytest.mark.parametrize("kind", READING)
def test_what_reading_offers_works(kind: str, at_the_shelf: None, capfd: pytest.CaptureFixture[str]) -> None:
    data, said = READING[kind]
    tried(capfd, f"inspect {data} {WINDOWS}", said)


def test_notes_and_what_is_left_out_are_said_as_they_are_typed(
    at_the_shelf: None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert chandler("inspect", "halved.csv", *WINDOWS.split()) == 0
    assert "volume by the inverse; --adjust none leaves them" in capfd.readouterr().out
    assert chandler("inspect", "bad", "--skip-bad", *WINDOWS.split()) == 0
    told = capfd.readouterr()
    assert "skipped: bad/B.csv: B: missing value in 'close'" in told.err
    assert told.err.endswith("pass --missing drop.\n")
    assert not in_python(told.out + told.err)


BY_SETTINGS = {
    "rows by a dotted name": ("dotted.csv", """--set 'data.where={"Scty.Srs": "EQ"}'"""),
    "date": ("dates.csv", """--set 'data.date_format="%d/%m/%Y"'"""),
    "decimal comma": ("commas.csv", """--set 'data.decimal=","'"""),
    "join": ("pieces", "--set data.join=true"),
    "symbol": ("coins", """--set 'data.columns.symbol=""'"""),
}


@pytest.mark.parametrize("kind", BY_SETTINGS)
def test_settings_that_are_offered_are_read_as_they_were_meant(
    kind: str, at_the_shelf: None, capfd: pytest.CaptureFixture[str]
) -> None:
    data, said = BY_SETTINGS[kind]
    tried(capfd, f"evaluate {data} {EVALUATE} --out 'by settings/{kind}'", said)


OF_DATA = {
    "join, prepared": ("prepare pieces STORE", "--join"),
    "skip, prepared": ("prepare bad STORE", "--skip-bad"),
    "zones, prepared": ("prepare mixed STORE --join", "--timezone UTC", "chandler prepare mixed NEW --join --timezone UTC"),
    "other options": ("prepare bars.csv done.store --sort", "prepare into another folder", "chandler prepare bars.csv NEW --sort"),
    "no store": ("prepare bars.csv run", "Choose another folder", "chandler prepare bars.csv NEW"),
    "no folder": ("prepare bars.csv", "chandler prepare bars/ bars.store", "chandler prepare bars.csv bars.store"),
    "skip, by settings": (
        f"evaluate bad {EVALUATE}", "chandler prepare DATA STORE --skip-bad",
        f"chandler prepare bad STORE --skip-bad;chandler evaluate STORE {EVALUATE}",
    ),
    "sort, by a run": (
        "calibrate run --data shuffled.csv --stride 1 --paths 20", "pass --sort", "--sort",
    ),
    "frequency": (f"inspect qlib:qlib {WINDOWS} --freq 5min", "--freq, one of: day", "--freq day"),
    "market": (f"inspect qlib:qlib {WINDOWS} --market csi300", "there are 'all'", "--market all"),
    "no qlib": (f"inspect bars.csv {WINDOWS} --market csi300", "leave them out", "--market all"),
    "symbols": (f"inspect panel.csv {WINDOWS} --symbols Z", "for example, A", "--symbols A"),
    "calendar": (f"inspect bars.csv {WINDOWS} --calendar 24/6", "crypto by 24/7", "--calendar 24/7"),
    "dates": (f"inspect bars.csv {WINDOWS} --start later", "dates such as '2024-06-30'", "--start 2024-03-05"),
    "a zone's name": (f"inspect bars.csv {WINDOWS} --timezone Mars", "'Europe/Berlin'", "--timezone Europe/Berlin"),
    "half a pair": (
        f"inspect bars.csv {WINDOWS} --column close", "--column close=ClosePrice",
        f"chandler inspect bars.csv {WINDOWS} --column close=close",
    ),
    "no such column": (f"inspect bars.csv {WINDOWS} --column close=Px", "The columns are 'time', 'open'", "--column close=close"),
    "no interval": (f"inspect bars.csv {WINDOWS} --set data.resample=7x", "4h", "--set data.resample=4h"),
    "no multiple": (f"inspect bars.csv {WINDOWS} --set data.resample=90min", "a multiple of 1h", "--set data.resample=2h"),
    "no part of a day": (f"inspect bars.csv {WINDOWS} --set data.resample=36h", "choose 1D", "--set data.resample=1h"),
    "nothing to inspect": ("inspect", "chandler inspect bars.csv", f"chandler inspect bars.csv {WINDOWS}"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OF_DATA)
def test_what_commands_on_data_offer_works(
    kind: str, desk: Callable[[str], None], capfd: pytest.CaptureFixture[str]
) -> None:
    desk(" ".join(OF_DATA[kind]))
    tried(capfd, *OF_DATA[kind])


CHANGED = f"{FINETUNE} --resume --set predictor.clip=2"
FRESH = f"{FINETUNE} --out new"
PANEL = f"{FRESH} --set data.path=panel.csv --set data.lookback=5 --set data.horizon=2 --set data.calendar=null"
REPLAYED = f"{FRESH} --set 'data.replay={{path: shuffled.csv}}'"
OF_TRAINING = {
    "not ours": (f"{FINETUNE} --out mine", "choose another folder (--out)", "--out new"),
    "overwrite": (FINETUNE, "--overwrite"),
    "resume": (FINETUNE, "--resume"),
    "replay": (REPLAYED, "--set data.replay.unsorted=sort"),
    "keep": (FINETUNE, "--set tokenizer.skip_existing=true --set predictor.skip_existing=true"),
    "lost": (f"{FINETUNE} --set tokenizer.skip_existing=true", "has a result of its predictor", "--set predictor.skip_existing=true"),
    "changed": (CHANGED, "--resume --accept-changed-settings"),
    "save as": (f"{FINETUNE} --save-as mine/config.yaml", "--overwrite"),
    "parameters": (f"{FRESH} --set predictor.train=[heads]", "did you mean 'head'", "--set predictor.train=[head]"),
    "nothing to train": (
        f"{FRESH} --set predictor.freeze=[transformer,head,embedding,norm,time_emb,dep_layer]", "predictor.enabled=false",
        "--set predictor.enabled=false",
    ),
    "folds": (
        f"{FRESH} --set 'data.split={{walk: {{folds: 50, test: 100, val: 50}}}}'", "Take fewer or shorter folds",
        "--set 'data.split={walk: {folds: 2, test: 60, val: 60}}'",
    ),
    "weighting": (
        f"{PANEL} --set data.weighting=equal --set data.windows_per_epoch=900", "data.windows_per_epoch below that",
        "--set data.windows_per_epoch=9",
    ),
    "damaged": (
        "report damaged", "chandler finetune CONFIG --out damaged --overwrite", f"chandler {FINETUNE} --out damaged --overwrite;",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", OF_TRAINING)
def test_what_training_offers_works(kind: str, desk: Callable[[str], None], capfd: pytest.CaptureFixture[str]) -> None:
    desk(" ".join(OF_TRAINING[kind]))
    tried(capfd, *OF_TRAINING[kind])


FORECAST = "forecast bars.csv --model run --horizon 4 --paths 9"
TUNED = f"{FORECAST} --model tuned --calibrated"
SEEN = f"evaluate bars.csv --models run {EVALUATE} --set start=2024-03-18"
SIGNALS = f"backtest panel.csv --signals signals.csv {BACKTEST}"
TRADED = f"backtest panel.csv --model run {TRADING} --out traded --set seed=1"
OF_MODELS = {
    "seen": (SEEN, "--force"),
    "all seen": (f"evaluate bars.csv --models run {EVALUATE}", """--set 'start="2024-03-04"' --force"""),
    "all seen, a test part": (
        f"evaluate bars.csv --models run {EVALUATE}", "data.split.test",
        f"chandler {FRESH} --set 'data.split={{train: 0.7, val: 0.15, test: 0.15}}';--models new",
    ),
    "too early to fit": (
        f"evaluate bars.csv {EVALUATE} --set baselines=[dlinear] --set start=2024-03-05", "Set start later",
        "--set start=2024-03-15 --out new",
    ),
    "lookback": (f"evaluate bars.csv {EVALUATE} --set lookback=500", "Lower lookback", "--set lookback=20"),
    "period": (f"evaluate bars.csv {EVALUATE} --set start=2025-01-01", "a wider period", "--set start=null"),
    "other evaluation": (f"evaluate bars.csv {EVALUATE} --out had --set seed=1", "--overwrite"),
    "no evaluation": (f"evaluate bars.csv {EVALUATE} --out run", "another folder (--out)", "--out new"),
    "damaged evaluation": (
        "report lost", "chandler evaluate DATA --out FOLDER", f"chandler evaluate bars.csv {EVALUATE} --out new;chandler report new",
    ),
    "unfinished": ("report part", "chandler evaluate", f"chandler evaluate bars.csv {EVALUATE} --out part;"),
    "unfinished backtest": ("report begun", "Run chandler backtest", f"chandler backtest panel.csv --model run {TRADING} --out begun;"),
    "calibrated": (f"{FORECAST} --calibrated", "chandler calibrate run`", "chandler calibrate run --stride 1 --paths 20;"),
    "few windows": ("calibrate run --paths 20", "Lower the stride", "--stride 1"),
    "other paths": (f"{TUNED} --temperature 2", "Leave these settings out", f"chandler {TUNED}"),
    "other lookback": (f"{TUNED} --lookback 9", "Leave lookback out", f"chandler {TUNED}"),
    "top_p": (f"{FORECAST} --top-p 0", "1 keeps every token", "--top-p 1"),
    "temperature": (f"{FORECAST} --temperature 0", "1.0 is neutral", "--temperature 1.0"),
    "memory": (f"{FORECAST} --memory 0", "raise the budget (--memory)", "--memory 50"),
    "device": (f"{FORECAST} --device cuda:99", "Try auto or cpu", "--device cpu"),
    "pair": (f"{FORECAST} --model run/predictor", "the pair TOKENIZER+PREDICTOR", "--model run/tokenizer+run/predictor"),
    "wrong way round": (
        f"{FORECAST} --model run/predictor,run/tokenizer", "give the folder or repository of the tokenizer",
        "--model run/tokenizer,run/predictor",
    ),
    "model": (f"{FORECAST} --model none", "Give a run folder", "--model run"),
    "suffix": (f"{FORECAST} --out a.xlsx", "end in .parquet or .csv", "--out a.csv"),
    "a file that is read": (f"{FORECAST} --out bars.csv", "Write to another place", "--out a.csv"),
    "paths": (f"{FORECAST} --paths 999999999", "Lower paths", "--paths 9"),
    "strange signals": (SIGNALS.replace("signals.csv", "strange.csv"), "--set allow_left_out=true"),
    "other signals": (TRADED, "--overwrite"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OF_MODELS)
def test_what_forecasts_and_their_judges_offer_works(
    kind: str, desk: Callable[[str], None], capfd: pytest.CaptureFixture[str]
) -> None:
    desk(" ".join(OF_MODELS[kind]))
    tried(capfd, *OF_MODELS[kind])


REFUSED: dict[str, tuple[Callable[..., object], str, str, str]] = {
    "both off": (
        load_settings, "tokenizer.enabled=false predictor.enabled=false", "tokenizer.enabled or predictor.enabled to true",
        "tokenizer.enabled=true",
    ),
    "random and off": (
        load_settings, "tokenizer.enabled=false tokenizer.start=random", "tokenizer.enabled: true", "tokenizer.enabled=true",
    ),
    "a checkpoint and off": (
        load_settings, "tokenizer.enabled=false tokenizer.start=random", "tokenizer.start to a checkpoint", "tokenizer.start=run",
    ),
    "warmup": (
        load_settings, "predictor.schedule=onecycle predictor.warmup=0", "cosine and constant can do without", "predictor.schedule=cosine",
    ),
    "shape of a checkpoint": (
        load_settings, "predictor.start=run predictor.architecture=small", "predictor.architecture needs predictor.start: random",
        "predictor.start=random",
    ),
    "no such shape": (
        load_settings, "predictor.start=random predictor.architecture=huge", "known sizes: mini", "predictor.architecture=mini",
    ),
    "shares": (load_settings, "data.split.test=0.2", "make it at most 1", "data.split.train=0.7"),
    "dates": (load_settings, "'data.split={val_end: 2024-02-01}'", "give all boundaries as dates", "data.split.train_end=2024-01-01"),
    "weighting": (load_settings, "data.weighting=some", 'give "rows", "equal" or a number', "data.weighting=rows"),
    "a key": (load_settings, "data.lokback=9", "did you mean lookback", "data.lookback=9"),
    "calendar": (load_settings, "data.calendar=NYX", "near names are NYMEX, XNYS", "data.calendar=XNYS"),
    "lora of nothing": (load_settings, "predictor.mode=lora predictor.start=random", "predictor.start is random", "predictor.start=run"),
    "head and train": (load_settings, "predictor.mode=head predictor.train=[head]", "set predictor.mode to full", "predictor.mode=full"),
    "names": (load_evaluation, "models=a/run,b/run", "before=runs/a,after=runs/b", "models=before=runs/a,after=runs/b"),
    "a baseline's name": (load_evaluation, "models=last_close=run", "call the model something else", "models=mine=run"),
    "a baseline": (load_evaluation, "baselines=[lastclose]", "did you mean last_close", "baselines=[last_close]"),
    "no baseline": (load_evaluation, "baselines=[]", "give models or baselines", "models=run"),
    "bands": (load_evaluation, "levels=[0.77]", "give some of 0.5, 0.8", "levels=[0.5,0.8]"),
    "horizon": (load_evaluation, "horizon=-1", "null for the paper's", "horizon=null"),
    "neither": (load_backtest, "every=1", "give model or signals", "model=run"),
    "both": (load_backtest, "model=run signals=s.csv", "give model or signals", "model=null"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_settings_that_are_refused_are_taken_as_the_message_says(kind: str) -> None:
    load, given, said, then = REFUSED[kind]
    overrides = ["out=x", "data.path=x.csv", *shlex.split(given)]
    with pytest.raises(ConfigError, match=re.escape(said)):
        load({}, overrides)
    wrong = {one.partition("=")[0] for one in shlex.split(given)} - {one.partition("=")[0] for one in shlex.split(then)}
    kept = [one for one in overrides if kind != "a key" or one.partition("=")[0] not in wrong]
    assert load({}, [*kept, *shlex.split(then)]) is not None


@pytest.mark.parametrize(
    ("said", "typed", "by_yaml"),
    [
        ("columns={'close': 'Px Last'}", "--column 'close=Px Last'", "--set 'data.columns.close=Px Last'"),
        ("columns={'close': '4'}", "--column close=4", """--set 'data.columns.close="4"'"""),
        ("columns={'symbol': ...}", "--column symbol=NAME", "--set data.columns.symbol=NAME"),
        ("columns={'symbol': ''}", "--column symbol=", """--set 'data.columns.symbol=""'"""),
        ("where={'SctySrs': 'EQ'}", "--where SctySrs=EQ", "--set data.where.SctySrs=EQ"),
        ("where={'a {b}': 'N'}", "--where 'a {b}=N'", """--set 'data.where.a {b}=N'"""),
        ('unsorted="sort" (--sort)', "--sort", "--set data.unsorted=sort"),
        ("join=True (--join)", "--join", "--set data.join=true"),
        ("join=True, missing='drop'", "--join --missing drop", "--set data.join=true --set data.missing=drop"),
        ('pass missing="drop".', "pass --missing drop.", "pass --set data.missing=drop."),
        ("date_format='%d/%m/%Y'", "--date-format %d/%m/%Y", """--set 'data.date_format="%d/%m/%Y"'"""),
        ("the format (date_format=).", "the format (--date-format).", "the format (data.date_format)."),
        ("say decimal='.' or", "say --decimal '.' or", "say --set 'data.decimal=.' or"),
        (
            "with skip_bad=True.",
            "with --skip-bad.",
            "with `chandler prepare DATA STORE --skip-bad` (STORE is then the data).",
        ),
        ("price_scale=10000, or", "--price-scale 10000, or", "--set data.price_scale=10000, or"),
        ("a column {'close'} of no option", "a column {'close'} of no option", "a column {'close'} of no option"),
        ("timestamps= of nobody", "timestamps= of nobody", "timestamps= of nobody"),
    ],
)
def test_options_are_said_as_the_command_takes_them(said: str, typed: str, by_yaml: str) -> None:
    assert as_typed(said, "inspect") == typed
    assert as_typed(said, "finetune") == by_yaml


def test_one_of_many_sources_is_told_its_key(desk: Callable[[str], None], capfd: pytest.CaptureFixture[str]) -> None:
    desk("shuffled.csv panel.csv")
    sources = "data: {{sources: [{{path: bars.csv}}, {{path: shuffled.csv{}}}]}}\n"
    Path("run.yaml").write_text(sources.format(""))
    given = shlex.split(FINETUNE)[1:]
    assert chandler("pretrain", *given) == 2
    told = capfd.readouterr().err
    assert "data.sources[1]: shuffled.csv: " in told
    (key,) = re.findall(r"pass `([^`]+)`", told)
    Path("run.yaml").write_text(sources.format(f", {key}"))
    assert chandler("pretrain", *given) == 0, capfd.readouterr().err


# --- from Python ---------------------------------------------------------------------------------------------------


def offered(told: str) -> list[dict[str, Any]]:
    """The keywords that a message gives a value, those that stand beside one another together."""
    found = [one[0] for one in re.finditer(rf"{KEYWORD}(?:, {KEYWORD})*", told)]
    return [eval(f"dict({one})", {}) for one in found if "..." not in one and "=)" not in f"{one})"]


@pytest.mark.parametrize("kind", [kind for kind in READING if kind not in ("zones", "dst")])
def test_what_reading_offers_works_from_python(kind: str, at_the_shelf: None) -> None:
    with pytest.raises(DataError) as refused:
        load_bars(READING[kind][0])
    ways = offered(re.sub(r" \(--[a-z-]+\)", "", str(refused.value)))
    assert ways
    for way in ways[:1] if kind == "date" else ways:  # its other way is that of other data
        assert load_bars(READING[kind][0], **way).rows >= 40


def test_what_a_run_offers_works_from_python(desk: Callable[[str], None]) -> None:
    desk("run")
    settings = load_settings("run/config.yaml")
    with pytest.raises(ConfigError) as refused:
        finetune(settings)
    ways = offered(str(refused.value))
    assert [sorted(way) for way in ways] == [["resume"], ["overwrite"], ["overrides"]]
    for way in ways:
        assert finetune(settings.model_dump(mode="json"), **way).folder == Path("run")
    changed = settings.model_dump(mode="json") | {"log_every": 7}
    with pytest.raises(ConfigError) as refused:
        finetune(changed, resume=True)
    (way,) = offered(str(refused.value))
    assert finetune(changed, **way).folder == Path("run")
