"""Documents of evidence: taken, sealed, bound to a request, read by few, and purged."""

from __future__ import annotations

import hashlib
import threading
from datetime import timedelta
from typing import Any

import pytest

from keys.errors import VaultUnavailable
from tests.services.test_disclosures import WARRANT
from tests.support.faults import FaultyUnitOfWork, NoDataKeys, Unwraps, rebuilt
from tests.support.whole import (
    ORDER,
    UNKNOWN_DISCLOSURE,
    UNKNOWN_PRINCIPAL,
    Stage,
    draft,
    name,
    refusal,
)
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from vault_service.ledger.entries import Event
from vault_service.services.disclosures.drafts import PolicyRefused
from vault_service.services.documents import DocumentUnreadable
from vault_service.services.evidence import LONGEST_ACCESS, MAX_DOCUMENT, MAX_WAITING
from vault_service.services.housekeeping import DOCUMENTS
from vault_service.services.views import DisclosureView

HOUR = timedelta(hours=1)


def unique(size: int = 0) -> bytes:
    """A document that nobody has uploaded."""
    return b"%PDF-1.7 " + name().encode() + bytes(size)


def asked(stage: Stage, customer: str, digest: str, *, by: str = "requester", **how: Any) -> Any:
    """A request that shows a document."""
    made = draft(
        ground="legal_process",
        category="communication_contents",
        recipient_kind="court",
        customer=customer,
        classes=("communication",),
        evidence=WARRANT | {"document": digest},
    )
    return stage.disclosures.create(stage.caller(by), made, is_draft=how.get("is_draft", False))


@pytest.fixture(autouse=True)
def nothing_waits(stage: Stage) -> None:
    """No test finds documents that another one left for nobody."""
    stage.sql("DELETE FROM evidence_documents WHERE referred_at IS NULL")


@pytest.fixture
def process(stage: Stage, customer: str) -> DisclosureView:
    """A submitted request that shows a document."""
    view = asked(stage, customer, stage.document())
    assert isinstance(view, DisclosureView)
    return view


def read(stage: Stage, view: DisclosureView, by: str, field: str = "document") -> bytes:
    """The document of a request."""
    return stage.evidence.read(stage.caller(by), view.id, field).content


# ---------------------------------------------------------------- taking


@pytest.mark.parametrize("size", [0, 65_527, 200_000])
def test_a_document_comes_back_to_its_requester(stage: Stage, customer: str, size: int) -> None:
    """Byte by byte, with the kind that its content tells; its own reader leaves no entry."""
    content = unique(size)
    taken = stage.evidence.upload(stage.caller("requester"), [content[:5], content[5:]])
    assert taken.digest == "sha256:" + hashlib.sha256(content).hexdigest()
    assert (taken.media_type, taken.size) == ("application/pdf", len(content))
    view = asked(stage, customer, taken.digest)
    with stage.told() as entries:
        got = stage.evidence.read(stage.caller("requester"), view.id, "document")
    assert (got.content, got.media_type, got.digest) == (content, "application/pdf", taken.digest)
    assert entries == []


def test_a_document_lies_sealed_and_the_entry_tells_nothing_of_it(stage: Stage) -> None:
    """Neither its text nor its digest: size, kind and a salted commitment."""
    content = unique()
    with stage.told() as entries:
        taken = stage.evidence.upload(stage.caller("requester"), [content])
    rows = stage.sql("SELECT sealed FROM evidence_chunks WHERE document = %s", [taken.id])
    assert len(rows) == 2
    assert content[9:] not in b"".join(bytes(row[0]) for row in rows)
    (entry,) = entries
    assert entry.event is Event.EVIDENCE_UPLOADED
    assert set(entry.commitments) == {"document"}
    assert taken.digest.removeprefix("sha256:") not in str(entry)
    assert entry.details == {
        "document": taken.id, "media_type": "application/pdf", "size": len(content),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ([], "document_empty"),
        ([b"MZ\x90\x00"], "document_type_unknown"),
        ([b"%PDF-", bytes(MAX_DOCUMENT)], "document_too_large"),
    ],
)
def test_what_is_not_taken_leaves_nothing(stage: Stage, content: list[bytes], code: str) -> None:
    """Neither row nor entry."""
    (before,) = stage.sql("SELECT count(*) FROM evidence_documents")
    with stage.told() as entries:
        error = refusal(lambda: stage.evidence.upload(stage.caller("requester"), content))
    assert isinstance(error, InvalidInput)
    assert error.code == code
    assert entries == []
    assert stage.sql("SELECT count(*) FROM evidence_documents") == [before]


