# make demo    the main job on a real data set, shown in the terminal
# make demo-reproduce    a small study restored from its records, and found identical
# make test    everything that must hold: lint, types, layers, docs with notebooks, tests, other Pythons
# make test-cluster    the same promises on a real Kubernetes and a real Ceph, started here (the first time Kubernetes is built: 10 minutes)
#
# Each target makes the environment it needs in .venv; a second call finds it there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := tests/constraints.txt
CODE := persistable_pkg tests
OTHER_PYTHONS ?= 3.11 3.12 3.13
NEWER_PYTHONS ?= 3.14 3.15
DEMO_DATA ?= demo-data
PYTEST := $(BIN)/python -m pytest
# what may differ between Pythons: identity, code, and the core without its crowds of processes and stores
VERSION_CORE := attribute_errors captured code_changes composition crafted formats_in_nodes golden key of_main payload record released_names roles \
  secrets staleness steps surface template trust
VERSION_TESTS ?= tests/params tests/code $(wildcard $(foreach name,$(VERSION_CORE),tests/nodes/test_$(name).py tests/records/test_$(name).py tests/params/test_$(name).py)) --ignore=tests/code/test_many.py \
  --deselect=tests/code/test_versions.py::test_the_standard_library_reads_the_same_everywhere
# Debian's package, and a file by which one sees that it is there
SERVERS := iproute2=/usr/*bin/ip openssh-server=/usr/sbin/sshd docker-registry=/usr/bin/docker-registry slurm-wlm=/usr/sbin/slurmctld munge=/usr/sbin/munged \
  postgresql=/usr/lib/postgresql/*/bin/initdb chromium=/usr/bin/chromium fonts-dejavu-core=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
CLUSTER_SERVERS := radosgw=/usr/bin/radosgw ceph-mon=/usr/bin/ceph-mon ceph-osd=/usr/bin/ceph-osd etcd-server=/usr/bin/etcd \
  containerd=/usr/bin/containerd runc=/usr/sbin/runc containernetworking-plugins=/usr/lib/cni/bridge busybox-static=/bin/busybox \
  iproute2=/sbin/ip jq=/usr/bin/jq curl=/usr/bin/curl openssl=/usr/bin/openssl
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
# Hundreds of the tests' processes import large packages: each would compile them anew.
unexport PYTHONDONTWRITEBYTECODE

# exact versions by uv (seconds); by pip (minutes) where uv cannot reach the index that pip is set up for
INSTALL = $(BIN)/uv pip install -q --python $(BIN)/python -c $(CONSTRAINTS) -e '.[$(EXTRAS)]' \
  || $(BIN)/python -m pip install -q -c $(CONSTRAINTS) -e '.[$(EXTRAS)]'

.PHONY: help demo demo-reproduce test test-cluster lint types layers docs tests coverage servers cluster-servers versions older-pythons newer-pythons package-versions bench constraints pictures logo clean

help:
	@sed -n '1,6s/^# \{0,1\}//p' Makefile; echo "also: make lint types layers docs tests coverage versions bench constraints pictures logo clean"

demo: $(VENV)/.demo
	@$(BIN)/python -m persistable.cli.demo $(DEMO_DATA)

demo-reproduce: $(VENV)/.demo
	@$(BIN)/python examples/study/reproduce.py

# the tests come last, so that their closing line does too
test: lint types layers docs versions tests
	@echo "make test: all of it passed"

lint: $(VENV)/.test
	$(BIN)/ruff check $(CODE) examples notebooks docs
	$(BIN)/ruff format --check $(CODE) examples

types: $(VENV)/.test
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

layers: $(VENV)/.test
	$(BIN)/lint-imports --config setup.cfg

docs: $(VENV)/.test
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "docs: docs/_build/html/index.html"

# in a network namespace of their own where that is allowed: Ray listens on every address it finds. A few that fail are tried again, alone.
# `make docs` runs the notebooks, but for the cells of this one that start Ray.
tests: $(VENV)/.test servers
	@$(BIN)/python tests/servers/validator.py
	tests/lonet $(BIN)/python tests/once_more.py tests notebooks/02-pipelines.ipynb --nbmake --nbmake-timeout=240 -n 3 --dist loadgroup --durations=25 $(COVERAGE)

# Kubernetes and Ceph, started by the tests marked `cluster`. Where Kubernetes cannot be built that is said, and its tests are skipped; in CI it
# is a failure.
test-cluster: $(VENV)/.test cluster-servers
	@daemons=$$(tests/servers/kubernetes/build) || { status=$$?; [ $$status = 77 ] && [ -z "$${CI:-}" ] || exit $$status; }; \
	KUBERNETES_DAEMONS=$$daemons tests/lonet $(BIN)/python tests/once_more.py tests -mcluster -n 0 --durations=5
	@echo "make test-cluster: all of it passed"

