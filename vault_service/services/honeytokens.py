"""Honeytokens: records that no honest caller touches, so that whoever does is found out.

A honeytoken is an ordinary record of an ordinary customer, made by ordinary calls; only its mark
makes it one:

    guard key = HMAC-SHA256(Vault's key `honeytoken`, "honeytoken-guard-v1")
    mark      = the first 16 bytes of HMAC-SHA256(guard key, name)

The guard key is asked of Vault once and lives in the memory of the serving processes, the marks
in a table of their own. So neither a dump of the database, whole or in part, nor any query of any
role tells which names are marked, and no answer does. A look costs microseconds and no round trip:
every process keeps the marks, and reads them anew at most every two seconds.

Whoever is answered with a marked record has, before the answer leaves, lost the API key and raised
the alarm, in one transaction. Where that fails there is no answer. A process that dies before it
has told nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Final

import structlog

from keys.errors import KeysError
from keys.secret import Secret
from vault_service.domain import tokens as names
from vault_service.domain.actors import Action
from vault_service.errors import InvalidInput, NotFound
from vault_service.ledger.entries import Event
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit
from vault_service.services.context import Caller
from vault_service.services.honeytoken_ports import GuardKey
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.recent_failure import RecentFailure

KEY_NAME: Final = "honeytoken"
TOUCHED: Final = "honeytoken_touched"
LIFTED: Final = "honeytoken_lifted"
BLIND: Final = "honeytoken_guard_blind"
MAX_NAMES: Final = 1000
# Seconds for which the marks are believed; below the five that acceptance fact F8 allows.
KEEP: Final = 2.0
# Seconds between questions to a Vault that gave no guard key, lest reads wait for it each time.
PATIENCE: Final = 30.0
ACTOR: Final = "honeytokens"
# How long a blind guard is one alarm.
QUIET: Final = timedelta(hours=1)
_LABEL: Final = b"honeytoken-guard-v1"
_MARK_BYTES: Final = 16
_PAGE: Final = 500

_log = structlog.get_logger(__name__)


class Honeytokens:
    """The guard, and the officers' use cases. Thread-safe.

    Args:
        uow: the database role of the process.
        vault: makes the guard key.
        audit: makes the entries.
        alarms: raises the alarms.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        vault: GuardKey,
        audit: Audit,
        alarms: Alarms,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._uow = uow
        self._vault = vault
        self._audit = audit
        self._alarms = alarms
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[int, Secret] = {}
        self._marks: dict[int, frozenset[bytes]] = {}
        self._failure = RecentFailure(clock)
        self._read: float | None = None
        self._asked: float | None = None

    # ------------------------------------------------------------ the guard

    def look(self, caller: Caller, told: Iterable[str]) -> bool:
        """Return whether a caller is about to be told of a marked record or customer.

        If so, the alarm is raised and the caller's key revoked when this returns.

        Args:
            caller: who asks.
            told: names of records and customers.

        Raises:
            Unavailable: the database is; the caller must not be answered.
        """
        self._refresh()
        touched = [name for name in told if self._marked(name)] if self._marks else []
        if not touched:
            return False
        self._sound(caller, list(dict.fromkeys(touched)))
        return True

    def _marked(self, name: str) -> bool:
        for version, marks in self._marks.items():
            key = self._keys.get(version)
            if key is not None and _mark(key, name) in marks:
                return True
        return False

    def _sound(self, caller: Caller, touched: Sequence[str]) -> None:
        customers = [name for name in touched if name.startswith("cus_")]
        with self._uow.begin() as tx:
            principal = tx.honeytokens.revoke(caller.key_id)
            if principal is not None:
                tx.outbox.append(
                    self._audit.entries(
                        Event.CREDENTIAL_REVOKED,
                        caller,
                        at=tx.clock.now(),
                        principal=principal,
                        key=caller.key_id,
                    )
                )
            self._alarms.raise_in(
                tx,
                TOUCHED,
                caller,
                severity="critical",
                observed=len(touched),
                limit=0,
                customer=customers[0] if customers else None,
                principal=caller.principal.id,
                key=caller.key_id,
                tokens=[name for name in touched if name not in customers],
            )

    def _refresh(self) -> None:
        """Read the marks anew when they are old; who comes meanwhile looks at what was there."""
        now = self._clock()
        if self._read is not None and now - self._read < KEEP:
            return
        # The first look of a process waits, so that nobody is answered unseen.
        if not self._lock.acquire(blocking=self._read is None):
            return
        try:
            if self._read is None or now - self._read >= KEEP:
                self._failure.raise_again()
                with self._failure.noted():
                    self._load()
                self._read = now
        finally:
            self._lock.release()

    def _load(self) -> None:
        with self._uow.begin(read_only=True) as tx:
            standing = tx.honeytokens.standing()
        self._learn({version for _, version in standing})
        self._marks = {
            version: frozenset(mark for mark, other in standing if other == version)
            for version in {version for _, version in standing}
        }

    def _learn(self, versions: set[int]) -> None:
        """Have the guard key of each version. Masked reads go on without Vault, and tell of it."""
        lacking = versions - self._keys.keys()
        now = self._clock()
        if not lacking or (self._asked is not None and now - self._asked < PATIENCE):
            return
        self._asked = now
        try:
            for version in sorted(lacking):
                (made,) = self._vault.hmac(KEY_NAME, [_LABEL], key_version=version)
                self._keys[version] = Secret(made.digest)
        except KeysError as error:
            _log.warning("no guard key", code=error.code)
            self._alarms.raise_now(BLIND, ACTOR, quiet=QUIET)

    # ------------------------------------------------------------ the officers

    def plant(self, caller: Caller, given: Sequence[str]) -> int:
        """Mark records and customers, these with all records that they have; how many are new.

        Raises:
            Forbidden: the caller is no officer.
            InvalidInput: the list is wrong, or holds what is no name.
            NotFound: one of them is not there; nothing was marked.
            VaultUnavailable, VaultDenied, KeyNotReady: there is no guard key.
        """
        self._audit.require(caller, Action.PLANT_HONEYTOKENS)
        wanted = _checked(given)
        (made,) = self._vault.hmac(KEY_NAME, [_LABEL])
        key = Secret(made.digest)
        with self._uow.begin() as tx:
            marked = _with_records(tx, wanted)
            marks = [_mark(key, name) for name in marked]
            planted = tx.honeytokens.plant(
                marks, key_version=made.key_version, by=caller.principal.id
            )
            self._tell(tx, caller, Event.HONEYTOKENS_PLANTED, planted)
        self._read = None
        return planted

    def lift(self, caller: Caller, given: Sequence[str]) -> int:
        """Take marks away, of customers with those of their records; how many there were.

        Raises:
            Forbidden, InvalidInput, NotFound, VaultUnavailable, VaultDenied, KeyNotReady: as for
                `plant`.
        """
        self._audit.require(caller, Action.PLANT_HONEYTOKENS)
        wanted = _checked(given)
        with self._uow.begin(read_only=True) as tx:
            versions = {version for _, version in tx.honeytokens.standing()}
        keys = [
            Secret(self._vault.hmac(KEY_NAME, [_LABEL], key_version=version)[0].digest)
            for version in sorted(versions)
        ]
        with self._uow.begin() as tx:
            marked = _with_records(tx, wanted)
            marks = [_mark(key, name) for key in keys for name in marked]
            lifted = tx.honeytokens.lift(marks, by=caller.principal.id)
            if lifted:
                self._tell(tx, caller, Event.HONEYTOKENS_LIFTED, lifted)
                # Whoever wants to look about undisturbed would begin here.
                self._alarms.raise_in(tx, LIFTED, caller, severity="medium", observed=lifted)
        self._read = None
        return lifted

    def count(self, caller: Caller) -> int:
        """How many marks stand. Of what, nobody can tell.

        Raises:
            Forbidden: the caller is no officer.
        """
        self._audit.require(caller, Action.PLANT_HONEYTOKENS)
        with self._uow.begin(read_only=True) as tx:
            return len(tx.honeytokens.standing())

    def _tell(self, tx: Transaction, caller: Caller, event: Event, count: int) -> None:
        # Not which: the ledger is read by more people than may know.
        tx.outbox.append(self._audit.entries(event, caller, at=tx.clock.now(), count=count))


