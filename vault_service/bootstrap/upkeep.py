"""Use cases of the command line that no process serves, each with a login of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from keys.data_keys import DataKeyPool, Unwrapper
from keys.fingerprint import Fingerprinter
from vault_service.bootstrap.connections import Connections, heard
from vault_service.bootstrap.vault_keys import IndexKeys, keks
from vault_service.policy import loader
from vault_service.services.adoption import Adoption
from vault_service.services.alarms import Alarms
from vault_service.services.archiving import Archiving
from vault_service.services.audit import Audit
from vault_service.services.binding_check import BindingCheck
from vault_service.services.documents import KEK as EVIDENCE_KEK
from vault_service.services.reencryption import Reencryption
from vault_service.services.reindexing import Reindexer
from vault_service.services.retention import Retention
from vault_service.settings import Settings
from vault_service.storage.unit_of_work import SqlUnitOfWork


@contextmanager
def _login(settings: Settings, role: str) -> Iterator[tuple[Connections, SqlUnitOfWork, Audit]]:
    """One database role, what tells of its doings, and connections to Vault where needed."""
    parts = Connections(settings, heard)
    with parts.closing:
        uow = parts.database(role)
        yield parts, uow, Audit(process_role="cli", uow=uow)


@contextmanager
def archiving(settings: Settings) -> Iterator[Archiving]:
    """The use case that moves old entries into files; logs in as the schema's owner.

    Raises:
        SettingsError: the owner's database URL is not set.
    """
    with _login(settings, "owner") as (_, uow, told):
        yield Archiving(uow=uow, audit=told)


@contextmanager
def binding_check(settings: Settings) -> Iterator[BindingCheck]:
    """The use case that compares all records with the log; logs in as the schema's owner.

    Raises:
        SettingsError: the owner's database URL is not set.
    """
    with _login(settings, "owner") as (_, uow, _told):
        yield BindingCheck(uow=uow)


@contextmanager
def retention(settings: Settings) -> Iterator[Retention]:
    """The use case that ends what has been kept for its time; logs in as the worker.

    Raises:
        SettingsError: the worker's database URL is not set, or the policy file is wrong.
    """
    periods = loader.load(settings.policy_file).retention
    with _login(settings, "worker") as (_, uow, told):
        yield Retention(uow=uow, audit=told, periods=periods)


@contextmanager
def adoption(settings: Settings) -> Iterator[Adoption]:
    """The use case that binds the records of before bindings; logs in as the worker.

    Raises:
        SettingsError: the worker's database URL is not set.
    """
    with _login(settings, "worker") as (_, uow, told):
        yield Adoption(uow=uow, audit=told)


@contextmanager
def reencryption(settings: Settings) -> Iterator[Reencryption]:
    """The use case that seals values anew: the owner's login, and the right to open and to wrap.

    Raises:
        SettingsError: the owner's database URL is not set, or Vault's address or the spool.
    """
    with _login(settings, "owner") as (parts, uow, told):
        yield Reencryption(
            uow=uow,
            # With the patience of a caller: rows are locked while Vault unwraps.
            unwrapping=Unwrapper(parts.transit("reveal")),
            data_keys=DataKeyPool(parts.transit("ingest")),
            keks=keks() - {EVIDENCE_KEK},
            audit=told,
            alarms=Alarms(uow=uow, audit=told),
        )


@contextmanager
def reindexing(settings: Settings) -> Iterator[Reindexer]:
    """The use case that indexes values anew: the owner's login, and the right to open them.

    Raises:
        SettingsError: the owner's database URL is not set, or Vault's address or the spool.
    """
    with _login(settings, "owner") as (parts, uow, told):
        yield Reindexer(
            uow=uow,
            keys=IndexKeys(parts.transit("rotate")),
            unwrapping=Unwrapper(parts.transit("reveal")),
            fingerprints=Fingerprinter(parts.transit("ingest")),
            audit=told,
            alarms=Alarms(uow=uow, audit=told),
        )
