"""The application for another WSGI server: `gunicorn 'vault_service.wsgi:create()'`.

`vault-service serve` is the usual way and does not need this module.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vault_service import settings
from vault_service.serve import load

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def create() -> WSGIApplication:
    """Read the settings and build the application.

    Raises:
        SettingsError: a setting is missing or wrong.
    """
    return load(settings.load(), os.getppid())
