"""Reveal: plaintext to the holder of a disclosure token, once.

Three things must agree, and no two of them are enough: the caller's own credential, the token's
signature, and the grant's row. The steps of a batch, whoever its callers are:

1. verify each token by the database's clock, and that its holder is the caller.
2. read the grants and the sealed records; check that the request stays within both scopes.
3. have Vault unwrap the data keys.
4. one unit of work: spend the caller's budget, consume a use of each token and grant, append the
   ledger entries; commit.
5. only now open the values. Contents of communications are opened while they are sent, one
   communication for each use (`services.contents`).

What fails before the commit reveals nothing and spends nothing. If the commit's outcome is
unknown, the answer is a refusal, and the use counts as spent.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, cast

import structlog

from keys.envelope import Context, open_
from keys.errors import CiphertextRejected, KeysError
from keys.secret import Secret
from vault_service.domain import tokens as names
from vault_service.domain.actors import Action
from vault_service.domain.classes import RULES, DataClass, rule
from vault_service.domain.disclosures import State
from vault_service.domain.values import select_fields
from vault_service.errors import (
    DisclosureRefused,
    InvalidInput,
    NotFound,
    ServiceError,
    Unavailable,
    outcome,
)
from vault_service.ledger.entries import Event, Outcome
from vault_service.services import bindings
from vault_service.services.accounting_ports import NewReveal
from vault_service.services.alarms import Alarms
from vault_service.services.audit import Audit, Denials, new_entry_id
from vault_service.services.budgets import Budgets, Charge
from vault_service.services.contents import Contents
from vault_service.services.context import Caller
from vault_service.services.crypto_ports import Unwrapping
from vault_service.services.disclosure_ports import DisclosureRow, UseClaim
from vault_service.services.disclosure_token import DisclosureClaims, TokenVerifier, check_times
from vault_service.services.disclosures.entries import told_bound
from vault_service.services.disclosures.rows import state_now, told_grant
from vault_service.services.dpop import Proof, ShownProof, missing
from vault_service.services.gather import apart
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.lanes import Lanes
from vault_service.services.log_guard import LogGuard
from vault_service.services.outbox_ports import OutboxEntry
from vault_service.services.packages import packed, sealing_keys
from vault_service.services.ports import Transaction, UnitOfWork
from vault_service.services.possession import Possession, spend
from vault_service.services.recipient_keys import RecipientKey
from vault_service.services.record_ports import SealedRecord
from vault_service.services.token_claims import PACKAGE
from vault_service.services.unusual import Unusual
from vault_service.services.views import Receipt, RevealAnswer, Revealed, RevealedContent

MAX_TOKENS: Final = 1000
# Calls that share statements and a request to Vault.
CALLS: Final = 64
# From so many records on Vault takes long enough to do something else meanwhile.
MANY: Final = 32
ACTOR: Final = "reveal"
_CLASSES: Final[Mapping[str, DataClass]] = {each.value: each for each in RULES}

_log = structlog.get_logger(__name__)


class ValueUnreadable(ServiceError):
    """A stored value does not open: it was changed, moved, or its key was destroyed."""

    code = "value_unreadable"


class KeySubstituted(ServiceError):
    """A value opens, but with a key that no ledger entry tells of: somebody put it there."""

    code = bindings.SUBSTITUTED


@dataclass(frozen=True, slots=True, kw_only=True)
class RevealRequest:
    """One call.

    Attributes:
        caller: who asks; must be the token's holder.
        token: the disclosure token, a JWS.
        tokens: which records, 1 to 1,000, none twice.
        fields: only these fields; all that the grant covers, if None.
        proof: the proof of possession shown, if one was.
        streamed: whether contents are to be streamed.
    """

    caller: Caller
    token: str | None = field(repr=False)
    tokens: tuple[str, ...]
    fields: tuple[str, ...] | None = None
    proof: ShownProof | None = None
    streamed: bool = False


@dataclass(slots=True, eq=False)
class _Work:
    """A call under way. `refusal` ends it; `granted` is the grant as the use left it."""

    asked: RevealRequest
    entry: str
    proof: Proof | None = None
    claims: DisclosureClaims | None = None
    grant: DisclosureRow | None = None
    records: dict[str, SealedRecord] = field(default_factory=dict, repr=False)
    substituted: set[str] = field(default_factory=set)
    keys: dict[str, Secret] = field(default_factory=dict, repr=False)
    said: dict[str, tuple[SealedRecord, bindings.Claim]] = field(default_factory=dict, repr=False)
    granted: DisclosureRow | None = None
    seals_for: RecipientKey | None = None
    refusal: ServiceError | KeysError | None = None
    _told: dict[DataClass, tuple[str, ...]] = field(default_factory=dict)

    def told(self, data_class: DataClass) -> tuple[str, ...]:
        """Which of a class's fields are told: those that the grant covers and the caller wants."""
        found = self._told.get(data_class)
        if found is None:
            granted = None if self.grant is None else self.grant.fields
            wanted = self.asked.fields
            found = self._told[data_class] = tuple(
                name
                for name in rule(data_class).fields
                if (granted is None or name in granted) and (wanted is None or name in wanted)
            )
        return found

    def claim(self, token: str) -> bindings.Claim:
        """What a record says of itself; worked out once for each record that was read."""
        record = self.records[token]
        read, found = self.said.get(token, (None, None))
        if found is None or read is not record:
            found = bindings.claim_sealed(record)
            self.said[token] = record, found
        return found


