#!/usr/bin/env bash
# Finds, or builds, the Python that everything else runs on and prints its path. All other output goes to stderr.
#
#   bash reproduce/setup.sh base   a Python >= 3.11, for what needs only the standard library; sets nothing up
#   bash reproduce/setup.sh plan   the Python that "run" would print; sets nothing up
#   bash reproduce/setup.sh run    a Python with what the runs and reports need
#   bash reproduce/setup.sh test   a Python with what the tests need, too
#
# An active environment that has what pyproject.toml asks for is used as it is. Otherwise requirements.txt goes into
# .venv; a copy of it, .venv/.stamp, is written last, so that a set-up that was cut short is resumed by the next run.
set -euo pipefail

unset CDPATH  # with it, cd prints where it went
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
child=""

say() { echo "set-up: $*" >&2; }

fail() {
    echo "error: $*" >&2
    exit 1
}

case $root in
    *:* | *$'\n'*)
        what="colon"
        case $root in *$'\n'*) what="line break" ;; esac
        echo "error: ${root//$'\n'/\\n}: Python can neither be pointed to a folder with a $what in its path nor make an" \
            "environment there: rename or move the folder" >&2
        exit 2
        ;;
esac

# The interpreter itself rather than a launcher shim, or nothing.
executable() { "$1" -c 'import sys; print(sys.executable)' 2>/dev/null; }

base_python() {
    local name said seen=""
    for name in python3 python python3.12 python3.13 python3.11 python3.14; do
        command -v "$name" >/dev/null || continue
        if said=$("$name" -c 'import sys; print(sys.version.split()[0]); sys.exit(sys.version_info < (3, 11))' 2>&1); then
            executable "$name"
            return
        fi
        seen=${seen:-$name: $(objection "$said")}
    done
    fail "no Python 3.11 or later on PATH${seen:+ ($seen)}: install one or activate an environment that has one, then" \
        "run again"
}

# Of what an interpreter said that will not do: its version, or why it does not start.
objection() {
    case $1 in
        [0-9]*.*) head -n 1 <<<"$1" ;;
        *) { grep -m 1 -i error <<<"$1" || echo "does not start"; } | tr -dc '[:print:]' | cut -c 1-200 ;;
    esac
}

# Whether interpreter $1 has what pyproject.toml asks for, with the tests' part if $2 is "test". `packaging` comes with
# matplotlib, so an environment without it lacks more than that.
satisfies() {
    "$1" -P - "$root/pyproject.toml" "$2" 2>/dev/null <<'PYTHON'
import sys
import tomllib
from importlib.metadata import version

from packaging.requirements import Requirement

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
for line in project["dependencies"] + project["optional-dependencies"]["test"] * (sys.argv[2] == "test"):
    need = Requirement(line)
    if need.marker is None or need.marker.evaluate():
        if not need.specifier.contains(version(need.name), prereleases=True):
            sys.exit(1)
PYTHON
}

# Whether it imports, too: metadata may be in order where a library underneath is not.
IMPORTS='import matplotlib, jinja2, numpy, scipy, torch, torchvision'
imports() {
    local said
    said=$("$1" -P -c "$IMPORTS" 2>&1) && return
    say "$1 has what pyproject.toml asks for, but it does not import ($(tail -n 1 <<<"$said" | cut -c 1-200)):" \
        "passed over"
    return 1
}

