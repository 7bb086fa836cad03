"""The only place where raw tables are validated: a RawTable in, the bars of its symbols out.

Whatever reads data (a file, a frame, a vendor layout) makes a `RawTable` and calls `validate_table` (validate), which has the
checks in order: which rows are asked for, and of which symbol (selection); when they are (time_index); what their numbers are
(values), and whether the prices can be prices (prices); then one sort into the bars of each symbol, which refuses rows that
contradict one another (grouping). All of them work on one `TableState` (state).
"""

from chandler.data.reading.validation.selection import NoSuchRowsError
from chandler.data.reading.validation.validate import validate_table

__all__ = ["NoSuchRowsError", "validate_table"]
