#!/bin/bash
# Runs the bash program of docs/clients.md by the protocol of ../program.ts. The argument is its file.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

while read -r count rejected; do
  [[ $rejected != - ]] || rejected=
  for ((index = 0; index < count; index++)); do
    {
      bash "$1" "$rejected" >"$folder/$index.out" 2>"$folder/$index.err" ||
        printf 'error: %s' "$(tr -s '[:space:]' ' ' <"$folder/$index.err")" >"$folder/$index.out"
    } &
  done
  wait
  cat "$folder"/*.err >&2
  for ((index = 0; index < count; index++)); do
    tr -d '\n' <"$folder/$index.out"
    ((index == count - 1)) || printf '\t'
  done
  echo
done
