"""A Maildir: each message of `new/` is taken in and then moved to `cur/`, by one rename.

What dies in between is found in `new/` again, and found to be here. What is refused for good is
moved, too, flagged (`F`) for somebody to look at; what cannot be taken now stays where it is. The
folder holds originals in clear: whoever empties `cur/`, and when, is the mail server's affair.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from vault_service.domain import mail
from vault_service.errors import SettingsError
from vault_service.intake.replies import TOO_LARGE, Reply, deliver
from vault_service.services.communications import MAX_COMMUNICATION
from vault_service.services.intake import Incoming, Taken

# Seconds between looks.
PERIOD: Final = 1.0

_log = structlog.get_logger("vault_service.intake")


class Maildir:
    """One Maildir.

    Args:
        folder: holds `new` and `cur`.
        take: the use case.
        recipients: the mailboxes whose messages it holds.

    Raises:
        SettingsError: it is no Maildir.
    """

    def __init__(
        self, folder: Path, take: Callable[[Incoming], Taken], recipients: tuple[str, ...]
    ) -> None:
        self._new, self._cur = folder / "new", folder / "cur"
        if not (self._new.is_dir() and self._cur.is_dir()):
            raise SettingsError("--maildir must name a folder that holds new and cur")
        self._take = take
        self._recipients = recipients

    def round(self, stopped: Callable[[], bool]) -> int:
        """Take in what lies in `new/`, oldest name first; how many were moved."""
        moved = 0
        for name in sorted(os.listdir(self._new)):  # noqa: PTH208 -- names are all that is needed
            if stopped():
                break
            if name.startswith("."):
                continue
            reply = self._one(name)
            if reply is None or not (reply.taken or reply.refused):
                continue
            # The base name stays; what follows a colon are flags, which `new` has none of.
            flags = "S" if reply.taken else "F"
            (self._new / name).rename(self._cur / f"{name.partition(':')[0]}:2,{flags}")
            moved += 1
        return moved

    def _one(self, name: str) -> Reply | None:
        """Take in one file; None where it cannot be read, or is gone."""
        try:
            # Never through a link, and never waiting at a pipe.
            handle = os.open(self._new / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            _log.warning("message not readable", file=name)
            return None
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                _log.warning("message not readable", file=name)
                return None
            content = file.read(MAX_COMMUNICATION + 1)
        return read(self._take, content, self._recipients)


def read(take: Callable[[Incoming], Taken], content: bytes, recipients: tuple[str, ...]) -> Reply:
    """Take in a message that came as a file: its path is what the topmost `Return-Path` says."""
    if len(content) > MAX_COMMUNICATION:
        return TOO_LARGE
    told = mail.read(content).all("return-path")[:1]
    path = told[0].strip("<> ") if told else None
    return deliver(take, Incoming(content=content, recipients=recipients, path=path))
