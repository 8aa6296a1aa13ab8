"""Proof of possession and packages on the command line, against a service under its own address."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import Cli, credentials_file
from tests.support.recipients import new_key, opened, public
from tests.support.running import Running
from vault_service.cli.exits import ExitCode

NUMBER = "5555555555554444"
OFFICER = ("--as", "officer-1")


@pytest.fixture(scope="module")
def bare(start_service: Callable[..., Running]) -> Running:
    """A service that goes by the address where it listens."""
    return start_service(workers=1, without=("VAULT_SERVICE_ISSUER",))


@pytest.fixture(scope="module")
def cli(bare: Running, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The command line with the keys of a requester, two officers and support."""
    people = {who: bare.keys[who] for who in ("requester", "officer-1", "officer-2", "support")}
    return Cli(credentials_file(tmp_path_factory.mktemp("cli"), bare.base_url, people))


@pytest.fixture
def token(bare: Running) -> str:
    """A card's token."""
    return bare.card(bare.customer(), NUMBER)


def _granted(cli: Cli, *request: str) -> str:
    made = cli(
        "disclosures", "create", "--ground", "provide_service", "--evidence", "service=a charge",
        "--uses", "9", *request,
    )  # fmt: skip
    assert made.code == 0, made.err
    assert cli("disclosures", "approve", made.body["id"], *OFFICER).code == 0
    return str(made.body["id"])


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519"])
def test_a_token_is_of_use_to_the_holder_of_its_key(
    cli: Cli, token: str, tmp_path: Path, algorithm: str
) -> None:
    """Made, taken and used with a key in a file; refused without it and with another."""
    key, other, held = (tmp_path / each for each in ("key", "other", "token"))
    made = cli("disclosures", "new-dpop-key", str(key), "--algorithm", algorithm)
    assert made.code == 0, made.err
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert json.loads(key.read_text())["d"] not in made.out + made.err
    assert cli.text("disclosures", "new-dpop-key", str(other)).code == 0
    grant = _granted(
        cli, "--recipient-kind", "internal", "--recipient-name", "Billing", "--token", token,
        "--proof-of-possession",
    )  # fmt: skip
    assert "demanded" in cli.text("disclosures", "show", grant, *OFFICER).out
    take = ("disclosures", "token", grant, "--output", str(held))
    assert cli(*take).error == "dpop_proof_missing"
    assert cli(*take, "--dpop-key", str(key)).code == 0
    reveal = ("disclosures", "reveal", grant, "--disclosure-token-file", str(held))
    assert cli(*reveal).code == ExitCode.REFUSED
    assert cli(*reveal, "--dpop-key", str(other)).error == "disclosure_token_proof"
    revealed = cli(*reveal, "--dpop-key", str(key))
    assert revealed.code == 0, revealed.err
    assert revealed.body["results"][0]["value"]["number"] == NUMBER
    again = cli("disclosures", "reveal", grant, "--dpop-key", str(key))
    assert again.body["results"][0]["value"]["number"] == NUMBER


def test_contents_are_of_use_to_the_holder_of_its_key(
    cli: Cli, bare: Running, tmp_path: Path
) -> None:
    """Refused without the key and with another, which spends nothing; then once, byte for byte."""
    letter, held, got = (tmp_path / each for each in ("a.eml", "held", "got.eml"))
    letter.write_bytes(b"From: ada@example.com\r\n\r\nPlease call me.\r\n")
    key, other = tmp_path / "key", tmp_path / "other"
    for each in (key, other):
        assert cli("disclosures", "new-dpop-key", str(each)).code == 0
    kept = cli(
        "communications", "keep", bare.customer(), str(letter), "--direction", "inbound",
        "--as", "support",
    ).body["id"]  # fmt: skip
    made = cli(
        "disclosures", "create", "--ground", "provide_service",
        "--category", "communication_contents", "--evidence", "ticket_reference=T-17",
        "--recipient-kind", "internal", "--recipient-name", "Support", "--token", kept,
        "--proof-of-possession",
    )  # fmt: skip
    assert made.code == 0, made.err
    grant = made.body["id"]
    for officer in ("officer-1", "officer-2"):
        assert cli("disclosures", "approve", grant, "--as", officer).code == 0
    take = ("disclosures", "token", grant, "--output", str(held), "--dpop-key", str(key))
    assert cli(*take).code == 0
    reveal = (
        "disclosures", "reveal", grant, "--disclosure-token-file", str(held),
        "--content", "--output", str(got),
    )  # fmt: skip
    assert cli(*reveal).code == ExitCode.REFUSED
    assert cli(*reveal, "--dpop-key", str(other)).error == "disclosure_token_proof"
    assert not got.exists()
    done = cli(*reveal, "--dpop-key", str(key))
    assert done.code == 0, done.err
    assert got.read_bytes() == letter.read_bytes()
    got.unlink()
    assert cli(*reveal, "--dpop-key", str(key)).code == ExitCode.REFUSED


def test_a_key_that_others_may_read_is_refused(cli: Cli, tmp_path: Path) -> None:
    """And so is a file that holds none, or one that is there already."""
    key = tmp_path / "key"
    assert cli("disclosures", "new-dpop-key", str(key)).code == 0
    assert cli("disclosures", "new-dpop-key", str(key)).error == "file_error"
    key.chmod(0o644)
    asked = ("disclosures", "token", "dis_1", "--dpop-key", str(key))
    assert cli(*asked).error == "key_file_open"
    key.chmod(0o600)
    key.write_text("{}")
    assert cli(*asked).error == "proof_key_invalid"


def test_a_package_is_shown_or_kept(cli: Cli, bare: Running, token: str, tmp_path: Path) -> None:
    """What a use was spent for is never lost: on the screen, or in a file that was free before."""
    key = new_key()
    recipient = bare.call(
        "POST",
        "/v1/recipients",
        {
            "kind": "payment_processor", "name": "P", "verified": "seen", "contact": "x",
            "public_key": public(key),
        },
        by="officer-1",
    ).body["id"]  # fmt: skip
    request = tmp_path / "request.json"
    request.write_text(
        json.dumps({"recipient": {"id": recipient}, "delivery": "package", "tokens": [token]})
    )
    grant = _granted(cli, "--file", str(request))
    shown = cli.text("disclosures", "reveal", grant)
    assert shown.code == 0, shown.err
    assert opened(shown.out.strip(), key)[1]["results"][0]["value"]["number"] == NUMBER
    file = tmp_path / "package"
    kept = cli.text("disclosures", "reveal", grant, "--output", str(file))
    assert kept.code == 0, kept.err
    assert opened(file.read_text().strip(), key)[1]["results"][0]["id"] == token
    left = cli("disclosures", "show", grant, "--as", "officer-1").body["uses_left"]
    assert cli("disclosures", "reveal", grant, "--output", str(file)).code == ExitCode.USAGE
    nowhere = cli.text("disclosures", "reveal", grant, "--output", str(tmp_path / "no" / "file"))
    assert nowhere.code != 0
    assert opened(nowhere.out.strip(), key)[1]["receipt"]["grant"] == grant
    assert cli("disclosures", "show", grant, "--as", "officer-1").body["uses_left"] == left - 1
    plain = _granted(
        cli, "--recipient-kind", "internal", "--recipient-name", "Billing", "--token", token
    )
    assert cli("disclosures", "reveal", plain, "--output", str(file)).code == ExitCode.USAGE
