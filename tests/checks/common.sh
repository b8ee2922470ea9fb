# What the checks share; each of them is one command, run from anywhere, and leaves nothing behind.
# PYTHON is an interpreter with NumPy and the test requirements, default: python3 on the PATH.
set -eu -o pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PYTHON=${PYTHON:-python3}
CHECKS=$ROOT/tests/checks
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# Where the CPU has no AVX-512, that unit is made of AVX2 instructions.
if ! grep -qw avx512dq /proc/cpuinfo && grep -qw avx2 /proc/cpuinfo; then
    export SELFATTN_EMULATE=avx512
fi

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

needs() { # needs COMMAND...: tools that are not Python packages
    local tool
    for tool; do
        command -v "$tool" >/dev/null || fail "$tool is not installed (apt install it; .ci/tools has the ones that .ci/run needs)"
    done
}

# A folder with the sources, so that nothing is left in the tree.
copy_tree() {
    mkdir -p "$work/tree"
    tar -C "$ROOT" --exclude=./.git --exclude=./build --exclude='*.egg-info' -cf - . |
        tar -xf - -C "$work/tree"
}

# build DIR [NAME=VALUE...]: the package for PYTHONPATH=DIR, made with those variables
build() {
    local target=$1
    shift
    [ -d "$work/tree" ] || copy_tree
    (cd "$work" && env "$@" "$PYTHON" -m pip install --quiet --no-deps --no-build-isolation \
        --target "$target" "$work/tree")
    rm -rf "$work/tree/build"
}

# native PROGRAM [VARIABLE=VALUE...]: a program of tests/native, at $work/native/PROGRAM
native() {
    make --silent -j"$(nproc)" -C "$ROOT/tests/native" O="$work/native" \
        EMULATE="${SELFATTN_EMULATE:-}" "$@"
}

# must_fail PATTERN COMMAND...: the planted bug: the command fails and says so
must_fail() {
    local pattern=$1 log=$work/planted.log
    shift
    if "$@" >"$log" 2>&1 || ! grep -qE "$pattern" "$log"; then
        tail -20 "$log"
        fail "a planted bug was not noticed: $*"
    fi
    printf 'seen: %s\n' "$(grep -oE "$pattern" "$log" | head -1)"
}
