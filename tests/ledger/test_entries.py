"""Entries of the ledger: one form, closed against prose, small enough, and never ambiguous."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.ledger import canonical
from vault_service.ledger.entries import (
    MAX_ENTRY,
    SHAPES,
    Actor,
    ActorKind,
    Entry,
    EntryError,
    Event,
    Origin,
    Outcome,
    Part,
    commit,
    decode,
    encode,
    new_salt,
    place,
    split,
)

AT = datetime(2026, 11, 23, 8, 0, 0, 123456, tzinfo=UTC)
FIRST_ID = "01a206cd-19a8-73bc-a256-99319419d50e"
FULL: dict[str, Any] = {
    "request": "req_" + "1" * 26,
    "tokens": ("tok_" + "0" * 28,),
    "customer": "cus_" + "2" * 26,
    "principal": "prn_" + "3" * 26,
    "key": "records-card",
    "grant": "dis_" + "4" * 28,
    "ground": "protect_from_harm",
    "clause": "D1",
    "policy": "a" * 64,
    "reason": "disclosure_spent",
    "count": 1,
}


def _ids() -> Iterator[str]:
    return (f"01a206cd-0000-7000-8000-{number:012x}" for number in count())


def _entry(event: Event = Event.TOKENS_CREATED, **changes: Any) -> Entry:
    base = Entry(
        id=FIRST_ID,
        at=AT,
        event=event,
        outcome=SHAPES[event].outcome or Outcome.SUCCESS,
        actor=Actor(kind=ActorKind.PRINCIPAL, id="prn_" + "0" * 26, key="key_" + "5" * 16),
        origin=Origin(role="ingest", address="192.0.2.7"),
        **{name: FULL[name] for name in SHAPES[event].needs},
    )
    return replace(base, **changes)


def _tokens(number: int) -> list[str]:
    return [f"tok_{index:028d}" for index in range(number)]


def test_the_bytes_of_version_1_are_frozen() -> None:
    """An entry of version 1 has exactly these bytes, for ever."""
    entry = _entry(
        Event.REVEAL_ALLOWED,
        request=FULL["request"],
        details={"jti": "0" * 28, "uses_left": 0},
        commitments={"evidence": "b" * 64},
    )
    assert encode(entry) == (
        b'{"actor":{"id":"prn_00000000000000000000000000","key":"key_5555555555555555",'
        b'"kind":"principal"},"at":"2026-11-23T08:00:00.123456Z","clause":"D1","commitments":'
        b'{"evidence":"' + b"b" * 64 + b'"},"count":1,"details":{"jti":"' + b"0" * 28 + b'",'
        b'"uses_left":0},"event":"reveal.allowed","grant":"dis_' + b"4" * 28 + b'","ground":'
        b'"protect_from_harm","id":"01a206cd-19a8-73bc-a256-99319419d50e","origin":{"address":'
        b'"192.0.2.7","role":"ingest"},"outcome":"success","policy":"' + b"a" * 64 + b'",'
        b'"request":"req_11111111111111111111111111","tokens":["tok_' + b"0" * 28 + b'"],"v":1}'
    )


@pytest.mark.parametrize("event", Event)
def test_a6_every_event_tells_who_what_when_outcome_origin_and_which_data(event: Event) -> None:
    """Each event's entry has the particulars of PCI DSS 10.2.2, and survives being written."""
    members = canonical.parse(encode(_entry(event)))
    assert members["actor"]["id"].startswith("prn_")
    assert members["event"] == event.value
    assert members["at"] == "2026-11-23T08:00:00.123456Z"
    assert members["outcome"] in {"success", "refused", "failed"}
    assert members["origin"] == {"role": "ingest", "address": "192.0.2.7"}
    for name in SHAPES[event].needs:
        assert name in members
    assert decode(encode(_entry(event))) == _entry(event)


