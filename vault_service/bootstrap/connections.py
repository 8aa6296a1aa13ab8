"""The connections of one process to the database and to Vault, each made once.

Nothing is connected here; each connects when it is first used, so that a service starts, and says
why it is not ready, while a dependency is away.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

import structlog

from keys import declared
from keys import inventory as key_inventory
from keys.declared import Inventory
from keys.retry import ON_LINE_BUDGET
from keys.transit import Transit
from vault_service.errors import SettingsError
from vault_service.services.health import Check, Finding, Remembered
from vault_service.settings import Settings
from vault_service.storage import engine as engines
from vault_service.storage.unit_of_work import SqlUnitOfWork

# Seconds for which a good answer to "are Vault's keys as declared?" is believed.
INVENTORY_KEPT: Final = 10.0
SLOW_KEPT: Final = 60.0

_log = structlog.get_logger(__name__)

# What `keys` tells of that somebody must look at, rather than a number that moves.
_ALARMS: Final = frozenset(("secret_id_intercepted", "breaker_opened"))


class Connections:
    """Makes each connection once, and closes them all."""

    def __init__(self, settings: Settings, observe: Callable[[str, str], None]) -> None:
        self._settings = settings
        self._observe = observe
        self._databases: dict[str, SqlUnitOfWork] = {}
        self._transits: dict[str, Transit] = {}
        self.closing = ExitStack()

    def database(self, role: str) -> SqlUnitOfWork:
        """Units of work as one database role.

        Raises:
            SettingsError: the role's URL is not set.
        """
        if role not in self._databases:
            url: str | None = getattr(self._settings, f"database_{role}_url")
            if url is None:
                raise SettingsError(
                    f"VAULT_SERVICE_DATABASE_{role.upper()}_URL is not set",
                    hint="each process role has a database login of its own",
                )
            engine = engines.create(
                url,
                application_name=f"vault-service {role}",
                pool_size=self._settings.database_pool,
            )
            self._databases[role] = SqlUnitOfWork(engine)
            self.closing.callback(self._databases[role].close)
        return self._databases[role]

    def transit(self, role: str, *, budget: float = ON_LINE_BUDGET) -> Transit:
        """Vault as one of its roles.

        Raises:
            SettingsError: Vault's address or the spool is not set.
        """
        settings = self._settings
        if settings.vault_address is None or settings.vault_spool is None:
            raise SettingsError(
                "VAULT_SERVICE_VAULT_ADDRESS and VAULT_SERVICE_VAULT_SPOOL are needed"
            )
        if role not in self._transits:
            self._transits[role] = Transit(
                address=settings.vault_address,
                role=role,
                spool=settings.vault_spool,
                mount=settings.vault_mount,
                approle_prefix=settings.vault_prefix,
                ca_file=settings.vault_ca_file,
                pool_size=settings.threads,
                observe=partial(self._observe, role),
                budget=budget,
            )
            self.closing.callback(self._transits[role].close)
        return self._transits[role]

    def checks(self) -> dict[str, Check]:
        """What readiness asks of everything made so far."""
        checks: dict[str, Check] = {
            f"database {role}": uow.ping for role, uow in self._databases.items()
        }
        for role, transit in self._transits.items():
            checks[f"vault {role}"] = transit.ready
        checks["vault keys"] = Remembered(self.check_keys, keep=INVENTORY_KEPT)
        first = next(iter(self._databases.values()))
        checks["schema"] = Remembered(partial(_schema, first), keep=SLOW_KEPT)
        durable = partial(_durable, first, production=self._settings.production)
        checks["durability"] = Remembered(durable, keep=SLOW_KEPT)
        return checks

    def check_keys(self) -> None:
        """Return if Vault's keys are as the inventory declares them.

        Raises:
            KeyNotReady: one is missing, of another type, exportable, deletable or open to backup,
                or Vault would make a key for any name that is mistyped.
            VaultUnavailable: Vault could not be asked.
        """
        key_inventory.require(self.inventory(), self.transit("inspect"))

    def inventory(self) -> Inventory:
        """The declared keys, where this service has them."""
        return declared.load(mount=self._settings.vault_mount, prefix=self._settings.vault_prefix)


def _durable(uow: SqlUnitOfWork, *, production: bool) -> None:
    reasons = uow.check_durability()
    if reasons and production:
        raise Finding("; ".join(reasons))
    for reason in reasons:
        _log.warning("not_durable", reason=reason)


def _schema(uow: SqlUnitOfWork) -> None:
    found = uow.check_schema()
    if found is not None:
        raise Finding(f"the schema is of revision {found}; run the migrations of this release")


def heard(role: str, event: str) -> None:
    """Tell of what happened between this process and Vault."""
    if event in _ALARMS:
        _log.error("alarm", alarm=event, vault_role=role)
    else:
        _log.info("vault", vault_event=event, vault_role=role)
