"""The documentation as data: pages, links, fenced blocks, quoted names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.sources import ROOT, tracked

DOCS: Final = ROOT / "docs"
GUIDES: Final = DOCS / "guides"
_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`([^`\n]+)`")
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ +(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of Markdown."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """Its path from the root."""
        return self.path.relative_to(ROOT).as_posix()

    def blocks(self, language: str) -> list[str]:
        """Its fenced blocks of one language."""
        return [body for found, body in _FENCE.findall(self.text) if found == language]

    @property
    def prose(self) -> str:
        """It without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def quoted(self) -> list[str]:
        """What stands between backquotes in its prose."""
        return _CODE.findall(self.prose)

    @property
    def links(self) -> list[str]:
        """Where its links lead."""
        return _LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """The anchors of its headings, as code hosts make them."""
        return {
            re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
            for heading in _HEADING.findall(self.prose)
        }


def page(path: Path) -> Page:
    """The page of a file."""
    return Page(path, path.read_text(encoding="utf-8"))


def pages() -> list[Page]:
    """Every page of the project."""
    return [page(path) for path in tracked() if path.suffix == ".md"]


def tour() -> str:
    """The tour of README.md as a script."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    inside = text.split("<!-- tour: begin -->")[1].split("<!-- tour: end -->")[0]
    return "\n".join(body for language, body in _FENCE.findall(inside) if language == "sh")
