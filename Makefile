# make demo: set up and show the main job;  make test: set up and run the whole test suite;  make check: all checks
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test check format clean clean-cache reproduce
demo: $(INSTALLED)
	$(BIN)/csgen demo

test: $(INSTALLED)
	$(BIN)/pytest

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

reproduce: $(INSTALLED) # the models and experiments of cluster/recipes, in hours; goes on where it stopped
	$(MAKE) -f cluster/recipes/reproduce.mk

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "csgen needs Python 3.11, 3.12 or 3.13 with venv; none was found" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean-cache: # Numba's compiled kernels
	find csgen indexing -name '*.nb[ci]' -delete

clean: clean-cache
	rm -rf .venv demo .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
