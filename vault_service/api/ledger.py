"""The ledger, for auditors: signed head, tiles, entries and proofs.

Checkpoint, tiles and bundles are C2SP tlog-tiles with `/v1/ledger` as the log's prefix. A tile of a
given width never changes, so whoever fetched it may keep it for ever; shared caches may not,
because what they hold they would give to anybody.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from typing import Annotated, Any, Final

from msgspec import Meta

from vault_service.api.calls import Answer, Call, Group
from vault_service.api.schemas import Accepted, Answered, Cursor, Time
from vault_service.domain.actors import Action
from vault_service.ledger.merkle import MAX_SIZE
from vault_service.services.log_reading import MAX_PAGE, Question
from vault_service.settings import ProcessRole
from vault_service.web.served import present

GROUP: Final = Group("ledger", ProcessRole.CONSOLE)
TEXT: Final = "text/plain; charset=utf-8"
BYTES: Final = "application/octet-stream"
FOR_EVER: Final = "private, max-age=31536000, immutable"

Name = Annotated[str, Meta(max_length=200)]
Size = Annotated[int, Meta(ge=0, le=MAX_SIZE)]
Hash = Annotated[str, Meta(description="32 bytes in base64.")]


class EntriesQuery(Accepted, frozen=True, rename={"since": "from", "until": "to"}):
    """Which entries."""

    event: Name | None = None
    actor: Annotated[str, Meta(max_length=64, description="`prn_…` or a part's name.")] | None = (
        None
    )
    token: Name | None = None
    customer: Name | None = None
    grant: Annotated[str, Meta(max_length=64, description="A disclosure, `dis_…`.")] | None = None
    principal: (
        Annotated[str, Meta(max_length=64, description="Whom it happened to, `prn_…`.")] | None
    ) = None
    key: Annotated[str, Meta(max_length=64, description="An API key or a Vault key.")] | None = None
    since: Time | None = None
    until: Time | None = None
    cursor: Cursor | None = None
    limit: Annotated[int, Meta(description="Entries on a page.", ge=1, le=MAX_PAGE)] = 100
    newest_first: bool = False


class SizesQuery(Accepted, frozen=True, rename={"old": "from", "new": "to"}):
    """Which two sizes of the log."""

    old: Size = 0
    new: Annotated[int, Meta(ge=0, le=MAX_SIZE, description="The newest, if left out.")] | None = (
        None
    )


class LoggedEntryOut(Answered, frozen=True):
    """An entry and its place."""

    index: int
    entry: dict[str, Any]


class EntriesOut(Answered, frozen=True):
    """Entries in the order of the log; `next` may stand though a page is short or empty."""

    entries: list[LoggedEntryOut]
    next: str | None


class InclusionOut(Answered, frozen=True):
    """The proof that an entry is in the log."""

    id: str
    index: int
    entry: Annotated[str, Meta(description="The bytes that were hashed.")] | None
    leaf: Hash
    checkpoint: Annotated[str, Meta(description="The signed head that the proof leads to.")]
    proof: list[Hash]


class ConsistencyOut(Answered, frozen=True, rename={"old": "from", "new": "to"}):
    """The proof that the log only grew."""

    old: int
    new: int
    from_root: Hash
    to_root: Hash
    proof: list[Hash]


class VerifierKeysOut(Answered, frozen=True):
    """The log's verifier keys, oldest first."""

    keys: list[str]


def _texts(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(one).decode() for one in hashes]


@GROUP.call(
    "GET",
    "/v1/ledger/checkpoint",
    "The log's signed head, a C2SP checkpoint.",
    action=Action.READ_LEDGER,
    answers={200: None},
    media=TEXT,
    codes=("ledger_checkpoint_not_found",),
)
def read_ledger_checkpoint(call: Call[None, None]) -> Answer:
    """Answer with the newest checkpoint."""
    return Answer(data=present(call.served.ledger).checkpoint(call.caller))


