//! The subscribers for the crates `tracing` and `metrics` say what the page `telemetry` says.

#[cfg(feature = "metrics")]
mod count;
#[cfg(feature = "tracing")]
mod trace;

/// The cells of the rows of the table under this heading whose header begins with this word.
fn table(heading: &str, header: &str) -> Vec<Vec<String>> {
    let page = include_str!("../../../src/guide/telemetry.md");
    let (_, section) = page.split_once(&format!("\n# {heading}\n")).unwrap();
    let lines = section.lines().skip_while(|line| !line.starts_with(&format!("| {header} |")));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|it| it.trim().into()).collect();
    rows.map(cells).collect()
}

/// The names in a text, which stand between backticks.
fn names(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}
