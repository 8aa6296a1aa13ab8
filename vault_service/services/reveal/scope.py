"""Whether a call stays within its grant, and asks for values in the manner they are given in."""

from __future__ import annotations

from collections.abc import Mapping

from vault_service.domain.classes import rule
from vault_service.domain.disclosures import State
from vault_service.errors import DisclosureRefused, InvalidInput
from vault_service.services.context import Caller
from vault_service.services.disclosure_ports import DisclosureRow
from vault_service.services.disclosure_token import DisclosureClaims
from vault_service.services.disclosures.rows import state_now, told_grant
from vault_service.services.dpop import missing
from vault_service.services.record_ports import SealedRecord
from vault_service.services.reveal.work import RevealRequest, class_of, is_streamed
from vault_service.services.token_claims import PACKAGE


def behind(row: DisclosureRow | None, claims: DisclosureClaims, caller: Caller) -> DisclosureRow:
    """The grant's row, if it stands behind the token.

    Raises:
        DisclosureRefused: there is none, or it says otherwise than the token.
    """
    if row is None:
        raise DisclosureRefused("there is no such grant", code="disclosure_grant_unknown")
    if row.requester != caller.principal.id:
        raise DisclosureRefused("the grant is another's", code="disclosure_token_holder")
    if row.proof_of_possession and claims.key_thumbprint is None:
        raise missing()
    claims.check_grant(told_grant(row))
    state = state_now(row)
    if state is not State.ACTIVE:
        raise DisclosureRefused(f"the grant is {state}", code=f"disclosure_{state}")
    return row


def check_within(
    row: DisclosureRow, asked: RevealRequest, records: dict[str, SealedRecord]
) -> None:
    """Return if what is asked for lies within the grant, whose scope the token's equals.

    Raises:
        DisclosureRefused: it does not; which part is not told, for it may be a guess.
    """
    exceeded = DisclosureRefused(
        "this asks for more than was granted", code="disclosure_scope_exceeded"
    )
    if row.tokens is not None:
        if not set(asked.tokens) <= set(row.tokens):
            raise exceeded
    else:
        for token in asked.tokens:
            record = records.get(token)
            if (
                record is None
                or record.customer != row.customer
                or record.data_class not in (row.classes or ())
            ):
                raise exceeded
    if asked.fields is None:
        return
    known = {
        name
        for token in asked.tokens
        if token in records and (data_class := class_of(records[token])) is not None
        for name in rule(data_class).fields
    }
    if not set(asked.fields) <= (known if row.fields is None else set(row.fields)):
        raise exceeded


def check_manner(
    row: DisclosureRow, asked: RevealRequest, records: Mapping[str, SealedRecord]
) -> None:
    """Return if what is asked for is given in this manner: streamed, or as values.

    Raises:
        InvalidInput: it is given in the other.
        DisclosureRefused: it is streamed, and the grant has it packed, which takes all of it.
    """
    found = [record for token in asked.tokens if (record := records.get(token)) is not None]
    if any(is_streamed(record) is not asked.streamed for record in found):
        raise InvalidInput(
            "this record is no communication"
            if asked.streamed
            else "contents of communications are streamed, one at a time",
            code="contents_not_streamed" if asked.streamed else "contents_are_streamed",
            pointer="/token" if asked.streamed else "/tokens",
        )
    if asked.streamed and row.delivery == PACKAGE:
        raise DisclosureRefused(
            "the grant has values delivered as a package, and contents are streamed",
            code="contents_not_packed",
        )
