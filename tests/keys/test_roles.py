"""C3: every role may do what its row of the table says, and is refused everything else.

Asked of the real server with the role's own token, past the adapter, as an attacker who stole it
would. The list of operations is one for all roles; what a role may do is taken out of it by name.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import requests

from keys import spool
from keys.admin import AdminTransit
from keys.declared import Purpose
from keys.retry import Deadline
from keys.secret import Secret
from tests.keys.support import World

RECORDS = ("records-card", "records-contact", "records-account", "records-communication")
FINGERPRINTS = tuple(
    f"fingerprint-{name}"
    for name in (
        "payment-card",
        "telephone",
        "business-name",
        "contact-name",
        "email-address",
        "postal-address",
        "communication",
        "service-choice",
        "customer-ref",
        "request",
    )
)
HONEYTOKEN = "honeytoken"
SIGNING = ("disclosure-token", "ledger")
ALL = (*RECORDS, "evidence", *FINGERPRINTS, HONEYTOKEN, *SIGNING)
ROLES = ("ingest", "reveal", "review", "rotate", "sign-token", "sign-ledger", "inspect")
TEXT = base64.b64encode(b"x" * 32).decode()


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that could be asked of Vault."""

    name: str
    method: str
    path: str
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def of_keys(mount: str, ciphertexts: dict[str, str]) -> Iterator[Operation]:
    """Everything that can be asked of each key, sensible for its type or not."""
    for key in ALL:

        def post(name: str, path: str, **body: Any) -> Operation:
            return Operation(f"{name} {key}", "POST", f"{mount}/{path}", body)  # noqa: B023

        sealed = ciphertexts.get(key, "vault:v1:AAAA")
        yield post("encrypt", f"encrypt/{key}", batch_input=[{"plaintext": TEXT}])
        yield post("encrypt one", f"encrypt/{key}", plaintext=TEXT)
        yield post(
            "encrypt old", f"encrypt/{key}", batch_input=[{"plaintext": TEXT}], key_version=1
        )
        yield post("encrypt aad", f"encrypt/{key}", plaintext=TEXT, associated_data=TEXT)
        yield post("decrypt", f"decrypt/{key}", batch_input=[{"ciphertext": sealed}])
        yield post("decrypt one", f"decrypt/{key}", ciphertext=sealed)
        yield post("rewrap", f"rewrap/{key}", batch_input=[{"ciphertext": sealed}])
        yield post("rewrap one", f"rewrap/{key}", ciphertext=sealed)
        yield post("datakey", f"datakey/plaintext/{key}")
        yield post("datakey wrapped", f"datakey/wrapped/{key}")
        yield post("hmac", f"hmac/{key}/sha2-256", batch_input=[{"input": TEXT}])
        yield post("hmac one", f"hmac/{key}/sha2-256", input=TEXT)
        yield post("hmac plain", f"hmac/{key}", batch_input=[{"input": TEXT}])
        yield post("hmac 512", f"hmac/{key}/sha2-512", batch_input=[{"input": TEXT}])
        yield post("sign", f"sign/{key}", input=TEXT)
        yield post("sign hashed", f"sign/{key}/sha2-256", input=TEXT, prehashed=True)
        yield post("verify", f"verify/{key}", input=TEXT, signature=f"vault:v1:{TEXT}")
        yield post("verify hmac", f"verify/{key}/sha2-256", input=TEXT, hmac=f"vault:v1:{TEXT}")
        yield Operation(f"read {key}", "GET", f"{mount}/keys/{key}")
        for kind in ("encryption-key", "hmac-key", "signing-key", "public-key"):
            yield Operation(f"export {kind} {key}", "GET", f"{mount}/export/{kind}/{key}")
        yield Operation(f"backup {key}", "GET", f"{mount}/backup/{key}")
        yield post("restore", f"restore/{key}", backup=TEXT, force=True)
        yield post("rotate", f"keys/{key}/rotate")
        yield post("rotate odd", f"keys/{key}/rotate", managed_key_name="x")
        yield post("limits", f"keys/{key}/config", min_decryption_version=1)
        yield post("limits 2", f"keys/{key}/config", min_encryption_version=0)
        yield post("exportable", f"keys/{key}/config", exportable=True)
        yield post("exportable 2", f"keys/{key}/config", min_decryption_version=1, exportable=True)
        yield post("backupable", f"keys/{key}/config", allow_plaintext_backup=True)
        yield post("deletable", f"keys/{key}/config", deletion_allowed=True)
        yield post("auto rotate", f"keys/{key}/config", auto_rotate_period="1h")
        yield post("trim", f"keys/{key}/trim", min_available_version=1)
        yield post("create", f"keys/{key}", exportable=True)
        yield post("import", f"keys/{key}/import", ciphertext=TEXT)
        yield post("import version", f"keys/{key}/import_version", ciphertext=TEXT)
        yield post("soft delete", f"keys/{key}/soft-delete")
        yield Operation(f"byok {key}", "GET", f"{mount}/byok-export/{key}/{key}")
        yield Operation(f"delete {key}", "DELETE", f"{mount}/keys/{key}")


