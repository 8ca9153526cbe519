"""Property tests here have no deadline: a machine that is busy is not a fault."""

from hypothesis import HealthCheck, settings

settings.register_profile("params", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("params")
