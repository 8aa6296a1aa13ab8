"""How memory is managed in processes that live long: what is loaded, looked at, given back."""

from __future__ import annotations

import ctypes
import gc
import sys
from types import ModuleType
from typing import Final, cast

from vault_service import settings

# Objects made and kept before the collector looks for cycles among them; Python's default is 700.
_YOUNG: Final = 20_000

# glibc gives each thread an arena of its own and raises by itself the size from which memory goes
# back to the system: both keep what one large batch needed, in each of a dozen threads. The numbers
# are those of malloc.h.
_GLIBC: Final = {
    -8: 2,  # M_ARENA_MAX
    -3: 128 * 1024,  # M_MMAP_THRESHOLD
    -1: 512 * 1024,  # M_TRIM_THRESHOLD
}
# Granian brings jemalloc, which keeps as many arenas and reads its options when it is loaded.
_JEMALLOC: Final = {
    "_RJEM_MALLOC_CONF": "narenas:1,dirty_decay_ms:0,muzzy_decay_ms:0",
}


def give_back_what_is_free() -> None:
    """Have C's allocators give free memory back to the system; processes forked later do as well.

    To be called before Granian is imported and before there are threads. Another C library than
    glibc is left as it is, and so is what the environment says about jemalloc already.
    """
    settings.default_environment(_JEMALLOC)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, value in _GLIBC.items():
            mallopt(parameter, value)


def do_without(library: str) -> None:
    """Have this process, and those forked from it, load a library no more.

    The library of logs takes `rich` where it is there, 4.5 MiB of each process that serves, to show
    failures in a way in which none is shown here.
    """
    # What the import system takes for a library that is not there.
    sys.modules.setdefault(library, cast("ModuleType", None))


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
