"""Counters for Prometheus. No label ever holds what a caller sent.

With several processes the counters live in files under PROMETHEUS_MULTIPROC_DIR, which must be set
before this module is imported and be emptied before the first process starts (`serve` does both).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from vault_service import logs
from vault_service.services.key_status import KeyStatusView

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MULTIPROCESS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"

# From a masked read (below 1 ms) to the longest that anybody waits (3 s).
_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0)

REGISTRY: Final = CollectorRegistry()
_requests: Final = Counter(
    "vault_requests", "Requests answered.", ("method", "route", "status"), registry=REGISTRY
)
_seconds: Final = Histogram(
    "vault_request_seconds",
    "Time from a request's begin to its answer.",
    ("method", "route"),
    buckets=_BUCKETS,
    registry=REGISTRY,
)
_errors: Final = Counter(
    "vault_errors",
    "Requests that failed, by the code they were told.",
    ("code",),
    registry=REGISTRY,
)
_overloads: Final = Counter(
    "vault_overloads", "Requests turned away because too many were at work.", registry=REGISTRY
)
_alarms: Final = Counter("vault_alarms", "Alarms raised.", ("alarm",), registry=REGISTRY)


_outages: Final = Counter(
    "vault_key_service_failures",
    "Requests that the key service could not serve, by reason.",
    ("reason",),
    registry=REGISTRY,
)


@lru_cache(maxsize=1024)
def _request_counter(method: str, route: str, status: int) -> Counter:
    return _requests.labels(method, route, str(status))


@lru_cache(maxsize=1024)
def _request_seconds(method: str, route: str) -> Histogram:
    return _seconds.labels(method, route)


def observe(*, method: str, route: str, status: int, seconds: float, code: str | None) -> None:
    """Count one answered request; `route` is a template."""
    _request_counter(method, route, status).inc()
    _request_seconds(method, route).observe(seconds)
    if code is not None:
        _errors.labels(code).inc()


def count_outage(reason: str) -> None:
    """Count one request that Vault could not serve; `reason` is of a closed list."""
    _outages.labels(reason).inc()


def count_overload() -> None:
    """Count one request that was turned away for want of a place."""
    _overloads.inc()


def _count_alarm(alarm: str) -> None:
    _alarms.labels(alarm).inc()


logs.on_alarm(_count_alarm)


def key_exposition(keys: Iterable[KeyStatusView]) -> bytes:
    """What is told of Vault's keys, in Prometheus' text form; of this moment, so not gathered."""
    registry = CollectorRegistry()
    version = Gauge("vault_key_version", "A key's newest version.", ("key",), registry=registry)
    age = Gauge("vault_key_age_days", "Age of that version.", ("key",), registry=registry)
    overdue = Gauge("vault_key_overdue", "1 past its period.", ("key",), registry=registry)
    wrapped = Gauge(
        "vault_key_wrapped", "Keys under a version.", ("key", "version"), registry=registry
    )
    remaining = Gauge(
        "vault_rotation_remaining", "Keys still to be rewrapped.", ("key",), registry=registry
    )
    for key in keys:
        if key.version is not None:
            version.labels(key.name).set(key.version)
        if key.age_days is not None:
            age.labels(key.name).set(key.age_days)
        overdue.labels(key.name).set(key.overdue)
        for number, count in key.wrapped.items():
            wrapped.labels(key.name, str(number)).set(count)
        if key.rotation is not None:
            remaining.labels(key.name).set(key.remaining)
    return generate_latest(registry)


def message_exposition(deliveries: Mapping[str, int], alarms: Mapping[str, int]) -> bytes:
    """What the database counts for all processes together: webhooks by state, alarms raised."""
    registry = CollectorRegistry()
    states = Gauge(
        "vault_webhook_deliveries", "Deliveries kept, by state.", ("state",), registry=registry
    )
    raised = Gauge("vault_alarms_recorded", "Alarms raised, ever.", ("alarm",), registry=registry)
    for state, count in deliveries.items():
        states.labels(state).set(count)
    for alarm, count in alarms.items():
        raised.labels(alarm).set(count)
    return generate_latest(registry)


def exposition(folder: Path | None) -> bytes:
    """All counters in Prometheus' text form; of all processes where a folder gathers them."""
    if folder is None:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]  # has no types
    return generate_latest(registry)
