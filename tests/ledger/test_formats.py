"""Frozen vectors of the log's formats, and what each parser refuses."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.signature import verify_ed25519
from vault_service.ledger import checkpoint as checkpoints
from vault_service.ledger import export, merkle, note, tiles
from vault_service.ledger.checkpoint import Checkpoint
from vault_service.ledger.export import Export, ExportMalformed, ExportWriter, Layered
from vault_service.ledger.faults import (
    CheckpointRejected,
    EdgeBroken,
    LogError,
    NoteRejected,
    ProofRejected,
    TileMalformed,
    TileMissing,
)
from vault_service.ledger.note import VerifierKey
from vault_service.ledger.tiles import Edge, Tile
from vault_service.ledger.verify import TamperingFound, verify

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ledger_v1.json").read_text())
ENTRIES = [b'{"n":%d}' % number for number in range(600)]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]
KEY = VerifierKey.parse(VECTORS["log_key"])
WITNESS = VerifierKey.parse(VECTORS["witness_key"])
NOTE = VECTORS["note"].encode()
COSIGNED = VECTORS["cosigned"].encode()

# The tree of the Certificate Transparency reference implementation's tests.
CT_LEAVES = (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)  # fmt: skip
CT_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
# From the documentation of Go's package golang.org/x/mod/sumdb/note.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdn"
    "gotpRZb6KE6RyyBwJnAM=\n"
).encode()


def _bytes(texts: Sequence[str]) -> list[bytes]:
    return [base64.b64decode(text) for text in texts]


def _stored() -> dict[tuple[int, int], bytes]:
    """Every tile of the vectors' tree."""
    growth = tiles.grow(Edge(), LEAVES)
    found = {(level, index): data for level, index, data in growth.tiles}
    for level, data in enumerate(growth.edge.levels):
        if data:
            found[level, (len(LEAVES) >> (8 * level)) // 256] = data
    return found


STORED = _stored()


def _fetch(names: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], bytes]:
    return {name: STORED[name] for name in names}


# ---------------------------------------------------------------- the tree


def test_the_tree_is_that_of_rfc_6962() -> None:
    """The reference implementation's leaves give its roots."""
    leaves = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in CT_LEAVES]
    for size, wanted in enumerate(CT_ROOTS, 1):
        assert tiles.grow(Edge(), leaves[:size]).edge.root().hex() == wanted
    assert Edge().root() == merkle.EMPTY_ROOT == hashlib.sha256().digest()


def test_roots_and_proofs_are_the_frozen_ones() -> None:
    """Made anew from tiles, byte for byte, and accepted."""
    roots = {int(size): base64.b64decode(root) for size, root in VECTORS["roots"].items()}
    for size, wanted in roots.items():
        assert tiles.root_of(size, _fetch) == wanted
    for case in VECTORS["inclusion"]:
        index, size, proof = case["index"], case["size"], _bytes(case["proof"])
        assert tiles.prove(merkle.inclusion_ranges(index, size), _fetch) == proof
        merkle.verify_inclusion(
            LEAVES[index], index=index, size=size, root_hash=roots[size], proof=proof
        )
    for case in VECTORS["consistency"]:
        old, new, proof = case["old"], case["new"], _bytes(case["proof"])
        assert tiles.prove(merkle.consistency_ranges(old, new), _fetch) == proof
        merkle.verify_consistency(
            old=old, old_root=_root(old), new=new, new_root=_root(new), proof=proof
        )


def _root(size: int) -> bytes:
    return tiles.root_of(size, _fetch)


