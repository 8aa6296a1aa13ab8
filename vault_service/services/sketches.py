"""HyperLogLog sketches, by Apache DataSketches: the only module that imports the library.

It comes with the optional extra `usage`, and brings numpy: 0.3 s and 23 MB in a process that counts
(measured, Python 3.11), nothing in one that does not, because it is imported when `Sketches` is
made.
"""

from __future__ import annotations

from typing import Any, Final

from vault_service.errors import SettingsError

# 2^14 registers of four bits: 8 KB for a place with more than two thousand visitors, less for
# others. The relative standard error of a merged sketch is 1.04 / sqrt(2^14) = 0.81 %.
LG_K: Final = 14


class Sketches:
    """Makes, merges and reads sketches. What it makes is not thread-safe.

    Raises:
        SettingsError: the library is not installed.
    """

    def __init__(self) -> None:
        try:
            import datasketches  # noqa: PLC0415 -- see above
        except ImportError as error:
            raise SettingsError(
                "VAULT_SERVICE_USAGE_SITES is set, and the library that counts visitors is missing",
                hint="install the extra: pip install 'vault-service[usage]'",
            ) from error
        self._library: Any = datasketches

    def new(self) -> Any:
        """An empty sketch; its `update` takes a whole number of 64 bits, with sign."""
        return self._library.hll_sketch(LG_K, self._library.HLL_4)

    def pack(self, sketch: Any) -> bytes:
        """A sketch in the library's compact form."""
        return bytes(sketch.serialize_compact())

    def merge(self, *sketches: Any) -> Any:
        """A sketch of all that is in any of these, each a sketch or in its compact form."""
        union = self._library.hll_union(LG_K)
        for each in sketches:
            union.update(
                self._library.hll_sketch.deserialize(each) if isinstance(each, bytes) else each
            )
        return union.get_result(self._library.HLL_4)

    @staticmethod
    def count(sketch: Any) -> int:
        """How many different numbers a sketch was given, nearly."""
        return round(float(sketch.get_estimate()))
