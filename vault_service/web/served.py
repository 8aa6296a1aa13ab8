"""The use cases that a process serves, as the interfaces see them.

`bootstrap` builds them; a process of one role has only what its role needs, and `None` elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from vault_service.services.access_reviews import Reviewing
from vault_service.services.accounting import Accounting
from vault_service.services.activity import Activity
from vault_service.services.authentication import Authentication
from vault_service.services.communications import Communications
from vault_service.services.customer_erasure import CustomerErasures
from vault_service.services.customers import Customers
from vault_service.services.disclosures.decisions import DisclosureDecisions
from vault_service.services.disclosures.reading import DisclosureReading
from vault_service.services.disclosures.requests import DisclosureRequests
from vault_service.services.erasure import Erasure
from vault_service.services.evidence import EvidenceDocuments
from vault_service.services.granting import Granting
from vault_service.services.helpdesk import Helpdesk
from vault_service.services.holds import LegalHolds
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.key_status import KeyStatus
from vault_service.services.links import CustomerLinks
from vault_service.services.log_reading import LedgerReading
from vault_service.services.modifications import Modifications
from vault_service.services.notices import Notices
from vault_service.services.policies import PolicyHistory
from vault_service.services.principals import Principals
from vault_service.services.reading import Reading
from vault_service.services.recipients import RecipientRecords
from vault_service.services.reveal.use_case import Reveal
from vault_service.services.rotations import Rotations
from vault_service.services.service_choices import ServiceChoices
from vault_service.services.tokenization import Tokenization
from vault_service.services.transparency import Transparency
from vault_service.services.unassigned import UnassignedMessages
from vault_service.services.usage import UsageReading, VisitCounting
from vault_service.services.webhook_desk import WebhookDesk

T = TypeVar("T")


class Finding(Protocol):
    """One thing that must hold before requests are served."""

    @property
    def name(self) -> str:
        """What was looked at."""

    @property
    def ok(self) -> bool:
        """Whether it holds."""

    @property
    def reason(self) -> str | None:
        """Why not."""


class Health(Protocol):
    """Tells whether this process can serve."""

    def ready(self) -> Sequence[Finding]:
        """What was looked at, each with its outcome; quick, whatever is broken."""


class Served(Protocol):
    """All use cases of one process."""

    @property
    def authentication(self) -> Authentication | None:
        """Tells who a caller is."""

    @property
    def tokenization(self) -> Tokenization | None:
        """Values in, tokens out."""

    @property
    def reading(self) -> Reading | None:
        """Masked reads and searches."""

    @property
    def erasure(self) -> Erasure | None:
        """Erases records."""

    @property
    def customers(self) -> Customers | None:
        """Customers."""

    @property
    def modifications(self) -> Modifications | None:
        """Customers' changes of their data."""

    @property
    def helpdesk(self) -> Helpdesk | None:
        """Takes the helpdesk's messages."""

    @property
    def activity(self) -> Activity | None:
        """The activity log."""

    @property
    def services(self) -> ServiceChoices | None:
        """What customers have chosen."""

    @property
    def unassigned(self) -> UnassignedMessages | None:
        """Messages that wait for their customer."""

    @property
    def links(self) -> CustomerLinks | None:
        """Customers who are one."""

    @property
    def communications(self) -> Communications | None:
        """Communications."""

    @property
    def principals(self) -> Principals | None:
        """Principals and their keys."""

    @property
    def disclosures(self) -> DisclosureRequests | None:
        """Requests for disclosure."""

    @property
    def decisions(self) -> DisclosureDecisions | None:
        """Decisions on requests."""

    @property
    def disclosure_reading(self) -> DisclosureReading | None:
        """Requests, to be read."""

    @property
    def recipients(self) -> RecipientRecords | None:
        """Recipients."""

    @property
    def accounting(self) -> Accounting | None:
        """Accounts for disclosures."""

    @property
    def evidence(self) -> EvidenceDocuments | None:
        """Documents of evidence."""

    @property
    def reviewing(self) -> Reviewing | None:
        """Access reviews."""

    @property
    def erasures(self) -> CustomerErasures | None:
        """Erasures of customers."""

    @property
    def holds(self) -> LegalHolds | None:
        """Legal holds."""

    @property
    def notices(self) -> Notices | None:
        """Notices to customers."""

    @property
    def transparency(self) -> Transparency | None:
        """The yearly report."""

    @property
    def webhooks(self) -> WebhookDesk | None:
        """Messages to the company's own systems."""

    @property
    def visits(self) -> VisitCounting | None:
        """Counts visits of the website; None where that is not wanted."""

    @property
    def usage(self) -> UsageReading | None:
        """What was counted of them."""

    @property
    def honeytokens(self) -> Honeytokens | None:
        """Marks of what no honest caller touches."""

    @property
    def granting(self) -> Granting | None:
        """Disclosure tokens for grants."""

    @property
    def reveal(self) -> Reveal | None:
        """Plaintext against a disclosure token."""

    @property
    def key_status(self) -> KeyStatus | None:
        """What Vault's keys are like."""

    @property
    def rotations(self) -> Rotations | None:
        """Rotations of keys."""

    @property
    def policies(self) -> PolicyHistory | None:
        """Every policy that was in force."""

    @property
    def ledger(self) -> LedgerReading | None:
        """The verifiable log."""

    @property
    def health(self) -> Health:
        """Alive, and able to serve."""

    def jwks(self) -> Mapping[str, Any]:
        """The public keys that disclosure tokens are checked with."""


def present(service: T | None) -> T:
    """The service that a route needs; routes are registered only where theirs is served.

    Raises:
        RuntimeError: a route was registered in a process that does not serve it.
    """
    if service is None:
        raise RuntimeError("a route was registered without its use case")
    return service
