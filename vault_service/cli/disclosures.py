"""`vault-service disclosures`: from a request to the revealed value."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from vault_service.cli import screen, tables
from vault_service.cli.commands import LazyGroup, PlainCommand, api
from vault_service.cli.exits import ExitCode, Failed
from vault_service.cli.session import (
    read_private,
    session,
    write_private,
    write_private_bytes,
)
from vault_service.cli.tokens import pairs
from vault_service.cli.values_input import read_json_object, read_text
from vault_service.client import Client, models
from vault_service.client.proof_key import ALGORITHMS, ProofKey

_F = TypeVar("_F", bound=Callable[..., Any])
_COLUMNS: Final = ("id", "state", "ground", "recipient", "approvals needed", "uses left", "created")
_REVEAL_AT_ONCE: Final = 1000


@click.group("disclosures", cls=LazyGroup, lazy={"report": "vault_service.cli.transparency:report"})
def group() -> None:
    """Ask for a disclosure, decide on it, and reveal under it."""


def _request_options(function: _F) -> _F:
    """The flags that make up a request."""
    for option in reversed(
        (
            click.option("--file", "file", metavar="FILE", help="The request as JSON; - is stdin."),
            click.option("--ground", help="Why, by the policy: vault-service policy show."),
            click.option("--category", default=None, help="[personal_and_account]"),
            click.option("--recipient-kind", help="Who shall receive the data, by kind."),
            click.option("--recipient-name", help="Who shall receive the data, by name."),
            click.option(
                "--recipient", "recipient_id", metavar="ID", help="Who, of those on record."
            ),
            click.option(
                "--delivery",
                type=click.Choice(["holder", "package"]),
                help="Package: sealed for a recipient on record [holder].",
            ),
            click.option("--token", "tokens", multiple=True, help="Token in scope; repeatable."),
            click.option("--customer", help="Customer in scope, with --class."),
            click.option("--class", "classes", multiple=True, help="Class in scope; repeatable."),
            click.option("--field", "fields", multiple=True, help="Field in scope; repeatable."),
            click.option(
                "--evidence",
                metavar="NAME=TEXT",
                multiple=True,
                help="What the ground asks for; NAME=@FILE reads a file. Repeatable.",
            ),
            click.option(
                "--document",
                "documents",
                metavar="NAME=FILE",
                multiple=True,
                help="Upload FILE and show it as this piece of evidence. Repeatable.",
            ),
            click.option(
                "--proof-of-possession",
                is_flag=True,
                default=None,
                help="Give tokens only to the holder of a key.",
            ),
            click.option("--uses", type=click.IntRange(1), help="How many reveals [1]."),
            click.option("--amends", metavar="DISCLOSURE", help="Your request that it replaces."),
            click.option("--duration", type=click.IntRange(1), help="Seconds of the grant."),
        )
    ):
        function = option(function)
    return function


def _uploaded(client: Client, documents: tuple[str, ...]) -> dict[str, str]:
    """The digests of files that were uploaded, by the evidence that they are."""
    found: dict[str, str] = {}
    for name, file in pairs(documents, "--document").items():
        path = Path(file)
        if not path.is_file():
            raise click.UsageError(f"--document: there is no file {file}")
        found[name] = client.evidence.upload(path.read_bytes()).digest
    return found


def _request(
    *,
    file: str | None,
    recipient_kind: str | None,
    recipient_name: str | None,
    recipient_id: str | None,
    **flags: Any,
) -> dict[str, Any]:
    """The request that file and flags make; a flag wins over the file."""
    request: dict[str, Any] = {} if file is None else read_json_object(read_text(file))
    evidence = {
        name: read_text(text[1:]).strip() if text.startswith("@") else text
        for name, text in pairs(flags.pop("evidence"), "--evidence").items()
    }
    if evidence:
        request["evidence"] = {**request.get("evidence", {}), **evidence}
    recipient = {"kind": recipient_kind, "name": recipient_name, "id": recipient_id}
    given = {name: value for name, value in recipient.items() if value is not None}
    if given:
        request["recipient"] = {**request.get("recipient", {}), **given}
    for flag, value in flags.items():
        if value is not None and value != ():
            name = "duration_seconds" if flag == "duration" else flag
            request[name] = list(value) if isinstance(value, tuple) else value
    request.setdefault("category", "personal_and_account")
    if "ground" not in request or "recipient" not in request:
        raise click.UsageError(
            "a request needs --ground, and --recipient or --recipient-kind and --recipient-name"
        )
    return request


def _show_documents(request: dict[str, Any], documents: dict[str, str]) -> None:
    if documents:
        request["evidence"] = {**request.get("evidence", {}), **documents}


@api(group, "create", "requester")
@_request_options
@click.option("--draft", is_flag=True, help="Keep it as a draft; `submit` submits it.")
def create(*, draft: bool, documents: tuple[str, ...], **flags: Any) -> None:
    """Ask for a disclosure, by flags or by a JSON file."""
    request = _request(**flags)
    with session().client() as client:
        _show_documents(request, _uploaded(client, documents))
        _show(client.disclosures.create(request, draft=draft))


@api(group, "explain", "requester")
@_request_options
def explain(*, documents: tuple[str, ...], **flags: Any) -> None:
    """Say what the policy would answer, without doing anything. Exit 3 where it would refuse."""
    request = _request(**flags)
    with session().client() as client:
        _show_documents(request, _uploaded(client, documents))
        explanation = client.disclosures.explain(request)
    _tell(explanation)


@api(group, "lacking", "requester", "officer")
@click.argument("disclosure")
def lacking(disclosure: str) -> None:
    """Say what a request lacks to become a grant. Exit 3 where it is refused as it stands."""
    with session().client() as client:
        explanation = client.disclosures.lacking(disclosure)
    _tell(explanation)


def _tell(explanation: models.Explanation) -> None:
    if session().as_json:
        screen.write_json(explanation)
    elif explanation.allowed:
        screen.write_line(f"The policy would allow this, by clause {explanation.clause}.")
    else:
        screen.write_line("The policy would not allow this:")
        for one in explanation.missing:
            clause = f" [clause {one.clause}]" if one.clause else ""
            screen.write_line(f"  {one.pointer or '/'}: {one.detail} ({one.code}){clause}")
    # What only people have yet to do does not stop a request from being made.
    if any(one.stage == "request" for one in explanation.missing):
        click.get_current_context().exit(ExitCode.REFUSED)


@api(group, "submit", "requester")
@click.argument("disclosure")
def submit(disclosure: str) -> None:
    """Submit a draft; harmless on a submitted one."""
    with session().client() as client:
        _show(client.disclosures.submit(disclosure))


@api(group, "list", "officer", "requester")
@click.option("--state", help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1), help="Stop after that many.")
def list_disclosures(state: str | None, limit: int | None) -> None:
    """List requests and grants that you may see."""
    with session().client() as client:
        found = list(islice(client.disclosures.list(state=state), limit))
    if session().as_json:
        screen.write_json({"items": found})
        return
    tables.write_table(
        _COLUMNS,
        (
            (
                each.id,
                each.state,
                f"{each.ground} ({each.clause})",
                each.recipient.kind,
                each.approvals_needed,  # a page holds no decisions; `show` counts them
                f"{each.uses_left} of {each.uses}",
                each.created_at,
            )
            for each in found
        ),
        empty="no disclosures",
    )


@api(group, "show", "officer", "requester")
@click.argument("disclosure")
def show(disclosure: str) -> None:
    """Show one request or grant, with its evidence where you may see it."""
    with session().client() as client:
        _show(client.disclosures.get(disclosure))


_reasons = click.option("--reasons", required=True, metavar="TEXT", help="Why; @FILE reads a file.")


@api(group, "determine", "officer")
@click.argument("disclosure")
@click.option("--valid/--not-valid", required=True, help="What you found of the legal process.")
@_reasons
@click.option("--token", "tokens", multiple=True, help="Token that it covers; repeatable.")
@click.option("--customer", help="Customer whom it covers, with --class.")
@click.option("--class", "classes", multiple=True, help="Class that it covers; repeatable.")
@click.option("--begins", metavar="YYYY-MM-DD", help="Its first day.")
@click.option("--ends", metavar="YYYY-MM-DD", help="Its last day.")
def determine(*, disclosure: str, valid: bool, reasons: str, **instrument: Any) -> None:
    """Record whether legal process is valid and enforceable, why, and what it covers."""
    said = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in instrument.items()
        if value
    }
    with session().client() as client:
        _show(
            client.disclosures.determine(
                disclosure, valid=valid, reasons=_text(reasons), instrument=said or None
            )
        )


@api(group, "annul", "officer")
@click.argument("disclosure")
@_reasons
def annul(disclosure: str, reasons: str) -> None:
    """Record that legal process is valid no longer; the request or grant ends at once."""
    with session().client() as client:
        _show(client.disclosures.annul(disclosure, reasons=_text(reasons)))


def _text(given: str) -> str:
    return read_text(given[1:]).strip() if given.startswith("@") else given


def _decision(step: str, role: str, sentence: str) -> None:
    def run(disclosure: str, comment: str | None) -> None:
        with session().client() as client:
            _show(getattr(client.disclosures, step)(disclosure, comment=comment))

    run.__doc__ = sentence
    command = click.option("--comment", metavar="TEXT", help="For requester and officers only.")
    api(group, step, role)(click.argument("disclosure")(command(run)))


_decision("approve", "officer", "Agree, as one of the officers that it takes.")
_decision("deny", "officer", "Refuse a request.")
_decision("revoke", "officer", "End a grant; acts on the next request.")
_decision("withdraw", "requester", "Take your own request, or grant, back.")


_dpop_key = click.option(
    "--dpop-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The key that the token is bound to; `new-dpop-key` makes one.",
)


def _proof_key(path: Path | None) -> ProofKey | None:
    return None if path is None else ProofKey.parse(read_private(path))


@group.command("new-dpop-key", cls=PlainCommand)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--algorithm", type=click.Choice(ALGORITHMS), default="ES256", show_default=True)
def new_dpop_key(file: Path, algorithm: str) -> None:
    """Make a key for --dpop-key, in a new file (0600) that never leaves you."""
    key = ProofKey.generate(algorithm)
    write_private(file, key.private_jwk() + "\n")
    if session().as_json:
        screen.write_json({"file": str(file), "thumbprint": key.thumbprint})
    else:
        screen.write_line(key.thumbprint)
        screen.note(f"the key is in {file}; tokens bound to it name this thumbprint")


@api(group, "token", "requester")
@click.argument("disclosure")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write it to a new file (0600) instead."
)
@_dpop_key
def token(disclosure: str, output: Path | None, dpop_key: Path | None) -> None:
    """Exchange a grant for a disclosure token, which lives some minutes."""
    proof_key = _proof_key(dpop_key)
    with session().client() as client:
        issued = client.disclosures.token(disclosure, proof_key=proof_key)
    if output is not None:
        write_private(output, issued.token + "\n")
        issued = models.DisclosureToken(token=str(output), expires_at=issued.expires_at)
    if session().as_json:
        name = "token" if output is None else "file"
        screen.write_json({name: issued.token, "expires_at": issued.expires_at})
    else:
        screen.write_line(issued.token)
        screen.note(f"valid until {screen.shown(issued.expires_at)}")


@api(group, "reveal", "requester")
@click.argument("disclosure")
@click.option("--token", "tokens", multiple=True, help="Only these of its scope; repeatable.")
@click.option("--field", "fields", multiple=True, help="Only these fields; repeatable.")
@click.option(
    "--disclosure-token-file",
    metavar="FILE",
    help="Use this disclosure token (- is standard input) instead of taking a new one.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write a package for the recipient, or contents, to a new file instead.",
)
@click.option("--content", is_flag=True, help="The contents of one communication, to --output.")
@_dpop_key
def reveal(
    *,
    disclosure: str,
    tokens: tuple[str, ...],
    fields: tuple[str, ...],
    disclosure_token_file: str | None,
    output: Path | None,
    content: bool,
    dpop_key: Path | None,
) -> None:
    """Reveal values under a grant of yours. Spends one of its uses."""
    proof_key = _proof_key(dpop_key)
    with session().client() as client:
        asked = client.disclosures.get(disclosure)
        _check_output(asked, output, content=content)
        wanted = list(tokens) or _scope(asked)
        if content and len(wanted) != 1:
            raise click.UsageError("contents come one at a time: name one with --token")
        if disclosure_token_file is None:
            proof = client.disclosures.token(disclosure, proof_key=proof_key).token
        else:
            proof = read_text(disclosure_token_file).strip()
        if content and output is not None:
            _keep_contents(output, client.reveal_content(proof, wanted[0], proof_key=proof_key))
            return
        answer = client.reveal(proof, wanted, fields=list(fields) or None, proof_key=proof_key)
    if answer.package is not None and output is not None:
        _keep_package(output, answer.package)
    if session().as_json:
        screen.write_json(answer)
    else:
        if answer.package is None:
            _write_values(answer)
        else:
            screen.write_line(answer.package if output is None else str(output))
        receipt = answer.receipt
        _note_receipt(receipt)
    if any(each.error is not None for each in answer.results):
        click.get_current_context().exit(ExitCode.SOME_FAILED)


def _note_receipt(receipt: models.Receipt) -> None:
    screen.note(
        f"receipt {receipt.entry}: {receipt.values} values under {receipt.grant},"
        f" ground {receipt.ground} ({receipt.clause}), {screen.shown(receipt.at)}"
    )


def _check_output(disclosure: models.Disclosure, output: Path | None, *, content: bool) -> None:
    """Return if a package or contents can be written there, before a use is spent for it.

    Raises:
        click.UsageError: there is such a file, or the values come in plain, or no file was named.
    """
    if output is None:
        if content:
            raise click.UsageError("contents go to a file: name one with --output")
        return
    if not content and disclosure.delivery != "package":
        raise click.UsageError("--output is for packages, and this grant answers in plain")
    if output.exists():
        raise click.UsageError(f"{output} is there already: choose a name that is free")


def _keep_contents(output: Path, answer: models.Content) -> None:
    try:
        write_private_bytes(output, answer.content)
    except Failed:
        # The use is spent, so what it bought goes where it can still be had.
        sys.stdout.buffer.write(answer.content)
        raise
    if session().as_json:
        screen.write_json({"file": str(output), "receipt": answer.receipt})
    else:
        screen.write_line(str(output))
        _note_receipt(answer.receipt)


def _keep_package(output: Path, package: str) -> None:
    try:
        write_private(output, package + "\n")
    except Failed:
        # The use is spent, so what it bought goes where it can still be had.
        screen.write_line(package)
        raise


def _write_values(answer: models.RevealAnswer) -> None:
    rows = (
        (each.id, each.data_class, each.value if each.error is None else each.error.detail)
        for each in answer.results
    )
    tables.write_table(("token", "class", "value"), rows)


def _scope(disclosure: models.Disclosure) -> list[str]:
    """The tokens of a grant's scope.

    Raises:
        click.UsageError: it has none by name, or more than one reveal takes.
    """
    if disclosure.tokens is None:
        raise click.UsageError("this grant is for a customer's classes: name tokens with --token")
    if not disclosure.tokens or len(disclosure.tokens) > _REVEAL_AT_ONCE:
        raise click.UsageError(f"name 1 to {_REVEAL_AT_ONCE} tokens with --token")
    return disclosure.tokens


def _approvals(disclosure: models.Disclosure) -> int:
    return sum(decision.kind == "approve" for decision in disclosure.decisions)


def _covered(said: models.Instrument | None) -> dict[str, object]:
    """What an officer said that the instrument covers."""
    if said is None:
        return {}
    whose = said.tokens or [f"{said.customer}: {', '.join(said.classes)}"]
    return {"instrument covers": "\n".join(whose), "from": said.begins, "until": said.ends}


def _show(disclosure: models.Disclosure) -> None:
    if session().as_json:
        screen.write_json(disclosure)
        return
    tables.write_facts(
        {
            "id": disclosure.id,
            "state": disclosure.state,
            "ground": f"{disclosure.ground} (clause {disclosure.clause})",
            "category": disclosure.category,
            "requester": disclosure.requester,
            "recipient": f"{disclosure.recipient.kind}: {screen.shown(disclosure.recipient.name)}",
            "tokens": "\n".join(disclosure.tokens) if disclosure.tokens else None,
            "customer": disclosure.customer,
            "classes": disclosure.classes,
            "fields": disclosure.fields,
            "uses left": f"{disclosure.uses_left} of {disclosure.uses}",
            "approvals": f"{_approvals(disclosure)} of {disclosure.approvals_needed}",
            "determination": "needed" if disclosure.determination_needed else None,
            "proof of possession": "demanded" if disclosure.proof_of_possession else None,
            "delivery": disclosure.delivery if disclosure.delivery != "holder" else None,
            "amends": disclosure.amends,
            **_covered(disclosure.instrument),
            **{f"evidence {name}": text for name, text in (disclosure.evidence or {}).items()},
            "created": disclosure.created_at,
            "submitted": disclosure.submitted_at,
            "active since": disclosure.activated_at,
            "expires": disclosure.expires_at,
            "ended": disclosure.ended_at,
            "policy": disclosure.policy,
        }
    )
    if disclosure.decisions:
        tables.write_table(
            ("decision", "by", "at", "comment"),
            ((each.kind, each.principal, each.at, each.comment) for each in disclosure.decisions),
        )
