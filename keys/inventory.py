"""The declared keys and roles, and bringing Vault in line with them, as migrations do for tables.

`plan` says what differs, `apply` does it, `check` looks with the rights of the role `inspect`
only. Applying twice changes nothing. It never deletes a key, never lowers a version limit, and
never repairs what cannot be repaired: `exportable` and plaintext backups cannot be switched off
again, so a key that has had them must be replaced by people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from keys.declared import Inventory, KeySpec, load
from keys.errors import KeyNotReady
from keys.operations import KeyInfo

__all__ = [
    "Administrator",
    "Change",
    "Drift",
    "Inspector",
    "Inventory",
    "KeySpec",
    "Problem",
    "apply",
    "check",
    "load",
    "plan",
    "require",
]


class Problem(StrEnum):
    """How a key or the mount differs from what is declared."""

    MISSING = "missing"
    WRONG_TYPE = "wrong_type"
    EXPORTABLE = "exportable"
    PLAINTEXT_BACKUP = "plaintext_backup"
    DELETABLE = "deletable"
    UPSERT_ENABLED = "upsert_enabled"


_WORDS: Mapping[Problem, str] = {
    Problem.MISSING: "does not exist",
    Problem.WRONG_TYPE: "has another type than declared",
    Problem.EXPORTABLE: "is exportable, which cannot be undone: replace the key",
    Problem.PLAINTEXT_BACKUP: "allows plaintext backups, which cannot be undone: replace the key",
    Problem.DELETABLE: "may be deleted",
    Problem.UPSERT_ENABLED: "makes a key of every unknown name that is encrypted under",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One difference that makes the service unready."""

    subject: str
    problem: Problem

    def __str__(self) -> str:
        return f"{self.subject} {_WORDS[self.problem]}"


class Inspector(Protocol):
    """What checking needs of Vault: the rights of the role `inspect`."""

    def read_key(self, key: str) -> KeyInfo:
        """Return a key's settings."""
        ...

    def upsert_disabled(self) -> bool:
        """Tell whether unknown key names are refused."""
        ...


def check(inventory: Inventory, transit: Inspector) -> list[Drift]:
    """Return every difference between Vault and the inventory that makes the service unready.

    Raises:
        VaultUnavailable, VaultDenied: Vault could not be asked.
    """
    found = [drift for spec in inventory.keys for drift in _drifts(spec, transit)]
    try:
        disabled = transit.upsert_disabled()
    except KeyNotReady:
        disabled = False  # no mount at all
    if not disabled:
        found.append(Drift(subject=f"mount {inventory.mount}", problem=Problem.UPSERT_ENABLED))
    return found


def require(inventory: Inventory, transit: Inspector) -> None:
    """Return if Vault is as declared; for start-up.

    Raises:
        KeyNotReady: it is not; the message lists each difference.
        VaultUnavailable, VaultDenied: Vault could not be asked.
    """
    drifts = check(inventory, transit)
    if drifts:
        raise KeyNotReady("; ".join(map(str, drifts)))


def _drifts(spec: KeySpec, transit: Inspector) -> Iterator[Drift]:
    subject = f"key {spec.name}"
    try:
        info = transit.read_key(spec.name)
    except KeyNotReady:
        yield Drift(subject=subject, problem=Problem.MISSING)
        return
    wrong = {
        Problem.WRONG_TYPE: info.type != spec.type,
        # Facts 6 and 12: each of these can be switched on later by whoever may set a key's config.
        Problem.EXPORTABLE: info.exportable,
        Problem.PLAINTEXT_BACKUP: info.allow_plaintext_backup,
        Problem.DELETABLE: info.deletion_allowed,
    }
    for problem, is_so in wrong.items():
        if is_so:
            yield Drift(subject=subject, problem=problem)


