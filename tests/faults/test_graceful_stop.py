"""A stop that comes while Vault is slow: who was let in gets an answer."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3

from tests.support.fault_proxy import SLOW_SECONDS, Fault, FaultProxy
from tests.support.running import Running

NUMBER = "4242424242424242"
SLOW = 1.5


def test_a_stop_lets_slow_reveals_end(
    start_service: Callable[..., Running], proxy: FaultProxy
) -> None:
    """Reveals under way are answered with their values, later calls find nobody, exit code 0."""
    service = start_service(workers=1)
    tokens = [service.card(service.customer(), NUMBER) for _ in range(3)]
    shown = [(service.token(service.grant(token)), token) for token in tokens]
    assert service.reveal(service.token(service.grant(tokens[0])), tokens[0]).status == 200
    proxy.slow_seconds, proxy.fault = SLOW, Fault.SLOW
    try:
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(service.reveal, *shown[0])
            time.sleep(0.4)
            # These two wait for the first one's request to Vault and share the next.
            others = [pool.submit(service.reveal, *each) for each in shown[1:]]
            time.sleep(0.3)
            assert service.process is not None
            began = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            assert not first.done()
            answers = [first.result(10), *(other.result(10) for other in others)]
            ended = time.monotonic() - began
        assert answers[0].status == 200, answers[0].raw
        assert answers[0].body["results"][0]["value"]["number"] == NUMBER
        for answer in answers[1:]:
            # A second slow request is over the time that a caller waits for; it is told so.
            assert answer.status in (200, 503), answer.raw
        assert ended < 5
    finally:
        proxy.slow_seconds, proxy.fault = SLOW_SECONDS, Fault.NONE
    assert service.process.wait(10) == 0
    with pytest.raises(urllib3.exceptions.HTTPError):
        service.call("GET", "/healthz")
