#!/bin/sh
# Runs the subjects of e2e/tests/cluster on the cluster that runs. A subject that fails is run a second time, since a whole
# mesh on two cores can miss a deadline; that it took two tries is said, and a second failure counts.
set -u

root=$(cd "$(dirname "$0")/../.." && pwd)
log=$root/target/test-logs/subjects.log

subjects() {
  "$root/e2e/kind/cluster.sh" run cargo test --offline -p otelmesh-e2e --test cluster -- --test-threads=1 --nocapture "$@"
}

subjects 2>&1 | sed -u 's/^test result: FAILED/first try: FAILED/' | tee "$log"
if grep -q '^test result: ok' "$log"; then
  exit 0
fi
failed=$(sed -n '/^failures:$/,$ s/^    \([a-z_:]*\)$/\1/p' "$log" | sort -u)
if [ -z "$failed" ]; then
  exit 1
fi
echo "once more: $failed"
# shellcheck disable=SC2086 # a list of names
subjects --exact $failed
