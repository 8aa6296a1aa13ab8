"""Takes a helpdesk's messages: signed by it, each once, turned into changes that wait for people.

The signature is that of the Standard Webhooks specification, which this service's own webhooks use
too: HMAC-SHA256 over id, time and body. A message opens changes and decides nothing: support still
makes sure who asks, and applies. What the mapping does not find, or a value that does not hold, is
left to a person; so a ticket is never lost because a customer mistyped a number.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from keys.secret import Secret
from vault_service.domain import helpdesk, tokens
from vault_service.domain.classes import DataClass
from vault_service.domain.customers import REFERENCE_CLASS, reference_key
from vault_service.domain.helpdesk import Asked, HelpdeskMapping
from vault_service.errors import InvalidInput, NotAuthenticated, NotFound
from vault_service.ledger.entries import Event
from vault_service.services import webhooks
from vault_service.services.audit import Audit
from vault_service.services.context import Stranger
from vault_service.services.crypto_ports import Fingerprinting
from vault_service.services.holders import holders
from vault_service.services.modifications import Modifications
from vault_service.services.ports import UnitOfWork
from vault_service.services.proposals import ModificationDraft
from vault_service.services.views import ModificationView

ACTOR: Final = "helpdesk"
# A message is this old at most, by the database's clock: the specification leaves it to receivers.
TOLERANCE: Final = timedelta(minutes=5)
# Holders of one e-mail address that are looked at: with more than one nobody is meant.
_HOLDERS: Final = 2
_ID: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_TIME: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedMessage:
    """A message as it came: its three headers, the bytes that were signed, and what they say."""

    id: str
    timestamp: str
    signature: str
    raw: bytes = field(repr=False)
    body: object = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What a message opened; nothing where it came before."""

    changes: tuple[ModificationView, ...]
    repeated: bool


class Helpdesk:
    """The use case.

    Args:
        uow: the database role of ingest.
        modifications: opens the changes.
        fingerprints: finds the customer.
        audit: tells of messages that nobody signed.
        secrets: any of which may have signed; none where no helpdesk is connected.
        mapping: how messages are read.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        modifications: Modifications,
        fingerprints: Fingerprinting,
        audit: Audit,
        secrets: Sequence[Secret],
        mapping: HelpdeskMapping | None,
    ) -> None:
        self._uow = uow
        self._modifications = modifications
        self._fingerprints = fingerprints
        self._audit = audit
        self._secrets = secrets
        self._mapping = mapping

    def receive(self, stranger: Stranger, message: SignedMessage) -> Received:
        """Open the changes that a message asks for.

        Raises:
            NotFound: no helpdesk is connected, or there is no such customer.
            NotAuthenticated: the signature or the time does not hold.
            InvalidInput: the message does not say which ticket or whose, or two customers have the
                address.
            VaultUnavailable, Unavailable: nothing was opened; send it again.
        """
        if self._mapping is None or not self._secrets:
            raise NotFound("no helpdesk is connected", code="helpdesk_not_connected")
        self._check(stranger, message)
        asked = helpdesk.read(self._mapping, message.body)
        customer = self._customer(asked)
        once = tokens.bucket_of(customer), message.id
        opened = self._modifications.open_once(ACTOR, self._drafts(asked, customer), once)
        if opened is None:
            return Received(changes=(), repeated=True)
        return Received(changes=tuple(opened), repeated=False)

    def _check(self, stranger: Stranger, message: SignedMessage) -> None:
        problem = self._problem(message)
        if problem is None:
            return
        self._audit.refused(
            Event.AUTHENTICATION_FAILED, stranger, reason=problem, details={"method": "webhook"}
        )
        raise NotAuthenticated("the signature of this message does not hold", code=problem)

    def _problem(self, message: SignedMessage) -> str | None:
        if _ID.fullmatch(message.id) is None or _TIME.fullmatch(message.timestamp) is None:
            return "webhook_signature_invalid"
        expected = webhooks.sign(
            self._secrets,
            message=message.id,
            timestamp=int(message.timestamp),
            body=message.raw,
        ).split(" ")
        shown = message.signature.split(" ")
        # Every pair is compared, so that the time tells nothing of which secret it was.
        equal = [
            hmac.compare_digest(one.encode(), other.encode("utf-8", "replace"))
            for one in expected
            for other in shown
        ]
        if True not in equal:
            return "webhook_signature_invalid"
        with self._uow.begin(read_only=True) as tx:
            now = tx.clock.now()
        if abs(now.timestamp() - int(message.timestamp)) > TOLERANCE.total_seconds():
            return "webhook_timestamp_invalid"
        return None

    def _customer(self, asked: Asked) -> str:
        """The one customer whom a message is about.

        Raises:
            NotFound: nobody.
            InvalidInput: several, or no reference, address or id can look like this.
        """
        finders: dict[str, Callable[[str], set[str]]] = {
            "id": self._by_id,
            "external_ref": self._by_reference,
            "email_address": self._by_address,
        }
        found = finders[asked.who](asked.customer)
        if not found:
            raise NotFound("there is no such customer", code="customer_not_found")
        if len(found) > 1:
            raise InvalidInput("several customers have this address", code="customer_ambiguous")
        return found.pop()

    def _by_id(self, name: str) -> set[str]:
        tokens.check_customer_id(name)
        return self._known({name})

    def _by_reference(self, reference: str) -> set[str]:
        (group,) = self._fingerprints.candidates([(REFERENCE_CLASS, reference_key(reference))])
        return self._known({tokens.customer_id_from_fingerprint(each.digest) for each in group})

    def _by_address(self, address: str) -> set[str]:
        found = holders(self._uow, self._fingerprints, DataClass.EMAIL_ADDRESS, address, _HOLDERS)
        return {row.customer for row in found}

    def _known(self, names: set[str]) -> set[str]:
        with self._uow.begin(read_only=True) as tx:
            return set(tx.customers.get([(tokens.bucket_of(name), name) for name in names]))

    def _drafts(self, asked: Asked, customer: str) -> list[ModificationDraft]:
        drafts = [
            ModificationDraft(
                customer=customer,
                ticket=asked.ticket,
                data_class=each.data_class,
                value=each.value,
                token=each.token,
            )
            for each in asked.changes
        ]
        return drafts or [ModificationDraft(customer=customer, ticket=asked.ticket)]
