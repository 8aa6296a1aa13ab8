"""Proof of possession from request to reveal, on the real servers."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.dpop import REVEAL, Holder, ath, holder_key, refused
from tests.support.racing import threads
from tests.support.signing import signed, unpacked
from tests.support.whole import Stage, card, draft, refusal, standing
from vault_service.bootstrap.process import build
from vault_service.domain.policy import Policy
from vault_service.errors import DisclosureRefused, ProofRefused
from vault_service.ledger.entries import Event
from vault_service.services.dpop import Proof, ShownProof
from vault_service.services.granting import Granting
from vault_service.services.possession import Possession, spend
from vault_service.services.views import IssuedDisclosureToken, RevealAnswer, Revealed
from vault_service.settings import ProcessRole
from vault_service.storage.proofs import NONCE_SECONDS


@pytest.fixture
def card_token(stage: Stage, customer: str) -> str:
    """A card's token."""
    return stage.card(customer)


@pytest.fixture
def grant(stage: Stage, card_token: str) -> str:
    """A grant that demands a proof, with many uses."""
    return stage.granted(standing(card_token, proof_of_possession=True)).id


@pytest.fixture
def holder(stage: Stage) -> Holder:
    """The requester with a key of his own."""
    return Holder(stage=stage, key=holder_key())


def _uses(stage: Stage, grant: str) -> tuple[int, int, int]:
    """Uses left, tokens given out, tokens used."""
    ((left, given, used),) = stage.sql(
        "SELECT d.uses_left, count(t.jti), count(t.used_at) FROM disclosures AS d"
        " LEFT JOIN disclosure_tokens AS t ON t.bucket = d.bucket AND t.disclosure = d.id"
        " WHERE d.id = %s GROUP BY d.uses_left",
        [grant],
    )
    return left, given, used


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519"])
def test_a_bound_token_reveals_with_a_proof_of_its_key(
    stage: Stage, card_token: str, grant: str, algorithm: str
) -> None:
    """The token says which key; the ledger says that a proof was demanded and which key it was."""
    holder = Holder(stage=stage, key=holder_key(algorithm))
    with stage.told() as entries:
        token = holder.token(grant)
        answer = holder.reveal(token, card_token)
    assert unpacked(token)[1]["cnf"] == {"jkt": holder.key.thumbprint}
    (value,) = answer.results
    assert isinstance(value, Revealed)
    assert value.value == card()
    assert answer.nonce == stage.reveals._checks._proofs.nonces()[0]
    told = {entry.event: entry.details for entry in entries}
    issued = told[Event.DISCLOSURE_TOKEN_ISSUED]
    assert issued["key_thumbprint"] == holder.key.thumbprint
    assert told[Event.REVEAL_ALLOWED]["proof"] == "dpop"


def test_a_request_tells_that_it_demands_a_proof(stage: Stage, card_token: str) -> None:
    """Officers see it before they approve; drafts keep it; without it nothing is demanded."""
    caller = stage.caller("requester")
    asked = draft(card_token, proof_of_possession=True)
    with stage.told(Event.DISCLOSURE_SUBMITTED) as entries:
        view = stage.disclosures.create(caller, asked, is_draft=True)
        assert view.proof_of_possession
        assert stage.disclosures.submit(caller, view.id).proof_of_possession
    assert entries[0].details["proof"] == "dpop"
    plain = stage.disclosures.create(caller, draft(card_token), is_draft=False)
    assert not plain.proof_of_possession


def test_a_grant_that_demands_a_proof_gives_no_unbound_token(stage: Stage, grant: str) -> None:
    """Without a proof there is none."""
    error = refused(lambda: stage.token(grant))
    assert (error.code, error.error) == ("dpop_proof_missing", "invalid_dpop_proof")
    assert _uses(stage, grant) == (100, 0, 0)


def test_a_ground_may_demand_a_proof(stage: Stage, card_token: str) -> None:
    """By the policy file alone: in the request's row, and by the side that signs, for itself."""
    policy = stage.services.policy
    demanding = _demanding(policy, "provide_service")
    disclosures = stage.disclosures
    disclosures._policy = demanding
    try:
        view = disclosures.create(stage.caller("requester"), standing(card_token), is_draft=False)
        assert view.proof_of_possession
    finally:
        disclosures._policy = policy
    # A row written otherwise, under the same policy: the side that signs demands it all the same.
    plain = stage.granted(standing(card_token))
    granting = stage.granting
    signing = Granting(
        uow=granting._uow,
        issuer=granting._issuer,
        proofs=granting._proofs,
        policy=demanding,
        audit=granting._audit,
    )
    error = refused(lambda: signing.issue(stage.caller("requester"), plain.id))
    assert error.code == "dpop_proof_missing"


