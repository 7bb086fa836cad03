"""One YAML plus overrides -> one validated object; shipped recipes say what they claim."""

from __future__ import annotations

from pathlib import Path

import pytest

from chandler.errors import ConfigError
from chandler.training.settings import PRETRAINING, load_settings, save_settings

CONFIGS = Path(__file__).parents[3] / "configs"
MINIMAL = {"out": "runs/x", "data": {"path": "bars.csv"}}


def test_defaults_are_the_published_recipe() -> None:
    s = load_settings(MINIMAL)
    t, p = s.tokenizer, s.predictor
    assert (t.learning_rate, t.clip, t.weight_decay, t.betas) == (2e-4, 2.0, 0.1, (0.9, 0.999))
    assert (p.learning_rate, p.clip, p.weight_decay, p.betas) == (4e-5, 3.0, 0.1, (0.9, 0.95))
    assert (t.warmup, t.div_factor, t.epochs, t.batch_size) == (0.03, 10.0, 30, 50)
    assert (s.data.lookback, s.data.horizon, s.data.windows_per_epoch, s.seed) == (90, 10, 100_000, 100)
    assert p.condition == "sampled"
    assert (t.start, p.start) == ("NeoQuasar/Kronos-Tokenizer-base", "NeoQuasar/Kronos-small")


RECIPES = sorted(set(CONFIGS.glob("*.yaml")) - {CONFIGS / "evaluate.yaml"})  # that one trains nothing


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_shipped_configs_parse_and_survive_a_round_trip(path: Path, tmp_path: Path) -> None:
    s = load_settings(path)
    (tmp_path / "config.yaml").write_text(s.to_yaml())
    assert load_settings(tmp_path / "config.yaml") == s
    save_settings(s, tmp_path / "short.yaml")
    assert load_settings(tmp_path / "short.yaml") == s


def test_the_csv_recipe() -> None:
    s = load_settings(CONFIGS / "csv.yaml")
    assert (s.data.lookback, s.data.horizon) == (512, 48)
    assert (s.data.split.train, s.data.split.val, s.data.split.test) == (0.8, 0.1, 0.1)
    assert (s.tokenizer.epochs, s.predictor.epochs) == (30, 20)
    assert s.tokenizer.batch_size == s.predictor.batch_size == 32
    assert s.predictor.learning_rate == 1e-6
    assert s.tokenizer.skip_existing
    assert s.predictor.skip_existing


