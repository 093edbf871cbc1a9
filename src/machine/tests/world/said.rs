//! What a world has said, to be parsed by the grammar of the page. A notice is read from its
//! `Debug` text, so that a new one needs nothing here.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use std::sync::OnceLock;

use crate::machine::tests::grammar::{Grammar, Said};
use crate::machine::Notice;

#[derive(Default)]
pub(super) struct Story {
    said: Vec<Said>,
    is_closed: bool,
    /// Tasks that came through a door that is closed. Only worlds have such.
    late: BTreeSet<Option<u64>>,
}

impl Story {
    pub(super) fn add(&mut self, notice: Notice) {
        let text = format!("{notice:?}");
        let number = |field: &str| {
            let (_, rest) = text.split_once(field)?;
            let digits = rest.trim_start_matches('#').split(|c: char| !c.is_ascii_digit());
            digits.take(1).find_map(|digits| digits.parse().ok())
        };
        let mut word = snake(&text);
        if let Notice::AttemptEnded { ending, .. } = notice {
            word = format!("attempt_{}", snake(&format!("{ending:?}")));
        }
        if let Notice::SlotTransition { terminating, .. } = notice {
            word = format!("{word}:{terminating}");
        }
        let (task, attempt) = (number(" id: "), number(" number: "));
        let said = Said { word, task, attempt, group: None };
        self.is_closed |= said.word == "shutdown_requested";
        if self.is_closed && said.word == "submitted" {
            self.late.insert(said.task);
        }
        if !self.late.contains(&said.task) {
            self.said.push(said);
        }
    }

    pub(super) fn finish(&self) {
        static GRAMMAR: OnceLock<Grammar> = OnceLock::new();
        let grammar = GRAMMAR.get_or_init(Grammar::of_the_page);
        if let Some(fault) = grammar.fault(&self.said) {
            panic!("{fault}");
        }
    }
}

/// The label of a variant.
fn snake(text: &str) -> String {
    let name = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let mut label = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !label.is_empty() {
            label.push('_');
        }
        label.extend(c.to_lowercase());
    }
    label
}
