# `make check` is what has to pass before a change is merged. It expects an environment with the extra `dev`.

PYTHON ?= python

# torchvision fits one torch only, so that what needs it has an environment of its own.
ARCHITECTURES = .venv-architectures
TORCHVISION = torch==2.14.1 torchvision==0.29.1

.PHONY: check format lint types layers docs test wheel architectures architectures-page

check: lint types layers docs test

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

docs:
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --clean

test:
	$(PYTHON) -m pytest -n 3 --dist loadfile --no-loadscope-reorder

wheel:
	$(PYTHON) -m build --wheel

$(ARCHITECTURES)/ready: pyproject.toml
	$(PYTHON) -m venv $(ARCHITECTURES)
	$(ARCHITECTURES)/bin/python -m pip install -q $(TORCHVISION)
	$(ARCHITECTURES)/bin/python -m pip install -q -e '.[dev,timm,torchvision,transformers,onnx]' $(TORCHVISION)
	touch $@

architectures: $(ARCHITECTURES)/ready
	$(ARCHITECTURES)/bin/python -m pytest tests/architectures

architectures-page: $(ARCHITECTURES)/ready
	$(ARCHITECTURES)/bin/python benchmarks/architectures.py --again
