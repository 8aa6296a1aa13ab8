"""How long a test runs, and from which seed: short in the suite, as long as asked in a campaign.

`scripts/campaign` says so in the environment and reads the figures back; the suite says nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

SEED: Final = "CAMPAIGN_SEED"
ROUNDS: Final = "CAMPAIGN_ROUNDS"
REPORT: Final = "CAMPAIGN_REPORT"


def seed(usual: int) -> int:
    """The campaign's seed, or the suite's usual one."""
    return int(os.environ.get(SEED, usual))


def rounds(usual: int) -> int:
    """How many rounds (kills, tokens, canaries) there shall be."""
    return int(os.environ.get(ROUNDS, usual))


def under_way() -> bool:
    """Whether this is a campaign."""
    return REPORT in os.environ


def report(**figures: float | str) -> None:
    """Tell the campaign what was measured."""
    if under_way():
        with Path(os.environ[REPORT]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")
