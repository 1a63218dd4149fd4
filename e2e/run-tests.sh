#!/bin/sh
# Runs groups of tests one after the other and ends with a line for each: its name and how many tests ran. Stops at
# nothing, so that one run shows all that is broken. Fails when a test failed, was ignored, or when a group ran none.
#
# Usage: run-tests.sh GROUP…, of which there are: unit envoy registry api cluster
set -u

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1
logs=$root/target/test-logs
mkdir -p "$logs"
summary=$(mktemp)
trap 'rm -f "$summary"' EXIT
failed=0

# run NAME COMMAND…
run() {
  name=$1
  shift
  log=$logs/$(echo "$name" | tr -c 'a-zA-Z0-9.\n' '-').log
  printf '\n\033[1m--- %s\033[0m\n' "$name"
  started=$(date +%s)
  # The log is written through a pipe, so the exit status takes a file of its own.
  { "$@" 2>&1 || touch "$log.failed"; } | tee "$log"
  took=$(($(date +%s) - started))
  ran=$(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored.*/\1 \2 \3/p' "$log" |
    awk '{ p += $1; f += $2; i += $3 } END { printf "%d %d %d", p, f, i }')
  # shellcheck disable=SC2086 # three numbers
  set -- $ran
  verdict=ok
  if [ -e "$log.failed" ] || [ "$2" -gt 0 ] || [ "$3" -gt 0 ] || [ "$1" -eq 0 ]; then
    verdict=FAILED
    failed=1
  fi
  rm -f "$log.failed"
  printf '%-38s %4d passed %3d failed %3d ignored %5ss  %s\n' "$name" "$1" "$2" "$3" "$took" "$verdict" >>"$summary"
}

build_command() {
  # The tests run the command as a user does, and cargo builds binaries for their own crate's tests alone.
  cargo build -p otelmesh || failed=1
}

for group in "$@"; do
  case $group in
    unit)
      run 'filter' cargo test -p otelmesh-filter -p otelmesh-config -p otelmesh-guard -p otelmesh-fuzz
      PATH=$root/target/wasm-runner:$PATH run 'filter on wasm32 in node' \
        cargo test -p otelmesh-filter -p otelmesh-config --lib --target wasm32-unknown-unknown
      run 'command' cargo test -p otelmesh
      ;;
    envoy)
      build_command
      run 'wasm module' cargo test -p otelmesh-e2e --test module
      run 'cost of an exchange' cargo test -p otelmesh-bench
      for envoy in target/envoy/*/envoy; do
        version=$(basename "$(dirname "$envoy")")
        ENVOY=$root/$envoy run "filter in Envoy $version" cargo test -p otelmesh-e2e --test filter
        ENVOY=$root/$envoy run "faults in Envoy $version" cargo test -p otelmesh-e2e --test faults
        ENVOY=$root/$envoy run "EnvoyFilters in Envoy $version" cargo test -p otelmesh-e2e --test envoyfilter
      done
      run 'demo and Envoy runner' cargo test -p otelmesh-e2e --test demo --test envoy
      ;;
    registry)
      build_command
      run 'image registry' cargo test -p otelmesh-e2e --test image
      ;;
    api)
      build_command
      run 'sampling against the collector' cargo test -p otelmesh-e2e --test sampling
      run 'chart against Helm' cargo test -p otelmesh-e2e --test helm
      run 'chart against schemas, istioctl' cargo test -p otelmesh-e2e --test schemas --test istioctl
      run 'filter against the collector' cargo test -p otelmesh-e2e --test otlp
      run 'chart against the collector' cargo test -p otelmesh-e2e --test collector --test dashboards --test load --test topology
      run 'chart against promtool' cargo test -p otelmesh-e2e --test rules
      run 'commands against an API server' cargo test -p otelmesh-e2e --test api
      ;;
    cluster)
      build_command
      # Where the cluster is there is no registry of crates.
      cargo test -p otelmesh-e2e --test cluster --no-run || failed=1
      run 'a real mesh' e2e/kind/subjects.sh
      ;;
    *)
      echo "run-tests: no group $group" >&2
      exit 2
      ;;
  esac
done

printf '\n'
cat "$summary"
awk '{ for (i = 1; i < NF; i++) if ($(i + 1) == "passed") p += $i; else if ($(i + 1) == "failed") f += $i }
  END { printf "\n%d passed, %d failed\n", p, f }' "$summary"
exit "$failed"