@given(st.data())
def test_every_proof_holds_and_no_other_does(data: st.DataObject) -> None:
    """For any sizes; one hash more, less or changed, or another place, and it is refused."""
    new = data.draw(st.integers(1, 600))
    old = data.draw(st.integers(0, new))
    index = data.draw(st.integers(0, new - 1))
    proof = tiles.prove(merkle.inclusion_ranges(index, new), _fetch)
    root = _root(new)
    leaf = LEAVES[index]
    assert merkle.verify_inclusion(leaf, index=index, size=new, root_hash=root, proof=proof) == leaf
    growth = tiles.prove(merkle.consistency_ranges(old, new), _fetch)
    sizes = {"old": old, "old_root": _root(old), "new": new, "new_root": root}
    assert merkle.verify_consistency(**sizes, proof=growth) == root
    for wrong in _wrong(data, proof):
        with pytest.raises(ProofRejected):
            merkle.verify_inclusion(leaf, index=index, size=new, root_hash=root, proof=wrong)
    for wrong in _wrong(data, growth):
        with pytest.raises(ProofRejected):
            merkle.verify_consistency(**sizes, proof=wrong)
    if old:
        with pytest.raises(ProofRejected):
            merkle.verify_consistency(**{**sizes, "new_root": bytes(32)}, proof=growth)


def _wrong(data: st.DataObject, proof: list[bytes]) -> list[list[bytes]]:
    made = [[*proof, bytes(32)]]
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        made += [proof[:-1], [*proof[:place], bytes(32), *proof[place + 1 :]]]
    return made


@pytest.mark.parametrize(
    "call",
    [
        lambda: merkle.inclusion_ranges(5, 5),
        lambda: merkle.consistency_ranges(6, 5),
        lambda: merkle.perfect_root(LEAVES[:3]),
        lambda: merkle.perfect_root([]),
        lambda: merkle.included_root(LEAVES[0], 1, 1, []),
        lambda: merkle.verify_consistency(
            old=2, old_root=bytes(32), new=1, new_root=bytes(32), proof=[]
        ),
        lambda: merkle.verify_consistency(
            old=0, old_root=bytes(32), new=1, new_root=bytes(32), proof=[]
        ),
        lambda: merkle.verify_consistency(
            old=3, old_root=bytes(32), new=5, new_root=bytes(32), proof=[]
        ),
        lambda: tiles.prove([(0, 2)], lambda _: {}),
        lambda: Edge(size=3, levels=(bytes(32),)).root(),
        lambda: Edge(size=3).root(),
        lambda: tiles.grow(Edge(size=300, levels=(b"",)), LEAVES[:1]),
    ],
)
def test_what_cannot_be_is_refused(call: Callable[[], object]) -> None:
    """No such leaf, no such size, hashes that are missing."""
    with pytest.raises(LogError):
        call()


@given(st.lists(st.integers(1, 400), max_size=6))
def test_a_tree_grows_alike_in_whatever_steps(steps: list[int]) -> None:
    """Full tiles come once each, and edge and root are those of growing at once."""
    edge, place = Edge(), 0
    full: dict[tuple[int, int], bytes] = {}
    for step in steps:
        growth = tiles.grow(edge, LEAVES[place : place + step])
        place += len(LEAVES[place : place + step])
        assert not full.keys() & {(level, index) for level, index, _ in growth.tiles}
        full |= {(level, index): data for level, index, data in growth.tiles}
        edge = growth.edge
    at_once = tiles.grow(Edge(), LEAVES[:place])
    assert edge.root() == at_once.edge.root()
    assert full == {(level, index): data for level, index, data in at_once.tiles}


# ---------------------------------------------------------------- tiles and bundles


def test_tiles_have_the_frozen_names() -> None:
    """Names are made and read back."""
    for case in VECTORS["tiles"]:
        tile = Tile(level=case["level"], index=case["index"], width=case["width"])
        assert tile.path == case["path"]
        assert tiles.parse_name(tile.name) == tile


@pytest.mark.parametrize(
    "name",
    [
        "", "0", "0/", "/000", "00/000", "64/000", "-1/000", "0/0000", "0/00", "0/x000/000",
        "0/001/000", "0/x001", "0/000.p/0", "0/000.p/256", "0/000.p/01", "0/000.p", "0/000/",
        "entries", "entries/000.p/256", "x/000", "0/\u0660\u0660\u0660", "0/000\n",
        "0/000.p/257", "0/000.p/999", "entries/000.p/300", "0/" + "x999/" * 7 + "999",
        "0/" + "x999/" * 2_000 + "999",
    ],
)  # fmt: skip
def test_one_tile_has_one_name(name: str) -> None:
    """No zeros too many, no width out of range, nothing before or behind."""
    with pytest.raises(TileMalformed):
        tiles.parse_name(name)


