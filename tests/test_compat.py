"""The reference's interface: its golden outputs, its quirks, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from chandler.compat import InputError, Kronos, KronosPredictor, KronosTokenizer, auto_regressive_inference
from chandler.errors import ChandlerError, ConfigError, DataError
from chandler.forecasting.forecaster import Forecaster

COLUMNS = ["open", "high", "low", "close", "volume", "amount"]


@pytest.fixture
def tokenizer(golden: Path) -> KronosTokenizer:
    return KronosTokenizer.from_pretrained(golden / "tokenizer")


@pytest.fixture
def predictor(golden: Path, predictor_name: str) -> Kronos:
    return Kronos.from_pretrained(golden / predictor_name)


@pytest.fixture
def kronos(tokenizer: KronosTokenizer, predictor: Kronos) -> KronosPredictor:
    return KronosPredictor(predictor, tokenizer, device="cpu", max_context=32)


def case(golden: Path, predictor_name: str, kind: str) -> tuple[pd.DataFrame, pd.Series, pd.Series, pd.DataFrame]:
    """History, its times, the horizon's times and the reference's forecast."""
    stem = f"{predictor_name}_predict_{kind}"
    given = pd.read_csv(golden / f"{stem}_input.csv", parse_dates=["timestamps"])
    expected = pd.read_csv(golden / f"{stem}_output.csv", parse_dates=["timestamps"], index_col="timestamps")
    rows = len(given) - len(expected)
    return given.iloc[:rows], given.timestamps.iloc[:rows], given.timestamps.iloc[rows:], expected


@pytest.mark.parametrize("kind", ["full", "no_amount", "ohlc_only"])
def test_greedy_forecast_is_the_reference_s(
    golden: Path, kronos: KronosPredictor, predictor_name: str, kind: str
) -> None:
    df, x, y, expected = case(golden, predictor_name, kind)
    before = df.copy()
    ours = kronos.predict(df, x, y, len(expected), T=1.0, top_k=1, top_p=1.0, verbose=False)
    assert list(ours.columns) == COLUMNS
    assert (ours.index == expected.index).all()
    # Without volume the column is constant, so its scale is the 1e-5 beside the standard deviation alone: the
    # reference's "-1.9e-06" is the model's output in units of 1e-5, and only that far it can be told from 0.
    atol = 1e-5 * 1e-4 if kind == "ohlc_only" else 0.0
    np.testing.assert_allclose(ours.to_numpy(), expected.to_numpy(), rtol=1e-4, atol=atol)
    pd.testing.assert_frame_equal(df, before)


def test_a_batch_equals_its_series_one_by_one_even_of_unequal_lengths(
    golden: Path, kronos: KronosPredictor, predictor_name: str
) -> None:
    kinds = [case(golden, predictor_name, kind) for kind in ("full", "no_amount", "ohlc_only")]
    frames, xs, ys = ([k[i] for k in kinds] for i in range(3))
    ys = [y.iloc[:5] for y in ys]
    together = kronos.predict_batch(frames, xs, ys, 5, sample_count=2, verbose=False, seed=3)
    for df, x, y, batch in zip(frames, xs, ys, together, strict=True):
        pd.testing.assert_frame_equal(kronos.predict(df, x, y, 5, sample_count=2, verbose=False, seed=3), batch)


def test_series_and_index_of_times_are_the_same(golden: Path, kronos: KronosPredictor, predictor_name: str) -> None:
    df, x, y, expected = case(golden, predictor_name, "full")
    one = kronos.predict(df, x, y, len(expected), top_k=1, verbose=False)
    two = kronos.predict(df, pd.DatetimeIndex(x), pd.DatetimeIndex(y), len(expected), top_k=1, verbose=False)
    pd.testing.assert_frame_equal(one, two)


def test_paths_are_averaged(golden: Path, kronos: KronosPredictor, predictor_name: str) -> None:
    df, x, y, _ = case(golden, predictor_name, "full")
    mean = kronos.predict(df, x, y.iloc[:4], 4, sample_count=20, verbose=False, seed=1)
    other = kronos.predict(df, x, y.iloc[:4], 4, sample_count=20, verbose=False, seed=2)
    single = [kronos.predict(df, x, y.iloc[:4], 4, verbose=False, seed=seed) for seed in (1, 2)]
    assert (mean - other).abs().mean()["close"] < (single[0] - single[1]).abs().mean()["close"]


def test_torch_s_global_seed_repeats_a_script(golden: Path, kronos: KronosPredictor, predictor_name: str) -> None:
    df, x, y, _ = case(golden, predictor_name, "full")

    def script(seed: int) -> pd.DataFrame:
        torch.manual_seed(seed)
        return kronos.predict(df, x, y, 8, sample_count=2, verbose=False)

    pd.testing.assert_frame_equal(script(1), script(1))
    assert not script(1).equals(script(2))


def test_top_p_has_no_effect_beside_top_k(golden: Path, kronos: KronosPredictor, predictor_name: str) -> None:
    df, x, y, _ = case(golden, predictor_name, "full")
    narrow = kronos.predict(df, x, y, 8, top_k=5, top_p=0.1, verbose=False, seed=0)
    wide = kronos.predict(df, x, y, 8, top_k=5, top_p=1.0, verbose=False, seed=0)
    pd.testing.assert_frame_equal(narrow, wide)


def test_rows_beyond_the_context_move_the_scale_as_in_the_reference(
    golden: Path, kronos: KronosPredictor, predictor_name: str
) -> None:
    df, x, y, _ = case(golden, predictor_name, "full")
    old = df.assign(**{name: df[name] * 2 for name in ("open", "high", "low", "close")})
    longer = pd.concat([old] * 2 + [df], ignore_index=True)
    times = pd.date_range(end=x.iloc[-1], periods=len(longer), freq="5min")
    short = kronos.predict(df, x, y, 8, top_k=1, verbose=False)
    long = kronos.predict(longer, times, y, 8, top_k=1, verbose=False)
    assert not np.allclose(short["close"], long["close"], rtol=1e-3)


def test_amount_without_volume_is_thrown_away_as_in_the_reference(
    golden: Path, kronos: KronosPredictor, predictor_name: str
) -> None:
    df, x, y, expected = case(golden, predictor_name, "ohlc_only")
    ours = kronos.predict(df.assign(amount=1e6), x, y, len(expected), top_k=1, verbose=False)
    np.testing.assert_allclose(ours["close"], expected["close"], rtol=1e-4)
    assert ours["amount"].abs().max() < 1e-4


def test_horizon_beyond_the_context(golden: Path, kronos: KronosPredictor, predictor_name: str) -> None:
    df, x, _, _ = case(golden, predictor_name, "full")
    y = pd.date_range(x.iloc[-1], periods=41, freq="5min")[1:]
    ours = kronos.predict(df, x, y, 40, verbose=False, seed=0)
    assert ours.shape == (40, 6)
    assert np.isfinite(ours.to_numpy()).all()


def test_verbose_shows_progress_on_stderr_only(
    golden: Path, kronos: KronosPredictor, predictor_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    df, x, y, _ = case(golden, predictor_name, "full")
    kronos.predict(df, x, y, 8)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Forecasting 8 bars" in shown.err
    assert "100%" in shown.err


def test_times_of_another_zone_are_those_of_the_history_s_clock(
    golden: Path, kronos: KronosPredictor, predictor_name: str
) -> None:
    df, x, y, expected = case(golden, predictor_name, "full")
    x, y = x.dt.tz_localize("America/New_York"), y.dt.tz_localize("America/New_York")
    for future in (y, y.dt.tz_convert("UTC"), y.astype(str)):
        ours = kronos.predict(df, x, future, len(expected), top_k=1, verbose=False)
        assert (ours.index == pd.DatetimeIndex(y)).all()
        assert str(ours.index.tz) == "America/New_York"
        np.testing.assert_allclose(ours["close"], expected["close"], rtol=1e-4)


def test_the_attributes_that_scripts_read(golden: Path) -> None:
    model, tokenizer = (
        Kronos.from_pretrained(golden / "predictor"),
        KronosTokenizer.from_pretrained(golden / "tokenizer"),
    )
    kronos = KronosPredictor(model, tokenizer, device="cpu", max_context=32)
    assert (kronos.device, kronos.max_context, kronos.clip) == (torch.device("cpu"), 32, 5)
    assert kronos.model is model
    assert kronos.tokenizer is tokenizer


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"df": lambda df: df.assign(close=df.close.where(df.index != 3))}, "1 missing .* 'close', first in row 3"),
        ({"df": lambda df: df.assign(volume=np.nan)}, "24 missing .* 'volume'"),
        ({"df": lambda df: df.drop(columns="high")}, "no column high"),
        ({"df": lambda df: df.to_numpy()}, "DataFrame"),
        ({"x": lambda x: x.iloc[1:]}, "times in x_timestamp are 23, the rows are 24"),
        ({"y": lambda y: y.iloc[1:]}, "times in y_timestamp are 7, the horizon is 8"),
        ({"y": lambda y: y[:0]}, "times in y_timestamp are 0, the horizon is 8"),
        ({"x": lambda x: x[::-1]}, "times in x_timestamp must be strictly increasing"),
        ({"x": lambda x: x.where(x.index != 5)}, "x_timestamp must be strictly increasing, with none missing"),
        ({"y": lambda y: y - pd.Timedelta("5min")}, "y_timestamp begin at .* but the history ends at"),
        ({"y": lambda y: y.dt.tz_localize("UTC")}, "y_timestamp have a time zone, the history has none"),
        ({"x": lambda x: x.dt.tz_localize("UTC")}, "y_timestamp have no time zone, the history has one"),
        ({"y": lambda y: ["soon"] * len(y)}, "y_timestamp cannot be read as times"),
    ],
)
def test_unusable_input_is_a_value_error_too(
    golden: Path, kronos: KronosPredictor, predictor_name: str, change: dict, says: str
) -> None:
    df, x, y, _ = case(golden, predictor_name, "full")
    given = {"df": df, "x": x, "y": y}
    given |= {name: edit(given[name]) for name, edit in change.items()}
    with pytest.raises(InputError, match=says) as caught:
        kronos.predict(given["df"], given["x"], given["y"], 8, verbose=False)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ChandlerError)


def test_batch_lists_must_match(golden: Path, kronos: KronosPredictor, predictor_name: str) -> None:
    df, x, y, _ = case(golden, predictor_name, "full")
    with pytest.raises(InputError, match="df_list must be a list"):
        kronos.predict_batch(df, [x], [y], 8)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one length"):
        kronos.predict_batch([df, df], [x, x], [y], 8)


# What scripts of the reference do with the models themselves


CLOSE = {"rtol": 0.0, "atol": 1e-5}


def test_models_are_built_by_the_keys_of_their_config(golden: Path) -> None:
    keys = json.loads((golden / "tokenizer" / "config.json").read_text())
    built = KronosTokenizer(**keys)
    built.load_state_dict(load_file(golden / "tokenizer" / "model.safetensors"))
    keys = json.loads((golden / "predictor" / "config.json").read_text())
    model = Kronos(**keys)
    model.load_state_dict(load_file(golden / "predictor" / "model.safetensors"))
    loaded = Kronos.from_pretrained(golden / "predictor")
    assert model.config == loaded.config
    assert model.state_dict().keys() == loaded.state_dict().keys()
    assert Kronos(6, 6, 1, 32, 4, 64).config.ff_dim == 64
    with pytest.raises(TypeError, match="d_modle"):
        Kronos(d_modle=32)


def test_keywords_of_the_hub_s_mixin(golden: Path) -> None:
    model = Kronos.from_pretrained(golden / "predictor", map_location="cpu", strict=False, local_files_only=True)
    assert not model.training
    with pytest.warns(UserWarning, match="resume_download has no effect"):
        Kronos.from_pretrained(golden / "predictor", resume_download=True)
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        Kronos.from_pretrained(golden / "predictor", proxies={"https": "http://proxy"})


def test_the_tokenizer_s_answers_are_the_reference_s(golden: Path, tokenizer: KronosTokenizer) -> None:
    want = load_file(golden / "tokenizer_case.safetensors")
    (coarse, whole), bsq_loss, quantized, ids = tokenizer(want["x"])
    for name, got in {"recon_s1": coarse, "recon": whole, "bsq_loss": bsq_loss, "quantized": quantized}.items():
        torch.testing.assert_close(got, want[name], **CLOSE)
    assert torch.equal(ids, want["token_ids"])
    assert torch.equal(tokenizer.encode(want["x"]), want["full_ids"])
    s1, s2 = tokenizer.encode(want["x"], half=True)
    assert torch.equal(s1, want["s1_ids"])
    assert torch.equal(s2, want["s2_ids"])
    torch.testing.assert_close(tokenizer.decode([s1, s2], half=True), want["decoded_from_halves"], **CLOSE)
    torch.testing.assert_close(tokenizer.decode(ids), want["decoded_from_full"], **CLOSE)


def test_the_predictor_s_answers_are_the_reference_s(golden: Path, predictor: Kronos, predictor_name: str) -> None:
    want = load_file(golden / f"{predictor_name}_case.safetensors")
    s1, s2, stamp = want["s1_ids"], want["s2_ids"], want["stamp"]
    logits, context = predictor.decode_s1(s1, s2, stamp)
    torch.testing.assert_close(logits, want["s1_logits"], **CLOSE)
    torch.testing.assert_close(context, want["context"], **CLOSE)
    last = predictor.decode_s2(context, want["sampled_s1"])[:, -1, :]
    torch.testing.assert_close(last, want["s2_logits_last"], **CLOSE)
    given = {"use_teacher_forcing": True, "s1_targets": s1[:, 1:]}
    both = predictor(s1[:, :-1], s2[:, :-1], stamp[:, :-1], **given)
    torch.testing.assert_close(both[0], want["train_s1_logits"], **CLOSE)
    torch.testing.assert_close(both[1], want["train_s2_logits"], **CLOSE)
    losses = predictor.head.compute_loss(*both, s1[:, 1:], s2[:, 1:])
    for name, got in zip(("loss", "s1_loss", "s2_loss"), losses, strict=True):
        torch.testing.assert_close(got, want[name], **CLOSE)
    # The training pass in two halves.
    halves = predictor.decode_s2(predictor.decode_s1(s1[:, :-1], s2[:, :-1], stamp[:, :-1])[1], s1[:, 1:])
    torch.testing.assert_close(halves, both[1], **CLOSE)


def test_without_teacher_forcing_s1_is_drawn_by_torch_s_generator(
    golden: Path, predictor: Kronos, predictor_name: str
) -> None:
    want = load_file(golden / f"{predictor_name}_case.safetensors")
    s1, s2, stamp = (want[name][:, :-1] for name in ("s1_ids", "s2_ids", "stamp"))

    def drawn(seed: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(seed)
        return predictor(s1, s2, stamp)

    torch.testing.assert_close(drawn(0)[0], want["train_s1_logits"], **CLOSE)
    assert torch.equal(drawn(0)[1], drawn(0)[1])
    assert not torch.equal(drawn(0)[1], drawn(1)[1])
    with pytest.raises(ConfigError, match="needs s1_targets"):
        predictor(s1, s2, stamp, use_teacher_forcing=True)


def test_padding_behind_the_bars_changes_nothing_before_it(
    golden: Path, predictor: Kronos, predictor_name: str
) -> None:
    want = load_file(golden / f"{predictor_name}_case.safetensors")
    s1, s2, stamp = want["s1_ids"], want["s2_ids"], want["stamp"]
    mask = torch.arange(20).expand(2, -1) >= 15
    padded = [torch.where(mask, 0, ids) for ids in (s1, s2)]
    got, context = predictor.decode_s1(*padded, stamp, padding_mask=mask)
    torch.testing.assert_close(got[:, :15], want["s1_logits"][:, :15], **CLOSE)
    with pytest.raises(ConfigError, match="Pad at the end"):
        predictor(s1, s2, stamp, padding_mask=~mask)
    with pytest.raises(ConfigError, match="sees the whole context"):
        predictor.decode_s2(context, want["sampled_s1"], padding_mask=mask)
    # And does not count in the loss.
    logits = torch.randn(2, 20, 64, generator=torch.Generator().manual_seed(0))
    masked = predictor.head.compute_loss(logits, logits, s1, s2, padding_mask=mask)
    cut = predictor.head.compute_loss(logits[:, :15], logits[:, :15], s1[:, :15], s2[:, :15])
    torch.testing.assert_close(masked, cut)


def train(model: nn.Module, losses: list, lr: float, betas: tuple[float, float], clip: float) -> dict[str, Tensor]:
    """A training loop as the recipe has it, in plain torch; (steps,) of each measure."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1, betas=betas)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=10, pct_start=0.03, div_factor=10)
    rows = []
    for batch_loss in losses:
        optimizer.zero_grad()
        loss = batch_loss()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
        rows.append((loss.item(), norm.item(), optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    columns = torch.tensor(rows, dtype=torch.float64).T
    return dict(zip(("loss", "grad_norm", "lr"), columns, strict=True))


def test_a_training_loop_over_the_tokenizer_runs_as_it_did(golden: Path, tokenizer: KronosTokenizer) -> None:
    want = load_file(golden / "tokenizer_training.safetensors")

    def loss(x: Tensor) -> Tensor:
        (z_pre, z), bsq_loss, _, _ = tokenizer(x)
        return (F.mse_loss(z_pre, x) + F.mse_loss(z, x) + bsq_loss) / 2

    got = train(tokenizer, [lambda x=x: loss(x) for x in want["x"][:3]], 2e-4, (0.9, 0.999), 2.0)
    for name, values in got.items():
        torch.testing.assert_close(values, want[name][:3].double(), rtol=1e-4, atol=0.0)


def test_a_training_loop_over_the_predictor_runs_as_it_did(
    golden: Path, predictor: Kronos, predictor_name: str
) -> None:
    want = load_file(golden / f"{predictor_name}_training.safetensors")

    def loss(i: int) -> Tensor:
        s1, s2, stamp = (want[name][i] for name in ("s1_ids", "s2_ids", "stamp"))
        logits = predictor(s1[:, :-1], s2[:, :-1], stamp[:, :-1, :], use_teacher_forcing=True, s1_targets=s1[:, 1:])
        return predictor.head.compute_loss(logits[0], logits[1], s1[:, 1:], s2[:, 1:])[0]

    got = train(predictor, [lambda i=i: loss(i) for i in range(3)], 4e-5, (0.9, 0.95), 3.0)
    for name, values in got.items():
        torch.testing.assert_close(values, want[name][:3].double(), rtol=1e-4, atol=0.0)


def test_generate_continues_normalised_arrays(golden: Path, kronos: KronosPredictor, predictor_name: str) -> None:
    want = load_file(golden / f"{predictor_name}_greedy.safetensors")
    for case_name in {name.split(".")[0] for name in want}:
        x, stamp, expected = (want[f"{case_name}.{part}"] for part in ("x", "stamp", "prediction"))
        rows, horizon = x.shape[1], expected.shape[1]
        past, future = stamp[:, :rows], stamp[:, rows:]
        got = kronos.generate(x.numpy(), past.numpy(), future.numpy(), horizon, 1.0, 1, 1.0, 1, False)
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected.numpy(), atol=1e-4, rtol=0)
        again = auto_regressive_inference(
            kronos.tokenizer, kronos.model, x, past, future, 32, horizon, T=1.0, top_k=1, sample_count=1
        )
        assert np.array_equal(again[:, -horizon:, :], got)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": lambda x: x[0]}, r"x must be \(series, rows, 6\)"),
        ({"x": lambda x: x * np.nan}, "x has missing"),
        ({"y": lambda y: y[:, 1:]}, r"y_stamp must be \(2, 3, 5\), found \(2, 2, 5\)"),
        ({"p": lambda p: p[..., ::-1] + 20}, "x_stamp has time features that no clock shows"),
    ],
)
def test_arrays_that_cannot_be_continued(kronos: KronosPredictor, change: dict, says: str) -> None:
    given = {"x": np.zeros((2, 8, 6)), "p": np.ones((2, 8, 5)), "y": np.ones((2, 3, 5))}
    given |= {name: edit(given[name]) for name, edit in change.items()}
    with pytest.raises(InputError, match=says):
        kronos.generate(given["x"], given["p"], given["y"], 3)


