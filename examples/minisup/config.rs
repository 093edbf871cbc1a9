//! The file that says which programs run: read, checked, and sorted by `after`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{de::Error, Deserialize, Deserializer};
use threadvisor::{Program, ReadySign, Signal};

/// What one section says of a program.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    #[serde(skip)]
    pub(crate) name: String,
    command: Vec<String>,
    directory: Option<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    after: Vec<String>,
    #[serde(default, deserialize_with = "sign")]
    ready: Option<ReadySign>,
    #[serde(default)]
    pub(crate) restart: Restart,
    #[serde(default = "backoff", deserialize_with = "seconds")]
    pub(crate) backoff: Duration,
    #[serde(default)]
    stop: Stop,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Restart {
    #[default]
    Always,
    OnFailure,
    Never,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Stop {
    #[serde(deserialize_with = "signal")]
    signal: Signal,
    #[serde(deserialize_with = "seconds")]
    time: Duration,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: Signal::TERM, time: Duration::from_secs(5) }
    }
}

fn backoff() -> Duration {
    Duration::from_millis(100)
}

fn sign<'a, D: Deserializer<'a>>(value: D) -> Result<Option<ReadySign>, D::Error> {
    let text = String::deserialize(value)?;
    let sign = match text.split_once(' ').unwrap_or((&*text, "")) {
        ("line", part) if !part.is_empty() => Some(ReadySign::Line(part.to_owned().into())),
        ("notify", "") => Some(ReadySign::Notify),
        ("port", address) => address.parse().ok().map(ReadySign::Port),
        _ => None,
    };
    let forms = "\"notify\", \"line TEXT\" or \"port 127.0.0.1:80\"";
    let wrong = || D::Error::custom(format!("{text:?} is no sign: give {forms}"));
    sign.map(Some).ok_or_else(wrong)
}

fn signal<'a, D: Deserializer<'a>>(value: D) -> Result<Signal, D::Error> {
    let name = String::deserialize(value)?;
    let mut all = (1..=31).map(Signal::from_raw);
    let found = all.find(|signal| signal.to_string() == format!("SIG{name}"));
    found.ok_or_else(|| D::Error::custom(format!("{name:?} is no signal: give one as \"TERM\"")))
}

fn seconds<'a, D: Deserializer<'a>>(value: D) -> Result<Duration, D::Error> {
    let time = f64::deserialize(value)?;
    let span = Duration::try_from_secs_f64(time).ok().filter(|_| time < 1e6);
    span.ok_or_else(|| D::Error::custom(format!("{time} is no time: give seconds")))
}

/// The members of a group, by its phases.
pub(crate) type Phases = Vec<Vec<Settings>>;

/// Reads the file. An error says where in it, what is wrong, and what to write.
pub(crate) fn read(path: &str) -> Result<Phases, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{path}: {error}: name a file that minisup may read"))?;
    let sections = basic_toml::from_str(&text).map_err(|error| error.to_string());
    sections.and_then(sorted).map_err(|error| format!("{path}: {error}"))
}

/// Puts each into the first phase that comes after all that it names.
fn sorted(mut left: BTreeMap<String, Settings>) -> Result<Phases, String> {
    let names = left.keys().cloned().collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        return Err("there is no program: write a section for each".to_owned());
    }
    for (name, Settings { command, after, .. }) in &left {
        if command.first().map_or(true, String::is_empty) || name.contains(char::is_whitespace) {
            return Err(format!("[{name}]: give it a name without spaces, and a command"));
        }
        if let Some(other) = after.iter().find(|other| !left.contains_key(*other)) {
            return Err(format!(
                "[{name}]: after: there is no section {other:?}: there are {names}"
            ));
        }
    }
    let mut phases = Phases::new();
    while let Some(first) = left.keys().next() {
        let waits_for = |name: &str| left[name].after.iter().find(|it| left.contains_key(*it));
        let next: Vec<_> = left.keys().filter(|it| waits_for(it).is_none()).cloned().collect();
        let mut way = vec![first];
        while let (true, Some(other)) = (next.is_empty(), waits_for(way[way.len() - 1])) {
            if let Some(begin) = way.iter().position(|name| *name == other) {
                way.push(other);
                let cycle = way[begin..].iter().map(|it| it.as_str()).collect::<Vec<_>>();
                let cycle = cycle.join(" after ");
                return Err(format!("[{other}]: after is a cycle, {cycle}: take one out"));
            }
            way.push(other);
        }
        let take = |name: String| left.remove(&name).map(|it| Settings { name, ..it });
        phases.push(next.into_iter().filter_map(take).collect());
    }
    Ok(phases)
}

impl Settings {
    pub(crate) fn to_program(&self) -> Program {
        let program = Program::new(&*self.command[0])
            .args(&self.command[1..])
            .current_dir(self.directory.as_deref().unwrap_or("."))
            .ready_by(self.ready.clone().unwrap_or(ReadySign::Started))
            .stop_signal(self.stop.signal)
            .stop_timeout(self.stop.time);
        let program = match self.restart {
            Restart::Always => program.must_not_end(),
            Restart::OnFailure | Restart::Never => program,
        };
        self.environment.iter().fold(program, |program, (name, value)| program.env(name, value))
    }

    /// The time that the program may take to stop, and a moment to see that it has.
    pub(crate) fn grace(&self) -> Duration {
        self.stop.time + Duration::from_millis(500)
    }
}
