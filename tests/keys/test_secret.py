"""Secrets do not leak by accident."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path

import pytest

import keys
from keys.canonical import lp
from keys.secret import Secret

# The modules that may read secret bytes: each hands them to a cipher, or to Vault.
MAY_EXPOSE = {"aead", "admin", "data_keys", "operations", "secret", "spool", "tokens", "transit"}


def test_a_secret_gives_its_bytes_only_when_asked() -> None:
    """expose() is the one way."""
    secret = Secret(b"hunter2")
    assert secret.expose() == b"hunter2"
    for text in (repr(secret), str(secret), repr([secret]), repr({"key": secret})):
        assert "hunter2" not in text


def test_a_secret_is_not_formatted() -> None:
    """An f-string is refused, so that a slip is loud."""
    with pytest.raises(TypeError):
        f"{Secret(b'x')}"


def test_a_secret_is_not_compared_with_operators() -> None:
    """== and != are refused: they leak by timing."""
    with pytest.raises(TypeError):
        _ = Secret(b"x") == Secret(b"x")
    with pytest.raises(TypeError):
        _ = Secret(b"x") != b"x"


def test_a_secret_is_not_hashed() -> None:
    """It cannot become a key of a cache."""
    with pytest.raises(TypeError):
        hash(Secret(b"x"))


def test_a_secret_is_not_pickled_copied_or_made_json() -> None:
    """None of the ways to duplicate an object works on it."""
    secret = Secret(b"x")
    for duplicate in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            duplicate(secret)


def test_a_secret_has_no_attributes_to_hide_in() -> None:
    """No __dict__ that a debugger's dump would walk."""
    assert not hasattr(Secret(b"x"), "__dict__")


def test_equals_compares_content() -> None:
    """equals() knows equal and different, secret or bytes."""
    assert Secret(b"ab").equals(Secret(b"ab"))
    assert Secret(b"ab").equals(b"ab")
    assert not Secret(b"ab").equals(b"ac")
    assert not Secret(b"ab").equals(b"abc")


def test_only_listed_modules_expose_secrets() -> None:
    """A module that is not on the list never reads secret bytes."""
    folder = Path(keys.__file__).parent
    users = {path.stem for path in folder.glob("*.py") if ".expose()" in path.read_text("utf-8")}
    assert users <= MAY_EXPOSE


def test_only_transit_imports_hvac() -> None:
    """The Vault client has one home."""
    folder = Path(keys.__file__).parent
    pattern = re.compile(r"^\s*(import|from) hvac", re.MULTILINE)
    users = {path.stem for path in folder.glob("*.py") if pattern.search(path.read_text("utf-8"))}
    assert users == {"transit"}


def test_lp_prefixes_each_part_with_its_length() -> None:
    """The encoding, byte by byte."""
    assert lp("ab", b"\x00", 258) == bytes.fromhex(
        "00000002 6162 00000001 00 00000008 0000000000000102"
    )
    assert lp() == b""


def test_lp_of_different_lists_differ() -> None:
    """Moving a boundary changes the bytes."""
    assert lp("ab", "c") != lp("a", "bc") != lp("abc") != lp("abc", "")


def test_lp_takes_text_as_utf8() -> None:
    """Text and its UTF-8 bytes are the same part."""
    assert lp("é") == lp("é".encode())


@pytest.mark.parametrize("part", [-1, 2**64])
def test_lp_refuses_integers_out_of_range(part: int) -> None:
    """Eight bytes and no sign."""
    with pytest.raises(ValueError, match="range"):
        lp(part)


@pytest.mark.parametrize("part", [True, 1.5, None, [b"a"]])
def test_lp_refuses_other_types(part: object) -> None:
    """Booleans above all, being integers by accident."""
    with pytest.raises(TypeError):
        lp(part)  # type: ignore[arg-type]
