"""What every test has: fixtures that start real servers, and Hypothesis without a stopwatch."""

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["servers.fixtures"]

# how long an example takes says more about the machine's other work than about the code
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
