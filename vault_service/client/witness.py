"""Asking a witness of C2SP tlog-witness to cosign a checkpoint. It gets no key of ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import urllib3
from urllib3.exceptions import HTTPError

from vault_service.client.errors import AnswerUnexpected, Unreachable
from vault_service.client.transport import checked_address

# A cosignature has about 150 bytes; a witness with many keys still stays far below.
MAX_ANSWER_BYTES: Final = 256 * 1024
SECONDS: Final = 10.0
_OK: Final = 200
_CONFLICT: Final = 409


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """The witness cosigned: its signature lines."""

    lines: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowsAnother:
    """The witness knows the log at another size; the proof must begin there."""

    size: int


class Witness:
    """One witness, by its submission prefix.

    Raises:
        InsecureAddress: the address is none, or clear http to another machine.
    """

    def __init__(self, prefix: str, *, ca_file: Path | None = None) -> None:
        self._prefix = checked_address(prefix, insecure_http=False)
        self._pool = urllib3.PoolManager(
            timeout=SECONDS, retries=False, ca_certs=None if ca_file is None else str(ca_file)
        )

    def add_checkpoint(self, body: bytes) -> Cosigned | KnowsAnother:
        """Submit a checkpoint with its proof.

        Raises:
            Unreachable: the witness did not answer.
            AnswerUnexpected: it refused, or what answered is no witness.
        """
        try:
            response = self._pool.request(
                "POST",
                f"{self._prefix}/add-checkpoint",
                body=body,
                headers={"Content-Type": "text/plain; charset=utf-8"},
                redirect=False,
                preload_content=False,
            )
            data = response.read(MAX_ANSWER_BYTES + 1)
            response.release_conn()
        except HTTPError:
            raise Unreachable("the witness did not answer", sent=True) from None
        if len(data) > MAX_ANSWER_BYTES:
            raise AnswerUnexpected("the witness's answer is too large")
        if response.status == _OK:
            return Cosigned(lines=data)
        if response.status == _CONFLICT:
            text = data.decode(errors="replace").removesuffix("\n")
            if text.isascii() and text.isdigit() and len(text) < 20:
                return KnowsAnother(size=int(text))
        raise AnswerUnexpected(f"the witness refused with {response.status}")