@GROUP.call(
    "GET",
    "/v1/ledger/keys",
    "The log's verifier keys; trust them only as you got them, elsewhere.",
    action=Action.READ_LEDGER,
    answers={200: VerifierKeysOut},
    codes=("ledger_checkpoint_not_found",),
)
def read_ledger_keys(call: Call[None, None]) -> Answer:
    """Answer with the verifier keys."""
    return Answer(body=VerifierKeysOut(keys=present(call.served.ledger).verifier_keys(call.caller)))


@GROUP.call(
    "GET",
    "/v1/ledger/tile/{tile}",
    "A tile, `<L>/<N>[.p/<W>]`, or an entry bundle, `entries/<N>[.p/<W>]`.",
    action=Action.READ_LEDGER,
    answers={200: None},
    media=BYTES,
    codes=("ledger_tile_not_found", "ledger_archived"),
)
def read_ledger_tile(call: Call[None, None]) -> Answer:
    """Answer with a tile or bundle."""
    blob = present(call.served.ledger).tile(call.caller, call.path["tile"])
    headers = {"Cache-Control": FOR_EVER}
    if not blob.packed:
        return Answer(data=blob.data, headers=headers)
    headers["Vary"] = "Accept-Encoding"
    if call.request.accept_encodings.quality("gzip") > 0:
        return Answer(data=blob.data, headers={**headers, "Content-Encoding": "gzip"})
    return Answer(data=gzip.decompress(blob.data), headers=headers)


@GROUP.call(
    "GET",
    "/v1/ledger/entries",
    "Entries by event, actor, token, customer and time.",
    action=Action.READ_LEDGER,
    query=EntriesQuery,
    answers={200: EntriesOut},
    codes=("cursor_invalid",),
)
def search_ledger(call: Call[None, EntriesQuery]) -> Answer:
    """Answer with a page of entries."""
    query = call.query
    names = {
        name: value
        for name in ("event", "actor", "token", "customer", "grant", "principal", "key")
        if (value := getattr(query, name)) is not None
    }
    page = present(call.served.ledger).search(
        call.caller,
        Question(
            names=names,
            since=query.since,
            until=query.until,
            cursor=query.cursor,
            limit=query.limit,
            newest_first=query.newest_first,
        ),
    )
    return Answer(
        body=EntriesOut(
            entries=[
                LoggedEntryOut(index=one.index, entry=dict(one.members)) for one in page.entries
            ],
            next=page.next,
        )
    )


@GROUP.call(
    "GET",
    "/v1/ledger/entries/{entry}/proof",
    "The proof that an entry is in the log, such as the one that a receipt names.",
    action=Action.READ_LEDGER,
    answers={200: InclusionOut},
    codes=("ledger_entry_not_found", "ledger_entry_pending"),
)
def prove_ledger_entry(call: Call[None, None]) -> Answer:
    """Answer with an inclusion proof."""
    found = present(call.served.ledger).inclusion(call.caller, call.path["entry"])
    return Answer(
        body=InclusionOut(
            id=found.id,
            index=found.index,
            entry=None if found.entry is None else found.entry.decode(errors="replace"),
            leaf=_texts([found.leaf])[0],
            checkpoint=found.checkpoint,
            proof=_texts(found.proof),
        )
    )


@GROUP.call(
    "GET",
    "/v1/ledger/consistency",
    "The proof that the log only grew between two sizes.",
    action=Action.READ_LEDGER,
    query=SizesQuery,
    answers={200: ConsistencyOut},
    codes=("ledger_size_unknown",),
)
def prove_ledger_growth(call: Call[None, SizesQuery]) -> Answer:
    """Answer with a consistency proof."""
    found = present(call.served.ledger).consistency(
        call.caller, old=call.query.old, new=call.query.new
    )
    return Answer(
        body=ConsistencyOut(
            old=found.old,
            new=found.new,
            from_root=_texts([found.old_root])[0],
            to_root=_texts([found.new_root])[0],
            proof=_texts(found.proof),
        )
    )
