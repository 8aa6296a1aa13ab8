"""As whom PostgreSQL runs when the parent is root, whom PostgreSQL refuses.

The least right that works is taken. Where the user `nobody` can reach the binaries and the data,
nothing more is given. Below a folder of mode 0700 (a clone in a private temporary folder) it keeps
one capability to look past modes, which lets the server's superuser read any file of the machine;
that is one of the reasons why the embedded servers refuse production.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path

from vault_service.embedded.files import EmbeddedError
from vault_service.embedded.process import SAME, Identity, can_reach

_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
_UNPRIVILEGED = "nobody"  # initdb wants a user that the machine knows by name


def choose(paths: Sequence[Path]) -> Identity:
    """Return the identity with the least rights that can execute or enter all of ``paths``.

    Raises:
        EmbeddedError: the parent is root and no way to run unprivileged works here.
    """
    if os.geteuid() != 0:
        return SAME
    try:
        user = pwd.getpwnam(_UNPRIVILEGED)
    except KeyError as error:
        raise EmbeddedError(
            f"root may not run PostgreSQL, and there is no user {_UNPRIVILEGED} to run it as",
            hint="start as an ordinary user",
        ) from error
    uid, gid = user.pw_uid, user.pw_gid
    for candidate in (
        Identity(uid=uid, gid=gid),
        Identity(uid=uid, gid=gid, capability=_CAP_DAC_READ_SEARCH),
        Identity(uid=uid, gid=gid, capability=_CAP_DAC_OVERRIDE),
        Identity(uid=uid, gid=gid, namespace=True),
    ):
        if can_reach(paths, candidate):
            return candidate
    raise EmbeddedError(
        "root may not run PostgreSQL, and no unprivileged user can reach the program or its data",
        hint="start as an ordinary user, or from a folder that other users may enter",
    )
