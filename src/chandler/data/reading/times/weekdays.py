"""Names of weekdays beside dates: they repeat what the date says, so they are taken off, and checked."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

_DAYS = {
    word: day
    for words in (
        "mon tue wed thu fri sat sun", "monday tuesday wednesday thursday friday saturday sunday",
        "mo di mi do fr sa so", "montag dienstag mittwoch donnerstag freitag samstag sonntag",
        "lundi mardi mercredi jeudi vendredi samedi dimanche", "lunes martes miércoles jueves viernes sábado domingo",
        "пн вт ср чт пт сб вс", "一 二 三 四 五 六 日", "周一 周二 周三 周四 周五 周六 周日",
        "星期一 星期二 星期三 星期四 星期五 星期六 星期日", "星期一 星期二 星期三 星期四 星期五 星期六 星期天",
        "月 火 水 木 金 土 日", "月曜日 火曜日 水曜日 木曜日 金曜日 土曜日 日曜日", "월 화 수 목 금 토 일",
        "월요일 화요일 수요일 목요일 금요일 토요일 일요일",
    )
    for day, word in enumerate(words.split())
}  # fmt: skip
_DAY = "|".join(sorted(_DAYS, key=len, reverse=True))
_WEEKDAY = rf"(?i)^(?:({_DAY})[.,]?\s+)|[\s,]*(?<=[\s,])({_DAY})\.?$|\s*[(\uff08\[]({_DAY})[)\uff09\]]$"


def without_weekdays(text: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """Dates without what repeats them: the name of the weekday, the name of a zone in brackets behind its offset.

    Returns:
        The text, and the weekday (N,) that was written, Monday 0; -1 for none. A column in which most cells have
        none is left as it is.
    """
    none = np.full(len(text), -1)
    sample = text.iloc[:: max(1, len(text) // 50)].dropna()
    if 2 * sum(re.search(_WEEKDAY, cell) is not None for cell in sample) <= len(sample):
        return text, none
    plain = text.str.replace(r"([+-]\d\d:?\d\d)\s*\([A-Za-z .'-]+\)$", r"\1", regex=True)
    plain = plain.str.replace(r"\b(?:GMT|UTC)([+-]\d)", r"\1", regex=True)
    found = plain.str.extract(_WEEKDAY).bfill(axis=1).iloc[:, 0]
    days = found.str.casefold().map(_DAYS).fillna(-1).to_numpy(np.int64)
    return plain.str.replace(_WEEKDAY, "", regex=True).str.strip(), days
