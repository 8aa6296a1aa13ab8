"""The whole service in one process, on the real servers: use cases without HTTP.

The fixtures live as long as the test process: stories make customers and grants of their own and
leave the rest as they found it. `stage` holds everything that a story needs, and its methods are
the sentences that many stories share. A conftest takes the fixtures over by importing them.
"""

from __future__ import annotations

import gzip
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest

from keys import declared, spool
from keys import inventory as key_inventory
from keys.admin import AdminTransit
from keys.secret import Secret
from migrations.runner import upgrade
from tests.support.servers import Database, DatabaseServer, VaultMount, VaultServer, fresh_mount
from vault_service.bootstrap.process import Services, build
from vault_service.domain.actors import Principal, Role
from vault_service.errors import ServiceError
from vault_service.ledger.entries import Entry, Event, decode
from vault_service.ledger.tiles import decode_bundle
from vault_service.services.access_reviews import ReviewDuty, Reviewing
from vault_service.services.communications import Communications
from vault_service.services.context import Caller
from vault_service.services.customer_erasure import CustomerErasures
from vault_service.services.customers import Customers
from vault_service.services.disclosures.decisions import DisclosureDecisions
from vault_service.services.disclosures.drafts import DisclosureDraft
from vault_service.services.disclosures.reading import DisclosureReading
from vault_service.services.disclosures.requests import DisclosureRequests
from vault_service.services.erasing import Erasing
from vault_service.services.erasure import Erasure
from vault_service.services.evidence import EvidenceDocuments
from vault_service.services.granting import Granting
from vault_service.services.holds import LegalHolds
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.housekeeping import Housekeeping
from vault_service.services.key_census import KeyCensus
from vault_service.services.key_rotation import KeyRotation
from vault_service.services.key_status import KeyStatus
from vault_service.services.principals import Principals
from vault_service.services.reading import Reading
from vault_service.services.recipients import RecipientRecords
from vault_service.services.reveal.use_case import Reveal
from vault_service.services.rotation_work import RotationWork
from vault_service.services.rotations import Rotations
from vault_service.services.tokenization import Tokenization, TokenizeItem, TokenizeRequest
from vault_service.services.views import (
    CustomerView,
    DisclosureView,
    IssuedKey,
    RevealAnswer,
    Revealed,
    TokenizeAnswer,
    TokenView,
)
from vault_service.settings import Environment, ProcessRole, Settings

T = TypeVar("T")

ROLES = ("ingest", "reveal", "review", "rotate", "sign-token", "sign-ledger", "inspect")
YEAR = datetime.now(UTC).year + 3
NOBODY = "cus_" + "0" * 26
NOWHERE = "tok_" + "0" * 28
UNKNOWN_DISCLOSURE = "dis_" + "0" * 28
UNKNOWN_PRINCIPAL = "prn_" + "0" * 26
# Seconds that a story's caller is ready to wait.
PATIENCE = 30.0