# An active environment fit for $1, if there is one. Our own .venv counts only by its stamp, activated or not.
active_python() {
    local name path tried=""
    for name in python python3; do
        path=$(executable "$name") || continue
        case $path in "$venv"/*) continue ;; esac
        if [ "${path%/*}" = "${tried%/*}" ] && [ "$path" -ef "$tried" ]; then continue; fi  # one and the same
        tried=$path
        if satisfies "$path" "$1" && imports "$path"; then
            echo "$path"
            return
        fi
    done
    return 1
}

ready() { cmp -s "$root/requirements.txt" "$venv/.stamp" && "$venv/bin/python" -c '' 2>/dev/null; }

stop() {
    if [ -n "$child" ]; then
        kill "$child" 2>/dev/null || true
        wait "$child" || true
    fi
    say "interrupted: run the same command again to complete it"
    exit "$1"
}

# One stage: label, then a command. In the background, so that a signal ends the command at once instead of after it.
# What it prints on stderr is kept for the one line that explains a failure.
stage() {
    local label=$1 began=$SECONDS
    shift
    say "$label ..."
    "$@" >&2 2>"$venv/.errors" &
    child=$!
    wait "$child" || return
    child=""
    say "$label: done in $((SECONDS - began)) s"
}

reason() { grep -iE 'error|no space' "$venv/.errors" 2>/dev/null | tail -n 1 | cut -c 1-300; }

# What a user has told pip for other purposes would send packages elsewhere, or leave some out; where it finds them (an
# index, a proxy, certificates) stays. Variables are unset for this call; a line of a configuration file cannot be.
STRAY="user target prefix root no-deps dry-run report require-hashes no-binary ignore-installed src editable python"
ask_pip() {
    local key name found
    for key in $STRAY; do
        name=${key//-/_}
        unset "PIP_$(tr '[:lower:]' '[:upper:]' <<<"$name")"
    done
    found=$("$venv/bin/python" -m pip config list 2>/dev/null | grep -E "^(global|install)\.(${STRAY// /|})=" |
        grep -vE "='?(0|no|off|false)?'?$" | head -n 1) || true
    [ -z "$found" ] || fail "pip's configuration says ${found%%=*} = ${found#*=}, so packages would not go into $venv as" \
        "they should: set PIP_CONFIG_FILE=/dev/null, or remove that line, then run again"
}

build() {
    local base quiet=(--quiet)
    { mkdir -p "$venv" && : >"$venv/.lock"; } 2>/dev/null ||
        fail "$venv cannot be written: free some disk space, or clone to a folder you can write, then run again"
    # Two set-ups at once would spoil each other. The lock goes with its last holder, so none is ever stale; pip
    # inherits it and keeps it if this script alone is killed. Without flock (macOS): one at a time, please.
    exec 9>"$venv/.lock"
    if command -v flock >/dev/null && ! flock -n 9; then
        say "waiting for another set-up of $venv to end"
        flock 9
    fi
    if ready; then return; fi

    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        base=$(base_python)
        "$base" -c 'import ensurepip, venv' 2>/dev/null ||
            fail "$base cannot make environments: install python3-venv (apt-get install python3-venv), then run again"
        find "$venv" -mindepth 1 -maxdepth 1 ! -name .lock -exec rm -rf {} +
        stage "making .venv with $base" "$base" -m venv "$venv" ||
            fail "$base could not make $venv ($(reason)): free some disk space, then run again"
    fi
    ask_pip
    # pip's progress bars are for a terminal only
    if [ -t 2 ]; then quiet=(); fi
    stage "installing requirements.txt (several GB the first time)" \
        "$venv/bin/python" -m pip install --disable-pip-version-check ${quiet[@]+"${quiet[@]}"} \
        -r "$root/requirements.txt" ||
        fail "pip could not install requirements.txt ($(reason)): check network and disk space (8 GB), then run again"
    # a kill in the middle of unpacking can leave a package that pip takes for whole
    stage "checking that it imports" "$venv/bin/python" -c "$IMPORTS" ||
        fail "$venv is damaged ($(reason)): delete that folder, then run again"
    rm -f "$venv/.errors"
    cp "$root/requirements.txt" "$venv/.stamp" || fail "$venv/.stamp cannot be written: free some disk space, run again"
}

trap 'stop 130' INT
trap 'stop 143' TERM
trap 'stop 129' HUP

case ${1:-} in
    base) base_python ;;
    plan) active_python run || echo "$venv/bin/python" ;;
    run | test)
        if ! active_python "$1"; then
            if ! ready; then build; fi
            echo "$venv/bin/python"
        fi
        ;;
    *) fail "usage: bash reproduce/setup.sh base|plan|run|test" ;;
esac
