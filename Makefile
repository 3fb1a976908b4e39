# Everything a contributor runs. `make help` lists it. Go is all that has to be on the machine; `make setup` gets the rest
# from the package registries that Go is configured with.

SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help

# One build mode for the binary, vet, lint and the tools, so that they share one build cache.
export CGO_ENABLED := 0

# Tools live in a module of their own: they need versions of libraries that the product must not get.
TOOL := go tool -modfile=tools/go.mod

# The race detector needs a C compiler; without one the tests run without it and say so.
HAVE_CC := $(shell command -v "$$(go env CC)" >/dev/null 2>&1 && echo yes)

# How long each fuzz target runs.
FUZZTIME ?= 30s

# Arguments for golangci-lint.
LINTFLAGS ?=

# Arguments for `make run`, for example ARGS="--listen 127.0.0.1:8081".
ARGS ?=

empty :=
space := $(empty) $(empty)
# The commit that is built, for `mansio version`; empty outside of a clone.
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null && { git diff --quiet HEAD || echo +modified; })

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## get modules and tools
	go mod download
	cd test/clients/go && go mod download
	$(TOOL) buf --version
	$(TOOL) gofumpt -version
	$(TOOL) golangci-lint version

.PHONY: build
build: ## build bin/mansio
	go build -ldflags '-X main.revision=$(subst $(space),,$(REVISION))' -o bin/mansio ./cmd/mansio

.PHONY: run
run: build ## start a serving standalone with its data in ./data
	exec bin/mansio standalone --data ./data $(ARGS)

.PHONY: test
test: build ## vet, all tests, and the official Go SDK against bin/mansio
	go vet ./...
ifeq ($(HAVE_CC),yes)
	CGO_ENABLED=1 go test -race -timeout 15m ./...
else
	@echo "no C compiler: tests run without the race detector"
	go test -timeout 15m ./...
endif
	cd test/clients/go && MANSIO='$(CURDIR)/bin/mansio' go test -timeout 10m ./...
	@$(MAKE) --no-print-directory test-nosync

# Tests that cannot fail prove nothing: these must, when the log does not sync.
.PHONY: test-nosync
test-nosync: ## show that the power-loss suites fail without fdatasync
	@set -e; for suite in commitlog/TestCrashes shard/TestPowerLoss; do \
		if out=$$(MANSIO_SEEDS=60 go test -tags nosync -timeout 100s -run "^$${suite#*/}$$" ./storenode/$${suite%/*} 2>&1); then \
			echo "$$suite passes although the log does not sync"; exit 1; \
		fi; \
		grep -q -- "^--- FAIL: $${suite#*/} " <<< "$$out" || { echo "$$out"; exit 1; }; \
		echo "$$suite fails without fdatasync, as it must"; \
	done

.PHONY: test-clients
test-clients: build ## run the suites of all official SDKs against bin/mansio
	@set -e; for suite in test/clients/*/run.sh; do \
		echo "== $$suite"; \
		MANSIO='$(CURDIR)/bin/mansio' SLOW=1 "$$suite"; \
	done

.PHONY: test-full-disk
test-full-disk: build ## what a full disk does, on small file systems; needs root
	go test -tags fulldisk -run 'FullDisk|NoSegment|Reopen' -timeout 5m ./controller ./controller/etcd
	MANSIO='$(CURDIR)/bin/mansio' ./test/fulldisk/run.sh

.PHONY: lint
lint: ## check style: Go and proto (LINTFLAGS=--fix mends what it can)
	$(TOOL) golangci-lint run $(LINTFLAGS) ./...
	$(TOOL) buf lint

.PHONY: format
format: ## rewrite Go and proto files in the one format
	$(TOOL) golangci-lint fmt ./...
	$(TOOL) buf format -w

# The baseline follows every change that breaks nobody, so it always is the current schema, and a change that would
# break somebody stops here. `make baseline` overrides that, for a schema that no release has had.
.PHONY: generate
generate: ## generate code from proto/ and move the baseline on
	$(TOOL) buf generate
	$(TOOL) buf breaking --against proto/baseline.binpb
	$(MAKE) --no-print-directory baseline

.PHONY: baseline
baseline: ## take the schema of now as what later ones must be compatible with
	$(TOOL) buf build --as-file-descriptor-set --exclude-source-info -o proto/baseline.binpb

.PHONY: generate-check
generate-check: ## fail if generated files differ from what generate would write
	@set -e; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	$(TOOL) buf generate -o "$$dir"; \
	$(TOOL) buf build --as-file-descriptor-set --exclude-source-info -o "$$dir/proto/baseline.binpb"; \
	diff <(cd proto && find . -name '*.pb.go' | sort) <(cd "$$dir/proto" && find . -name '*.pb.go' | sort); \
	cd "$$dir/proto"; find . -type f | while read -r file; do cmp "$$file" "$(CURDIR)/proto/$$file"; done; \
	echo "generated files are clean"

.PHONY: breaking
breaking: ## fail if proto/ breaks those who speak the baseline
	$(TOOL) buf breaking --against proto/baseline.binpb

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME
	@set -e; grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' --exclude-dir=clients . \
		| sed 's/_test\.go:func /_test.go /' | while read -r file target; do \
		echo "== $$(dirname "$$file") $$target"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")"; \
	done

.PHONY: bench
bench: build ## measure speed and memory; the numbers of docs/PERFORMANCE.md
	MANSIO='$(CURDIR)/bin/mansio' ./test/bench/run.sh
