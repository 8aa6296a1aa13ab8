"""The service's libraries suit a company: none under the GPL or AGPL, and the list is right."""

from __future__ import annotations

import tomllib
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType

import pytest

from tests.support.sources import ROOT


@pytest.fixture(scope="module")
def licences() -> ModuleType:
    """The script as a module."""
    loader = SourceFileLoader("licences", str(ROOT / "scripts" / "licences"))
    spec = spec_from_loader("licences", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_no_library_asks_for_the_services_code(licences: ModuleType) -> None:
    """Each locked library has a licence that is known, and none is under the GPL or AGPL."""
    assert len(licences.pins()) > 30
    assert licences.problems() == []


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("GPL-3.0-only", True),
        ("GPLv2+", True),
        ("AGPL-3.0-or-later", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("LGPL-3.0-only", False),
        ("GNU Lesser General Public License v3", False),
        ("MIT OR Apache-2.0", False),
    ],
)
def test_what_is_refused(licences: ModuleType, text: str, refused: bool) -> None:  # noqa: FBT001 -- a table's column
    """The Lesser GPL may be used, the others may not."""
    assert bool(licences.REFUSED.search(text)) == refused


def test_page_is_up_to_date(licences: ModuleType) -> None:
    """The page in the documentation is what the script prints."""
    assert licences.PAGE.read_text(encoding="utf-8") == licences.page()


def test_the_services_own_licence() -> None:
    """The project names the licence whose text lies in its root."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")[:200]
