"""The use case: calls in, answers out, by way of the five steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, cast

from vault_service.domain.actors import Action
from vault_service.errors import DisclosureRefused, InvalidInput, ServiceError
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit, Denials, new_entry_id
from vault_service.services.contents import Contents
from vault_service.services.context import Caller
from vault_service.services.dpop import ShownProof
from vault_service.services.gather import apart
from vault_service.services.honeytokens import Honeytokens
from vault_service.services.lanes import Lanes
from vault_service.services.log_guard import LogGuard
from vault_service.services.reveal.checks import Checks
from vault_service.services.reveal.data_keys import DataKeys
from vault_service.services.reveal.opening import Opening
from vault_service.services.reveal.uses import Uses
from vault_service.services.reveal.work import (
    MAX_TOKENS,
    RevealRequest,
    Work,
    asks_for_nonce,
    none_there,
)
from vault_service.services.unusual import Unusual
from vault_service.services.views import RevealAnswer, RevealedContent

# Calls that share statements and a request to Vault.
CALLS: Final = 64


class Reveal:
    """The use case. Thread-safe.

    Args:
        checks: steps 1 and 2.
        keys: step 3.
        uses: step 4.
        opening: step 5.
        audit: writes down who is refused before any step.
        guard: lets nothing be disclosed while the ledger is not written.
        honeytokens: records that nobody has a reason to ask for.
        refused: counts refusals, and raises the alarm at many.
    """

    def __init__(
        self,
        *,
        checks: Checks,
        keys: DataKeys,
        uses: Uses,
        opening: Opening,
        audit: Audit,
        guard: LogGuard,
        honeytokens: Honeytokens,
        refused: Unusual,
    ) -> None:
        self._checks = checks
        self._keys = keys
        self._uses = uses
        self._opening = opening
        self._audit = audit
        self._guard = guard
        self._honeytokens = honeytokens
        self._refused = refused
        self._lanes = Lanes()

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
            if isinstance(answer, DisclosureRefused) and not asks_for_nonce(answer):
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
        pieces = self._opening.pieces(caller, token, contents.pieces(size))
        # Now, while a failure can still be told in place of an answer.
        first = next(pieces)
        return RevealedContent(
            size=size, pieces=_from(first, pieces), receipt=answer.receipt, nonce=answer.nonce
        )

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
            raise none_there()
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
        works = [Work(each, new_entry_id()) for each in asked]
        self._checks.check(works)
        self._keys.unwrap([work for work in works if work.refusal is None])
        now = self._uses.spend(works)
        return [work.refusal or self._opening.answer(work, now) for work in works]


def _from(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
