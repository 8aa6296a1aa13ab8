"""The last filter of every line that is written: masks what must never stand in a log.

It is a net under the allow-list of `vault_service.logs`, not a licence to log: it knows secrets by
their form only. It works on a finished line of text and may not import anything that could log.
"""

from __future__ import annotations

import re
from typing import Final

from vault_service.domain.freetext import find_card_numbers

MASK: Final = "[masked]"

_SECRETS: Final = re.compile(
    r"vk_[0-9A-Za-z_]{8,}"  # API keys
    r"|\b(?:hv[sbr]\.[\w-]{8,}|[sbr]\.[A-Za-z0-9]{20,})"  # tokens of Vault and of OpenBao
    r"|vault:v[0-9]+:[A-Za-z0-9+/=_-]+"  # Transit ciphertexts and signatures
    r"|eyJ[\w-]{8,}(?:\.[\w-]*){0,4}"  # JWS and JWE
    r"|(?<=://)[^\s/@:\"']*:[^\s/@\"']*(?=@)"  # user and password in a URL
    r"|-----BEGIN [A-Z0-9 ]+-----(?:(?!-----END)[\s\S])*(?:-----END [A-Z0-9 ]+-----)?"
)

# Most lines hold none of these; asking first is much faster than looking for each at every place.
_HINTS: Final = ("vk_", "eyJ", "vault:v", "://", "-----BEGIN", "s.", "b.", "r.")

# 256 bits are 43 characters of base64, 52 of base32 and 64 of hexadecimal. Identifiers of the
# service are at most 33 characters and UUIDs 36, so neither is taken for a key.
_RUN: Final = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{40,}={0,2}")
_LOWER_KEY: Final = re.compile(r"(?=[a-z]*[0-9])[0-9a-z]{48,}|(?=[A-Z]*[0-9])[0-9A-Z]{48,}")
# No letter of ASCII parts the digits of a card number; identifiers are full of both.
_DIGIT_RUN: Final = re.compile(r"\d(?:[^A-Za-z\d]{0,4}+\d){12}")


def _mask_run(match: re.Match[str]) -> str:
    run = match.group()
    mixed = run != run.lower() and run != run.upper()
    return MASK if mixed or _LOWER_KEY.search(run) else run


def mask(line: str) -> str:
    """The line without card numbers, API keys, Vault tokens, ciphertexts, JWS and likely keys."""
    if any(hint in line for hint in _HINTS):
        line = _SECRETS.sub(MASK, line)
    line = _RUN.sub(_mask_run, line)
    # Digits of other scripts and forms are more than this knows.
    if line.isascii() and _DIGIT_RUN.search(line) is None:
        return line
    parts: list[str] = []
    last = 0
    for start, end in find_card_numbers(line):
        parts += (line[last:start], MASK)
        last = end
    parts.append(line[last:])
    return "".join(parts)
