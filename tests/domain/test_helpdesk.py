"""The mapping from a helpdesk's messages to changes: what it takes, what it finds."""

from __future__ import annotations

from typing import Any

import pytest

from vault_service.domain import helpdesk
from vault_service.domain.classes import DataClass
from vault_service.domain.helpdesk import AskedChange
from vault_service.errors import InvalidInput, SettingsError

MAPPING = """
ticket = "/ticket/id"
[customer]
email_address = "/ticket/people/0/email"
[[changes]]
class = "telephone"
value = "/ticket/fields/new~1phone"
token = "/ticket/fields/token"
[[changes]]
class = "payment_card"
value = { number = "/card/number", exp_month = "/card/month" }
"""


def message(**more: Any) -> dict[str, Any]:
    """A message that names a ticket and a customer."""
    ticket = {"id": 4711, "people": [{"email": " ada@example.com "}]}
    return {"ticket": ticket | more.pop("ticket", {}), **more}


def test_everything_is_found() -> None:
    """By pointers, through objects and lists, with escapes."""
    fields = {"new/phone": "+49 30 901820", "token": "tok_x"}
    asked = helpdesk.read(
        helpdesk.load(MAPPING),
        message(ticket={"fields": fields}, card={"number": "4242", "exp_month": 1, "month": 12}),
    )
    assert (asked.ticket, asked.who, asked.customer) == ("4711", "email_address", "ada@example.com")
    assert asked.changes == (
        AskedChange(data_class=DataClass.TELEPHONE, value="+49 30 901820", token="tok_x"),
        AskedChange(
            data_class=DataClass.PAYMENT_CARD,
            value={"number": "4242", "exp_month": 12},
            token=None,
        ),
    )


@pytest.mark.parametrize("fields", [None, {}, {"new/phone": None}, {"new/phone": " "}, [], "x", 4])
def test_what_is_not_there_is_not_asked_for(fields: object) -> None:
    """Absent, null and empty are one."""
    asked = helpdesk.read(helpdesk.load(MAPPING), message(ticket={"fields": fields}))
    assert asked.changes == ()


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ({"ticket": {"id": None}}, "/ticket/id"),
        ({"ticket": {"id": True}}, "/ticket/id"),
        ({"ticket": {"id": ["x"]}}, "/ticket/id"),
        ({"ticket": {"people": []}}, "/ticket/people/0/email"),
        ({"ticket": {"people": {"0": {}}}}, "/ticket/people/0/email"),
        ({"ticket": {"people": [{"email": ""}]}}, "/ticket/people/0/email"),
    ],
)
def test_a_message_says_which_ticket_and_whose(said: dict[str, Any], where: str) -> None:
    """Otherwise it is refused with the place where that was looked for."""
    with pytest.raises(InvalidInput) as refused:
        helpdesk.read(helpdesk.load(MAPPING), message(**said))
    assert (refused.value.code, refused.value.pointer) == ("helpdesk_message_unmapped", where)


@pytest.mark.parametrize("text", ["4", "[]", "null", '"x"'])
def test_any_json_is_looked_through(text: str) -> None:
    """Nothing but the right shape leads anywhere."""
    import json

    with pytest.raises(InvalidInput):
        helpdesk.read(helpdesk.load(MAPPING), json.loads(text))


HEAD = 'ticket = "/t"\n'
WHO = '[customer]\nid = "/c"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ticket", "no TOML"),
        (WHO, "ticket must be a JSON pointer"),
        (HEAD, "customer must name one of"),
        (HEAD + '[customer]\nname = "/c"', "customer must name one of"),
        (HEAD + '[customer]\nid = "/c"\nexternal_ref = "/d"', "customer must name one of"),
        (HEAD + "[customer]\nid = 4", "customer.id must be a JSON pointer"),
        (HEAD + '[customer]\nid = "c"', "customer.id must be a JSON pointer"),
        (HEAD + '[customer]\nid = "/a~2"', "customer.id must be a JSON pointer"),
        (HEAD + "more = 1\n" + WHO, "more is not known"),
        (HEAD + "changes = 1\n" + WHO, "changes must be a list"),
        (HEAD + "changes = [1]\n" + WHO, r"changes\[0\] must be a table"),
        (HEAD + WHO + '[[changes]]\nclas = "x"', r"changes\[0\] must be a table"),
        (HEAD + WHO + '[[changes]]\nclass = "x"', r"changes\[0\].class must be a class"),
        (HEAD + WHO + '[[changes]]\nclass = "activity_log"', r"changes\[0\].class must be a class"),
        (HEAD + WHO + '[[changes]]\nclass = "telephone"', r"changes\[0\].value must be"),
        (HEAD + WHO + '[[changes]]\nclass = "telephone"\nvalue = {}', r"changes\[0\].value must"),
        (
            HEAD + WHO + '[[changes]]\nclass = "payment_card"\nvalue = {number = 4}',
            r"changes\[0\].value.number must be",
        ),
        (
            HEAD + WHO + '[[changes]]\nclass = "telephone"\nvalue = "/v"\ntoken = 4',
            r"changes\[0\].token must be",
        ),
        (HEAD + WHO + '[[changes]]\nclass = "telephone"\nvalue = "/v"\n' * 21, "20 tables at most"),
    ],
)
def test_a_mapping_that_is_wrong_names_the_place(text: str, said: str) -> None:
    """At start, before any message is read by it."""
    with pytest.raises(SettingsError, match=said):
        helpdesk.load(text)
