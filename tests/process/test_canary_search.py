"""The search for canaries finds each of them in every form that it promises to know."""

from __future__ import annotations

import base64
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process import canaries
from tests.process.canaries import Canaries

FLOCK = Canaries(count=30, seed=7)
NEEDLES = FLOCK.needles()


def shown(number: str, separator: str) -> str:
    """A number as it is printed."""
    return separator.join(number[i : i + 4] for i in range(0, len(number), 4))


FORMS: dict[str, Callable[[str], bytes]] = {
    "raw": str.encode,
    "spaces": lambda text: shown(text, " ").encode(),
    "dashes": lambda text: shown(text, "-").encode(),
    "dots": lambda text: shown(text, ".").encode(),
    "no-break spaces": lambda text: shown(text, "\u00a0").encode(),
    "one by one": lambda text: " ".join(text).encode(),
    "lines": lambda text: "\r\n".join(text).encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64 after one byte": lambda text: base64.b64encode(b"a" + text.encode() + b"b"),
    "base64 after two bytes": lambda text: base64.b64encode(b"ab" + text.encode() + b"c"),
    "base64 in a document": lambda text: base64.urlsafe_b64encode(
        b'{"value":{"number":"' + text.encode() + b'"}}'
    ),
    "base64 in lines": lambda text: base64.encodebytes(b"a" * 50 + text.encode() + b"a" * 50),
    "base64 of spaces": lambda text: base64.b64encode(b"xy" + shown(text, " ").encode()),
    "base64 of UTF-16": lambda text: base64.b64encode(text.encode("utf-16-le")),
    "hex": lambda text: text.encode().hex().encode(),
    "hex in capitals": lambda text: text.encode().hex().upper().encode(),
    "hex in pairs": lambda text: text.encode().hex(" ").encode(),
    "hex of dashes": lambda text: shown(text, "-").encode().hex().encode(),
    "UTF-16": lambda text: text.encode("utf-16-le"),
    "UTF-16, big end first": lambda text: text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32-le"),
    "reversed": lambda text: text[::-1].encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_planted_canary_is_found(form: str, tmp_path: Path) -> None:
    """Each family's, and each code, amid noise, and across the seam of two chunks."""
    chance = random.Random(3)  # noqa: S311 -- noise
    for number, wanted in enumerate([*FLOCK.cards()[-3:], FLOCK.codes()[-1]]):
        if "of" in form and not wanted.isdigit():
            continue  # codes are not printed in groups
        planted = FORMS[form](wanted)
        file = tmp_path / "deep" / f"{number}.bin"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(chance.randbytes(5_000) + planted + chance.randbytes(5_000))
        found, size = canaries.search_file(file, NEEDLES)
        assert found, (form, wanted)
        assert size == file.stat().st_size


def test_a_canary_on_the_seam_of_two_chunks_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing hides where one reading ends and the next begins."""
    monkeypatch.setattr(canaries, "_CHUNK", 10_000)
    planted = FLOCK.cards()[0].encode()
    for before in range(9_980, 10_003):
        file = tmp_path / "seam.bin"
        file.write_bytes(os.urandom(before) + planted + os.urandom(3_000))
        assert canaries.search_folders([tmp_path], NEEDLES)[0], before


def test_masks_and_tokens_are_no_canaries(tmp_path: Path) -> None:
    """What may be shown of a card is not taken for it, nor is noise."""
    text = "".join(
        f'{{"mask":{{"number":"{number[:6]}{"*" * (len(number) - 10)}{number[-4:]}"}}}}'
        for number in FLOCK.cards()
    )
    (tmp_path / "answers").write_text(text, encoding="utf-8")
    (tmp_path / "noise").write_bytes(os.urandom(8 * 1024 * 1024))
    found, files, size = canaries.search_folders([tmp_path], NEEDLES)
    assert found == []
    assert files == 2
    assert size > 8 * 1024 * 1024


def test_canaries_are_all_different_and_cards() -> None:
    """As many as asked, each a number that a card could have."""
    from vault_service.domain.brands import luhn_valid

    flock = Canaries(count=canaries.MOST, seed=1)
    cards = flock.cards()
    assert len(set(cards)) == len(set(flock.codes())) == canaries.MOST
    assert {len(number) for number in cards} == {15, 16}
    assert all(luhn_valid(number) for number in cards)
