"""What a sweep varies, as it is typed, and the trials that come of it: every combination of the lists, with every sample of the
draws. A function of texts and seed, done before anything is trained."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import yaml

from chandler.errors import ConfigError
from chandler.settings import did_you_mean

MOST = 1000
"""Trials of a sweep at most: more is a slip of the hand."""
DRAWS = ("choice", "loguniform", "uniform")
_TRIES = 1000
"""Draws for each sample until one is new."""


@dataclass(frozen=True)
class Parameter:
    """One key that is varied: `values` to be combined with those of other keys, or (where `draw` names a distribution)
    what is drawn from: two bounds, or the values of a choice."""

    key: str
    values: tuple[str, ...]
    draw: str = ""

    def drawn(self, seed: int) -> Iterator[str]:
        """Values without end, a function of key and seed: other parameters do not move them. Four digits each, so that what is
        told is what was used."""
        generator = np.random.default_rng([seed, *self.key.encode()])
        while True:
            share = float(generator.random())
            if self.draw == "choice":
                yield self.values[int(share * len(self.values))]
                continue
            low, high = map(float, self.values)
            value = low * (high / low) ** share if self.draw == "loguniform" else low + (high - low) * share
            yield repr(min(max(float(f"{value:.4g}"), low), high))


def read_parameter(text: str) -> Parameter:
    """`KEY=1e-6,1e-5`, `KEY=1..3` or `KEY=loguniform(0.001,0.1)`.

    Raises:
        ConfigError: it is none of these.
    """
    key, equals, given = text.partition("=")
    key, given = key.strip(), given.strip()
    if not equals or not given or not all(key.split(".")):
        raise ConfigError(f"parameter {text}: expected KEY=VALUES, as in params=['predictor.learning_rate=1e-6,1e-5'].")
    if key == "out":
        raise ConfigError("parameter out: each trial has a folder of its own within that of the sweep; leave it out.")
    call = re.fullmatch(r"([A-Za-z]+)\((.*)\)", given)
    if call is None:
        return Parameter(key, _listed(given, text))
    name, values = call[1], _listed(call[2], text)
    if name not in DRAWS:
        raise ConfigError(f"parameter {text}: unknown draw {name}{did_you_mean(name, DRAWS)}. A text is put in quotes.")
    if name != "choice":
        low, high = _bounds(values, name, text)
        if name == "loguniform" and low <= 0:
            raise ConfigError(f"parameter {text}: loguniform draws between numbers above 0, found {values[0]}.")
        if not low < high:
            raise ConfigError(f"parameter {text}: the first bound is to be below the second one.")
    return Parameter(key, values, name)


def draw_trials(parameters: Sequence[Parameter], samples: int, seed: int) -> list[dict[str, str]]:
    """The values of each trial by key: for every sample all combinations of the lists, the last list moving fastest. All lists
    meet the same samples, so that seeds in a list repeat the same settings.

    Raises:
        ConfigError: a key or trial that comes twice, samples of nothing, too many.
    """
    keys = [one.key for one in parameters]
    double = next((key for key in keys if keys.count(key) > 1), None)
    if double is not None:
        raise ConfigError(f"parameter {double} is given twice: put its values into one list.")
    lists, drawn = ([one for one in parameters if bool(one.draw) == is_drawn] for is_drawn in (False, True))
    if samples > 1 and not drawn:
        raise ConfigError(
            f"samples={samples} draws from nothing: all parameters are lists. Draw one, as in "
            "params=['predictor.weight_decay=loguniform(0.001,0.1)'], or repeat all with params=['seed=1..3']."
        )
    number = math.prod((samples, *(len(one.values) for one in lists)))
    if number > MOST:
        raise ConfigError(f"these parameters make {number:,} trials, and a sweep has {MOST:,} at most.")
    grid = [
        dict(zip((one.key for one in lists), row, strict=True)) for row in itertools.product(*(o.values for o in lists))
    ]
    trials = [{**sample, **row} for sample in _samples(drawn, samples, seed) for row in grid]
    return [{key: trial[key] for key in keys} for trial in trials]


def _samples(drawn: Sequence[Parameter], samples: int, seed: int) -> list[Mapping[str, str]]:
    """So many different draws."""
    if not drawn:
        return [{}]
    found: dict[tuple[str, ...], None] = {}
    for row in itertools.islice(zip(*(one.drawn(seed) for one in drawn), strict=True), samples * _TRIES):
        found[row] = None
        if len(found) == samples:
            return [dict(zip((one.key for one in drawn), row, strict=True)) for row in found]
    raise ConfigError(
        f"samples={samples} different ones were not found: {', '.join(one.key for one in drawn)} "
        f"{'gives' if len(drawn) == 1 else 'give'} {len(found)}. Ask for samples={len(found)}."
    )


def _listed(text: str, whole: str) -> tuple[str, ...]:
    """Values between commas, ranges of whole numbers spelled out."""
    found = [one for part in _parts(text) for one in _spelled(part.strip(), whole)]
    for one in found:
        try:
            known = yaml.safe_load(one) is not None or one in ("null", "~")
        except yaml.YAMLError:
            raise ConfigError(
                f"parameter {whole}: the value {one} is not valid YAML. Quote it if it is a text."
            ) from None
        if not known:
            raise ConfigError(f"parameter {whole}: a value is missing between two commas.")
    return tuple(found)


def _spelled(text: str, whole: str) -> Iterable[str]:
    ends = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", text)
    if ends is None:
        return [text]
    low, high = int(ends[1]), int(ends[2])
    if not low < high:
        raise ConfigError(f"parameter {whole}: a range goes from a number to a higher one, as in 1..3; found {text}.")
    if high - low >= MOST:
        raise ConfigError(
            f"parameter {whole}: {text} has {high - low + 1:,} values, and a sweep {MOST:,} trials at most."
        )
    return map(str, range(low, high + 1))


def _parts(text: str) -> Iterator[str]:
    """What stands between commas; brackets and quotation marks hold together."""
    depth, quote, begin = 0, "", 0
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"" and not text[begin:place].strip():
            quote = sign
        elif sign in "[{(":
            depth += 1
        elif sign in ")}]":
            depth -= 1
        elif sign == "," and not depth:
            yield text[begin:place]
            begin = place + 1
    yield text[begin:]


def _bounds(values: tuple[str, ...], name: str, whole: str) -> tuple[float, float]:
    try:
        low, high = map(float, values)
    except ValueError:
        raise ConfigError(f"parameter {whole}: {name} takes two numbers, as in {name}(0.001,0.1).") from None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"parameter {whole}: {name} takes two finite numbers.")
    return low, high
