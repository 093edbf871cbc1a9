//! What is wrong in a configuration is told with the name of the file and of the section.

use super::{idle, Site};

#[test]
fn each_fault_of_a_configuration_is_named() {
    let site = Site::new("faults", "");
    let config = |text: &str| {
        std::fs::write(site.path("box.toml"), text).unwrap();
        let (code, said) = site.run("box.toml");
        assert_eq!(code, Some(1), "{said}");
        said
    };
    let after = |name, after| idle(name, &format!("after = {after}"));
    let program = |rest| idle("a", rest);
    for (text, fault) in [
        (
            after("a", "[\"b\"]")
                + &after("b", "[\"c\"]")
                + &after("c", "[\"d\", \"b\"]")
                + &idle("d", ""),
            "minisup: box.toml: [b]: after is a cycle, b after c after b: take one out",
        ),
        (after("a", "[\"a\"]"), "box.toml: [a]: after is a cycle, a after a: take one out"),
        (
            after("a", "[\"db\"]") + &idle("b", ""),
            "box.toml: [a]: after: there is no section \"db\": there are a, b",
        ),
        ("[a]\ncommand = []\n".into(), "box.toml: [a]: give it a name without spaces, and a com"),
        ("[\"a b\"]\ncommand = [\"x\"]\n".into(), "box.toml: [a b]: give it a name without spaces"),
        ("[a]\n".into(), "box.toml: missing field `command` for key `a` at line 1"),
        (program("comand = 1"), "unknown field `comand`, expected one of `command`, "),
        (program("after = 5"), "box.toml: invalid type: integer `5`, expected a sequence"),
        (program("restart = \"maybe\""), "unknown variant `maybe`, expected one of `always`"),
        (program("backoff = -1"), "box.toml: -1 is no time: give seconds"),
        (program("stop = { time = nan }"), "is no time: give seconds"),
        (program("stop = { signal = \"NOPE\" }"), "\"NOPE\" is no signal: give one as \"TERM\""),
        (program("stop = { grace = 5 }"), "unknown field `grace`, expected `signal` or `time`"),
        (program("ready = \"port 80\""), "\"port 80\" is no sign: give \"notify\", \"line TEXT\""),
        ("a = 1\n".into(), "box.toml: invalid type: integer `1`"),
        ("[a\n".into(), "box.toml: expected a right bracket"),
        (String::new(), "box.toml: there is no program: write a section for each"),
    ] {
        let said = config(&text);
        assert!(said.contains(fault), "{text}\nsays: {said}\nand not: {fault}");
    }
    let (code, said) = site.run("other.toml");
    assert_eq!(code, Some(1));
    assert!(said.contains("other.toml: No such file or directory (os error 2): name a"), "{said}");
}

#[test]
fn a_program_gets_its_directory_its_environment_and_its_signal() {
    let script = "trap 'echo hup >>log; exit' HUP; echo $PWD $WHO >>log; \
                  while :; do sleep 0.01; done";
    let config = format!(
        "[a]\ncommand = [\"sh\", \"-c\", \"{script}\"]\ndirectory = \"inside\"\n\
         environment = {{ WHO = \"me\" }}\nstop = {{ signal = \"HUP\" }}\n"
    );
    let mut site = Site::new("settings", &config);
    std::fs::create_dir(site.path("inside")).unwrap();
    site.start();
    site.until(|site| !site.file("inside/log").is_empty());
    site.stop();
    let log = site.file("inside/log");
    assert!(log.contains("/inside me\nhup\n"), "{log}");
}
