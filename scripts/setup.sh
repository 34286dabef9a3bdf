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
    local set=$1 newest=${TUNFLOW_NEWEST:-} python stamp
    pick_locked_python "$set"
    stamp="$("$python" -c 'import sys; print(sys.executable, sys.version)') $(sha256sum pyproject.toml requirements/*.txt) $newest $PWD"
    if [[ -x .venv/bin/tunflow ]] && .venv/bin/python -c '' 2>/dev/null &&
        { [[ "$(cat ".venv/stamp-$set" 2>/dev/null)" == "$stamp" ]] ||
            [[ "$(cat .venv/stamp-dev 2>/dev/null)" == "$stamp" ]]; }; then
        return 0
    fi
    say "making .venv"
    make_venv .venv
    if [[ -n "$newest" ]]; then
        install .venv --upgrade --editable ".[dev]"
    else
        install .venv --require-hashes --requirement "requirements/$set.txt"
        install .venv --no-deps --no-build-isolation --editable .
    fi
    printf '%s\n' "$stamp" >".venv/stamp-$set"
}

# Makes .venv-compiled with this project compiled (TUNFLOW_COMPILE=1) and all dependencies in it, unless it is there and
# of this source.
need_compiled_venv() {
    local python libraries code
    need_packages gcc python3-dev
    pick_locked_python dev
    libraries="$("$python" -c 'import sys; print(sys.executable, sys.version)') $(sha256sum requirements/dev.txt) $PWD"
    code="$libraries $(find src pyproject.toml hatch_build.py -type f -not -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | sha256sum)"
    [[ "$(cat .venv-compiled/stamp-code 2>/dev/null)" != "$code" ]] || return 0
    if [[ "$(cat .venv-compiled/stamp-libraries 2>/dev/null)" != "$libraries" ]]; then
        say "making .venv-compiled"
        make_venv .venv-compiled
        install .venv-compiled --require-hashes --requirement requirements/dev.txt
        printf '%s\n' "$libraries" >.venv-compiled/stamp-libraries
    fi
    say "compiling: this takes some minutes"
    TUNFLOW_COMPILE=1 install .venv-compiled --no-deps --no-build-isolation --force-reinstall .
    printf '%s\n' "$code" >.venv-compiled/stamp-code
}

# Sets `python` for what locks the named set of dependencies.
pick_locked_python() {
    local lock=requirements/$1.txt
    command -v python3 >/dev/null || need_packages python3
    python=$(pick_python)
    [[ -n "$python" ]] || die "Python 3.11 or later with its venv module is needed"
    [[ -n "${TUNFLOW_NEWEST:-}" || "$(head -n 1 "$lock")" == "$(lock_title)" ]] ||
        die "$lock was not made for the dependencies in pyproject.toml: run scripts/lock.sh and commit what it writes"
}

# Compiles the sources to bytecode, as pip does for what it installs. Without it every start of an editable tunflow would
# compile 200 files where nothing may be written beside them: another user's, or PYTHONDONTWRITEBYTECODE.
# Who may not write there goes without.
need_bytecode() { [[ ! -w src ]] || .venv/bin/python -m compileall -q "$@"; }

make_venv() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null || need_packages python3-venv
    "$python" -m venv --clear "$1"
}

install() { "$1/bin/python" -m pip install --quiet --disable-pip-version-check "${@:2}"; }
