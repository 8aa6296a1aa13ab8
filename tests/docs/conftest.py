"""The first run that the documentation's examples are tried on."""

from __future__ import annotations

from tests.docs.first_run import first_run

__all__ = ["first_run"]
