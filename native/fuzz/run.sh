#!/usr/bin/env bash
# Fuzzes the XML core with libFuzzer on stable Rust: run.sh SECONDS [TARGET...], one target after the other, each for so long.
# What libFuzzer grew is kept in target/fuzz/corpus and is where the next run starts; what it says is in target/fuzz/log.
# The target `differential` is none of libFuzzer's: it compares us with libxml2 and libxmlsec on generated documents (tests/differential.py).
# Exit 1 with the input in target/fuzz/findings and the command that repeats it, as soon as a target finds something.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=$1
shift
[ $# -gt 0 ] || set -- $(cd native/fuzz/src/bin && printf '%s\n' *.rs | sed 's/\.rs$//') differential

# What cargo-fuzz passes without a sanitizer; `passes` and `llvm-args` are stable. --target keeps the flags off build scripts.
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Cdebug-assertions -Coverflow-checks -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0"
export CARGO_TARGET_DIR=target/fuzz
cargo build --manifest-path native/fuzz/Cargo.toml --release --locked --quiet --bins --target "$host"

mkdir -p target/fuzz/log
for target in "$@"; do
    if [ "$target" = differential ]; then
        log=target/fuzz/log/$target
        echo "fuzz: $target for $seconds s"
        python -m tests.differential "$seconds" >"$log" 2>&1 || { grep -a '^AssertionError' -A 3 "$log" || tail -n 20 "$log"; exit 1; }
        grep -a '^differential: [0-9]' "$log"
        continue
    fi
    program=target/fuzz/$host/release/$target
    corpus=target/fuzz/corpus/$target
    findings=target/fuzz/findings/$target
    log=target/fuzz/log/$target
    mkdir -p "$corpus" "$findings"
    echo "fuzz: $target for $seconds s"
    if ! "$program" -max_total_time="$seconds" -max_len=8192 -timeout=5 -rss_limit_mb=1024 -dict=native/fuzz/xml.dict \
        -artifact_prefix="$findings/" -print_final_stats=1 "$corpus" "native/fuzz/seeds/$target" >"$log" 2>&1; then
        grep -aE 'panicked at|ERROR: libFuzzer' -A 1 "$log" || tail -n 20 "$log"
        echo "fuzz: $target found something; repeat it with: $program $(ls -t "$findings"/* | head -n 1)"
        exit 1
    fi
    echo "fuzz: $target: $(grep -aoE 'cov: [0-9]+|Done [0-9]+ runs' "$log" | tail -n 2 | paste -sd, -), nothing found"
done
