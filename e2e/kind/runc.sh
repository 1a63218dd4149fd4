#!/bin/sh
# runc for an engine that may not do everything: Docker 20.10 gives a privileged container each capability that the kernel
# knows, and runc refuses those that the engine itself has not. This takes them away from what it asks for.
set -eu

previous=
file=
for argument in "$@"; do
  case $previous in
    --bundle | -b) file=$argument/config.json ;;
    --process | -p) file=$argument ;;
  esac
  previous=$argument
done
if [ -n "$file" ]; then
  bounding=$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)
  # CAP_SYS_RESOURCE is number 24.
  if [ $((0x$bounding >> 24 & 1)) -eq 0 ]; then
    bounded=$(jq -c '(.process // .).capabilities |= with_entries(.value |= ((. // []) - ["CAP_SYS_RESOURCE"]))' "$file")
    printf %s "$bounded" >"$file"
  fi
fi
exec "${RUNC:-runc}" "$@"
