"""What every test has: fixtures that start real servers, and Hypothesis without a stopwatch."""

import atexit
import contextlib
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = [
    "absent",
    "workers",
    "servers.fixtures",
    "servers.kubernetes.cluster",
    "servers.oci_registry",
    "servers.ray_cluster",
    "servers.postgres",
    "servers.slurm",
]

# indexes of the stores of tests do not go to the folder of the user
os.environ.setdefault("PERSISTABLE_CACHE", tempfile.mkdtemp(prefix="persistable-tests-"))
atexit.register(shutil.rmtree, os.environ["PERSISTABLE_CACHE"], ignore_errors=True)

# how long an example takes says more about the machine's other work than about the code
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# in CI the same examples each time: new ones are looked for at a desk, where what they find is kept and can be looked into
settings.register_profile(
    "repeatable", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None, print_blob=True
)
settings.load_profile("repeatable" if os.environ.get("CI") else "unhurried")

if os.environ.get("CI"):
    from hypothesis.internal.conjecture import providers

    # Hypothesis mixes in constants from the sources of whatever has been imported: the examples would change with every line of
    # the library, and with the order in which a worker gets its tests. No setting turns that off.
    providers._get_local_constants = lambda: providers._local_constants


@pytest.hookimpl(wrapper=True, trylast=True)  # trylast: the innermost, so that this is done when pytest-cov combines
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Remove coverage data of processes that were killed while they wrote it: one such file would make the whole run fail."""
    result = yield
    if not hasattr(session.config, "workerinput") and session.config.pluginmanager.hasplugin("_cov"):
        for file in session.config.rootpath.glob(".coverage.*"):
            if not _is_whole(file):
                file.unlink(missing_ok=True)
    return result


def _is_whole(file: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as data:
            # the version is written when all tables are there
            return data.execute("PRAGMA integrity_check").fetchall() == [("ok",)] and bool(
                data.execute("SELECT * FROM coverage_schema").fetchall()
            )
    except sqlite3.Error:
        return False
