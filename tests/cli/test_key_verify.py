"""`keys verify|adopt|reencrypt` as a person runs them: in a process, on the real servers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.running import environment_of
from tests.support.servers import DatabaseServer, VaultServer
from tests.support.whole import stage_of_its_own
from vault_service.services.tokenization import TokenizeItem
from vault_service.settings import ProcessRole

MAILS = 1_500
COMMAND = "import sys; from vault_service.cli.main import main; main(sys.argv[1:])"


def run(environment: dict[str, str], *words: str) -> tuple[int, Any]:
    """The exit code, and what stands on standard output: JSON where that was asked for."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    as_json = "--json" in words and done.stdout
    return done.returncode, json.loads(done.stdout) if as_json else done.stdout + done.stderr


def test_records_are_compared_adopted_and_sealed_anew(
    postgres_server: DatabaseServer, vault_server: VaultServer, tmp_path: Path
) -> None:
    """Each says what it did, and a finding has its exit code."""
    with stage_of_its_own(postgres_server, vault_server, tmp_path) as stage:
        token = stage.card(stage.customer())
        settings = stage.settings_for(ProcessRole.WORKER)
        environment = environment_of(settings, port=1, workers=1)
        environment["VAULT_SERVICE_DATABASE_OWNER_URL"] = stage.database.owner_url
        code, found = run(environment, "--json", "keys", "verify")
        assert (code, found["ok"], found["records"], found["findings"]) == (0, True, 1, [])
        code, found = run(environment, "--json", "keys", "reencrypt", "records-card", "--yes")
        assert (code, found["done"], found["refused"], found["ended"]) == (0, 1, 0, True)
        stage.sql("UPDATE records SET bound_by = NULL, bound_path = NULL")
        code, text = run(environment, "keys", "verify")
        assert code == 5
        assert "binding_missing" in text
        assert token[:12] in text
        assert run(environment, "keys", "adopt", "--yes")[1].strip() == "1 records bound."


def test_sealing_anew_goes_on_after_a_kill(
    postgres_server: DatabaseServer, vault_server: VaultServer, tmp_path: Path
) -> None:
    """What was done by a process that was killed stays done, and the next run does the rest."""
    with stage_of_its_own(postgres_server, vault_server, tmp_path) as stage:
        customer = stage.customer()
        for start in range(0, MAILS, 500):
            stage.tokenize(
                *(
                    TokenizeItem(
                        data_class="email_address",
                        customer=customer,
                        value=f"a{number}@example.com",
                    )
                    for number in range(start, start + 500)
                ),
                batch=True,
            )
        environment = environment_of(stage.settings_for(ProcessRole.WORKER), port=1, workers=1)
        environment["VAULT_SERVICE_DATABASE_OWNER_URL"] = stage.database.owner_url
        words = ("--json", "keys", "reencrypt", "records-contact", "--yes")
        killed = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *words],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        sealed = "SELECT coalesce(sum(done), 0) FROM reencryptions"
        while stage.sql(sealed)[0][0] == 0:
            assert killed.poll() is None
            time.sleep(0.002)
        killed.kill()
        assert killed.wait(10) == -signal.SIGKILL
        ((before,),) = stage.sql(sealed)
        assert 0 < before < MAILS
        code, found = run(environment, *words)
        assert (code, found["done"], found["ended"]) == (0, MAILS - before, True)
        assert run(environment, "--json", "keys", "verify")[1]["findings"] == []
