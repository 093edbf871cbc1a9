//! The files on the guide page about services are what their readers take them for.

use std::fs;
use std::process::Command;

use super::Place;

const PAGE: &str = include_str!("../../../src/guide/services.md");

/// The blocks of the page in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    PAGE.split(begin.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_scripts_on_the_page_are_scripts() {
    let scripts = blocks("sh");
    assert_eq!(scripts.len(), 3);
    for script in scripts {
        let place = Place::new();
        fs::write(&place.0, script).unwrap();
        let checked = Command::new("sh").arg("-n").arg(&place.0).output().unwrap();
        assert!(checked.status.success() && checked.stderr.is_empty(), "{script}\n{checked:?}");
    }
}

/// Each line is `id:runlevels:action:process`, and BusyBox ignores the second field. That its init
/// obeys them is seen by `.ci/deep inittab`.
#[test]
fn the_inittab_on_the_page_is_one() {
    let tables = blocks("text");
    let [table] = *tables else { panic!("{tables:?}") };
    let actions: Vec<_> = table
        .lines()
        .map(|line| match line.splitn(4, ':').collect::<Vec<_>>()[..] {
            ["", "", action, process] if process.starts_with('/') => action,
            _ => panic!("{line}"),
        })
        .collect();
    assert_eq!(actions, ["respawn", "shutdown"]);
}

#[test]
fn the_unit_on_the_page_is_a_unit() {
    let units = blocks("ini");
    let [unit] = *units else { panic!("{units:?}") };
    let mut section = "";
    for line in unit.lines().filter(|line| !line.is_empty()) {
        match line.split_once('=') {
            Some((key, value)) => {
                assert!(!section.is_empty() && !key.is_empty() && !value.is_empty());
            }
            None => section = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap(),
        }
    }

    // The rest is for systemd to say, where it is installed.
    let folder = Place::new();
    fs::create_dir(&folder.0).unwrap();
    let file = folder.0.join("gatewayd.service");
    fs::write(&file, unit.replace("/usr/bin/gatewayd", "/bin/true")).unwrap();
    let checked = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output();
    if let Ok(checked) = checked {
        let errors = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success() && !errors.contains("gatewayd"), "{errors}");
    }
    fs::remove_dir_all(&folder.0).unwrap();
}