@pytest.mark.parametrize("who", ["billing", "support", "officer-1", "auditor", "operator"])
def test_only_a_requester_uploads(stage: Stage, who: str) -> None:
    """Evidence is shown by whoever asks."""
    refusal(lambda: stage.evidence.upload(stage.caller(who), [ORDER]), Forbidden)


def test_a_failure_half_way_leaves_nothing(stage: Stage) -> None:
    """Vault away, a caller who stops sending, a commit that fails."""
    (before,) = stage.sql("SELECT count(*) FROM evidence_documents")
    requester = stage.caller("requester")

    def broken() -> Any:
        yield ORDER
        raise InvalidInput("the body ends too early", code="body_incomplete")

    without = rebuilt(stage.evidence, data_keys=NoDataKeys())
    with pytest.raises(VaultUnavailable):
        without.upload(requester, [ORDER])
    assert refusal(lambda: stage.evidence.upload(requester, broken())).code == "body_incomplete"
    lost = rebuilt(stage.evidence, uow=FaultyUnitOfWork(stage.evidence._uow, at="instead"))
    refusal(lambda: lost.upload(requester, [ORDER]), Unavailable)
    assert stage.sql("SELECT count(*) FROM evidence_documents") == [before]


def test_a_requester_has_few_documents_waiting(stage: Stage, customer: str) -> None:
    """The next one is refused until a request refers to one of them."""
    requester = "requester-2"
    digests = [stage.document(unique(), by=requester) for _ in range(MAX_WAITING)]
    error = refusal(lambda: stage.document(by=requester), Conflict)
    assert error.code == "documents_waiting"
    stage.document()  # another's do not count
    asked(stage, customer, digests[0], by=requester)
    stage.document(by=requester)


def test_the_same_document_again_is_the_one_that_is_there(stage: Stage, customer: str) -> None:
    """It waits anew, and is stored once; one that was purged meanwhile is taken afresh."""
    content = unique()
    first = stage.evidence.upload(stage.caller("requester"), [content])
    stage.sql(
        "UPDATE evidence_documents SET created_at = now() - interval '8 days' WHERE id = %s",
        [first.id],
    )
    with stage.told() as entries:
        second = stage.evidence.upload(stage.caller("requester"), [content])
    assert second.id == first.id
    assert second.created_at > first.created_at
    assert [entry.details["document"] for entry in entries] == [first.id]
    stage.housekeeping.sweep()
    assert read(stage, asked(stage, customer, first.digest), "requester") == content
    other = stage.evidence.upload(stage.caller("requester-2"), [content])
    assert other.id != first.id


# ---------------------------------------------------------------- requests


def test_a_request_names_a_document_of_its_requester(stage: Stage, customer: str) -> None:
    """A digest of nothing, and one of somebody else's document, are refused by their clause."""
    foreign = stage.document(unique(), by="requester-2")
    for digest in ("sha256:" + "a" * 64, foreign):
        for is_draft in (False, True):
            error = refusal(
                lambda d=digest, k=is_draft: asked(stage, customer, d, is_draft=k), PolicyRefused
            )
            assert [(each.code, each.pointer, each.clause) for each in error.problems] == [
                ("evidence_document_unknown", "/evidence/document", "C3")
            ]


@pytest.mark.parametrize("shown", [{}, {"document": ""}, {"document": " "}])
def test_a_draft_may_lack_its_document(stage: Stage, customer: str, shown: dict[str, str]) -> None:
    """It is kept, refers to nothing, and cannot be submitted."""
    made = draft(
        ground="legal_process",
        category="communication_contents",
        recipient_kind="court",
        customer=customer,
        classes=("communication",),
        evidence=WARRANT | shown,
    )
    kept = stage.disclosures.create(stage.caller("requester"), made, is_draft=True)
    assert refusal(lambda: read(stage, kept, "requester"), NotFound).code == "document_not_found"
    error = refusal(
        lambda: stage.disclosures.submit(stage.caller("requester"), kept.id), PolicyRefused
    )
    assert [each.code for each in error.problems] == ["evidence_missing"]


