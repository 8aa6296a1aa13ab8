"""What the documentation says of the code is so."""

from __future__ import annotations

import ast
import json
import re
from datetime import UTC, date, datetime
from typing import Any, Final

import pytest

from tests.docs import commands, settings_table
from tests.docs.pages import DOCS, GUIDES, Page, page, pages
from tests.support.sources import PACKAGES, ROOT, modules
from vault_service import app
from vault_service.api.codes import CODES
from vault_service.cli.exits import MEANINGS
from vault_service.domain.actors import PERMISSIONS, Action, Role
from vault_service.domain.classes import DataClass
from vault_service.domain.disclosures import DisclosureRequest, Recipient, Scope
from vault_service.domain.policy import decide
from vault_service.domain.values import parse
from vault_service.policy import loader
from vault_service.settings import ProcessRole, Settings

ALL: Final = pages()
DOCUMENTED: Final = [
    each for each in ALL if each.path.parent in {DOCS, GUIDES} or each.path.parent == ROOT
]
COLUMNS: Final = ["billing", "support", "requester", "officer", "auditor", "operator"]
_MASK_ROW: Final = re.compile(r"^\| `(\w+)` \| `(\".*?\")`.* \| `(\{.*\})` \|$", re.MULTILINE)
_CARD_ROW: Final = re.compile(r"^\| `payment_card` .* \| `(\{.*\})` \|$", re.MULTILINE)
_SNAKE: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
_PATH: Final = re.compile(r"(?<![\w.>])/v1/[^\s`'\"?)|,;]*")
# What Prometheus and PostgreSQL name, and what the guides' own examples make.
_OTHERS: Final = {
    "vault_requests_total", "vault_errors_total", "vault_alarms_total",
    "vault_key_service_failures_total", "synchronous_commit", "full_page_writes", "pg_hba",
    "synchronous_standby_names", "password_encryption", "log_parameter_max_length",
    "log_parameter_max_length_on_error", "log_statement", "min_decryption_version",
    "disable_standby_reads", "vault_overloads_total",
}  # fmt: skip


def names(group: list[Page]) -> list[str]:
    """The pages' names, for the tests' ids."""
    return [each.name for each in group]


