"""Use cases that record what they were asked and answer what they were told to.

For tests of the interface alone: parsing, shapes of answers, errors. What the service really does
is tested on real servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from vault_service.domain.activity import Kind
from vault_service.domain.actors import Principal, Role
from vault_service.domain.policy import Decision
from vault_service.errors import NotAuthenticated, ServiceError
from vault_service.policy.diff import Difference, Effect
from vault_service.services.access_reviews import ReviewView
from vault_service.services.accounting import Disclosed, DisclosedPage, DisclosedValue
from vault_service.services.activity import ActivityPage, EntryView, Recorded
from vault_service.services.authentication import Shown
from vault_service.services.context import Caller
from vault_service.services.customer_erasure import ErasureView
from vault_service.services.erasure_ports import ErasureRow, ErasureState
from vault_service.services.evidence import EvidenceView, ReadDocument, UploadedDocument
from vault_service.services.evidence_ports import AccessRow
from vault_service.services.granting import IssueRequest
from vault_service.services.helpdesk import Received
from vault_service.services.holds import HoldView
from vault_service.services.key_status import KeyStatusView
from vault_service.services.log_reading import Blob, Consistency, Inclusion, LoggedEntry, Page
from vault_service.services.notices import CustomerNotice, NoticeLine
from vault_service.services.policies import AdoptionPage, PolicyChanges, PolicyText
from vault_service.services.policy_ports import AdoptionRow
from vault_service.services.reading import SearchRequest
from vault_service.services.recipients import RecipientView
from vault_service.services.reveal.work import RevealRequest
from vault_service.services.review_ports import ReviewItem, ReviewRow
from vault_service.services.rotation_ports import Reason, RotationRow, RotationState
from vault_service.services.rotations import RotationPage, RotationView
from vault_service.services.service_choices import ServiceChoiceView, ServiceHistory
from vault_service.services.transparency import TransparencyReport, TransparencyRow
from vault_service.services.usage_ports import UsageRow
from vault_service.services.views import (
    CustomerProfile,
    CustomerView,
    DisclosurePage,
    DisclosureView,
    IssuedDisclosureToken,
    IssuedKey,
    KeyView,
    ModificationPage,
    ModificationView,
    PrincipalView,
    Receipt,
    RevealAnswer,
    Revealed,
    RevealedContent,
    TokenizeAnswer,
    TokenPage,
    TokenView,
    UnassignedPage,
    UnassignedView,
    VersionView,
)
from vault_service.services.webhook_desk import DeliveryPage
from vault_service.services.webhook_ports import DeliveryRow
from vault_service.web.served import Served

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
MODIFICATION = "mod_" + "0" * 28
CUSTOMER = "cus_" + "0" * 26
TOKEN = "tok_" + "0" * 28
SEGMENT = "act_" + "0" * 30
DISCLOSURE = "dis_" + "0" * 28
RECIPIENT = "rec_" + "0" * 26
REVIEW = "rev_" + "0" * 26
HOLD = "hld_" + "0" * 28
PRINCIPAL = "prn_" + "0" * 26
ROTATION = "rot_" + "0" * 26
KEY = "key_" + "0" * 16
ENTRY = "0192f0c1-7c1e-7b3a-8c55-2d1f5f3c9a10"
API_KEY = "vk_" + "0" * 16 + "_" + "1" * 52


def token_view(**changes: Any) -> TokenView:
    """A token as a use case answers it."""
    plain: dict[str, Any] = {
        "id": TOKEN,
        "data_class": "payment_card",
        "customer": CUSTOMER,
        "mask": {"number": "424242******4242", "brand": "visa", "exp_month": 12, "exp_year": 2035},
        "format": "opaque",
        "version": 1,
        "deduplicated": False,
        "created_at": NOW,
        "expires_at": None,
        "reference": "inv-17",
        "metadata": {"plan": "gold"},
    }
    return TokenView(**(plain | changes))


def modification_view(**changes: Any) -> ModificationView:
    """A change as a use case answers it."""
    plain: dict[str, Any] = {
        "id": MODIFICATION,
        "state": "proposed",
        "customer": CUSTOMER,
        "token": TOKEN,
        "data_class": "telephone",
        "version": 2,
        "present": {"number": "+49 *******20"},
        "proposed": {"number": "+49 *******99"},
        "source": "ticket",
        "ticket": "T-4711",
        "unassigned": None,
        "second_person": True,
        "opened_by": PRINCIPAL,
        "proposed_by": None,
        "confirmed_by": None,
        "confirmed_how": None,
        "ended_by": None,
        "reason": None,
        "created_at": NOW,
        "expires_at": NOW,
        "ended_at": None,
        "created": True,
    }
    return ModificationView(**(plain | changes))


def service_view() -> ServiceChoiceView:
    """A choice of service as a use case answers it."""
    return ServiceChoiceView(
        token=token_view(data_class="service_choice"),
        service="hosting.basic",
        since=date(2026, 1, 1),
        until=None,
        current=True,
        superseded=False,
    )


def version_view() -> VersionView:
    """A version of a record as a use case answers it."""
    return VersionView(
        version=1, mask={"number": "+49 *******20"}, since=NOW, until=None, modification=None
    )


class _Pieces:
    """Two bytes, in pieces, as often as they are asked for."""

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"a", b"b"])


def communication_view(**changes: Any) -> TokenView:
    """A communication as a use case answers it."""
    mask = {"direction": "inbound", "kind": "email", "media_type": "message/rfc822", "size": 5}
    return token_view(data_class="communication", mask=mask, **changes)


def principal_view() -> PrincipalView:
    """A principal as a use case answers it."""
    key = KeyView(
        id=KEY,
        state="active",
        created_by=PRINCIPAL,
        confirmed_by=None,
        created_at=NOW,
        expires_at=None,
        revoked_at=None,
        last_used_at=NOW,
    )
    return PrincipalView(
        id=PRINCIPAL,
        name="billing",
        roles=("billing",),
        state="active",
        created_at=NOW,
        keys=(key,),
    )


def recipient_view() -> RecipientView:
    """A recipient as a use case answers it."""
    return RecipientView(
        id=RECIPIENT,
        kind="counterparty",
        created_by=PRINCIPAL,
        created_at=NOW,
        thumbprint=None,
        public_key=None,
        name="B",
        verified="called back",
        contact="b@example.com",
    )


MESSAGE = "msg_" + "0" * 31 + "1"


def delivery_row() -> DeliveryRow:
    """A delivery as a use case answers it."""
    return DeliveryRow(
        bucket=1,
        id=UUID(int=1),
        endpoint="hooks.example-00000000",
        type="alarm.raised",
        state="dead",
        attempts=18,
        created_at=NOW,
        next_at=NOW,
        ended_at=NOW,
        last_status=500,
        last_error="status_500",
    )


def disclosed_page() -> DisclosedPage:
    """What was disclosed of a customer."""
    value = DisclosedValue(
        token=TOKEN,
        data_class="payment_card",
        fields=("number",),
        mask={"number": "424242******4242"},
    )
    item = Disclosed(
        entry=ENTRY,
        at=NOW,
        disclosure=DISCLOSURE,
        ground="protect_from_harm",
        category="personal_and_account",
        clause="D1",
        policy="0" * 64,
        recipient_kind="counterparty",
        values=(value,),
        withheld=False,
        told_after=None,
    )
    return DisclosedPage(items=(item,), next=ENTRY)


def evidence_answers() -> dict[str, Any]:
    """What the use case of evidence answers."""
    digest = "sha256:" + "0" * 64
    return {
        "upload": UploadedDocument(
            id="doc_" + "0" * 28, digest=digest, media_type="text/plain", size=1, created_at=NOW
        ),
        "read": ReadDocument(digest=digest, media_type="text/plain", content=b"x"),
        "evidence": EvidenceView(disclosure=DISCLOSURE, ground="g", clause="D1", evidence={}),
        "open_to": AccessRow(
            disclosure=DISCLOSURE,
            auditor=PRINCIPAL,
            officer=PRINCIPAL,
            granted_at=NOW,
            expires_at=NOW,
        ),
        "close_to": None,
    }


def review_view() -> ReviewView:
    """An access review as a use case answers it."""
    item = ReviewItem(
        principal=PRINCIPAL,
        name="requester",
        roles=("requester",),
        decision=None,
        decided_by=None,
        decided_at=None,
        review_due=NOW,
        live_keys=1,
        last_used_at=NOW,
        open=True,
    )
    row = ReviewRow(id=REVIEW, opened_at=NOW, due=NOW, overdue_at=None, completed_at=None, now=NOW)
    return ReviewView(row=row, items=(item,))


def erasure_view() -> ErasureView:
    """A finished erasure as a use case answers it."""
    return ErasureView(
        row=ErasureRow(
            bucket=0,
            customer=CUSTOMER,
            state=ErasureState.DONE,
            requested_by=PRINCIPAL,
            requested_at=NOW,
            confirmed_by=PRINCIPAL,
            started_at=NOW,
            records=17,
            clear_at=NOW,
            finished_at=NOW,
            backup_horizon_days=30,
            entry=UUID(ENTRY),
            now=NOW,
        ),
        backups_until=NOW,
    )


def hold_view() -> HoldView:
    """A legal hold as a use case answers it."""
    return HoldView(
        id=HOLD,
        state="standing",
        customer=CUSTOMER,
        tokens=(TOKEN,),
        placed_by=PRINCIPAL,
        placed_at=NOW,
        until=None,
        released_by=None,
        released_at=None,
        reason="the court asks for it",
        reference="4 O 711/26",
        release_reason=None,
    )


def customer_notice(**changes: Any) -> CustomerNotice:
    """A notice; its words are some that a page must not take for its own."""
    plain: dict[str, Any] = {
        "ground_says": "Because <b>so</b> & so.",
        "clause": "D1",
        "clause_says": "It may go out.",
        "recipient_kind": "law_enforcement",
        "recipient_says": "An agency.",
        "data_class": "payment_card",
        "fields": ("number", "exp_month"),
        "first": NOW,
        "last": NOW + timedelta(days=40),
        "times": 3,
    }
    bare = dict.fromkeys(("ground_says", "clause_says", "recipient_says"))
    telephone = plain | bare | {"data_class": "telephone", "fields": ("value",), "times": 1}
    telephone["last"] = NOW
    lines = (NoticeLine(**plain), NoticeLine(**telephone))
    return CustomerNotice(
        **({"customer": CUSTOMER, "at": NOW, "lines": lines, "more": False} | changes)
    )


TODAY = date(2026, 11, 25)


def usage_row() -> UsageRow:
    """Counts of a page on a day."""
    return UsageRow(day=TODAY, page="/", referrer="example.org", views=123, visitors=9)


def transparency_report() -> TransparencyReport:
    """A report with a hidden number."""
    counts = {"requests": 12, "denied": 0, "granted": 12, "reveals": None, "values": None}
    ground = ("personal_and_account", "protect_from_harm")
    return TransparencyReport(
        year=2025,
        threshold=5,
        rows=(
            TransparencyRow(level="total", path=(), clause=None, counts=counts),
            TransparencyRow(level="ground", path=ground, clause="D1", counts=counts),
        ),
    )


def disclosure_view() -> DisclosureView:
    """A disclosure request as a use case answers it."""
    return DisclosureView(
        id=DISCLOSURE,
        state="submitted",
        requester=PRINCIPAL,
        ground="protect_from_harm",
        category="personal_and_account",
        clause="D1",
        policy="0" * 64,
        recipient_kind="counterparty",
        recipient_name="B",
        recipient=None,
        recipient_key=None,
        delivery="holder",
        evidence={"harm": "x"},
        tokens=(TOKEN,),
        customer=None,
        classes=None,
        fields=None,
        uses=1,
        uses_left=1,
        approvals_needed=2,
        determination_needed=False,
        created_at=NOW,
        submitted_at=NOW,
        activated_at=None,
        expires_at=None,
        ended_at=None,
        decisions=(),
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of readiness."""

    name: str
    ok: bool
    reason: str | None = None