class Administrator(Inspector, Protocol):
    """What applying needs of Vault; held by an operator's or a first run's token only."""

    def has_transit(self) -> bool:
        """Tell whether the mount exists."""
        ...

    def enable_transit(self) -> None:
        """Make the mount."""
        ...

    def has_approle(self) -> bool:
        """Tell whether AppRole is enabled."""
        ...

    def enable_approle(self) -> None:
        """Enable AppRole."""
        ...

    def create_key(self, key: str, key_type: str) -> None:
        """Make a key that is neither exportable nor deletable nor backup-enabled."""
        ...

    def forbid_deletion(self, key: str) -> None:
        """Switch deletion of a key off."""
        ...

    def disable_upsert(self) -> None:
        """Refuse unknown key names."""
        ...

    def policy(self, name: str) -> str | None:
        """Return a policy's text, or None."""
        ...

    def write_policy(self, name: str, text: str) -> None:
        """Set a policy's text."""
        ...

    def approle(self, role: str) -> dict[str, Any] | None:
        """Return an AppRole's settings, or None."""
        ...

    def write_approle(self, role: str, settings: dict[str, Any]) -> None:
        """Set an AppRole's settings."""
        ...

    def standby_reads_disabled(self) -> bool | None:
        """Tell whether standbys refuse to serve reads, or None where the product cannot say."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference, in words. `act` is None where people must act."""

    text: str
    act: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    @property
    def manual(self) -> bool:
        """Whether applying leaves this to people."""
        return self.act is None

    def __str__(self) -> str:
        return f"by hand: {self.text}" if self.manual else self.text


def plan(inventory: Inventory, admin: Administrator) -> list[Change]:
    """Return what differs, in the order in which it is applied; empty when all is in line.

    Raises:
        VaultUnavailable, VaultDenied: Vault could not be asked.
    """
    return [
        *_mounts(inventory, admin),
        *_keys(inventory, admin),
        *_policies(inventory, admin),
        *_roles(inventory, admin),
        *_server(admin),
    ]


def apply(inventory: Inventory, admin: Administrator) -> list[Change]:
    """Bring Vault in line and return what was changed, and what is left for people.

    Raises:
        VaultUnavailable, VaultDenied, VaultRefused: it stopped there; apply again to go on.
    """
    changes = plan(inventory, admin)
    for change in changes:
        if change.act is not None:
            change.act()
    return changes


def _mounts(inventory: Inventory, admin: Administrator) -> Iterator[Change]:
    if not admin.has_transit():
        yield Change(text=f"enable transit at {inventory.mount}", act=admin.enable_transit)
    if not admin.has_approle():
        yield Change(text=f"enable approle at {inventory.approle_mount}", act=admin.enable_approle)


def _keys(inventory: Inventory, admin: Administrator) -> Iterator[Change]:
    types = {f"key {spec.name}": (spec.name, spec.type) for spec in inventory.keys}
    for drift in check(inventory, admin):
        yield _for_drift(drift, types, admin)


def _for_drift(drift: Drift, types: dict[str, tuple[str, str]], admin: Administrator) -> Change:
    if drift.problem is Problem.UPSERT_ENABLED:
        return Change(text=f"disable upsert on {drift.subject}", act=admin.disable_upsert)
    name, key_type = types[drift.subject]
    if drift.problem is Problem.MISSING:
        return Change(
            text=f"create {drift.subject} ({key_type})",
            act=lambda: admin.create_key(name, key_type),
        )
    if drift.problem is Problem.DELETABLE:
        return Change(
            text=f"forbid deletion of {drift.subject}", act=lambda: admin.forbid_deletion(name)
        )
    return Change(text=str(drift))


def _policies(inventory: Inventory, admin: Administrator) -> Iterator[Change]:
    for name, text in inventory.policies.items():
        if admin.policy(name) != text:
            yield Change(text=f"write policy {name}", act=_writer(admin.write_policy, name, text))


def _roles(inventory: Inventory, admin: Administrator) -> Iterator[Change]:
    for role in inventory.roles:
        wanted = inventory.approle(role)
        held = admin.approle(role)
        if held is None or any(held.get(name) != value for name, value in wanted.items()):
            yield Change(
                text=f"write approle {inventory.prefix}{role}",
                act=_writer(admin.write_approle, role, wanted),
            )


def _server(admin: Administrator) -> Iterator[Change]:
    # Fact 7: a standby that serves reads goes on decrypting with versions that were revoked.
    if admin.standby_reads_disabled() is False:
        yield Change(text="set disable_standby_reads = true in the server's configuration")


def _writer(write: Callable[[str, Any], None], name: str, content: Any) -> Callable[[], None]:
    return lambda: write(name, content)
