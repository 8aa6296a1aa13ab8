"""Step 3: Vault unwraps the data keys."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from keys.secret import Secret
from vault_service.services.crypto_ports import Unwrapping
from vault_service.services.ports import UnitOfWork
from vault_service.services.reveal.work import Work, class_of

# From so many records on Vault takes long enough to do something else meanwhile.
MANY: Final = 32


class DataKeys:
    """Has data keys unwrapped. Thread-safe.

    Args:
        uow: the database, for keys that were rewrapped since they were read.
        unwrapping: Vault's part.
    """

    def __init__(self, *, uow: UnitOfWork, unwrapping: Unwrapping) -> None:
        self._uow = uow
        self._unwrapping = unwrapping
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="reveal")

    def unwrap(self, works: Sequence[Work]) -> None:
        """Set the keys of each; what Vault refuses has none.

        Raises:
            VaultUnavailable: no key could be unwrapped.
        """
        # What is out of joint is not asked for: Vault would refuse this role another KEK, and with
        # it all that share the request.
        places = [
            (work, token)
            for work in works
            for token, record in work.records.items()
            if class_of(record) is not None
        ]
        if not places:
            return
        # Meanwhile, because Vault takes its time over many, what they are compared by later.
        claims = self._aside.submit(_work_out, places) if len(places) > MANY else None
        refused = self._ask_vault(places)
        if claims is not None:
            claims.result()
        if refused:
            self._ask_vault(self._rewrapped(refused))

    def _ask_vault(self, places: Sequence[tuple[Work, str]]) -> list[tuple[Work, str]]:
        """Have the keys of these records unwrapped; those that Vault refused."""
        keys = self._unwrapping.unwrap([work.records[token].wrapped_key for work, token in places])
        refused = []
        for (work, token), key in zip(places, keys, strict=True):
            if isinstance(key, Secret):
                work.keys[token] = key
            else:
                refused.append((work, token))
        return refused

    def _rewrapped(self, refused: Sequence[tuple[Work, str]]) -> list[tuple[Work, str]]:
        """Read the records again; those whose key a rotation rewrapped since.

        It may have retired the version that was read, so a refusal says nothing of the value.
        """
        with self._uow.begin(read_only=True) as tx:
            fresh = tx.records.sealed(
                list({(work.records[token].bucket, token) for work, token in refused})
            )
        changed = []
        for work, token in refused:
            record = fresh.get(token)
            if record is not None and record.wrapped_key != work.records[token].wrapped_key:
                work.records[token] = record
                changed.append((work, token))
        return changed


def _work_out(places: Sequence[tuple[Work, str]]) -> None:
    for work, token in places:
        work.claim(token)
