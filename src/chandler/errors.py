"""The errors that a user can cause. Each message says what is wrong, where, and what to do next.

Everything else that is raised is a defect of chandler.
"""


class ChandlerError(Exception):
    """Base of every error that chandler raises on purpose; its text is meant for the user."""


class DataError(ChandlerError):
    """Market data that cannot be used as it is: a file, a column, a row, too few rows."""


class ConfigError(ChandlerError):
    """A setting that is unknown, impossible or in conflict with another one."""


class CheckpointError(ChandlerError):
    """A model folder or repository that is missing, unreachable, incomplete or of the wrong shape."""


class TrainingError(ChandlerError):
    """A run that cannot go on: a loss that is not finite, a run folder that does not fit its settings."""
