"""Seals and opens the documents of a disclosure: evidence, names of recipients, comments.

They are sealed like any value, under a KEK of their own, so that the pages on which officers
decide can read them with a Vault role that opens no customer's value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from keys.envelope import Context, open_, seal
from keys.errors import CiphertextRejected
from vault_service.errors import ServiceError
from vault_service.services.crypto_ports import DataKeys, Sealed, Unwrapping

KEK: Final = "evidence"
_VERSION: Final = 1


class DocumentUnreadable(ServiceError):
    """A sealed document did not open: it was changed, moved, or its key was destroyed."""

    code = "document_unreadable"


class Documents:
    """Seals with data keys, opens with the review role."""

    def __init__(self, *, data_keys: DataKeys, unwrapping: Unwrapping) -> None:
        self._data_keys = data_keys
        self._unwrapping = unwrapping

    def seal(self, disclosure: str, kind: str, document: object) -> Sealed:
        """Seal one JSON document of a disclosure.

        Args:
            disclosure: whose document.
            kind: which of its documents; a document does not open as another kind.
            document: what JSON can say.

        Raises:
            VaultUnavailable: there is no data key.
        """
        (key,) = self._data_keys.take(KEK, 1)
        envelope = seal(key, msgspec.json.encode(document), _context(disclosure, kind))
        return Sealed(envelope=envelope, wrapped_key=key.wrapped)

    def open(self, disclosure: str, sealed: Sequence[tuple[str, Sealed]]) -> list[object]:
        """Open documents of a disclosure, (kind, sealed) each, in one request to Vault.

        Raises:
            VaultUnavailable: Vault gave no answer.
            DocumentUnreadable: one did not open.
        """
        if not sealed:
            return []
        keys = self._unwrapping.unwrap([each.wrapped_key for _, each in sealed])
        opened: list[object] = []
        for (kind, each), key in zip(sealed, keys, strict=True):
            if isinstance(key, CiphertextRejected):
                raise DocumentUnreadable("a document of this disclosure does not open") from key
            try:
                plain = open_(key, each.envelope, _context(disclosure, kind))
            except CiphertextRejected as exc:
                raise DocumentUnreadable("a document of this disclosure does not open") from exc
            opened.append(msgspec.json.decode(plain))
        return opened


def _context(disclosure: str, kind: str) -> Context:
    return Context(token=disclosure, customer="", data_class=kind, record_version=_VERSION)
