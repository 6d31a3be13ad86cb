# For GNU make 3.81 (macOS) and later, and any POSIX shell. `make` alone lists the targets.
#
# PYTHON=...  the Python that makes .venv; by default the first suitable one on the PATH
# ARGS=...    further arguments for JupyterLab (lab), pytest (quick, test, test-slow), build.py
#             (notebooks) or uv (lock)
# WORKERS=... how many processes run the tests (2); WORKERS= for none but pytest's own

.DEFAULT_GOAL := help
.PHONY: help setup lab my_notebooks quick test test-slow test-jax notebooks check lock

PYTHON ?= python3
ARGS ?=
WORKERS ?= 2

# The same range as requires-python in pyproject.toml (tests/test_project.py compares them).
SUPPORTED = 3.13 3.12 3.11
IS_SUPPORTED = import sys; sys.exit("%d.%d" % sys.version_info[:2] not in sys.argv[1:])

# A PYTHON that was asked for is used or refused; only the default may be replaced by another.
ifeq ($(origin PYTHON),file)
CANDIDATES = $(PYTHON) $(addprefix python,$(SUPPORTED))
else
CANDIDATES = "$(PYTHON)"
endif

# Inside the conda environment of environment.yml everything is installed, and on the PATH, already.
# Elsewhere JupyterLab hands .venv on: ACTIVE to the `!` cells, TERMINAL to its terminals, in which
# the reader's own start-up files might otherwise put another Python first.
ifeq ($(CONDA_DEFAULT_ENV),resnet-lib)
PY = python
INSTALLED =
ACTIVE =
TERMINAL =
else
PY = .venv/bin/python
INSTALLED = .venv/.project-installed
ACTIVE = VIRTUAL_ENV="$$PWD/.venv" PATH="$$PWD/.venv/bin:$$PATH"
TERMINAL = sh -c 'exec bash --rcfile \"\$$VIRTUAL_ENV/bin/activate\"'
endif

AS_ROOT = $(if $(filter 0,$(shell id -u)),--allow-root)
PYTEST = CUDA_VISIBLE_DEVICES=-1 $(PY) -m pytest --durations=10 \
  $(if $(WORKERS),-n $(WORKERS) --dist loadfile --no-loadscope-reorder)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED) ## install everything into .venv; does nothing when that is up to date
	@echo "ready: $(PY)"

.venv/.lock-installed: requirements.lock
	@if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then \
	  for candidate in $(CANDIDATES); do \
	    if "$$candidate" -c '$(IS_SUPPORTED)' $(SUPPORTED) 2>/dev/null; then \
	      echo "making .venv with $$candidate"; \
	      exec "$$candidate" -m venv .venv; \
	    fi; \
	  done; \
	  echo "error: Python $(SUPPORTED) needed, and none of these is one:" $(CANDIDATES) >&2; \
	  echo "Install one, or name it: make setup PYTHON=/path/to/python3.13" >&2; \
	  exit 1; \
	fi
	@if ! .venv/bin/python -c '$(IS_SUPPORTED)' $(SUPPORTED); then \
	  echo "error: Python $(SUPPORTED) needed, .venv has `.venv/bin/python --version 2>&1`." >&2; \
	  echo "Remove the folder .venv and run make setup again." >&2; \
	  exit 1; \
	fi
	.venv/bin/python -m pip install --require-hashes -r requirements.lock
	@touch $@

# The build backend comes from the lock too, hence no build isolation.
.venv/.project-installed: pyproject.toml .venv/.lock-installed
	.venv/bin/python -m pip install --no-deps --no-build-isolation -e .
	@touch $@

lab: setup my_notebooks ## open your own copies of the notebooks in JupyterLab, 00_start first
	@$(if $(AS_ROOT),echo "You are root: JupyterLab is told so with --allow-root.")
	$(ACTIVE) $(PY) -m jupyterlab $(if $(findstring --ip,$(ARGS)),,--ip=127.0.0.1) $(AS_ROOT) \
	  $(if $(TERMINAL),--ServerApp.terminado_settings="shell_command=$(TERMINAL)") \
	  --notebook-dir=my_notebooks \
	  $(if $(findstring default_url,$(ARGS)),,--LabApp.default_url=/lab/tree/00_start.ipynb) $(ARGS)

my_notebooks: ## copy the notebooks into my_notebooks/, never over a copy that is there
	@if command -v $(PY) >/dev/null; then $(PY) notebooks/copies.py; \
	else "$(PYTHON)" notebooks/copies.py; fi

# What `make quick` leaves to `make test`: the other backend, notebooks, benchmarks, the reference.
NOT_QUICK = jax notebooks nbval_approx gpu scaling time_to_accuracy reference

quick: setup ## run the tests but the slow ones, and no notebook: for while you work
	$(PYTEST) -m "not slow" tests $(NOT_QUICK:%=--ignore=tests/test_%.py) $(ARGS)

test: setup ## run the tests but the slow ones, and every notebook
	$(PYTEST) -m "not slow" --nbval --nbval-current-env tests notebooks $(ARGS)

test-slow: setup ## run the slow tests: those that take over four seconds
	$(PYTEST) -m slow tests $(ARGS)

# The tests of what trains, which hold on either backend; tests/test_jax.py runs some in `make test`.
ENGINE = inspection callbacks network architecture batches machine progress run fit jax_steps \
  prediction calibration cards

test-jax: setup ## run the tests of what trains, and every notebook, under JAX
	KERAS_BACKEND=jax $(PYTEST) --nbval-lax --nbval-current-env \
	  $(ENGINE:%=tests/test_%.py) notebooks $(ARGS)

notebooks: setup ## rebuild notebooks/*.ipynb from notebooks/source/*.py
	$(PY) notebooks/build.py $(ARGS)

check: setup ## style, and whether the notebooks agree with their sources; takes seconds
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) notebooks/build.py --check

lock: setup ## write requirements.lock anew (ARGS=--upgrade for the newest versions)
	$(PY) -m uv pip compile pyproject.toml --universal --python-version 3.11 \
	  --extra lab --extra test --extra dev --generate-hashes --no-header --no-annotate \
	  --output-file requirements.lock $(ARGS)
