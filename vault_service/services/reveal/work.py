"""A call under way: what was asked, what was found of it, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from keys.errors import KeysError
from keys.secret import Secret
from vault_service.domain.classes import RULES, DataClass, rule
from vault_service.errors import NotFound, ServiceError
from vault_service.services import bindings
from vault_service.services.context import Caller
from vault_service.services.disclosure_ports import DisclosureRow
from vault_service.services.disclosure_token import DisclosureClaims
from vault_service.services.dpop import Proof, ShownProof
from vault_service.services.recipient_keys import RecipientKey
from vault_service.services.record_ports import SealedRecord

MAX_TOKENS: Final = 1000
_CLASSES: Final[Mapping[str, DataClass]] = {each.value: each for each in RULES}


class ValueUnreadable(ServiceError):
    """A stored value does not open: it was changed, moved, or its key was destroyed."""

    code = "value_unreadable"


class KeySubstituted(ServiceError):
    """A value opens, but with a key that no ledger entry tells of: somebody put it there."""

    code = bindings.SUBSTITUTED


@dataclass(frozen=True, slots=True, kw_only=True)
class RevealRequest:
    """One call.

    Attributes:
        caller: who asks; must be the token's holder.
        token: the disclosure token, a JWS.
        tokens: which records, 1 to 1,000, none twice.
        fields: only these fields; all that the grant covers, if None.
        proof: the proof of possession shown, if one was.
        streamed: whether contents are to be streamed.
    """

    caller: Caller
    token: str | None = field(repr=False)
    tokens: tuple[str, ...]
    fields: tuple[str, ...] | None = None
    proof: ShownProof | None = None
    streamed: bool = False


@dataclass(slots=True, eq=False)
class Work:
    """A call under way. `refusal` ends it; `granted` is the grant as the use left it."""

    asked: RevealRequest
    entry: str
    proof: Proof | None = None
    claims: DisclosureClaims | None = None
    grant: DisclosureRow | None = None
    records: dict[str, SealedRecord] = field(default_factory=dict, repr=False)
    substituted: set[str] = field(default_factory=set)
    keys: dict[str, Secret] = field(default_factory=dict, repr=False)
    said: dict[str, tuple[SealedRecord, bindings.Claim]] = field(default_factory=dict, repr=False)
    granted: DisclosureRow | None = None
    seals_for: RecipientKey | None = None
    refusal: ServiceError | KeysError | None = None
    _told: dict[DataClass, tuple[str, ...]] = field(default_factory=dict)

    def told(self, data_class: DataClass) -> tuple[str, ...]:
        """Which of a class's fields are told: those that the grant covers and the caller wants."""
        found = self._told.get(data_class)
        if found is None:
            granted = None if self.grant is None else self.grant.fields
            wanted = self.asked.fields
            found = self._told[data_class] = tuple(
                name
                for name in rule(data_class).fields
                if (granted is None or name in granted) and (wanted is None or name in wanted)
            )
        return found

    def claim(self, token: str) -> bindings.Claim:
        """What a record says of itself; worked out once for each record that was read."""
        record = self.records[token]
        read, found = self.said.get(token, (None, None))
        if found is None or read is not record:
            found = bindings.claim_sealed(record)
            self.said[token] = record, found
        return found

    @property
    def values(self) -> int:
        """How many values the call asks for; a segment of activity holds several."""
        return sum(record.values for record in self.records.values())


def class_of(record: SealedRecord) -> DataClass | None:
    """The record's class, or None where somebody changed the row: no such class, or not its KEK."""
    data_class = _CLASSES.get(record.data_class)
    if data_class is None or RULES[data_class].kek != record.wrapped_key.kek:
        return None
    return data_class


def is_streamed(record: SealedRecord) -> bool:
    """Whether a record is opened while it is sent."""
    data_class = _CLASSES.get(record.data_class)
    return data_class is not None and RULES[data_class].streamed


def unreadable() -> ValueUnreadable:
    """A value that does not open."""
    return ValueUnreadable("this value does not open; an alarm was raised")


def substituted() -> KeySubstituted:
    """A value that opens with another key than the ledger's."""
    return KeySubstituted("the ledger tells of another key; an alarm was raised")


def none_there() -> NotFound:
    """None of the records is there."""
    return NotFound("none of these tokens is there", code="token_not_found")


def asks_for_nonce(refusal: ServiceError | KeysError | None) -> bool:
    """Whether this is how every caller learns the nonce: nothing was refused yet."""
    return refusal is not None and refusal.code == "use_dpop_nonce"
