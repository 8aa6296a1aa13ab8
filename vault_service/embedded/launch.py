"""Start one program bound to its parent's life, as an unprivileged user where the parent is root.

Executed by path with ``python -I -S``, so it may use the standard library only and import nothing
of the project. It replaces itself with the program: the process id stays the one that the parent
got. PostgreSQL refuses to run as root; how the change of user works is chosen by the instruction:

- ``uid``/``gid`` alone: become that user. Enough where that user can reach every folder.
- with ``capability``: become that user and keep this one capability across exec
  (CAP_DAC_READ_SEARCH or CAP_DAC_OVERRIDE), because the data or the binaries stand below a folder
  of mode 0700.
- with ``namespace``: appear as ``uid`` inside a new user namespace and stay root outside, without
  any capability there. For containers that were not given the capabilities.

The instruction is one JSON object in the first argument; the program and its arguments follow.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import struct
import sys
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
# Without this bit the kernel drops capabilities for access(2) of a user who is not root, and
# PostgreSQL asks access(2) about its own binaries. See capabilities(7).
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAPABILITY_VERSION_3 = 0x20080522
_CLONE_NEWUSER = 0x10000000
_CANNOT_EXECUTE = 126


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _prctl(option: int, *arguments: int) -> None:
    padded = [*arguments, 0, 0, 0, 0][:4]
    _check(_libc().prctl(option, *(ctypes.c_ulong(value) for value in padded)))


def _keep_only(capability: int) -> None:
    """Make ``capability`` the whole of the permitted, effective, inheritable and ambient sets."""
    bits = 1 << capability
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    _check(_libc().capset(header, struct.pack("=6I", low, low, low, high, high, high)))
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def _enter_namespace(uid: int, gid: int) -> None:
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _check(_libc().unshare(_CLONE_NEWUSER))
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {outer_uid} 1"),
        ("gid_map", f"{gid} {outer_gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - few imports
            file.write(text)


def _change_user(instruction: dict[str, object]) -> None:
    uid, gid = instruction.get("uid"), instruction.get("gid")
    if not isinstance(uid, int) or not isinstance(gid, int):
        return
    if instruction.get("namespace"):
        _enter_namespace(uid, gid)
        return
    capability = instruction.get("capability")
    if isinstance(capability, int):
        _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if isinstance(capability, int):
        _keep_only(capability)


def _probe(paths: list[str]) -> NoReturn:
    """End with 0 when every program may be executed and every folder entered, else with 1."""
    sys.exit(0 if all(os.access(path, os.X_OK) for path in paths) else 1)


def main(arguments: list[str]) -> NoReturn:
    """Follow the instruction in ``arguments[0]`` and become ``arguments[1:]``.

    An instruction with ``probe``, a list of paths, only asks whether the changed user gets there.
    """
    instruction = json.loads(arguments[0])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    _change_user(instruction)
    if "probe" in instruction:
        _probe(instruction["probe"])
    if sys.platform == "linux":
        # After the change of user, which clears it.
        _prctl(_PR_SET_PDEATHSIG, int(instruction["signal"]))
    if os.getppid() != instruction["parent"]:
        sys.exit(1)  # the parent died before the signal was armed
    os.execv(arguments[1], arguments[1:])  # noqa: S606 - becoming that program is the purpose


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.stderr.write(f"launch: {error.strerror or error}\n")
        sys.exit(_CANNOT_EXECUTE)
