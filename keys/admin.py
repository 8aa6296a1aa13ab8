"""Vault for administration: a token given directly, all rights that token has.

For the inventory's `apply`, for filling the spool, and for tests. The service itself never
holds one of these: its roles log in by keys.transit.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from keys.answers import AuthAnswer, NotThere, WrapAnswer
from keys.errors import Outage, VaultUnavailable
from keys.link import Link
from keys.operations import TransitOperations, checked_key, checked_mount
from keys.retry import JOB_BUDGET, Breaker
from keys.secret import Secret
from keys.tokens import FixedToken
from keys.transit import APPROLE_MOUNT, PREFIX, connect, unobserved

HMAC_KEY_BYTES = 32


class AdminTransit(TransitOperations):
    """Transit, policies and AppRoles with a token of one's own.

    Args:
        address: `https://host:port` of Vault.
        token: a token with the rights that are needed.
        mount: where Transit is mounted.
        approle_prefix: what stands before roles in AppRole names.
        approle_mount: where AppRole is mounted.
        ca_file: certificates to trust instead of the system's.
        budget: seconds for a whole call.
        pool_size: connections kept open.
        observe: told of events, as by keys.transit.Transit.
    """

    def __init__(
        self,
        *,
        address: str,
        token: Secret,
        mount: str = "transit",
        approle_prefix: str = PREFIX,
        approle_mount: str = APPROLE_MOUNT,
        ca_file: Path | None = None,
        budget: float = JOB_BUDGET,
        pool_size: int = 4,
        observe: Callable[[str], None] = unobserved,
    ) -> None:
        self._link = Link(address, ca_file=ca_file, pool_size=pool_size)
        self._prefix = approle_prefix
        self._approle = checked_mount(approle_mount)
        client = connect(
            self._link,
            address=address,
            breaker=Breaker(),
            budget=budget,
            tokens=FixedToken(token),
            observe=observe,
        )
        super().__init__(client, mount=mount, budget=budget)

    def close(self) -> None:
        """Close the connections; the token lives on."""
        self._link.close()

    def has_transit(self) -> bool:
        """Tell whether the mount exists."""
        return f"{self._mount}/" in self._listed("/v1/sys/mounts")

    def enable_transit(self) -> None:
        """Make the mount."""
        self._client.sys.enable_secrets_engine("transit", path=self._mount)

    def has_approle(self) -> bool:
        """Tell whether AppRole is enabled."""
        return f"{self._approle}/" in self._listed("/v1/sys/auth")

    def enable_approle(self) -> None:
        """Enable AppRole."""
        self._client.sys.enable_auth_method("approle", path=self._approle)

    def create_key(self, key: str, key_type: str) -> None:
        """Make a key that is neither exportable nor deletable nor backup-enabled."""
        # Fact 6: hvac does not know the type hmac.
        payload: dict[str, Any] = {
            "type": key_type,
            "exportable": False,
            "allow_plaintext_backup": False,
        }
        if key_type == "hmac":
            payload["key_size"] = HMAC_KEY_BYTES
        self._post(f"keys/{checked_key(key)}", payload, dict)

    def forbid_deletion(self, key: str) -> None:
        """Switch deletion of a key off."""
        self._post(f"keys/{checked_key(key)}/config", {"deletion_allowed": False}, dict)

    def disable_upsert(self) -> None:
        """Refuse unknown key names (fact 6: not in hvac)."""
        self._post("config/keys", {"disable_upsert": True}, dict)

    def policy(self, name: str) -> str | None:
        """Return a policy's text, or None."""
        try:
            answer = self._client.adapter.get(f"/v1/sys/policies/acl/{checked_key(name)}")
        except NotThere:
            return None
        return str(_data(answer).get("policy"))

    def write_policy(self, name: str, text: str) -> None:
        """Set a policy's text."""
        self._client.sys.create_or_update_acl_policy(checked_key(name), text)

    def approle(self, role: str) -> dict[str, Any] | None:
        """Return an AppRole's settings, or None."""
        try:
            return _data(self._client.adapter.get(self._role_path(role)))
        except NotThere:
            return None

    def write_approle(self, role: str, settings: dict[str, Any]) -> None:
        """Set an AppRole's settings; its role-id is its name.

        A role-id is no secret, and a fixed one lets the issuer do without the right to read it.
        """
        path = self._role_path(role)
        self._client.adapter.post(path, json=settings)
        self._client.adapter.post(f"{path}/role-id", json={"role_id": self._prefix + role})

    def wrapped_secret_id(self, role: str, ttl: timedelta) -> tuple[str, Secret]:
        """Return a role's role-id and a wrapping token that holds a fresh secret-id."""
        answer: WrapAnswer = self._client.adapter.post(
            f"{self._role_path(role)}/secret-id",
            wrap_ttl=str(int(ttl.total_seconds())),
            shape=WrapAnswer,
        )
        return self._prefix + role, Secret(answer.wrap_info.token.encode())

    def create_token(self, policy: str, period: timedelta) -> Secret:
        """Return a token with one policy and no other, that lives while it is renewed in time."""
        answer: AuthAnswer = self._client.adapter.post(
            "/v1/auth/token/create",
            json={
                "policies": [policy],
                "no_default_policy": True,
                "no_parent": True,
                "period": str(int(period.total_seconds())),
            },
            shape=AuthAnswer,
        )
        return Secret(answer.auth.client_token.encode())

    def renew(self) -> None:
        """Prolong the own token; for those that live while they are renewed."""
        self._client.adapter.post("/v1/auth/token/renew-self", json={})

    def standby_reads_disabled(self) -> bool | None:
        """Tell whether standbys refuse to serve reads, or None where the product cannot say.

        HashiCorp Vault has no such setting: its standbys forward. OpenBao's serve reads (fact 7).
        """
        try:
            answer = _data(self._client.adapter.get("/v1/sys/config/state/sanitized"))
        except NotThere:
            return None
        setting = answer.get("disable_standby_reads")
        return setting if isinstance(setting, bool) else None

    def _role_path(self, role: str) -> str:
        return f"/v1/auth/{self._approle}/role/{checked_key(self._prefix + role)}"

    def _listed(self, path: str) -> dict[str, Any]:
        return _data(self._client.adapter.get(path))


def _data(answer: dict[str, Any]) -> dict[str, Any]:
    data = answer.get("data")
    if isinstance(data, dict):
        return data
    raise VaultUnavailable("vault answered in a wrong form", reason=Outage.UNREADABLE)
