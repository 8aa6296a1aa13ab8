"""Bodies and shapes under arbitrary input: an error with a code, or a value; nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_service.api.schemas import DisclosureIn, RevealIn, TokenIn
from vault_service.errors import InvalidInput
from vault_service.web import bodies, shapes

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
NAMES = st.sampled_from(["class", "customer", "value", "format", "tokens", "evidence", "uses"])


@given(st.binary())
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    """Decoding never fails in another way."""
    try:
        bodies.decode(data)
    except InvalidInput as error:
        assert error.code  # noqa: PT017 -- either outcome is fine


@given(JSON)
def test_decoding_is_what_json_means(value: object) -> None:
    """What another implementation writes is read as it was meant, if it is taken at all."""
    try:
        found = bodies.decode(json.dumps(value).encode("utf-8", "surrogatepass"))
    except InvalidInput:
        return
    assert found == value


@given(st.lists(st.tuples(st.sampled_from('ab":\\'), st.integers(0, 9)), min_size=2, max_size=5))
def test_a_repeated_member_is_always_found(members: list[tuple[str, int]]) -> None:
    """Whatever stands in names, two equal ones in one object are refused, and only those."""
    text = "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in members) + "}"
    twice = len({name for name, _ in members}) != len(members)
    if twice:
        with pytest.raises(InvalidInput) as error:
            bodies.decode(text.encode())
        assert error.value.code == "member_repeated"
    else:
        assert bodies.decode(text.encode()) == dict(members)


@given(st.dictionaries(NAMES | st.text(), JSON, max_size=6), st.sampled_from([0, 1, 2]))
def test_any_object_has_a_shape_or_an_error(value: dict[str, object], which: int) -> None:
    """Converting never fails in another way, and no message repeats a name or a value."""
    kind = (TokenIn, DisclosureIn, RevealIn)[which]
    marked = {f"{name}-4929420573595709" if name else name: one for name, one in value.items()}
    for candidate in (value, marked):
        try:
            shapes.convert(candidate, kind)
        except InvalidInput as error:
            assert error.code != "value_unknown"  # noqa: PT017 -- either outcome is fine
            assert "4929420573595709" not in f"{error.detail} {error.pointer}"  # noqa: PT017
