"""How many random histories are tried: `HYPOTHESIS_PROFILE=deep` for many, else a few, quickly."""

import os
from datetime import timedelta

from hypothesis import HealthCheck, settings

SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)


def register_profiles() -> None:
    """Register `fast` and `deep`, and load the one the environment names."""
    settings.register_profile(
        "fast",
        max_examples=150,
        deadline=timedelta(seconds=5),
        derandomize=True,
        database=None,
        suppress_health_check=SLOW_IS_FINE,
    )
    settings.register_profile(
        "deep",
        max_examples=20_000,
        deadline=timedelta(seconds=30),
        suppress_health_check=SLOW_IS_FINE,
        print_blob=True,
    )
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
