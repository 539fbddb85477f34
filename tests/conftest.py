"""Strict climate for all tests, a compilation cache that survives runs, and small machines to judge by enumeration."""

from __future__ import annotations

import gc
import os
from pathlib import Path

# Programs of tests are many and run briefly: few optimisations, and the older way to compile fused loops, take less
# time in all.
os.environ["XLA_FLAGS"] = (
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true "
    + os.environ.get("XLA_FLAGS", "")
)

import hypothesis
import jax
import numpy as np
import pytest
from jaxtyping import config as jaxtyping_config
from jaxtyping import install_import_hook

# Shapes and types of every annotated function of the package are checked in tests; must come before its first import.
install_import_hook("secateur", "runtime_types.checked")

from secateur.model.machine import Machine  # noqa: E402

# Tracing makes many small objects that live on: looking through them all again and again took a tenth of the time.
gc.set_threshold(200_000, 20, 100)

# The same examples in every run, and no limit of time that a busy computer would break.
hypothesis.settings.register_profile("secateur", deadline=None, derandomize=True)
hypothesis.settings.load_profile("secateur")


_N_TESTS = 0


@pytest.fixture(autouse=True)
def _forget_compiled_programs():
    """Programs are forgotten when they are many: each takes memory maps, of which Linux gives a process 65,530.

    Within long modules too: a process that has used them up dies without a word while it compiles.
    """
    global _N_TESTS
    yield
    _N_TESTS += 1
    maps = Path("/proc/self/maps")
    if _N_TESTS % 20 == 0 and maps.exists() and len(maps.read_bytes().splitlines()) > 30_000:
        jax.clear_caches()


LAYER_SIZES = {"rbm": (5, 4), "dbm-2-hidden": (4, 3, 5), "dbm-3-hidden": (3, 4, 2, 3)}


def pytest_configure(config: pytest.Config) -> None:
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("jax")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # Two workers may meet at one file of the cache, or a killed run may leave half a file; JAX then compiles again.
    config.addinivalue_line("filterwarnings", "ignore:Error reading persistent compilation cache entry")


def small_machine(name: str, *, masked: bool, seed: int = 0) -> Machine:
    """A machine of ``LAYER_SIZES`` whose parameters have no symmetry; ``masked`` removes about a third of synapses."""
    sizes = LAYER_SIZES[name]
    rng = np.random.default_rng([seed, len(sizes)])
    weights = [rng.normal(0.2, 1.0, shape) for shape in zip(sizes[:-1], sizes[1:], strict=True)]
    biases = [rng.normal(-0.4 + 0.3 * layer, 0.5, size) for layer, size in enumerate(sizes)]
    masks = [rng.permutation(w.size).reshape(w.shape) >= w.size // 3 for w in weights] if masked else None
    return Machine(weights, biases, masks)


@pytest.fixture(scope="session", params=[(n, masked) for n in LAYER_SIZES for masked in (False, True)], ids=str)
def machine(request: pytest.FixtureRequest) -> Machine:
    """Each small machine, with and without masks."""
    name, masked = request.param
    return small_machine(name, masked=masked)


@pytest.fixture(scope="session")
def rbm() -> Machine:
    """A small RBM without masks."""
    return small_machine("rbm", masked=False)


@pytest.fixture(scope="session")
def dbm() -> Machine:
    """A small DBM with two hidden layers and masks."""
    return small_machine("dbm-2-hidden", masked=True)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No type checks at run time, as for users: a wrong type or shape meets the package's own messages."""
    monkeypatch.setattr(jaxtyping_config, "jaxtyping_disable", True)
