"""Who asks, and from where: what every use case is told about its caller."""

from __future__ import annotations

from dataclasses import dataclass

from vault_service.domain.actors import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An authenticated principal making one request.

    Attributes:
        principal: who it is, with its roles at the time of this request.
        key_id: the API key that was shown (`key_…`).
        request_id: the request's own id (`req_…`), also in the answer and the log.
        address: network address of the caller as the service saw it.
        deadline: `time.monotonic()` value, in seconds, after which nobody waits for the answer.
    """

    principal: Principal
    key_id: str
    request_id: str
    address: str
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """Somebody who has not proven who it is."""

    request_id: str
    address: str