def test_explain_looks_for_the_document_too(stage: Stage, customer: str) -> None:
    """The same answer as the request would get."""
    made = draft(
        ground="legal_process",
        category="communication_contents",
        recipient_kind="court",
        customer=customer,
        classes=("communication",),
    )
    for digest, codes in (("sha256:" + "b" * 64, ["evidence_document_unknown"]),
                          (stage.document(), [])):  # fmt: skip
        shown = draft(**{
            **{f: getattr(made, f) for f in ("ground", "category", "recipient_kind", "customer",
                                             "classes")},
            "evidence": WARRANT | {"document": digest},
        })  # fmt: skip
        decision = stage.disclosures.explain(stage.caller("requester"), shown)
        assert [each.code for each in decision.missing] == codes


def test_a_document_purged_under_a_request_is_told(stage: Stage, customer: str) -> None:
    """Between the decision and the row nothing is half done."""
    digest = stage.document(unique())
    uow = stage.disclosures._uow

    class Purging:
        """Purges the document before the writing transaction begins."""

        def begin(self, *, read_only: bool = False) -> Any:
            if not read_only:
                stage.sql(
                    "DELETE FROM evidence_documents WHERE digest = %s",
                    [bytes.fromhex(digest.removeprefix("sha256:"))],
                )
            return uow.begin(read_only=read_only)

    late = rebuilt(stage.disclosures, uow=Purging())
    made = draft(
        ground="legal_process",
        category="communication_contents",
        recipient_kind="court",
        customer=customer,
        classes=("communication",),
        evidence=WARRANT | {"document": digest},
    )
    with stage.told() as entries:
        error = refusal(lambda: late.create(stage.caller("requester"), made, is_draft=False))
    assert (error.code, error.pointer) == ("evidence_document_unknown", "/evidence/document")
    assert entries == []


def test_purge_and_request_meet_at_the_row(stage: Stage, customer: str) -> None:
    """Whoever comes first: the request has its document, or there is no request."""
    for _ in range(8):
        digest = stage.document(unique())
        stage.sql(
            "UPDATE evidence_documents SET created_at = now() - interval '8 days'"
            " WHERE referred_at IS NULL"
        )
        made: list[Any] = []
        ready = threading.Barrier(2)

        def ask(digest: str = digest, made: list[Any] = made, ready: Any = ready) -> None:
            ready.wait()
            try:
                made.append(asked(stage, customer, digest))
            except InvalidInput as error:
                made.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        ready.wait()
        stage.housekeeping.sweep()
        asking.join()
        if isinstance(made[0], DisclosureView):
            assert read(stage, made[0], "requester").startswith(b"%PDF")


# ---------------------------------------------------------------- reading


def test_officers_read_while_there_is_something_to_decide(
    stage: Stage, process: DisclosureView
) -> None:
    """Each reading is an entry with the document's name; after the end it is closed to them."""
    with stage.told(Event.DISCLOSURE_EVIDENCE_READ) as entries:
        assert read(stage, process, "officer-1") == ORDER
        shown = stage.evidence.evidence(stage.caller("officer-1"), process.id)
    assert shown.evidence["authority"] == WARRANT["authority"]
    assert [bool(entry.details) for entry in entries] == [True, False]
    assert {entry.grant for entry in entries} == {process.id}
    stage.decisions.withdraw(stage.caller("requester"), process.id)
    error = refusal(lambda: read(stage, process, "officer-1"), Forbidden)
    assert error.code == "evidence_closed"
    assert read(stage, process, "requester") == ORDER


def test_a_draft_is_its_makers_alone(stage: Stage, customer: str) -> None:
    """Nobody decides on a draft."""
    kept = asked(stage, customer, stage.document(), is_draft=True)
    assert refusal(lambda: read(stage, kept, "officer-1"), Forbidden).code == "evidence_closed"
    stage.disclosures.submit(stage.caller("requester"), kept.id)
    assert read(stage, kept, "officer-1") == ORDER


