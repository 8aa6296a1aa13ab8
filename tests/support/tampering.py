"""What a superuser of the database can do to a log, at random; each a way to be found out."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from vault_service.ledger import merkle, tiles
from vault_service.ledger.tiles import WIDTH, Edge
from vault_service.storage.tables import metadata

TABLES = (
    "ledger_tree",
    "ledger_edge",
    "ledger_tiles",
    "ledger_bundles",
    "ledger_tail",
    "ledger_leaves",
    "ledger_checkpoints",
    "ledger_outbox",
)
Link = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tampering:
    """One thing that was done.

    Attributes:
        kind: which sort.
        about: where, for the table of a campaign.
        signs: whether the log's own sequencer is then made to sign what is there now.
    """

    kind: str
    about: str
    signs: bool = False


class Superuser:
    """Somebody with every right on the database and none in Vault.

    Args:
        link: a superuser's connection, in autocommit mode.
        rng: decides what is done.
        kept: size of the checkpoint that somebody keeps elsewhere.
    """

    def __init__(self, link: Link, rng: random.Random, *, kept: int) -> None:
        self._link = link
        self._rng = rng
        self._kept = kept

    # ------------------------------------------------------------ before and after

    def remember(self) -> None:
        """Copy the log, to put it back after each tampering."""
        self._link.execute("CREATE SCHEMA before")
        for table in TABLES:
            self._link.execute(f"CREATE TABLE before.{table} AS TABLE public.{table}".encode())

    def remember_anew(self) -> None:
        """Take the log as it is now for what it was."""
        self._link.execute("DROP SCHEMA before CASCADE")
        self.remember()

    def fork(self, *, keep_heads: bool = False) -> Tampering:
        """Rewrite the log as a whole."""
        with self._link.transaction():
            heads = self._link.execute("SELECT * FROM ledger_checkpoints").fetchall()
            done = self._fork()
            for head in heads if keep_heads else ():
                self._link.execute("INSERT INTO ledger_checkpoints VALUES (%s, %s, %s)", head)
            return done

    def put_back(self) -> None:
        """Make the log what it was."""
        with self._link.transaction():
            names = ", ".join(f"public.{table}" for table in TABLES)
            self._link.execute(f"TRUNCATE {names}".encode())
            for table in TABLES:
                # What the database computes it computes again.
                written = ", ".join(
                    column.name for column in metadata.tables[table].c if column.computed is None
                )
                self._link.execute(
                    f"INSERT INTO public.{table} ({written})"  # noqa: S608
                    f" SELECT {written} FROM before.{table}".encode()
                )

    def tamper(self) -> Tampering:
        """Do one thing at random, in one transaction."""
        ways: Sequence[tuple[int, Callable[[], Tampering]]] = (
            (4, self._edit),
            (3, self._delete),
            (3, self._insert),
            (3, self._reorder),
            (2, self._truncate),
            (3, self._fork),
            (4, self._replace_tile),
            (1, self._forge_head),
            (1, self._old_head),
        )
        (way,) = self._rng.choices([way for _, way in ways], [weight for weight, _ in ways])
        with self._link.transaction():
            return way()

    # ------------------------------------------------------------ entries

    def _edit(self) -> Tampering:
        index, entries = self._some_entry()
        place = index % WIDTH if index >= 0 else 0
        data = bytearray(entries[place])
        if self._rng.random() < 0.5:
            data[self._rng.randrange(len(data))] ^= 1 << self._rng.randrange(8)
        else:
            members = json.loads(bytes(data))
            members["outcome"] = "success" if members["outcome"] != "success" else "refused"
            data = bytearray(json.dumps(members, sort_keys=True, separators=(",", ":")).encode())
        entries[place] = bytes(data)
        self._store(index // WIDTH, entries)
        return Tampering(kind="edit", about=f"entry {index}")

    def _delete(self) -> Tampering:
        how = self._rng.randrange(3)
        if how == 0:
            number = self._rng.randrange(self._full())
            self._link.execute("DELETE FROM ledger_bundles WHERE number = %s", (number,))
            return Tampering(kind="delete", about=f"bundle {number}")
        index, entries = self._some_entry()
        del entries[index % WIDTH]
        if how == 1 and index // WIDTH < self._full():
            # Close the gap with the first entry of the next bundle, so that the count is right.
            entries.append(self._entries_of(min(index // WIDTH + 1, self._full()))[0])
        self._store(index // WIDTH, entries)
        return Tampering(kind="delete", about=f"entry {index}")

    def _insert(self) -> Tampering:
        index, entries = self._some_entry()
        made = json.loads(entries[index % WIDTH])
        made["count"] = made.get("count", 0) + 1
        entries.insert(
            index % WIDTH, json.dumps(made, sort_keys=True, separators=(",", ":")).encode()
        )
        if self._rng.random() < 0.5:
            entries.pop()
        self._store(index // WIDTH, entries)
        return Tampering(kind="insert", about=f"before entry {index}")

    def _reorder(self) -> Tampering:
        if self._rng.random() < 0.3:
            one, two = self._rng.sample(range(self._full()), 2)
            first, second = self._entries_of(one), self._entries_of(two)
            self._store(one, second)
            self._store(two, first)
            return Tampering(kind="reorder", about=f"bundles {one} and {two}")
        index, entries = self._some_entry()
        other = self._rng.choice([place for place in range(len(entries)) if place != index % WIDTH])
        entries[index % WIDTH], entries[other] = entries[other], entries[index % WIDTH]
        self._store(index // WIDTH, entries)
        return Tampering(kind="reorder", about=f"entry {index}")

    # ------------------------------------------------------------ the whole tree, rewritten well

    def _truncate(self) -> Tampering:
        entries = self._all()
        size = self._rng.randrange(1, self._kept)
        self._rewrite(entries[:size])
        return Tampering(kind="truncate", about=f"to {size}", signs=self._rng.random() < 0.7)

    def _fork(self) -> Tampering:
        entries = self._all()
        index = self._rng.randrange(self._kept)
        how = self._rng.choice(("edit", "delete", "insert", "swap"))
        if how == "edit":
            entries[index] = entries[index][:-1] + b',"z":0}'
        elif how == "delete":
            del entries[index]
        elif how == "insert":
            entries.insert(index, entries[index][:-1] + b',"z":0}')
        else:
            other = (index + 1 + self._rng.randrange(self._kept - 1)) % self._kept
            entries[index], entries[other] = entries[other], entries[index]
        self._rewrite(entries)
        return Tampering(kind="fork", about=f"{how} at {index}", signs=self._rng.random() < 0.7)

    def _rewrite(self, entries: list[bytes]) -> None:
        """Make the stored log one that holds these entries, with every hash right."""
        growth = tiles.grow(Edge(), [merkle.leaf_hash(entry) for entry in entries])
        run = self._link.execute
        run("TRUNCATE ledger_tiles, ledger_edge, ledger_bundles, ledger_tail, ledger_checkpoints")
        for tile in growth.tiles:
            run("INSERT INTO ledger_tiles VALUES (%s, %s, %s)", tile)
        for level, hashes in enumerate(growth.edge.levels):
            run("INSERT INTO ledger_edge VALUES (%s, %s)", (level, hashes))
        full = len(entries) // WIDTH
        for number in range(full):
            run(
                "INSERT INTO ledger_bundles VALUES (%s, %s, '{}', now(), now())",
                (number, _packed(entries[number * WIDTH : (number + 1) * WIDTH])),
            )
        for leaf, entry in enumerate(entries[full * WIDTH :], full * WIDTH):
            run("INSERT INTO ledger_tail VALUES (%s, %s)", (leaf, entry))
        run(
            "UPDATE ledger_tree SET signed_size = 0, unsigned_since = now(), size = %s, root = %s",
            (len(entries), growth.edge.root()),
        )

    # ------------------------------------------------------------ hashes and heads

    def _replace_tile(self) -> Tampering:
        found = self._link.execute(
            "SELECT level, number, hashes, true FROM ledger_tiles UNION ALL"
            " SELECT level, 0, hashes, false FROM ledger_edge WHERE octet_length(hashes) > 0"
        ).fetchall()
        level, number, hashes, full = self._rng.choice(found)
        data = bytearray(hashes)
        place = self._rng.randrange(len(data) // 32) * 32
        data[place : place + 32] = self._rng.randbytes(32)
        if full:
            self._link.execute(
                "UPDATE ledger_tiles SET hashes = %s WHERE level = %s AND number = %s",
                (bytes(data), level, number),
            )
        else:
            self._link.execute(
                "UPDATE ledger_edge SET hashes = %s WHERE level = %s", (bytes(data), level)
            )
        return Tampering(kind="tile", about=f"{level}/{number}{'' if full else ' (partial)'}")

    def _forge_head(self) -> Tampering:
        (note,) = self._newest()
        lines = bytes(note).split(b"\n")
        if self._rng.random() < 0.5:
            lines[1] = str(int(lines[1]) - 1).encode()
        else:
            line = bytearray(lines[2])
            line[self._rng.randrange(40)] = 65 if line[3] != 65 else 66
            lines[2] = bytes(line) if bytes(line) != lines[2] else b"A" * 43 + b"="
        self._link.execute(
            "UPDATE ledger_checkpoints SET note = %s"
            " WHERE size = (SELECT max(size) FROM ledger_checkpoints)",
            (b"\n".join(lines),),
        )
        return Tampering(kind="head", about="forged")

    def _old_head(self) -> Tampering:
        self._link.execute("DELETE FROM ledger_checkpoints WHERE size >= %s", (self._kept,))
        return Tampering(kind="head", about="an older one")

    def _newest(self) -> tuple[Any, ...]:
        row = self._link.execute(
            "SELECT note FROM ledger_checkpoints ORDER BY size DESC LIMIT 1"
        ).fetchone()
        assert row is not None
        return row

    # ------------------------------------------------------------ reading and writing

    def _full(self) -> int:
        row = self._link.execute("SELECT count(*) FROM ledger_bundles").fetchone()
        assert row is not None
        return int(row[0])

    def _some_entry(self) -> tuple[int, list[bytes]]:
        """An entry behind the kept checkpoint, and its bundle."""
        index = self._rng.randrange(self._kept)
        return index, self._entries_of(index // WIDTH)

    def _entries_of(self, number: int) -> list[bytes]:
        row = self._link.execute(
            "SELECT packed FROM ledger_bundles WHERE number = %s", (number,)
        ).fetchone()
        if row is not None:
            return tiles.decode_bundle(gzip.decompress(row[0]), WIDTH)
        rows = self._link.execute("SELECT entry FROM ledger_tail ORDER BY leaf").fetchall()
        return [bytes(row[0]) for row in rows]

    def _all(self) -> list[bytes]:
        return [entry for number in range(self._full() + 1) for entry in self._entries_of(number)]

    def _store(self, number: int, entries: list[bytes]) -> None:
        full = self._full()
        if number < full:
            self._link.execute(
                "UPDATE ledger_bundles SET packed = %s WHERE number = %s",
                (_packed(entries), number),
            )
            return
        self._link.execute("TRUNCATE ledger_tail")
        for leaf, entry in enumerate(entries, full * WIDTH):
            self._link.execute("INSERT INTO ledger_tail VALUES (%s, %s)", (leaf, entry))


def _packed(entries: Sequence[bytes]) -> bytes:
    return gzip.compress(tiles.encode_bundle(entries), 1, mtime=0)
