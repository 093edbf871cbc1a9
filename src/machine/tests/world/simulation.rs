//! The machine in worlds made from seeds: first with faults, then without, until nothing is left;
//! then the end.
//!
//! `THREADVISOR_SEED=n` lives through one world again, `THREADVISOR_SEEDS=n` through so many. A
//! world that fails is reported as the smallest that still does: the families of faults, the
//! requests and the steps that it takes.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::coverage::Coverage;
use super::families::{Families, Family};
use super::recipe::{Recipe, Wish};
use super::{Journal, Life, World};
use crate::machine::tests::number;
use crate::machine::tests::shrinking::{fewest, survives, Failure};
use crate::vocabulary::policy::AdmissionPolicy;

/// Worlds of an ordinary run.
const SEEDS: u64 = 1500;
const SEEDS_WITH_GROUPS: u64 = 300;
/// A report shows so many lines of what happened last.
const MAX_LINES: usize = 200;

#[test]
fn every_world_drains_and_keeps_the_rules() {
    let seeds = match number("THREADVISOR_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("THREADVISOR_SEEDS").unwrap_or(SEEDS),
    };
    live_through(seeds, Recipe::new, Coverage::rarest);
}

/// The same with groups.
#[test]
fn every_world_with_groups_drains_and_keeps_their_rules() {
    let seeds = match number("THREADVISOR_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("THREADVISOR_SEEDS").unwrap_or(SEEDS_WITH_GROUPS),
    };
    live_through(seeds, Recipe::with_groups, Coverage::rarest_of_groups);
}

fn live_through(
    seeds: RangeInclusive<u64>,
    recipe: fn(u64) -> Recipe,
    rarest: fn(&Coverage) -> Vec<(u64, &'static str, &'static str)>,
) {
    let (mut n_steps, mut most, mut n_worlds) = (0, 0, 0);
    let mut coverage = Coverage::default();
    let mut failures = BTreeMap::<String, Vec<u64>>::new();
    for seed in seeds {
        match survives(|| World::new(recipe(seed)).live()) {
            Ok(Life { steps, coverage: met }) => {
                (n_steps, most) = (n_steps + steps, most.max(steps));
                coverage.add(&met);
            }
            Err(failure) => failures.entry(failure.at).or_default().push(seed),
        }
        n_worlds += 1;
    }
    let rarest = rarest(&coverage);
    let least = &rarest[..rarest.len().min(12)];
    println!("{n_worlds} worlds, {n_steps} steps, {most} at most; the rarest: {least:?}");
    for (at, seeds) in &failures {
        println!("{at} failed in {} worlds, the first of seed {}", seeds.len(), seeds[0]);
    }
    if let Some(seed) = failures.values().map(|seeds| seeds[0]).min() {
        let (failure, report) = explain(&recipe(seed));
        println!("{report}");
        panic!(
            "{}: {}; again with THREADVISOR_SEED={seed} cargo test --lib simulation",
            failure.at, failure.why
        );
    }
    if n_worlds >= SEEDS_WITH_GROUPS {
        let missed: Vec<_> = rarest.iter().take_while(|(n, ..)| *n == 0).collect();
        assert!(missed.is_empty(), "never met: {missed:#?}");
    }
}

/// The least that fails in the same place, and what happened there.
fn explain(recipe: &Recipe) -> (Failure, String) {
    let fails = |recipe: &Recipe| survives(|| World::new(recipe.clone()).live()).err();
    let failure = fails(recipe).expect("a world that fails once fails again");
    let recipe = least(recipe, |less| fails(less).is_some_and(|found| found.at == failure.at));
    let journal = Journal::default();
    let failure = survives(|| World::new(recipe.clone()).with_journal(&journal).live());
    let failure = failure.err().expect("the least that fails");
    let families = recipe.families.list();
    let lines = recipe.script.iter().map(|request| format!("{request:?}\n"));
    let asked: String = lines.collect();
    let journal = journal.borrow();
    let n_lines = journal.lines().count();
    let last = journal.lines().skip(n_lines.saturating_sub(MAX_LINES));
    let happened: String = last.flat_map(|line| [line, "\n"]).collect();
    let report = format!("families: {families:?}\nrequests:\n{asked}steps:\n{happened}");
    (failure, report)
}

/// The families first, each of which has its part in what is asked for; then the requests; then the
/// families that only the threads have need of.
fn least(recipe: &Recipe, fails: impl Fn(&Recipe) -> bool) -> Recipe {
    let seed = recipe.seed;
    let families = fewest(recipe.families.list(), |families| {
        fails(&Recipe::with(seed, Families::of(families)))
    });
    let recipe = Recipe::with(seed, Families::of(&families));
    let script = fewest(recipe.script.clone(), |script| {
        fails(&Recipe { script: script.into(), ..recipe.clone() })
    });
    let families = fewest(families, |families| {
        let (families, script) = (Families::of(families), script.clone());
        fails(&Recipe { seed, families, script })
    });
    Recipe { seed, families: Families::of(&families), script }
}

/// A failure that takes a hook, a submission that replaces, and a release.
#[test]
fn the_least_that_fails_is_what_it_takes() {
    let hook = |wish: &Wish| matches!(wish, Wish::Hook(_));
    let replaces = |wish: &Wish| match wish {
        Wish::Submit(draft) => draft.policy == AdmissionPolicy::Replace,
        _ => false,
    };
    let fails = |recipe: &Recipe| {
        let wishes = recipe.script.iter().map(|request| &request.wish);
        let late =
            wishes.clone().position(hook).is_some_and(|at| wishes.clone().skip(at).any(replaces));
        late && recipe.families.have(Family::Releases)
    };
    let recipe = (1..1000).map(Recipe::new).find(fails).expect("a seed with all of that");
    let less = least(&recipe, fails);
    assert_eq!((less.script.len(), less.families.list()), (2, vec![Family::Releases]));
    assert!(recipe.script.len() > 20 && recipe.families.list().len() > 2);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 1..=20 {
        let live = || {
            let journal = Journal::default();
            World::new(Recipe::new(seed)).with_journal(&journal).live();
            Rc::unwrap_or_clone(journal).into_inner()
        };
        let (first, again) = (live(), live());
        assert!(first.len() > 1000, "{first}");
        assert!(again == first, "seed {seed} gives two different worlds");
    }
}