@pytest.mark.parametrize("who", ["requester-2", "auditor"])
def test_others_do_not_learn_that_there_is_one(
    stage: Stage, process: DisclosureView, who: str
) -> None:
    """Unknown and forbidden answer alike."""
    for disclosure in (process.id, UNKNOWN_DISCLOSURE, "dis_?"):
        error = refusal(
            lambda d=disclosure: stage.evidence.read(stage.caller(who), d, "document"), NotFound
        )
        assert error.code == "disclosure_not_found"
    for other in ("billing", "support", "operator"):
        refusal(lambda o=other: read(stage, process, o), Forbidden)


def test_evidence_that_is_no_document_is_not_found(stage: Stage, process: DisclosureView) -> None:
    """A text is read with the request."""
    for field in ("authority", "nothing"):
        error = refusal(lambda f=field: read(stage, process, "requester", f), NotFound)
        assert error.code == "document_not_found"


# ---------------------------------------------------------------- auditors


def test_an_auditor_reads_what_an_officer_opened(stage: Stage, process: DisclosureView) -> None:
    """For one request, until its time is over or the officer closes it; each an entry."""
    auditor, officer = stage.caller("auditor"), stage.caller("officer-2")
    with stage.told() as entries:
        access = stage.evidence.open_to(
            officer, process.id, auditor=auditor.principal.id, life=HOUR
        )
        assert stage.evidence.read(auditor, process.id, "document").content == ORDER
        assert stage.evidence.evidence(auditor, process.id).clause == "C3"
        stage.evidence.close_to(officer, process.id, auditor=auditor.principal.id)
    assert access.expires_at - access.granted_at == HOUR
    assert [entry.event for entry in entries] == [
        Event.EVIDENCE_OPENED,
        Event.DISCLOSURE_EVIDENCE_READ,
        Event.DISCLOSURE_EVIDENCE_READ,
        Event.EVIDENCE_CLOSED,
    ]
    assert entries[0].principal == auditor.principal.id
    refusal(lambda: read(stage, process, "auditor"), NotFound)
    again = refusal(
        lambda: stage.evidence.close_to(officer, process.id, auditor=auditor.principal.id), Conflict
    )
    assert again.code == "evidence_not_open"


def test_an_auditors_access_ends_by_itself(
    stage: Stage, process: DisclosureView, customer: str
) -> None:
    """By the database's clock, also after the request's end, and for that request only."""
    auditor, officer = stage.caller("auditor"), stage.caller("officer-1")
    other = asked(stage, customer, stage.document())
    stage.evidence.open_to(officer, process.id, auditor=auditor.principal.id, life=LONGEST_ACCESS)
    stage.decisions.withdraw(stage.caller("requester"), process.id)
    assert read(stage, process, "auditor") == ORDER
    refusal(lambda: read(stage, other, "auditor"), NotFound)
    stage.sql("UPDATE evidence_access SET expires_at = now() WHERE disclosure = %s", [process.id])
    refusal(lambda: read(stage, process, "auditor"), NotFound)
    stage.evidence.open_to(officer, process.id, auditor=auditor.principal.id, life=HOUR)
    assert read(stage, process, "auditor") == ORDER


def test_only_an_officer_opens_and_only_to_auditors(stage: Stage, process: DisclosureView) -> None:
    """For at most a week, and a request that there is."""
    auditor, officer = stage.cast.id("auditor"), stage.caller("officer-1")
    for who in ("requester", "auditor", "operator", "billing"):
        for call in (
            lambda w=who: stage.evidence.open_to(
                stage.caller(w), process.id, auditor=auditor, life=HOUR
            ),
            lambda w=who: stage.evidence.close_to(stage.caller(w), process.id, auditor=auditor),
        ):
            refusal(call, Forbidden)
    for principal in (UNKNOWN_PRINCIPAL, stage.cast.id("support"), "prn_?"):
        error = refusal(
            lambda p=principal: stage.evidence.open_to(officer, process.id, auditor=p, life=HOUR)
        )
        assert error.code == "auditor_not_found"
    for life in (timedelta(0), LONGEST_ACCESS + timedelta(seconds=1)):
        error = refusal(
            lambda t=life: stage.evidence.open_to(officer, process.id, auditor=auditor, life=t)
        )
        assert error.code == "duration_not_allowed"
    for disclosure in (UNKNOWN_DISCLOSURE, "dis_?"):
        for call in (
            lambda d=disclosure: stage.evidence.open_to(officer, d, auditor=auditor, life=HOUR),
            lambda d=disclosure: stage.evidence.close_to(officer, d, auditor=auditor),
        ):
            refusal(call, NotFound)


