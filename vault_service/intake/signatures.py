"""DKIM (RFC 6376), checked here where no mail server in front does it. Off unless asked for.

A signature counts only if it covers the whole message: one with a length (`l=`) leaves room for
words that nobody signed. It says which domain stands for a message, and nothing about who wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import dkim
import structlog

from vault_service.domain import mail
from vault_service.domain.mail_trust import aligned

# The library copies a message several times over.
LARGEST: Final = 4 * 1024 * 1024
# Signatures that are tried: who sends hundreds would have us ask for hundreds of keys.
MOST: Final = 3
# Seconds for a key of the domain name system.
_TIMEOUT: Final = 5
_TAG: Final = re.compile(r"(?:^|;)\s*([a-z]+)\s*=\s*([^;]*)")

_log = structlog.get_logger("vault_service.intake")


class DkimCheck:
    """`intake.SignatureCheck` over dkimpy.

    Args:
        lookup: a text of the domain name system, by name and timeout; the system's resolver if
            left out.
    """

    def __init__(self, lookup: Callable[..., bytes | None] | None = None) -> None:
        self._lookup = {} if lookup is None else {"dnsfunc": lookup}

    def signed_for(self, content: bytes | bytearray, domain: str) -> bool:
        """Whether who may sign for this domain has signed all of the message."""
        if len(content) > LARGEST:
            return False
        signatures = mail.read(content).all("dkim-signature")[:MOST]
        message: bytes | None = None
        for index, text in enumerate(signatures):
            # Asked before a key is looked up; what holds is what the library has read.
            if not aligned(dict(_TAG.findall(text)).get("d", "").strip(), domain):
                continue
            message = bytes(content) if message is None else message
            if self._holds(message, index, domain):
                return True
        return False

    def _holds(self, message: bytes, index: int, domain: str) -> bool:
        try:
            check = dkim.DKIM(message, minkey=1024, timeout=_TIMEOUT)
            return (
                check.verify(idx=index, **self._lookup)
                and b"l" not in check.signature_fields
                and aligned(check.domain.decode("ascii"), domain)
            )
        except Exception as error:  # noqa: BLE001 -- whatever a message makes the library do, it is not signed
            _log.info("signature not checked", exc_info=error)
            return False
