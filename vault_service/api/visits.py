"""What the company's website asks for each view of a page; no credential, and nothing kept.

Visitors' browsers call this, so it promises them what the policy does (clause P4). A cookie with a
random id goes no further than into `VisitCounting`; it ends with the day. Whoever says by Global
Privacy Control or Do Not Track that he does not want this is not counted at all, and a cookie that
he has is taken back. No line of the log tells of a visit (`web.hooks`), and the rate of an address
is known to this process's memory alone, for a minute.
"""

from __future__ import annotations

import base64
import secrets
from datetime import datetime, timedelta
from typing import Final

from flask import Flask, Response, request

from vault_service.api.schemas import VisitIn, VisitQuery
from vault_service.domain.usage import is_visitor
from vault_service.errors import Forbidden, InvalidInput
from vault_service.services.usage import VisitCounting
from vault_service.settings import Settings
from vault_service.web import bodies, shapes
from vault_service.web.context import current
from vault_service.web.rates import Rate, Rates

COOKIE: Final = "visit"
# Two addresses of 2,048 characters, of which JSON may write each as six, would be more than any
# page sends.
MOST_BYTES: Final = 8 * 1024
_ID_BYTES: Final = 16
_GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
# A page of the same company, on another of its hosts, may show the image.
_IMAGE_HEADERS: Final = {"Cross-Origin-Resource-Policy": "same-site"}
_PREFLIGHT_SECONDS: Final = "600"


class _Visits:
    """The routes. Thread-safe."""

    def __init__(self, counting: VisitCounting, settings: Settings) -> None:
        self._counting = counting
        self._rates = Rates(settings)
        # With the prefix a browser takes the cookie from this host and by TLS only.
        self._secure = all(origin.startswith("https://") for origin in counting.site.origins)
        self._name = f"__Host-{COOKIE}" if self._secure else COOKIE

    def gif(self) -> Response:
        """One pixel."""
        response = Response(_GIF, content_type="image/gif", headers=_IMAGE_HEADERS)
        if request.method != "GET":
            return response
        self._rates.count(Rate.VISITS, current().address)
        asked = shapes.convert_query(request.args.to_dict(flat=False), VisitQuery)
        page = request.headers.get("Referer", "")
        # Somebody else's page may not have visits of its own counted for the company's.
        if page and not self._counting.site.holds(page):
            return response
        if not asked.p and not page:
            raise InvalidInput("a page is needed", code="field_missing", pointer="/p")
        self._count(response, asked.p or page, asked.r)
        return response

    def post(self) -> Response:
        """What a page's script says."""
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self._counting.site.origins:
            raise Forbidden("this page is none of the website's", code="origin_not_allowed")
        response = Response(status=204)
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Credentials"] = "true"
            response.headers["Vary"] = "Origin"
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = "POST"
            response.headers["Access-Control-Allow-Headers"] = "Content-Type"
            response.headers["Access-Control-Max-Age"] = _PREFLIGHT_SECONDS
            return response
        self._rates.count(Rate.VISITS, current().address)
        raw = bodies.read(request, MOST_BYTES, optional=False)
        asked = shapes.convert(bodies.decode(raw), VisitIn)
        self._count(response, asked.page, asked.referrer)
        return response

    def _count(self, response: Response, page: str, referrer: str) -> None:
        """Count a view, unless the visitor does not want it; gives and takes the cookie."""
        shown = request.cookies.get(self._name)
        if "1" in {request.headers.get("Sec-GPC"), request.headers.get("DNT")}:
            if shown is not None:
                self._set(response, "", seconds=0)
            return
        visitor = shown if shown is not None and is_visitor(shown) else None
        if visitor is None:
            visitor = secrets.token_urlsafe(_ID_BYTES)
            self._set(response, visitor, seconds=_left(self._counting.now()))
        self._counting.count(page=page, referrer=referrer, visitor=visitor)

    def _set(self, response: Response, value: str, *, seconds: int) -> None:
        response.set_cookie(
            self._name,
            value,
            max_age=seconds,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="Strict",
        )


def _left(now: datetime) -> int:
    """Whole seconds until the day ends: no id lives for two days, nor for 24 hours."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return max(1, int((midnight - now).total_seconds()))


def register(app: Flask, counting: VisitCounting | None, settings: Settings) -> None:
    """Give the application the routes, where visits are counted."""
    if counting is None:
        return
    visits = _Visits(counting, settings)
    app.add_url_rule("/u.gif", "count_visit_by_image", visits.gif, methods=["GET"])
    app.add_url_rule(
        "/v1/usage",
        "count_visit",
        visits.post,
        methods=["POST", "OPTIONS"],
        provide_automatic_options=False,
    )
