//! The order of events, as `rules.md` gives it: read from the page, so that page and tests cannot
//! differ. It knows nothing but the page. The worlds of the simulation parse their notices by it,
//! and `tests/it/grammar.rs` the events of a supervisor on threads.
//!
//! A new event needs its label in one line of the page, and nothing here.

use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = include_str!("../../guide/rules.md");

/// In the page: every event that the strand does not name.
const OTHER: &str = "other";

/// An event as far as the grammar looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) word: String,
    pub(crate) task: Option<u64>,
    pub(crate) attempt: Option<u64>,
    /// The group that the event is about, not that of the task.
    pub(crate) group: Option<u64>,
}

/// The blocks of the page: `task`, `attempt`, `group` and `supervisor`, by their first lines.
pub(crate) struct Grammar(BTreeMap<String, Block>);

type Rules = BTreeMap<String, Rule>;

/// Its lines that no other line uses.
struct Block(Vec<Strand>);

/// A line that says how the events that it leads to are ordered, as a graph of what may follow.
struct Strand {
    name: String,
    words: BTreeSet<String>,
    takes_others: bool,
    /// The first of them is the end.
    nodes: Vec<Node>,
    start: usize,
}

enum Node {
    Word(String, usize),
    Fork(Vec<usize>),
}

enum Rule {
    /// A label, the name of another line, or [`OTHER`].
    Word(String),
    Seq(Vec<Self>),
    Either(Vec<Self>),
    Maybe(Box<Self>),
    Many(Box<Self>),
}

impl Grammar {
    pub(crate) fn of_the_page() -> Self {
        let (_, section) = PAGE.split_once("\n# Events\n").expect("a section");
        let (section, _) = section.split_once("\n# ").expect("another section");
        let blocks = section.split("```text\n").skip(1).map(|rest| {
            let (text, _) = rest.split_once("```").expect("a closed block");
            let (name, _) = text.split_once(' ').expect("a first line");
            (name.to_owned(), Block::read(text))
        });
        Self(blocks.collect())
    }

    /// Every label that a line of the page names.
    pub(crate) fn labels(&self) -> BTreeSet<&str> {
        let words = self.0.values().flat_map(|block| &block.0).flat_map(|it| &it.words);
        words.map(|word| label(word)).collect()
    }

    /// What is wrong with the events of a whole supervisor, in the order in which they came.
    pub(crate) fn fault(&self, events: &[Said]) -> Option<String> {
        let labels = self.labels();
        if let Some(new) = events.iter().find(|it| !labels.contains(label(&it.word))) {
            let word = &new.word;
            return Some(format!(
                "no line of the grammar in src/guide/rules.md, under Events, names {word}: add it \
                 to the line where it belongs, and the tests know it"
            ));
        }
        let mut groups = BTreeMap::<(&str, u64, u64), Vec<&str>>::new();
        for Said { word, task, attempt, group } in events {
            groups.entry(("supervisor", 0, 0)).or_default().push(word);
            if let Some(group) = *group {
                groups.entry(("group", group, 0)).or_default().push(word);
            }
            if let Some(task) = *task {
                groups.entry(("task", task, 0)).or_default().push(word);
                if let Some(attempt) = *attempt {
                    groups.entry(("attempt", task, attempt)).or_default().push(word);
                }
            }
        }
        groups.iter().find_map(|((block, task, attempt), words)| {
            let fault = self.0[*block].fault(words)?;
            Some(format!("{block} {task}/{attempt}: {fault}"))
        })
    }
}

fn label(word: &str) -> &str {
    word.split(':').next().unwrap_or(word)
}

impl Block {
    fn read(text: &str) -> Self {
        let spaced = "()[]{}|="
            .chars()
            .fold(text.to_owned(), |text, sign| text.replace(sign, &format!(" {sign} ")));
        let signs: Vec<_> = spaced.split_whitespace().collect();
        let mut reader = Reader { signs: &signs };
        let (mut rules, mut names) = (BTreeMap::new(), Vec::new());
        while let [name, "=", rest @ ..] = reader.signs {
            reader.signs = rest;
            names.push((*name).to_owned());
            assert!(rules.insert((*name).to_owned(), reader.either()).is_none(), "{name} twice");
        }
        assert!(reader.signs.is_empty(), "unread: {:?}", reader.signs);

        let mut used = BTreeSet::new();
        for rule in rules.values() {
            rule.words(&mut used);
        }
        let roots = names.iter().filter(|name| !used.contains(name.as_str()));
        Self(roots.map(|name| Strand::of(name, &rules)).collect())
    }

    fn fault(&self, said: &[&str]) -> Option<String> {
        self.0.iter().find_map(|strand| strand.fault(said))
    }
}

