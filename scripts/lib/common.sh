# shellcheck shell=bash
# What every script starts with: where things are, how to speak, and whether Rust and C are there.
# To be sourced. Nothing here needs root or writes outside target/.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Says what happens next, in one line, on stderr.
say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# Ends the script with a reason and a remedy.
fail() {
    printf '%s: error: %s\n' "${0##*/}" "$1" >&2
    shift
    if (($# > 0)); then printf '  %s\n' "$@" >&2; fi
    exit 1
}

# Fails unless there is a Rust that can build this, and a C compiler to link with.
need_compilers() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    type cargo rustc >/dev/null 2>&1 ||
        fail "Rust is missing (cargo and rustc are not on PATH)" \
            "install Rust $wanted or newer: https://rustup.rs"
    found=$(rustc --version) || fail "\`rustc --version\` fails" "repair the Rust installation: https://rustup.rs"
    found=${found#rustc }
    found=${found%% *}
    [[ $(printf '%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1) == "$wanted" ]] ||
        fail "Rust $found is too old; this needs $wanted or newer" "update it: rustup update stable"

    local remedy="install one, as root: apt-get install gcc libc6-dev (Debian), dnf install gcc (Fedora)"
    command -v cc >/dev/null || fail "a C compiler is missing (cc is not on PATH)" "$remedy"
    cc -E -include stdlib.h -x c /dev/null >/dev/null 2>&1 ||
        fail "the C compiler $(command -v cc) finds no C headers (stdlib.h)" "$remedy"
}