def _demanding(policy: Policy, ground: str) -> Policy:
    return replace(
        policy,
        grounds={
            key: replace(each, proof_of_possession=True) if key[0] == ground else each
            for key, each in policy.grounds.items()
        },
    )


def test_nobody_is_kept_from_binding_his_token(stage: Stage, card_token: str) -> None:
    """A proof binds the token also where none is demanded."""
    plain = stage.granted(standing(card_token)).id
    holder = Holder(stage=stage, key=holder_key())
    token = holder.token(plain)
    assert refused(lambda: stage.reveal(token, card_token)).code == "dpop_proof_missing"
    assert isinstance(holder.reveal(token, card_token).results[0], Revealed)


# ---------------------------------------------------------------- what is refused, spends nothing


Wrong = Callable[[Holder, str, str], "ShownProof | None"]


def _changed(**changes: Any) -> Wrong:
    return lambda holder, token, _: holder.shown(REVEAL, token, **changes)


def _bare(jws: str) -> Wrong:
    return lambda _holder, _token, _: ShownProof(jws=jws, method="POST", path=REVEAL)


REFUSED: dict[str, tuple[Wrong, str]] = {
    "none": (lambda _holder, _token, _: None, "dpop_proof_missing"),
    "empty": (_bare(""), "dpop_proof_malformed"),
    "of another key": (_changed(key=holder_key()), "disclosure_token_proof"),
    "of another kind of key": (_changed(key=holder_key("Ed25519")), "disclosure_token_proof"),
    "of another method": (_changed(claims={"htm": "GET"}), "dpop_proof_method"),
    "of another address": (_changed(signed_path="/v1/tokens"), "dpop_proof_address"),
    "of another token": (_changed(claims={"ath": ath("a.b.c")}), "dpop_proof_token"),
    "with another nonce": (_changed(claims={"nonce": "stale"}), "use_dpop_nonce"),
    "too old": (_changed(claims={"iat": 1}), "dpop_proof_time"),
    "of another type": (_changed(header={"typ": "JWT"}), "dpop_proof_type"),
    "of no algorithm": (_changed(header={"alg": "none"}), "dpop_proof_algorithm"),
    "with a private key": (
        _changed(header={"jwk": {"kty": "EC", "crv": "P-256", "d": "A" * 43}}),
        "dpop_proof_key_private",
    ),
    "with an extension": (_changed(header={"crit": ["b64"]}), "dpop_proof_critical_header"),
    "made for the token's asking": (
        lambda holder, _token, grant: holder.shown(f"/v1/disclosures/{grant}/token"),
        "dpop_proof_address",
    ),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_wrong_proof_reveals_nothing_and_spends_nothing(
    stage: Stage, card_token: str, grant: str, holder: Holder, wrong: str
) -> None:
    """Each by its code; the same token then reveals with a right proof."""
    make, code = REFUSED[wrong]
    token = holder.token(grant)
    shown = make(holder, token, grant)
    if shown is not None:
        shown = replace(shown, path=REVEAL)
    with stage.told(Event.REVEAL_REFUSED) as entries:
        assert refused(lambda: holder.present(token, card_token, shown=shown)).code == code
    # To learn the nonce is no refusal: nobody shall look for one behind every first call.
    assert [entry.reason for entry in entries] == ([code] if code != "use_dpop_nonce" else [])
    assert _uses(stage, grant) == (100, 1, 0)
    assert isinstance(holder.reveal(token, card_token).results[0], Revealed)


def test_a_wrong_proof_gives_no_token(stage: Stage, grant: str, holder: Holder) -> None:
    """Asking for a token is held to the same."""
    for changes, code in (
        ({"claims": {"nonce": "stale"}}, "use_dpop_nonce"),
        ({"signed_path": REVEAL}, "dpop_proof_address"),
        ({"claims": {"ath": ath("a.b.c")}}, "dpop_proof_token"),
        ({"header": {"alg": "HS256"}}, "dpop_proof_algorithm"),
    ):
        assert refused(lambda changes=changes: holder.token(grant, **changes)).code == code  # type: ignore[misc]
    assert _uses(stage, grant) == (100, 0, 0)


def test_an_unbound_token_is_not_used_as_if_bound(
    stage: Stage, card_token: str, holder: Holder
) -> None:
    """With a proof it is refused; without one it reveals, for it never claimed more."""
    token = stage.token(stage.granted(standing(card_token)).id)
    error = refused(lambda: holder.reveal(token, card_token))
    assert (error.code, error.error) == ("disclosure_token_unbound", "invalid_token")
    assert stage.revealed(token, card_token) == [card()]


def test_a_forged_unbound_token_of_a_demanding_grant_is_refused(
    stage: Stage, card_token: str, grant: str, holder: Holder
) -> None:
    """Whoever gets hold of the signer for a moment still needs the key that the row demands."""
    header, claims = unpacked(holder.token(grant))
    del claims["cnf"]
    forged = signed(stage, header, claims)
    assert refused(lambda: stage.reveal(forged, card_token)).code == "dpop_proof_missing"


def test_a_stolen_token_is_of_no_use_to_another_holder(
    stage: Stage, card_token: str, grant: str, holder: Holder
) -> None:
    """Neither to the thief with the caller's own API key, nor with a key rebound by himself."""
    token = holder.token(grant)
    thief = Holder(stage=stage, key=holder_key())
    assert refused(lambda: thief.reveal(token, card_token)).code == "disclosure_token_proof"
    stranger = Holder(stage=stage, key=holder.key, by="requester-2")
    error = refusal(lambda: stranger.reveal(token, card_token), DisclosureRefused)
    assert error.code == "disclosure_token_holder"


# ---------------------------------------------------------------- replay


def test_a_proof_gives_one_token(stage: Stage, grant: str, holder: Holder) -> None:
    """Shown again, it gives none, in another process after a restart either."""
    shown = holder.shown(f"/v1/disclosures/{grant}/token")
    caller = stage.caller("requester")
    stage.granting.issue(caller, grant, proof=shown)
    restarted = build(stage.settings_for(ProcessRole.REVEAL))
    try:
        for granting in (stage.granting, restarted.granting):
            assert granting is not None
            error = refused(lambda g=granting: g.issue(caller, grant, proof=shown))  # type: ignore[misc]
            assert error.code == "dpop_proof_replayed"
    finally:
        restarted.close()
    assert _uses(stage, grant) == (100, 1, 0)


def test_a_proof_raced_for_gives_one_token(stage: Stage, grant: str, holder: Holder) -> None:
    """Eight at once over two processes: one token."""
    shown = holder.shown(f"/v1/disclosures/{grant}/token")
    other = build(stage.settings_for(ProcessRole.REVEAL))
    try:
        parts = [stage.granting, other.granting] * 4
        outcomes = threads(
            [
                lambda part=part: part.issue(stage.caller("requester"), grant, proof=shown)  # type: ignore[misc, union-attr]
                for part in parts
            ]
        )
    finally:
        other.close()
    won = [each for each in outcomes if isinstance(each, IssuedDisclosureToken)]
    lost = [each.code for each in outcomes if isinstance(each, ProofRefused)]
    assert (len(won), lost) == (1, ["dpop_proof_replayed"] * 7)


def test_a_replayed_reveal_is_refused_and_spends_nothing(
    stage: Stage, card_token: str, grant: str, holder: Holder
) -> None:
    """The same proof with its token again; and, were the token fresh, by the proof alone."""
    token = holder.token(grant)
    shown = holder.shown(REVEAL, token)
    holder.present(token, card_token, shown=shown)
    error = refused(lambda: holder.present(token, card_token, shown=shown))
    assert error.code == "dpop_proof_replayed"
    stage.sql(
        "UPDATE disclosure_tokens SET used_at = NULL, entry = NULL WHERE disclosure = %s", [grant]
    )
    error = refused(lambda: holder.present(token, card_token, shown=shown))
    assert error.code == "dpop_proof_replayed"
    assert _uses(stage, grant) == (99, 1, 0)


def test_the_same_proof_twice_in_one_batch_serves_once(
    stage: Stage, card_token: str, grant: str, holder: Holder
) -> None:
    """Gathered into one unit of work, the first counts."""
    token = holder.token(grant)
    shown = holder.shown(REVEAL, token)
    gate = threading.Event()
    with ThreadPoolExecutor(9) as pool:
        # The first call is let run alone; those behind it are gathered while it is under way.
        running = [
            pool.submit(lambda: (gate.wait(5), holder.present(token, card_token, shown=shown))[1])
            for _ in range(8)
        ]
        gate.set()
        outcomes = [each.exception() or each.result() for each in running]
    assert sum(isinstance(each, RevealAnswer) for each in outcomes) == 1
    codes = {each.code for each in outcomes if isinstance(each, ProofRefused)}
    assert codes == {"dpop_proof_replayed"}
    assert _uses(stage, grant) == (99, 1, 1)


def test_of_two_alike_in_one_statement_the_first_counts(stage: Stage, holder: Holder) -> None:
    """Whatever is gathered: a proof is used once."""
    digest = secrets.token_bytes(32)
    found = Proof(
        thumbprint=holder.key.thumbprint, digest=digest, issued_at=datetime.now(UTC), nonce="n"
    )
    with stage.reveals._uses._uow.begin() as tx:
        first, second = spend(tx, [(1, found), (1, found)])
    assert first is None
    assert isinstance(second, ProofRefused)


def test_bound_and_unbound_callers_share_a_batch(
    stage: Stage, card_token: str, grant: str, holder: Holder
) -> None:
    """Each has what is his own; a stranger's wrong proof harms nobody."""
    plain = stage.granted(standing(card_token)).id
    bound, free, spoilt = holder.token(grant), stage.token(plain), holder.token(grant)
    good = holder.shown(REVEAL, bound)
    outcomes = threads(
        [
            lambda: holder.present(bound, card_token, shown=good),
            lambda: stage.reveal(free, card_token),
            lambda: holder.present(spoilt, card_token, shown=good),
        ]
    )
    assert isinstance(outcomes[0], RevealAnswer)
    assert isinstance(outcomes[1], RevealAnswer)
    assert outcomes[1].nonce is None
    assert isinstance(outcomes[2], ProofRefused)
    assert outcomes[2].code == "dpop_proof_token"


# ---------------------------------------------------------------- nonces and housekeeping


def test_processes_have_one_nonce_at_a_time(stage: Stage) -> None:
    """Whoever asks, in whichever process, and whoever asks first."""
    other = build(stage.settings_for(ProcessRole.REVEAL))
    try:
        assert other.reveal is not None
        stage.sql("DELETE FROM dpop_nonces")
        parts: list[Possession] = [stage.reveals._checks._proofs, other.reveal._checks._proofs] * 4
        found = threads([part.nonces for part in parts])
    finally:
        other.close()
    first = {each[0] for each in found if isinstance(each, list)}
    assert len(first) in {1, 2}  # two if the minute ended meanwhile
    ((rows,),) = stage.sql("SELECT count(*) FROM dpop_nonces")
    assert rows == len(first)


def test_a_nonce_is_taken_for_another_minute(
    stage: Stage, card_token: str, grant: str, holder: Holder
) -> None:
    """The one before is taken, the one before that is not; the newest is unlike both."""
    token = holder.token(grant)
    names = [secrets.token_urlsafe(8) for _ in range(3)]
    stage.sql(
        "DELETE FROM dpop_nonces WHERE slot >= floor(extract(epoch FROM now()) / %s)::bigint - 3",
        [NONCE_SECONDS],
    )
    for back, name in zip((1, 2, 3), names, strict=True):
        stage.sql(
            "INSERT INTO dpop_nonces SELECT floor(extract(epoch FROM now()) / %s)::bigint - %s, %s",
            [NONCE_SECONDS, back, name],
        )
    shown = holder.shown(REVEAL, token, claims={"nonce": names[1]})
    error = refused(lambda: holder.present(token, card_token, shown=shown))
    assert error.code == "use_dpop_nonce"
    assert error.nonce not in {None, *names[1:]}
    assert holder.reveal(token, card_token, claims={"nonce": names[0]}).nonce == error.nonce


def test_old_proofs_and_nonces_are_forgotten(stage: Stage, grant: str, holder: Holder) -> None:
    """What cannot be taken any more, and nothing else."""
    holder.token(grant)
    stage.sql(
        "INSERT INTO dpop_proofs VALUES (1, sha256('old'), now() - interval '1 second'),"
        " (1, sha256('young'), now() + interval '1 hour')"
    )
    stage.sql("INSERT INTO dpop_nonces VALUES (7, 'old')")
    swept = stage.housekeeping.sweep()
    assert swept is not None
    assert swept.proofs >= 2
    assert stage.sql("SELECT count(*) FROM dpop_proofs WHERE until < now()") == [(0,)]
    assert stage.sql("SELECT count(*) FROM dpop_proofs WHERE digest = sha256('young')") == [(1,)]
    assert stage.sql("SELECT count(*) FROM dpop_nonces WHERE slot = 7") == [(0,)]
    assert stage.sql("SELECT count(*) > 0 FROM dpop_nonces") == [(True,)]


def test_a_proof_outlives_its_time_in_memory(stage: Stage, grant: str, holder: Holder) -> None:
    """A row is kept for longer than any proof is taken, whatever its maker's clock says."""
    stage.sql("DELETE FROM dpop_proofs")
    holder.token(grant)
    ((kept,),) = stage.sql("SELECT extract(epoch FROM until - now())::integer FROM dpop_proofs")
    assert 120 + 30 < kept <= 120 + 30 + 600


def test_no_proof_is_read_for_those_who_show_none(stage: Stage, card_token: str) -> None:
    """Nonces are asked for only where a proof is shown: nobody else waits for them."""
    token = stage.token(stage.granted(standing(card_token)).id)
    with stage.owned(
        "ALTER TABLE dpop_nonces RENAME TO dpop_elsewhere",
        "ALTER TABLE dpop_elsewhere RENAME TO dpop_nonces",
    ):
        assert stage.revealed(token, card_token) == [card()]