_RECEIPT = Receipt(
    entry=ENTRY, grant=DISCLOSURE, ground="protect_from_harm", clause="D1", at=NOW, values=1
)


@dataclass(slots=True)
class Recording:
    """All use cases in one; `asked` holds (name, arguments) of each call."""

    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)

    def _answer(self, called: str, default: Any, /, **arguments: Any) -> Any:
        self.asked.append((called, arguments))
        answer = self.answers.get(called, default)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @property
    def last(self) -> dict[str, Any]:
        """The arguments of the last call."""
        return self.asked[-1][1]

    # -- authentication and health

    def authenticate(self, shown: Shown) -> Caller:
        """Let in who shows the one key."""
        if shown.authorization != f"Bearer {API_KEY}":
            raise NotAuthenticated("this API key is not known", code="credential_unknown")
        return Caller(
            principal=Principal(id=PRINCIPAL, name="all", roles=frozenset(Role)),
            key_id=KEY,
            request_id=shown.request_id,
            address=shown.address,
            deadline=shown.deadline,
        )

    def authenticate_many(self, shown: Sequence[Shown]) -> list[Caller | ServiceError]:
        """Let in each who shows the one key."""
        return self.each(self.authenticate, shown)

    @staticmethod
    def each(one: Callable[[Any], Any], asked: Sequence[Any]) -> list[Any]:
        """What is answered to each, or why it is not."""
        outcomes: list[Any] = []
        for every in asked:
            try:
                outcomes.append(one(every))
            except Exception as error:  # noqa: BLE001 -- an outcome, as of a use case
                outcomes.append(error)
        return outcomes

    def ready(self) -> Sequence[Finding]:
        """Answer the checks."""
        return cast("Sequence[Finding]", self._answer("ready", [Finding("vault", ok=True)]))

    def jwks(self) -> Mapping[str, Any]:
        """Answer a key set."""
        return cast("Mapping[str, Any]", self._answer("jwks", {"keys": []}))

    # -- tokens

    def tokenize(self, request: Any) -> TokenizeAnswer:
        """Answer one view for each item."""
        default = TokenizeAnswer(
            results=tuple(token_view(reference=item.reference) for item in request.items)
        )
        return cast("TokenizeAnswer", self._answer("tokenize", default, request=request))

    def get_token(self, asked: tuple[Caller, str]) -> TokenView:
        """Answer one view."""
        caller, token = asked
        return cast("TokenView", self._answer("get", token_view(), caller=caller, token=token))

    def page_tokens(self, caller: Caller, **arguments: Any) -> TokenPage:
        """Answer one page."""
        default = TokenPage(items=(token_view(),), next="more")
        return cast("TokenPage", self._answer("page", default, caller=caller, **arguments))

    def search(self, asked: SearchRequest) -> list[tuple[TokenView, ...] | ServiceError]:
        """Answer a match for each value."""
        default = [(token_view(),) for _ in asked.values]
        return cast(
            "list[tuple[TokenView, ...] | ServiceError]",
            self._answer(
                "search",
                default,
                caller=asked.caller,
                data_class=asked.data_class,
                values=list(asked.values),
            ),
        )

    def issue(self, asked: IssueRequest) -> IssuedDisclosureToken:
        """Answer a token."""
        default = IssuedDisclosureToken(expires_at=NOW, token="e.y.J")
        return cast(
            "IssuedDisclosureToken",
            self._answer(
                "issue",
                default,
                caller=asked.caller,
                positional=(asked.disclosure,),
                proof=asked.proof,
            ),
        )

    def reveal(self, asked: RevealRequest) -> RevealAnswer:
        """Answer a value."""
        value = Revealed(id=TOKEN, data_class="payment_card", value={"number": "4242424242424242"})
        return cast(
            "RevealAnswer",
            self._answer(
                "submit",
                RevealAnswer(results=(value,), receipt=_RECEIPT),
                caller=asked.caller,
                disclosure_token=asked.token,
                tokens=list(asked.tokens),
                fields=None if asked.fields is None else list(asked.fields),
                proof=asked.proof,
            ),
        )

    def erase(self, caller: Caller, tokens: Sequence[str]) -> list[ServiceError | None]:
        """Answer that all are gone."""
        return cast(
            "list[ServiceError | None]",
            self._answer("erase", [None] * len(tokens), caller=caller, tokens=tokens),
        )


