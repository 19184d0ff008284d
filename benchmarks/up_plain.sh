#!/usr/bin/env bash
# Brings a site's daemons up the way a plain shell script would, as the measure for `ai-how up`: everything at
# once, each daemon as soon as what it needs is healthy. FOLDER holds, for each daemon, an executable
# commands/NAME, health/NAME and settle/NAME, and after/NAME with the names it waits for; `up.py` writes them from
# the definitions that `ai-how up` itself goes by.
#
# usage: up_plain.sh FOLDER NODES
set -euo pipefail
cd "$1"
nodes=$2
rm -rf ready && mkdir -p ready log

bring_up() {
    local name=$1 need
    for need in $(cat "after/$name"); do
        until [ -e "ready/$need" ]; do sleep 0.05; done
    done
    setsid "commands/$name" >>"log/$name" 2>&1 </dev/null &
    until "health/$name" >/dev/null 2>&1; do sleep 0.05; done
    "settle/$name" >>"log/$name" 2>&1
    touch "ready/$name"
}

pids=()
for path in commands/*; do
    bring_up "${path##*/}" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
until [ "$(./sinfo --noheader --Node --format=%T --partition=gpu | grep --count '^idle$')" = "$nodes" ]; do sleep 0.05; done
