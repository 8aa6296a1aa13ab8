"""Bodies: from bytes to plain JSON values, refusing whatever two readers could read differently.

The order matters. Fields that may never be sent (verification codes, track data, pins) are looked
for before anything else is checked, so that no later message or log line can be about them. Names
and values of the body appear in no message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from flask import Request

from vault_service.domain.freetext import check_forbidden_fields
from vault_service.errors import InvalidInput

# Bytes that are read of a large body at a time.
PIECE: Final = 64 * 1024
# Deeper than any body of the interface (evidence of a disclosure: 3), shallow enough to be walked.
MAX_DEPTH: Final = 16

# What remains of a JSON text without its strings is its punctuation.
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_CONTAINERS: Final = frozenset((dict, list))

_decoder: Final = msgspec.json.Decoder()


def read(request: Request, limit: int, *, optional: bool) -> bytes:
    """The body's bytes, at most `limit`.

    Args:
        request: the request; its body is read here, once.
        limit: bytes.
        optional: whether no body at all stands for an empty object.

    Raises:
        InvalidInput: `body_too_large`, `body_missing`, `body_incomplete`,
            `content_type_unsupported`, `content_encoding_unsupported`.
    """
    if request.content_length is not None and request.content_length > limit:
        raise _too_large(limit)
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise InvalidInput(
            "a body is sent as it is, not compressed", code="content_encoding_unsupported"
        )
    # One byte more than allowed, because werkzeug cuts a chunked body at its maximum and is silent.
    request.max_content_length = limit + 1
    data = request.get_data(cache=False)
    if len(data) > limit:
        raise _too_large(limit)
    if request.content_length not in {None, len(data)}:
        raise InvalidInput("the body ends too early", code="body_incomplete")
    if not data:
        if optional:
            return b"{}"
        raise InvalidInput("this call needs a JSON body", code="body_missing")
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != "application/json" or charset not in {"utf-8", "utf8"}:
        raise InvalidInput(
            "send application/json in UTF-8",
            code="content_type_unsupported",
            hint="set the header Content-Type: application/json",
        )
    return data


def pieces(request: Request, limit: int) -> Iterator[bytes]:
    """The bytes of a body that is not JSON, at most `limit`, in pieces as they come.

    Its length must be declared: a body in chunks that breaks off looks to an application like one
    that has ended (measured with Granian 2.8.7), and half of a document is not the document.

    Raises:
        InvalidInput: `length_required`, `body_too_large`, `content_encoding_unsupported` before
            anything is read; `body_missing`, `body_incomplete` at its end.
    """
    declared = request.content_length
    if declared is None:
        raise InvalidInput("send the header Content-Length", code="length_required")
    if declared > limit:
        raise _too_large(limit)
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise InvalidInput(
            "a body is sent as it is, not compressed", code="content_encoding_unsupported"
        )
    return _pieces(request, declared)


def _pieces(request: Request, declared: int) -> Iterator[bytes]:
    # One byte more than declared, because werkzeug refuses to look behind its maximum.
    request.max_content_length = declared + 1
    stream, size = request.stream, 0
    while piece := stream.read(PIECE):
        size += len(piece)
        yield piece
    if size != declared:
        raise InvalidInput("the body ends too early", code="body_incomplete")
    if not size:
        raise InvalidInput("this call needs a body", code="body_missing")


def _too_large(limit: int) -> InvalidInput:
    return InvalidInput(f"a body holds at most {limit} bytes", code="body_too_large")


def decode(data: bytes) -> object:
    """The JSON value that the bytes stand for.

    Raises:
        InvalidInput: `sensitive_authentication_data`, `json_invalid`, `encoding_invalid`,
            `nesting_too_deep`, `member_repeated`, `number_out_of_range`.
    """
    try:
        value = _decoder.decode(data)
    except UnicodeDecodeError:
        raise InvalidInput("the body is not UTF-8", code="encoding_invalid") from None
    except RecursionError:
        raise _too_deep() from None
    except msgspec.ValidationError:
        raise InvalidInput("a number is out of range", code="number_out_of_range") from None
    except msgspec.DecodeError:
        raise InvalidInput("the body is not JSON", code="json_invalid") from None
    _check(value, data)
    return value


def _survey(value: object) -> tuple[set[str], int, int]:
    """All names of members, how many members there are, and the depth; without recursion."""
    names: set[str] = set()
    members = deepest = 0
    todo: list[tuple[object, int]] = [(value, 1)]
    while todo:
        node, depth = todo.pop()
        deepest = max(deepest, depth)
        children: Iterable[object] = ()
        if isinstance(node, dict):
            members += len(node)
            names.update(node)
            children = node.values()
        elif isinstance(node, list):
            children = node
        todo += [(child, depth + 1) for child in children if type(child) in _CONTAINERS]
    return names, members, deepest


def _check(value: object, data: bytes) -> None:
    names, members, deepest = _survey(value)
    # By name alone first: most bodies hold the same few names a thousand times.
    try:
        check_forbidden_fields(dict.fromkeys(names))
    except InvalidInput:
        check_forbidden_fields(value)
        raise
    if deepest > MAX_DEPTH:
        raise _too_deep()
    # The text has one colon for each member, outside of strings; the value has each name once.
    if data.count(b":") != members and _STRING.sub(b"", data).count(b":") != members:
        raise InvalidInput(
            "an object names a member twice; readers differ on what that means",
            code="member_repeated",
        )


def _too_deep() -> InvalidInput:
    return InvalidInput(f"a body nests at most {MAX_DEPTH} deep", code="nesting_too_deep")