class _Part:
    """A use case of its own, made of the recording's methods."""

    def __init__(self, recording: Recording, **methods: Any) -> None:
        self.recording = recording
        self.__dict__.update(methods)


class _Simple:
    """Answers every method with the same view, recorded under the method's name."""

    def __init__(self, recording: Recording, defaults: Mapping[str, Any]) -> None:
        self._recording = recording
        self._defaults = defaults

    def __getattr__(self, name: str) -> Any:
        if name not in self._defaults:
            raise AttributeError(name)

        def method(caller: Caller, *positional: Any, **arguments: Any) -> Any:
            return self._recording._answer(
                name, self._defaults[name], caller=caller, positional=positional, **arguments
            )

        return method


def key_view() -> KeyStatusView:
    """A key as it is told of."""
    return KeyStatusView(
        name="records-card",
        purpose="kek",
        exists=True,
        version=2,
        min_encryption_version=2,
        min_decryption_version=1,
        created=NOW,
        age_days=3,
        due=NOW,
        overdue=False,
        wrapped={1: 4, 2: 6},
        counted_at=NOW,
        rotation=ROTATION,
        remaining=4,
    )


def rotation_view() -> RotationView:
    """A rotation half done."""
    return RotationView(
        row=RotationRow(
            id=ROTATION,
            key="records-card",
            state=RotationState.RUNNING,
            reason=Reason.ASKED,
            requested_by=PRINCIPAL,
            from_version=1,
            to_version=2,
            total=10,
            rewrapped=4,
            failed=0,
            requested_at=NOW,
            started_at=NOW,
            clear_at=None,
            finished_at=None,
            now=NOW,
        ),
        remaining=6,
        rate=2.0,
        seconds_left=3.0,
    )


