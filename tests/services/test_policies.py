"""The history of the policy: what was in force, told from what only looks like it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.whole import Stage, present, refusal
from vault_service.errors import Conflict, Forbidden, InvalidInput, NotFound, ServiceError
from vault_service.ledger.entries import Event
from vault_service.policy.diff import Effect
from vault_service.services.lifecycle import Lifecycle
from vault_service.services.policies import PolicyHistory


@pytest.fixture
def history(stage: Stage) -> Iterator[PolicyHistory]:
    """The use case, with the shipped policy alone in force; the same afterwards."""
    stage.sql("TRUNCATE policies CASCADE")
    stage.services.lifecycle.started()
    yield present(stage.services.policies)
    stage.sql("TRUNCATE policies CASCADE")
    stage.services.lifecycle.started()


def shipped(stage: Stage) -> str:
    """The text of the policy that the stage brings."""
    return stage.services.settings.policy_file.read_bytes().decode()


def bring(stage: Stage, text: str, version: str | None = None) -> str:
    """Start a console that brings a policy; its version."""
    version = version or hashlib.sha256(text.encode()).hexdigest()
    policy = replace(stage.services.policy, version=version, name="another")
    Lifecycle(
        uow=stage.services.lifecycle._uow,
        audit=stage.services.lifecycle._audit,
        policy=policy,
        body=text,
        version="0",
        instance="another",
    ).started()
    return version


@pytest.mark.parametrize("who", ["auditor", "officer-1", "operator"])
def test_what_was_in_force_is_told(stage: Stage, history: PolicyHistory, who: str) -> None:
    """Each version from when until when, also one that came back; each coming is an entry."""
    first = stage.services.policy.version
    with stage.told(Event.POLICY_ADOPTED) as entries:
        second = bring(stage, shipped(stage) + "# another\n")
        bring(stage, shipped(stage), first)
        bring(stage, shipped(stage), first)
    assert [entry.policy for entry in entries] == [second, first]
    caller = stage.caller(who)
    page = history.page(caller, cursor=None, limit=2)
    assert [each.version for each in page.items] == [first, second]
    assert [each.until for each in page.items] == [None, page.items[0].adopted_at]
    rest = history.page(caller, cursor=page.next, limit=2)
    assert ([each.version for each in rest.items], rest.next) == ([first], None)
    found = history.text(caller, first)
    assert hashlib.sha256(found.text.encode()).hexdigest() == first
    assert [each.number for each in found.adoptions] == [3, 1]


def test_two_versions_are_compared_in_words(stage: Stage, history: PolicyHistory) -> None:
    """With the one before, or with one that is named, in either direction."""
    first = stage.services.policy.version
    text = shipped(stage)
    assert "approvals = 2" in text
    second = bring(stage, text.replace("approvals = 2", "approvals = 3"))
    auditor = stage.caller("auditor")
    made = history.changes(auditor, second, since=None)
    assert (made.old, made.new) == (first, second)
    assert {each.effect for each in made.differences} == {Effect.FORBIDDEN}
    assert "needs 3 approvals instead of 2" in [each.says for each in made.differences]
    back = history.changes(auditor, first, since=second)
    assert {each.effect for each in back.differences} == {Effect.ALLOWED}
    assert history.changes(auditor, first, since=first).differences == ()


@pytest.mark.parametrize("version", ["0" * 64, "x", "", "B" * 64, "0" * 63])
def test_what_was_never_in_force_is_not_found(
    stage: Stage, history: PolicyHistory, version: str
) -> None:
    """Neither as a text, nor to compare, nor to compare with."""
    auditor, known = stage.caller("auditor"), stage.services.policy.version
    calls = (
        lambda: history.text(auditor, version),
        lambda: history.changes(auditor, version, since=known),
        lambda: history.changes(auditor, known, since=version or None),
    )
    # The last one names nothing where the version is empty: and before the first there was none.
    for call in calls:
        assert refusal(call, NotFound).code == "policy_not_found"


def test_a_text_that_was_changed_is_not_shown(stage: Stage, history: PolicyHistory) -> None:
    """Whoever can write to the database cannot make it have been in force."""
    version, auditor = stage.services.policy.version, stage.caller("auditor")
    stage.sql("UPDATE policies SET body = replace(body, 'approvals = 2', 'approvals = 1')")
    assert refusal(lambda: history.text(auditor, version), Conflict).code == "policy_altered"
    error = refusal(lambda: history.changes(auditor, version, since=version), ServiceError)
    assert error.code == "policy_altered"


def test_a_text_of_another_time_is_shown_but_not_compared(
    stage: Stage, history: PolicyHistory
) -> None:
    """A later release may have other rules for policy files."""
    auditor = stage.caller("auditor")
    odd = bring(stage, "schema = 99\n")
    assert history.text(auditor, odd).text == "schema = 99\n"
    error = refusal(lambda: history.changes(auditor, odd, since=None), Conflict)
    assert error.code == "policy_unreadable"


@pytest.mark.parametrize("who", ["billing", "support", "requester"])
def test_others_do_not_read_it(stage: Stage, history: PolicyHistory, who: str) -> None:
    """The refusal is an entry."""
    version = stage.services.policy.version
    calls = (
        lambda caller: history.page(caller, cursor=None, limit=1),
        lambda caller: history.text(caller, version),
        lambda caller: history.changes(caller, version, since=None),
    )
    with stage.told() as entries:
        for call in calls:
            refusal(lambda call=call: call(stage.caller(who)), Forbidden)  # type: ignore[misc]
    assert [entry.details for entry in entries] == [{"action": "read_policies"}] * len(calls)


@pytest.mark.parametrize(
    ("cursor", "limit", "code"),
    [("0", 1, "cursor_invalid"), ("x", 1, "cursor_invalid"), ("²", 1, "cursor_invalid"),
     ("9999999999", 1, "cursor_invalid"), (None, 0, "limit_invalid"), (None, 201, "limit_invalid")],
)  # fmt: skip
def test_a_page_out_of_form_is_refused(
    stage: Stage, history: PolicyHistory, cursor: str | None, limit: int, code: str
) -> None:
    """Before the database is asked."""
    error = refusal(
        lambda: history.page(stage.caller("auditor"), cursor=cursor, limit=limit), InvalidInput
    )
    assert error.code == code
