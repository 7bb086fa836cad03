"""A finished run, or a pair of models, made a repository of the hub that says what it is: `record` (how it was made), `publication`
(what is uploaded, and whether it may be). Its card is a page of `reports`.
"""

from chandler.publishing.publication import Publication, push

__all__ = ["Publication", "push"]
