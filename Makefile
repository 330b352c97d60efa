# The two commands that matter: `make demo` and `make test`. Both work on a machine that has seen
# nothing of this project but Go, as root and as an ordinary user. Nothing here installs anything
# outside Go's own caches; what a bare machine lacks is the business of .ci/run.

MODULE   := github.com/warren-mesh/warren
PROGRAMS := warren warren-controller warren-agent warren-lab

# nft and other tools of the system are where an ordinary user of Debian does not look.
export PATH := $(PATH):/usr/sbin:/sbin

# The linters and the test runner have a modfile of their own (docs/dependencies.md says why).
TOOL := go tool -modfile=.ci/tools/go.mod

# What --version prints, from git alone, so that the same commit gives the same bytes everywhere. In a
# tarball there is no .git, nothing is set, and the version package says so.
ifneq ($(wildcard .git),)
git      = $(shell GIT_OPTIONAL_LOCKS=0 TZ=UTC git $(1) 2>/dev/null)
VERSION := $(shell sh .ci/version)
COMMIT   = $(call git,rev-parse --verify --quiet HEAD)
DATE     = $(call git,log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ)
endif
stamp    = $(if $(2),-X $(MODULE)/cmd/internal/version.$(1)=$(2))
LDFLAGS  = -s -w $(call stamp,version,$(VERSION)) $(call stamp,commit,$(COMMIT)) $(call stamp,date,$(DATE))

# Packages: where they go, and who stands for them.
DIST       ?= dist
MAINTAINER := Warren maintainers <maintainers@warren-mesh.example>

PACKAGING   = VERSION='$(VERSION)' COMMIT='$(COMMIT)' DATE='$(DATE)' LDFLAGS='$(LDFLAGS)' MAINTAINER='$(MAINTAINER)'

# The race detector needs a C compiler; Go itself says whether it found one.
RACE     = $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

# The end-to-end tests measure time-outs, so they have the machine to themselves.
E2E      := ./cmd/internal/e2e/...
TESTS    = $(filter-out $(MODULE)/cmd/internal/e2e% $(MODULE)/cmd/internal/systemtest,$(shell go list -f \
	'{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...))

# A number of inputs ("10000x") or a time ("1m") for each fuzz target.
FUZZ     ?= 1m

# Tests measure time; two at once would measure each other.
.NOTPARALLEL:

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Three sites on this machine, real tunnels, 1,000 orders; leaves nothing behind
	./bin/warren-lab demo

.PHONY: test
test: lint unit e2e check-packages fuzz-smoke test-vm ## All tests; with qemu on the machine an hour more, in VMs

.PHONY: build
build: ## The four programs, static, in ./bin
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ $(PROGRAMS:%=./cmd/%)

.PHONY: packages
packages: ## .deb and .rpm for amd64 and arm64, in ./dist; the same commit gives the same bytes
	@$(PACKAGING) sh .ci/packages $(DIST) $(TOOL) nfpm

.PHONY: check-packages
check-packages: ## Build them twice for this machine, compare the bytes, look into them, install and purge them
	@$(PACKAGING) sh .ci/reproduce $(TOOL) nfpm

.PHONY: lint
lint: ## go vet, golangci-lint, gofumpt, tidy go.mod, known vulnerabilities
	go mod tidy -diff
	go vet ./...
	$(TOOL) golangci-lint run ./...
	@sh .ci/vuln $(TOOL) govulncheck ./...

.PHONY: unit
unit: build ## Unit, property and golden tests and the repo rules, with the race detector
	$(if $(RACE),,@echo 'make: no C compiler, so no race detector: install gcc to have it')
	@echo 'make: testing all packages but e2e $(RACE)'
	@$(TOOL) gotestsum --format pkgname-and-test-fails -- $(RACE) -timeout 10m $(TESTS)

.PHONY: failpoint
failpoint: # Programs that die where a test tells them to, in ./bin/failpoint
	CGO_ENABLED=0 go build -tags failpoint -trimpath -buildvcs=false -o bin/failpoint/ $(PROGRAMS:%=./cmd/%)

.PHONY: e2e
e2e: build failpoint ## The real programs from ./bin in network namespaces
	$(TOOL) gotestsum --format pkgname-and-test-fails -- $(RACE) -count=1 -timeout 40m $(E2E)

# First a small VM that only runs tests, then Debian machines with systemd on which the packages are installed.
.PHONY: test-vm
test-vm: build ## On kernel WireGuard and systemd, in VMs (needs qemu, apt, mmdebstrap; not in CI)
	go run ./cmd/internal/vm/run -timeout 90m ./agent/linux ./cmd/internal/e2e
	WARREN_VM=1 go test -count=1 -v -timeout 60m ./cmd/internal/systemtest

.PHONY: test-rotation
test-rotation: build failpoint ## Every fault at every boundary of a rotation (half an hour)
	WARREN_ROTATION_MATRIX=0/1 go test -count=1 -timeout 90m -v -run 'TestRotation' $(E2E)

.PHONY: test-outage
test-outage: build ## Ten minutes without a controller that is started, and killed, five times
	WARREN_OUTAGE=10m go test -count=1 -timeout 30m -v -run TestControllerOutage $(E2E)

.PHONY: fuzz fuzz-smoke
fuzz: ## Every fuzz target in turn, FUZZ=1m each
	@sh .ci/fuzz $(FUZZ)
fuzz-smoke:
	@sh .ci/fuzz 10000x

.PHONY: bench
bench: build ## Go benchmarks, then the whole-system table of docs/benchmarks.md
	@go test -run '^$$' -bench . -benchmem $(TESTS)
	go run ./cmd/internal/bench

.PHONY: bench-rotation
bench-rotation: build ## Traffic while all keys are replaced again and again, beside a naive way (quarter of an hour)
	go run ./cmd/internal/bench -only rotation

.PHONY: docs
docs: ## The command reference and man pages in docs/, from the commands themselves
	go run ./cmd/internal/docgen

.PHONY: fmt
fmt: ## Format as the linters want it
	$(TOOL) golangci-lint fmt ./...

.PHONY: clean
clean: ## Remove what make made
	rm -rf bin dist
