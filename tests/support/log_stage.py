"""A log of its own on the real servers: entries, the sequencer, the auditor, the superuser."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from uuid_utils import uuid7

from keys import declared, spool
from keys import inventory as key_inventory
from keys.signature import verify_ed25519
from tests.support.servers import Database, VaultMount
from tests.support.whole import ROLES, admin_of, present
from vault_service.bootstrap.process import Services, build
from vault_service.domain.actors import Principal, Role
from vault_service.errors import NotFound
from vault_service.ledger import checkpoint as checkpoints
from vault_service.ledger import note, tiles
from vault_service.ledger.checkpoint import Checkpoint
from vault_service.ledger.entries import (
    Actor,
    ActorKind,
    Entry,
    Event,
    Origin,
    Outcome,
    encode,
)
from vault_service.ledger.export import Export, ExportWriter
from vault_service.ledger.note import VerifierKey
from vault_service.ledger.verify import Verified, verify
from vault_service.services.context import Caller
from vault_service.services.log_keeper import LogKeeper
from vault_service.services.log_reading import LedgerReading
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.sequencing import Sequencer
from vault_service.settings import Environment, ProcessRole, Settings
from vault_service.storage import engine as engines
from vault_service.storage.unit_of_work import SqlUnitOfWork

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
ORIGIN = "vault.example/v1/ledger"


def name(prefix: str, length: int, rng: random.Random) -> str:
    """A random id."""
    return prefix + "".join(rng.choices(ALPHABET, k=length))


def entry(rng: random.Random, **changes: Any) -> Entry:
    """An entry as a tokenization makes it, with random names."""
    made = Entry(
        id=str(uuid7()),
        at=datetime.now(UTC),
        event=Event.TOKENS_CREATED,
        outcome=Outcome.SUCCESS,
        actor=Actor(kind=ActorKind.PRINCIPAL, id=name("prn_", 26, rng), key=name("key_", 16, rng)),
        origin=Origin(role="ingest", address="10.0.0.1"),
        request=name("req_", 26, rng),
        customer=name("cus_", 26, rng),
        tokens=(name("tok_", 28, rng),),
        count=1,
        details={"class": "payment_card", "created": 1},
    )
    return replace(made, **changes)


def row(made: Entry) -> OutboxEntry:
    """An entry as a row of the outbox."""
    return OutboxEntry(bucket=0, id=uuid.UUID(made.id), entry=encode(made))


@dataclass(slots=True, kw_only=True)
class LogStage:
    """A database with a log, and everybody who has to do with it."""

    database: Database
    mount: VaultMount
    settings: Settings
    worker: Services
    console: Services
    ingest: SqlUnitOfWork
    rng: random.Random

    @property
    def keeper(self) -> LogKeeper:
        """The worker's duty."""
        return present(self.worker.log_keeper)

    @property
    def sequencer(self) -> Sequencer:
        """The sequencer that the worker uses."""
        return self.keeper._sequencer

    @property
    def reading(self) -> LedgerReading:
        """The auditor's use case."""
        return present(self.console.ledger)

    @property
    def uow(self) -> SqlUnitOfWork:
        """Units of work of the worker."""
        uow = self.keeper._uow
        assert isinstance(uow, SqlUnitOfWork)
        return uow

    @property
    def auditor(self) -> Caller:
        """An auditor making a request now."""
        return Caller(
            principal=Principal(
                id="prn_" + "0" * 26, name="auditor", roles=frozenset((Role.AUDITOR,))
            ),
            key_id="key_" + "0" * 16,
            request_id="req_" + "0" * 26,
            address="127.0.0.1",
            deadline=time.monotonic() + 30,
        )

    def fresh_sequencer(self) -> Sequencer:
        """A sequencer as another process has it, without a memory."""
        return Sequencer(uow=self.uow, signer=self.sequencer._signer, origin=ORIGIN)

    def write(self, *entries: Entry) -> list[Entry]:
        """Put entries into the outbox, in one transaction."""
        with self.ingest.begin() as tx:
            tx.outbox.append([row(each) for each in entries])
        return list(entries)

    def fill(self, count: int, **changes: Any) -> list[Entry]:
        """Write entries, put them into the log and have its head signed."""
        made = self.write(*(entry(self.rng, **changes) for _ in range(count)))
        self.keeper.finish()
        return made

    def sql(self, statement: str, parameters: Sequence[object] = ()) -> Any:
        """Rows of a statement run by the superuser; their number, if it has none."""
        with psycopg.connect(self.database.admin_url, autocommit=True) as link:
            cursor = link.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else cursor.rowcount

    def size(self) -> int:
        """How many entries the log has."""
        return int(self.sql("SELECT size FROM ledger_tree")[0][0])

    # ------------------------------------------------------------ the auditor's side

    def keys(self) -> list[VerifierKey]:
        """The log's verifier keys."""
        return [VerifierKey.parse(text) for text in self.reading.verifier_keys(self.auditor)]

    def checkpoint(self) -> bytes:
        """The newest checkpoint."""
        return self.reading.checkpoint(self.auditor)

    def head(self) -> Checkpoint:
        """The newest checkpoint, believed."""
        return checkpoints.verify(self.checkpoint(), self.keys(), verify_ed25519)

    def read(self, path: str) -> bytes | None:
        """A part of the log as it is served; makes this a source for the verifier."""
        if path == "checkpoint":
            return self.checkpoint()
        blob = self.reading.tile(self.auditor, path.removeprefix("tile/"))
        if not blob.packed:
            return blob.data
        import gzip

        return gzip.decompress(blob.data)

    def export(self, path: Path) -> Path:
        """An export of what is served now."""
        note_bytes = self.checkpoint()
        size = Checkpoint.parse(note.parse(note_bytes).text).size
        with path.open("wb") as stream:
            writer = ExportWriter(stream)
            writer.head(note_bytes, self.reading.verifier_keys(self.auditor))
            for tile in (*tiles.of_tree(size), *tiles.bundles_of(size)):
                try:
                    data = self.read(tile.path)
                except NotFound as error:
                    assert error.code == "ledger_archived"  # noqa: PT017 -- nothing else is missing
                    continue
                assert data is not None
                writer.tile(tile, data)
            writer.close()
        return path

    def verify(self, keys: Sequence[VerifierKey], *kept: bytes) -> Verified:
        """What the verifier finds in what is served now."""
        return verify(self, keys=keys, check=verify_ed25519, kept=kept)


