"""One process per role, each with its own logins: the story works across them, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import psycopg
import pytest

from keys import spool
from keys.errors import VaultDenied
from keys.secret import Secret
from keys.transit import Transit
from tests.support.running import Answer, Running
from tests.support.whole import Stage, admin_of
from vault_service.app import operations
from vault_service.settings import ProcessRole

# Which of Vault's roles each process is given secret-ids for.
VAULT_ROLES: Final[Mapping[ProcessRole, tuple[str, ...]]] = {
    ProcessRole.INGEST: ("ingest", "inspect"),
    ProcessRole.REVEAL: ("reveal", "sign-token", "inspect"),
    ProcessRole.CONSOLE: ("ingest", "review", "inspect"),
}
SERVED: Final = tuple(VAULT_ROLES)
DATABASES: Final = ("ingest", "reveal", "console", "worker")
NUMBER: Final = "5555555555554444"
PATHS: Final = {
    "token": "tok_" + "0" * 28,
    "customer": "cus_" + "0" * 26,
    "disclosure": "dis_" + "0" * 28,
    "principal": "prn_" + "0" * 26,
    "key": "key_" + "0" * 16,
}


def named(path: str) -> str:
    """A path with names that nobody has in its places."""
    return re.sub(r"\{(\w+)[^}]*\}", lambda place: PATHS.get(place[1], "0"), path)


@pytest.fixture(scope="module")
def processes(
    stage: Stage, start_service: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> dict[ProcessRole, Running]:
    """A process of each role: one database login, and a spool with its own secret-ids only."""
    started = {}
    for role, vault_roles in VAULT_ROLES.items():
        folder: Path = tmp_path_factory.mktemp(f"spool-{role}")
        folder.chmod(0o700)
        admin = admin_of(stage.mount)
        for vault_role in vault_roles:
            spool.issue(admin, vault_role, folder, 3)
        admin.close()
        others = [name for name in DATABASES if name != role.value]
        started[role] = start_service(
            role,
            workers=1,
            without=[f"VAULT_SERVICE_DATABASE_{name.upper()}_URL" for name in others],
            VAULT_SERVICE_VAULT_SPOOL=str(folder),
        )
    return started


def test_the_story_works_across_three_processes(processes: dict[ProcessRole, Running]) -> None:
    """A card goes in at ingest, is approved at the console, and comes out at reveal, once."""
    ingest, reveal, console = (processes[role] for role in SERVED)
    customer = ingest.customer()
    token = ingest.card(customer, NUMBER)
    assert ingest.call("GET", f"/v1/tokens/{token}", by="support").status == 200
    grant = console.grant(token)
    jws = reveal.token(grant)
    answer = reveal.reveal(jws, token)
    assert answer.status == 200, answer.raw
    assert answer.body["results"][0]["value"]["number"] == NUMBER
    assert reveal.reveal(jws, token).status == 403
    assert console.call("GET", f"/v1/disclosures/{grant}", by="officer-1").body["state"] == "spent"
    for process in processes.values():
        assert process.call("GET", "/readyz").status == 200, process.call("GET", "/readyz").raw


@pytest.mark.parametrize("role", SERVED)
def test_each_process_serves_its_own_calls_only(
    processes: dict[ProcessRole, Running], role: ProcessRole
) -> None:
    """A call of another role has no route here; one of its own asks who calls."""
    process = processes[role]
    for operation in operations(ProcessRole.ALL):
        answer: Answer = process.call(operation.method, named(operation.path))
        if operation.served_by(role):
            # What is signed has no key to ask for, and is asked for its body first.
            asked = 400 if operation.signed else 401
            assert answer.status == asked, (operation.name, answer.raw)
        else:
            assert answer.status in (404, 405), (operation.name, answer.raw)
    documented = process.call("GET", "/openapi.json").body["paths"]
    assert {
        operation.path for operation in operations(ProcessRole.ALL) if operation.served_by(role)
    } <= set(documented)
    assert not any(
        operation.method.lower() in documented.get(operation.path, {})
        for operation in operations(ProcessRole.ALL)
        if not operation.served_by(role)
    )


@pytest.fixture
def login(processes: dict[ProcessRole, Running]) -> Iterator[Callable[[ProcessRole, str], Transit]]:
    """Logs in to Vault with what a process has been given, as whoever took it over could."""
    made: list[Transit] = []

    def log_in(role: ProcessRole, vault_role: str) -> Transit:
        environment = processes[role].environment
        transit = Transit(
            address=environment["VAULT_SERVICE_VAULT_ADDRESS"],
            role=vault_role,
            spool=Path(environment["VAULT_SERVICE_VAULT_SPOOL"]),
            mount=environment["VAULT_SERVICE_VAULT_MOUNT"],
            approle_prefix=environment["VAULT_SERVICE_VAULT_PREFIX"],
        )
        made.append(transit)
        return transit

    yield log_in
    for transit in made:
        transit.close()


def test_whoever_takes_over_ingest_reads_no_value(
    processes: dict[ProcessRole, Running], login: Callable[[ProcessRole, str], Transit]
) -> None:
    """Its database login sees no envelope, and its Vault login opens none."""
    ingest = processes[ProcessRole.INGEST]
    token = ingest.card(ingest.customer(), NUMBER)
    url = ingest.environment["VAULT_SERVICE_DATABASE_INGEST_URL"]
    with psycopg.connect(url, autocommit=True) as link:
        assert link.execute("SELECT mask FROM records WHERE token = %s", [token]).fetchone()
        for column in ("envelope", "wrapped_key", "*"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                link.execute(f"SELECT {column} FROM records WHERE token = '{token}'")  # noqa: S608
    ((wrapped,),) = ingest.sql("SELECT wrapped_key FROM records WHERE token = %s", [token])
    transit = login(ProcessRole.INGEST, "ingest")
    assert transit.encrypt("records-card", [Secret(b"k" * 32)])
    with pytest.raises(VaultDenied):
        transit.decrypt("records-card", [wrapped])


def test_whoever_takes_over_the_console_reads_evidence_and_no_value(
    processes: dict[ProcessRole, Running], login: Callable[[ProcessRole, str], Transit]
) -> None:
    """Officers' pages open evidence; the records' keys stay shut to them."""
    ingest, console = processes[ProcessRole.INGEST], processes[ProcessRole.CONSOLE]
    token = ingest.card(ingest.customer(), NUMBER)
    ((wrapped,),) = ingest.sql("SELECT wrapped_key FROM records WHERE token = %s", [token])
    url = console.environment["VAULT_SERVICE_DATABASE_CONSOLE_URL"]
    with (
        psycopg.connect(url) as link,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        link.execute("SELECT envelope FROM records")
    with pytest.raises(VaultDenied):
        login(ProcessRole.CONSOLE, "review").decrypt("records-card", [wrapped])


def test_whoever_takes_over_reveal_writes_no_value(
    processes: dict[ProcessRole, Running], login: Callable[[ProcessRole, str], Transit]
) -> None:
    """It wraps no key and inserts no record, and cannot grant itself anything."""
    with pytest.raises(VaultDenied):
        login(ProcessRole.REVEAL, "reveal").encrypt("records-card", [Secret(b"k" * 32)])
    url = processes[ProcessRole.REVEAL].environment["VAULT_SERVICE_DATABASE_REVEAL_URL"]
    for statement in (
        "INSERT INTO records (bucket, token) VALUES (1, 'tok')",
        "INSERT INTO disclosures (bucket, id) VALUES (1, 'dis')",
        "UPDATE disclosures SET uses_left = uses_left + 1, uses = uses + 1",
        "UPDATE disclosures SET state = 'active', expires_at = now() + interval '1 day'",
        "UPDATE disclosure_tokens SET used_at = NULL, entry = NULL, holder = 'me'",
        "INSERT INTO disclosure_decisions (bucket, disclosure, kind) VALUES (1, 'a', 'approve')",
        "DELETE FROM ledger_outbox",
    ):
        with (
            psycopg.connect(url) as link,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            link.execute(statement)