impl Strand {
    fn of(name: &str, rules: &Rules) -> Self {
        let (mut words, mut names) = (BTreeSet::new(), vec![name]);
        while let Some(name) = names.pop() {
            let mut used = BTreeSet::new();
            rules[name].words(&mut used);
            names.extend(used.iter().filter(|word| rules.contains_key(**word)));
            words.extend(used.into_iter().map(str::to_owned));
        }
        words.retain(|word| !rules.contains_key(word));
        let takes_others = words.remove(OTHER);
        let mut strand = Self {
            name: name.to_owned(),
            words,
            takes_others,
            nodes: vec![Node::Fork(Vec::new())],
            start: 0,
        };
        strand.start = strand.build(&rules[name], rules, 0);
        strand
    }

    /// Adds the nodes of a rule after which `next` follows. Returns where they begin.
    fn build(&mut self, rule: &Rule, rules: &Rules, next: usize) -> usize {
        let node = match rule {
            Rule::Word(word) => match rules.get(word) {
                Some(rule) => return self.build(rule, rules, next),
                None => Node::Word(word.clone(), next),
            },
            Rule::Seq(parts) => {
                return parts.iter().rev().fold(next, |next, part| self.build(part, rules, next));
            }
            Rule::Either(ways) => {
                Node::Fork(ways.iter().map(|way| self.build(way, rules, next)).collect())
            }
            Rule::Maybe(rule) => Node::Fork(vec![self.build(rule, rules, next), next]),
            Rule::Many(rule) => {
                let fork = self.nodes.len();
                self.nodes.push(Node::Fork(vec![next]));
                let again = self.build(rule, rules, fork);
                self.nodes[fork] = Node::Fork(vec![again, next]);
                return fork;
            }
        };
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Follows all ways to read the events at once.
    fn fault(&self, said: &[&str]) -> Option<String> {
        let named = |word: &&str| self.takes_others || self.words.contains(*word);
        let seen: Vec<_> = said.iter().copied().filter(named).collect();
        let mut places = vec![false; self.nodes.len()];
        self.reach(self.start, &mut places);
        for (at, word) in seen.iter().enumerate() {
            let mut next = vec![false; self.nodes.len()];
            for node in self.at(&places) {
                match node {
                    Node::Word(wanted, after) if self.fits(wanted, word) => {
                        self.reach(*after, &mut next);
                    }
                    Node::Word(..) | Node::Fork(_) => {}
                }
            }
            if !next.contains(&true) {
                return Some(self.explain(&places, &seen[..at], word));
            }
            places = next;
        }
        // Of what there is none of, nothing is missing.
        let complete = seen.is_empty() || places[0];
        (!complete).then(|| self.explain(&places, &seen, "and no more"))
    }

    fn fits(&self, wanted: &str, seen: &str) -> bool {
        if wanted == OTHER {
            !self.words.contains(seen)
        } else {
            wanted == seen
        }
    }

    fn reach(&self, at: usize, places: &mut [bool]) {
        if !std::mem::replace(&mut places[at], true) {
            if let Node::Fork(ways) = &self.nodes[at] {
                for way in ways {
                    self.reach(*way, places);
                }
            }
        }
    }

    /// The nodes at these places.
    fn at<'a>(&'a self, places: &'a [bool]) -> impl Iterator<Item = &'a Node> {
        self.nodes.iter().zip(places).filter(|(_, is_there)| **is_there).map(|(node, _)| node)
    }

    fn explain(&self, places: &[bool], before: &[&str], found: &str) -> String {
        let wanted = self.at(places).filter_map(|node| match node {
            Node::Word(wanted, _) => Some(wanted.as_str()),
            Node::Fork(_) => None,
        });
        let wanted = wanted.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" | ");
        let (name, before) = (&self.name, before.join(" "));
        format!("{before} ▶ {found}, but the line `{name}` of rules.md says: {wanted}")
    }
}

impl Rule {
    fn words<'a>(&'a self, words: &mut BTreeSet<&'a str>) {
        match self {
            Self::Word(word) => _ = words.insert(word),
            Self::Seq(rules) | Self::Either(rules) => {
                for rule in rules {
                    rule.words(words);
                }
            }
            Self::Maybe(rule) | Self::Many(rule) => rule.words(words),
        }
    }
}

struct Reader<'a> {
    signs: &'a [&'a str],
}

impl Reader<'_> {
    fn either(&mut self) -> Rule {
        let mut ways = vec![self.seq()];
        while let ["|", rest @ ..] = self.signs {
            self.signs = rest;
            ways.push(self.seq());
        }
        Rule::Either(ways)
    }

    fn seq(&mut self) -> Rule {
        let mut parts = Vec::new();
        loop {
            match self.signs {
                [] | ["|" | ")" | "]" | "}", ..] | [_, "=", ..] => return Rule::Seq(parts),
                ["(", ..] => parts.push(self.inside()),
                ["[", ..] => parts.push(Rule::Maybe(Box::new(self.inside()))),
                ["{", ..] => parts.push(Rule::Many(Box::new(self.inside()))),
                [word, rest @ ..] => {
                    self.signs = rest;
                    parts.push(Rule::Word((*word).to_owned()));
                }
            }
        }
    }

    fn inside(&mut self) -> Rule {
        self.signs = &self.signs[1..];
        let rule = self.either();
        self.signs = &self.signs[1..];
        rule
    }
}