# The same, with the lines counted that are run: slower, since that is done in each of thousands of processes.
coverage:
	@$(MAKE) tests COVERAGE="--cov --cov-report=term:skip-covered"

bench: $(VENV)/.test
	$(BIN)/python benchmarks/run.py $(BENCH)

# The golden keys and VERSION_TESTS on every other supported Python, two at a time: those on PATH or under pyenv, and those of Debian's next
# release; the golden keys under the oldest and newest supported pandas, scikit-learn and others. What cannot be had is said; in CI it is a
# failure.
versions: $(VENV)/.test
	@$(MAKE) -j 2 --output-sync=target older-pythons newer-pythons package-versions
	@echo "versions: all of it passed"

older-pythons: $(VENV)/.test
	@for wanted in $(OTHER_PYTHONS); do \
	  [ "$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = "$$wanted" ] && continue; \
	  found=$$(for candidate in "python$$wanted" $$(ls -d "$$(pyenv root 2>/dev/null)"/versions/$$wanted.*/bin/python 2>/dev/null | sort -V); do \
	    "$$candidate" -c 'import sys; print(sys.executable)' 2>/dev/null || true; done | tail -n 1); \
	  if [ -z "$$found" ]; then echo "versions: no Python $$wanted here, not tried"; [ -z "$${CI:-}" ] || exit 1; continue; fi; \
	  $(MAKE) .venv-$$wanted/.test VENV=.venv-$$wanted PYTHON="$$found" EXTRAS=test; \
	  echo "versions: Python $$wanted"; \
	  .venv-$$wanted/bin/python tests/golden/check.py; \
	  .venv-$$wanted/bin/python -m pytest $(VERSION_TESTS) -q -n 1 --dist loadgroup -p no:cacheprovider; \
	done

newer-pythons:
	@for wanted in $(NEWER_PYTHONS); do \
	  status=0; WORKERS=1 tests/newer_python $$wanted $(VERSION_TESTS) || status=$$?; \
	  [ $$status = 0 ] || { [ $$status = 77 ] && [ -z "$${CI:-}" ]; } || exit 1; \
	done

package-versions: $(VENV)/.test
	@tests/package_versions $(BIN)/python

# Servers that the tests start and that no Python package brings: installed where that is allowed, asked for where it is not.
cluster-servers: SERVERS := $(CLUSTER_SERVERS)
servers cluster-servers:
	@missing=$$(for found in $(SERVERS); do \
	  compgen -G "$${found#*=}" >/dev/null || echo "$${found%%=*}"; done); \
	[ -z "$$missing" ] || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then echo "installing Debian packages:" $$missing; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  else echo "The tests start servers. Install them (Debian: apt-get install" $$missing") and call make again." >&2; exit 1; fi; }

# What every environment holds, in exact versions that agree on all supported Pythons.
constraints: $(VENV)/.test
	$(BIN)/uv pip compile -q --upgrade --universal --fork-strategy fewest --python-version 3.11.2 --all-extras \
	  --no-header --no-annotate --no-emit-index-url pyproject.toml -o $(CONSTRAINTS)

# That of the README, by the README's own code.
pictures: $(VENV)/.test
	@folder=$$(mktemp -d) && cd $$folder && $(CURDIR)/$(BIN)/python $(CURDIR)/tests/docs/readme_picture.py $(CURDIR)/README.md $(CURDIR)/docs/_static/plan.svg; \
	rm -r $$folder

# Needs Debian's librsvg2-bin.
logo:
	rsvg-convert -w 512 docs/_static/logo.svg -o logo.png

clean:
	rm -rf .venv .venv-* docs/_build docs/reference/generated htmlcov .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/.demo: EXTRAS = demo
$(VENV)/.demo: pyproject.toml $(CONSTRAINTS) | $(BIN)/uv
	@echo "$(VENV): installing what the demo needs"
	@$(INSTALL)
	@touch $@

$(VENV)/.test: EXTRAS = test,lint,docs
$(VENV)/.test: pyproject.toml $(CONSTRAINTS) | $(BIN)/uv
	@echo "$(VENV): installing what the tests need"
	@$(INSTALL)
	@touch $@ $(VENV)/.demo

$(BIN)/uv: | $(BIN)/python
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c $(CONSTRAINTS) uv

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "persistable needs Python 3.11 or later; \`$(PYTHON)\` is $$($(PYTHON) --version 2>&1 || true)." >&2; \
	  echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing the Debian package $$package"; apt-get update -qq && apt-get install -y -qq --no-install-recommends $$package >/dev/null; \
	  else echo "The venv module of \`$(PYTHON)\` is missing. Install it (Debian: apt-get install $$package) and call make again." >&2; exit 1; fi; }
	@$(PYTHON) -m venv $(VENV)
