"""GARCH(1,1) paths of the close, fitted to each history; falls back to EWMA and says so where no fit can be had."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chandler.errors import ConfigError
from chandler.evaluation.baselines.naive import along, ewma, past_returns

Array = NDArray[np.float64]
Note = Callable[[str], None]
"""Is told when a baseline could not do what its name says, and what it did instead."""
LEAST_RETURNS = 50
"""Three parameters of a latent variance cannot be told from fewer returns."""


@dataclass(frozen=True, eq=False)
class Garch:
    """v_{t+1} = omega + alpha r_t^2 + beta v_t, fitted to log returns (n,)."""

    omega: float
    alpha: float
    beta: float
    variance: float
    """Of the first bar ahead."""
    shocks: Array
    """(n,) returns in units of their conditional volatility, brought to mean 0 and variance 1."""


def garch(history: ArrayLike, horizon: int, paths: int, *, seed: int, note: Note | None = None) -> Array:
    """Paths by filtered historical simulation: a GARCH(1,1) with zero mean, its own past shocks drawn again.

    Fitted by Gaussian quasi-likelihood, which finds the variance parameters whatever the shocks are (Bollerslev &
    Wooldridge 1992); shocks drawn from the past keep the skew and tails that a normal or a t would have to assume.
    Source: Bollerslev (1986), J. Econometrics 31; Barone-Adesi, Giannopoulos & Vosper (1999), J. Futures Markets 19.

    Args:
        history: closes (T,), positive, the newest last; with fewer than 51 there is no fit.
        horizon, paths: >= 1.
        seed: of this call's own generator.
        note: called once with the reason if there is no fit and the paths are those of `ewma`; None warns.

    Returns:
        (paths, horizon), in price units, driftless.

    Raises:
        ConfigError: package arch is not installed.
        DataError: as `random_walk`.
    """
    fitted = fit_garch(past_returns(history))
    if isinstance(fitted, str):
        text = f"garch: {fitted}; paths are those of EWMA"
        if note is not None:
            note(text)
        else:
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        return ewma(history, horizon, paths, seed=seed)
    shocks = np.random.default_rng(seed).choice(fitted.shocks, size=(paths, horizon))
    returns = np.empty((paths, horizon))
    variance = np.full(paths, fitted.variance)
    for step in range(horizon):
        returns[:, step] = np.sqrt(variance) * shocks[:, step]
        variance = fitted.omega + fitted.alpha * returns[:, step] ** 2 + fitted.beta * variance
    return along(history, returns)


def fit_garch(returns: Array) -> Garch | str:
    """The fitted model, or why there is none. ConfigError where package arch is not installed."""
    try:
        from arch import arch_model  # takes a second to import
    except ImportError as error:
        raise ConfigError(
            'the GARCH baseline needs the package arch: pip install "chandler-kronos[eval]", or leave garch out.'
        ) from error
    if len(returns) < LEAST_RETURNS:
        return f"{len(returns)} returns are too few, it takes {LEAST_RETURNS}"
    unit = float(returns.std())
    if not unit > 0:
        return "the history does not vary"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the optimiser warns of is in its flag
        try:
            # In units of their spread: the optimiser needs numbers near 1.
            found = arch_model(returns / unit, mean="Zero", vol="GARCH", p=1, q=1, rescale=False).fit(
                disp="off", show_warning=False
            )
        except (ValueError, RuntimeError, np.linalg.LinAlgError) as error:
            return f"the fit failed ({error})"
    omega, alpha, beta = (float(found.params[name]) for name in ("omega", "alpha[1]", "beta[1]"))
    volatility = np.asarray(found.conditional_volatility, np.float64)
    ahead = omega + alpha * (returns[-1] / unit) ** 2 + beta * volatility[-1] ** 2
    if found.convergence_flag != 0 or not (np.isfinite([omega, alpha, beta, ahead]).all() and (volatility > 0).all()):
        return "the fit did not converge"
    shocks = returns / unit / volatility
    shocks = (shocks - shocks.mean()) / shocks.std()
    return Garch(omega * unit**2, alpha, beta, ahead * unit**2, shocks)
