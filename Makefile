# streamd. `make serve` runs it and `make test` checks it; each sets up what it needs, once.
PYTHON ?= python3
BIN := .venv/bin
NODE := PATH="$(CURDIR)/$(BIN):$$PATH" NODE_OPTIONS=--test-reporter=dot
PACKAGES := -e 'clients/python[sync]' -e '.[crypto,postgresql,redis]'
DECLARED := pyproject.toml clients/python/pyproject.toml
APT := apt-get -qq -o Dpkg::Use-Pty=0
APT_INSTALL := $(APT) update && DEBIAN_FRONTEND=noninteractive $(APT) install -y
MAY_INSTALL := [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null
POSTGRES := { command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1
NGINX := PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null
NO_SERVICES := /usr/sbin/policy-rc.d
# Debian's package would start a server of its own, for all to reach.
INSTALL_STOPPED = [ -e $(NO_SERVICES) ] || { printf '\#!/bin/sh\nexit 101\n' >$(NO_SERVICES); chmod +x $(NO_SERVICES); ours=1; }; \
  $(APT_INSTALL) --no-install-recommends $(1); [ -z "$$ours" ] || rm $(NO_SERVICES)
NO_CLUSTER := /etc/postgresql-common/createcluster.d/no-cluster.conf

.PHONY: help install serve test lint js bench soak redis postgres chromium nginx prometheus
.DELETE_ON_ERROR:
help:
	@echo "make serve  run the server on 127.0.0.1:8080 with the keys user,kind,repo     (options: ARGS=...)"
	@echo "make test   all tests, lint and types; each alone: install, lint, js, soak, bench (options: ARGS=...)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "streamd needs Python 3.11 or newer: name one, as in make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -U 'pip>=25.1'
.venv/serve.stamp: $(DECLARED) | $(BIN)/python
	$(BIN)/pip install -q $(PACKAGES)
	@touch $@
.venv/dev.stamp: $(DECLARED) | $(BIN)/python
	$(BIN)/pip install -q $(PACKAGES) --group dev
	@touch $@ .venv/serve.stamp
.venv/js.stamp: clients/js/package.json .venv/dev.stamp
	cd clients/js && $(NODE) npm install --silent --no-audit --no-fund
	@touch $@

install: .venv/dev.stamp
serve: .venv/serve.stamp
	@exec $(BIN)/streamd serve $(ARGS)
redis:
	@command -v redis-server >/dev/null || if $(MAY_INSTALL); then $(APT_INSTALL) redis-server; fi || true
	@redis-server --version 2>/dev/null | grep -Eq ' v=([7-9]|[1-9][0-9])\.' || echo \
	  "The tests on Redis need redis-server 7.0 or newer: install it, as with apt install redis-server" >&2
postgres: # Debian's package would create and start a server of its own.
	@$(POSTGRES) || if $(MAY_INSTALL); then \
	  mkdir -p $(dir $(NO_CLUSTER)) && echo 'create_main_cluster = false' >$(NO_CLUSTER); \
	  $(APT_INSTALL) --no-install-recommends postgresql procps; rm -f $(NO_CLUSTER); fi || true
	@$(POSTGRES) || echo \
	  "The tests on PostgreSQL need its programs: install them, as with apt install postgresql" >&2
chromium: # Its text needs a font; those of Debian's package are only recommended.
	@command -v chromium >/dev/null || if $(MAY_INSTALL); then \
	  $(APT_INSTALL) --no-install-recommends chromium fonts-dejavu-core; fi || true
	@command -v chromium >/dev/null || echo \
	  "The tests in a browser need Chromium: install it, as with apt install chromium" >&2
nginx:
	@$(NGINX) || if $(MAY_INSTALL); then $(call INSTALL_STOPPED,nginx); fi || true
	@$(NGINX) || echo "The test of deploy/nginx.conf needs nginx: install it, as with apt install nginx" >&2
prometheus:
	@command -v promtool >/dev/null || if $(MAY_INSTALL); then $(call INSTALL_STOPPED,prometheus); fi || true
	@command -v promtool >/dev/null || echo \
	  "The test of deploy/alerts.yml needs promtool: install it, as with apt install prometheus" >&2
# A third of the time tests wait: three of them keep two cores busy.
test: install redis postgres chromium nginx prometheus .venv/js.stamp
	env -u MAKEFLAGS -u MAKELEVEL -u ARGS $(BIN)/pytest -n 3 --dist worksteal -m 'not soak' $(ARGS)
	@$(MAKE) -s js lint
lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
js: .venv/js.stamp
	cd clients/js && $(NODE) npm run --silent check && $(NODE) npm test --silent
	$(NODE) clients/js/node_modules/.bin/tsc --project tests/dashboard
	$(NODE) node --test tests/dashboard/*.test.js
soak: install redis postgres
	$(BIN)/pytest -m soak $(ARGS)
bench: install
	$(BIN)/python -m benchmarks $(ARGS)
