"""A log on the real servers, for each module its own."""

from __future__ import annotations

from tests.support.log_stage import log

__all__ = ["log"]
