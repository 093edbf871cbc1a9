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
    let sections: BTreeMap<String, Settings> =
        basic_toml::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    if sections.is_empty() {
        return Err(format!("{path}: there is no program: write a section for each"));
    }
    let mut places = BTreeMap::new();
    for name in sections.keys() {
        place(name, &sections, &mut Vec::new(), &mut places)
            .map_err(|error| format!("{path}: {error}"))?;
    }
    let places: Vec<_> = places.into_values().collect();
    let mut phases = Phases::new();
    phases.resize_with(places.iter().max().map_or(0, |last| last + 1), Vec::new);
    for ((name, settings), place) in sections.into_iter().zip(places) {
        phases[place].push(Settings { name, ..settings });
    }
    Ok(phases)
}

/// Finds the first phase that comes after all that a program names. The way to it is one by
/// `after`.
fn place<'a>(
    name: &'a str,
    sections: &'a BTreeMap<String, Settings>,
    way: &mut Vec<&'a str>,
    places: &mut BTreeMap<&'a str, usize>,
) -> Result<usize, String> {
    if let Some(place) = places.get(name) {
        return Ok(*place);
    }
    if let Some(begin) = way.iter().position(|before| *before == name) {
        let cycle = way[begin..].join(" after ");
        return Err(format!("[{name}]: after is a cycle, {cycle} after {name}: take one out"));
    }
    let Some(Settings { command, after, .. }) = sections.get(name) else {
        let names = sections.keys().cloned().collect::<Vec<_>>().join(", ");
        let last = way.last().unwrap_or(&name);
        return Err(format!("[{last}]: after: there is no section {name:?}: there are {names}"));
    };
    if command.first().map_or(true, String::is_empty) || name.contains(char::is_whitespace) {
        return Err(format!("[{name}]: give it a name without spaces, and a command"));
    }
    way.push(name);
    let mut place = 0;
    for other in after {
        place = place.max(self::place(other, sections, way, places)? + 1);
    }
    way.pop();
    places.insert(name, place);
    Ok(place)
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
