"""Sealed packages: what a reveal answers when the recipient alone shall read it.

The values are encrypted to the key whose thumbprint the officers approved. It stands in the
grant's row, in the disclosure token and, reckoned anew, in the record of the recipient; where they
differ nothing is revealed.

    package's plaintext = {"results": [{"id","class","value"} | {"id","error":{"code","detail"}}],
                           "receipt": {"entry","grant","ground","clause","at","values","recipient"}}
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import msgspec
import structlog

from vault_service.errors import DisclosureRefused, InvalidInput, ServiceError
from vault_service.services import recipient_keys
from vault_service.services.disclosure_ports import DisclosureRow
from vault_service.services.ports import Transaction
from vault_service.services.recipient_keys import RecipientKey
from vault_service.services.token_claims import PACKAGE
from vault_service.services.views import Receipt, Revealed

_log = structlog.get_logger(__name__)


def sealing_keys(
    tx: Transaction, grants: Collection[DisclosureRow]
) -> Callable[[DisclosureRow], RecipientKey]:
    """Read the keys of the grants that are delivered as packages.

    Returns:
        What tells a grant's key, or raises DisclosureRefused (`recipient_key_changed`) where the
        record does not hold the key that was approved.
    """
    wanted = {
        grant.recipient
        for grant in grants
        if grant.delivery == PACKAGE and grant.recipient is not None
    }
    held = tx.recipients.public_keys(sorted(wanted))
    return lambda grant: _approved(grant, held.get(grant.recipient or ""))


def _approved(grant: DisclosureRow, jwk: str | None) -> RecipientKey:
    try:
        key = None if jwk is None else recipient_keys.stored(jwk)
    except InvalidInput:
        key = None
    if key is None or key.thumbprint != grant.recipient_key:
        _log.error("alarm", alarm="recipient_key_changed", grant=grant.id)
        raise DisclosureRefused(
            "the recipient's key is not the one that was approved; an alarm was raised",
            code="recipient_key_changed",
        )
    return key


def packed(
    key: RecipientKey, results: Iterable[tuple[str, Revealed | ServiceError]], receipt: Receipt
) -> str:
    """The package of these results, by token, and their receipt."""
    content = {
        "results": [_result(token, result) for token, result in results],
        "receipt": {
            "entry": receipt.entry,
            "grant": receipt.grant,
            "ground": receipt.ground,
            "clause": receipt.clause,
            "at": receipt.at,
            "values": receipt.values,
            "recipient": receipt.recipient,
        },
    }
    return key.seal(msgspec.json.encode(content), grant=receipt.grant, entry=receipt.entry)


def _result(token: str, result: Revealed | ServiceError) -> dict[str, object]:
    if isinstance(result, Revealed):
        return {"id": token, "class": result.data_class, "value": result.value}
    return {"id": token, "error": {"code": result.code, "detail": result.detail}}