def of_vault(world: World) -> Iterator[Operation]:
    """Everything else that a stolen token could be tried on."""
    mount, prefix = world.place.mount, world.place.prefix
    yield Operation("new key", "POST", f"{mount}/keys/mine", {"exportable": True})
    yield Operation("upsert", "POST", f"{mount}/encrypt/mine", {"plaintext": TEXT})
    yield Operation("list keys", "LIST", f"{mount}/keys")
    yield Operation("read mount", "GET", f"{mount}/config/keys")
    yield Operation("allow upsert", "POST", f"{mount}/config/keys", {"disable_upsert": False})
    yield Operation("cache", "GET", f"{mount}/cache-config")
    yield Operation("wrapping key", "GET", f"{mount}/wrapping_key")
    yield Operation("random", "POST", f"{mount}/random/32")
    yield Operation("hash", "POST", f"{mount}/hash", {"input": TEXT})
    yield Operation("restore", "POST", f"{mount}/restore", {"backup": TEXT})
    for role in ROLES:
        path = f"auth/approle/role/{prefix}{role}"
        yield Operation(f"read role {role}", "GET", path)
        yield Operation(f"write role {role}", "POST", path, {"token_policies": ["root"]})
        yield Operation(f"role-id {role}", "GET", f"{path}/role-id")
        yield Operation(f"secret-id {role}", "POST", f"{path}/secret-id")
        yield Operation(f"list secret-ids {role}", "LIST", f"{path}/secret-id")
        wrap = {"X-Vault-Wrap-TTL": "60"}
        yield Operation(f"wrapped {role}", "POST", f"{path}/secret-id", {}, wrap)
        long = {"X-Vault-Wrap-TTL": "9000h"}
        yield Operation(f"wrapped for ever {role}", "POST", f"{path}/secret-id", {}, long)
        odds: tuple[dict[str, Any], ...] = (
            {"num_uses": 5},
            {"ttl": "9000h"},
            {"metadata": "{}"},
            {"cidr_list": []},
        )
        for odd in odds:
            yield Operation(f"wrapped odd {role} {odd}", "POST", f"{path}/secret-id", odd, wrap)
        custom = {"secret_id": "chosen"}
        yield Operation(f"chosen {role}", "POST", f"{path}/custom-secret-id", custom, wrap)
        policy = f"sys/policies/acl/{prefix}{role}"
        yield Operation(f"read policy {role}", "GET", policy)
        yield Operation(f"write policy {role}", "POST", policy, {"policy": ""})
    for method, path in (
        ("GET", "sys/mounts"),
        ("POST", "sys/mounts/more"),
        ("GET", "sys/auth"),
        ("GET", "sys/policies/acl/root"),
        ("GET", "sys/audit"),
        ("PUT", "sys/audit/more"),
        ("PUT", "sys/seal"),
        ("PUT", "sys/step-down"),
        ("GET", "sys/raw/core"),
        ("GET", "sys/config/state/sanitized"),
        ("GET", "sys/storage/raft/snapshot"),
        ("POST", "sys/rotate"),
        ("POST", "sys/wrapping/wrap"),
        ("POST", "sys/capabilities-self"),
        ("PUT", "sys/leases/lookup"),
        ("LIST", "auth/token/accessors"),
        ("POST", "auth/token/create"),
        ("POST", "auth/token/create-orphan"),
        ("POST", "auth/token/lookup"),
        ("POST", "auth/token/revoke"),
        ("LIST", "identity/entity/id"),
        ("GET", "cubbyhole/x"),
        ("POST", "cubbyhole/x"),
    ):
        yield Operation(f"{method} {path}", method, path)


def every(verb: str, keys: tuple[str, ...]) -> set[str]:
    """An operation on each of these keys."""
    return {f"{verb} {key}" for key in keys}


MAY: dict[str, set[str]] = {
    "ingest": every("encrypt", (*RECORDS, "evidence")) | every("hmac", (*FINGERPRINTS, HONEYTOKEN)),
    "reveal": every("decrypt", RECORDS) | {"hmac honeytoken"},
    "review": {"decrypt evidence"},
    "rotate": every("rewrap", (*RECORDS, "evidence"))
    | every("read", ALL)
    | {
        f"{verb} {key}"
        for verb in ("rotate", "limits", "limits 2", "trim")
        for key in ALL
        if key != HONEYTOKEN
    },
    "sign-token": {"sign disclosure-token", "verify disclosure-token", "read disclosure-token"},
    "sign-ledger": {"sign ledger", "verify ledger", "read ledger"},
    "inspect": every("read", ALL) | {"read mount"},
    "issuer": {f"wrapped {role}" for role in ROLES},
}


