# make demo: train, measure and ask the tiny model.   make test: lint, types and tests.   make bench: every benchmark.
# Each sets up what it needs first; make setup does only that. make test WITH=interop also asks fused models in llama.cpp,
# transformers and through the openai client, adapters in PEFT, opens a report in a browser, completes commands in zsh and
# fish, runs the notebook, and follows a run with wandb, tensorboard, trackio and swanlab; all of which it installs: PyTorch
# is large.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WITH ?=
STAMP := $(VENV)/.complete$(if $(WITH),-$(WITH))

ifeq ($(shell uname -s),Darwin)
EXTRA := dev
else ifneq ($(shell command -v nvidia-smi 2>/dev/null),)
EXTRA := cuda,dev
else
EXTRA := cpu,dev
endif

ifneq ($(WITH),)
EXTRA := $(EXTRA),$(WITH)
endif

.PHONY: setup test lint demo bench mac-check clean

setup: $(STAMP)

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mlx-trace needs Python 3.11 or later; say make PYTHON=python3.12"; exit 1; }
	@echo "making $(VENV) with mlx-trace[$(EXTRA)]"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[$(EXTRA)]'
	@$(MAKE) --no-print-directory openblas
	@$(if $(findstring interop,$(WITH)),$(MAKE) --no-print-directory browser shells)
	@touch $(STAMP)
	@$(BIN)/mlx-trace doctor

# Linux without a GPU: MLX computes 36 times faster with OpenBLAS.
.PHONY: openblas
openblas:
	@if [ "$$(uname -s)" = Linux ] && ! $(BIN)/python -c 'import ctypes; ctypes.CDLL("libopenblas.so.0")' 2>/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing OpenBLAS"; \
	    apt-get install -y -qq libopenblas0-pthread >/dev/null 2>&1 \
	      || { apt-get update -qq >/dev/null && apt-get install -y -qq libopenblas0-pthread >/dev/null 2>&1; } \
	      || echo "OpenBLAS could not be installed; training works without it, nine times slower"; \
	  else echo "hint: install OpenBLAS (Debian: apt-get install libopenblas0-pthread), or training is nine times slower"; fi; \
	fi

# What opens a report in tests: any Chromium; the smallest is Debian's without a window. Without one, those tests skip.
CHROMIUM := chromium-headless-shell chromium chromium-browser google-chrome google-chrome-stable
.PHONY: browser
browser:
	@for name in $(CHROMIUM); do if command -v $$name >/dev/null; then exit 0; fi; done; \
	if [ "$$(uname -s)" = Linux ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Chromium"; \
	  apt-get install -y -qq --no-install-recommends chromium-headless-shell >/dev/null 2>&1 \
	    || { apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends chromium-headless-shell >/dev/null 2>&1; } \
	    || apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1 \
	    || echo "Chromium could not be installed; the tests of a report's page are skipped"; \
	elif [ "$$(uname -s)" = Linux ]; then echo "hint: install Chromium (Debian: apt-get install chromium), or the tests of a report's page are skipped"; \
	fi

# The shells that completions are tried in; without one, its tests skip.
.PHONY: shells
shells:
	@for name in zsh fish; do command -v $$name >/dev/null && continue; \
	  if [ "$$(uname -s)" = Linux ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing $$name"; apt-get install -y -qq --no-install-recommends $$name >/dev/null 2>&1 \
	      || { apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends $$name >/dev/null 2>&1; } \
	      || echo "$$name could not be installed; its completions are not tried"; \
	  else echo "hint: install $$name, or its completions are not tried"; fi; \
	done

test: setup lint
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

demo: setup
	@$(BIN)/mlx-trace demo

# Ten minutes on a Mac, and a text to paste into an issue: versions, speed, memory, a short run; no names, no paths.
mac-check: setup
	@$(BIN)/python eval/mac_check.py $(if $(MODEL),--model '$(MODEL)')

# make bench ROWS=GSM8K-train.jsonl TOKENIZER=folder GGUF=file runs those that need data, too.
bench:
	@$(MAKE) --no-print-directory setup WITH=bench
	@$(BIN)/python eval/bench/all.py $(if $(ROWS),--rows '$(ROWS)') $(if $(TOKENIZER),--tokenizer '$(TOKENIZER)') $(if $(GGUF),--gguf '$(GGUF)')

# Configurations' keys and commands' flags, as pages; tests say when they are not what the code says.
.PHONY: reference
reference: setup
	@$(BIN)/python eval/reference.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
