"""Parts that fail on demand, where a real server does not: they wrap the real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from keys.data_keys import DataKey, WrappedKey
from keys.errors import CiphertextRejected, VaultUnavailable
from keys.secret import Secret
from vault_service.errors import Unavailable
from vault_service.services.crypto_ports import DataKeys, Unwrapping
from vault_service.services.ports import Transaction, UnitOfWork

T = TypeVar("T")


def commit_unknown() -> Unavailable:
    """What a unit of work ends with when the connection is lost under its commit."""
    return Unavailable("the database did not confirm the commit", code="commit_unknown")


class FaultyUnitOfWork:
    """A unit of work that fails at one point of a writing transaction, as often as is said.

    Args:
        real: does the work.
        at: `before` the first statement, `instead` of the commit, or `after` it.
        times: how often; then all is well again.
    """

    def __init__(self, real: UnitOfWork, *, at: str, times: int = 1) -> None:
        self._real = real
        self._at = at
        self.left = times

    @contextmanager
    def begin(self, *, read_only: bool = False) -> Iterator[Transaction]:
        """Begin; fail where it was said."""
        fails = not read_only and self.left > 0
        if fails:
            self.left -= 1
            if self._at == "before":
                raise Unavailable("the database cannot be reached", code="database_unavailable")
        with self._real.begin(read_only=read_only) as transaction:
            yield transaction
            if fails and self._at == "instead":
                raise Unavailable("the connection was lost", code="database_unavailable")
        if fails and self._at == "after":
            raise commit_unknown()

    def run(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one unit of work."""
        with self.begin() as transaction:
            return work(transaction)

    def ping(self) -> None:
        """Ask the real one."""
        self._real.ping()


class Hooked:
    """A unit of work that runs something of a test's between two transactions or before a commit.

    Args:
        real: does the work.
        before: called before each transaction begins, told whether it only reads.
        ending: called when a writing block has ended, before its commit.
    """

    def __init__(
        self,
        real: UnitOfWork,
        *,
        before: Callable[[bool], None] = lambda _: None,
        ending: Callable[[Transaction], None] = lambda _: None,
    ) -> None:
        self._real = real
        self._before = before
        self._ending = ending

    @contextmanager
    def begin(self, *, read_only: bool = False) -> Iterator[Transaction]:
        """Begin, and run what is hooked in."""
        self._before(read_only)
        with self._real.begin(read_only=read_only) as transaction:
            yield transaction
            if not read_only:
                self._ending(transaction)

    def run(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one unit of work."""
        with self.begin() as transaction:
            return work(transaction)

    def ping(self) -> None:
        """Ask the real one."""
        self._real.ping()


class NoDataKeys:
    """Data keys while Vault is away."""

    def take(self, kek: str, count: int) -> list[DataKey]:  # noqa: ARG002 -- the port's form
        """Fail."""
        raise VaultUnavailable

    def prepare(self, kek: str, count: int) -> None:
        """Nothing comes of it."""

    def discard(self, kek: str | None = None) -> None:
        """Nothing is kept."""


class CountingDataKeys:
    """Remembers the wrapped form of each data key that was handed out, and each discarding.

    `held` are keys that have waited somewhere; they are handed out before any other.
    """

    def __init__(self, real: DataKeys) -> None:
        self._real = real
        self.taken: list[str] = []
        self.discarded: list[str | None] = []
        self.held: list[DataKey] = []

    def take(self, kek: str, count: int) -> list[DataKey]:
        """Hand out the real ones."""
        held, self.held = self.held[:count], self.held[count:]
        keys = held + self._real.take(kek, count - len(held)) if count > len(held) else held
        self.taken += [key.wrapped.ciphertext for key in keys]
        return keys

    def prepare(self, kek: str, count: int) -> None:
        """Have the real ones prepared."""
        self._real.prepare(kek, count)

    def discard(self, kek: str | None = None) -> None:
        """Discard the real ones."""
        self.discarded.append(kek)
        self._real.discard(kek)


class Unwraps:
    """Unwrapping that does as it is told: fails, or opens nothing."""

    def __init__(self, real: Unwrapping, *, answer: str = "real") -> None:
        self._real = real
        self.answer = answer
        self.asked = 0

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[Secret | CiphertextRejected]:
        """Answer."""
        self.asked += len(wrapped)
        if self.answer == "away":
            raise VaultUnavailable
        if self.answer == "rejects":
            return [CiphertextRejected() for _ in wrapped]
        return self._real.unwrap(wrapped)


def rebuilt(use_case: Any, **changes: object) -> Any:
    """A use case of the same class and parts, save those that are given.

    A part's name is that of the attribute without its underscore.
    """
    import inspect

    names = inspect.signature(type(use_case).__init__).parameters
    parts = {
        name: getattr(use_case, f"_{name}")
        for name in names
        if name != "self" and hasattr(use_case, f"_{name}")
    }
    return type(use_case)(**{**parts, **changes})


def rebuilt_reveal(reveals: Any, **changes: object) -> Any:
    """The use case of revealing, with some parts exchanged in each step that has them."""
    import inspect

    unused = set(changes)

    def with_changes(step: Any) -> Any:
        taken = set(inspect.signature(type(step).__init__).parameters) & set(changes)
        unused.difference_update(taken)
        return rebuilt(step, **{name: changes[name] for name in taken})

    steps = {
        name: with_changes(getattr(reveals, f"_{name}"))
        for name in ("checks", "keys", "uses", "opening")
    }
    found = rebuilt(with_changes(reveals), **steps)
    assert not unused, f"no step has {unused}"
    return found
