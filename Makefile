# Everything that is done to this repository by a command. Each target says what
# it does; make alone lists them. CI runs these and nothing else (.ci/run).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The only place that says which linter: its configuration is .golangci.yml.
GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT := .bin/golangci-lint-$(GOLANGCI_LINT_VERSION)

# make test PKG=./ratelimit, make fuzz FUZZTIME=5m, make demo ARGS=--faults
PKG ?= ./...
ARGS ?=
ROUNDS ?= 20
BROKER ?= auto
RUN ?= .
SEEDS ?= 3000
SEED ?=
FROM ?=
DELIVERY ?= exactly_once
FUZZTIME ?= 30s
FAULTS ?= all
BENCHTIME ?= 1s
REQUESTS ?= 25000
BENCHROUNDS ?= 3
PAIRS ?= 100000
DURATION ?= 30m
RATE ?= 50

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-16s %s\n", $$1, $$2 }'

.PHONY: build
build: ## Build the programs into bin/
	go build -o bin/ ./cmd/...

.PHONY: demo
demo: ## Run the demo: broker, API, host and plugin on this machine (ARGS=--faults)
	go run ./cmd/countersign demo $(ARGS)

.PHONY: vet
vet: ## What go vet finds
	go vet ./...

.PHONY: test
test: ## Run the tests (PKG=./ratelimit)
	go test -count=1 -timeout 5m $(PKG)

.PHONY: race
race: ## Run the tests under the race detector (PKG=./ratelimit)
	go test -race -count=1 -timeout 15m $(PKG)

.PHONY: fuzz
fuzz: ## Run every fuzz target for a while (FUZZTIME=30s each, FUZZCAP=seconds in all)
	.ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## Run the benchmarks (BENCHTIME=1s; 1x only tries them)
	go test -run '^$$' -bench . -benchtime $(BENCHTIME) -timeout 10m $(PKG)

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run the linters (.golangci.yml says which and why)
	$(GOLANGCI_LINT) config verify
	$(GOLANGCI_LINT) run ./...

.PHONY: lint-fix
lint-fix: $(GOLANGCI_LINT) ## Format, and mend what the linters can mend
	$(GOLANGCI_LINT) run --fix ./...

$(GOLANGCI_LINT):
	GOBIN=$(CURDIR)/.bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv .bin/golangci-lint $@

.PHONY: generate
generate: ## Write the generated code anew (plugin/pluginpb, from schemas/plugin)
	go generate ./...

.PHONY: check-generated
check-generated: ## Fail where generated code is older than its source
	go test -C internal/protogen -count=1 ./...

.PHONY: tidy-check
tidy-check: ## Fail where go.mod or go.sum is not what the imports ask for
	go mod tidy -diff
	go -C internal/protogen mod tidy -diff

.PHONY: guards
guards: ## Take out each guard in turn and see that its test fails (internal/guards lists them)
	go run ./internal/guards

.PHONY: kafka-jars
kafka-jars: ## Bring the jars of Apache Kafka into .bin (needs Java and Maven)
	integration/jars/fetch.sh

.PHONY: integration
integration: ## The integration tests on the broker found or told (BROKER=auto named container jars embedded)
	INTEGRATION_BROKER=$(BROKER) .ci/integration $(RUN)

.PHONY: upgrade
upgrade: ## Upgrade hosts from another version to this one under load, and roll back (FROM=tag or commit)
	INTEGRATION_BROKER=$(BROKER) .ci/upgrade $(FROM)

.PHONY: simulate
simulate: ## Simulate lanes, brokers and API in virtual time (SEEDS=3000; FROM=n; SEED=n tells one)
	SIM_SEEDS=$(SEEDS) SIM_FROM=$(FROM) SIM_SEED=$(SEED) go test ./connector -run '^TestSimulation$$' -count=1 -v -timeout 6h

.PHONY: chaos
chaos: ## Strike real hosts at random moments, then count (ROUNDS=20 SEED=n DELIVERY=at_least_once)
	go test ./integration -run '^TestChaos$$' -count=1 -v -timeout 6h -args -chaos.rounds=$(ROUNDS) -chaos.seed=$(or $(SEED),0) -chaos.delivery=$(DELIVERY)