def test_a_tree_of_70000_has_the_specifications_tiles() -> None:
    """The example of C2SP tlog-tiles: 273 + 1, 1 + 1 and 0 + 1 tiles."""
    found = list(tiles.of_tree(70_000))
    assert [(each.level, each.width) for each in found if each.width < 256] == [
        (0, 112), (1, 17), (2, 1),
    ]  # fmt: skip
    assert sum(1 for each in found if each.width == 256) == 273 + 1
    assert [(each.level, each.width) for each in tiles.of_tree(256)] == [(0, 256), (1, 1)]
    assert len(list(tiles.bundles_of(70_000))) == 274


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_bundles_are_read_back(entries: list[bytes]) -> None:
    """The same entries, and nothing but them."""
    data = tiles.encode_bundle(entries)
    assert tiles.decode_bundle(data, len(entries)) == entries
    for wrong in (data[:-1], data + b"\0", data + b"\0\0"):
        with pytest.raises(TileMalformed):
            tiles.decode_bundle(wrong, len(entries))
    with pytest.raises(TileMalformed):
        tiles.decode_bundle(data, len(entries) + 1)


def test_an_entry_too_long_for_a_bundle_is_refused() -> None:
    """65,535 bytes fit, one more does not."""
    tiles.encode_bundle([bytes(65_535)])
    with pytest.raises(TileMalformed):
        tiles.encode_bundle([bytes(65_536)])
    with pytest.raises(TileMalformed):
        tiles.hashes_of(bytes(33), 1)


# ---------------------------------------------------------------- notes


def test_gos_example_is_accepted() -> None:
    """The note of Go's documentation verifies with the key beside it."""
    key = VerifierKey.parse(GO_KEY)
    assert (str(key), key.name, f"{key.id:08x}") == (GO_KEY, "PeterNeumann", "c74f20a3")
    assert note.parse(GO_NOTE).verified([key], verify_ed25519) == [key]


def test_the_frozen_checkpoint_verifies() -> None:
    """Signature, origin, size, root; and the same bytes when written again."""
    head = checkpoints.verify(NOTE, [KEY], verify_ed25519)
    assert head == Checkpoint(origin=KEY.name, size=600, root=_root(600))
    assert note.parse(NOTE).encode() == NOTE


def test_the_frozen_cosignature_verifies() -> None:
    """A known witness is told with its time; an unknown one is passed over."""
    read = note.parse(COSIGNED)
    (found,) = checkpoints.cosigned(read, [KEY, WITNESS], verify_ed25519)
    assert (found.key, found.timestamp) == (WITNESS, VECTORS["timestamp"])
    assert checkpoints.cosigned(read, [KEY], verify_ed25519) == []
    assert checkpoints.verify(COSIGNED, [KEY], verify_ed25519).size == 600


def test_a_witness_is_asked_and_answers_as_specified() -> None:
    """The frozen request; of the answer only lines of known witnesses are kept."""
    proof = tiles.prove(merkle.consistency_ranges(512, 600), _fetch)
    plain = note.parse(NOTE)
    request = checkpoints.witness_request(512, proof, plain)
    assert request.decode() == VECTORS["witness_request"]
    line = note.parse(COSIGNED).signatures[1].line()
    stranger = note.Signature(name="other.example", key_id=7, value=bytes(72)).line()
    for answer in (line, stranger + line, line + stranger):
        cosigned = checkpoints.with_cosignatures(plain, answer.encode(), [WITNESS], verify_ed25519)
        assert cosigned.encode() == COSIGNED
    again = checkpoints.with_cosignatures(
        note.parse(COSIGNED), line.encode(), [WITNESS], verify_ed25519
    )
    assert again.encode() == COSIGNED
    for wrong in (b"", b"\n", stranger.encode(), line.encode()[:-1], b"\xff\n"):
        with pytest.raises(NoteRejected):
            checkpoints.with_cosignatures(plain, wrong, [WITNESS], verify_ed25519)
    with pytest.raises(CheckpointRejected):
        checkpoints.witness_request(1, [bytes(32)] * 64, plain)


