"""One table from what became of a message to what a mail server is told, and to an exit code."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from keys.errors import KeysError
from vault_service.errors import InvalidInput, ServiceError
from vault_service.services.intake import Incoming, Taken

_log = structlog.get_logger("vault_service.intake")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is said of a message.

    Attributes:
        line: code, enhanced code (RFC 3463) and words for SMTP and LMTP.
        exit: the code of sysexits.h that programs behind a pipe give.
    """

    line: str
    exit: int

    @property
    def taken(self) -> bool:
        """Whether the message is here for good."""
        return self.exit == os.EX_OK

    @property
    def refused(self) -> bool:
        """Whether it never will be."""
        return self.exit == os.EX_DATAERR


LATER: Final = Reply(line="451 4.3.0 not taken now, try again later", exit=os.EX_TEMPFAIL)
FULL: Final = Reply(line="452 4.3.1 too much at once, try again later", exit=os.EX_TEMPFAIL)
TOO_LARGE: Final = Reply(line="552 5.3.4 a message may have 25 MiB", exit=os.EX_DATAERR)
BARE: Final = Reply(
    line="554 5.6.0 lines end with CR and LF, and neither may stand alone", exit=os.EX_DATAERR
)
_REFUSALS: Final = {
    "communication_too_large": TOO_LARGE,
    "sensitive_authentication_data": Reply(
        line="554 5.7.1 this seems to hold the security code, PIN or track of a card, which must"
        " never be sent: send it again without",
        exit=os.EX_DATAERR,
    ),
}


def deliver(take: Callable[[Incoming], Taken], incoming: Incoming) -> Reply:
    """Have a message taken in; whatever happens, there is a reply, and only one says that it is."""
    try:
        taken = take(incoming)
    except InvalidInput as error:
        refusal = _REFUSALS.get(error.code)
        _log.warning("message refused" if refusal else "message not taken", code=error.code)
        return refusal or LATER
    except (ServiceError, KeysError) as error:
        _log.warning("message not taken", code=error.code)
        return LATER
    except Exception:  # noqa: BLE001 -- the outermost edge: whatever it is, the sender keeps it
        _log.exception("alarm", alarm="intake_failed")
        return LATER
    _log.info("message taken", token=taken.reference, state=taken.trust.value)
    return Reply(line=f"250 2.0.0 taken as {taken.reference}", exit=os.EX_OK)
