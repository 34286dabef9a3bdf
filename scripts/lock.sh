#!/usr/bin/env bash
# Writes requirements/run.txt and requirements/dev.txt: the exact versions, with hashes, that ./demo and ./test install.
# Run it after every change of the dependencies in pyproject.toml, and commit what it wrote. Versions stay as they are
# where the ranges allow; `scripts/lock.sh --upgrade` takes the newest. It also resolves a merge conflict in its files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
source scripts/setup.sh

python=$(pick_python)
[[ -n "$python" ]] || die "Python 3.11 or later with its venv module is needed"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv

# The build tool too, and what it wants for an editable install: the project itself is installed without a build
# environment of its own, which nothing would lock.
"$python" -c 'import tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["build-system"]["requires"], "editables", sep="\n")' >"$work/build.in"
mkdir -p requirements
for set in run dev; do
    # In a merge that stopped, the file has conflicts in it: the side that is merged into counts.
    git show ":2:requirements/$set.txt" >"$work/$set.txt" 2>/dev/null || cat "requirements/$set.txt" >"$work/$set.txt"
    extra=() constraints=()
    if [[ $set == dev ]]; then
        extra=(--extra dev) constraints=(--constraints "$work/run.txt")
    fi
    # One file for every Python from the oldest that is supported, and for every system.
    UV_NATIVE_TLS=true "$work/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate "${extra[@]}" "${constraints[@]}" "$@" -o "$work/$set.txt" pyproject.toml "$work/build.in"
    {
        printf '%s\n' "$(lock_title)"
        cat "$work/$set.txt"
    } >"requirements/$set.txt"
done