# ---------------------------------------------------------------- tampering and dependencies


def test_a_changed_document_is_not_handed_out(
    stage: Stage, process: DisclosureView, customer: str
) -> None:
    """Flipped, cut, exchanged for another's, or with a key that does not open."""
    ((bucket, document),) = stage.sql(
        "SELECT document_bucket, document FROM disclosure_documents WHERE disclosure = %s",
        [process.id],
    )
    whole = stage.sql(
        "SELECT number, sealed FROM evidence_chunks WHERE document = %s ORDER BY number", [document]
    )

    def unreadable() -> None:
        with stage.told() as entries:
            refusal(lambda: read(stage, process, "officer-1"), DocumentUnreadable)
        assert entries == []

    flipped = bytes(whole[1][1][:-1]) + bytes((whole[1][1][-1] ^ 1,))
    put = "UPDATE evidence_chunks SET sealed = %s WHERE document = %s AND number = 1"
    stage.sql(put, [flipped, document])
    unreadable()
    stage.sql("DELETE FROM evidence_chunks WHERE document = %s AND number = 1", [document])
    unreadable()
    stage.sql("INSERT INTO evidence_chunks VALUES (%s, %s, 1, %s)", [bucket, document, whole[1][1]])
    assert read(stage, process, "officer-1") == ORDER
    # Another true document in its place: it opens, and is not what was shown.
    other = asked(stage, customer, stage.document(unique()))
    stage.sql(
        "UPDATE disclosure_documents AS d SET document_bucket = o.document_bucket,"
        " document = o.document FROM disclosure_documents AS o"
        " WHERE d.disclosure = %s AND o.disclosure = %s",
        [process.id, other.id],
    )
    unreadable()


def test_without_vault_nothing_is_read(stage: Stage, process: DisclosureView) -> None:
    """Vault away is said as such; a key that Vault rejects is an unreadable document."""
    real = stage.evidence._unwrapping
    away = rebuilt(stage.evidence, unwrapping=Unwraps(real, answer="away"))
    with pytest.raises(VaultUnavailable):
        away.read(stage.caller("officer-1"), process.id, "document")
    rejects = rebuilt(stage.evidence, unwrapping=Unwraps(real, answer="rejects"))
    refusal(
        lambda: rejects.read(stage.caller("officer-1"), process.id, "document"), DocumentUnreadable
    )


# ---------------------------------------------------------------- purge


def test_what_nobody_refers_to_is_purged_with_its_content(
    stage: Stage, process: DisclosureView
) -> None:
    """After a week, a few at a time; what a request refers to stays."""
    stage.housekeeping.sweep()
    digests = [stage.document(unique()) for _ in range(3)]
    names = [
        stage.sql("SELECT id FROM evidence_documents WHERE digest = %s", [bytes.fromhex(d[7:])])
        for d in digests
    ]
    stage.sql(
        "UPDATE evidence_documents SET created_at = now() - interval '7 days 1 minute'"
        " WHERE id <> %s",
        [names[2][0][0]],
    )
    with stage.told(Event.EVIDENCE_PURGED) as entries:
        swept = stage.housekeeping.sweep()
    assert swept is not None
    assert 2 <= swept.documents < DOCUMENTS
    assert not swept.more
    told = {entry.details["document"] for entry in entries}
    assert {names[0][0][0], names[1][0][0]} <= told
    assert names[2][0][0] not in told
    left = "SELECT count(*) FROM evidence_chunks WHERE document = %s"
    assert stage.sql(left, [names[0][0][0]]) == [(0,)]
    assert read(stage, process, "requester") == ORDER
