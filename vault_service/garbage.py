"""What Python's collector of cycles looks at, in processes that live long and make few cycles."""

from __future__ import annotations

import gc
from typing import Final

# Objects made and kept before the collector looks for cycles among them; Python's default is 700.
_YOUNG: Final = 20_000


def leave_alone_what_stays() -> None:
    """Have the collector of cycles look at what work leaves behind, and at nothing else.

    What a process consists of lives as long as it does; to walk all of it again and again took a
    third of a large batch, and up to 90 ms at a time, in which nobody was answered; and a tenth to
    a fifth of a pass of rewrapping. Work makes next to no cycles, so the young are looked at less
    often too.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)
