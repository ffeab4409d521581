# Everything a fresh machine with Python 3.11 and pip needs: `make serve`, `make test`.
#   make serve [ARGS="--port 9000"]     make test [ARGS="tests/store -k ledger"]     make bench [ARGS=...]
.DEFAULT_GOAL := help
.PHONY: help serve test test-long check architecture format bench lock clean
PY := .venv/bin/python
ARGS ?=

help:
	@echo 'make serve       start the server (ARGS="--port 9000")'
	@echo 'make test        the tests (ARGS="tests/store -k ledger")'
	@echo 'make test-long   the tests with sweeps, fuzzing and soak'
	@echo 'make check       format, lint, types, architecture'
	@echo 'make format      format and lint what can be put right by itself'
	@echo 'make bench       the benchmark'
	@echo 'make lock        write the lock files anew'

# A stamp for each lock: the second run has nothing to do. The development lock holds everything of the other one.
.venv/.installed: requirements.lock scripts/environment
	@scripts/environment requirements.lock
	@touch $@

.venv/.installed-dev: requirements-dev.lock requirements.lock scripts/environment
	@scripts/environment requirements-dev.lock
	@touch .venv/.installed $@

serve: .venv/.installed
	@$(PY) -m compileall -q midstream
	@exec .venv/bin/midstream serve $(ARGS)

test: .venv/.installed-dev
	@$(PY) scripts/run-tests -m "not long" $(ARGS)

test-long: .venv/.installed-dev
	@$(PY) scripts/run-tests --minutes 80 $(ARGS)

check: .venv/.installed-dev
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m pytest tests/architecture

architecture: .venv/.installed-dev
	@$(PY) -m pytest tests/architecture

format: .venv/.installed-dev
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

bench: .venv/.installed-dev
	@$(PY) bench/run.py $(ARGS)

lock: .venv/.installed-dev
	@scripts/lock

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