@pytest.mark.parametrize("part", ["model.transformer.0.ffn.w2", "tokenizer.quant_embed", "tokenizer.head"])
def test_damaged_weights_are_an_error(kronos: KronosPredictor, part: str) -> None:
    owner, name = part.split(".", 1)
    getattr(kronos, owner).get_submodule(name).weight.data[0, 0] = np.nan
    with pytest.raises(DataError, match="weights are damaged"):
        kronos.generate(np.zeros((2, 8, 6)), np.ones((2, 8, 5)), np.ones((2, 3, 5)), 3, verbose=False)


def test_models_trained_here_forecast_at_once_everywhere(
    golden: Path, kronos: KronosPredictor, predictor_name: str
) -> None:
    """A forecaster sees the very weights that a loop trains, and chandler's own takes these classes too."""
    df, x, y, _ = case(golden, predictor_name, "full")
    before = kronos.predict(df, x, y, 8, top_k=1, verbose=False)
    own = Forecaster(kronos.tokenizer, kronos.model, device="cpu", max_context=32)
    bars = df.assign(timestamps=x)
    assert own.forecast(bars, 8, paths=1, top_k=1, timestamps=y, anchor=False).paths[0, :, 3] == pytest.approx(
        before["close"]
    )
    with torch.no_grad():
        kronos.model.norm.weight.mul_(-1)
    after = kronos.predict(df, x, y, 8, top_k=1, verbose=False)
    assert not np.allclose(before["close"], after["close"])
    assert own.forecast(bars, 8, paths=1, top_k=1, timestamps=y, anchor=False).paths[0, :, 3] == pytest.approx(
        after["close"]
    )
