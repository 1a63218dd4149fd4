# Every target does its own set-up, on a machine that has Rust (rustup), Python 3 with pip, Node.js and Debian's apt.
# What it fetches or builds once is kept in the user's cache folder, by version.

CARGO ?= cargo
WASM := target/otelmesh.wasm
TRAP := target/otelmesh-trap.wasm
OTELMESH := target/release/otelmesh
SOAK_SECONDS ?= 600
FUZZ_SECONDS ?= 60
# The features are those that the compiler uses for wasm32-wasip1, and exceptions, which the guard puts in: no proxy need
# know more for wasm-opt's sake.
WASM_OPT := -Oz --converge --strip-debug --strip-producers --enable-exception-handling --enable-bulk-memory --enable-multivalue --enable-mutable-globals --enable-nontrapping-float-to-int \
	--enable-reference-types --enable-sign-ext
LINK := -p otelmesh-filter --lib --crate-type cdylib --target wasm32-wasip1 --profile wasm
# Functions are inlined where they stay small: 10 % more instructions an exchange, a third less of a module, and some 20 MiB
# less of memory for what V8 compiles of it.
INLINE := -Cllvm-args=-inline-threshold=40
# Makes of a module that rustc linked one for Envoy. The guard comes first: wasm-opt would put the trap that it looks for
# in the place of its calls.
define finish
	@$(CARGO) run --quiet -p otelmesh-guard -- $(1) $(2).guarded
	@node target/wasm-opt $(WASM_OPT) $(2).guarded -o $(2)
	@rm $(2).guarded
endef
say = @printf '\033[1m==> %s\033[0m\n' $(1)

.DEFAULT_GOAL := help
# Cargo knows what is up to date.
.PHONY: $(TRAP) help wasm build envoy demo test e2e-api e2e kind-up kind-down kind-status faults bench profile soak fuzz lint clean

help: ## This list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

wasm: ## The filter, target/otelmesh.wasm
	$(call say,'building the filter for wasm32-wasip1')
	@rustup target list --installed | grep -qx wasm32-wasip1 || rustup target add wasm32-wasip1
	$(CARGO) rustc $(LINK) -- $(INLINE)
	@filter/fetch-wasm-opt.sh
	$(call finish,target/wasm32-wasip1/wasm/otelmesh_filter.wasm,$(WASM))
	@# The same without the guard, for runtimes that count instructions and don't know its exceptions.
	@node target/wasm-opt $(WASM_OPT) target/wasm32-wasip1/wasm/otelmesh_filter.wasm -o target/otelmesh-unguarded.wasm
	@echo "$(WASM): $$(wc -c <$(WASM)) bytes"

build: ## The command, target/release/otelmesh
	$(call say,'building the command')
	$(CARGO) build --release -p otelmesh

envoy: ## A real Envoy, under target/envoy
	$(call say,'providing Envoy')
	@e2e/fetch-envoy.sh

demo: wasm build envoy ## Two services, real Envoys, the filter: one trace on loopback
	$(call say,'otelmesh demo')
	@$(OTELMESH) demo $(DEMO_ARGS)

$(TRAP): wasm
	$(call say,'building the filter that panics when asked to')
	$(CARGO) rustc $(LINK) --features trap -- $(INLINE)
	@cp target/wasm32-wasip1/wasm/otelmesh_filter.wasm $@
	$(call finish,$@,target/otelmesh-trap-guarded.wasm)

test: $(TRAP) ## All tests that need no cluster, with the newest and the oldest Envoy
	$(call say,'providing what the tests run')
	@rustup target list --installed | grep -qx wasm32-unknown-unknown || rustup target add wasm32-unknown-unknown
	@e2e/fetch-envoy.sh --all
	@e2e/fetch-wasm-runner.sh
	@e2e/fetch-debian.sh
	$(call say,'testing')
	@e2e/run-tests.sh unit envoy registry

e2e-api: wasm envoy ## The chart and the command against real Helm, Kubernetes, Istio, Prometheus and collector programs
	$(call say,'providing what the tests run')
	@e2e/fetch-go-tools.sh target/tools helm istio-crds.yaml kubernetes.json operator-crds.yaml promtool k6 istioctl \
	  otelcol sampling-oracle etcd kubernetes
	$(call say,'testing')
	@e2e/run-tests.sh api

e2e: $(TRAP) envoy ## The whole product on a real mesh: brings the cluster up, tests on it, and removes it
	$(call say,'bringing up a cluster and testing on it')
	@e2e/kind/cluster.sh up $(KIND_ARGS) && e2e/run-tests.sh cluster; status=$$?; e2e/kind/cluster.sh down; exit $$status

kind-up: ## A Kubernetes cluster with Istio, by kind; KIND_ARGS=--images=pull|build
	@e2e/kind/cluster.sh up $(KIND_ARGS)

kind-down: ## Remove it again
	@e2e/kind/cluster.sh down

kind-status: ## What runs in it
	@e2e/kind/cluster.sh status

faults: wasm envoy ## What becomes of spans and logs when receivers misbehave: the filter and Envoy's own exporters
	$(call say,'faults')
	@$(CARGO) run --quiet -p otelmesh-e2e --bin faults

bench: wasm envoy ## What the filter costs beside Envoy's own telemetry; wants a quiet machine, BENCH_ROUNDS=40
	$(call say,'comparing')
	@$(CARGO) run --release --quiet -p otelmesh-bench --bin bench

profile: wasm envoy ## Where the time goes, by perf
	$(call say,'profiling')
	@command -v perf >/dev/null || { echo 'profile: needs perf (Debian: linux-perf)' >&2; exit 1; }
	@node target/wasm-opt -g $(filter-out --strip-debug,$(WASM_OPT)) target/wasm32-wasip1/wasm/otelmesh_filter.wasm -o target/named.wasm
	$(CARGO) build --release --quiet -p otelmesh-bench
	@target/release/profile

soak: wasm envoy ## Ten minutes of mixed traffic with faults: memory and accounting
	$(call say,'soaking for $(SOAK_SECONDS) seconds')
	@$(CARGO) run --quiet -p otelmesh-e2e --bin soak $(SOAK_SECONDS)

fuzz: ## Fuzz the filter for three minutes; what it finds is in filter/fuzz/artifacts
	@e2e/fetch-cargo-fuzz.sh
	$(call say,'fuzzing for $(FUZZ_SECONDS) seconds a target')
	@for target in config reply exchange; do \
		mkdir -p target/fuzz-corpus/$$target; \
		PATH=$$PWD/target/cargo-fuzz:$$PATH cargo fuzz run --fuzz-dir filter/fuzz --features libfuzzer -s none $$target \
			target/fuzz-corpus/$$target filter/fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=4096 -print_final_stats=1 || exit 1; \
	done

lint: ## Format, clippy on both targets, documentation and shell scripts, with warnings denied
	$(call say,'checking format and lints and documentation')
	@rustup target list --installed | grep -qx wasm32-wasip1 || rustup target add wasm32-wasip1
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy -p otelmesh-filter --lib --target wasm32-wasip1 -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps
	@e2e/fetch-debian.sh
	target/debian/usr/bin/shellcheck $$(git ls-files '*.sh' .ci/run)

clean: ## What was built here; the cache folder stays
	$(CARGO) clean
