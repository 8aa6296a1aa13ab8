"""A1, A2: after a full run no canary stands anywhere, outside the answers to granted reveals.

The run uses the service rightly and wrongly, with the database and Vault away in between. Then
every file of the state folder is searched (data, WAL, logs of all servers, audit logs, metrics,
spool, what an import leaves), a dump of every table, and every answer that was given.
`scripts/campaign canaries --rounds 10000 --seed N` flies as many as asked.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import urllib3

from tests.process import campaign, canaries
from tests.process.canaries import Canaries
from tests.process.misplaced import PLACES, Ask, Ground, code_requests, torn
from tests.support.running import Running
from tests.support.sources import ROOT
from tests.support.whole import YEAR, Stage, card
from vault_service.embedded.postgres import Postgres
from vault_service.embedded.vault import Vault
from vault_service.settings import ProcessRole

CALLERS: Final = 8
# How the cards are shared out: kept by right use, misplaced, sent while a server is away.
RIGHT: Final = 0.4
AWAY: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the run was told.

    Attributes:
        kept: token of each canary that was tokenized.
        answers: every answer but those to granted reveals, and what commands printed.
        revealed: the answers to granted reveals.
        statuses: of what was misplaced.
    """

    kept: dict[str, str]
    answers: list[bytes]
    revealed: list[bytes]
    statuses: Counter[int | None]


def all_at_once(service: Running, asks: Sequence[Ask]) -> Counter[int | None]:
    """Send them all, several at a time."""
    with ThreadPoolExecutor(CALLERS) as pool:
        return Counter(pool.map(lambda ask: ask.send(service), asks))


