"""Calls that prove possession of a key (DPoP, RFC 9449); how, is the matter of whoever holds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Protocol

from vault_service.client.errors import ApiError
from vault_service.client.transport import Ask, Reply, Transport

_HEADER: Final = "DPoP"
_NONCE_HEADER: Final = "dpop-nonce"
_NONCE_ASKED: Final = "use_dpop_nonce"


class ProofMaker(Protocol):
    """Whoever holds the private key: `proof_key.ProofKey`, or a device of the caller's."""

    def proof(self, *, method: str, url: str, nonce: str | None, token: str | None) -> str:
        """A fresh proof for one request.

        Args:
            method: of the request.
            url: of the request, without query.
            nonce: what the service gave out, if it has yet.
            token: the disclosure token that is shown, if one is.
        """
        ...


class Proving:
    """Sends requests with proofs, and remembers the service's nonce between them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._nonce: str | None = None

    def send(self, ask: Ask, maker: ProofMaker | None, *, token: str | None = None) -> Reply:
        """The answer to a request, with a proof if there is a key.

        A proof that lacks the nonce is made once again: nothing was done yet.

        Raises:
            ApiError, Unreachable, AnswerUnexpected: as everywhere.
        """
        if maker is None:
            return self._transport.send(ask)
        try:
            return self._proven(ask, maker, token)
        except ApiError as error:
            if error.code != _NONCE_ASKED or error.nonce is None:
                raise
            self._nonce = error.nonce
        return self._proven(ask, maker, token)

    def _proven(self, ask: Ask, maker: ProofMaker, token: str | None) -> Reply:
        proof = maker.proof(
            method=ask.method,
            url=f"{self._transport.base_url}{ask.path}",
            nonce=self._nonce,
            token=token,
        )
        reply = self._transport.send(replace(ask, headers={**ask.headers, _HEADER: proof}))
        # A proxy may spell the name as it likes.
        headers = {name.lower(): value for name, value in reply.headers.items()}
        self._nonce = headers.get(_NONCE_HEADER, self._nonce)
        return reply
