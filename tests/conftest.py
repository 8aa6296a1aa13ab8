"""Fixtures that all tests share: the real servers, fresh databases and mounts; and one guard.

`postgres_server` and `vault_server` are started once per test process, on first use. `database`
and `vault_mount` are fresh for each module, so that modules may run in any order and side by side.
The guard: in CI, or with `--strict-skips`, a skipped test fails the run, because a test that must
hold and did not run is not green.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import coverage
import pytest
from xdist.remote import Producer

from tests.support.servers import (
    Database,
    DatabaseServer,
    VaultMount,
    VaultServer,
    fresh_mount,
    run_postgres,
    run_vault,
)
from tests.support.spread import RoomScheduling, longest_first

# Tests of the whole service, by folder. Measuring which lines they take doubles their time and says
# nothing: what must be covered is covered by the tests of its own package.
FAR: Final = frozenset(
    ("acceptance", "architecture", "cli", "docs", "embedded", "faults", "functional", "process")
)
# By these a child process learns that it is to be measured.
TELLS_CHILDREN: Final = frozenset(("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"))
_HERE: Final = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that put servers of one's own, and strictness, under the tests."""
    group = parser.getgroup("vault-service")
    group.addoption("--vault-addr", help="URL of a Vault or OpenBao to test against")
    group.addoption("--vault-token-file", type=Path, help="file with an administrator's token")
    group.addoption("--database-url", help="URL of a PostgreSQL administrator to test against")
    group.addoption(
        "--strict-skips", action="store_true", help="fail the run when any test was skipped"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse half an address.

    Raises:
        pytest.UsageError: only one of the two Vault options was given.
    """
    if bool(config.getoption("vault_addr")) != bool(config.getoption("vault_token_file")):
        raise pytest.UsageError("--vault-addr and --vault-token-file go together")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> RoomScheduling | None:
    """Spread the tests by rooms, where they are to be spread by files."""
    return RoomScheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In one process of several, begin with what takes longest."""
    if hasattr(config, "workerinput"):
        longest_first(items)


def _is_far(item: pytest.Item) -> bool:
    """Whether a test is of the whole service; one outside this folder is of nobody's."""
    within = item.path.parts[len(_HERE.parts)] if item.path.is_relative_to(_HERE) else None
    return within in FAR or item.get_closest_marker("unmeasured") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Measure coverage only where it counts, children included."""
    measuring = coverage.Coverage.current()
    if measuring is None or not _is_far(item):
        return (yield)
    told = {name: os.environ.pop(name) for name in list(os.environ) if name in TELLS_CHILDREN}
    measuring.stop()
    try:
        return (yield)
    finally:
        measuring.start()
        os.environ.update(told)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn a green run with skipped tests into a failed one, where that is asked for."""
    strict = session.config.getoption("strict_skips") or os.environ.get("CI") == "true"
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not strict or reporter is None or hasattr(session.config, "workerinput"):
        return
    if reporter.stats.get("skipped") and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name the skipped tests that failed a strict run."""
    strict = config.getoption("strict_skips") or os.environ.get("CI") == "true"
    skipped = terminalreporter.stats.get("skipped", [])
    if strict and skipped:
        terminalreporter.section("skipped tests, which fail this run", red=True)
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr[-1]}")


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A short private folder for the servers: a Unix socket's path may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="vt-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(
    server_folder: Path, pytestconfig: pytest.Config, testrun_uid: str
) -> Iterator[DatabaseServer]:
    """The PostgreSQL server of this test process."""
    url = pytestconfig.getoption("database_url")
    with run_postgres(server_folder, url=url, run=testrun_uid) as server:
        yield server


@pytest.fixture(scope="session")
def vault_server(server_folder: Path, pytestconfig: pytest.Config) -> Iterator[VaultServer]:
    """The Vault-API server of this test process."""
    address = pytestconfig.getoption("vault_addr")
    token_file = pytestconfig.getoption("vault_token_file")
    with run_vault(server_folder, address=address, token_file=token_file) as server:
        yield server


@pytest.fixture(scope="module")
def vault_mount(vault_server: VaultServer) -> Iterator[VaultMount]:
    """A fresh Transit mount and role prefix for this module."""
    with fresh_mount(vault_server) as mount:
        yield mount


@pytest.fixture(scope="module")
def empty_database(postgres_server: DatabaseServer) -> Iterator[Database]:
    """A fresh database without tables for this module."""
    with postgres_server.empty() as database:
        yield database


@pytest.fixture(scope="module")
def database(postgres_server: DatabaseServer) -> Iterator[Database]:
    """A fresh, migrated database for this module; its four service roles can log in."""
    from migrations.runner import upgrade

    with postgres_server.migrated(upgrade) as database:
        yield database
