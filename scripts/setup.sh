# What ./demo and ./test share: Debian packages and a virtual environment, installed when missing. Sourced by them.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# Installs those of the named Debian packages that are missing, and starts none of their services.
need_packages() {
    local package missing=()
    for package in "$@"; do
        [[ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null)" == ii* ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    ((EUID == 0)) || die "missing: ${missing[*]}; run this as root, or install them first"
    say "installing ${missing[*]}"
    # A subshell, so that its trap takes the policy back however this ends.
    (
        if [[ ! -e /usr/sbin/policy-rc.d ]]; then
            trap 'rm -f /usr/sbin/policy-rc.d' EXIT
            printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d # 101: starting a service is not allowed
            chmod 755 /usr/sbin/policy-rc.d
        fi
        export DEBIAN_FRONTEND=noninteractive
        apt-get -qq update
        apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
    )
}

# The Python to use: the system's where it will do, because every user may run it (a system-wide tunnel goes on as an
# unprivileged user); one in somebody's home is that user's alone.
pick_python() {
    local candidate
    for candidate in /usr/bin/python3 python3; do
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        if ((EUID == 0)) || "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
}

# The first line of a lock file that was made for pyproject.toml's dependencies as they are now.
lock_title() {
    "$(pick_python)" -c 'import hashlib, json, tomllib
with open("pyproject.toml", "rb") as file:
    whole = tomllib.load(file)
    project = whole["project"]
names = ("requires-python", "dependencies", "optional-dependencies")
tables = [whole["build-system"]["requires"], *(project.get(name) for name in names)]
print("# Made by scripts/lock.sh from dependencies", hashlib.sha256(json.dumps(tables).encode()).hexdigest()[:16])'
}

# Makes .venv with this project and the named set of dependencies ("run" or "dev") in it, unless it is there and up to
# date. The versions are those of requirements/; TUNFLOW_NEWEST=1 takes the newest that pyproject.toml allows.
need_venv() {
    local set=$1 newest=${TUNFLOW_NEWEST:-} lock=requirements/$1.txt python stamp
    command -v python3 >/dev/null || need_packages python3
    python=$(pick_python)
    [[ -n "$python" ]] || die "Python 3.11 or later with its venv module is needed"
    [[ -n "$newest" || "$(head -n 1 "$lock")" == "$(lock_title)" ]] ||
        die "$lock was not made for the dependencies in pyproject.toml: run scripts/lock.sh and commit what it writes"
    stamp="$("$python" -c 'import sys; print(sys.executable, sys.version)') $(sha256sum pyproject.toml requirements/*.txt) $newest $PWD"
    if [[ -x .venv/bin/tunflow ]] && .venv/bin/python -c '' 2>/dev/null &&
        { [[ "$(cat ".venv/stamp-$set" 2>/dev/null)" == "$stamp" ]] ||
            [[ "$(cat .venv/stamp-dev 2>/dev/null)" == "$stamp" ]]; }; then
        return 0
    fi
    "$python" -c 'import ensurepip, venv' 2>/dev/null || need_packages python3-venv
    say "making .venv"
    "$python" -m venv --clear .venv
    if [[ -n "$newest" ]]; then
        install --upgrade --editable ".[dev]"
    else
        install --require-hashes --requirement "$lock"
        install --no-deps --no-build-isolation --editable .
    fi
    printf '%s\n' "$stamp" >".venv/stamp-$set"
}

install() { .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
