"""Takes customers' messages in: each kept as it came, once, and turned into a change that waits.

A message proves nothing of its sender. It opens changes and decides nothing: support makes sure who
asks, and a second person applies. What does not plainly say what is to be changed is left to a
person, and so is what an unknown sender writes.

In this order, so that no death between two steps loses a message or takes it twice:

1. what may not be kept is refused, before anything is.
2. the original is kept as a communication, once for its sender, Message-ID and content.
3. its changes are opened, once for the communication.
4. the customer is told the reference.

Only then may the caller acknowledge. Whatever fails is raised, and the message comes again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from vault_service.domain import mail, mail_form, mail_parts, tokens
from vault_service.domain.classes import DataClass
from vault_service.domain.communications import Direction, Envelope
from vault_service.domain.mail_codes import refuse_codes
from vault_service.domain.mail_form import WrittenChange
from vault_service.domain.mail_trust import Trust, domain_of, judge
from vault_service.domain.modifications import Source, Unassigned
from vault_service.errors import InvalidInput
from vault_service.services.communications import MAX_COMMUNICATION, Communications, Delivery
from vault_service.services.crypto_ports import Fingerprinting
from vault_service.services.holders import holders
from vault_service.services.mail_answers import MailAnswers
from vault_service.services.modifications import Modifications
from vault_service.services.ports import UnitOfWork
from vault_service.services.proposals import ModificationDraft
from vault_service.services.record_ports import MaskedRecord

ACTOR: Final = "intake"
# Deliveries to any of the company's mailboxes are one: a message to two of them is one message.
MAILBOX: Final = "intake"
_PIECE: Final = 64 * 1024
# Holders of an address; with more than one nobody is meant. And of a value that one of them names.
_SENDERS: Final = 2
_OWNERS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A message as it was delivered.

    Attributes:
        content: the original, not changed meanwhile.
        recipients: to whom it was delivered.
        path: the address for reports of failure; "" where the message wants none, None where
            nobody told.
    """

    content: bytes | bytearray = field(repr=False)
    recipients: tuple[str, ...] = field(default=(), repr=False)
    path: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A message that is here.

    Attributes:
        reference: the token of the communication.
        repeated: whether it was here before.
        known: whether its sender is a customer.
        trust: how far the sender is believed.
        answered: whether the customer was told the reference.
    """

    reference: str
    repeated: bool
    known: bool
    trust: Trust
    answered: bool


class SignatureCheck(Protocol):
    """Checks the signatures of a message itself."""

    def signed_for(self, content: bytes | bytearray, domain: str) -> bool:
        """Whether who may sign for this domain has signed all of the message."""
        ...


class Intake:
    """The use case. Needs the ingest roles of database and Vault.

    Args:
        uow: finds the sender.
        fingerprints: the same.
        communications: keeps the original.
        modifications: opens the changes.
        answers: answers customers; None where no relay is set.
        server: the name under which the company's mail server tells what it checked.
        signatures: checks DKIM here, as well; None where that is off.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        fingerprints: Fingerprinting,
        communications: Communications,
        modifications: Modifications,
        answers: MailAnswers | None = None,
        server: str | None = None,
        signatures: SignatureCheck | None = None,
    ) -> None:
        self._uow = uow
        self._fingerprints = fingerprints
        self._communications = communications
        self._modifications = modifications
        self._answers = answers
        self._server = server
        self._signatures = signatures

    def take(self, incoming: Incoming) -> Taken:
        """Take a message in; when this returns, it is here for good.

        Raises:
            InvalidInput: `sensitive_authentication_data` or `communication_too_large`: it may not
                be kept, and never will be.
            ServiceError, KeysError: anything else: it may come again, and what was done of it is
                found then.
        """
        if len(incoming.content) > MAX_COMMUNICATION:
            raise InvalidInput("this message is too large", code="communication_too_large")
        header = mail.read(incoming.content)
        refuse_codes(mail_parts.texts(incoming.content, header))
        trust = self._trust(incoming, header)
        customer, unassigned = self._customer(header.sender)
        view = self._communications.keep(
            ACTOR,
            customer=customer,
            envelope=Envelope(
                direction=Direction.INBOUND,
                sender=header.sender,
                recipients=incoming.recipients,
                sent_at=header.sent_at,
                trust=trust,
            ),
            content=_pieces(incoming.content),
            delivery=(
                None
                if header.message_id is None
                else Delivery(mailbox=MAILBOX, message_id=header.message_id)
            ),
        )
        written: Sequence[WrittenChange | None] = ()
        if customer is not None:
            text = mail_parts.first_text(incoming.content, header, mail_form.LONGEST)
            written = mail_form.read(text)
        self._modifications.open_once(
            ACTOR,
            [
                replace(draft, unassigned=unassigned)
                for draft in self._drafts(view.customer, view.id, written)
            ],
            (tokens.bucket_of(view.customer), view.id),
        )
        answered = (
            self._answers is not None
            and customer is not None
            and self._answers.answer(header, view.id, trust=trust, path=incoming.path)
        )
        return Taken(
            reference=view.id,
            repeated=view.deduplicated,
            known=customer is not None,
            trust=trust,
            answered=answered,
        )

    def _trust(self, incoming: Incoming, header: mail.Header) -> Trust:
        told = judge(header, self._server)
        domain = domain_of(header.sender)
        if told is Trust.ALIGNED or self._signatures is None or domain is None:
            return told
        return Trust.ALIGNED if self._signatures.signed_for(incoming.content, domain) else told

    def _customer(self, sender: str | None) -> tuple[str | None, Unassigned | None]:
        """The one customer who has this address, or why there is none."""
        if sender is None:
            return None, Unassigned.NO_SENDER
        found = {row.customer for row in self._holding(DataClass.EMAIL_ADDRESS, sender, _SENDERS)}
        if len(found) > 1:
            return None, Unassigned.SEVERAL_CUSTOMERS
        return (found.pop(), None) if found else (None, Unassigned.UNKNOWN_SENDER)

    def _drafts(
        self, customer: str, ticket: str, written: Sequence[WrittenChange | None]
    ) -> list[ModificationDraft]:
        """A draft for each change that can be read, and one for a person if any cannot, or none."""
        plain = ModificationDraft(customer=customer, ticket=ticket, source=Source.MAIL)
        drafts: list[ModificationDraft] = []
        for each in written:
            if each is None:
                continue
            token = each.token
            if token is None and each.old is not None:
                token = self._meant(customer, each.data_class, each.old)
                if token is None:
                    continue
            drafts.append(replace(plain, data_class=each.data_class, value=each.value, token=token))
        return drafts if drafts and len(drafts) == len(written) else [*drafts, plain]

    def _meant(self, customer: str, data_class: DataClass, old: str) -> str | None:
        """The customer's one record that holds this value."""
        try:
            found = self._holding(data_class, old, _OWNERS)
        except InvalidInput:
            return None
        own = {row.token for row in found if row.customer == customer}
        return own.pop() if len(own) == 1 else None

    def _holding(self, data_class: DataClass, value: str, limit: int) -> Sequence[MaskedRecord]:
        return holders(self._uow, self._fingerprints, data_class, value, limit)


def _pieces(content: bytes | bytearray) -> Iterator[bytes]:
    for at in range(0, len(content), _PIECE):
        yield bytes(content[at : at + _PIECE])
