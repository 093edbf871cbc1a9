//! The corpus once more, without a fuzzer: what it ever found stays found.

use std::fs;
use std::path::Path;

fn replay(target: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.sort();
    for path in files {
        // A panic says which file it was.
        println!("{}", path.display());
        run(&fs::read(&path).unwrap());
    }
    run(&[]);
}

#[test]
fn history() {
    replay("history", threadvisor_fuzz::history);
}

#[test]
fn settings() {
    replay("settings", threadvisor_fuzz::settings);
}

#[test]
fn supervisor() {
    replay("supervisor", threadvisor_fuzz::supervisor);
}

/// Bytes by chance live through far more than the corpus does, if not so wisely.
#[test]
fn histories_by_chance() {
    let mut seed = 1_u64;
    for _ in 0..3000 {
        let mut byte = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed.to_be_bytes()[0]
        };
        let bytes: Vec<_> = (0..200).map(|_| byte()).collect();
        threadvisor_fuzz::history(&bytes);
    }
}
