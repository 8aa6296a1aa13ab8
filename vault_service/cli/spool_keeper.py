"""Keeps the secret-id spool full while `vault-service up` runs.

It holds a token with the policy `issuer` and nothing else: it can make response-wrapped secret-ids
and cannot use one. The root token is not kept for this.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from keys import spool
from keys.admin import AdminTransit
from keys.errors import KeysError
from keys.secret import Secret

# The token dies this long after its last renewal, so that a killed supervisor leaves none behind.
TOKEN_PERIOD: Final = timedelta(hours=1)
_RENEW_SECONDS: Final = 600.0
_LOOK_SECONDS: Final = 1.0
# Short, because a stop waits for the call under way, and the next look is a second later.
_BUDGET_SECONDS: Final = 2.0


class SpoolKeeper:
    """Refills each role's folder as its files are claimed.

    Args:
        address: of Vault.
        token: with the policy `issuer`.
        prefix: of AppRole names.
        folder: the spool.
        roles: whose folders to keep full.
        count: how many fresh secret-ids shall lie in each.
        trouble: told once when refilling begins to fail.
    """

    def __init__(
        self,
        *,
        address: str,
        token: Secret,
        prefix: str,
        folder: Path,
        roles: Sequence[str],
        count: int,
        trouble: Callable[[str], None],
    ) -> None:
        self._issuer = AdminTransit(
            address=address, token=token, approle_prefix=prefix, budget=_BUDGET_SECONDS
        )
        self._folder = folder
        self._roles = roles
        self._count = count
        self._trouble = trouble
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool-keeper", daemon=True)

    def fill(self) -> None:
        """Fill every folder now.

        Raises:
            KeysError: Vault does not make secret-ids.
        """
        for role in self._roles:
            spool.issue(self._issuer, role, self._folder, self._count)

    def start(self) -> None:
        """Go on filling until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Stop filling."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._issuer.close()

    def _run(self) -> None:
        renewed, failing = time.monotonic(), False
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                self.fill()
                if time.monotonic() - renewed > _RENEW_SECONDS:
                    self._issuer.renew()
                    renewed = time.monotonic()
                failing = False
            except (KeysError, OSError) as error:
                if not failing and not self._stop.is_set():
                    self._trouble(f"secret-ids cannot be refilled: {type(error).__name__}")
                failing = True
