"""C7, C8 at the running service: a secret-id intercepted, and keys not as they are declared."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
import requests

from keys import declared, spool
from keys import inventory as key_inventory
from tests.support.running import Running
from tests.support.servers import VaultMount, VaultServer, fresh_mount
from tests.support.whole import ROLES, admin_of
from vault_service.bootstrap.connections import INVENTORY_KEPT

# Seconds: what readiness found is kept for one more.
NOTICED: Final = INVENTORY_KEPT + 3.0
SOON: Final = 5.0


@pytest.fixture(scope="module")
def own_mount(vault_server: VaultServer) -> Iterator[VaultMount]:
    """A mount whose keys may be spoilt: two of the switches cannot be switched back."""
    with fresh_mount(vault_server) as mount:
        admin = admin_of(mount)
        key_inventory.apply(declared.load(mount=mount.mount, prefix=mount.prefix), admin)
        admin.close()
        yield mount


@pytest.fixture(scope="module")
def own_spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spool of this service's own."""
    folder: Path = tmp_path_factory.mktemp("own-spool")
    folder.chmod(0o700)
    return folder


def fill(mount: VaultMount, folder: Path, *roles: str) -> None:
    """Deliver secret-ids."""
    admin = admin_of(mount)
    for role in roles:
        spool.issue(admin, role, folder, 2)
    admin.close()


def intercept(mount: VaultMount, folder: Path) -> None:
    """Unwrap the only secret-id of a role before the service does."""
    (file,) = folder.glob("*.json")
    token = json.loads(file.read_text(encoding="utf-8"))["wrapped_secret_id"]
    answer = requests.put(
        f"{mount.address}/v1/sys/wrapping/unwrap", headers={"X-Vault-Token": token}, timeout=10
    )
    assert answer.json()["data"]["secret_id"]


@pytest.fixture(scope="module")
def service(
    start_service: Callable[..., Running], own_mount: VaultMount, own_spool: Path
) -> Running:
    """A service on that mount whose secret-id for `reveal` somebody has intercepted."""
    fill(own_mount, own_spool, *(role for role in ROLES if role != "reveal"))
    admin = admin_of(own_mount)
    spool.issue(admin, "reveal", own_spool, 1)
    admin.close()
    intercept(own_mount, own_spool / "reveal")
    return start_service(
        workers=1,
        VAULT_SERVICE_VAULT_MOUNT=own_mount.mount,
        VAULT_SERVICE_VAULT_PREFIX=own_mount.prefix,
        VAULT_SERVICE_VAULT_SPOOL=str(own_spool),
    )


def reasons(service: Running) -> str:
    """What readiness complains of; empty when it is well."""
    answer = service.call("GET", "/readyz")
    bad = [check for check in answer.body["checks"] if not check["ok"]]
    assert (answer.status == 200) == (not bad)
    return "; ".join(f"{check['name']}: {check['reason']}" for check in bad)


def eventually(service: Running, within: float, *words: str) -> str:
    """Wait until readiness names all of these, or, without words, until it is well."""
    until = time.monotonic() + within
    while True:
        told = reasons(service)
        if all(word in told for word in words) if words else not told:
            return told
        assert time.monotonic() < until, told
        time.sleep(0.2)


def test_c7_c8_what_happens_to_vault_is_noticed_and_mended(
    service: Running, own_mount: VaultMount, own_spool: Path
) -> None:
    """One story, because what readiness found well is believed for a while."""
    # C7: the second unwrapping is an alarm; nothing is revealed with that login.
    token = service.card(service.customer())
    jws = service.token(service.grant(token))
    refused = service.reveal(jws, token)
    assert refused.status == 503, refused.raw
    assert refused.code in ("vault_denied", "secret_id_intercepted")
    eventually(service, SOON, "vault reveal")
    alarms = [
        line
        for line in map(json.loads, service.log.read_text(encoding="utf-8").splitlines())
        if line.get("alarm") == "secret_id_intercepted"
    ]
    assert alarms
    assert {line["vault_role"] for line in alarms if "vault_role" in line} == {"reveal"}
    assert list((own_spool / "reveal").glob("*.intercepted"))
    fill(own_mount, own_spool, "reveal")
    eventually(service, SOON)
    assert service.reveal(jws, token).status == 200  # the use was not spent

    # C8: each switch by itself makes it not ready, and the finding names the key.
    def configure(key: str, **changes: bool) -> None:
        status, answer = own_mount.server.request(
            "POST", f"{own_mount.mount}/keys/{key}/config", changes
        )
        assert status in (200, 204), answer

    def upsert(*, disabled: bool) -> None:
        status, answer = own_mount.server.request(
            "POST", f"{own_mount.mount}/config/keys", {"disable_upsert": disabled}
        )
        assert status in (200, 204), answer

    upsert(disabled=False)
    configure("records-account", deletion_allowed=True)
    configure("records-contact", exportable=True)
    configure("evidence", allow_plaintext_backup=True)
    told = eventually(
        service, NOTICED, "records-account", "records-contact", "evidence", "unknown name"
    )
    assert "delet" in told
    assert "export" in told
    assert "backup" in told
    # What can be switched back is; the finding shrinks to the rest.
    upsert(disabled=True)
    configure("records-account", deletion_allowed=False)
    told = eventually(service, SOON, "records-contact", "evidence")
    until = time.monotonic() + SOON
    while "unknown name" in (told := reasons(service)) or "records-account" in told:
        assert time.monotonic() < until, told
        time.sleep(0.2)
    # The others are made anew, as an operator would who has nothing under them yet.
    for key in ("records-contact", "evidence"):
        configure(key, deletion_allowed=True)
        status, _ = own_mount.server.request("DELETE", f"{own_mount.mount}/keys/{key}")
        assert status == 204
    admin = admin_of(own_mount)
    key_inventory.apply(declared.load(mount=own_mount.mount, prefix=own_mount.prefix), admin)
    admin.close()
    eventually(service, SOON)