def tokenize(service: Running, customer: str, numbers: Sequence[str]) -> dict[str, str]:
    """Tokenize as billing does: singly, with a key, card-shaped, in batches; search for each."""
    kept: dict[str, str] = {}
    some = iter(numbers)
    for number in itertools.islice(some, len(numbers) // 2):
        more: dict[str, Any] = {"format": "card"} if len(kept) % 3 == 0 else {}
        body = {"class": "payment_card", "customer": customer, "value": card(number), **more}
        headers = {"Idempotency-Key": f"order-{len(kept)}"} if len(kept) % 2 else {}
        answer = service.call("POST", "/v1/tokens", body, by="billing", headers=headers)
        assert answer.status == 201, answer.raw
        kept[number] = answer.body["id"]
        if headers:
            again = service.call("POST", "/v1/tokens", body, by="billing", headers=headers)
            assert again.body["id"] == kept[number]
    rest = list(some)
    for first in range(0, len(rest), 50):
        part = rest[first : first + 50]
        items = [
            {"class": "payment_card", "customer": customer, "value": card(spaced(number))}
            for number in part
        ]
        headers = {"Idempotency-Key": f"batch-{first}"}
        answer = service.call(
            "POST", "/v1/tokens/batch", {"items": items}, by="billing", headers=headers
        )
        kept |= {
            number: result["token"]["id"]
            for number, result in zip(part, answer.body["results"], strict=True)
        }
    for number in numbers[:: max(1, len(numbers) // 20)]:
        body = {"class": "payment_card", "value": number}
        found = service.call("POST", "/v1/tokens/search", body, by="support")
        assert kept[number] in [each["id"] for each in found.body["items"]]
    return kept


def spaced(number: str) -> str:
    """As people type it."""
    return " ".join(number[i : i + 4] for i in range(0, len(number), 4))


def imported(service: Running, folder: Path, numbers: Sequence[str], outside: Path) -> list[bytes]:
    """Import a billing system's export by the command line, some of it wrong; what it printed.

    The export itself, which holds the numbers by right, and the credentials stand outside.
    """
    lines = ["external_ref,class,number,exp_month,exp_year,reference,cvc"]
    for index, number in enumerate(numbers):
        wrong = {1: number, 2: "", 3: "inv"}.get(index % 4, f"inv-{index}")
        expiry = 1999 if index % 4 == 2 else YEAR
        code = f"{index:03d}" if index % 8 == 3 else ""
        lines.append(f"crm-{index},payment_card,{number},12,{expiry},{wrong},{code}")
    export = outside / "export.csv"
    export.write_text("\n".join(lines) + "\n", encoding="utf-8")
    credentials = outside / "credentials.json"
    credentials.touch(mode=0o600)
    people = [{"name": "billing", "roles": ["billing"], "key": service.keys["billing"]}]
    credentials.write_text(json.dumps({"base_url": service.base_url, "principals": people}))
    folder.mkdir()
    places = {"output": "out.csv", "rejects": "rejects.csv", "state": "state.json"}
    done = subprocess.run(
        [
            sys.executable, "-m", "vault_service", "--credentials", str(credentials), "import",
            *(f"--{name}={folder / file}" for name, file in places.items()), str(export),
        ],
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )  # fmt: skip
    assert done.returncode in (0, 7), done.stderr
    assert (folder / "out.csv").read_text(encoding="utf-8").count("tok_") >= len(numbers) // 4
    return [done.stdout, done.stderr]


def revealed(service: Running, kept: dict[str, str]) -> list[bytes]:
    """Reveal some, rightly; and be refused with the same tokens, which tells nothing."""
    answers = []
    chosen = dict(list(kept.items())[:: max(1, len(kept) // 10)])
    for number, token in chosen.items():
        jws = service.token(service.grant(token))
        heard, service.heard = service.heard, None
        answer = service.reveal(jws, token)
        service.heard = heard
        assert answer.body["results"][0]["value"]["number"] == number
        answers.append(answer.raw)
        assert service.reveal(jws, token).status == 403
    return answers


def sent_in_vain(service: Running, customer: str, numbers: Sequence[str]) -> None:
    """Tokenize and search while something that is needed is away."""

    def send(number: str) -> None:
        body = {"class": "payment_card", "customer": customer, "value": card(number)}
        search = {"class": "payment_card", "value": number}
        try:
            answer = service.call("POST", "/v1/tokens", body, by="billing")
            assert answer.status == 503
            service.call("POST", "/v1/tokens/search", search, by="support")
            service.call("POST", "/v1/tokens/batch", {"items": [body]}, by="billing")
        except urllib3.exceptions.HTTPError:
            pass

    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(send, numbers))


def dumped(service: Running) -> Iterator[tuple[str, bytes]]:
    """Every table as text, so that what is stored compressed is read too."""
    tables = [
        row[0] for row in service.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    ]
    assert "records" in tables
    for table in tables:
        rows = service.sql(f'SELECT t::text FROM "{table}" AS t')  # noqa: S608 -- our own tables
        yield table, "\n".join(row[0] for row in rows).encode()


def ready(service: Running) -> None:
    """Wait until all is well again."""
    until = time.monotonic() + 20
    while service.call("GET", "/readyz").status != 200:
        assert time.monotonic() < until, service.call("GET", "/readyz").raw
        time.sleep(0.1)


@pytest.fixture(scope="module")
def flock() -> Canaries:
    """The canaries of this run."""
    return Canaries(count=campaign.rounds(1_000), seed=campaign.seed(5))


@pytest.fixture(scope="module")
def whole(
    start_service: Callable[..., Running], state: Path, stage: Stage
) -> tuple[Running, list[Path]]:
    """The service, all that it writes in the state folder; and where to look."""
    folder = state / "service"
    folder.mkdir()
    service = start_service(
        workers=2,
        VAULT_SERVICE_LOG_FILE=str(folder / "serve.log"),
        VAULT_SERVICE_METRICS_DIR=str(folder / "metrics"),
        VAULT_SERVICE_LOG_LEVEL="debug",
    )
    spool = stage.settings_for(ProcessRole.ALL).vault_spool
    assert spool is not None
    return service, [state, spool, service.log.parent]


@contextmanager
def away(own_postgres: Postgres) -> Iterator[None]:
    """PostgreSQL is stopped for a block."""
    own_postgres.stop()
    try:
        yield
    finally:
        own_postgres.start()


@contextmanager
def frozen(own_vault: Vault) -> Iterator[None]:
    """Vault says nothing for a block."""
    pid = own_vault.child.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def told(  # noqa: PLR0917 -- pytest passes fixtures by name
    whole: tuple[Running, list[Path]],
    flock: Canaries,
    own_postgres: Postgres,
    own_vault: Vault,
    state: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Told:
    """The run."""
    service, _ = whole
    service.heard = answers = []
    cards, codes = flock.cards(), flock.codes()
    customer = service.customer()
    right = int(len(cards) * RIGHT)
    exported, lost = cards[right : right + AWAY // 2], cards[right + AWAY // 2 : right + AWAY]
    elsewhere = cards[right + AWAY :]
    kept = tokenize(service, customer, cards[:right])
    any_token = next(iter(kept.values()))
    made = service.grant(any_token, officers=["officer-1"])
    ground = Ground(customer=customer, token=any_token, disclosure=made)
    numbers = itertools.cycle(elsewhere)
    count = max(len(PLACES), len(elsewhere))
    places = itertools.islice(itertools.cycle(PLACES), count)
    statuses = all_at_once(service, [place(next(numbers), ground) for place in places])
    answers += torn(service, elsewhere[0])
    code_statuses = all_at_once(service, code_requests(codes, ground, flock.seed))
    assert 201 not in code_statuses
    outside = tmp_path_factory.mktemp("outside")
    answers += imported(service, state / "import", exported, outside)
    with away(own_postgres):
        sent_in_vain(service, customer, lost[::2])
    ready(service)
    with frozen(own_vault):
        sent_in_vain(service, customer, lost[1::2])
    ready(service)
    told = Told(
        kept=kept,
        answers=answers,
        revealed=revealed(service, kept),
        statuses=statuses + code_statuses,
    )
    service.heard = None
    return told


def test_a1_a2_no_canary_stands_anywhere(
    whole: tuple[Running, list[Path]], flock: Canaries, told: Told
) -> None:
    """Neither a card number nor a verification code, in any form, in any file, row or answer."""
    service, folders = whole
    service.sql("CHECKPOINT")
    needles = flock.needles()
    tables = dict(dumped(service))
    # The search sees what is stored: the masks and tokens of the canaries are there.
    token = next(iter(told.kept.values())).encode()
    assert token in tables["records"]
    assert any(canaries.search(each, needles, "reveal") for each in told.revealed)
    began = time.monotonic()
    found, files, size = canaries.search_folders(folders, needles)
    for name, text in tables.items():
        found += canaries.search(text, needles, f"table {name}")
    for answer in told.answers:
        found += canaries.search(answer, needles, "an answer")
    campaign.report(
        cards=flock.count,
        codes=flock.count,
        answers=len(told.answers),
        files=files,
        mebibytes=round(size / 2**20),
        found=len(found),
        seconds=round(time.monotonic() - began, 1),
    )
    assert found == []
    assert files > 100
    assert len(told.answers) > flock.count


def test_what_is_misplaced_never_makes_the_service_fail(told: Told) -> None:
    """Each wrong place is a 4xx or is sealed; none is a failure of the service."""
    assert [status for status in told.statuses if status is not None and status >= 500] == []
    assert told.statuses[422] > told.statuses[200]


def test_what_was_logged_says_nothing(whole: tuple[Running, list[Path]], told: Told) -> None:
    """The log was written, at its most talkative, and tells of the refusals."""
    service, _ = whole
    log = Path(service.environment["VAULT_SERVICE_LOG_FILE"]).read_text(encoding="utf-8")
    assert log.count('"status":422') > len(PLACES) // 4
    assert log.count('"status":503') > 0
    assert told.kept
