# Two commands do everything: `make demo` and `make test`. Each makes .venv where it is missing and can be run again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
STAMP := $(shell date +%Y%m%d-%H%M%S)
DEMO := runs/demo-$(STAMP)
WORKERS ?= 2

.PHONY: help demo test test-slow test-browser test-cuda check format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo          train a small agent, draw its learning curve and film its dream (about 5 minutes)"
	@echo "make test          run the tests"
	@echo "make check         ruff, mypy and the import contracts"
	@echo "make test-slow     the long tests"
	@echo "make test-browser  tests that need EGL or a browser; installs what they need (Debian, as root)"
	@echo "make test-cuda     tests on a GPU; $(PYTHON) must have a torch that sees one"
	@echo "make format        put the code into house style"
	@echo "make clean         remove .venv and caches; runs/ stays"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing Reverie into $(VENV) ..."
	@$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing Reverie with its test tools into $(VENV) ..."
	@$(PIP) install -c constraints.txt -e '.[dev,dmc,minigrid,minatar,box2d,minari]'
	@touch $@ $(VENV)/.base

demo: $(VENV)/.base
	@$(BIN)/reverie train demo run_dir=$(DEMO)
	@$(BIN)/reverie curve $(DEMO)
	@$(BIN)/reverie dream $(DEMO)
	@echo
	@echo "  run             $(DEMO)"
	@echo "  learning curve  $(DEMO)/curve.png"
	@echo "  dream video     $(DEMO)/videos/dream.mp4"

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow and not browser and not cuda"

test-slow: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow --timeout 7200

test-browser: $(VENV)/.dev
	apt-get install -y --no-install-recommends chromium chromium-driver libegl1 libegl-mesa0 libgl1-mesa-dri
	MUJOCO_GL=egl OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser

test-cuda: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cuda

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
