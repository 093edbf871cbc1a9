#!/usr/bin/env bash
# The smallest useful program, stripped: its size with each set of features and both ways to panic, the time of its
# first build, and how many packages it draws in. `bash benches/footprint/size.sh [FEATURES PANIC]`
set -euo pipefail
crate=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
mkdir "$work/src"
cat >"$work/src/main.rs" <<'RUST'
use std::time::Duration;
use threadvisor::prelude::*;

fn main() -> Result<RunReport, Box<dyn std::error::Error>> {
    let supervisor = Supervisor::builder();
    #[cfg(feature = "signals")]
    let supervisor = supervisor.shutdown_on_signals();
    let supervisor = supervisor.on_event(|event| eprintln!("{event}")).start()?;
    let probe = TaskSpec::new("probe", |_| {
        std::fs::metadata("/")?;
        Ok(())
    });
    #[cfg(feature = "process")]
    supervisor.handle().add(TaskSpec::process("helper", Program::new("true")))?;
    let report = supervisor.run([probe.repeat_after(Duration::from_secs(1)).timeout(Duration::from_secs(5))])?;
    Ok(report)
}
RUST
# Without the crate: what any Rust program with a thread costs.
mkdir "$work/src/bin"
cat >"$work/src/bin/nothing.rs" <<'RUST'
fn main() {
    std::thread::spawn(|| eprintln!("{:?}", std::fs::metadata("/"))).join().unwrap();
}
RUST
cp "$crate/Cargo.lock" "$work/Cargo.lock" # the versions that the crate is tested with

printf '| features | panic | program | without the crate | packages | cold build |\n|---|---|---|---|---|---|\n'
for features in '' signals poll signals,poll signals,process; do
    for panic in unwind abort; do
        [ $# -eq 0 ] || [ "$*" = "$features $panic" ] || continue
        list=$(sed 's/[a-z]\+/"&"/g' <<<"$features")
        own=$(grep -o 'signals\|process' <<<"$features" | sed 's/.*/"&"/' | paste -sd, || true)
        cat >"$work/Cargo.toml" <<TOML
[package]
name = "minimal"
version = "0.0.0"
edition = "2021"
default-run = "minimal"
[features]
default = [$own]
signals = []
process = []
[dependencies]
threadvisor = { path = "$crate", default-features = false, features = [$list] }
[profile.release]
opt-level = "z"
lto = "fat"
codegen-units = 1
panic = "$panic"
strip = true
[workspace]
TOML
        rm -rf "$work/target"
        cargo fetch --quiet --manifest-path "$work/Cargo.toml"
        began=$(date +%s%N)
        cargo build --quiet --release --offline --manifest-path "$work/Cargo.toml" --target-dir "$work/target" --bin minimal
        spent=$((($(date +%s%N) - began) / 1000000))
        cargo build --quiet --release --offline --manifest-path "$work/Cargo.toml" --target-dir "$work/target" --bin nothing
        packages=$(cargo tree --offline --manifest-path "$work/Cargo.toml" -e normal --prefix none |
            awk '$1 != "minimal" && $1 != "threadvisor" { print $1, $2 }' | sort -u | grep -c .)
        size=$(stat -c %s "$work/target/release/minimal")
        nothing=$(stat -c %s "$work/target/release/nothing")
        printf '| %s | %s | %d KB | %d KB | %d | %d.%d s |\n' "${features:-none}" "$panic" \
            $((size / 1000)) $((nothing / 1000)) "$packages" $((spent / 1000)) $((spent % 1000 / 100))
        [ "$features $panic" = 'signals abort' ] || continue
        # As benches/harness/budget.rs does it.
        printf 'budget | minimal program, beyond any program with a thread | +%d KB | ≤ +380 KB | ≤ +250 KB |\n' \
            $(((size - nothing) / 1000))
        printf 'budget | packages in the dependency tree, default features | %d | ≤ 19 | ≤ 19 |\n' "$packages"
    done
done