.PHONY: smoke
smoke: ## Run the demo, with and without faults and an outage, and check its figures
	.ci/smoke

.PHONY: ci
ci: ## All of CI, as on a fresh machine
	.ci/run

# docker compose, or a docker-compose of your own: make compose-up COMPOSE=.bin/docker-compose
COMPOSE ?= docker compose
COMPOSEFLAGS ?=

.PHONY: compose-up
compose-up: ## Bring Kafka, the emulator and the connector up in containers (COMPOSEFLAGS="--profile monitoring")
	$(COMPOSE) $(COMPOSEFLAGS) up --wait --wait-timeout 300

.PHONY: compose-smoke
compose-smoke: build ## Send requests through what compose-up has brought up, and count
	COMPOSE='$(COMPOSE)' integration/compose/smoke.sh

.PHONY: compose-down
compose-down: ## Take it down, with its data
	$(COMPOSE) --profile monitoring down --volumes --remove-orphans

.PHONY: kafka-image
kafka-image: kafka-jars ## Build the local Kafka image, where none can be pulled (needs root, debootstrap and Docker)
	integration/image/build.sh "$$(integration/jars/fetch.sh)"

.PHONY: monitoring-check
monitoring-check: ## Run the alert rules and every query of the dashboard on a real Prometheus
	.ci/monitoring

.PHONY: containers
containers: ## The integration tests in a container, then Compose up, smoke and down: all from local images
	.ci/containers

.PHONY: bench-kafka
bench-kafka: ## Measure the connector on Apache Kafka beside simpler loops (REQUESTS=25000 BENCHROUNDS=3 ARGS=-help)
	go build -o .bin/benchkafka ./internal/benchkafka
	KAFKA_LIBS=$${KAFKA_LIBS:-$$(integration/jars/fetch.sh)} .bin/benchkafka -requests $(REQUESTS) -rounds $(BENCHROUNDS) $(ARGS)

.PHONY: bench-audit
bench-audit: kafka-jars ## Measure an audit on Apache Kafka beside a bare read (PAIRS=10000000 BENCHROUNDS=1)
	go build -o .bin/countersign ./cmd/countersign
	go build -o .bin/benchaudit ./internal/benchaudit
	KAFKA_LIBS=$${KAFKA_LIBS:-$$(integration/jars/fetch.sh)} .bin/benchaudit -pairs $(PAIRS) -rounds $(BENCHROUNDS) $(ARGS)

.PHONY: scale
scale: kafka-jars ## Measure 1 to 64 partitions and 1 to 8 members on Apache Kafka (ARGS=-scale.partitions=8)
	go test ./integration/scale -run '^TestScale$$' -count=1 -v -timeout 1h -args -scale.run $(ARGS)

.PHONY: soak
soak: kafka-jars ## Steady load for long, members come and go: memory and goroutines stay flat (DURATION=30m RATE=50)
	go test ./integration/scale -run '^TestSoak$$' -count=1 -v -timeout 6h -args -soak.for=$(DURATION) -soak.rate=$(RATE) $(ARGS)

.PHONY: interop
interop: kafka-jars ## kcat, Kafka's console tools and a verifier in Python at our topics, on Apache Kafka (needs kcat, Python 3.11 and pip)
	go test ./integration/interop -count=1 -v -timeout 30m -args -interop

.PHONY: clients
clients: ## The official clients for Go, JavaScript and Python run their suites against the emulator
	.ci/clients $(RUN)

.PHONY: browser
browser: ## The pages, of virtual phones and of an audit, in headless Chromium (needs chromium)
	go test ./integration/browser -count=1 -v -timeout 15m -args -browser.required

.PHONY: screenshots
screenshots: ## Take the documents' pictures of that page and the audit's anew (needs chromium)
	go test ./integration/browser -run '^(TestDemo|TestAuditPage)$$' -count=1 -v -timeout 5m -args -browser.required -browser.screenshots=$(CURDIR)/docs

.PHONY: faults
faults: kafka-jars ## Strike a cluster of three brokers, then count (FAULTS=all short leader-killed,full-stop...)
	go test ./integration -run '^TestFaults$$' -count=1 -v -timeout 60m -args -faults=$(FAULTS)
