# `make demo` and `make test` are all a stranger needs; both install what they need into .venv.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
# servers of others that the tests start
COUNTERPART := .venv-counterpart
PIP := $(RUN)/python -m pip --disable-pip-version-check

.PHONY: install install-dev demo test lint e2e bench soak judge scenarios screenshots lock clean

# our own code compiled, as pip does that of others: it starts as fast where Python may not write while it runs
install: $(VENV)/.runtime
	@$(RUN)/python -m compileall -q console services widgets
install-dev: $(VENV)/.dev

$(RUN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(RUN)/python lock/runtime.txt pyproject.toml
	$(PIP) install --quiet --require-hashes -r lock/runtime.txt
	$(PIP) install --quiet --no-build-isolation --no-deps -e .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime lock/dev.txt
	$(PIP) install --quiet --require-hashes -r lock/dev.txt
	touch $@

$(COUNTERPART)/.installed: lock/counterpart.txt
	$(PYTHON) -m venv $(COUNTERPART)
	$(COUNTERPART)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r lock/counterpart.txt
	touch $@

demo: install
	$(RUN)/quarterdeck demo

test: install-dev
	$(RUN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not long and not cluster and not counterpart"

lint: install-dev
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports

e2e: install-dev $(COUNTERPART)/.installed
	@ended=0; \
	$(RUN)/python -m pytest -n 3 --dist loadgroup -m "(long or cluster or counterpart) and not alone" || ended=$$?; \
	$(RUN)/python -m pytest -m "alone" || ended=$$?; \
	exit $$ended

bench: install
	@$(RUN)/python tests/bench/run.py

# a working day in the sandbox with the console open, then a thousand random keys on each of its screens
soak: install-dev
	@$(RUN)/python tests/bench/soak.py
	QUARTERDECK_PRESSES=1000 $(RUN)/python -m pytest -q tests/faults/test_console_every_screen.py

# the judge against figures computed elsewhere, beside a rival on simulated canaries, and on recordings whose truth is known
judge: install
	@$(RUN)/python tests/bench/judge_vectors.py
	@$(RUN)/python tests/bench/judge.py
	@$(RUN)/python tests/bench/judge_labelled.py

# what the judge makes of every scenario of the sandbox, 20 seeds each: an hour
scenarios: install
	@$(RUN)/python tests/bench/scenarios.py

screenshots: install
	$(RUN)/python screenshots/make.py

lock:
	uv pip compile pyproject.toml --group build --universal --generate-hashes --python-version 3.11 --no-header -q -o lock/runtime.txt
	uv pip compile pyproject.toml --group dev --group build --universal --generate-hashes --python-version 3.11 --no-header -q -c lock/runtime.txt -o lock/dev.txt
	uv pip compile --group counterpart --universal --generate-hashes --python-version 3.11 --no-header -q -o lock/counterpart.txt

clean:
	rm -rf $(VENV) $(COUNTERPART)
