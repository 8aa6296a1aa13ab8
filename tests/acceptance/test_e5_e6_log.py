"""E5: a log that is not written stops disclosure. E6: the log holds no personal data."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from itertools import cycle, islice
from queue import Empty, Queue

import pytest

from tests.process import campaign
from tests.support.faults import rebuilt_reveal
from tests.support.racing import threads
from tests.support.whole import Stage, draft, present, refusal, standing
from vault_service.cli.sample_data import SampleCustomer, generate
from vault_service.errors import Unavailable
from vault_service.ledger.entries import commit, new_salt
from vault_service.services.log_guard import LogGuard
from vault_service.services.tokenization import TokenizeItem

# What is shorter is found by chance in random ids and in the microseconds of a time; digits more
# easily than letters, so that short numbers are looked for as whole texts only.
SHORTEST = 6
SHORTEST_NUMBER = 10
CUSTOMERS = 150


def test_e5_a_reveal_waits_for_a_ledger_that_is_written(stage: Stage, customer: str) -> None:
    """Too far behind: no plaintext and no use spent. In the log again: the same token works."""
    token = stage.card(customer)
    grant = stage.granted(draft(token))
    disclosure_token = stage.token(grant.id)
    moments = iter(range(0, 1_000, 10))
    guard = LogGuard(stage.reveals._uses._uow, stop_after=60, clock=lambda: float(next(moments)))
    reveals = rebuilt_reveal(stage.reveals, guard=guard)
    stage.sql("UPDATE ledger_outbox SET created_at = created_at - interval '2 minutes'")
    refused = refusal(
        lambda: reveals.submit(
            stage.caller("requester"),
            disclosure_token=disclosure_token,
            tokens=[token],
            fields=None,
        ),
        Unavailable,
    )
    assert refused.code == "ledger_behind"
    ((left,),) = stage.sql("SELECT uses_left FROM disclosures WHERE id = %s", [grant.id])
    assert left == 1
    present(stage.worker.log_keeper).finish()
    answer = reveals.submit(
        stage.caller("requester"), disclosure_token=disclosure_token, tokens=[token], fields=None
    )
    assert len(answer.results) == 1


@pytest.mark.parametrize(
    ("state", "condition"), [("53100", "disk full"), ("25006", "read-only"), ("57P01", "shut down")]
)
def test_e5_a_ledger_that_takes_no_entry_lets_nothing_out(
    stage: Stage, customer: str, state: str, condition: str
) -> None:
    """Whatever the server says when it cannot write, the answer holds no value."""
    token = stage.card(customer)
    disclosure_token = stage.token(stage.granted(draft(token)).id)
    with stage.owned(
        "CREATE FUNCTION no_entry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" RAISE EXCEPTION '{condition}' USING ERRCODE = '{state}'; END $$;"
        " CREATE TRIGGER no_entry BEFORE INSERT ON ledger_outbox"
        " FOR EACH ROW EXECUTE FUNCTION no_entry()",
        "DROP TRIGGER no_entry ON ledger_outbox; DROP FUNCTION no_entry()",
    ):
        error = refusal(lambda: stage.reveal(disclosure_token, token), Unavailable)
    assert "4242" not in str(error)
    assert stage.revealed(disclosure_token, token)


# ---------------------------------------------------------------- E6


def _texts(sample: SampleCustomer) -> Iterator[str]:
    """Every text of a customer's values, cards and telephones also as bare digits."""
    yield sample.external_ref
    for record in sample.records:
        parts = record.value.values() if isinstance(record.value, dict) else [record.value]
        for part in parts:
            text = str(part)
            yield text
            yield "".join(char for char in text if char.isdigit())


def _as_it_would_stand(text: str) -> bytes:
    """What to look for."""
    if text.isdigit() and len(text) < SHORTEST_NUMBER:
        return f'"{text}"'.encode()
    return text.encode()


def _fill(stage: Stage, people: list[SampleCustomer], leaves: int) -> None:
    """At least that many entries about the sample, from many callers at once."""
    customers = {person.external_ref: stage.customer(person.external_ref) for person in people}
    items: Queue[TokenizeItem] = Queue()
    records = [
        TokenizeItem(
            data_class=record.data_class.value,
            customer=customers[person.external_ref],
            value=record.value,
        )
        for person in people
        for record in person.records
    ]
    for item in islice(cycle(records), leaves):
        items.put(item)

    def work() -> None:
        while True:
            try:
                stage.submit(items.get_nowait())
            except Empty:
                return

    threads([work] * 16)


def test_e6_no_leaf_holds_a_value_of_the_sample(stage: Stage) -> None:
    """Every value that came in is looked for in every leaf, as it is and as digits."""
    people = list(generate(CUSTOMERS))
    leaves = campaign.rounds(1_500)
    _fill(stage, people, leaves)
    name = next(
        record.value
        for person in people
        for record in person.records
        if record.data_class.value == "business_name"
    )
    customer = stage.customer(people[0].external_ref)
    (view,) = stage.tokenize(
        TokenizeItem(data_class="business_name", customer=customer, value=name)
    )
    asked = standing(view.id, recipient_name="Kanzlei Beispiel", evidence={"service": "Rechnung 7"})
    stage.revealed(stage.token(stage.granted(asked).id), view.id)
    present(stage.worker.log_keeper).finish()

    log = b"\n".join(
        gzip.decompress(row[0]) for row in stage.sql("SELECT packed FROM ledger_bundles")
    ) + b"\n".join(bytes(row[0]) for row in stage.sql("SELECT entry FROM ledger_tail"))
    size = stage.sql("SELECT size FROM ledger_tree")[0][0]
    assert size >= leaves
    wanted = {text for person in people for text in _texts(person) if len(text) >= SHORTEST}
    wanted |= {"Kanzlei Beispiel", "Rechnung 7"}
    assert len(wanted) > 500
    found = [text for text in wanted if _as_it_would_stand(text) in log]
    assert found == []
    # The search itself finds what is there.
    assert view.id.encode() in log
    campaign.report(leaves=size, texts=len(wanted), found=len(found))


def test_e6_a_deleted_salt_unlinks_a_commitment() -> None:
    """With the salt the value is recognised; without it every candidate looks alike."""
    candidates = [f"4242 4242 4242 {number:04d}".encode() for number in range(2_000)]
    salt = new_salt()
    commitment = commit(candidates[777], salt)
    assert [each for each in candidates if commit(each, salt) == commitment] == [candidates[777]]
    for guess in (bytes(32), new_salt(), new_salt()):
        assert commitment not in {commit(each, guess) for each in candidates}