# Events of the service itself, whose data are the whole service, or nobody's in particular.
WITHOUT_DATA = {
    Event.LOG_STARTED,
    Event.LOG_STOPPED,
    Event.ACCESS_DENIED,
    Event.AUTHENTICATION_FAILED,
    Event.REVEAL_REFUSED,
    # Recipients are told by `recipient_id` among the details.
    Event.RECIPIENT_CREATED,
    Event.RECIPIENT_READ,
    # Documents likewise, by `document`.
    Event.EVIDENCE_UPLOADED,
    Event.EVIDENCE_PURGED,
    Event.ACCESS_REVIEW_OPENED,
    Event.ACCESS_REVIEW_COMPLETED,
    Event.ALARM_RAISED,
    Event.ALARM_CLEARED,
}


@pytest.mark.parametrize("event", sorted(set(Event) - WITHOUT_DATA))
def test_a6_an_entry_about_data_cannot_be_silent_on_which(event: Event) -> None:
    """Each event about data, a key or a person needs a member that names which."""
    names = {"tokens", "count", "customer", "principal", "key", "grant", "policy"}
    assert SHAPES[event].needs & names


@pytest.mark.parametrize(
    ("event", "missing"), [(event, name) for event in Event for name in SHAPES[event].needs]
)
def test_an_entry_without_a_needed_member_is_refused(event: Event, missing: str) -> None:
    """What an event must tell cannot be left out."""
    without: dict[str, Any] = {missing: () if missing == "tokens" else None}
    with pytest.raises(EntryError, match=f"needs the member {missing}"):
        encode(_entry(event, **without))


@pytest.mark.parametrize("event", [event for event in Event if SHAPES[event].outcome])
def test_an_event_with_one_outcome_has_no_other(event: Event) -> None:
    """A refusal cannot be written as a success, nor a reveal as a failure."""
    with pytest.raises(EntryError, match="has the outcome"):
        encode(_entry(event, outcome=Outcome.FAILED))


FORBIDDEN = ["Anna Meier", "anna@example.org", "4242 4242 4242 4242", "+41 44 668 18 00", "", "\n"]


@pytest.mark.parametrize("text", FORBIDDEN)
@pytest.mark.parametrize("name", [name for name in FULL if name not in {"tokens", "count"}])
def test_e6_no_text_member_has_room_for_personal_data(name: str, text: str) -> None:
    """No name, address or number of a person fits into a member, and none is repeated."""
    changed: dict[str, Any] = {name: text}
    with pytest.raises(EntryError, match=name) as caught:
        encode(_entry(**changed))
    assert not text.strip() or text not in str(caught.value)


