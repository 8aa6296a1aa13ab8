"""What can be asked of Transit, as typed batches. hvac's client comes in from keys.transit.

Every sensitive field travels as a JSON string, because audit devices hash strings only (fact
11). No AAD is ever sent: rewrap could not repeat it (facts 1 and 14); context is bound in the
envelope. Batches are cut at 200 items (fact 5).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from keys.answers import (
    BatchAnswer,
    Item,
    KeyAnswer,
    SignatureAnswer,
    UpsertAnswer,
)
from keys.data_keys import MAX_BATCH
from keys.errors import CiphertextRejected, Outage, VaultRefused, VaultUnavailable
from keys.fingerprint import Fingerprint
from keys.retry import Deadline
from keys.secret import Secret

A = TypeVar("A")
P = TypeVar("P")

_KEY_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MOUNT = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """A Transit key's settings; `created` holds the times of the versions where Vault tells."""

    name: str
    type: str
    latest_version: int
    min_encryption_version: int
    min_decryption_version: int
    min_available_version: int
    exportable: bool
    allow_plaintext_backup: bool
    deletion_allowed: bool
    created: Mapping[int, datetime]


class TransitOperations:
    """The operations of one mount, through an hvac client whose adapter is ours.

    Args:
        client: an hvac client made by keys.transit.
        mount: where Transit is mounted.
        budget: seconds for a whole call, however many requests it takes.
        aside: sends the parts of a large batch, as many at once as it has threads; one after
            the other without it.
    """

    def __init__(
        self, client: Any, *, mount: str, budget: float, aside: Executor | None = None
    ) -> None:
        self._client = client
        self._mount = checked_mount(mount)
        self._budget = budget
        self._aside = aside

    def encrypt(self, key: str, plaintexts: Sequence[Secret]) -> list[str]:
        """Return each plaintext as Transit ciphertext under the newest version of `key`.

        Raises:
            VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: none was encrypted.
        """
        items = [{"plaintext": _text(plaintext.expose())} for plaintext in plaintexts]
        results = self._batch("encrypt", key, items)
        if any(item.error or not item.ciphertext for item in results):
            raise VaultRefused("vault did not encrypt every item")
        return [item.ciphertext for item in results]

    def decrypt(self, key: str, ciphertexts: Sequence[str]) -> list[Secret | CiphertextRejected]:
        """Return each plaintext, or the refusal in its place.

        Raises:
            VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: nothing was decrypted.
        """
        items = [{"ciphertext": ciphertext} for ciphertext in ciphertexts]
        # Fact 2: without this one bad item makes the whole answer a 400, and hvac would put the
        # good items' plaintext keys into the text of its exception.
        results = self._batch("decrypt", key, items, {"partial_failure_response_code": 200})
        return [
            CiphertextRejected() if item.error else Secret(_bytes(item.plaintext))
            for item in results
        ]

    def rewrap(self, key: str, ciphertexts: Sequence[str]) -> list[str | CiphertextRejected]:
        """Return each ciphertext under the newest version, or the refusal in its place.

        Raises:
            VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: nothing was rewrapped.
        """
        items = [{"ciphertext": ciphertext} for ciphertext in ciphertexts]
        # Fact 3: a failed item comes under status 200, with nothing but its own error field.
        return [
            CiphertextRejected() if item.error or not item.ciphertext else item.ciphertext
            for item in self._batch("rewrap", key, items)
        ]

    def hmac(
        self, key: str, inputs: Sequence[bytes], *, key_version: int | None = None
    ) -> list[Fingerprint]:
        """Return the HMAC-SHA256 of each input, under the newest or the given key version.

        Raises:
            VaultRefused: the version is not in force; and Vault's other errors.
        """
        items = [{"input": _text(value)} for value in inputs]
        extra = {} if key_version is None else {"key_version": key_version}
        results = self._batch("hmac", key, items, extra, suffix="/sha2-256")
        if any(item.error for item in results):
            raise VaultRefused("vault did not compute every fingerprint")
        macs = [_versioned(item.hmac) for item in results]
        return [Fingerprint(digest=digest, key_version=version) for version, digest in macs]

    def sign(self, key: str, message: bytes) -> tuple[int, bytes]:
        """Return the key version and the raw 64-byte Ed25519 signature of `message`.

        Raises:
            VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: it was not signed.
        """
        payload = {"input": _text(message)}
        answer = self._post(f"sign/{checked_key(key)}", payload, SignatureAnswer)
        return _versioned(answer.data.signature)

    def sign_many(self, key: str, messages: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Return what `sign` does for each message, in order, in one request.

        Raises:
            VaultUnavailable, VaultDenied, KeyNotReady, VaultRefused: none was signed.
        """
        results = self._batch("sign", key, [{"input": _text(message)} for message in messages])
        if any(item.error or not item.signature for item in results):
            raise VaultRefused("vault did not sign every message")
        return [_versioned(item.signature) for item in results]

    def public_keys(self, key: str) -> dict[int, bytes]:
        """Return the raw Ed25519 public keys by version.

        Raises:
            KeyNotReady: no such key; and Vault's other errors.
        """
        found = self._read_key(key).data.keys
        try:
            return {int(number): _bytes(about["public_key"]) for number, about in found.items()}
        except (TypeError, KeyError, ValueError):
            pass
        raise VaultUnavailable("vault answered in a wrong form", reason=Outage.UNREADABLE)

    def read_key(self, key: str) -> KeyInfo:
        """Return a key's settings.

        Raises:
            KeyNotReady: no such key; and Vault's other errors.
        """
        data = self._read_key(key).data
        return KeyInfo(
            name=data.name,
            type=data.type,
            latest_version=data.latest_version,
            min_encryption_version=data.min_encryption_version,
            min_decryption_version=data.min_decryption_version,
            min_available_version=data.min_available_version,
            exportable=data.exportable,
            allow_plaintext_backup=data.allow_plaintext_backup,
            deletion_allowed=data.deletion_allowed,
            created=_times(data.keys),
        )

    def rotate(self, key: str) -> None:
        """Add a new version to a key. Never tried twice: a lost answer may have rotated.

        Raises:
            VaultUnavailable, VaultDenied, VaultRefused: it may or may not have been rotated.
        """
        self._client.secrets.transit.rotate_key(checked_key(key), mount_point=self._mount)

    def configure(
        self,
        key: str,
        *,
        min_encryption_version: int | None = None,
        min_decryption_version: int | None = None,
    ) -> None:
        """Set a key's version limits; what is None stays as it is.

        Raises:
            VaultUnavailable, VaultDenied, VaultRefused: nothing was set.
        """
        limits = {
            "min_encryption_version": min_encryption_version,
            "min_decryption_version": min_decryption_version,
        }
        payload = {name: limit for name, limit in limits.items() if limit is not None}
        # Fact 6: hvac's own call refuses equal minimum versions.
        self._post(f"keys/{checked_key(key)}/config", payload, dict)

    def trim(self, key: str, min_available_version: int) -> None:
        """Delete the versions below, for ever.

        Raises:
            VaultUnavailable, VaultDenied, VaultRefused: nothing was deleted.
        """
        self._client.secrets.transit.trim_key(
            checked_key(key), min_available_version, mount_point=self._mount
        )

    def upsert_disabled(self) -> bool:
        """Tell whether encrypting under an unknown name is refused instead of making a key.

        Raises:
            VaultUnavailable, VaultDenied: it could not be read.
        """
        path = f"/v1/{self._mount}/config/keys"
        answer = cast("UpsertAnswer", self._client.adapter.get(path, shape=UpsertAnswer))
        return answer.data.disable_upsert

    def ready(self) -> None:
        """Do one real request as this role, audit included, or say why not.

        Fact 10: a full audit device fails every request while the health endpoint says 200, so
        only a request that is audited proves anything. It also keeps an idle token renewed.

        Raises:
            VaultUnavailable, VaultDenied: this role cannot work now.
        """
        self._client.adapter.get("/v1/auth/token/lookup-self")

    def _read_key(self, key: str) -> KeyAnswer:
        path = f"/v1/{self._mount}/keys/{checked_key(key)}"
        return cast("KeyAnswer", self._client.adapter.get(path, shape=KeyAnswer))

    def _post(
        self, path: str, payload: Mapping[str, Any], shape: type[A], until: Deadline | None = None
    ) -> A:
        # Fact 6: hvac lacks batch hmac, partial_failure_response_code and more; its adapter,
        # which is ours, takes them all.
        url = f"/v1/{self._mount}/{path}"
        return cast("A", self._client.adapter.post(url, json=payload, shape=shape, until=until))

    def _batch(
        self,
        operation: str,
        key: str,
        items: Sequence[Mapping[str, str]],
        extra: Mapping[str, int] | None = None,
        *,
        suffix: str = "",
    ) -> list[Item]:
        path = f"{operation}/{checked_key(key)}{suffix}"
        until = Deadline(self._budget)

        def ask(part: Sequence[Mapping[str, str]]) -> list[Item]:
            if not until.remaining():  # it has waited behind others; nobody waits for it any more
                raise VaultUnavailable("waited too long to be sent", reason=Outage.SLOW)
            answer = self._post(path, {"batch_input": part, **(extra or {})}, BatchAnswer, until)
            if len(answer.data.batch_results) != len(part):
                raise VaultUnavailable("vault answered in a wrong form", reason=Outage.UNREADABLE)
            return answer.data.batch_results

        if len(items) <= MAX_BATCH:
            return ask(items) if items else []
        parts = [items[start : start + MAX_BATCH] for start in range(0, len(items), MAX_BATCH)]
        # Where a part fails, what has not been sent by then is not sent any more.
        answers = map(ask, parts) if self._aside is None else _sent(self._aside, ask, parts)
        return [result for part in answers for result in part]


def checked_key(name: str) -> str:
    """Return the name if it can stand in a path; nothing else may reach a URL.

    Raises:
        ValueError: it is not a key's name.
    """
    if not _KEY_NAME.fullmatch(name):
        raise ValueError("a key's name has lower-case letters, digits and dashes")
    return name


def checked_mount(name: str) -> str:
    """Return the mount's path if it can stand in a URL.

    Raises:
        ValueError: it cannot.
    """
    if not _MOUNT.fullmatch(name):
        raise ValueError("a mount has lower-case letters, digits, dashes and slashes")
    return name


def _sent(aside: Executor, ask: Callable[[P], A], parts: Sequence[P]) -> Iterator[A]:
    """Send parts aside, and yield what came of each, in order.

    Whoever closes the connection meanwhile takes back what has not been sent, and lets nothing
    more be sent: to the caller that is an outage like any other.

    Raises:
        VaultUnavailable: a part cannot be sent any more.
    """
    try:
        answers = aside.map(ask, parts)  # all are handed over here, before the first is answered
    except RuntimeError:
        raise VaultUnavailable("this connection to vault is closed") from None
    try:
        yield from answers
    except CancelledError:
        raise VaultUnavailable("this connection to vault was closed") from None


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise VaultUnavailable("vault answered in a wrong form", reason=Outage.UNREADABLE)


def _versioned(text: str) -> tuple[int, bytes]:
    """Split `vault:v3:<base64>` into 3 and the bytes."""
    found = re.fullmatch(r"vault:v([0-9]{1,9}):([A-Za-z0-9+/=]+)", text)
    if found is None:
        raise VaultUnavailable("vault answered in a wrong form", reason=Outage.UNREADABLE)
    return int(found[1]), _bytes(found[2])


def _times(versions: Mapping[str, Any]) -> dict[int, datetime]:
    """Read the versions' times: seconds for symmetric keys, ISO text inside an object else."""
    times: dict[int, datetime] = {}
    for number, about in versions.items():
        if isinstance(about, int):
            times[int(number)] = datetime.fromtimestamp(about, UTC)
        elif isinstance(about, dict) and isinstance(about.get("creation_time"), str):
            times[int(number)] = datetime.fromisoformat(about["creation_time"])
    return times
