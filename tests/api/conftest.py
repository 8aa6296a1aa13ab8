"""An application over recording use cases, and a client that shows a good key."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.api.recording import API_KEY, Recording, served
from vault_service import logs
from vault_service.app import create_app
from vault_service.settings import Environment, Settings

Post = Callable[..., TestResponse]


def make_settings(**changes: Any) -> Settings:
    """Settings for the application alone."""
    plain = Settings(env=Environment.DEVELOPMENT, policy_file=Path("unused.toml"))
    return dataclasses.replace(plain, **changes)


@pytest.fixture(autouse=True)
def lines() -> Iterator[io.StringIO]:
    """What is logged meanwhile, as the service writes it."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    stream = io.StringIO()
    logs.configure(process="test", stream=stream)
    yield stream
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before


@pytest.fixture(scope="module")
def served_once() -> tuple[Recording, Flask]:
    """One application for a module: making it renders the documents."""
    recording = Recording()
    return recording, create_app(served(recording), make_settings())


@pytest.fixture
def recording(served_once: tuple[Recording, Flask]) -> Recording:
    """What the use cases were asked in this test."""
    recording, _ = served_once
    recording.asked.clear()
    recording.answers.clear()
    return recording


@pytest.fixture
def app(served_once: tuple[Recording, Flask], recording: Recording) -> Flask:
    """The whole application."""
    assert recording is served_once[0]
    return served_once[1]


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client without a credential."""
    return app.test_client()


@pytest.fixture
def send(client: FlaskClient) -> Post:
    """Send a request with a good key; `body` is JSON or, as bytes, sent as it is."""

    def request(method: str, path: str, body: Any = None, **more: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {API_KEY}"} | more.pop("headers", {})
        if body is not None:
            more["data"] = body if isinstance(body, bytes) else json.dumps(body)
            more.setdefault("content_type", "application/json")
        return client.open(path, method=method, headers=headers, **more)

    return request
