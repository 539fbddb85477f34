"""Chains and data split over eight simulated devices: the numbers of one device."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_eight_devices_give_the_numbers_of_one(pytestconfig):
    script = Path(__file__).with_name("eight_devices.py")
    simulated = {
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8",
        "JAX_COMPILATION_CACHE_DIR": str(pytestconfig.cache.mkdir("jax")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    done = subprocess.run([sys.executable, script], env=os.environ | simulated, capture_output=True, text=True)
    assert done.stdout == "equal\n", done.stderr