def verified(path: Path, keys: Sequence[VerifierKey], *kept: bytes, **how: Any) -> Verified:
    """What the verifier finds in an export."""
    source = Export(path)
    try:
        return verify(source, keys=keys, check=verify_ed25519, kept=kept, **how)
    finally:
        source.close()


def entries_of(stage: LogStage) -> list[dict[str, Any]]:
    """Every entry of the log, in its order, as it is served."""
    found = []
    for tile in tiles.bundles_of(stage.size()):
        data = stage.read(tile.path)
        assert data is not None
        found += [json.loads(each) for each in tiles.decode_bundle(data, tile.width)]
    return found


@pytest.fixture(scope="module")
def log(
    database: Database, vault_mount: VaultMount, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LogStage]:
    """A log of this module's own."""
    folder = tmp_path_factory.mktemp("spool")
    folder.chmod(0o700)
    admin = admin_of(vault_mount)
    key_inventory.apply(declared.load(mount=vault_mount.mount, prefix=vault_mount.prefix), admin)
    for role in ROLES:
        spool.issue(admin, role, folder, 16)
    admin.close()
    settings = Settings(
        env=Environment.DEVELOPMENT,
        stand_in=True,
        database_console_url=database.url("vault_console"),
        database_worker_url=database.url("vault_worker"),
        vault_address=vault_mount.address,
        vault_mount=vault_mount.mount,
        vault_prefix=vault_mount.prefix,
        vault_spool=folder,
        issuer="https://vault.example",
    )
    worker = build(replace(settings, process_role=ProcessRole.WORKER))
    console = build(replace(settings, process_role=ProcessRole.CONSOLE))
    ingest = SqlUnitOfWork(
        engines.create(database.url("vault_ingest"), application_name="test", pool_size=8)
    )
    yield LogStage(
        database=database,
        mount=vault_mount,
        settings=settings,
        worker=worker,
        console=console,
        ingest=ingest,
        rng=random.Random(database.name),  # noqa: S311 -- made-up names
    )
    ingest.close()
    worker.close()
    console.close()
