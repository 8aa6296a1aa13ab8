"""The whole service in one process, on the real servers: use cases without HTTP."""

from __future__ import annotations

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
    "services",
    "settings_for",
    "stage",
    "stage_database",
    "stage_mount",
    "worker",
]
