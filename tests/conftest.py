"""What every test has: fixtures that start real servers, and Hypothesis without a stopwatch."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["servers.fixtures"]

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
