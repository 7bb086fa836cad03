"""What a run's YAML can say: `run` (the whole), `data` (bars and windows), `stage` (a stage), `signal` (a head), `loading` (from a
file, and back), `reference` (the reference's YAML turned into ours).
"""

from chandler.training.settings.data import CorpusSource, DataSettings, ReplaySettings, leaves_bars
from chandler.training.settings.loading import PRETRAINING, load_settings, save_settings, settings_to_run
from chandler.training.settings.run import Settings, TrackerName
from chandler.training.settings.signal import SignalSettings
from chandler.training.settings.stage import (
    RANDOM,
    LoraSettings,
    PredictorSettings,
    ScheduleKind,
    ScoringSettings,
    StageSettings,
    TokenizerSettings,
)

__all__ = [
    "PRETRAINING",
    "RANDOM",
    "CorpusSource",
    "DataSettings",
    "LoraSettings",
    "PredictorSettings",
    "ReplaySettings",
    "ScheduleKind",
    "ScoringSettings",
    "Settings",
    "SignalSettings",
    "StageSettings",
    "TokenizerSettings",
    "TrackerName",
    "leaves_bars",
    "load_settings",
    "save_settings",
    "settings_to_run",
]
