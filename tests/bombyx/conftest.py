"""Hypothesis tries the same examples on every run and writes nothing to disk."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "bombyx",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("bombyx")