def token_of(world: World, role: str) -> str:
    """A token as the role gets it."""
    if role == "issuer":
        policy = f"{world.place.prefix}issuer"
        return world.admin.create_token(policy, timedelta(hours=1)).expose().decode()
    return world.role(role)._tokens.current(Deadline(5))


def ask(world: World, operation: Operation, token: str) -> int:
    """The status of one request."""
    return requests.request(
        operation.method,
        f"{world.place.address}/v1/{operation.path}",
        data=json.dumps(operation.body),
        headers={"X-Vault-Token": token, **operation.headers},
        timeout=10,
    ).status_code


@pytest.mark.parametrize("role", MAY)
def test_c3_roles_matrix(world: World, role: str) -> None:
    """Each operation of the list: allowed where the table says so, 403 everywhere else."""
    keks = (*RECORDS, "evidence")
    ciphertexts = {key: world.admin.encrypt(key, [Secret(b"k" * 32)])[0] for key in keks}
    operations = [*of_keys(world.place.mount, ciphertexts), *of_vault(world)]
    names = [operation.name for operation in operations]
    assert len(names) == len(set(names)) > 600
    assert MAY[role] <= set(names)
    token = token_of(world, role)
    wrong: list[tuple[str, int]] = []
    for operation in operations:
        # A made-up signature, and trimming what is in force, are refused for what they are.
        odd = operation.name.startswith(("verify", "trim"))
        status = ask(world, operation, token)
        may = operation.name in MAY[role]
        fine = status in ((200, 204, 400) if odd else (200, 204))
        if may != (status != 403) or (may and not fine):
            wrong.append((operation.name, status))
    assert wrong == []


def test_the_matrix_can_fail(world: World) -> None:
    """An administrator is refused none of it for want of rights: the list asks real questions."""
    sealed = {"records-card": world.admin.encrypt("records-card", [Secret(b"k" * 32)])[0]}
    harmless = ("encrypt", "decrypt", "rewrap", "hmac", "sign", "verify", "read ", "datakey")
    for operation in of_keys(world.place.mount, sealed):
        if operation.name.startswith(harmless):
            assert ask(world, operation, world.place.token) != 403, operation.name


def test_policies_name_every_declared_key(world: World) -> None:
    """A key that is added to the inventory must be given to the roles that use it."""
    names = {spec.name for spec in world.inventory.keys}
    assert names == set(ALL)
    assert world.inventory.roles == ROLES
    by_purpose = {p: {k.name for k in world.inventory.keys if k.purpose is p} for p in Purpose}
    assert by_purpose[Purpose.KEK] == {*RECORDS, "evidence"} == set(world.inventory.keks)
    assert by_purpose[Purpose.FINGERPRINT] == {*FINGERPRINTS, HONEYTOKEN}
    assert by_purpose[Purpose.SIGNING] == set(SIGNING)


def test_policies_match_nothing_by_pattern(world: World) -> None:
    """Every path is written out: no star, no plus."""
    for name, text in world.inventory.policies.items():
        paths = [line.split('"')[1] for line in text.splitlines() if line.startswith("path ")]
        assert len(paths) == len(set(paths)) > 0, name
        assert not [path for path in paths if "*" in path or "+" in path], name


def test_a5_no_role_can_read_or_export_a_fingerprint_key(world: World) -> None:
    """No policy holds a path that yields key bytes; the server keeps them even from root."""
    yielding = ("export", "backup", "byok-export", "datakey", "wrapping_key")
    for name, text in world.inventory.policies.items():
        assert not [word for word in yielding if f"/{word}" in text], name
    for key in (*FINGERPRINTS, HONEYTOKEN):
        for path in (f"export/hmac-key/{key}", f"backup/{key}"):
            assert world.request("GET", path)[0] in (400, 500)


def test_role_tokens_are_short_and_carry_one_policy(world: World) -> None:
    """An hour, renewable to a day, no default policy."""
    for role in ROLES:
        token = token_of(world, role)
        answer = requests.get(
            f"{world.place.address}/v1/auth/token/lookup-self",
            headers={"X-Vault-Token": token},
            timeout=10,
        ).json()["data"]
        assert answer["policies"] == [f"{world.place.prefix}{role}"]
        assert answer["creation_ttl"] == 3600
        assert answer["renewable"] is True


def test_the_spool_can_be_filled_by_the_issuer_alone(world: World) -> None:
    """Filling needs the policy issuer and nothing more."""
    issuer = AdminTransit(
        address=world.place.address,
        token=Secret(token_of(world, "issuer").encode()),
        mount=world.place.mount,
        approle_prefix=world.place.prefix,
    )
    folder = world.spool / "by-issuer"
    for role in ROLES:
        assert spool.issue(issuer, role, folder, 1) == 1
    issuer.renew()
    issuer.close()
