# make run    see a console: the built-in desktop, or TARGET=host:port; LISTEN=addr:port chooses the address
# make test   everything the tests need, then all tests
# make check  format, lint with the import law, types
# make bench  this proxy beside its peers, into docs/reference/benchmarks.md; ARGS="--quick --only down,keys" for parts
# make venv   prepare .venv and run nothing;  make clean  undo it all

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHARE := $(VENV)/share/rfbproxy
LISTEN ?= 127.0.0.1:6080
SOURCES := $(shell find rfbproxy twisted -name '*.py' -o -path 'rfbproxy/web/*') pyproject.toml setup.py
# They start services and look at the time, but wait most of it: two files at once.
PROCESS_TESTS := $(wildcard tests/test_*_process.py) tests/test_startup.py
# They start machines, desktops and browsers, and look at pictures: one after the other, with nothing beside them.
LIVE_TESTS := tests/live
BENCH := .bench
LOAD_SOURCES := $(wildcard benchmarks/load/*.c)
CFLAGS ?= -O2 -Wall -Wextra -Wconversion -Wshadow -Werror
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: venv run test bench check clean browser debian

venv: $(VENV)/.installed browser

run: venv
ifdef TARGET
	@$(BIN)/consoleproxy view $(TARGET) --listen $(LISTEN)
else
	@$(BIN)/consoleproxy demo --listen $(LISTEN)
endif

test: venv debian
	$(BIN)/python -m pytest -n auto $(PROCESS_TESTS:%=--ignore=%) $(LIVE_TESTS:%=--ignore=%)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PROCESS_TESTS)
	$(BIN)/python -m pytest $(LIVE_TESTS)

bench: venv
	sh tests/live/debian.sh haproxy gcc libc6-dev libssl-dev
	$(MAKE) --no-print-directory $(BENCH)/load $(BENCH)/.peers
	$(BIN)/python -m benchmarks $(ARGS)

$(BENCH)/load: $(LOAD_SOURCES) benchmarks/load/load.h
	mkdir -p $(BENCH)
	$(CC) -std=c11 -D_GNU_SOURCE $(CFLAGS) -o $@ $(LOAD_SOURCES) -lssl -lcrypto -lpthread

$(BENCH)/.peers: benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH)/venv
	$(BENCH)/venv/bin/pip install --quiet --requirement $<
	touch $@

check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build rfbproxy.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .lab $(BENCH) node_modules
	rm -f twisted/plugins/dropin.cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

debian:
	sh tests/live/debian.sh

browser: $(SHARE)/.installed

$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed; set PYTHON=")'
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo 'Python cannot make virtual environments here: apt install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.dependencies: pyproject.toml $(VENV)/.created
	$(BIN)/pip install --quiet 'setuptools>=70' wheel '.[postgresql,mysql,openstack,test,check]'
	touch $@

$(VENV)/.installed: $(SOURCES) $(VENV)/.dependencies
	rm -rf build
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --force-reinstall .
	rm -rf build rfbproxy.egg-info
	touch $@

$(SHARE)/.installed: package.json package-lock.json $(VENV)/.created
	mkdir -p $(SHARE)
	cp package.json package-lock.json $(SHARE)
	cd $(SHARE) && npm ci --no-audit --no-fund --loglevel=error
	touch $@
