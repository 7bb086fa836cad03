"""All symbols' bars in a few flat arrays, in memory or mapped from a folder.

Read `store` (`BarStore`, and a folder saved whole), then `writer` (a folder that `prepare` grows: arrays that only get
longer, and a manifest) and `concatenated` (rows of one symbol that lie in several stretches of such arrays).
"""

from chandler.data.store.concatenated import ConcatenatedArray, gather_windows
from chandler.data.store.store import META, VERSION, BarStore, no_such_symbol, require_new
from chandler.data.store.writer import (
    LAYOUT,
    MANIFEST,
    Chunk,
    ManifestEntry,
    StoreWriter,
    latest_entries,
    read_manifest,
)

__all__ = [
    "LAYOUT",
    "MANIFEST",
    "META",
    "VERSION",
    "BarStore",
    "Chunk",
    "ConcatenatedArray",
    "ManifestEntry",
    "StoreWriter",
    "gather_windows",
    "latest_entries",
    "no_such_symbol",
    "read_manifest",
    "require_new",
]
