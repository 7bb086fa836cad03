"""What a user meets first: `import chandler`, the version, and values printed in a shell or a notebook."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import chandler


def test_every_place_tells_one_version() -> None:
    script = Path(sysconfig.get_path("scripts")) / "chandler"
    said = {
        "chandler.__version__": chandler.__version__,
        "metadata": importlib.metadata.version("chandler-kronos"),
        "python -m chandler": _output(sys.executable, "-m", "chandler", "--version"),
        "chandler": _output(str(script), "--version"),
    }
    assert said == dict.fromkeys(said, "0.1.0")


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_import_loads_no_torch_and_no_pandas() -> None:
    code = "import sys, chandler; print(sorted({'torch', 'numpy', 'pandas', 'scipy', 'rich'} & set(sys.modules)))"
    assert _output(sys.executable, "-c", code) == "[]"


def test_every_public_name_is_there_and_is_what_its_module_calls_it() -> None:
    for name in chandler.__all__:
        found = getattr(chandler, name)
        assert getattr(found, "__name__", name) == name


def test_values_say_what_they_are() -> None:
    stocks = Path(chandler.__file__).parent / "assets" / "bokeh_stocks_1d.csv.gz"
    store = chandler.load_bars(stocks)
    assert repr(store) == "BarStore(5 symbols: AAPL, FB, GOOG, IBM, MSFT; 12,154 rows, 2000-03-01 to 2013-03-01)"
    forecaster = chandler.Forecaster.from_pretrained("chandler-nano", device="cpu")
    assert repr(forecaster) == "Forecaster('chandler-nano', 1.4M parameters on cpu, sees 128 of at most 192 bars)"
    forecast = forecaster.forecast(store["IBM"], horizon=3, paths=4, lookback=20)
    assert repr(forecast) == (
        "Forecast('IBM', 3 bars 2013-03-04 00:00:00 .. 2013-03-06 00:00:00 (inferred (Mon-Fri)), 4 paths after 20 bars, "
        "seed 0)"
    )


def test_the_shell_completes_words(monkeypatch: pytest.MonkeyPatch) -> None:
    # Asked as the shell's own script asks. `--show-completion` guesses the shell from the processes above it, which
    # are another program's on every machine.
    for name, value in {
        "_CHANDLER_COMPLETE": "complete_bash",
        "COMP_WORDS": "chandler fore",
        "COMP_CWORD": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert _output(str(Path(sysconfig.get_path("scripts")) / "chandler")) == "forecast"