@given(st.integers(0, len(COSIGNED) * 8 - 1))
def test_no_bit_of_a_note_can_be_flipped(bit: int) -> None:
    """Refused, or the witness no longer counts; never another checkpoint."""
    data = bytearray(COSIGNED)
    data[bit // 8] ^= 1 << bit % 8
    try:
        head = checkpoints.verify(bytes(data), [KEY], verify_ed25519)
        cosigned = checkpoints.cosigned(note.parse(bytes(data)), [WITNESS], verify_ed25519)
    except LogError:
        return
    assert head == checkpoints.verify(NOTE, [KEY], verify_ed25519)
    assert cosigned == []


SIGNATURE = NOTE.decode().rpartition("\n\n")[2]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\nno dash\n",
        NOTE[:-1],
        NOTE + b"\n",
        NOTE.replace(b"600", b"6\x0100"),
        b"\xff" + NOTE,
        NOTE.replace("\u2014 ".encode(), "\u2014  ".encode()),
        NOTE + SIGNATURE.encode() * 100,
        b"x" * 1_000_001,
        NOTE.replace(b"=\n", b"\n"),
        "text\n\n\u2014 a+b AAAAAAAAAAAA\n".encode(),
        "text\n\n\u2014 ab AAAA\n".encode(),
        "text\n\n\u2014 ab %%%%\n".encode(),
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    """Control characters, no signatures, too many, base64 that is not."""
    with pytest.raises(NoteRejected):
        note.parse(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000+AQ==",
        GO_KEY.replace("c74f20a3", "c74f20a4"),
        GO_KEY.replace("c74f20a3", "C74F20A3"),
        GO_KEY.replace("Peter", "Peter "),
        GO_KEY[:-1],
        "+" + GO_KEY,
        "x+00000000+" + base64.b64encode(b"\x02" + bytes(32)).decode(),
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    """Another type, another id, a name that no key has."""
    with pytest.raises(NoteRejected):
        VerifierKey.parse(text)


def _resigned(text: str) -> bytes:
    """A note with another text under the old signature line."""
    return f"{text}\n{SIGNATURE}".encode()


def test_a_signature_counts_for_its_text_and_key_alone() -> None:
    """Another text, another key, a cosigner's key, a signature of another length."""
    head = Checkpoint.parse(note.parse(NOTE).text)
    other = Checkpoint(origin=head.origin, size=601, root=head.root)
    stranger = VerifierKey(name=KEY.name, public_key=bytes(32))
    short = note.Note(
        text=head.text(), signatures=(note.Signature(name=KEY.name, key_id=KEY.id, value=b"x"),)
    )
    for data, keys in (
        (_resigned(other.text()), [KEY]),
        (NOTE, [stranger]),
        (NOTE, [WITNESS]),
        (NOTE, []),
        (short.encode(), [KEY]),
    ):
        with pytest.raises(NoteRejected):
            checkpoints.verify(data, keys, verify_ed25519)


def test_a_note_may_carry_a_line_twice() -> None:
    """One key counts once."""
    note_ = note.parse(NOTE + SIGNATURE.encode())
    assert note_.verified([KEY], verify_ed25519) == [KEY]


def test_a_checkpoint_of_another_log_is_refused() -> None:
    """The key's name must be the origin."""
    head = Checkpoint.parse(note.parse(NOTE).text)
    foreign = Checkpoint(origin="other.example", size=1, root=head.root)
    signed = note.Note(
        text=foreign.text(),
        signatures=(note.Signature(name=KEY.name, key_id=KEY.id, value=bytes(64)),),
    )
    with pytest.raises(CheckpointRejected):
        checkpoints.verify(signed.encode(), [KEY], lambda *_: None)


def test_a_cosignature_from_beyond_time_is_refused() -> None:
    """A timestamp has 63 bits."""
    late = note.Signature(name=WITNESS.name, key_id=WITNESS.id, value=b"\xff" * 8 + bytes(64))
    wrong = note.Note(text=note.parse(NOTE).text, signatures=(late,))
    with pytest.raises(NoteRejected):
        checkpoints.cosigned(wrong, [WITNESS], verify_ed25519)


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        f"\n1\n{ROOT}\n",
        f"a\n01\n{ROOT}\n",
        f"a\n-1\n{ROOT}\n",
        f"a\n\u0661\n{ROOT}\n",
        f"a\n1\n{ROOT}\nextension\n",
        f"a\n1\n{ROOT[:-4]}\n",
        "a\n1\n%%%\n",
        f"a\n{2**63}\n{ROOT}\n",
        f"a\n{'9' * 5000}\n{ROOT}\n",
        f"a\n1\n{ROOT}",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    """Sizes out of form, roots out of form, extension lines."""
    with pytest.raises(CheckpointRejected):
        Checkpoint.parse(text)


# ---------------------------------------------------------------- exports


def _export(skip: Callable[[Tile], bool] = lambda _: False) -> bytes:
    stream = io.BytesIO()
    writer = ExportWriter(stream)
    writer.head(COSIGNED, [str(KEY)])
    for tile in tiles.of_tree(600):
        if not skip(tile):
            data = STORED[tile.level or 0, tile.index]
            writer.tile(tile, data[: tile.width * 32])
    for tile in tiles.bundles_of(600):
        if not skip(tile):
            first = tile.index * 256
            writer.tile(tile, tiles.encode_bundle(ENTRIES[first : first + tile.width]))
    writer.close()
    return stream.getvalue()


def _open(tmp_path: Path, data: bytes, name: str = "log.tar") -> Export:
    file = tmp_path / name
    file.write_bytes(data)
    return Export(file)


def test_an_export_has_the_frozen_bytes() -> None:
    """The same log gives the same file, on every machine."""
    assert hashlib.sha256(_export()).hexdigest() == VECTORS["export_sha256"]


def test_an_export_verifies_and_tells_its_witnesses(tmp_path: Path) -> None:
    """Entries that are none of ours are counted as such, and logged all the same."""
    source = _open(tmp_path, _export())
    seen: list[int] = []
    found = verify(
        source,
        keys=[KEY, WITNESS],
        check=verify_ed25519,
        kept=[NOTE],
        examine=lambda index, _: seen.append(index),
    )
    source.close()
    assert (found.entries, found.events, found.first_at) == (600, {"?": 600}, None)
    assert [one.key for one in found.cosignatures] == [WITNESS]
    assert seen == list(range(600))


def test_gaps_are_filled_from_archives(tmp_path: Path) -> None:
    """One file lacks a bundle, the other has nothing else."""
    lacking = _open(tmp_path, _export(lambda tile: tile == Tile(level=None, index=1)), "a.tar")
    other = _open(tmp_path, _export(lambda tile: tile.level is not None), "b.tar")
    checked: dict[str, Any] = {"keys": [KEY], "check": verify_ed25519}
    with pytest.raises(TamperingFound) as missing:
        verify(lacking, **checked)
    assert (missing.value.code, missing.value.index) == ("ledger_entries_missing", 256)
    assert verify(lacking, **checked, complete=False).missing == ((256, 512),)
    both = Layered([lacking, other])
    assert verify(both, **checked).missing == ()
    assert both.read("nothing") is None
    lacking.close()
    other.close()


def test_neighbouring_gaps_are_told_as_one(tmp_path: Path) -> None:
    """Without any bundle the whole log is one gap; its root is proven all the same."""
    bare = _open(tmp_path, _export(lambda tile: tile.level is None))
    found = verify(bare, keys=[KEY], check=verify_ed25519, complete=False)
    bare.close()
    assert (found.missing, found.entries) == (((0, 600),), 0)


@pytest.mark.parametrize("level", [0, 1])
def test_a_missing_tile_is_found(tmp_path: Path, level: int) -> None:
    """Whether full or partial."""
    bare = _open(tmp_path, _export(lambda tile: tile.level == level))
    with pytest.raises(TamperingFound) as found:
        verify(bare, keys=[KEY], check=verify_ed25519)
    bare.close()
    assert found.value.code == "ledger_tile_missing"


def test_a_log_of_another_name_is_not_continued(tmp_path: Path) -> None:
    """A kept checkpoint must be of this log, and no larger than it."""
    source = _open(tmp_path, _export())
    head = Checkpoint.parse(note.parse(NOTE).text)

    def kept(**changes: Any) -> bytes:
        made = Checkpoint(**{"origin": head.origin, "size": 600, "root": head.root, **changes})
        key = checkpoints.log_key(made.origin, KEY.public_key)
        return checkpoints.signed(made, key, bytes(64)).encode()

    other = checkpoints.log_key("other.example", KEY.public_key)
    for wrong, code in (
        (kept(origin="other.example"), "ledger_other_log"),
        (kept(size=601), "ledger_truncated"),
        (kept(size=300), "ledger_forked"),
        (kept(root=bytes(32)), "ledger_forked"),
        (kept(size=0), "ledger_forked"),
    ):
        with pytest.raises(TamperingFound) as found:
            verify(source, keys=[KEY, other], check=lambda *_: None, kept=[wrong])
        assert found.value.code == code
    empty = kept(size=0, root=merkle.EMPTY_ROOT)
    assert verify(source, keys=[KEY], check=lambda *_: None, kept=[empty]).kept[0].size == 0
    source.close()


def test_a_signed_root_that_entries_do_not_make_is_found(tmp_path: Path) -> None:
    """All tiles agree with the entries, and the head does not."""
    source = _open(tmp_path, _export())
    wrong = Checkpoint(origin=KEY.name, size=600, root=bytes(32))
    forged = checkpoints.signed(wrong, KEY, bytes(64)).encode()

    class Forged:
        def read(self, path: str) -> bytes | None:
            return forged if path == export.CHECKPOINT else source.read(path)

    with pytest.raises(TamperingFound) as found:
        verify(Forged(), keys=[KEY], check=lambda *_: None)
    assert found.value.code == "ledger_tampered"
    source.close()


def test_an_empty_log_verifies() -> None:
    """Nothing was written, and a head says so."""
    head = Checkpoint(origin=KEY.name, size=0, root=merkle.EMPTY_ROOT)
    signed = checkpoints.signed(head, KEY, bytes(64)).encode()

    class Empty:
        def read(self, path: str) -> bytes | None:
            return signed if path == export.CHECKPOINT else None

    assert verify(Empty(), keys=[KEY], check=lambda *_: None).entries == 0


def test_without_a_head_nothing_is_verified() -> None:
    """No checkpoint, no verdict."""

    class Nothing:
        def read(self, _path: str) -> bytes | None:
            return None

    with pytest.raises(LogError) as found:
        verify(Nothing(), keys=[KEY], check=verify_ed25519)
    assert found.value.code == "ledger_checkpoint_missing"


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    """Text, a compressed file, a member twice, a link, an end too early."""
    import gzip
    import tarfile

    def built(fill: Callable[[tarfile.TarFile], object]) -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            fill(tar)
        return stream.getvalue()

    def twice(tar: tarfile.TarFile) -> None:
        tar.addfile(tarfile.TarInfo("checkpoint"))
        tar.addfile(tarfile.TarInfo("checkpoint"))

    def link(tar: tarfile.TarFile) -> None:
        made = tarfile.TarInfo("checkpoint")
        made.type, made.linkname = tarfile.SYMTYPE, "keys"
        tar.addfile(made)

    for data in (b"text" * 1000, gzip.compress(_export()), built(twice), built(link)):
        with pytest.raises(ExportMalformed):
            _open(tmp_path, data)
    writer = io.BytesIO()
    made = ExportWriter(writer)
    made.earlier({7: bytes(500_000)})
    made.close()
    with pytest.raises(ExportMalformed):
        _open(tmp_path, writer.getvalue()[:514], "cut.tar")
    shrinking = _open(tmp_path, writer.getvalue(), "shrinking.tar")
    assert shrinking.earlier() == ["checkpoints/7"]
    (tmp_path / "shrinking.tar").write_bytes(b"")
    with pytest.raises(ExportMalformed):
        shrinking.read("checkpoints/7")
    shrinking.close()


def test_errors_have_stable_codes() -> None:
    """Each kind its own."""
    kinds = (
        TileMalformed,
        NoteRejected,
        CheckpointRejected,
        ProofRejected,
        TileMissing,
        EdgeBroken,
    )
    codes = [kind("x").code for kind in kinds]
    assert len(set(codes)) == len(codes)
    assert all(code.startswith("ledger_") for code in codes)
