"""What the processes that serve load: no library that only people at a terminal need."""

from __future__ import annotations

import subprocess
import sys

_LOADED = """
import importlib, sys
import vault_service.cli.main, vault_service.cli.run_commands
from vault_service import memory
assert "rich" not in sys.modules, "the command line loads it"
memory.do_without("rich")
import structlog, vault_service.serve
assert not [name for name in sys.modules if name.startswith("rich.")], "the logs load it"
try:
    importlib.import_module("rich")
except ImportError:
    print("left out")
"""


def test_a_process_that_serves_does_without_what_draws_tables() -> None:
    """Neither the command line nor the logs load it on the way to the server."""
    done = subprocess.run(
        [sys.executable, "-c", _LOADED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "left out\n"