def _mark(key: Secret, name: str) -> bytes:
    return hmac.digest(key.expose(), name.encode(), hashlib.sha256)[:_MARK_BYTES]


def _checked(given: Sequence[str]) -> list[str]:
    if not 1 <= len(given) <= MAX_NAMES:
        raise InvalidInput(f"1 to {MAX_NAMES} names at once", code="batch_size", pointer="/names")
    for index, name in enumerate(given):
        if name.startswith("cus_"):
            names.check_customer_id(name, pointer=f"/names/{index}")
        else:
            names.bucket_from_token(name, pointer=f"/names/{index}")
    return list(dict.fromkeys(given))


def _with_records(tx: Transaction, wanted: Sequence[str]) -> list[str]:
    """The names, and the tokens of those that are customers.

    Raises:
        NotFound: one of them is not there.
    """
    customers = [(names.bucket_of(name), name) for name in wanted if name.startswith("cus_")]
    records = [
        (names.bucket_from_token(name), name) for name in wanted if not name.startswith("cus_")
    ]
    there = set(tx.records.masked(records)) if records else set()
    there |= set(tx.customers.get(customers)) if customers else set()
    if there != set(wanted):
        raise NotFound("not all of these are there; nothing was done", code="not_found")
    found = list(wanted)
    for bucket, customer in customers:
        after: str | None = None
        while page := tx.records.page(bucket, customer, None, after, _PAGE):
            found += [row.token for row in page]
            after = page[-1].token
    return list(dict.fromkeys(found))
