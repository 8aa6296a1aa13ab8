"""The application: the calls that a process role serves, behind one set of hooks and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import Flask

from vault_service.api import (
    access_reviews,
    accounting,
    activity,
    communications,
    customers,
    disclosures,
    docs,
    erasures,
    errors,
    evidence,
    holds,
    honeytokens,
    ledger,
    modifications,
    policies,
    principals,
    recipients,
    reveal,
    rotations,
    services,
    status,
    tokens,
    unassigned,
    usage,
    vault_keys,
    visits,
    webhooks,
)
from vault_service.api.calls import Group, Operation, Runner
from vault_service.api.direct import Direct
from vault_service.settings import ProcessRole, Settings
from vault_service.web import hooks
from vault_service.web.edge import Edge
from vault_service.web.served import Served

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

GROUPS: Final[tuple[Group, ...]] = (
    customers.GROUP,
    tokens.GROUP,
    modifications.GROUP,
    communications.GROUP,
    unassigned.GROUP,
    services.GROUP,
    activity.GROUP,
    disclosures.GROUP,
    evidence.GROUP,
    recipients.GROUP,
    accounting.GROUP,
    usage.GROUP,
    holds.GROUP,
    erasures.GROUP,
    access_reviews.GROUP,
    reveal.GROUP,
    principals.GROUP,
    ledger.GROUP,
    honeytokens.GROUP,
    policies.GROUP,
    rotations.GROUP,
    vault_keys.GROUP,
    webhooks.GROUP,
)


def operations(process_role: ProcessRole) -> list[Operation]:
    """The calls that a process of this role serves."""
    return [
        operation
        for group in GROUPS
        for operation in group.operations
        if operation.served_by(process_role)
    ]


def create_app(served: Served, settings: Settings) -> Flask:
    """The Flask application for these use cases."""
    app = Flask("vault_service.app", static_folder=None, template_folder=None)
    # `//v1` is not `/v1`: nothing is redirected, because a redirected body is a body sent twice.
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    hooks.install(app)
    errors.install(app)
    status.register(app, served, settings)
    # Before the calls: Flask gives each path an OPTIONS of its own, and the first one is taken.
    visits.register(app, served.visits, settings)
    offered = operations(settings.process_role)
    inner: WSGIApplication = app.wsgi_app
    if offered:
        runner = Runner(served, settings)
        for operation in offered:
            runner.register(app, operation)
        inner = Direct(app, inner, runner, offered)
    docs.register(app, offered, visited=served.visits is not None)
    app.wsgi_app = Edge(inner, settings)  # type: ignore[method-assign]  # Flask's own advice
    return app
