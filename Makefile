# make demo    set up, then train, compare and report on the images that come along
# make test    set up, then every check and test
# make check   the quick ones: the same without the slow tests
# make bench   measure everything there is to measure, into docs/bench.md; long, and alone on an idle machine
# make clean   remove the set-up and all caches

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check bench clean

demo: $(STAMP)
	$(BIN)/eyebright demo

test: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

check: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check -m "not slow and not long"

# Found by running it: a name on the path may belong to a Python that is not there, as with pyenv.
$(BIN)/python:
	@for python in python3.11 python3.12 python3.13 python3; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        echo "Setting up $(VENV) with $$($$python --version)"; \
	        rm -rf $(VENV); \
	        $$python -m venv $(VENV) && exit 0; \
	        rm -rf $(VENV); \
	        echo "$$python can't make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; \
	        exit 1; \
	    fi; \
	done; \
	echo "Eyebright needs Python 3.11 or newer, as python3.11, python3.12, python3.13 or python3; none was found." >&2; \
	exit 1

$(STAMP): $(BIN)/python requirements.lock pyproject.toml weights/pyproject.toml browser/pyproject.toml \
          $(wildcard weights/src/eyebright_weights/* browser/src/eyebright_browser/*)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ./weights ./browser
	@touch $@

# The peers have an environment of their own: none of what they bring is ever in ours. What can't be installed is skipped.
PEERS := .bench-venv
bench: $(STAMP)
	@test -x $(PEERS)/bin/python || $(BIN)/python -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peers.txt \
	    && touch $(PEERS)/.installed \
	    || { rm -f $(PEERS)/.installed; echo "The peers can't be installed and are left out" >&2; }
	$(BIN)/python bench/all.py $$(test -e $(PEERS)/.installed && echo --peer $(PEERS)/bin/python) $(BENCH)

clean:
	rm -rf $(VENV) .bench-venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