PEOPLE = (
    ("billing", ("billing",)),
    ("support", ("support",)),
    ("support-2", ("support",)),
    ("requester", ("requester",)),
    ("requester-2", ("requester",)),
    ("officer-1", ("officer",)),
    ("officer-2", ("officer",)),
    ("officer-3", ("officer",)),
    ("auditor", ("auditor",)),
    ("operator", ("operator",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The principals of the module's database, by name."""

    principals: dict[str, tuple[str, str, frozenset[Role]]]
    keys: dict[str, str] = field(repr=False)

    def caller(self, name: str, *, address: str = "127.0.0.1") -> Caller:
        """A principal making a request now."""
        principal, key_id, roles = self.principals[name]
        return Caller(
            principal=Principal(id=principal, name=name, roles=roles),
            key_id=key_id,
            request_id="req_" + "0" * 26,
            address=address,
            deadline=time.monotonic() + PATIENCE,
        )

    def id(self, name: str) -> str:
        """A principal's id."""
        return self.principals[name][0]


def caller_of(issued: IssuedKey) -> Caller:
    """The holder of a fresh key making a request now."""
    return Caller(
        principal=Principal(
            id=issued.principal.id,
            name=issued.principal.name,
            roles=frozenset(Role(role) for role in issued.principal.roles),
        ),
        key_id=issued.id,
        request_id="req_" + "0" * 26,
        address="127.0.0.1",
        deadline=time.monotonic() + PATIENCE,
    )


def card(number: str = "4242424242424242", **more: object) -> dict[str, object]:
    """A card as a caller sends it."""
    return {"number": number, "exp_month": 12, "exp_year": YEAR, "name": "A. Customer", **more}


def numbers(count: int, *, start: int = 0, prefix: str = "400000", length: int = 16) -> list[str]:
    """Different card numbers that pass the Luhn check."""
    width = length - len(prefix) - 1
    found = []
    for index in range(start, start + count):
        head = f"{prefix}{index:0{width}d}"
        total = 0
        for place, char in enumerate(reversed(head)):
            digit = int(char) * (2 - place % 2)
            total += digit - 9 * (digit > 9)
        found.append(f"{head}{-total % 10}")
    return found


HARM = {
    "harm": "threats by telephone",
    "harmed": "a customer",
    "action": "identify",
    "case_reference": "CASE-1",
}


ORDER = b"%PDF-1.7\nThe clerk shall produce the messages of the account."


def draft(*tokens: str, **changes: Any) -> DisclosureDraft:
    """A request that needs two officers."""
    made = DisclosureDraft(
        ground="protect_from_harm",
        category="personal_and_account",
        recipient_kind="counterparty",
        recipient_name="Somebody",
        tokens=tokens or None,
        evidence=HARM,
    )
    return replace(made, **changes)


def standing(*tokens: str, uses: int = 100, **changes: Any) -> DisclosureDraft:
    """A request that needs one officer and may be used again."""
    made = DisclosureDraft(
        ground="provide_service",
        category="personal_and_account",
        recipient_kind="internal",
        recipient_name="Billing",
        tokens=tokens or None,
        evidence={"service": "monthly charge"},
        uses=uses,
    )
    return replace(made, **changes)


def refusal(call: Callable[[], object], kind: type[ServiceError] = ServiceError) -> ServiceError:
    """The error that a call ends with."""
    with pytest.raises(kind) as refused:
        call()
    return refused.value


def present(part: T | None) -> T:
    """A use case that this process serves."""
    assert part is not None
    return part


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The serving process, the worker, their servers and the people."""

    services: Services
    worker: Services
    cast: Cast
    database: Database
    mount: VaultMount
    settings_for: Callable[[ProcessRole], Settings]

    # ------------------------------------------------------------ parts

    @property
    def tokenization(self) -> Tokenization:
        """The use case."""
        return present(self.services.tokenization)

    @property
    def customers(self) -> Customers:
        """The use case."""
        return present(self.services.customers)

    @property
    def communications(self) -> Communications:
        """The use case."""
        return present(self.services.communications)

    @property
    def reading(self) -> Reading:
        """The use case."""
        return present(self.services.reading)

    @property
    def honeytokens(self) -> Honeytokens:
        """The guard of the console, and the officers' use cases."""
        return present(self.services.honeytokens)

    @property
    def erasure(self) -> Erasure:
        """The use case."""
        return present(self.services.erasure)

    @property
    def principals(self) -> Principals:
        """The use case."""
        return present(self.services.principals)

    @property
    def disclosures(self) -> DisclosureRequests:
        """The use case."""
        return present(self.services.disclosures)

    @property
    def decisions(self) -> DisclosureDecisions:
        """The use case."""
        return present(self.services.decisions)

    @property
    def disclosure_reading(self) -> DisclosureReading:
        """The use case."""
        return present(self.services.disclosure_reading)

    @property
    def recipients(self) -> RecipientRecords:
        """The use case."""
        return present(self.services.recipients)

    @property
    def evidence(self) -> EvidenceDocuments:
        """The use case."""
        return present(self.services.evidence)

    @property
    def reviewing(self) -> Reviewing:
        """The use case."""
        return present(self.services.reviewing)

    @property
    def review_duty(self) -> ReviewDuty:
        """The worker's duty."""
        return present(self.worker.review_duty)

    @property
    def erasures(self) -> CustomerErasures:
        """The use case."""
        return present(self.services.erasures)

    @property
    def erasing(self) -> Erasing:
        """The worker's duty."""
        return present(self.worker.erasing)

    @property
    def holds(self) -> LegalHolds:
        """The use case."""
        return present(self.services.holds)

    @property
    def granting(self) -> Granting:
        """The use case."""
        return present(self.services.granting)

    @property
    def reveals(self) -> Reveal:
        """The use case."""
        return present(self.services.reveal)

    @property
    def housekeeping(self) -> Housekeeping:
        """The use case."""
        return present(self.worker.housekeeping)

    @property
    def key_rotation(self) -> KeyRotation:
        """The use case."""
        return present(self.worker.key_rotation)

    @property
    def rotations(self) -> Rotations:
        """The use case."""
        return present(self.services.rotations)

    @property
    def key_status(self) -> KeyStatus:
        """The use case."""
        return present(self.services.key_status)

    @property
    def key_census(self) -> KeyCensus:
        """The worker's duty."""
        return present(self.worker.key_census)

    @property
    def rotation_work(self) -> RotationWork:
        """The worker's duty."""
        return present(self.worker.rotation_work)

    def caller(self, name: str) -> Caller:
        """A principal making a request now."""
        return self.cast.caller(name)

    # ------------------------------------------------------------ sentences

    def customer(self, reference: str | None = None) -> str:
        """A customer."""
        (view,) = self.customers.create(self.caller("billing"), [reference])
        assert isinstance(view, CustomerView)
        return view.id

    def submit(
        self,
        *items: TokenizeItem,
        by: str = "billing",
        batch: bool | None = None,
        key: str | None = None,
        body: bytes = b"",
    ) -> TokenizeAnswer:
        """Tokenize; one answer, whatever it says."""
        return self.tokenization.submit(
            TokenizeRequest(
                caller=self.caller(by),
                items=items,
                batch=len(items) > 1 if batch is None else batch,
                idempotency_key=key,
                body=body,
            )
        )

    def tokenize(self, *items: TokenizeItem, **how: Any) -> list[TokenView]:
        """Tokenize and expect nothing but views."""
        results = self.submit(*items, **how).results
        assert all(isinstance(result, TokenView) for result in results), results
        return [result for result in results if isinstance(result, TokenView)]

    def card(self, customer: str, number: str = "4242424242424242", **more: Any) -> str:
        """The token of a card."""
        (view,) = self.tokenize(
            TokenizeItem(data_class="payment_card", customer=customer, value=card(number), **more)
        )
        return view.id

    def document(self, content: bytes = ORDER, *, by: str = "requester") -> str:
        """The digest of an uploaded document."""
        return self.evidence.upload(self.caller(by), [content]).digest

    def granted(self, asked: DisclosureDraft, *, by: str = "requester") -> DisclosureView:
        """A grant, approved by as many officers as it needs."""
        view = self.disclosures.create(self.caller(by), asked, is_draft=False)
        for number in range(1, view.approvals_needed + 1):
            view = self.decisions.approve(self.caller(f"officer-{number}"), view.id)
        assert view.state == "active"
        return view

    def token(self, grant: str, *, by: str = "requester") -> str:
        """A disclosure token of a grant."""
        return self.granting.issue(self.caller(by), grant).token

    def reveal(
        self, token: str | None, *tokens: str, by: str = "requester", **how: Any
    ) -> RevealAnswer:
        """Reveal with a disclosure token."""
        return self.reveals.submit(
            self.caller(by),
            disclosure_token=token,
            tokens=tokens,
            fields=how.get("fields"),
        )

    def revealed(self, token: str, *tokens: str, **how: Any) -> list[object]:
        """Reveal and expect nothing but values."""
        results = self.reveal(token, *tokens, **how).results
        assert all(isinstance(result, Revealed) for result in results), results
        return [result.value for result in results if isinstance(result, Revealed)]

    # ------------------------------------------------------------ behind the scenes

    @contextmanager
    def superuser(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """A connection of the server's administrator, in autocommit mode."""
        with psycopg.connect(self.database.admin_url, autocommit=True) as link:
            yield link

    def sql(self, statement: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> Any:
        """Rows of a statement run by the administrator; their number, if it has none."""
        with self.superuser() as link:
            cursor = link.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else cursor.rowcount

    def without_records(self, kek: str) -> None:
        """Delete the records under a key, with what refers to them: as if none had been made."""
        for table in ("record_versions", "modifications"):
            self.sql(
                f"DELETE FROM {table} AS t USING records AS r"  # noqa: S608 -- of these two
                " WHERE r.bucket = t.bucket AND r.token = t.token AND r.kek = %s",
                [kek],
            )
        self.sql("DELETE FROM records WHERE kek = %s", [kek])

    def outbox(self, *events: Event) -> list[Entry]:
        """The ledger's entries in the order of their ids, of some events or all."""
        return _entries(self._leaves(), events)

    def _leaves(self) -> set[bytes]:
        """The bytes of every entry, in the outbox or already in the log."""
        with self.superuser() as link, link.transaction():
            link.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            found = {
                bytes(row[0])
                for row in link.execute(
                    "SELECT entry FROM ledger_outbox UNION ALL SELECT entry FROM ledger_tail"
                )
            }
            for (packed,) in link.execute("SELECT packed FROM ledger_bundles"):
                found.update(decode_bundle(gzip.decompress(packed), 256))
        return found

    @contextmanager
    def told(self, *events: Event) -> Iterator[list[Entry]]:
        """Filled with the entries that the block adds.

        Only these are decoded: to decode all that earlier stories told took most of a story's time.
        """
        before = self._leaves()
        added: list[Entry] = []
        yield added
        added += _entries(self._leaves() - before, events)

    @contextmanager
    def owned(self, statement: str, undo: str) -> Iterator[None]:
        """Something that holds for a block, said by the administrator."""
        self.sql(statement)
        try:
            yield
        finally:
            self.sql(undo)

    @contextmanager
    def admin(self) -> Iterator[AdminTransit]:
        """Vault, as its administrator."""
        admin = admin_of(self.mount)
        try:
            yield admin
        finally:
            admin.close()


def _entries(leaves: Iterable[bytes], events: Sequence[Event]) -> list[Entry]:
    entries = sorted(map(decode, leaves), key=lambda entry: entry.id)
    return [entry for entry in entries if not events or entry.event in events]


def admin_of(mount: VaultMount) -> AdminTransit:
    """Vault, as its administrator."""
    return AdminTransit(
        address=mount.address,
        token=Secret(mount.token.encode()),
        mount=mount.mount,
        approle_prefix=mount.prefix,
    )


def name(prefix: str = "n") -> str:
    """A name that nobody has."""
    return f"{prefix}-{secrets.token_hex(6)}"


def soon(**after: float) -> datetime:
    """A time after now."""
    return datetime.now(UTC) + timedelta(**after)


# ---------------------------------------------------------------- fixtures


@pytest.fixture(scope="session")
def stage_database(postgres_server: DatabaseServer) -> Iterator[Database]:
    """A fresh, migrated database."""
    with postgres_server.migrated(upgrade) as database:
        yield database


@pytest.fixture(scope="session")
def stage_mount(vault_server: VaultServer) -> Iterator[VaultMount]:
    """A fresh Transit mount and role prefix."""
    with fresh_mount(vault_server) as mount:
        yield mount


@pytest.fixture(scope="session")
def prepared_vault(
    stage_mount: VaultMount, tmp_path_factory: pytest.TempPathFactory
) -> tuple[VaultMount, Path]:
    """The declared keys and roles applied, and a folder for secret-ids."""
    folder = tmp_path_factory.mktemp("spool")
    _prepare(stage_mount, folder)
    return stage_mount, folder


def _prepare(mount: VaultMount, folder: Path) -> None:
    folder.chmod(0o700)
    admin = admin_of(mount)
    key_inventory.apply(declared.load(mount=mount.mount, prefix=mount.prefix), admin)
    admin.close()


@pytest.fixture(scope="session")
def settings_for(
    stage_database: Database, prepared_vault: tuple[VaultMount, Path]
) -> Callable[[ProcessRole], Settings]:
    """Makes settings of a process role, and fresh secret-ids for two such processes."""
    return _settings_maker(stage_database, *prepared_vault)


def _settings_maker(
    stage_database: Database, mount: VaultMount, folder: Path
) -> Callable[[ProcessRole], Settings]:
    def settings(role: ProcessRole) -> Settings:
        admin = admin_of(mount)
        for vault_role in ROLES:  # more logins than the processes of a story need
            spool.issue(admin, vault_role, folder, 16)
        admin.close()
        return Settings(
            env=Environment.DEVELOPMENT,
            stand_in=True,
            process_role=role,
            database_ingest_url=stage_database.url("vault_ingest"),
            database_reveal_url=stage_database.url("vault_reveal"),
            database_console_url=stage_database.url("vault_console"),
            database_worker_url=stage_database.url("vault_worker"),
            vault_address=mount.address,
            vault_mount=mount.mount,
            vault_prefix=mount.prefix,
            vault_spool=folder,
            issuer="https://vault.example",
            # Stories read what was told from the outbox, so no sequencer empties it.
            ledger_stop_seconds=86_400,
        )

    return settings


@pytest.fixture(scope="session")
def services(settings_for: Callable[[ProcessRole], Settings]) -> Iterator[Services]:
    """All use cases of a serving process."""
    built = build(settings_for(ProcessRole.ALL))
    yield built
    built.close()


@pytest.fixture(scope="session")
def worker(settings_for: Callable[[ProcessRole], Settings]) -> Iterator[Services]:
    """The worker's use cases."""
    built = build(settings_for(ProcessRole.WORKER))
    yield built
    built.close()


@pytest.fixture(scope="session")
def cast(services: Services) -> Cast:
    """The first principals."""
    return _cast(services)


def _cast(services: Services) -> Cast:
    assert services.principals is not None
    issued = services.principals.bootstrap(PEOPLE, keep=lambda _: None)
    return Cast(
        principals={
            each.principal.name: (
                each.principal.id,
                each.id,
                frozenset(Role(role) for role in each.principal.roles),
            )
            for each in issued
        },
        keys={each.principal.name: each.key for each in issued},
    )


@pytest.fixture(scope="session")
def stage(  # noqa: PLR0917 -- pytest passes fixtures by name
    services: Services,
    worker: Services,
    cast: Cast,
    stage_database: Database,
    stage_mount: VaultMount,
    settings_for: Callable[[ProcessRole], Settings],
) -> Stage:
    """Everything that a story needs."""
    return Stage(
        services=services,
        worker=worker,
        cast=cast,
        database=stage_database,
        mount=stage_mount,
        settings_for=settings_for,
    )


@contextmanager
def stage_of_its_own(postgres: DatabaseServer, vault: VaultServer, folder: Path) -> Iterator[Stage]:
    """A stage that nobody else plays on, for stories about all that there is."""
    with postgres.migrated(upgrade) as database, fresh_mount(vault) as mount:
        _prepare(mount, folder)
        settings = _settings_maker(database, mount, folder)
        services, worker = build(settings(ProcessRole.ALL)), build(settings(ProcessRole.WORKER))
        try:
            yield Stage(
                services=services,
                worker=worker,
                cast=_cast(services),
                database=database,
                mount=mount,
                settings_for=settings,
            )
        finally:
            services.close()
            worker.close()


@pytest.fixture
def customer(stage: Stage) -> str:
    """A fresh customer."""
    return stage.customer()