def test_the_daily_panel_recipe() -> None:
    s = load_settings(CONFIGS / "daily-panel.yaml")
    assert (s.data.lookback, s.data.horizon, s.data.windows_per_epoch) == (90, 10, 100_000)
    assert (s.tokenizer.epochs, s.tokenizer.batch_size, s.seed) == (30, 50, 100)
    assert s.data.split.train_end is not None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.lookbak=5", r"unknown key data\.lookbak \(did you mean lookback\?\)"),
        ("tokeniser.epochs=5", r"unknown key tokeniser \(did you mean tokenizer\?\)"),
        ("bogus=1", r"unknown key bogus \(known: out, "),
        ("data.split.trian=0.5", r"unknown key data\.split\.trian \(did you mean train\?\)"),
        ("predictor.epochs=0", r"predictor\.epochs: .*greater than or equal to 1, found 0"),
        ("predictor.condition=both", r"predictor\.condition: .*'sampled' or 'true', found 'both'"),
        ("predictor.betas=[0.9,1]", r"predictor\.betas\.1: .*less than 1, found 1"),
        ("tokenizer.betas=[-1,0.9]", r"tokenizer\.betas\.0: .*greater than or equal to 0, found -1"),
        ("predictor.betas=[0.9,.nan]", r"predictor\.betas\.1: .*finite number, found nan"),
        ("predictor.learning_rate=.inf", r"predictor\.learning_rate: .*finite number, found inf"),
        ("tokenizer.weight_decay=.nan", r"tokenizer\.weight_decay: .*finite number, found nan"),
        ("predictor.lora.alpha=.inf", r"predictor\.lora\.alpha: .*finite number, found inf"),
        ("data.lookback", r"expected key=value"),
        ("data.lookback=[1", r"not valid YAML"),
        ("tokenizer.architecture=small", r"tokenizer\.architecture needs tokenizer\.start: random"),
    ],
)
def test_bad_settings_name_the_key(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(MINIMAL, [override])


def test_bars_come_from_a_path_or_from_sources() -> None:
    with pytest.raises(ConfigError, match="data: path is missing"):
        load_settings({"out": "x", "data": {"lookback": 20}})
    with pytest.raises(ConfigError, match="give path or sources, not both"):
        load_settings({"out": "x", "data": {"path": "a.csv", "sources": [{"path": "b.csv"}]}})


def test_sources_without_rules_of_their_own_are_cleaned_by_those_of_all() -> None:
    sources = [{"path": "a.csv"}, {"path": "b.csv", "cleaning": {"enabled": True, "illiquid": False}}]
    d = load_settings({"out": "x", "data": {"sources": sources, "cleaning": {"enabled": True, "jump": 0.5}}}).data
    assert [source.cleaning.jump for source in d.sources] == [0.5, True]


def test_pretraining_has_defaults_of_its_own_and_the_file_has_the_last_word() -> None:
    given = {"out": "x", "data": {"path": "a.csv"}, "predictor": {"learning_rate": 1e-4}}
    s = load_settings(given, ["data.drop_volume=0.1"], defaults=PRETRAINING)
    assert (s.tokenizer.start, s.predictor.start, s.predictor.schedule) == ("random", "random", "cosine")
    assert (s.predictor.learning_rate, s.predictor.weight_decay, s.data.drop_volume) == (1e-4, 0.01, 0.1)
    assert s.data.cleaning.enabled


def test_bad_combinations_say_what_to_set() -> None:
    with pytest.raises(ConfigError, match=r"predictor\.least_lookback 91 is above data\.lookback 90"):
        load_settings(MINIMAL, ["predictor.least_lookback=91"])
    with pytest.raises(ConfigError, match="both stages are switched off"):
        load_settings(MINIMAL, ["tokenizer.enabled=false", "predictor.enabled=false"])
    with pytest.raises(ConfigError, match="cannot learn the tokens of random weights"):
        load_settings(MINIMAL, ["tokenizer.start=random", "tokenizer.enabled=false"])
    with pytest.raises(ConfigError, match=r"unknown; known sizes: mini, small, base, large"):
        load_settings(MINIMAL, ["predictor.start=random", "predictor.architecture=tiny"])
    with pytest.raises(ConfigError, match=r"no key 'd_modell' \(did you mean d_model\?\)"):
        load_settings(MINIMAL, ["predictor.start=random", "predictor.architecture={d_modell: 8}"])


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("outt: x\ndata: {path: a.csv, horizon: 0}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    for part in (
        "out is missing",
        "data.horizon:",
        "unknown key outt (did you mean out?)",
    ):
        assert part in text


def test_files_that_are_no_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(ConfigError, match=r"found list\. Settings are keys and values in YAML"):
        load_settings(tmp_path / "list.yaml")
    (tmp_path / "bars.csv.gz").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(ConfigError, match=r"this is no text\..* bars are named in there, as data.path"):
        load_settings(tmp_path / "bars.csv.gz")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_settings(tmp_path / "bad.yaml")


def test_overrides_are_yaml_and_numbers_may_be_written_as_1e_6() -> None:
    s = load_settings(MINIMAL, ["predictor.learning_rate=1e-6", "data.symbols=[A, B]", "data.windows_per_epoch=null"])
    assert s.predictor.learning_rate == 1e-6
    assert s.data.symbols == ["A", "B"]
    assert s.data.windows_per_epoch is None


def test_context_follows_the_start() -> None:
    assert load_settings(MINIMAL).context() == 512
    assert load_settings(MINIMAL, ["predictor.start=NeoQuasar/Kronos-mini"]).context() == 2048
    assert load_settings(MINIMAL, ["predictor.start=random"]).context() == 100
    assert load_settings(MINIMAL, ["max_context=64"]).context() == 64


def test_on_and_off_are_what_yaml_makes_of_them() -> None:
    s = load_settings(CONFIGS / "csv.yaml", ["tokenizer.compile=on", "predictor.compile=off"])
    assert (s.tokenizer.compile, s.predictor.compile) == ("on", "off")


def test_windows_longer_than_the_start_sees_are_told_of_and_seen() -> None:
    """chandler-nano sees 192 bars: a run with longer windows gives its model their length, and says so."""
    start = {"tokenizer": {"start": "chandler-nano"}, "predictor": {"start": "chandler-nano"}, "out": "run"}
    data = {"path": "chandler-stocks", "lookback": 300, "horizon": 8}
    settings = load_settings({**start, "data": data})
    assert settings.context() == 308
    [told] = settings.context_warnings()
    assert told.startswith("windows of 308 bars are longer than the 192 that chandler-nano sees")
    cut = load_settings({**start, "data": data, "max_context": 200})
    assert cut.context() == 200
    [told] = cut.context_warnings()
    assert told.startswith("max_context 200 is below lookback + horizon, 308")
    assert "Set max_context to 308" in told
    short = load_settings({**start, "data": {**data, "lookback": 90}})
    assert (short.context(), short.context_warnings()) == (192, [])


TEXTS = """
out: {out}
data:
  path: bars.csv
  symbols: [000001, ON, NO, 1_000, 12:30, 1e5, 2024-01-01, NULL, 0x1F, "007", plain]
  columns: {{open: 1, timestamp: 2024-01-01}}
  where: {{Series: ON, 600519: NO, Session: 09:30}}
  start: 2024-01-01
  end: 20240630
  windows_per_epoch: 1_000
  join: on
  calendar: 24/7
  timezone: null
  split: {{train_end: 2024-03-31}}
predictor: {{learning_rate: 1e-5, compile: off}}
"""


@pytest.mark.parametrize("by", ["file", "override"])
def test_texts_are_what_was_written_and_not_what_yaml_makes_of_them(by: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(TEXTS.format(out="20240101"))
    overrides = []
    if by == "override":
        path.write_text("out: 20240101\ndata: {path: bars.csv}\n")
        overrides = [
            "data.symbols=[000001, ON, NO, 1_000, 12:30, 1e5, 2024-01-01, NULL, 0x1F, '007', plain]", "data.columns.open=1",
            "data.columns.timestamp=2024-01-01", "data.where={Series: ON, 600519: NO}", "data.where.Session=09:30",
            "data.start=2024-01-01", "data.end=20240630", "data.windows_per_epoch=1_000", "data.join=on", "data.calendar=24/7",
            "data.timezone=null", "data.split.train_end=2024-03-31", "predictor.learning_rate=1e-5", "predictor.compile=off",
        ]  # fmt: skip
    s = load_settings(path, overrides)
    assert s.out == "20240101"
    assert s.data.symbols == [
        "000001", "ON", "NO", "1_000", "12:30", "1e5", "2024-01-01", "NULL", "0x1F", "007", "plain"
    ]  # fmt: skip
    assert s.data.columns == {"open": "1", "timestamp": "2024-01-01"}
    assert s.data.where == {"Series": "ON", "600519": "NO", "Session": "09:30"}
    assert (s.data.start, s.data.end, s.data.calendar, s.data.timezone) == ("2024-01-01", "20240630", "24/7", None)
    assert (s.data.windows_per_epoch, s.data.join, s.predictor.learning_rate) == (1000, True, 1e-5)
    assert (str(s.data.split.train_end), s.predictor.compile) == ("2024-03-31", "off")
    (tmp_path / "again.yaml").write_text(s.to_yaml())
    assert load_settings(tmp_path / "again.yaml") == s


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            r"D:\new\table.csv",
            r"data\.path: in double quotes backslashes .* became D:\\new\\table\.csv\. Use single quotes",
        ),
        (r"D:\Prices\Next.csv", r"data\.path: in double quotes"),
        (r"data\bars\a.csv", r"data\.path: in double quotes"),
        (r"C:\users\me.csv", r"not valid YAML: .*escape.*: use single quotes \(line 2\)"),
        (r"D:\quotes", r"not valid YAML: .*escape.*: use single quotes"),
    ],
)
def test_paths_in_double_quotes_do_not_lose_their_backslashes(written: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f'out: runs/x\ndata: {{path: "{written}"}}\n')
    with pytest.raises(ConfigError, match=told):
        load_settings(path)
    with pytest.raises(ConfigError, match="se single quotes"):
        load_settings(MINIMAL, [f'data.path=["{written}"]'])
    path.write_text(f"out: runs/x\ndata: {{path: '{written}'}}\n")
    assert load_settings(path).data.path == written
    assert load_settings(MINIMAL, [f"data.path={written}"]).data.path == written
    assert load_settings(MINIMAL, ['data.path="a\u00a0b.csv"']).data.path == "a\u00a0b.csv"
    doubled = written.replace("\\", "\\\\")
    assert load_settings(MINIMAL, [f'data.path="{doubled}"']).data.path == written


def test_a_name_of_two_lines_survives_saving(tmp_path: Path) -> None:
    s = load_settings({"out": "x", "data": {"path": "bars.csv", "columns": {"open": "Open\n(USD)", "close": "a\tb"}}})
    save_settings(s, tmp_path / "run.yaml")
    assert load_settings(tmp_path / "run.yaml") == s