@pytest.mark.parametrize("text", [*FORBIDDEN, "4242424242424242", "4242-4242-4242-4242", "é"])
def test_e6_details_have_no_room_for_personal_data(text: str) -> None:
    """A detail is one word of plain letters and digits, and no number as long as a card's."""
    with pytest.raises(EntryError, match="the detail class"):
        encode(_entry(details={"class": text}))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "not-a-uuid"},
        {"id": str(uuid.UUID(int=0))},
        {"id": FIRST_ID.upper()},
        {"tokens": ("4242424242424242",)},
        {"tokens": ("tok_short",)},
        {"tokens": ("tok_" + "0" * 28, "Anna Meier")},
        {"commitments": {"evidence": "a" * 64, "Anna Meier": "a" * 64}},
        {"commitments": {"evidence": "a" * 64, "name": "Anna Meier"}},
        {"tokens": ("tok_" + "l" * 28,)},
        {"count": -1},
        {"count": True},
        {"count": 2**53},
        {"commitments": {"evidence": "text"}},
        {"commitments": {"Evidence ": "a" * 64}},
        {"details": {"unheard_of": 1}},
        {"details": {"class": True}},
        {"details": {"created": -1}},
        {"details": {"class": "x" * 201}},
        {"actor": Actor(kind=ActorKind.PRINCIPAL, id="worker")},
        {"actor": Actor(kind=ActorKind.SYSTEM, id="prn_" + "0" * 26)},
        {"actor": Actor(kind=ActorKind.SYSTEM, id="worker", key="key_" + "0" * 16)},
        {"actor": Actor(kind=ActorKind.UNKNOWN, id="mallory")},
        {"actor": Actor(kind=ActorKind.UNKNOWN, id="unknown", key="vk_secret")},
        {"origin": Origin(role="Some Where")},
        {"part": Part(number=0, of=2, batch=FIRST_ID)},
        {"part": Part(number=3, of=2, batch=FIRST_ID)},
        {"part": Part(number=1, of=1, batch=FIRST_ID)},
        {"part": Part(number=1, of=1001, batch=FIRST_ID)},
        {"part": Part(number=2, of=2, batch=FIRST_ID)},
        {"part": Part(number=1, of=2, batch="01a206cd-0000-7000-8000-000000000000")},
        {"at": datetime(2026, 11, 23, 8)},  # noqa: DTZ001 -- a time without a zone is the point
    ],
)
def test_a_member_that_is_not_of_its_form_is_refused(changes: dict[str, Any]) -> None:
    """Whatever does not have its member's form cannot be written."""
    with pytest.raises(EntryError):
        encode(_entry(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"actor": Actor(kind=ActorKind.SYSTEM, id="worker")},
        {"actor": Actor(kind=ActorKind.UNKNOWN, id="unknown")},
        {"actor": Actor(kind=ActorKind.UNKNOWN, id="unknown", key="key_" + "0" * 16)},
        {"origin": Origin(role="cli")},
        {"origin": Origin(role="all", address="2001:db8::1")},
        {"key": "key_" + "0" * 16},
        {"count": 0},
        {"count": 2**53 - 1},
        {"tokens": ("9100012345674242", "tok_" + "z" * 28)},
        {"details": {"class": "payment_card", "created": 3}},
        {"part": Part(number=1, of=2, batch=FIRST_ID)},
        {"part": Part(number=2, of=2, batch="01a206cd-0000-7000-8000-000000000000")},
        {"outcome": Outcome.FAILED},
    ],
)
def test_what_has_its_form_is_written_and_read(changes: dict[str, Any]) -> None:
    """Whatever has its member's form survives writing and reading."""
    assert decode(encode(_entry(**changes))) == _entry(**changes)


def test_a_detail_that_lists_holds_plain_words() -> None:
    """Roles stand in one detail, parted by single spaces."""
    entry = _entry(Event.PRINCIPAL_CREATED, details={"roles": "billing support"})
    assert decode(encode(entry)) == entry
    longest = replace(entry, details={"roles": "a " * 99 + "aa"})
    assert decode(encode(longest)) == longest
    for bad in ("billing  support", "Billing", " billing", "a " * 100 + "a"):
        with pytest.raises(EntryError):
            encode(replace(entry, details={"roles": bad}))


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("local", "local"),
        ("unknown", "unknown"),
        ("Anna's laptop", "unknown"),
        ("", "unknown"),
    ],
)
def test_an_address_is_a_network_address_or_nothing(address: str, written: str) -> None:
    """One spelling for each address; a text that is none says `unknown` and stops no entry."""
    entry = _entry(origin=Origin(role="all", address=address))
    assert place(address) == written
    assert decode(encode(entry)).origin.address == written


def test_times_are_written_in_utc() -> None:
    """A time with another offset is the same instant in UTC."""
    zone = timezone(timedelta(hours=5, minutes=45))
    assert encode(_entry(at=AT.astimezone(zone))) == encode(_entry())


