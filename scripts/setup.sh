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

# Makes .venv with this project and the named extra ("" for none) in it, unless it is there and up to date.
need_venv() {
    local extra=$1 python stamp
    command -v python3 >/dev/null || need_packages python3
    python=$(pick_python)
    [[ -n "$python" ]] || die "Python 3.11 or later with its venv module is needed"
    stamp="$("$python" -c 'import sys; print(sys.executable, sys.version)') $(sha256sum pyproject.toml) $PWD"
    if [[ -x .venv/bin/tunflow ]] && .venv/bin/python -c '' 2>/dev/null &&
        { [[ "$(cat ".venv/stamp-$extra" 2>/dev/null)" == "$stamp" ]] ||
            [[ "$(cat .venv/stamp-dev 2>/dev/null)" == "$stamp" ]]; }; then
        return 0
    fi
    "$python" -c 'import ensurepip, venv' 2>/dev/null || need_packages python3-venv
    say "making .venv"
    "$python" -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${extra:+[$extra]}"
    printf '%s\n' "$stamp" >".venv/stamp-$extra"
}
