"""Calls on evidence: documents go in, and come back to those who may read them."""

from __future__ import annotations

from vault_service.client import models
from vault_service.client.transport import Ask, Transport, decode, segment


class Evidence:
    """`/v1/documents`, and the evidence below `/v1/disclosures`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def upload(self, content: bytes) -> models.Document:
        """Upload a document; a request names its digest. What it is, its content tells.

        Doing it twice leaves a second document that nobody refers to, and that is purged.
        """
        reply = self._transport.send(
            Ask(method="POST", path="/v1/documents", data=content, repeatable=True)
        )
        document: models.Document = decode(reply, models.Document)
        return document

    def read(self, disclosure: str, name: str) -> models.DocumentContent:
        """The document that a request shows as this piece of evidence."""
        path = f"{_path(disclosure)}/documents/{segment(name)}"
        reply = self._transport.send(Ask(method="GET", path=path, repeatable=True))
        return models.DocumentContent(
            content=reply.data,
            media_type=reply.headers.get("Document-Type", ""),
            digest=reply.headers.get("Document-Digest", ""),
        )

    def show(self, disclosure: str) -> models.ShownEvidence:
        """What a request shows as evidence."""
        reply = self._transport.send(
            Ask(method="GET", path=f"{_path(disclosure)}/evidence", repeatable=True)
        )
        shown: models.ShownEvidence = decode(reply, models.ShownEvidence)
        return shown

    def open(self, disclosure: str, *, auditor: str, seconds: int = 86_400) -> models.Access:
        """Let an auditor read the evidence of a request for a time."""
        reply = self._transport.send(
            Ask(
                method="POST",
                path=f"{_path(disclosure)}/evidence/open",
                body={"auditor": auditor, "seconds": seconds},
                repeatable=True,
            )
        )
        access: models.Access = decode(reply, models.Access)
        return access

    def close(self, disclosure: str, *, auditor: str) -> None:
        """Take an auditor's access back."""
        self._transport.send(
            Ask(
                method="POST",
                path=f"{_path(disclosure)}/evidence/close",
                body={"auditor": auditor},
            )
        )


def _path(disclosure: str) -> str:
    return f"/v1/disclosures/{segment(disclosure)}"
