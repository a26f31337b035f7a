#!/usr/bin/env bash
# Makes a machine ready to build and test: system packages, then the virtual environment from requirements.lock.
# `prepare.sh fuzz` adds the C++ compiler that libFuzzer is built with, `prepare.sh test` a second PKCS#11 implementation,
# `prepare.sh kryoptic` what a third one is built with.
# Every failure is one line that says what is missing and how to get it, and exit 1. Safe to repeat; quick when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "prepare: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

apt_refreshed=""
apt_install() {  # PACKAGE... ; what this machine lacks, when we may install it
    if ! have apt-get || [ "$(id -u)" != 0 ]; then
        fail "missing: $*; install with: sudo apt-get install $*"
    fi
    if [ -z "$apt_refreshed" ]; then
        apt-get -qq update >/dev/null || fail "apt-get update failed; check the machine's package sources"
        apt_refreshed=yes
    fi
    echo "prepare: installing $*"
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "$@" >/dev/null 2>&1 \
        || fail "apt-get install $* failed; run it by hand to see why"
}

softhsm_module() {
    local at
    for at in /usr/lib/softhsm /usr/lib/*/softhsm /usr/lib64/softhsm /usr/local/lib/softhsm /usr/lib64/pkcs11; do
        [ -e "$at/libsofthsm2.so" ] && return 0
    done
    return 1
}

check_python() {
    have python3 || apt_install python3 python3-venv
    local version
    version=$(python3 -c 'import platform; print(platform.python_version())')
    at_least 3.11 "$version" || fail "Python 3.11 or newer is needed, found $version; Debian 12 or newer has it"
    python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
}

check_rust() {
    if ! have cargo || ! have rustc; then
        local candidate=""
        have apt-cache && candidate=$(apt-cache policy rustc 2>/dev/null | sed -n 's/ *Candidate: \([0-9.]*\).*/\1/p')
        if [ -n "$candidate" ] && at_least 1.85 "$candidate"; then
            apt_install cargo rustc
        else
            fail "Rust 1.85 or newer is needed and not installed; get it with rustup (https://rustup.rs)"
        fi
    fi
    local version
    version=$(rustc --version | cut -d' ' -f2)
    at_least 1.85 "$version" || fail "Rust 1.85 or newer is needed, found $version; run: rustup update stable"
}

second_token() {  # not every distribution has it; the tests that want it say so
    [ -x /usr/sbin/pkcsslotd ] && return 0
    have apt-cache && [ "$(id -u)" = 0 ] && apt-cache policy opencryptoki | grep -q 'Candidate: [0-9]' || return 0
    apt_install opencryptoki
}

kryoptic_tools() {  # its bindings to OpenSSL and SQLite are generated
    ls /usr/lib/llvm-*/lib/libclang*.so* >/dev/null 2>&1 || apt_install libclang-dev
    pkg-config --exists openssl sqlite3 2>/dev/null || apt_install pkg-config libssl-dev libsqlite3-dev
}

make_environment() {
    local stamp=.venv/requirements.stamp
    cmp -s requirements.lock "$stamp" && return 0
    echo "prepare: creating .venv from requirements.lock"
    python3 -m venv --clear .venv
    # --no-deps: the lock is complete, and an older pip looks past its pin of a package asked for with an extra
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock \
        || fail "the locked packages could not be installed; see the message above"
    cp requirements.lock "$stamp"
}

check_python
check_rust
have cc || apt_install gcc libc6-dev
[ "${1:-}" != fuzz ] || have c++ || apt_install g++
have xmlsec1 || apt_install xmlsec1
softhsm_module || apt_install softhsm2
# For the tests of what several appliances share; where it cannot be installed they are skipped, and say so.
have valkey-server || have redis-server || if have apt-get && [ "$(id -u)" = 0 ]; then apt_install redis-server; fi
[ "${1:-}" != test ] || second_token
[ "${1:-}" != kryoptic ] || kryoptic_tools
make_environment
