"""Names that the vault gives out: tokens, customers, disclosures, principals, keys, requests.

Every name is random or a keyed fingerprint, so nothing about a value can be computed from it. This
module may not see a value; of a card it is told the length and the last four digits only.

Text is Crockford base32 in lower case (`0123456789abcdefghjkmnpqrstvwxyz`), 5 bits a character:

    cus_ + 26            130 bits, random or from the fingerprint of the external reference
    tok_ + bb + 26       bucket, 130 random bits
    9 bbbb r…r llll      card-shaped: bucket in four digits, n-9 random digits, last four digits
    dis_ + bb + 26       bucket (its own, random), 130 random bits
    doc_ + bb + 26       likewise, a document of evidence
    rev_ + 26
    hld_ + bb + 26       bucket of the customer, 130 random bits
    mod_ + bb + 26       bucket of its customer, 130 random bits
    act_ + bb + mm + 26  segment of activity: bucket of its customer, month, 130 random bits
    prn_ + 26, req_ + 26, rec_ + 26, rot_ + 26
    vk_ + 16 + _ + 52    API key: public id, secret of 260 bits; the id is shown as key_ + 16
    bb + 26              a disclosure token's jti: bucket of the disclosure, 130 random bits

`bb` is the bucket, 0 to 1023, in two characters; `mm` is the month, counted from January 2000.
These forms stand in stored data and in other systems: they never change; a new form gets a new
prefix.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256

from vault_service.domain import brands
from vault_service.errors import InvalidInput

TokenBytes = Callable[[int], bytes]

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
BUCKETS = 1024

# acceptance fact A4 and PCI DSS ask for 128 random bits; 26 characters of 5 bits are the next step.
_ID_CHARS = 26
_ID_BYTES = 17
_KEY_ID_CHARS = 16
_SECRET_CHARS = 52

_VALUE = {char: index for index, char in enumerate(ALPHABET)}
_PAIRS = tuple(high + low for high in ALPHABET for low in ALPHABET)

_TOKEN = re.compile(r"tok_([0-9a-hjkmnp-tv-z]{2})[0-9a-hjkmnp-tv-z]{26}", re.ASCII)
_CARD_TOKEN = re.compile(r"9([0-9]{4})[0-9]{8,14}", re.ASCII)
_DISCLOSURE = re.compile(r"dis_([0-9a-hjkmnp-tv-z]{2})[0-9a-hjkmnp-tv-z]{26}", re.ASCII)
_REVIEW = re.compile(r"rev_[0-9a-hjkmnp-tv-z]{26}", re.ASCII)
_HOLD = re.compile(r"hld_([0-9a-hjkmnp-tv-z]{2})[0-9a-hjkmnp-tv-z]{26}", re.ASCII)
_MODIFICATION = re.compile(r"mod_([0-9a-hjkmnp-tv-z]{2})[0-9a-hjkmnp-tv-z]{26}", re.ASCII)
_SEGMENT = re.compile(
    r"act_([0-9a-hjkmnp-tv-z]{2})([0-9a-hjkmnp-tv-z]{2})[0-9a-hjkmnp-tv-z]{26}", re.ASCII
)
_CUSTOMER = re.compile(r"cus_[0-9a-hjkmnp-tv-z]{26}", re.ASCII)
_PRINCIPAL = re.compile(r"prn_[0-9a-hjkmnp-tv-z]{26}", re.ASCII)
_ROTATION = re.compile(r"rot_[0-9a-hjkmnp-tv-z]{26}", re.ASCII)
_RECIPIENT = re.compile(r"rec_[0-9a-hjkmnp-tv-z]{26}", re.ASCII)
_JTI = re.compile(r"([0-9a-hjkmnp-tv-z]{2})[0-9a-hjkmnp-tv-z]{26}", re.ASCII)
_API_KEY = re.compile(r"vk_([0-9a-hjkmnp-tv-z]{16})_([0-9a-hjkmnp-tv-z]{52})", re.ASCII)


def _text(chars: int, source: bytes) -> str:
    """The first `chars` characters (an even number) of the bits of `source`."""
    pairs = chars // 2
    number = int.from_bytes(source, "big") >> (len(source) * 8 - pairs * 10)
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(pairs * 10 - 10, -10, -10)])


def _random_text(chars: int, token_bytes: TokenBytes) -> str:
    return _text(chars, token_bytes((chars * 5 + 7) // 8))


def bucket_text(bucket: int) -> str:
    """The two characters of a bucket.

    Raises:
        ValueError: there is no such bucket.
    """
    if not 0 <= bucket < BUCKETS:
        raise ValueError("a bucket is a number from 0 to 1023")
    return _PAIRS[bucket]


def _bucket_number(text: str) -> int:
    return _VALUE[text[0]] * 32 + _VALUE[text[1]]


# --- customers


def bucket_of(customer_id: str) -> int:
    """The bucket that all rows of a customer share, 0 to 1023."""
    return int.from_bytes(sha256(customer_id.encode()).digest()[:2], "big") & (BUCKETS - 1)


def new_customer_id(*, token_bytes: TokenBytes = secrets.token_bytes) -> str:
    """A random name for a customer without an external reference."""
    return "cus_" + _random_text(_ID_CHARS, token_bytes)


def customer_id_from_fingerprint(digest: bytes) -> str:
    """The name of the customer whose external reference has this keyed fingerprint.

    The same reference gives the same name without a lookup, and whoever lacks the fingerprint key
    cannot go from a reference to the name or back.

    Raises:
        ValueError: the digest is shorter than 130 bits.
    """
    if len(digest) < _ID_BYTES:
        raise ValueError("the digest is too short to name a customer")
    return "cus_" + _text(_ID_CHARS, digest)


def check_customer_id(text: str, *, pointer: str | None = None) -> str:
    """The text, if it has the form of a customer's name.

    Raises:
        InvalidInput: `customer_malformed`.
    """
    if _CUSTOMER.fullmatch(text) is None:
        raise InvalidInput(
            "this is not the name of a customer", code="customer_malformed", pointer=pointer
        )
    return text


# --- tokens


def new_token(bucket: int, *, token_bytes: TokenBytes = secrets.token_bytes) -> str:
    """An opaque token with 130 random bits."""
    return "tok_" + bucket_text(bucket) + _random_text(_ID_CHARS, token_bytes)


def new_card_token(
    bucket: int,
    number_length: int,
    last_four: str,
    *,
    token_bytes: TokenBytes = secrets.token_bytes,
) -> str:
    """A token for a column that holds card numbers: same length, digits, same last four.

    It begins with 9 and the bucket in four digits, so between 90000 and 91023: the major industry
    identifier 9 is left to national use (ISO/IEC 7812-1) and no published scheme issues there. It
    fails the Luhn check, so that nothing takes it for a number. A short number leaves few random
    digits (four of a 13-digit number), so the caller must be ready to draw again when the token is
    taken; nobody can compute the number from it in any case.

    Raises:
        ValueError: the length is not one of a card number, or `last_four` not four digits.
    """
    if not brands.MIN_LENGTH <= number_length <= brands.MAX_LENGTH:
        raise ValueError("no card number has this length")
    if re.fullmatch(r"[0-9]{4}", last_four, re.ASCII) is None:
        raise ValueError("the last four must be four digits")
    bucket_text(bucket)
    middle = number_length - 9
    while True:
        # 9 extra bytes make the remainder's bias smaller than 2^-60.
        draw = int.from_bytes(token_bytes(middle // 2 + 9), "big") % 10**middle
        token = f"9{bucket:04d}{draw:0{middle}d}{last_four}"
        if not brands.luhn_valid(token):
            return token


def is_card_token(token: str) -> bool:
    """Whether the text has the form of a card-shaped token."""
    match = _CARD_TOKEN.fullmatch(token)
    return match is not None and int(match[1]) < BUCKETS and not brands.luhn_valid(token)


def bucket_from_token(token: str, *, pointer: str | None = None) -> int:
    """The bucket that a token names, so that a read goes to one shard.

    Raises:
        InvalidInput: `token_malformed`, also for whatever passes the Luhn check, so that a card
            number sent by mistake goes no further.
    """
    match = _TOKEN.fullmatch(token)
    if match is not None:
        return _bucket_number(match[1])
    if is_card_token(token):
        return int(token[1:5])
    raise InvalidInput("this is not a token", code="token_malformed", pointer=pointer)


# --- disclosures


def new_disclosure_id(*, token_bytes: TokenBytes = secrets.token_bytes) -> str:
    """A name for a disclosure, in a random bucket of its own."""
    bucket = int.from_bytes(token_bytes(2), "big") & (BUCKETS - 1)
    return "dis_" + bucket_text(bucket) + _random_text(_ID_CHARS, token_bytes)


def new_document_id(*, token_bytes: TokenBytes = secrets.token_bytes) -> tuple[int, str]:
    """A bucket, and a name in it for a document of evidence."""
    bucket = int.from_bytes(token_bytes(2), "big") & (BUCKETS - 1)
    return bucket, "doc_" + bucket_text(bucket) + _random_text(_ID_CHARS, token_bytes)


def bucket_from_disclosure_id(text: str, *, pointer: str | None = None) -> int:
    """The bucket that a disclosure's name holds.

    Raises:
        InvalidInput: `disclosure_malformed`.
    """
    match = _DISCLOSURE.fullmatch(text)
    if match is None:
        raise InvalidInput(
            "this is not the name of a disclosure", code="disclosure_malformed", pointer=pointer
        )
    return _bucket_number(match[1])


def new_hold_id(bucket: int, *, token_bytes: TokenBytes = secrets.token_bytes) -> str:
    """A name for a legal hold, which leads to the shard of its customer."""
    return "hld_" + bucket_text(bucket) + _random_text(_ID_CHARS, token_bytes)


def bucket_from_hold_id(text: str, *, pointer: str | None = None) -> int:
    """The bucket that a hold's name holds.

    Raises:
        InvalidInput: `hold_malformed`.
    """
    match = _HOLD.fullmatch(text)
    if match is None:
        raise InvalidInput("this is not the name of a hold", code="hold_malformed", pointer=pointer)
    return _bucket_number(match[1])


def new_jti(bucket: int, *, token_bytes: TokenBytes = secrets.token_bytes) -> str:
    """The name of one disclosure token; it leads to the shard of its disclosure."""
    return bucket_text(bucket) + _random_text(_ID_CHARS, token_bytes)


def bucket_from_jti(jti: str) -> int:
    """The bucket of the disclosure whose token has this name.

    Raises:
        InvalidInput: `jti_malformed`.
    """
    match = _JTI.fullmatch(jti)
    if match is None:
        raise InvalidInput("this is not the name of a disclosure token", code="jti_malformed")
    return _bucket_number(match[1])


# --- modifications


def new_modification_id(bucket: int, *, token_bytes: TokenBytes = secrets.token_bytes) -> str:
    """A name for a change of a customer's data, in the customer's bucket."""
    return "mod_" + bucket_text(bucket) + _random_text(_ID_CHARS, token_bytes)


def bucket_from_modification_id(text: str, *, pointer: str | None = None) -> int:
    """The bucket that the name of a change holds.

    Raises:
        InvalidInput: `modification_malformed`.
    """
    match = _MODIFICATION.fullmatch(text)
    if match is None:
        raise InvalidInput(
            "this is not the name of a modification", code="modification_malformed", pointer=pointer
        )
    return _bucket_number(match[1])


# --- activity


def new_segment_id(
    bucket: int, month: date, *, token_bytes: TokenBytes = secrets.token_bytes
) -> str:
    """A name for entries of one customer and month, which leads to their shard and partition.

    Raises:
        ValueError: the month has no number.
    """
    number = (month.year - 2000) * 12 + month.month - 1
    if not 0 <= number < BUCKETS:
        raise ValueError("months are counted from January 2000 to April 2085")
    return "act_" + bucket_text(bucket) + _PAIRS[number] + _random_text(_ID_CHARS, token_bytes)


def segment_place(text: str) -> tuple[int, date] | None:
    """Bucket and month of a segment of activity; None where the text does not name one."""
    match = _SEGMENT.fullmatch(text)
    if match is None:
        return None
    year, month = divmod(_bucket_number(match[2]), 12)
    return _bucket_number(match[1]), date(2000 + year, month + 1, 1)


def bucket_of_value(name: str, *, pointer: str | None = None) -> int:
    """The bucket of something that can be revealed: a token, or a segment of activity.

    Raises:
        InvalidInput: as `bucket_from_token`.
    """
    place = segment_place(name)
    return bucket_from_token(name, pointer=pointer) if place is None else place[0]


# --- principals, rotations, requests, API keys


def new_principal_id(*, token_bytes: TokenBytes = secrets.token_bytes) -> str:
    """A name for a principal."""
    return "prn_" + _random_text(_ID_CHARS, token_bytes)


def check_principal_id(text: str, *, pointer: str | None = None) -> str:
    """The text, if it has the form of a principal's name.

    Raises:
        InvalidInput: `principal_malformed`.
    """
    if _PRINCIPAL.fullmatch(text) is None:
        raise InvalidInput(
            "this is not the name of a principal", code="principal_malformed", pointer=pointer
        )
    return text


def new_rotation_id(*, token_bytes: TokenBytes = secrets.token_bytes) -> str:
    """A name for a rotation of a key."""
    return "rot_" + _random_text(_ID_CHARS, token_bytes)


def check_rotation_id(text: str, *, pointer: str | None = None) -> str:
    """The text, if it has the form of a rotation's name.

    Raises:
        InvalidInput: `rotation_malformed`.
    """
    if _ROTATION.fullmatch(text) is None:
        raise InvalidInput(
            "this is not the name of a rotation", code="rotation_malformed", pointer=pointer
        )
    return text


def new_review_id(*, token_bytes: TokenBytes = secrets.token_bytes) -> str:
    """A name for an access review."""
    return "rev_" + _random_text(_ID_CHARS, token_bytes)


def check_review_id(text: str, *, pointer: str | None = None) -> str:
    """The text, if it has the form of an access review's name.

    Raises:
        InvalidInput: `access_review_malformed`.
    """
    if _REVIEW.fullmatch(text) is None:
        raise InvalidInput(
            "this is not the name of an access review",
            code="access_review_malformed",
            pointer=pointer,
        )
    return text


def new_recipient_id(*, token_bytes: TokenBytes = secrets.token_bytes) -> str:
    """A name for a recipient."""
    return "rec_" + _random_text(_ID_CHARS, token_bytes)


def check_recipient_id(text: str, *, pointer: str | None = None) -> str:
    """The text, if it has the form of a recipient's name.

    Raises:
        InvalidInput: `recipient_malformed`.
    """
    if _RECIPIENT.fullmatch(text) is None:
        raise InvalidInput(
            "this is not the name of a recipient", code="recipient_malformed", pointer=pointer
        )
    return text


def new_request_id(*, token_bytes: TokenBytes = secrets.token_bytes) -> str:
    """A name for one request."""
    return "req_" + _random_text(_ID_CHARS, token_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """An API key at the one moment when all of it is known.

    Attributes:
        key_id: `key_…`, public.
        secret: what is hashed and compared; 260 random bits in text.
        full: `vk_…`, what the holder is shown once.
    """

    key_id: str
    secret: str = field(repr=False)
    full: str = field(repr=False)


def new_api_key(*, token_bytes: TokenBytes = secrets.token_bytes) -> NewApiKey:
    """A new API key; only a hash of its secret may be stored."""
    public = _random_text(_KEY_ID_CHARS, token_bytes)
    secret = _random_text(_SECRET_CHARS, token_bytes)
    return NewApiKey(key_id=f"key_{public}", secret=secret, full=f"vk_{public}_{secret}")


def parse_api_key(text: str) -> tuple[str, bytes] | None:
    """Key id (`key_…`) and secret of an API key, or None if the text does not have its form."""
    match = _API_KEY.fullmatch(text)
    if match is None:
        return None
    return f"key_{match[1]}", match[2].encode()
