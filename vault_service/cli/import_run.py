"""Sends the rows of an export to the service in batches and writes what became of each.

Repeating is harmless at every place. A customer's reference gives the same customer. A batch has an
Idempotency-Key made of the import's random name and the batch's place in the file, so that a batch
sent again after a kill is answered from what the first one did; and beyond that the service knows
equal values of a customer. The keys say nothing about what is in the batch.

A few batches are under way at once, so that the service works on one while the next is read here.
They are written in the order of the file, whichever is answered first, and none after one that
failed; what was stored of those is found again when the import is resumed.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from vault_service.cli.import_journal import Journal, Written
from vault_service.cli.import_lines import Reason, Record, Spoiled
from vault_service.cli.import_rows import Form, Refused, Row
from vault_service.client import AnswerUnexpected, ApiError, Client, Unreachable
from vault_service.client.models import ItemError, Token, TokenResult

_T = TypeVar("_T")

# Customers whose ids are remembered; exports are sorted by customer more often than not.
MAX_KNOWN: Final = 50_000
# Below the service's limit for a body, however its operator has set it.
MAX_BATCH_BYTES: Final = 512 * 1024
# Batches under way at once; more would make no core busier.
AT_ONCE: Final = 3
_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 15.0
_ITEM_POINTER: Final = re.compile(r"/items/[0-9]+")
# Statuses that are about what was sent; the same would be refused again.
_ABOUT_THE_BODY: Final = frozenset((400, 413, 415, 422))
_FOR_NOW: Final = frozenset((429, 502, 503, 504))
_SERVER_FAILED: Final = 500
_UNDER_WAY: Final = "idempotency_in_progress"
_KEY_REUSED: Final = "idempotency_key_reused"


@dataclass(slots=True)
class _Entry:
    """A record on its way: refused already, or a row that waits for its result."""

    record: Record | Spoiled
    reason: Reason | None = None
    row: Row | None = field(default=None, repr=False)
    token: Token | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """What makes one request; `begin` is the place in the file where its records begin."""

    begin: int
    entries: list[_Entry]

    @property
    def end(self) -> int:
        return self.entries[-1].record.end


class Import:
    """One run over a file.

    Args:
        client: the service, with a billing principal's key.
        form: how records are read and written.
        journal: where the import stands.
        batch: records in one request, at most 1,000.
        patience: seconds that a service which is away is waited for.
        progress: told the byte up to which the file is done, after each batch.
        sleep: waits that many seconds.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        client: Client,
        form: Form,
        journal: Journal,
        batch: int,
        patience: float,
        progress: Callable[[int], None],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._form = form
        self._journal = journal
        self._batch = batch
        self._patience = patience
        self._progress = progress
        self._sleep = sleep
        self._clock = clock
        self._known: OrderedDict[str, str | Reason] = OrderedDict()
        self._known_lock = threading.Lock()

    def run(self, records: Iterable[Record | Spoiled]) -> None:
        """Send everything that is left.

        Raises:
            ApiError: the service refuses the caller, or stayed away for too long.
            Unreachable: it stayed away for too long.
            OSError: an output cannot be written.
        """
        under_way: deque[tuple[_Group, Future[None]]] = deque()
        for group in self._groups(records):
            under_way.append((group, self._begin(group)))
            if len(under_way) == AT_ONCE:
                self._end(*under_way.popleft())
        while under_way:
            self._end(*under_way.popleft())
        self._journal.finish()

    def _begin(self, group: _Group) -> Future[None]:
        """Have the service asked about a group, aside."""
        done: Future[None] = Future()

        def work() -> None:
            try:
                self._resolve(group.entries)
                self._send(group)
            except BaseException as error:  # noqa: BLE001 -- raised where the group is written
                done.set_exception(error)
            else:
                done.set_result(None)

        # A daemon, so that an interrupted command ends at once, whatever it was waiting for.
        threading.Thread(target=work, name="import", daemon=True).start()
        return done

    def _end(self, group: _Group, done: Future[None]) -> None:
        done.result()
        self._write(group.entries)

    def _groups(self, records: Iterable[Record | Spoiled]) -> Iterator[_Group]:
        """Records in groups that make one request each, with their places."""
        group: list[_Entry] = []
        begin = self._journal.state.offset
        for record in records:
            group.append(self._entry(record))
            if len(group) >= self._batch or record.end - begin >= MAX_BATCH_BYTES:
                yield _Group(begin=begin, entries=group)
                group, begin = [], record.end
        if group:
            yield _Group(begin=begin, entries=group)

    def _entry(self, record: Record | Spoiled) -> _Entry:
        if isinstance(record, Spoiled):
            return _Entry(record, record.reason)
        try:
            return _Entry(record, row=self._form.row(record))
        except Refused as refused:
            return _Entry(record, refused.reason)

    # ------------------------------------------------------------ customers

    def _resolve(self, group: list[_Entry]) -> None:
        """Give each row its customer's id."""
        rows = [entry.row for entry in group if entry.row is not None]
        wanted = {row.external_ref for row in rows if row.external_ref is not None}
        with self._known_lock:
            known = {name: self._known[name] for name in wanted & self._known.keys()}
        asked = sorted(wanted - known.keys())
        if asked:
            known.update(zip(asked, self._customers(asked), strict=True))
        for entry in group:
            row = entry.row
            if row is None or row.external_ref is None:
                continue
            found = known[row.external_ref]
            if isinstance(found, Reason):
                entry.reason, entry.row = found, None
            else:
                entry.row = replace(row, customer=found)
        with self._known_lock:
            for name, found in known.items():
                self._known[name] = found
                self._known.move_to_end(name)
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)

    def _customers(self, references: list[str]) -> list[str | Reason]:
        """Each reference's customer, or why there is none."""
        try:
            results = self._patiently(lambda: self._client.customers.batch(references))
        except ApiError as error:
            if error.status not in _ABOUT_THE_BODY:
                raise
            if len(references) == 1:
                column = self._form.column("external_ref")
                return [Reason(code=error.code, detail=error.detail, column=column)]
            middle = len(references) // 2
            return self._customers(references[:middle]) + self._customers(references[middle:])
        if len(results) != len(references):
            raise AnswerUnexpected("the answer has not one result for each customer")
        found: list[str | Reason] = []
        for result in results:
            if result.customer is not None:
                found.append(result.customer.id)
            elif result.error is not None:
                column = self._form.column("external_ref")
                found.append(
                    Reason(code=result.error.code, detail=result.error.detail, column=column)
                )
            else:
                raise AnswerUnexpected("the answer has an item without a result")
        return found

    # ------------------------------------------------------------ tokens

    def _send(self, group: _Group) -> None:
        """Give each row its token or its reason."""
        entries = [entry for entry in group.entries if entry.row is not None]
        if not entries:
            return
        key = self._key(group.begin, group.end)
        until = self._clock() + self._patience
        pause = _PAUSE
        while entries:
            results = self._submit([_item(entry) for entry in entries], key)
            again: list[_Entry] = []
            for entry, result in zip(entries, results, strict=True):
                error = result.error
                if error is not None and (
                    error.status >= _SERVER_FAILED or error.status in _FOR_NOW
                ):
                    again.append(entry)  # not this record's fault
                else:
                    self._settle(entry, result)
            if again:
                if self._clock() >= until:
                    raise ApiError(
                        "the service could not store some records", code="unavailable", status=503
                    )
                self._sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                key = f"{key[:64]}-{secrets.token_hex(8)}"
            entries = again

    def _settle(self, entry: _Entry, result: TokenResult) -> None:
        error = result.error
        if result.token is not None:
            entry.token = result.token
        elif error is not None and entry.row is not None:
            pointer = _ITEM_POINTER.sub("", error.pointer or "", count=1)
            data_class = str(entry.row.item["class"])
            column = self._form.column(pointer, data_class) if pointer else ""
            entry.reason = Reason(code=error.code, detail=error.detail, column=column)
        else:
            raise AnswerUnexpected("the answer has an item without a result")

    def _submit(self, items: Sequence[dict[str, Any]], key: str) -> list[TokenResult]:
        """One result for each item.

        A body that is refused as a whole is halved until the item that spoils it stands alone.
        """
        try:
            results = self._patiently(lambda: self._client.tokens.batch(items, idempotency_key=key))
        except ApiError as error:
            if error.code == _KEY_REUSED:
                # The place is the same and the customers' ids are not: the vault was made anew.
                return self._submit(items, f"{key[:64]}-{secrets.token_hex(8)}")
            if error.status not in _ABOUT_THE_BODY:
                raise
            if len(items) == 1:
                return [TokenResult(error=_as_item_error(error))]
            middle = len(items) // 2
            left = self._submit(items[:middle], _shorter(key, "l"))
            return [*left, *self._submit(items[middle:], _shorter(key, "r"))]
        if len(results) != len(items):
            raise AnswerUnexpected("the answer does not have one result for each item")
        return results

    def _key(self, begin: int, end: int) -> str:
        text = f"{self._journal.state.import_id}/{begin}/{end}"
        return hashlib.sha256(text.encode()).hexdigest()

    # ------------------------------------------------------------ waiting, writing

    def _patiently(self, call: Callable[[], _T]) -> _T:
        """What the call returns; waits while the service is away."""
        until = self._clock() + self._patience
        pause = _PAUSE
        while True:
            try:
                return call()
            except (ApiError, Unreachable) as error:
                away = (
                    isinstance(error, Unreachable)
                    or error.status in _FOR_NOW
                    or error.code == _UNDER_WAY
                )
                if not away or self._clock() >= until:
                    raise
            self._sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _write(self, group: list[_Entry]) -> None:
        lines: list[str] = []
        rejects: list[tuple[int, Reason]] = []
        deduplicated = 0
        for entry in group:
            if entry.row is not None and entry.token is not None:
                lines.append(self._form.line(entry.row, entry.token))
                deduplicated += entry.token.deduplicated
            elif entry.reason is not None:
                rejects.append((entry.record.line, entry.reason))
            else:
                raise AnswerUnexpected("a record was left without a result")
        last = group[-1].record
        self._journal.add(
            Written(lines=lines, rejects=rejects),
            deduplicated=deduplicated,
            offset=last.end,
            line=last.next_line,
        )
        self._progress(last.end)


def _item(entry: _Entry) -> dict[str, Any]:
    row = entry.row
    if row is None:
        raise AnswerUnexpected("a refused record has no item")
    return {**row.item, "customer": row.customer}


def _shorter(key: str, side: str) -> str:
    """A key for a part of a batch: as fixed by its place as the whole batch's."""
    return hashlib.sha256(f"{key}/{side}".encode()).hexdigest()


def _as_item_error(error: ApiError) -> ItemError:
    first = error.errors[0] if error.errors else None
    return ItemError(
        status=error.status,
        code=error.code,
        detail=error.detail,
        pointer=None if first is None else first.pointer,
    )
