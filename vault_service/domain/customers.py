"""A customer: whom the data are about, known by a name that says nothing.

The vault keeps a caller's own reference for a customer as a keyed fingerprint only. This module
brings a reference into the one form that is fingerprinted; it never stores or shows it.
"""

from __future__ import annotations

from vault_service.domain import freetext

# The class name under which a reference is fingerprinted: Transit key `fingerprint-customer-ref`.
REFERENCE_CLASS = "customer-ref"
REFERENCE_LENGTH = 200


def reference_key(raw: object, *, pointer: str = "/external_ref") -> bytes:
    """The bytes of an external reference that are fingerprinted.

    A reference is an identifier of another system, so case and inner spaces count; only the Unicode
    composition (NFC) and outer spaces do not.

    Raises:
        InvalidInput: as `freetext.check_text`; a card number is no reference.
    """
    return freetext.check_text(raw, pointer=pointer, max_length=REFERENCE_LENGTH).encode()