class Reveal:
    """The use case. Thread-safe."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        unwrapping: Unwrapping,
        verifier: TokenVerifier,
        proofs: Possession,
        issuer: str,
        audience: str,
        audit: Audit,
        guard: LogGuard,
        alarms: Alarms,
        budgets: Budgets,
        honeytokens: Honeytokens,
        refused: Unusual,
    ) -> None:
        self._uow = uow
        self._unwrapping = unwrapping
        self._verifier = verifier
        self._proofs = proofs
        self._issuer = issuer
        self._audience = audience
        self._audit = audit
        self._guard = guard
        self._alarms = alarms
        self._budgets = budgets
        self._honeytokens = honeytokens
        self._refused = refused
        self._lanes = Lanes()
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="reveal")

    def submit(
        self,
        caller: Caller,
        *,
        disclosure_token: str | None,
        tokens: Sequence[str],
        fields: Sequence[str] | None,
        proof: ShownProof | None = None,
    ) -> RevealAnswer:
        """Reveal values; one result for each token, in order, and the receipt.

        The arguments are those of `RevealRequest`.

        Raises:
            Forbidden: the caller has no role for it.
            DisclosureRefused: the token or its grant does not cover this; the code says why.
            ProofRefused: the token and the proof are not for each other, or the proof is wrong.
            InvalidInput: the list of tokens is wrong.
            NotFound: none of the records is there any more; the use is not spent.
            VaultUnavailable: no key could be unwrapped; the use is not spent.
            Unavailable: the database is; with code `commit_unknown` the use counts as spent, with
                code `ledger_behind` nothing is disclosed until the ledger is written again.
        """
        return self._alone(
            RevealRequest(
                caller=caller,
                token=disclosure_token,
                tokens=tuple(tokens),
                fields=None if fields is None else tuple(fields),
                proof=proof,
            )
        )

    def _alone(self, asked: RevealRequest) -> RevealAnswer:
        (answer,) = self.submit_many([asked])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def submit_many(self, asked: Sequence[RevealRequest]) -> list[RevealAnswer | Exception]:
        """As `submit`, for several calls together: an answer or a refusal for each."""
        answers = apart(asked, self._checked, self._in_a_lane, self._audit)
        for each, answer in zip(asked, answers, strict=True):
            if isinstance(answer, DisclosureRefused) and not _asks_for_nonce(answer):
                self._refused.note(each.caller)
        return answers

    def content(
        self,
        caller: Caller,
        *,
        disclosure_token: str | None,
        token: str,
        proof: ShownProof | None = None,
    ) -> RevealedContent:
        """Reveal what is sealed in chunks, as a stream; one record for each use.

        The use is spent and the entry committed before the first byte. Whoever goes away early, or
        is cut off by a failure, has had his use.

        Args:
            caller: who asks; must be the token's holder.
            disclosure_token: the JWS from the header.
            token: which record.
            proof: the proof of possession shown, if one was.

        Raises:
            As `submit`; and DisclosureRefused, where the grant has values delivered as a package,
                which nobody could make without holding all of it.
            ValueUnreadable, KeySubstituted: it does not open; the use is spent. The stream raises
                them too, and then the receiver has less than was announced.
        """
        answer = self._alone(
            RevealRequest(
                caller=caller, token=disclosure_token, tokens=(token,), proof=proof, streamed=True
            )
        )
        (result,) = answer.results
        if isinstance(result, ServiceError):
            raise result
        contents = cast("Contents", result.value)
        size = contents.size()
        pieces = self._told_of(caller, token, contents.pieces(size))
        # Now, while a failure can still be told in place of an answer.
        first = next(pieces)
        return RevealedContent(
            size=size, pieces=_from(first, pieces), receipt=answer.receipt, nonce=answer.nonce
        )

    def _told_of(self, caller: Caller, token: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces; an alarm where they do not open."""
        try:
            yield from pieces
        except CiphertextRejected:
            self._alarms.raise_now(ValueUnreadable.code, caller, tokens=[token])
            raise _unreadable() from None

    def _checked(self, asked: RevealRequest, denials: Denials) -> RevealRequest:
        """The call, if it can be looked into."""
        caller, tokens = asked.caller, asked.tokens
        denials.require(caller, Action.REVEAL)
        self._guard.require()
        if not 1 <= len(tokens) <= MAX_TOKENS:
            raise InvalidInput(
                f"1 to {MAX_TOKENS} tokens at once", code="batch_size", pointer="/tokens"
            )
        if len(set(tokens)) != len(tokens):
            raise InvalidInput("a token stands twice", code="tokens_repeat", pointer="/tokens")
        if self._honeytokens.look(caller, tokens):
            denials.refused(Event.REVEAL_REFUSED, caller, reason="token_not_found")
            raise NotFound("none of these tokens is there", code="token_not_found")
        if not asked.token:
            denials.refused(Event.REVEAL_REFUSED, caller, reason="disclosure_token_missing")
            raise DisclosureRefused(
                "a disclosure token is needed in the header Disclosure-Token",
                code="disclosure_token_missing",
            )
        return asked

    def _in_a_lane(self, asked: Sequence[RevealRequest]) -> list[RevealAnswer | Exception]:
        if len(asked) > 1:
            return self._run(asked)
        with self._lanes.one(len(asked[0].tokens), deadline=asked[0].caller.deadline):
            return self._run(asked)

    def _run(self, asked: Sequence[RevealRequest]) -> list[RevealAnswer | Exception]:
        works = [_Work(each, new_entry_id()) for each in asked]
        self._verify(works)
        self._unwrap([work for work in works if work.refusal is None])
        now = self._consume(works)
        return [work.refusal or self._answer(work, now) for work in works]

    # ------------------------------------------------------------ steps 1 and 2

    def _verify(self, works: Sequence[_Work]) -> None:
        shown = any(work.asked.proof is not None for work in works)
        nonces = self._proofs.nonces() if shown else []
        with self._uow.begin(read_only=True) as tx:
            for work in works:
                try:
                    if work.asked.proof is not None:
                        work.proof = self._proofs.check(
                            work.asked.proof,
                            now=tx.clock.now(),
                            nonces=nonces,
                            token=work.asked.token,
                        )
                    work.claims = self._verifier.verify(
                        work.asked.token or "",
                        holder=work.asked.caller.principal.id,
                        audience=self._audience,
                        issuer=self._issuer,
                        proven_key=work.proof.thumbprint if work.proof else None,
                    )
                except (DisclosureRefused, KeysError) as refusal:
                    # Where it names a key that nobody can look up now, the others' are known.
                    work.refusal = outcome(refusal)
            live = [(work, work.claims) for work in works if work.claims is not None]
            if not live:
                return
            granted = tx.disclosures.ask_grants(
                list({(names.bucket_from_jti(claims.jti), claims.grant) for _, claims in live})
            )
            wanted = {name for work, _ in live for name in _names(work.asked)}
            records = tx.records.sealed(list(wanted)) if wanted else {}
            grants = granted()
            now = tx.clock.now()
            sealing = sealing_keys(tx, grants.values())
        for work, claims in live:
            try:
                check_times(claims, now)
                work.grant = _grant(grants.get(claims.grant), claims, work.asked.caller)
                _within(work.grant, work.asked, records)
                _in_its_manner(work.grant, work.asked, records)
                if work.grant.delivery == PACKAGE:
                    work.seals_for = sealing(work.grant)
            except ServiceError as refusal:
                work.refusal = outcome(refusal)
                continue
            work.records = {
                token: records[token] for token in work.asked.tokens if token in records
            }
            if not work.records:
                work.refusal = NotFound("none of these tokens is there", code="token_not_found")
            elif _values(work) > MAX_TOKENS:
                work.refusal = InvalidInput(
                    f"these hold more than {MAX_TOKENS} values",
                    code="batch_size",
                    pointer="/tokens",
                )

    # ------------------------------------------------------------ step 3

    def _unwrap(self, works: Sequence[_Work]) -> None:
        # What is out of joint is not asked for: Vault would refuse this role another KEK, and with
        # it all that share the request.
        places = [
            (work, token)
            for work in works
            for token, record in work.records.items()
            if _class_of(record) is not None
        ]
        if not places:
            return
        # Meanwhile, because Vault takes its time over many, what `_compare` will ask of them.
        claims = self._aside.submit(_work_out, places) if len(places) > MANY else None
        refused = self._ask_vault(places)
        if claims is not None:
            claims.result()
        if refused:
            self._ask_vault(self._rewrapped(refused))

    def _ask_vault(self, places: Sequence[tuple[_Work, str]]) -> list[tuple[_Work, str]]:
        """Have the keys of these records unwrapped; those that Vault refused."""
        keys = self._unwrapping.unwrap([work.records[token].wrapped_key for work, token in places])
        refused = []
        for (work, token), key in zip(places, keys, strict=True):
            if isinstance(key, Secret):
                work.keys[token] = key
            else:
                refused.append((work, token))
        return refused

    def _rewrapped(self, refused: Sequence[tuple[_Work, str]]) -> list[tuple[_Work, str]]:
        """Read the records again; those whose key a rotation rewrapped since.

        It may have retired the version that was read, so a refusal says nothing of the value.
        """
        with self._uow.begin(read_only=True) as tx:
            fresh = tx.records.sealed(
                list({(work.records[token].bucket, token) for work, token in refused})
            )
        changed = []
        for work, token in refused:
            record = fresh.get(token)
            if record is not None and record.wrapped_key != work.records[token].wrapped_key:
                work.records[token] = record
                changed.append((work, token))
        return changed

    # ------------------------------------------------------------ step 4

    def _consume(self, works: Sequence[_Work]) -> datetime:
        """Spend the uses and write the entries. Returns the database's time."""
        with self._uow.begin() as tx:
            there = tx.records.ask_live(_places(works))
            unbound = _unbound(tx, works)
            _drop_gone(works, there())
            now = tx.clock.now()
            self._tell_of(tx, unbound)
            _spend_proofs(tx, works)
            waiting = [work for work in works if work.refusal is None]
            charged = self._charge(tx, waiting)
            # Of two callers who show one token in the same batch the first may use it.
            first = {work.claims.jti: work for work in reversed(list(charged)) if work.claims}
            used = tx.disclosures.use([_use(work) for work in first.values()])
            for work in charged:
                jti = work.claims.jti if work.claims else ""
                work.granted = used.get(jti) if first.get(jti) is work else None
                if work.granted is None:
                    work.refusal = DisclosureRefused(
                        "this disclosure token or its grant has been used up or ended",
                        code="disclosure_spent",
                    )
            self._budgets.refund(
                tx, [charge for work, charge in charged.items() if work.granted is None]
            )
            tx.accounts.insert([row for work in works for row in _accounts(work)])
            tx.outbox.append([row for work in works for row in self._entries(work, now)])
        return now

    def _charge(self, tx: Transaction, works: Sequence[_Work]) -> dict[_Work, Charge]:
        """Spend the callers' budgets, before anything of their grants; those whose did suffice."""
        charges = {
            work: Charge(
                caller=work.asked.caller,
                ground=work.grant.ground,
                category=work.grant.category,
                count=_values(work),
            )
            for work in works
            if work.grant is not None
        }
        for work, refusal in zip(
            charges, self._budgets.charge(tx, list(charges.values())), strict=True
        ):
            work.refusal = refusal
        return {work: charge for work, charge in charges.items() if work.refusal is None}

    def _tell_of(self, tx: Transaction, unbound: Sequence[tuple[_Work, str]]) -> None:
        """Keep what was substituted from being opened, and raise the alarm."""
        found = [(work, token) for work, token in unbound if token in work.records]
        for work, token in found:
            work.substituted.add(token)
        for token in sorted({token for _, token in found}):
            self._alarms.raise_in(
                tx, bindings.SUBSTITUTED, ACTOR, subject=token, quiet=bindings.QUIET, tokens=[token]
            )

    def _entries(self, work: _Work, now: datetime) -> list[OutboxEntry]:
        if _asks_for_nonce(work.refusal) or isinstance(work.refusal, KeysError):
            return []
        jti = {"jti": work.claims.jti} if work.claims else {}
        if work.refusal is not None or work.granted is None:
            return self._audit.entries(
                Event.REVEAL_REFUSED,
                work.asked.caller,
                at=now,
                outcome=Outcome.REFUSED,
                entry_id=work.entry,
                grant=work.grant,
                reason=work.refusal.code if work.refusal else None,
                details=jti,
            )
        grant = work.granted
        customers = {record.customer for record in work.records.values()}
        entries = self._audit.entries(
            Event.REVEAL_ALLOWED,
            work.asked.caller,
            at=now,
            entry_id=work.entry,
            grant=grant,
            tokens=list(work.records),
            count=_values(work),
            customer=customers.pop() if len(customers) == 1 else None,
            details={
                **jti,
                "category": grant.category,
                "recipient": grant.recipient_kind,
                "uses_left": grant.uses_left,
                **told_bound(grant),
            },
        )
        if grant.state == State.SPENT:
            entries += self._audit.entries(
                Event.DISCLOSURE_SPENT,
                work.asked.caller,
                at=now,
                grant=grant,
                customer=grant.customer,
                details={"uses": grant.uses},
            )
        return entries

    # ------------------------------------------------------------ step 5

    def _answer(self, work: _Work, now: datetime) -> RevealAnswer | Exception:
        """What a call is answered. The uses of all are spent: what fails here fails one alone."""
        try:
            return self._open(work, now)
        except Exception as error:  # noqa: BLE001 -- raised again in whose call it is
            return outcome(error)

    def _open(self, work: _Work, now: datetime) -> RevealAnswer | Exception:
        grant = work.grant
        if grant is None or work.granted is None:  # nothing is opened without a committed use
            return Unavailable("the use was not committed", code="internal_error")
        results = [self._result(work, token) for token in work.asked.tokens]
        broken = [
            token
            for token, result in zip(work.asked.tokens, results, strict=True)
            if isinstance(result, ValueUnreadable)
        ]
        if broken:
            self._alarms.raise_now(
                ValueUnreadable.code, work.asked.caller, tokens=broken, grant=grant
            )
        receipt = Receipt(
            entry=work.entry,
            grant=grant.id,
            ground=grant.ground,
            clause=grant.clause,
            at=now,
            values=sum(isinstance(result, Revealed) for result in results),
            recipient=grant.recipient,
        )
        nonce = work.proof.nonce if work.proof else None
        if grant.delivery != PACKAGE:
            return RevealAnswer(results=tuple(results), receipt=receipt, nonce=nonce)
        if work.seals_for is None:  # nothing of a package leaves in plain
            return Unavailable("there is no key to seal with", code="internal_error")
        package = packed(work.seals_for, zip(work.asked.tokens, results, strict=True), receipt)
        return RevealAnswer(results=(), receipt=receipt, package=package, nonce=nonce)

    def _result(self, work: _Work, token: str) -> Revealed | ServiceError:
        try:
            return self._contents(work, token) if work.asked.streamed else self._value(work, token)
        except Exception as error:  # noqa: BLE001 -- one value's, whatever is wrong with its row
            _log.error("a value failed to open", exc_info=error)
            return _unreadable()

    def _contents(self, work: _Work, token: str) -> Revealed | ServiceError:
        """What opens a communication when it is sent; there is one, or the call was refused."""
        record, key = work.records[token], work.keys.get(token)
        if key is None:
            return _unreadable()
        if token in work.substituted:
            return _substituted()
        contents = Contents(uow=self._uow, record=record, key=key)
        return Revealed(id=token, data_class=record.data_class, value=contents)

    def _value(self, work: _Work, token: str) -> Revealed | ServiceError:
        record = work.records.get(token)
        if record is None:
            return NotFound("there is no such token", code="token_not_found")
        try:
            plain = _plain(record, work.keys.get(token))
        except CiphertextRejected:
            # Somebody changed the row, or Vault's key is not the one that wrapped it.
            return _unreadable()
        if token in work.substituted:
            return _substituted()
        data_class = DataClass(record.data_class)
        try:
            value = select_fields(data_class, plain, work.told(data_class))
        except DisclosureRefused as refusal:
            return refusal
        if isinstance(value, list) and len(value) != record.values:
            # Somebody changed the row, so that fewer are counted against limits and budgets.
            return ValueUnreadable("this value is not what its row says")
        return Revealed(id=token, data_class=record.data_class, value=value)


