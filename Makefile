# `make check` is what has to pass before a change is merged. It expects an environment with the extra `dev`.

PYTHON ?= python

.PHONY: check format lint types layers test wheel

check: lint types layers test

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy

layers:
	lint-imports

test:
	$(PYTHON) -m pytest

wheel:
	$(PYTHON) -m build --wheel
