"""The OpenAPI 3.1 document, made from the declared calls and from the types that validate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from vault_service import __version__
from vault_service.api.activity import EntryIn, LoadedEntryIn
from vault_service.api.calls import JSON, Operation
from vault_service.api.errors import ProblemDocument, title_of
from vault_service.api.schemas import AliveOut, ReadyOut, TokenIn, VisitIn
from vault_service.api.services import ServiceIn
from vault_service.domain.actors import PERMISSIONS

_REF: Final = "#/components/schemas/{name}"
_PROBLEM: Final = {
    "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}
}
_PATH_WORDS: Final = {
    "message": "Id of a message, `msg_…`.",
    "recipient": "A recipient on record, `rec_…`.",
    "token": "A token, `tok_…` or card-shaped.",
    "customer": "A customer, `cus_…`.",
    "evidence": "The name of a piece of evidence that is a document.",
    "other": "Another customer, `cus_…`.",
    "modification": "A change of a customer's data, `mod_…`.",
    "disclosure": "A disclosure request, `dis_…`.",
    "rotation": "A rotation of a key, `rot_…`.",
    "review": "An access review, `rev_…`.",
    "hold": "A legal hold, `hld_…`.",
    "version": "A version of the policy, the SHA-256 of its file in hexadecimal.",
    "principal": "A principal, `prn_…`, or `me`.",
    "key": "An API key's id, `key_…`.",
    "tile": "`<L>/<N>[.p/<W>]` or `entries/<N>[.p/<W>]`, as C2SP tlog-tiles names them.",
    "entry": "A ledger entry's id, such as a receipt's `entry`.",
}
_ABOUT: Final = """\
Values in, tokens and masks out. A value comes back only against a disclosure token, and a
disclosure token exists only where people other than the requester approved a request that names a
ground of the privacy policy. Errors are problem documents (RFC 9457) whose `code` is stable."""


_VISIT_ANSWERS: Final = {
    str(status): {"description": title_of(status), "content": _PROBLEM}
    for status in (400, 403, 413, 415, 422, 429, 500, 503)
}
_VISIT: Final[dict[str, Any]] = {
    "operationId": "count_visit",
    "summary": "Count a visit of the company's website, in aggregate; for its pages' scripts.",
    "tags": ["visits"],
    "security": [],
    "responses": {"204": {"description": "Done"}, **_VISIT_ANSWERS},
}
_VISIT_GIF: Final[dict[str, Any]] = {
    "operationId": "count_visit_by_image",
    "summary": "The same, for pages without scripts: an image of one pixel.",
    "tags": ["visits"],
    "security": [],
    "parameters": [
        {"name": name, "in": "query", "description": words, "schema": {"type": "string"}}
        for name, words in (
            ("p", "The page's path; else it is taken from the header Referer."),
            ("r", "The address that the visitor came from."),
        )
    ],
    "responses": {
        "200": {
            "description": "Done",
            "content": {"image/gif": {"schema": {"type": "string"}}},
        },
        **_VISIT_ANSWERS,
    },
}


def document(operations: Sequence[Operation], *, visited: bool) -> dict[str, Any]:
    """The document that describes these operations.

    Args:
        operations: the calls of principals.
        visited: whether visits of the website are counted, too.
    """
    kinds: list[type] = [ProblemDocument, AliveOut, ReadyOut, TokenIn, ServiceIn, VisitIn]
    kinds += [EntryIn, LoadedEntryIn]
    for operation in operations:
        for kind in (operation.body, *operation.answers.values()):
            if kind is not None and kind not in kinds:
                kinds.append(kind)
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    named = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(
            operation, named
        )
    paths |= _infrastructure(named)
    if visited:
        paths["/u.gif"] = {"get": _VISIT_GIF}
        paths.setdefault("/v1/usage", {})["post"] = _VISIT | {
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": named[VisitIn]}},
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Vault service", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"apiKey": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in operations)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, `vk_…`, bound to a principal with roles.",
                }
            },
        },
    }


def _operation(operation: Operation, named: Mapping[type, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "description": _description(operation),
        "parameters": _parameters(operation),
        "responses": _responses(operation, named),
    }
    if operation.signed:
        described["security"] = []
    if operation.takes is not None:
        described["requestBody"] = _octets(operation)
    if operation.body is not None:
        media: dict[str, Any] = {"schema": named[operation.body]}
        if operation.example is not None:
            media["example"] = operation.example
        described["requestBody"] = {
            "required": not operation.optional_body,
            "content": {"application/json": media},
        }
    return described


def _octets(operation: Operation) -> dict[str, Any]:
    return {
        "required": True,
        "description": f"The bytes themselves, at most {operation.takes}.",
        "content": {"application/octet-stream": {}},
    }


def roles_of(operation: Operation) -> list[str]:
    """The roles that may make a call, by the one table of permissions."""
    if operation.action is None:
        return []
    return sorted(str(role) for role in PERMISSIONS[operation.action])


def _description(operation: Operation) -> str:
    roles = roles_of(operation)
    who = f"For {', '.join(roles)}." if roles else "For every principal, each about itself."
    codes = ", ".join(f"`{code}`" for code in operation.codes)
    return f"{who} Error codes of its own: {codes}." if codes else who


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_WORDS[name],
            "schema": {"type": "string"},
        }
        for name in _path_names(operation.path)
    ]
    if operation.query is not None:
        found += _query_parameters(operation.query)
    found += [
        {
            "name": header.name,
            "in": "header",
            "required": header.required,
            "description": header.description,
            "schema": {"type": "string"},
        }
        for header in operation.headers
    ]
    return found


def _path_names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _query_parameters(kind: type) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([kind], ref_template=_REF)
    schema = components[kind.__name__]
    required = schema.get("required", [])
    found = []
    for name, described in schema["properties"].items():
        # A query has no null: what is left out is left out.
        told = _without_null(described)
        words = told.pop("description", None)
        parameter = {"name": name, "in": "query", "required": name in required, "schema": told}
        found.append(parameter | ({"description": words} if words else {}))
    return found


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    choices = [one for one in schema.get("anyOf", []) if one.get("type") != "null"]
    if len(choices) == 1:
        return dict(choices[0])
    return {name: value for name, value in schema.items() if name != "default" or value is not None}


def _responses(operation: Operation, named: Mapping[type, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, kind in sorted(operation.answers.items()):
        responses[str(status)] = _response("Done", None if kind is None else named[kind])
        if operation.media != JSON:
            responses[str(status)]["content"] = {operation.media: {"schema": {"type": "string"}}}
    statuses = {401, 403, 422, 429, 500, 503}
    if operation.body is not None or operation.takes is not None:
        statuses |= {400, 413, 415}
    if operation.takes is not None:
        statuses.add(411)
    if operation.query is not None:
        statuses.add(400)
    if _path_names(operation.path) or operation.codes:
        statuses |= {404, 409}
    for status in sorted(statuses):
        responses[str(status)] = {"description": title_of(status), "content": _PROBLEM}
    return responses


def _response(description: str, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": description,
        "headers": {
            "Request-Id": {"description": "Name of the request.", "schema": {"type": "string"}}
        },
    }
    if schema is not None:
        response["content"] = {"application/json": {"schema": schema}}
    return response


def _infrastructure(named: Mapping[type, Any]) -> dict[str, Any]:
    def get(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
        return {
            "get": {
                "operationId": name,
                "summary": summary,
                "tags": ["service"],
                "security": [],
                "responses": responses,
            }
        }

    keys = {"content": {"application/jwk-set+json": {"schema": {"type": "object"}}}}
    text = {"content": {"text/plain": {"schema": {"type": "string"}}}}
    return {
        "/healthz": get(
            "healthz", "Alive.", {"200": _response("The process runs", named[AliveOut])}
        ),
        "/readyz": get(
            "readyz",
            "Able to serve, with reasons.",
            {
                "200": _response("Ready", named[ReadyOut]),
                "503": _response("Not ready", named[ReadyOut]),
            },
        ),
        "/metrics": get("metrics", "Counters.", {"200": {"description": "Prometheus", **text}}),
        "/.well-known/jwks.json": get(
            "jwks",
            "Public keys of disclosure tokens.",
            {
                "200": {"description": "A JWK set", **keys},
                "503": {"description": title_of(503), "content": _PROBLEM},
            },
        ),
    }
