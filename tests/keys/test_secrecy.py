"""C1: no data key in an exception, a trace or a log when part of a batch fails."""

from __future__ import annotations

import base64
import logging
import os
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import hvac
import pytest

from keys.answers import Auth, BatchAnswer, Item, SecretId, WrapInfo, decode
from keys.data_keys import DataKeyPool, Unwrapper, WrappedKey
from keys.errors import CiphertextRejected, KeysError
from keys.link import Reply as Raw
from keys.secret import Secret
from keys.spool import _Entry
from keys.transit import _Call
from tests.keys.support import FakeVault, Reply, World, at_fake


def forms(raw: bytes) -> tuple[str, ...]:
    """How a key could be written."""
    return (base64.b64encode(raw).decode(), raw.hex(), repr(raw)[2:-1])


def test_c1_hvac_by_itself_leaks_the_good_items(world: World) -> None:
    """Fact 2 reproduced: this is what the adapter is for."""
    raw = os.urandom(32)
    (good,) = world.admin.encrypt("records-card", [Secret(raw)])
    client = hvac.Client(url=world.place.address, token=world.place.token)
    with pytest.raises(hvac.exceptions.InvalidRequest) as caught:
        client.secrets.transit.decrypt_data(
            "records-card",
            batch_input=[{"ciphertext": good}, {"ciphertext": "vault:v1:AAAA"}],
            mount_point=world.place.mount,
        )
    assert forms(raw)[0] in str(caught.value.text)
    client.adapter.close()


def test_c1_a_partial_failure_is_an_item_of_its_own(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The good keys come, the bad one is refused, and nothing was written anywhere."""
    raws = [os.urandom(32) for _ in range(3)]
    texts = world.admin.encrypt("records-card", [Secret(raw) for raw in raws])
    texts.insert(1, "vault:v1:AAAA")
    with caplog.at_level(logging.DEBUG):
        results = Unwrapper(world.role("reveal")).unwrap(
            [WrappedKey.parse("records-card", text) for text in texts]
        )
    refused = results.pop(1)
    assert isinstance(refused, CiphertextRejected)
    told = caplog.text + repr(results) + "".join(traceback.format_exception(refused))
    for raw, result in zip(raws, results, strict=True):
        assert isinstance(result, Secret)
        assert result.equals(raw)
        assert not [form for form in forms(raw) if form in told]


def test_c1_a_batch_of_which_every_item_fails_is_no_outage(world: World) -> None:
    """Vault says 400 then, whatever was asked for; each item is refused."""
    results = world.role("reveal").decrypt("records-card", ["vault:v1:AAAA", "nonsense", ""])
    assert [type(result) for result in results] == [CiphertextRejected] * 3


RAW = bytes(range(200, 232))
LEAKY = {"data": {"batch_results": [{"plaintext": forms(RAW)[0]}, {"error": "bad"}]}}
ANSWERS: dict[str, Reply] = {
    "400": Reply.of({**LEAKY, "errors": [forms(RAW)[0]]}, 400),
    "400 other": Reply.of({"errors": [forms(RAW)[0]]}, 400),
    "403": Reply.of(LEAKY, 403),
    "404": Reply.of(LEAKY, 404),
    "413": Reply.of(LEAKY, 413),
    "500": Reply.of(LEAKY, 500),
    "503": Reply.of(LEAKY, 503),
    "broken": Reply(200, b'{"data": "' + forms(RAW)[0].encode() + b'"'),
    "other shape": Reply.of({"data": {"batch_results": {"plaintext": forms(RAW)[0]}}}),
    "other length": Reply.of(LEAKY),
    "307": Reply(307, forms(RAW)[0].encode(), {"Location": f"/{forms(RAW)[0]}"}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_c1_no_error_carries_what_a_server_said(
    fake: FakeVault,
    folder: Path,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever comes back with a key in it, the exception and all it is chained to are clean."""
    transit = at_fake(fake, folder)
    fake.answer = lambda _: ANSWERS[name]
    pool = DataKeyPool(transit)
    works: list[Callable[[], object]] = [
        lambda: transit.decrypt("records-card", ["vault:v1:AAAA"] * 3),
        lambda: transit.encrypt("records-card", [Secret(RAW)] * 3),
        lambda: pool.take("records-card", 1),
    ]
    for work in works:
        with caplog.at_level(logging.DEBUG), pytest.raises(KeysError) as caught:
            work()
        told = "".join(traceback.format_exception(caught.value)) + caplog.text
        told += repr(caught.value) + repr(vars(caught.value))
        assert not [form for form in forms(RAW) if form in told]
        error: BaseException | None = caught.value
        while error is not None:
            assert isinstance(error, KeysError)
            error = error.__cause__ or error.__context__


def test_carriers_of_secrets_do_not_print() -> None:
    """A stray repr of what passes through here shows nothing."""
    carriers: list[object] = [
        Item(plaintext="secret"),
        Auth(client_token="secret", lease_duration=1),
        WrapInfo(token="secret", creation_path="p"),
        SecretId(secret_id="secret"),
        Raw(status=200, body=b"secret"),
        _Call("POST", "/v1/x", {"X-Vault-Token": "secret"}, b"secret", dict, None),  # type: ignore[arg-type]
        decode(
            Raw(status=200, body=b'{"data":{"batch_results":[{"plaintext":"secret"}]}}'),
            BatchAnswer,
        ),
    ]
    carriers.append(_Entry(role_id="r", wrapped_secret_id="secret", created=datetime.now(UTC)))
    assert "secret" not in repr(carriers)
