//! What starts a program of this target where it is not the machine's own.
#![allow(dead_code, reason = "which tests there are depends on the system and the features")]

use std::env;

/// The words before the program's own: those of an emulator, or none.
pub(crate) fn runner() -> Vec<String> {
    let arch = match env::consts::ARCH {
        "x86" => "I",
        other => other,
    };
    let prefix = format!("CARGO_TARGET_{}", arch.to_uppercase());
    let runs =
        |(name, _): &(String, String)| name.starts_with(&prefix) && name.ends_with("_RUNNER");
    let runner = env::vars().find(runs).map(|(_, words)| words).unwrap_or_default();
    runner.split_whitespace().map(str::to_owned).collect()
}
