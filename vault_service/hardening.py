"""What a process does so that nobody can read its memory from outside.

Keys and values stay in the heap of a Python process for a while, whatever it does. So no core file
may be written, and no process of the same user may attach to it or read `/proc/PID/mem` and
`/proc/PID/environ`. Root can still do both; that is what the threat model says.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from typing import Final

# linux/prctl.h
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4


def _prctl(option: int, value: int) -> None:
    """Call prctl(2).

    Raises:
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def forbid_dumps() -> None:
    """Forbid core files and reading this process's memory; call first in every process.

    A new program (exec) starts readable again, a forked process does not.

    Raises:
        OSError: the kernel refused, and the process should not go on.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        _prctl(_PR_SET_DUMPABLE, 0)


def end_with_parent(parent: int) -> None:
    """Have this process told to stop (SIGTERM) as soon as its parent dies, however it dies.

    Otherwise the workers of a killed server would keep its port and serve on, unsupervised.

    Args:
        parent: the parent's process id; should it be gone already, this process stops at once.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
