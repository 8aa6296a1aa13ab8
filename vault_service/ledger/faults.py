"""What can be wrong with a log, as one small tree of errors.

A message says what is wrong and where in the log, and never quotes an entry. Standard library only.
"""

from __future__ import annotations


class LogError(ValueError):
    """The log, or a part of it, is not what it claims to be. `code` is stable."""

    code = "ledger_invalid"

    def __init__(self, message: str, *, code: str | None = None, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index
        if code is not None:
            self.code = code


class TileMalformed(LogError):
    """A path, tile or entry bundle is not of its form."""

    code = "ledger_tile_malformed"


class NoteRejected(LogError):
    """A signed note is malformed, or no trusted key signed it."""

    code = "ledger_note_rejected"


class CheckpointRejected(LogError):
    """A note is signed, but is no checkpoint of this log."""

    code = "ledger_checkpoint_rejected"


class ProofRejected(LogError):
    """A proof does not prove what it was shown for."""

    code = "ledger_proof_rejected"


class TileMissing(LogError):
    """A tile that the tree's size says is there is not."""

    code = "ledger_tile_missing"


class EntriesMissing(LogError):
    """Entries that the tree's size says are there are not."""

    code = "ledger_entries_missing"


class EdgeBroken(LogError):
    """The right edge of the tree does not give its root."""

    code = "ledger_edge_broken"


class LogForked(LogError):
    """The tree does not continue what was signed: somebody rewrote it."""

    code = "ledger_forked"