def _changed(**changes: Any) -> bytes:
    members = canonical.parse(encode(_entry(**FULL)))
    members.update(changes)
    return canonical.serialise({n: v for n, v in members.items() if v != "absent"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"1",
        b"\xff",
        _changed(v=2),
        _changed(v=True),
        _changed(v="1"),
        _changed(v="absent"),
        _changed(id="absent"),
        _changed(id=7),
        _changed(at="2026-11-23T08:00:00Z"),
        _changed(at="2026-02-30T08:00:00.000000Z"),
        _changed(at="2026-11-23T24:00:00.000000Z"),
        _changed(event="tokens.stolen"),
        _changed(event=["tokens.created"]),
        _changed(outcome="maybe"),
        _changed(outcome=None),
        _changed(extra=1),
        _changed(request=None),
        _changed(tokens=[]),
        _changed(tokens="tok_" + "0" * 28),
        _changed(tokens=[1]),
        _changed(actor="prn_" + "0" * 26),
        _changed(actor={"kind": "principal"}),
        _changed(actor={"kind": "principal", "id": "prn_" + "0" * 26, "name": "x"}),
        _changed(actor={"kind": "robot", "id": "unknown"}),
        _changed(origin={"role": "all"}),
        _changed(origin={"role": "all", "address": 1}),
        _changed(origin={"role": "all", "address": "1.2.3.4.5"}),
        _changed(origin={"role": "all", "address": "Unknown"}),
        _changed(origin={"role": "all", "address": "FE80::1"}),
        _changed(origin={"role": "all", "address": "fe80::1%anna"}),
        _changed(origin=[]),
        _changed(part={"number": 1, "of": 2}),
        _changed(part=[1, 2]),
        _changed(commitments={}),
        _changed(commitments=[]),
        _changed(details={}),
        _changed(details=[]),
        _changed(details={"created": None}),
    ],
)
def test_e6_reading_refuses_everything_else(data: bytes) -> None:
    """Bytes that are not an entry of version 1 are refused with one error."""
    with pytest.raises(EntryError):
        decode(data)


@given(st.data())
def test_a_changed_byte_is_refused_or_another_entry(data: st.DataObject) -> None:
    """Reading is total, and no two byte strings are the same entry."""
    original = encode(_entry(**FULL))
    place_ = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[place_] ^= data.draw(st.integers(1, 255))
    try:
        entry = decode(bytes(changed))
    except EntryError:
        return
    assert encode(entry) == bytes(changed) != original


def test_an_entry_is_at_most_4_kib() -> None:
    """What is longer is refused in writing and in reading."""
    fits = _entry(tokens=tuple(_tokens(108)), count=108)
    assert MAX_ENTRY - 35 < len(encode(fits)) <= MAX_ENTRY
    with pytest.raises(EntryError, match="longer"):
        encode(_entry(tokens=tuple(_tokens(109)), count=109))
    with pytest.raises(EntryError, match="longer"):
        decode(b" " * (MAX_ENTRY + 1))


def _of_length(length: int, tokens: int) -> Entry:
    """An entry with some tokens whose bytes have exactly this length."""
    entry = _entry(tokens=tuple(_tokens(tokens)), count=tokens, details={"format": "x"})
    short = length - len(_long(entry))
    return replace(entry, details={"format": "x" * (1 + short)})


def _long(entry: Entry) -> bytes:
    """The bytes of an entry, however long."""
    halves = [replace(entry, tokens=half) for half in (entry.tokens[:50], entry.tokens[50:])]
    first, second = (canonical.parse(encode(half)) for half in halves)
    return canonical.serialise({**first, "tokens": first["tokens"] + second["tokens"]})


def test_the_limit_is_4096_bytes_to_the_byte() -> None:
    """An entry of 4,096 bytes is written, read and left whole; one byte more is not."""
    exact, over = _of_length(4096, 105), _of_length(4097, 105)
    assert len(encode(exact)) == MAX_ENTRY == 4096
    assert decode(encode(exact)) == exact
    ids = _ids()
    assert split(replace(exact, tokens=()), exact.tokens, ids.__next__) == [exact]
    with pytest.raises(EntryError, match="longer"):
        encode(over)
    with pytest.raises(EntryError, match="longer"):
        decode(_long(over))
    assert len(split(replace(over, tokens=()), over.tokens, ids.__next__)) == 2


