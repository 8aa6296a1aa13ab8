"""C8: Vault is brought in line, and every way to be out of line is seen by `inspect`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from keys.admin import AdminTransit
from keys.declared import load
from keys.errors import InventoryInvalid, KeyNotReady
from keys.errors import VaultUnavailable as Unavailable
from keys.inventory import Drift, Problem, apply, check, plan, require
from keys.secret import Secret
from tests.keys.support import FakeVault, Reply, World, world_at
from tests.support.servers import VaultServer, fresh_mount


@pytest.fixture
def own(vault_server: VaultServer, tmp_path: Path) -> Iterator[World]:
    """A mount for one test, because some of its harm cannot be undone."""
    with fresh_mount(vault_server) as mount, world_at(mount, tmp_path / "spool") as world:
        yield world


def test_applying_twice_changes_nothing(own: World) -> None:
    """After apply the plan is empty."""
    assert plan(own.inventory, own.admin) == []
    assert apply(own.inventory, own.admin) == []


def test_c8_a_vault_in_line_is_ready(own: World) -> None:
    """The role inspect finds nothing, and start-up goes on."""
    assert check(own.inventory, own.role("inspect")) == []
    require(own.inventory, own.role("inspect"))


@pytest.mark.parametrize(
    ("config", "problem", "repairable"),
    [
        ({"exportable": True}, Problem.EXPORTABLE, False),
        ({"allow_plaintext_backup": True}, Problem.PLAINTEXT_BACKUP, False),
        ({"deletion_allowed": True}, Problem.DELETABLE, True),
    ],
)
@pytest.mark.parametrize("key", ["records-card", "fingerprint-telephone", "ledger"])
def test_c8_each_flip_is_seen(
    own: World, key: str, config: dict[str, object], problem: Problem, *, repairable: bool
) -> None:
    """A dangerous setting on any key makes the service unready; what can be repaired is."""
    assert own.request("POST", f"keys/{key}/config", config)[0] in (200, 204)
    expected = Drift(subject=f"key {key}", problem=problem)
    inspect = own.role("inspect")
    assert check(own.inventory, inspect) == [expected]
    with pytest.raises(KeyNotReady, match=key):
        require(own.inventory, inspect)
    (change,) = apply(own.inventory, own.admin)
    assert change.manual is not repairable
    assert key in str(change)
    assert str(change).startswith("by hand: ") is not repairable
    assert check(own.inventory, inspect) == ([] if repairable else [expected])


def test_c8_upsert_is_seen_and_repaired(own: World) -> None:
    """A mount that makes keys of mistyped names."""
    own.request("POST", "config/keys", {"disable_upsert": False})
    drifts = check(own.inventory, own.role("inspect"))
    assert [drift.problem for drift in drifts] == [Problem.UPSERT_ENABLED]
    apply(own.inventory, own.admin)
    assert check(own.inventory, own.role("inspect")) == []


def test_c8_a_missing_key_is_seen_and_made(own: World) -> None:
    """And it is made as declared."""
    own.request("POST", "keys/ledger/config", {"deletion_allowed": True})
    own.request("DELETE", "keys/ledger")
    drifts = check(own.inventory, own.role("inspect"))
    assert [str(drift) for drift in drifts] == ["key ledger does not exist"]
    assert [str(change) for change in apply(own.inventory, own.admin)] == [
        "create key ledger (ed25519)"
    ]
    assert own.admin.read_key("ledger").type == "ed25519"


def test_c8_a_wrong_type_is_seen_and_left_to_people(own: World) -> None:
    """A key is never deleted to make room."""
    own.request("POST", "keys/evidence/config", {"deletion_allowed": True})
    own.request("DELETE", "keys/evidence")
    own.request("POST", "keys/evidence", {"type": "chacha20-poly1305"})
    drifts = check(own.inventory, own.role("inspect"))
    assert [drift.problem for drift in drifts] == [Problem.WRONG_TYPE]
    (change,) = apply(own.inventory, own.admin)
    assert change.manual
    assert own.admin.read_key("evidence").type == "chacha20-poly1305"


def test_drifted_policies_and_roles_are_written_anew(own: World) -> None:
    """Somebody widened a policy and a role; apply narrows them."""
    prefix = own.place.prefix
    server = own.place.server
    wide = 'path "*" { capabilities = ["sudo", "update"] }'
    server.request("POST", f"sys/policies/acl/{prefix}ingest", {"policy": wide})
    server.request("POST", f"auth/approle/role/{prefix}reveal", {"secret_id_num_uses": 0})
    server.request("DELETE", f"auth/approle/role/{prefix}review")
    server.request("DELETE", f"sys/policies/acl/{prefix}rotate")
    changed = [str(change) for change in apply(own.inventory, own.admin)]
    assert changed == [
        f"write policy {prefix}ingest",
        f"write policy {prefix}rotate",
        f"write approle {prefix}reveal",
        f"write approle {prefix}review",
    ]
    assert plan(own.inventory, own.admin) == []


def test_roles_are_as_declared(own: World) -> None:
    """Single-use secret-ids, bound, short tokens, no default policy."""
    held = own.admin.approle("ingest")
    assert held is not None
    assert held["secret_id_num_uses"] == 1
    assert held["bind_secret_id"] is True
    assert held["token_no_default_policy"] is True
    assert (held["token_ttl"], held["token_max_ttl"]) == (3600, 86400)


def test_kek_types_and_periods_are_declared() -> None:
    """90 days and a count for KEKs; a year for fingerprints and the ledger."""
    by_name = {spec.name: spec for spec in load().keys}
    assert by_name["records-card"].rotate_after == timedelta(days=90)
    assert by_name["disclosure-token"].rotate_after == timedelta(days=90)
    assert by_name["fingerprint-telephone"].rotate_after == timedelta(days=365)
    assert by_name["ledger"].rotate_after == timedelta(days=365)
    for spec in by_name.values():
        counted = spec.rotate_after_wraps
        assert (counted is not None) == (spec.type == "aes256-gcm96")
        assert counted is None or counted < 2**32


def test_a_new_mount_and_auth_are_enabled_first(vault_server: VaultServer, fake: FakeVault) -> None:
    """On an empty server the plan begins with the mount and AppRole."""
    with fresh_mount(vault_server) as mount:
        inventory = load(mount=f"{mount.mount}/deeper", prefix=mount.prefix)
        admin = AdminTransit(
            address=mount.address, token=Secret(mount.token.encode()), mount=inventory.mount
        )
        assert str(plan(inventory, admin)[0]) == f"enable transit at {inventory.mount}"
        admin.close()

    fake.answer = lambda r: Reply.errors(404) if "keys" in r.path else Reply.of({"data": {}})
    empty = AdminTransit(address=fake.address, token=Secret(b"t"))
    first = [str(change) for change in plan(load(), empty)[:2]]
    assert first == ["enable transit at transit", "enable approle at approle"]
    empty.enable_transit()
    empty.enable_approle()
    assert [request.path for request in fake.seen[-2:]] == [
        "/v1/sys/mounts/transit",
        "/v1/sys/auth/approle",
    ]
    empty.close()


@pytest.mark.parametrize(
    ("reply", "expected", "changes"),
    [
        (Reply.of({"data": {"disable_standby_reads": False}}), False, 1),
        (Reply.of({"data": {"disable_standby_reads": True}}), True, 0),
        (Reply.of({"data": {}}), None, 0),
        (Reply.errors(404), None, 0),
    ],
)
def test_c5_standbys_that_serve_reads_are_reported(
    fake: FakeVault, own: World, reply: Reply, *, expected: bool | None, changes: int
) -> None:
    """Fact 7; a product without the setting has no such standbys."""
    fake.answer = lambda _: reply
    other = AdminTransit(address=fake.address, token=Secret(b"t"))
    assert other.standby_reads_disabled() is expected
    other.close()
    own.admin.standby_reads_disabled = lambda: expected  # type: ignore[method-assign]
    found = plan(own.inventory, own.admin)
    assert len(found) == changes
    assert all(change.manual and "disable_standby_reads" in str(change) for change in found)


def test_c5_the_embedded_server_ships_with_standby_reads_off(vault_server: VaultServer) -> None:
    """Fact 7: the configuration that comes with the service has the setting."""
    if vault_server.embedded is None:
        return  # a server of one's own has its own configuration, which plan reports
    admin = AdminTransit(address=vault_server.address, token=Secret(vault_server.token.encode()))
    assert admin.standby_reads_disabled() is True
    admin.close()


def test_an_answer_without_data_is_unreadable(fake: FakeVault) -> None:
    """Administration reads as strictly as the rest."""
    admin = AdminTransit(address=fake.address, token=Secret(b"t"), budget=0.3)
    with pytest.raises(Unavailable):
        admin.has_transit()
    admin.close()


GOOD = """
mount = "transit"
approle_mount = "approle"
prefix = "p-"
[keys.records-card]
type = "aes256-gcm96"
purpose = "kek"
rotate_after_days = 90
[roles.ingest]
[policies.issuer]
[token]
ttl_seconds = 60
max_ttl_seconds = 120
[secret_id]
num_uses = 1
ttl_seconds = 60
"""


def test_another_file_can_be_loaded(tmp_path: Path) -> None:
    """A company may keep its own inventory."""
    path = tmp_path / "inventory.toml"
    path.write_text(GOOD)
    inventory = load(path)
    assert inventory.keks == ("records-card",)
    assert set(inventory.policies) == {"p-ingest", "p-issuer"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('type = "aes256-gcm96"', 'type = "ed25519"'),
        ('purpose = "kek"', 'purpose = "fun"'),
        ("[keys.records-card]", '[keys."../x"]'),
        ("[roles.ingest]", "[roles.nobody]"),
        ("num_uses = 1", "num_uses = 0"),
        ('mount = "transit"', 'mount = "../x"'),
        ('prefix = "p-"', 'prefx = "p-"'),
        ("[token]", "[token"),
    ],
)
def test_an_inventory_that_contradicts_itself_is_refused(
    tmp_path: Path, old: str, new: str
) -> None:
    """Nothing is applied from a file that is not understood whole."""
    path = tmp_path / "inventory.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(InventoryInvalid):
        load(path)


def test_a_missing_inventory_is_refused(tmp_path: Path) -> None:
    """No file, no defaults."""
    with pytest.raises(InventoryInvalid):
        load(tmp_path / "none.toml")
