"""The application for another WSGI server: `gunicorn 'vault_service.wsgi:create()'`.

`vault-service serve` is the usual way and does not need this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vault_service import settings
from vault_service.serve import build

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def create() -> WSGIApplication:
    """Read the settings and build the application.

    Raises:
        ServiceError, KeysError: a setting is wrong, or something that it needs is missing.
    """
    return build(settings.load())