@pytest.mark.parametrize("one", ALL, ids=names(ALL))
def test_links_lead_somewhere(one: Page) -> None:
    """Every relative link names a file of the project, and a heading that it has."""
    for link in one.links:
        if link.startswith(("https://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        path = (one.path.parent / target).resolve() if target else one.path
        assert path.exists(), link
        if anchor:
            assert anchor in page(path).anchors, link


@pytest.mark.parametrize("one", ALL, ids=names(ALL))
def test_json_is_json(one: Page) -> None:
    """Every block of JSON parses."""
    for text in one.blocks("json"):
        json.loads(text)


def known_words() -> set[str]:
    """Every text and name of the code, and what the policy and the inventory declare."""
    words = set(_SNAKE.findall(" ".join(file.read_text() for file in _declarations())))
    for _, tree in modules(*PACKAGES):
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.update(_SNAKE.findall(node.value))
            elif isinstance(node, ast.Attribute):
                words.add(node.attr)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                words.add(node.target.id)
            elif isinstance(node, ast.Name):
                words.add(node.id)
    return words


def _declarations() -> list[Any]:
    return [ROOT / "keys" / "inventory.toml", *(ROOT / "vault_service" / "policy").glob("*.toml")]


def test_quoted_words_stand_in_the_code() -> None:
    """Every code, setting, field, event and reason that a page quotes is one of the code's."""
    known = known_words() | _OTHERS
    wrong = {
        f"{one.name}: {word}"
        for one in DOCUMENTED
        for quoted in one.quoted
        for word in _SNAKE.findall(quoted)
        if _SNAKE.fullmatch(quoted) and word not in known
    }
    assert not wrong


def _error_rows(one: Page) -> list[tuple[str, list[str]]]:
    """The first cells of the tables of errors: status, codes."""
    cells = re.findall(r"^\| ([1-5][0-9]{2} [^|]*)\|", one.prose, re.MULTILINE)
    return [(cell.split()[0], re.findall(r"`([a-z_]+)`", cell)) for cell in cells]


def test_error_tables_name_codes_of_the_interface() -> None:
    """Every code in a table of errors is one that the interface can answer."""
    found = [
        (one.name, status, code)
        for one in DOCUMENTED
        for status, codes in _error_rows(one)
        for code in codes
    ]
    assert len(found) > 80
    assert not [each for each in found if each[2] not in CODES]


def test_every_setting_stands_in_the_operators_table() -> None:
    """The table is the settings' own; `python -m tests.docs.settings_table` writes it anew."""
    text = (GUIDES / "operator.md").read_text(encoding="utf-8")
    table = text.split(settings_table.BEGIN)[1].split(settings_table.END)[0]
    assert table == settings_table.rows()
    assert table.count("\n") == len(Settings().describe())


def test_commands_exist() -> None:
    """Every command and option that a page shows is one of the command line's."""
    lines = [(one.name, line) for one in DOCUMENTED for line in commands.command_lines(one)]
    assert len(lines) > 60
    wrong = [f"{name}: {line}: {found}" for name, line in lines if (found := commands.wrong(line))]
    assert not wrong


def test_exit_codes_are_told() -> None:
    """The operator's table of exit codes says what the command says."""
    text = (GUIDES / "operator.md").read_text(encoding="utf-8")
    for code, meaning in MEANINGS.items():
        assert f"| {code.value} | {meaning}" in text


def _matches(path: str, template: str) -> bool:
    given, wanted = path.split("/"), template.split("/")
    if given[-1] == "…" or path.endswith("…"):
        return template.startswith(path.rstrip("…").rstrip("/"))
    if "{tile}" in wanted:
        return given[: len(wanted) - 1] == wanted[:-1]
    return len(given) == len(wanted) and all(
        one == other or (other.startswith("{") and one != "")
        for one, other in zip(given, wanted, strict=True)
    )


def test_paths_are_of_the_interface() -> None:
    """Every path that a page shows is one of the interface's."""
    templates = {operation.path for operation in app.operations(ProcessRole.ALL)}
    shown = {
        (one.name, path.rstrip("."))
        for one in DOCUMENTED
        for text in (*one.quoted, *one.blocks("sh"))
        for path in _PATH.findall(text)
    }
    assert len(shown) > 20
    assert not [
        each for each in shown if not any(_matches(each[1], template) for template in templates)
    ]


def _rules(text: str) -> dict[str, list[bool]]:
    """The rows of the table of roles."""
    table = text.split("## Who may do what")[1].split("\n\n", maxsplit=1)[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.strip().splitlines()]
    assert rows[0][1:] == COLUMNS
    return {row[0]: [bool(cell) for cell in row[1:]] for row in rows[2:]}


def test_table_of_roles_is_the_permissions() -> None:
    """Who may do what, by the one table that decides it."""
    rules = _rules((DOCS / "README.md").read_text(encoding="utf-8"))
    order = [
        Role(name) for name in ["billing", "support", "requester", "officer", "auditor", "operator"]
    ]
    for begin, actions in {
        "make customers": (Action.CREATE_CUSTOMER, Action.TOKENIZE),
        "tokenize batches": (Action.TOKENIZE_BATCH,),
        "read masks": (Action.READ_MASKED, Action.SEARCH, Action.READ_CUSTOMER),
        "erase a value": (Action.ERASE,),
        "request a": (
            Action.REQUEST_DISCLOSURE, Action.WITHDRAW_DISCLOSURE, Action.REVEAL,
            Action.TAKE_DISCLOSURE_TOKEN,
        ),
        "determine": (
            Action.DETERMINE_DISCLOSURE, Action.DECIDE_DISCLOSURE, Action.REVOKE_DISCLOSURE,
        ),
        "see requests": (Action.READ_DISCLOSURES,),
        "make, disable": (Action.MANAGE_PRINCIPALS,),
        "erase a customer": (Action.ERASE_CUSTOMER,),
        "read erasures": (Action.READ_ERASURES,),
        "review other": (Action.REVIEW_ACCESS,),
        "read access": (Action.READ_ACCESS_REVIEWS,),
        "place a legal": (Action.PLACE_HOLD, Action.RELEASE_HOLD, Action.READ_HOLD),
        "list legal": (Action.READ_HOLDS,),
        "confirm": (Action.CONFIRM_KEY,),
        "list principals": (Action.READ_PRINCIPALS,),
        "read and verify": (Action.READ_LEDGER,),
        "report to the public": (Action.READ_TRANSPARENCY,),
    }.items():  # fmt: skip
        (row,) = [row for name, row in rules.items() if name.startswith(begin)]
        for action in actions:
            assert row == [role in PERMISSIONS[action] for role in order], (begin, action)


def test_seven_grounds_are_explained() -> None:
    """The officer's guide has an example for each ground, and the policy would allow each."""
    policy = loader.load(Settings().policy_file)
    guide = page(GUIDES / "officer.md")
    examples = [json.loads(text) for text in guide.blocks("json")]
    found = [(each["ground"], each["category"]) for each in examples]
    assert sorted(found) == sorted(policy.grounds)
    for body in examples:
        scope = Scope(
            tokens=tuple(body["tokens"]) if "tokens" in body else None,
            customer=body.get("customer"),
            classes=tuple(body.get("classes", ("payment_card",))),
            fields=tuple(body["fields"]) if "fields" in body else None,
        )
        request = DisclosureRequest(
            ground=body["ground"],
            category=body["category"],
            scope=scope,
            recipient=Recipient(**body["recipient"]),
            evidence=body["evidence"],
            documents=frozenset(body["evidence"].values()),
            uses=body.get("uses", 1),
        )
        decision = decide(policy, request, now=datetime(2026, 11, 23, tzinfo=UTC))
        assert decision.allowed, decision.missing
        ground = policy.grounds[body["ground"], body["category"]]
        for name in (*ground.recipients, *(field.name for field in ground.evidence)):
            assert f"`{name}`" in guide.text, (body["ground"], name)
        assert f"**`{ground.name}`** ({ground.clause})" in guide.text


def test_masks_are_as_shown() -> None:
    """Billing's table shows the masks that the code makes."""
    text = (GUIDES / "billing.md").read_text(encoding="utf-8")
    shown = 0
    for name, value, mask in _MASK_ROW.findall(text):
        made = parse(DataClass(name), json.loads(value), today=date(2026, 11, 23)).mask
        assert dict(made) == json.loads(mask), name
        shown += 1
    assert shown == 4
    card = {"number": "4242 4242 4242 4242", "exp_month": 12, "exp_year": 2035}
    made = parse(DataClass.PAYMENT_CARD, card, today=date(2026, 11, 23)).mask
    assert (
        json.loads(re.findall(r"^\| `payment_card` .* \| `(\{.*\})` \|$", text, re.MULTILINE)[0])
        == made
    )


def raised_by_name() -> set[str]:
    """What is given to `Alarms.raise_in` and `raise_now`, by constants of any module or as text."""
    trees = [tree for _, tree in modules("vault_service")]
    constants = {
        node.target.id: node.value.value
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    place = {"raise_in": 1, "raise_now": 0}
    found = {
        node.args[place[node.func.attr]]
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in place
    }
    names = {
        constants[each.id] for each in found if isinstance(each, ast.Name) and each.id.isupper()
    }
    return names | {each.value for each in found if isinstance(each, ast.Constant)}


def test_alarms_are_told() -> None:
    """Every alarm that the code raises by name stands in the operator's table."""
    told = (GUIDES / "operator.md").read_text(encoding="utf-8")
    raised = set()
    for _, tree in modules("vault_service"):
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "alarm":
                raised |= {
                    each.value
                    for each in ast.walk(node.value)
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                }
    raised |= raised_by_name()
    raised |= {code for code, meaning in CODES.items() if meaning.endswith("an alarm.")}
    assert len(raised) > 4
    assert not {alarm for alarm in raised if f"`{alarm}`" not in told}


def test_every_code_of_the_service_is_documented() -> None:
    """What any use case can answer with stands in the one table of codes."""
    # A name that only the service itself writes, and never a caller.
    own = {"jti_malformed"}
    used = set()
    for room in ("domain", "services", "web", "api"):
        for _, tree in modules(f"vault_service/{room}"):
            for node in ast.walk(tree):
                if isinstance(node, ast.keyword) and node.arg == "code":
                    used.add(getattr(node.value, "value", None))
                elif isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):
                    used.add(getattr(node.value.elts[0], "value", None))
    found = {code for code in used if isinstance(code, str)}
    assert len(found) > 100
    assert found - own <= CODES.keys()
