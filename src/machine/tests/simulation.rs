//! The machine in worlds made from seeds: first with faults, then without, until nothing is left;
//! then the end.
//!
//! `THREADVISOR_SEED=n` lives through one world again, `THREADVISOR_SEEDS=n` through so many.

use std::env;
use std::panic::{catch_unwind, resume_unwind};

use super::checkers::Sights;
use super::world::World;

/// Worlds of an ordinary run.
const SEEDS: u64 = 2000;

/// What has to be met in that many worlds, or they prove little.
const RARE: [&str; 11] = [
    "a deadline was moved",
    "a stop came before the news of a moved deadline",
    "held",
    "held at the cap",
    "refused because too much is stuck",
    "released",
    "resumed",
    "returned after its release",
    "returned beside a later attempt",
    "silent",
    "unresponsive",
];

#[test]
fn every_world_drains_and_keeps_the_rules() {
    let seeds = match number("THREADVISOR_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("THREADVISOR_SEEDS").unwrap_or(SEEDS),
    };
    let (mut n_steps, mut n_worlds) = (0, 0);
    let mut sights = Sights::new();
    for seed in seeds {
        match catch_unwind(|| World::new(seed).live()) {
            Ok(life) => {
                n_steps += life.steps;
                life.sights.iter().for_each(|(what, n)| *sights.entry(what).or_default() += n);
            }
            Err(panic) => {
                eprintln!("SEED={seed}: replay with THREADVISOR_SEED={seed} cargo test simulation");
                resume_unwind(panic);
            }
        }
        n_worlds += 1;
    }
    println!("{n_worlds} worlds, {n_steps} steps, {sights:#?}");
    if n_worlds >= SEEDS {
        let missed: Vec<_> = RARE.iter().filter(|what| !sights.contains_key(*what)).collect();
        assert!(missed.is_empty(), "never met: {missed:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_orders() {
    for seed in 1..=20 {
        let life = World::new(seed).with_journal().live();
        let again = World::new(seed).with_journal().live();
        assert!(life.steps > 0 && !life.orders.is_empty());
        assert!(again == life, "seed {seed} gives two different worlds");
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
}
