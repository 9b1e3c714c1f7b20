# make demo          two processes call and notify each other, with a short measured run
# make test          all tests, in two processes          make test ARGS="tests/wire -x -n 0" (-n 0: in one)
# make check         linters, type checkers, architecture and export tests
# make bench-quick   a few ratios in under two minutes    make bench: the full suite, 50 minutes
# make opponents     installs and builds the systems that make bench measures beside this one
# make clean         removes .venv and what the tools left
#
# Each makes its own .venv first, when there is none or pyproject.toml changed. Needs make and Python 3.11 or newer; to
# take another Python than the one found: make clean, then make PYTHON=/path/to/python demo

PYTHON ?=
ARGS ?=
VENV := .venv
PY := $(VENV)/bin/python
PIP_INSTALL := PIP_USER=0 $(PY) -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check bench bench-quick opponents clean

# Stamps, so that the demo does not wait for the tools of the tests, nor these for what the benchmark compares with.
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
OPPONENTS := $(VENV)/.opponents

demo: $(RUNTIME)
	@$(PY) -m examples.demo

test: $(DEV)
	$(PY) -m pytest -n 2 --dist loadfile $(ARGS)

check: $(DEV)
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(PY) -m pyright
	$(PY) -m pytest tests/test_architecture.py tests/test_exports.py

bench: $(OPPONENTS)
	$(PY) -m benchmarks $(ARGS)

bench-quick: $(DEV)
	$(PY) -m benchmarks --quick $(ARGS)

opponents: $(OPPONENTS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp tells for which folder it was made: an editable installation does not survive moving the folder.
ifneq ($(CURDIR),$(shell cat $(RUNTIME) 2>/dev/null))
.PHONY: $(RUNTIME)
endif

$(RUNTIME): pyproject.toml $(PY)
	@sh -c "$$MAKE_VENV"
	@echo "Installing arpc and what it needs to run into $(VENV)"
	@$(PIP_INSTALL) --editable .
	@echo "$(CURDIR)" > $@

# When it is gone, or the Python behind it is, the stamps count no more.
$(PY): ;

$(DEV): $(RUNTIME)
	@echo "Installing the tools for tests and checks into $(VENV)"
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $@

$(OPPONENTS): $(DEV)
	@echo "Installing what the benchmark compares with into $(VENV)"
	@$(PIP_INSTALL) --editable '.[bench]'
	@$(PIP_INSTALL) --editable '.[opponents]' || echo "Not all of it can be installed here: the run names what is left out"
	@$(PY) -m benchmarks.opponents.go
	@touch $@

# A name on PATH proves nothing: a shim of a version manager may be there for a Python that is not. So each candidate is
# run, and the first that is new enough and can make a virtual environment is taken.
define MAKE_VENV
set -eu
new_enough() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
makes_venvs() { "$$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }
fail() { printf '\narpc: %s\n\n' "$$1" >&2; exit 1; }

if new_enough $(PY) && $(PY) -m pip --version >/dev/null 2>&1; then
    exit 0
fi
if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; else set -- python3.13 python3.12 python3.11 python3; fi
found= no_venv=
for python in "$$@"; do
    new_enough "$$python" || continue
    if makes_venvs "$$python"; then found=$$python; break; fi
    no_venv=$${no_venv:-$$python}
done
if [ -z "$$found" ] && [ -n "$$no_venv" ]; then
    package=$$("$$no_venv" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    fail "$$no_venv cannot make virtual environments: its module venv or ensurepip is missing.
      On Debian and Ubuntu they come with the package $$package: apt-get install $$package"
fi
if [ -z "$$found" ]; then
    fail "Python 3.11 or newer is needed, and none of these runs or is new enough: $$*
      Debian 12, Ubuntu 24.04 and newer have it: apt-get install python3 python3-venv
      If it is elsewhere, name it: make PYTHON=/path/to/python"
fi
echo "Making $(VENV) with $$found ($$("$$found" -c 'import platform; print(platform.python_version())'))"
rm -rf $(VENV)
"$$found" -m venv $(VENV)
endef
export MAKE_VENV PYTHON
