"""Webhooks after the Standard Webhooks specification: messages, and their signatures.

A message is inserted by the transaction that does what it tells of. The worker makes a delivery of
it for each endpoint that wants it, and sends each at least once:

    webhook-id          msg_ + 32 hex digits; the same in every attempt, so receivers drop doubles
    webhook-timestamp   seconds since 1970, of this attempt
    webhook-signature   v1,base64(HMAC-SHA256(secret, "{id}.{timestamp}.{body}")), one for each
                        secret, parted by spaces, so that a secret can be changed without a gap
    body                {"type":"…","timestamp":"…","data":{…}}

Messages go to the addresses of the settings and nowhere else. They hold no personal data: names of
the vault, which only its callers can use.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
from uuid_utils import uuid7

from keys.secret import Secret
from vault_service.domain import tokens as names
from vault_service.services.ports import Transaction
from vault_service.services.webhook_ports import NewMessage

PREFIX: Final = "whsec_"
# The specification's bounds for a secret, in bytes.
SECRET_BYTES: Final = (24, 64)
# The specification advises small payloads: receivers bound what they read.
MAX_BODY: Final = 16 * 1024
_MESSAGE: Final = re.compile(r"msg_([0-9a-f]{32})", re.ASCII)


def enqueue(
    tx: Transaction,
    kind: str,
    data: Mapping[str, str | int | Sequence[str]],
    *,
    at: datetime,
    belongs_to: str | None = None,
) -> str:
    """Have a message sent once the unit of work commits; returns its `webhook-id`.

    Args:
        tx: the unit of work that does what the message tells of.
        kind: the type, `family.event`.
        data: what it says; no personal data.
        at: the database's time.
        belongs_to: the customer beside whose rows the message lies, if it is about one.

    Raises:
        ValueError: the message is too large.
    """
    body = msgspec.json.encode(
        {"type": kind, "timestamp": at.isoformat().replace("+00:00", "Z"), "data": dict(data)}
    )
    if len(body) > MAX_BODY:
        raise ValueError("a message holds 16 KiB at most")
    fresh = uuid.UUID(str(uuid7()))
    tx.webhooks.append(
        NewMessage(bucket=names.bucket_of(belongs_to or fresh.hex), id=fresh, type=kind, body=body)
    )
    return message_id(fresh)


def message_id(message: uuid.UUID) -> str:
    """The `webhook-id` of a message."""
    return f"msg_{message.hex}"


def parse_message_id(text: str) -> uuid.UUID | None:
    """The message of a `webhook-id`; None where it is none."""
    match = _MESSAGE.fullmatch(text)
    return None if match is None else uuid.UUID(match[1])


def parse_secret(text: str) -> Secret:
    """A secret of the form `whsec_` + base64.

    Raises:
        ValueError: it has another form, or is too short or too long; says nothing of it.
    """
    if not text.startswith(PREFIX):
        raise ValueError("a webhook secret begins with whsec_")
    try:
        raw = base64.b64decode(text[len(PREFIX) :], validate=True)
    except binascii.Error:
        raw = b""
    if not SECRET_BYTES[0] <= len(raw) <= SECRET_BYTES[1]:
        raise ValueError("a webhook secret is whsec_ and 24 to 64 bytes in base64")
    return Secret(raw)


def sign(secrets: Sequence[Secret], *, message: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each secret."""
    signed = f"{message}.{timestamp}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.new(each.expose(), signed, hashlib.sha256).digest()).decode()
        for each in secrets
    )