def test_parts_are_filled_to_the_byte() -> None:
    """A part takes a token as long as it fits to the byte."""
    fullest = set()
    for length in range(1, 40):
        ids = _ids()
        entry = _entry(count=None, details={"format": "x" * length})
        parts = split(entry, _tokens(300), ids.__next__)
        fullest.add(max(len(encode(part)) for part in parts))
    # Three digits more are kept for each of the two numbers of a part.
    assert max(fullest) == MAX_ENTRY - 6


@pytest.mark.parametrize("number", [0, 1, 2, 108, 109, 110, 500, 1000])
def test_a_batch_is_split_into_entries_that_fit(number: int) -> None:
    """Each token stands in exactly one part, each part fits, and all name the first as batch."""
    tokens = _tokens(number)
    ids = _ids()
    parts = split(_entry(count=None), tokens, ids.__next__)
    assert [token for part in parts for token in part.tokens] == tokens
    assert all(decode(encode(part)) == part for part in parts)
    assert {part.count for part in parts} == {number}
    assert parts[0].id == FIRST_ID
    assert len({part.id for part in parts}) == len(parts)
    if len(parts) == 1:
        assert parts[0].part is None
    else:
        assert [part.part for part in parts] == [
            Part(number=index, of=len(parts), batch=FIRST_ID) for index in range(1, len(parts) + 1)
        ]
    # As few as can be: only the last may have room left.
    assert all(len(encode(part)) > MAX_ENTRY - 40 for part in parts[:-1])


def test_a_count_that_is_told_stays() -> None:
    """The number of values asked about can differ from the number of tokens found."""
    parts = split(_entry(Event.TOKENS_SEARCHED, count=7), _tokens(200), _ids().__next__)
    assert {part.count for part in parts} == {7}


@given(st.lists(st.sampled_from([*_tokens(40), "9100012345674242"]), min_size=100, max_size=300))
def test_tokens_of_both_formats_are_split(tokens: list[str]) -> None:
    """Tokens of different lengths fill the parts and none is lost."""
    ids = _ids()
    parts = split(_entry(count=None), tokens, ids.__next__)
    assert [token for part in parts for token in part.tokens] == tokens
    assert all(len(encode(part)) <= MAX_ENTRY for part in parts)


def test_an_entry_without_room_or_with_too_much_is_refused() -> None:
    """An entry that is full without tokens cannot be split, nor one with far too many tokens."""
    filler = {f"c{number:030d}": "a" * 64 for number in range(36)}
    full = _entry(count=None, commitments={**filler, "c" * 32: "a" * 64})
    assert len(encode(replace(full, count=0))) < MAX_ENTRY
    with pytest.raises(EntryError, match="no room"):
        split(full, _tokens(2), _ids().__next__)
    with pytest.raises(EntryError, match="too many"):
        split(_entry(count=None, commitments=filler), _tokens(3000), _ids().__next__)


def test_e6_an_erased_salt_unlinks_its_commitment() -> None:
    """With the salt a commitment is checked; without it a dictionary finds nothing."""
    salt = new_salt()
    kept = commit(b"4242424242424242", salt)
    assert commit(b"4242424242424242", salt) == kept
    assert commit(b"4242424242424243", salt) != kept
    guesses = {commit(b"4242424242424242", new_salt()) for _ in range(1000)}
    assert len(guesses) == 1000
    assert len(salt) == 32
    assert kept not in guesses
    with pytest.raises(ValueError, match="32 bytes"):
        commit(b"value", b"short")


def test_errors_have_one_stable_code() -> None:
    """A refused entry has a code that callers can rely on."""
    assert EntryError.code == "ledger_entry_invalid"
    assert canonical.CanonicalError.code == "not_canonical"


def test_the_ledger_uses_the_standard_library_only() -> None:
    """An auditor can read all of it: no import from outside the standard library and itself."""
    import ast
    import sys
    from pathlib import Path

    import vault_service.ledger

    folder = Path(vault_service.ledger.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            else:
                continue
            for module in modules:
                own = module.startswith("vault_service.ledger")
                assert own or module.split(".")[0] in sys.stdlib_module_names, (path, module)
