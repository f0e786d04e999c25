# Shared by the programs in this folder: where things are, how they speak, how they measure.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# A toolchain installed by rustup is found even when the login shell has not been restarted since.
[[ -d ${CARGO_HOME:-$HOME/.cargo}/bin ]] && PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
# Everything is built with the flags of .cargo/config.toml; others would rebuild the world.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS

data_dir=${MANPASIK_DATA_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/manpasik}
binary=target/release/manpasik

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
fail() {
    warn "error: $*"
    exit 1
}

# The time in milliseconds, and a step's duration since then in seconds.
now_ms() {
    local now=${EPOCHREALTIME/[.,]/}
    printf '%s' "${now%???}"
}
seconds_since() {
    local ms=$(($(now_ms) - $1))
    printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

# Runs one named step, remembers how long it took, stops the program when it fails.
times=()
step() {
    local name=$1 began
    shift
    began=$(now_ms)
    say "== $name"
    "$@" || fail "$name failed (exit $?)"
    times+=("$name=$(seconds_since "$began")")
}
print_times() {
    local entry
    say "Where the time went"
    for entry in "${times[@]}"; do printf '  %-28s %8s s\n' "${entry%=*}" "${entry##*=}"; done
}

sha256_of() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1
}
