"""What a start refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.running import Running
from tests.support.whole import Stage


def test_c8_a_start_with_an_exportable_key_is_refused(
    stage: Stage, start_service: Callable[..., Running]
) -> None:
    """A KEK that could be deleted keeps the service from starting, and the log says which."""
    path = f"{stage.mount.mount}/keys/records-account/config"
    status, _ = stage.mount.server.request("POST", path, {"deletion_allowed": True})
    assert status == 200
    try:
        with pytest.raises(AssertionError, match="records-account"):
            start_service(workers=1)
    finally:
        stage.mount.server.request("POST", path, {"deletion_allowed": False})
    assert start_service(workers=1).call("GET", "/readyz").status == 200
