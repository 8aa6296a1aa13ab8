"""The repository of DPoP nonces and of proofs that were used.

A nonce is a row for each minute, made by whoever needs it first: every process has the same, after
a restart too, and there is no secret to keep. A proof that was used is a row until it is too old
to be taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vault_service.services.dpop_ports import UsedProof
from vault_service.storage.session import Session

# Seconds for which a nonce is the newest; it is taken for as long again.
NONCE_SECONDS: Final = 60
# Long past its end a nonce is of no use, but its row might be in use by a transaction under way.
_NONCES_KEPT: Final = 10

_NONCES: Final = b"""
WITH asked AS (
    SELECT floor(extract(epoch FROM now()) / %(seconds)b::integer)::bigint AS slot
), made AS (
    INSERT INTO dpop_nonces (slot, nonce)
    SELECT asked.slot, %(offered)b::text FROM asked
    WHERE NOT EXISTS (SELECT FROM dpop_nonces AS n WHERE n.slot = asked.slot)
    ON CONFLICT (slot) DO NOTHING
    RETURNING slot, nonce
)
SELECT found.slot = asked.slot, found.nonce
FROM (
    SELECT slot, nonce FROM made
    UNION ALL
    SELECT n.slot, n.nonce FROM dpop_nonces AS n
) AS found
JOIN asked ON found.slot IN (asked.slot, asked.slot - 1)
ORDER BY found.slot DESC
"""
_SPEND: Final = b"""
INSERT INTO dpop_proofs (bucket, digest, until)
SELECT o.bucket, o.digest, o.until
FROM unnest(%b::smallint[], %b::bytea[], %b::timestamptz[]) AS o (bucket, digest, until)
ORDER BY o.bucket, o.digest
ON CONFLICT (bucket, digest) DO NOTHING
RETURNING digest
"""
_PURGE_PROOFS: Final = b"""
DELETE FROM dpop_proofs AS p
USING (
    SELECT bucket, digest FROM dpop_proofs WHERE until < now() ORDER BY until LIMIT %b
) AS old
WHERE p.bucket = old.bucket AND p.digest = old.digest
RETURNING 1
"""
_PURGE_NONCES: Final = b"""
DELETE FROM dpop_nonces
WHERE slot < floor(extract(epoch FROM now()) / %b::integer)::bigint - %b::integer
RETURNING 1
"""


class SqlProofs:
    """Nonces and used proofs."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def nonces(self, offered: str) -> list[str]:
        """The nonces that are taken now, the newest first; `offered` where there is no newest."""
        asked = {"seconds": NONCE_SECONDS, "offered": offered}
        rows = self._session.rows(_NONCES, asked)
        if not rows or not rows[0][0]:
            # A rival made this minute's while we waited for him; the next statement sees it.
            rows = self._session.rows(_NONCES, asked)
        return [row[1] for row in rows]

    def spend(self, proofs: Sequence[UsedProof]) -> set[bytes]:
        """Remember proofs; the digests of those that were not used before."""
        if not proofs:
            return set()
        rows = self._session.rows(
            _SPEND,
            (
                [proof.bucket for proof in proofs],
                [proof.digest for proof in proofs],
                [proof.until for proof in proofs],
            ),
        )
        return {bytes(row[0]) for row in rows}

    def purge(self, limit: int) -> int:
        """Forget nonces that are not taken any more, and proofs that are too old; how many."""
        nonces = self._session.rows(_PURGE_NONCES, (NONCE_SECONDS, _NONCES_KEPT))
        return len(nonces) + len(self._session.rows(_PURGE_PROOFS, (limit,)))
