# Everything runs in .venv; the stamp makes every target do the set-up on a fresh machine.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
export JAX_PLATFORMS ?= cpu
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt  # also holds for the build backend

.PHONY: install demo test test-64-bit test-long calibration test-recordings test-exchange test-wheel bench check docs docs-digits fix clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[tests,docs]'
	touch $@

demo: $(STAMP)
	$(VENV)/bin/secateur run digits --size quick --out demo --overwrite

test: $(STAMP)
	$(VENV)/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# The same suite as for a user who has switched 64-bit JAX on.
test-64-bit: $(STAMP)
	JAX_ENABLE_X64=1 $(VENV)/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# What takes long: whole studies and reports, a worker killed in a study, eight devices.
test-long: $(STAMP)
	$(VENV)/bin/python -m pytest -m long -n auto --dist loadfile --no-loadscope-reorder

# Coverage of every stated error over 200 repeats; prints the rows of the table in docs/trust.md.
calibration: $(STAMP)
	$(VENV)/bin/python -m pytest -m slow -n auto --dist loadfile -rP tests/test_calibration.py tests/test_likelihood_calibration.py \
		tests/test_recordings_calibration.py

# Objects and files of pynapple, neo, elephant, spikeinterface and pynwb themselves; a heavy install of its own.
test-recordings:
	$(PYTHON) -m venv .venv-recordings
	.venv-recordings/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[recordings-test]'
	.venv-recordings/bin/python -m pytest -m recordings tests/test_recording_libraries.py

# Files of the real library rbms and tensors of PyTorch; in the environment of the benchmarks, a heavy install.
test-exchange:
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[benchmarks,tests]'
	.venv-bench/bin/python -m pytest -m exchange tests/test_exchange_rbms.py

# Wheel and sdist of a clean clone; the default suite on the wheel, with nothing of the checkout's src. PYTHON=python3.12 for another.
test-wheel:
	$(PYTHON) tools/wheel_suite.py

# Against scikit-learn, rbms and thrml, on an otherwise idle computer; a heavy install of its own (PyTorch).
bench:
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[benchmarks]'
	.venv-bench/bin/python benchmarks/run.py

check: $(STAMP)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/mypy

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

# Tables, figures and results of a finished study of the published size, for docs/digits.md.
docs-digits: $(STAMP)
	@test -n "$(STUDY)" || { echo "say which study: make docs-digits STUDY=DIR" >&2; exit 2; }
	$(VENV)/bin/python tools/digits_docs.py "$(STUDY)"

fix: $(STAMP)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

clean:
	rm -rf $(VENV) .venv-recordings .venv-bench demo site