def ledger_answers() -> dict[str, Any]:
    """What the log answers."""
    logged = LoggedEntry(index=0, members={"event": "log.started"})
    return {
        "checkpoint": b"log.example\n1\n",
        "verifier_keys": ["log.example+00000000+AQ=="],
        "tile": Blob(data=b"\0" * 32),
        "search": Page(entries=(logged,), next=None),
        "inclusion": Inclusion(
            id=ENTRY, index=0, entry=b"{}", leaf=b"\0" * 32, checkpoint="", proof=()
        ),
        "consistency": Consistency(
            old=0, new=1, old_root=b"\0" * 32, new_root=b"\0" * 32, proof=()
        ),
    }


def policy_answers() -> dict[str, Any]:
    """What the history of the policy answers."""
    row = AdoptionRow(number=2, version="b" * 64, name="1998-12-17", adopted_at=NOW, until=None)
    difference = Difference(effect=Effect.ALLOWED, where="a for b", says="may serve counterparty")
    return {
        "page": AdoptionPage(items=(row,), next="2"),
        "text": PolicyText(version="b" * 64, text="schema = 1\n", adoptions=(row,)),
        "changes": PolicyChanges(old="a" * 64, new="b" * 64, differences=(difference,)),
    }


def served(recording: Recording) -> Served:
    """The recording in the form that an application takes."""
    issued = IssuedKey(principal=principal_view(), id=KEY, state="active", key=API_KEY)
    view = disclosure_view()
    customer = CustomerView(id=CUSTOMER, created_at=NOW, created=True)
    profile = CustomerProfile(
        id=CUSTOMER,
        created_at=NOW,
        linked=(),
        tokens={"payment_card": (token_view(),)},
        truncated=False,
    )
    steps = ("annul", "determine", "approve", "deny", "revoke", "withdraw")
    decision = Decision(allowed=True, ground=None, clause="D1", missing=(), duration=None)
    part = _Part(
        recording,
        authentication=recording,
        health=recording,
        jwks=recording.jwks,
        tokenization=_Part(
            recording,
            submit=recording.tokenize,
            submit_many=lambda asked: recording.each(recording.tokenize, asked),
        ),
        reading=_Part(
            recording,
            get_many=lambda asked: recording.each(recording.get_token, asked),
            page=recording.page_tokens,
            search=lambda caller, *, data_class, values: recording.search(
                SearchRequest(caller=caller, data_class=data_class, values=tuple(values))
            ),
            search_many=lambda asked: recording.each(recording.search, asked),
            versions=lambda caller, token: recording._answer(
                "versions", [version_view()], caller=caller, token=token
            ),
        ),
        erasure=recording,
        customers=_Simple(
            recording, {"create": [customer], "profile": profile, "find": [customer]}
        ),
        modifications=_Simple(
            recording,
            {
                "open": [modification_view()],
                "page": ModificationPage(items=(modification_view(),), next=None),
                **dict.fromkeys(
                    ("get", "propose", "confirm", "apply", "reject", "withdraw"),
                    modification_view(),
                ),
            },
        ),
        activity=_Simple(
            recording,
            {
                "record": Recorded(recorded=1, segments=(SEGMENT,), refused={}),
                "page": ActivityPage(
                    items=(EntryView(segment=SEGMENT, at=NOW, kind=Kind.SIGNED_IN),), next=None
                ),
            },
        ),
        services=_Simple(
            recording,
            {
                "record": TokenizeAnswer(results=(token_view(),)),
                "history": ServiceHistory(items=(service_view(),), truncated=False),
            },
        ),
        unassigned=_Simple(
            recording,
            {
                "page": UnassignedPage(
                    items=(
                        UnassignedView(
                            modification=MODIFICATION,
                            why="unknown_sender",
                            received_at=NOW,
                            expires_at=NOW,
                            message=communication_view(),
                        ),
                    ),
                    next=None,
                ),
                "assign": modification_view(),
            },
        ),
        links=_Simple(recording, {"link": True, "unlink": None}),
        communications=_Simple(
            recording,
            {
                "keep": communication_view(),
                "page": TokenPage(items=(communication_view(),), next=None),
            },
        ),
        helpdesk=_Simple(
            recording, {"receive": Received(changes=(modification_view(),), repeated=False)}
        ),
        principals=_Simple(
            recording,
            {
                "create": issued,
                "issue_key": issued,
                "page": ((principal_view(),), None),
                **dict.fromkeys(
                    ("get", "revoke_key", "confirm_key", "disable", "enable", "set_roles"),
                    principal_view(),
                ),
            },
        ),
        disclosures=_Simple(
            recording,
            {**dict.fromkeys(("create", "submit"), view), "explain": decision},
        ),
        decisions=_Simple(recording, dict.fromkeys(steps, view)),
        disclosure_reading=_Simple(
            recording,
            {
                "get": view,
                "page": DisclosurePage(items=(view,), next=None),
                "lacking": decision,
            },
        ),
        evidence=_Simple(recording, evidence_answers()),
        recipients=_Simple(
            recording,
            {
                **dict.fromkeys(("create", "get"), recipient_view()),
                "page": ((recipient_view(),), None),
            },
        ),
        accounting=_Simple(recording, {"page": disclosed_page()}),
        reviewing=_Simple(
            recording,
            {"page": (review_view(),), "get": review_view(), "decide": review_view()},
        ),
        erasures=_Simple(
            recording,
            {
                "request": (erasure_view(), True),
                **dict.fromkeys(("confirm", "get"), erasure_view()),
                "page": ((erasure_view(),), None),
            },
        ),
        holds=_Simple(
            recording,
            {
                **dict.fromkeys(("place", "get", "release"), hold_view()),
                "page": ((hold_view(),), None),
            },
        ),
        visits=None,
        usage=_Simple(recording, {"period": (TODAY, TODAY, [usage_row()])}),
        notices=_Simple(recording, {"make": customer_notice()}),
        transparency=_Simple(recording, {"report": transparency_report()}),
        webhooks=_Part(
            recording,
            page=lambda caller, **asked: recording._answer(
                "page", DeliveryPage(items=(delivery_row(),), next=MESSAGE), caller=caller, **asked
            ),
            retry=lambda caller, message: recording._answer(
                "retry", 1, caller=caller, message=message
            ),
            test=lambda caller: recording._answer("test", MESSAGE, caller=caller),
            counts=lambda: recording._answer(
                "counts", ({"waiting": 1, "dead": 2}, {"ledger_behind": 3})
            ),
        ),
        honeytokens=_Simple(recording, dict.fromkeys(("plant", "lift", "count"), 2)),
        granting=_Part(recording, issue_many=lambda asked: recording.each(recording.issue, asked)),
        ledger=_Simple(recording, ledger_answers()),
        policies=_Simple(recording, policy_answers()),
        key_status=_Part(
            recording,
            overview=lambda caller: recording._answer("overview", [key_view()], caller=caller),
            measured=lambda: recording._answer("measured", [key_view()]),
        ),
        rotations=_Simple(
            recording,
            {
                "start": (rotation_view(), True),
                "page": RotationPage(items=(rotation_view(),), next=None),
                "get": rotation_view(),
            },
        ),
        reveal=_Part(
            recording,
            submit_many=lambda asked: recording.each(recording.reveal, asked),
            content=_Simple(
                recording,
                {
                    "content": RevealedContent(
                        size=2, pieces=cast("Iterator[bytes]", _Pieces()), receipt=_RECEIPT
                    )
                },
            ).content,
        ),
    )
    return cast("Served", part)