def _from(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _unreadable() -> ValueUnreadable:
    return ValueUnreadable("this value does not open; an alarm was raised")


def _substituted() -> KeySubstituted:
    return KeySubstituted("the ledger tells of another key; an alarm was raised")


def _asks_for_nonce(refusal: ServiceError | KeysError | None) -> bool:
    """Whether this is how every caller learns the nonce: nothing was refused yet."""
    return refusal is not None and refusal.code == "use_dpop_nonce"


def _values(work: _Work) -> int:
    """How many values a call asks for; a segment of activity holds several."""
    return sum(record.values for record in work.records.values())


def _places(works: Sequence[_Work]) -> list[tuple[int, str]]:
    """(bucket, token) of the records that were read."""
    return list(
        {(record.bucket, token) for work in works for token, record in work.records.items()}
    )


def _unbound(tx: Transaction, works: Sequence[_Work]) -> list[tuple[_Work, str]]:
    """The records that are not what their ledger entries have committed to."""
    claims = {
        (place, token): work.claim(token)
        for place, work in enumerate(works)
        if work.refusal is None
        for token in work.records
    }
    return [(works[place], token) for place, token in bindings.unbound(tx.bindings, claims)]


def _drop_gone(works: Sequence[_Work], there: set[str]) -> None:
    """Forget records that are gone since they were read.

    So an erasure that has committed before the use is spent is obeyed.
    """
    for work in works:
        if work.refusal is None:
            work.records = {
                token: record for token, record in work.records.items() if token in there
            }
            if not work.records:
                work.refusal = NotFound("none of these tokens is there", code="token_not_found")


def _spend_proofs(tx: Transaction, works: Sequence[_Work]) -> None:
    """Use the proofs of what is about to be used; who shows a used one is refused."""
    shown = [
        (work, work.grant.bucket, work.proof)
        for work in works
        if work.refusal is None and work.grant is not None and work.proof is not None
    ]
    outcomes = spend(tx, [(bucket, proof) for _, bucket, proof in shown])
    for (work, _, _), refusal in zip(shown, outcomes, strict=True):
        work.refusal = refusal


def _plain(record: SealedRecord, key: Secret | None) -> bytes:
    """The value of a record, its context rebuilt from the row's own columns.

    Raises:
        CiphertextRejected: the key did not unwrap, or the envelope does not open.
    """
    if key is None:
        raise CiphertextRejected
    context = Context(
        token=record.token,
        customer=record.customer,
        data_class=record.data_class,
        record_version=record.version,
    )
    return open_(key, record.envelope, context)


def _class_of(record: SealedRecord) -> DataClass | None:
    """The record's class, or None where somebody changed the row: no such class, or not its KEK."""
    data_class = _CLASSES.get(record.data_class)
    if data_class is None or RULES[data_class].kek != record.wrapped_key.kek:
        return None
    return data_class


def _work_out(places: Sequence[tuple[_Work, str]]) -> None:
    for work, token in places:
        work.claim(token)


def _names(asked: RevealRequest) -> list[tuple[int, str]]:
    """(bucket, token) of what is asked for; what has no token's form names nothing."""
    found: list[tuple[int, str]] = []
    for token in asked.tokens:
        try:
            found.append((names.bucket_of_value(token), token))
        except InvalidInput:
            continue
    return found


def _grant(row: DisclosureRow | None, claims: DisclosureClaims, caller: Caller) -> DisclosureRow:
    """The grant's row, if it stands behind the token.

    Raises:
        DisclosureRefused: there is none, or it says otherwise than the token.
    """
    if row is None:
        raise DisclosureRefused("there is no such grant", code="disclosure_grant_unknown")
    if row.requester != caller.principal.id:
        raise DisclosureRefused("the grant is another's", code="disclosure_token_holder")
    if row.proof_of_possession and claims.key_thumbprint is None:
        raise missing()
    claims.check_grant(told_grant(row))
    state = state_now(row)
    if state is not State.ACTIVE:
        raise DisclosureRefused(f"the grant is {state}", code=f"disclosure_{state}")
    return row


def _within(row: DisclosureRow, asked: RevealRequest, records: dict[str, SealedRecord]) -> None:
    """Return if what is asked for lies within the grant, whose scope the token's equals.

    Raises:
        DisclosureRefused: it does not; which part is not told, for it may be a guess.
    """
    exceeded = DisclosureRefused(
        "this asks for more than was granted", code="disclosure_scope_exceeded"
    )
    if row.tokens is not None:
        if not set(asked.tokens) <= set(row.tokens):
            raise exceeded
    else:
        for token in asked.tokens:
            record = records.get(token)
            if (
                record is None
                or record.customer != row.customer
                or record.data_class not in (row.classes or ())
            ):
                raise exceeded
    if asked.fields is None:
        return
    known = {
        name
        for token in asked.tokens
        if token in records and (data_class := _class_of(records[token])) is not None
        for name in rule(data_class).fields
    }
    if not set(asked.fields) <= (known if row.fields is None else set(row.fields)):
        raise exceeded


def _in_its_manner(
    row: DisclosureRow, asked: RevealRequest, records: Mapping[str, SealedRecord]
) -> None:
    """Return if what is asked for is given in this manner: streamed, or as values.

    Raises:
        InvalidInput: it is given in the other.
        DisclosureRefused: it is streamed, and the grant has it packed, which takes all of it.
    """
    found = [record for token in asked.tokens if (record := records.get(token)) is not None]
    if any(_is_streamed(record) is not asked.streamed for record in found):
        raise InvalidInput(
            "this record is no communication"
            if asked.streamed
            else "contents of communications are streamed, one at a time",
            code="contents_not_streamed" if asked.streamed else "contents_are_streamed",
            pointer="/token" if asked.streamed else "/tokens",
        )
    if asked.streamed and row.delivery == PACKAGE:
        raise DisclosureRefused(
            "the grant has values delivered as a package, and contents are streamed",
            code="contents_not_packed",
        )


def _is_streamed(record: SealedRecord) -> bool:
    data_class = _CLASSES.get(record.data_class)
    return data_class is not None and RULES[data_class].streamed


def _accounts(work: _Work) -> list[NewReveal]:
    """What a reveal whose use counts tells, by customer: the values of which it tells a field."""
    grant = work.granted
    if grant is None:
        return []
    of: dict[tuple[int, str], list[SealedRecord]] = {}
    for record in work.records.values():
        data_class = _class_of(record)
        if data_class is not None and work.told(data_class):
            of.setdefault((record.bucket, record.customer), []).append(record)
    return [
        NewReveal(
            bucket=bucket,
            customer=customer,
            entry=uuid.UUID(work.entry),
            grant_bucket=grant.bucket,
            disclosure=grant.id,
            tokens=tuple(record.token for record in records),
            classes=tuple(record.data_class for record in records),
            fields=grant.fields if work.asked.fields is None else work.asked.fields,
        )
        for (bucket, customer), records in of.items()
    ]


def _use(work: _Work) -> UseClaim:
    if work.claims is None or work.grant is None:
        raise Unavailable("a use without a grant", code="internal_error")
    return UseClaim(
        bucket=work.grant.bucket,
        jti=work.claims.jti,
        disclosure=work.grant.id,
        holder=work.asked.caller.principal.id,
        policy=work.grant.policy,
        entry=uuid.UUID(work.entry),
    )
