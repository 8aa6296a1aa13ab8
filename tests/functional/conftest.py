"""The whole service on the real servers: use cases in this process, and `serve` over HTTP."""

from __future__ import annotations

from tests.support.running import service, start_service
from tests.support.whole import (
    cast,
    customer,
    prepared_vault,
    services,
    settings_for,
    stage,
    stage_database,
    stage_mount,
    worker,
)

__all__ = [
    "cast",
    "customer",
    "prepared_vault",
    "service",
    "services",
    "settings_for",
    "stage",
    "stage_database",
    "stage_mount",
    "start_service",
    "worker",
]
