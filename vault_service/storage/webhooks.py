"""The repository of webhooks: the outbox of messages, and their deliveries. Times are `now()`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from vault_service.services.webhook_ports import Attempt, DeliveryRow, NewMessage
from vault_service.storage.session import Session

_APPEND: Final = b"INSERT INTO webhook_outbox (bucket, id, type, body) VALUES (%b, %b, %b, %b)"
# Workers share the outbox: what one has locked the other leaves out.
_FAN_OUT: Final = b"""
WITH oldest AS MATERIALIZED (
    SELECT bucket, id FROM webhook_outbox ORDER BY created_at, id
    LIMIT %(limit)b FOR UPDATE SKIP LOCKED
), taken AS (
    DELETE FROM webhook_outbox AS o USING oldest WHERE o.bucket = oldest.bucket AND o.id = oldest.id
    RETURNING o.bucket, o.id, o.type, o.body, o.created_at
), made AS (
    INSERT INTO webhook_deliveries (bucket, id, endpoint, type, body, created_at)
    SELECT t.bucket, t.id, wanted.endpoint, t.type, t.body, t.created_at
    FROM taken AS t
    JOIN unnest(%(endpoints)b::text[], %(families)b::text[]) AS wanted (endpoint, family)
        ON wanted.family IN ('', split_part(t.type, '.', 1))
    -- One address may stand in the settings for several families.
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM taken
"""
# Materialized: a subquery that locks must run once, whatever the plan.
_CLAIM: Final = b"""
WITH due AS MATERIALIZED (
    SELECT bucket, id, endpoint FROM webhook_deliveries
    WHERE endpoint = %(endpoint)b AND state = 'waiting' AND next_at <= now()
    ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE webhook_deliveries AS d SET attempts = d.attempts + 1, next_at = now() + %(lease)b::interval
FROM due WHERE d.bucket = due.bucket AND d.id = due.id AND d.endpoint = due.endpoint
RETURNING d.bucket, d.id, d.endpoint, d.type, d.body, d.attempts, now()
"""
# Whoever the lease has passed to since: it was delivered, and is not sent once more.
_DELIVERED: Final = b"""
UPDATE webhook_deliveries
SET state = 'delivered', ended_at = now(), last_status = %b, last_error = NULL
WHERE bucket = %b AND id = %b AND endpoint = %b
"""
_FAILED: Final = b"""
UPDATE webhook_deliveries
SET state = CASE WHEN %(again)b::interval IS NULL THEN 'dead' ELSE 'waiting' END,
    ended_at = CASE WHEN %(again)b::interval IS NULL THEN now() END,
    next_at = now() + coalesce(%(again)b::interval, interval '0'),
    last_status = %(status)b, last_error = %(error)b
WHERE bucket = %(bucket)b AND id = %(id)b AND endpoint = %(endpoint)b
    AND state = 'waiting' AND attempts = %(attempt)b
RETURNING id
"""
_PAGE: Final = b"""
SELECT bucket, id, endpoint, type, state, attempts, created_at, next_at, ended_at, last_status,
    last_error
FROM webhook_deliveries
WHERE (%(state)b::text IS NULL OR state = %(state)b) AND id < %(before)b::uuid
ORDER BY id DESC FETCH FIRST (%(limit)b::bigint) ROWS WITH TIES
"""
_REVIVE: Final = b"""
UPDATE webhook_deliveries SET state = 'waiting', attempts = 0, next_at = now(), ended_at = NULL
WHERE id = %b AND state = 'dead' RETURNING endpoint
"""
# Due for so long, and nobody tried: the settings no longer name that endpoint.
_ABANDON: Final = b"""
UPDATE webhook_deliveries SET state = 'dead', ended_at = now(), last_error = 'abandoned'
WHERE state = 'waiting' AND next_at < now() - %b::interval
"""
_COUNTS: Final = b"SELECT state, count(*) FROM webhook_deliveries GROUP BY state"
_PURGE: Final = b"""
WITH old AS MATERIALIZED (
    SELECT bucket, id, endpoint FROM webhook_deliveries
    WHERE (state = 'delivered' AND ended_at < now() - %(delivered)b::interval)
        OR (state = 'dead' AND ended_at < now() - %(dead)b::interval)
    LIMIT %(limit)b FOR UPDATE SKIP LOCKED
)
DELETE FROM webhook_deliveries AS d USING old
WHERE d.bucket = old.bucket AND d.id = old.id AND d.endpoint = old.endpoint
RETURNING 1
"""
# No id is as great.
_LAST: Final = uuid.UUID(int=2**128 - 1)


class SqlWebhooks:
    """Messages and their deliveries."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, message: NewMessage) -> None:
        """Insert a message; it travels with the next statement or the commit."""
        self._session.defer(_APPEND, (message.bucket, message.id, message.type, message.body))

    def fan_out(self, wanted: Sequence[tuple[str, str]], limit: int) -> int:
        """Make deliveries of the oldest messages; how many messages there were."""
        given = {
            "limit": limit,
            "endpoints": [endpoint for endpoint, _ in wanted],
            "families": [family for _, family in wanted],
        }
        return int(self._session.rows(_FAN_OUT, given)[0][0])

    def claim(self, endpoint: str, lease: timedelta) -> Attempt | None:
        """Take the delivery that is due longest."""
        rows = self._session.rows(_CLAIM, {"endpoint": endpoint, "lease": lease})
        if not rows:
            return None
        bucket, message, name, kind, body, attempt, now = rows[0]
        return Attempt(
            bucket=bucket,
            id=message,
            endpoint=name,
            type=kind,
            body=bytes(body),
            attempt=attempt,
            now=now,
        )

    def delivered(self, attempt: Attempt, status: int) -> None:
        """Put down that the endpoint took it."""
        self._session.defer(_DELIVERED, (status, attempt.bucket, attempt.id, attempt.endpoint))

    def failed(
        self, attempt: Attempt, *, status: int | None, error: str, again: timedelta | None
    ) -> bool:
        """Put down that it did not; False when somebody else took the delivery meanwhile."""
        given = {
            "again": again,
            "status": status,
            "error": error,
            "bucket": attempt.bucket,
            "id": attempt.id,
            "endpoint": attempt.endpoint,
            "attempt": attempt.attempt,
        }
        return bool(self._session.rows(_FAILED, given))

    def page(self, *, state: str | None, before: uuid.UUID | None, limit: int) -> list[DeliveryRow]:
        """Deliveries, newest message first; more than `limit`, so that no message is parted."""
        given = {"state": state, "before": before or _LAST, "limit": limit}
        return [
            DeliveryRow(
                bucket=row[0],
                id=row[1],
                endpoint=row[2],
                type=row[3],
                state=row[4],
                attempts=row[5],
                created_at=row[6],
                next_at=row[7],
                ended_at=row[8],
                last_status=row[9],
                last_error=row[10],
            )
            for row in self._session.rows(_PAGE, given)
        ]

    def revive(self, message: uuid.UUID) -> int:
        """Have a message's dead deliveries tried anew at once; how many there were."""
        return len(self._session.rows(_REVIVE, (message,)))

    def counts(self) -> dict[str, int]:
        """How many deliveries are in each state."""
        return dict(self._session.rows(_COUNTS))

    def abandon(self, after: timedelta) -> None:
        """End deliveries that were due so long ago and that nobody has tried."""
        self._session.defer(_ABANDON, (after,))

    def purge(self, *, delivered: timedelta, dead: timedelta, limit: int) -> int:
        """Delete deliveries that ended longer ago than this; how many."""
        given = {"delivered": delivered, "dead": dead, "limit": limit}
        return len(self._session.rows(_PURGE, given))
