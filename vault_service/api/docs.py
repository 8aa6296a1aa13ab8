"""The readable page at `/docs` and the document at `/openapi.json`; no outside host is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import jinja2
import msgspec
from flask import Flask, Response

from vault_service import __version__
from vault_service.api import codes, openapi
from vault_service.api.calls import JSON, Operation

# The page has one style sheet of this host, and no script at all.
_PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


def _schema_rows(schema: Mapping[str, Any]) -> list[tuple[str, str, bool, str]]:
    """Name, type, whether required, and description of each field of an object."""
    required = schema.get("required", [])
    return [
        (name, _type(described), name in required, _words(described))
        for name, described in schema.get("properties", {}).items()
    ]


def _words(schema: Mapping[str, Any]) -> str:
    """A field's description, which may stand inside one of its choices."""
    for one in (schema, *schema.get("anyOf", [])):
        if "description" in one:
            return str(one["description"])
    return ""


def _type(schema: Mapping[str, Any]) -> str:
    """A type in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "title" in schema:
        return str(schema["title"])
    if "enum" in schema:
        return " | ".join(f'"{one}"' for one in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"array of {_type(schema.get('items', {}))}"
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def _pretty(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _calls(operations: Sequence[Operation], described: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = []
    for one in operations:
        told = described["paths"][one.path][one.method.lower()]
        calls.append(
            {
                "operation": one,
                "roles": openapi.roles_of(one),
                "parameters": told["parameters"],
                "body": one.body.__name__ if one.body else None,
                "example": None if one.example is None else _pretty(one.example),
                "answers": [
                    (status, kind.__name__ if kind else None)
                    for status, kind in sorted(one.answers.items())
                ],
            }
        )
    return calls


def _page(operations: Sequence[Operation], described: Mapping[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(files("vault_service.api") / "templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["type"] = _type
    schemas = described["components"]["schemas"]
    return environment.get_template("docs.html").render(
        version=__version__,
        about=described["info"]["description"],
        groups=list(dict.fromkeys(one.tag for one in operations)),
        calls=_calls(operations, described),
        schemas={
            name: {"says": schema.get("description", ""), "rows": _schema_rows(schema)}
            for name, schema in sorted(schemas.items())
        },
        codes=sorted(codes.CODES.items()),
    )


def register(app: Flask, operations: Sequence[Operation], *, visited: bool) -> None:
    """Give the application the document, the page and its style sheet; all made once, here."""
    described = openapi.document(operations, visited=visited)
    document = msgspec.json.encode(described)
    page = _page(operations, described).encode()
    style = (files("vault_service.api") / "static" / "docs.css").read_bytes()

    def openapi_json() -> Response:
        return Response(document, content_type=JSON)

    def docs() -> Response:
        response = Response(page, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = _PAGE_POLICY
        return response

    def docs_css() -> Response:
        return Response(style, content_type="text/css; charset=utf-8")

    app.add_url_rule("/openapi.json", "openapi", openapi_json, methods=["GET"])
    app.add_url_rule("/docs", "docs", docs, methods=["GET"])
    app.add_url_rule("/docs/docs.css", "docs_css", docs_css, methods=["GET"])
