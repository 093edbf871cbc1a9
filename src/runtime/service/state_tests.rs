//! What a service manager is told: scripts of moments and facts, without a socket or a clock.

use super::*;

/// The service, and a receiver of its messages.
struct Script {
    state: ServiceState,
    now: RealTime,
    /// Why messages cannot be sent, if they cannot.
    fails: Option<Again>,
    ready: bool,
    bound: Option<Duration>,
    sick: Option<&'static str>,
    status: String,
}

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

impl Script {
    fn new(watchdog: Option<Duration>) -> Self {
        Self {
            state: ServiceState::new(true, watchdog, None),
            now: RealTime::ZERO.after(S),
            fails: None,
            ready: false,
            bound: None,
            sick: None,
            status: "1 task".to_owned(),
        }
    }

    /// One that is ready, and has said so.
    fn ready(watchdog: Option<Duration>) -> Self {
        let mut script = Self { ready: true, ..Self::new(watchdog) };
        assert_eq!(script.said(), ["READY=1\nSTATUS=1 task"]);
        script
    }

    /// What arrives at this moment.
    fn said(&mut self) -> Vec<String> {
        let status = || self.status.clone();
        let Self { ready, sick, .. } = *self;
        let facts = Facts { ready, start_bound: self.bound, sick, status: &status };
        let mut said = Vec::new();
        while let Some(datagram) = self.state.step(self.now, &facts) {
            match self.fails {
                None => said.push(datagram.text),
                Some(again) => self.state.undelivered(self.now, datagram, again),
            }
        }
        assert!(self.state.deadline() > self.now, "the controller would spin");
        said
    }

    fn after(&mut self, span: Duration) -> Vec<String> {
        self.now = self.now.after(span);
        self.said()
    }

    /// Everything that arrives until then, if the controller looks only when it must.
    fn until(&mut self, span: Duration) -> Vec<(Duration, String)> {
        let (began, end) = (self.now, self.now.after(span));
        let mut said = Vec::new();
        while self.state.deadline() <= end {
            self.now = self.state.deadline();
            said.extend(self.said().into_iter().map(|text| (began.until(self.now), text)));
        }
        self.now = end;
        said
    }
}

#[test]
fn nothing_is_due_before_the_service_is_ready() {
    let mut script = Script::new(Some(30 * S));
    assert!(script.said().is_empty());
    assert!(script.state.deadline().is_never());
}

#[test]
fn ready_is_said_once() {
    let mut script = Script::ready(None);
    script.ready = false;
    assert!(script.after(S).is_empty());
    script.ready = true;
    assert!(script.after(S).is_empty());
    assert!(script.state.deadline().is_never());
}

#[test]
fn a_sign_of_life_is_given_twice_in_a_period_and_never_more_often() {
    let mut script = Script::ready(Some(30 * S));
    let signs = script.until(60 * S);
    let times = [15, 30, 45, 60].map(|secs| (secs * S, PING.to_owned()));
    assert_eq!(signs, times);
    // A look because something has changed is no reason for another sign.
    assert!(script.after(S).is_empty());
}

#[test]
fn a_suspended_process_makes_up_for_nothing() {
    let mut script = Script::ready(Some(2 * S));
    assert_eq!(script.after(3600 * S), [PING]);
    assert!(script.after(MS).is_empty());
    assert_eq!(script.after(S), [PING]);
}

#[test]
fn a_sick_service_gives_no_sign_until_it_is_well() {
    let mut script = Script::ready(Some(10 * S));
    script.sick = Some("gps silent");
    assert_eq!(script.after(S), ["STATUS=sick: gps silent; 1 task"]);
    assert!(script.state.is_sick());
    assert!(script.until(60 * S).is_empty());
    script.sick = None;
    assert_eq!(script.after(MS), [PING, "STATUS=1 task"]);
    assert!(!script.state.is_sick());
    assert_eq!(script.until(5 * S), [(5 * S, PING.to_owned())]);
}

#[test]
fn a_service_that_recovers_between_two_signs_gives_none_in_between() {
    let mut script = Script::ready(Some(10 * S));
    script.sick = Some("gps silent");
    let _ = script.after(S);
    script.sick = None;
    assert_eq!(script.after(S), ["STATUS=1 task"]);
    assert_eq!(script.until(3 * S), [(3 * S, PING.to_owned())]);
}

#[test]
fn a_status_is_sent_at_most_once_a_second_and_the_last_one_always() {
    let mut script = Script::ready(None);
    let mut sent = Vec::new();
    for number in 0..50 {
        script.status = format!("{number} tasks");
        sent.extend(script.after(100 * MS));
    }
    assert_eq!(sent.len(), 5, "{sent:?}");
    script.status = "done".to_owned();
    // The controller looks again then, because something has changed.
    script.now = script.state.next_look();
    assert_eq!(script.said(), ["STATUS=done"]);
    assert!(script.after(S).is_empty());
}

/// The controller calls it in each turn in which something has changed.
#[test]
fn tasks_are_counted_at_most_once_a_second() {
    let mut script = Script::ready(None);
    let counted = std::cell::Cell::new(0);
    let status = || {
        counted.set(counted.get() + 1);
        "1 task".to_owned()
    };
    let facts = Facts { ready: true, start_bound: None, sick: None, status: &status };
    for _ in 0..1000 {
        script.now = script.now.after(10 * MS);
        assert_eq!(script.state.step(script.now, &facts), None);
        assert!(script.state.next_look() > script.now);
    }
    assert_eq!(counted.get(), 10);
}

#[test]
fn a_status_is_one_short_line() {
    let mut script = Script::ready(None);
    script.status = "a\nWATCHDOG=1\u{1b}".to_owned();
    assert_eq!(script.after(S), [r"STATUS=a\nWATCHDOG=1\u{1b}"]);
    script.status = format!("a{}", "ü".repeat(5000));
    let said = script.after(S);
    assert_eq!(said, [format!("STATUS=a{}", "ü".repeat(511))]);
}

#[test]
fn a_start_is_extended_while_it_has_a_bound() {
    let mut script = Script::new(Some(30 * S));
    script.bound = Some(20 * S);
    assert!(script.said().is_empty());
    let extensions = script.until(8 * S);
    assert_eq!(extensions, [(4 * S, "EXTEND_TIMEOUT_USEC=25000000".to_owned())]);
    script.bound = Some(10 * S);
    assert_eq!(script.after(S), ["EXTEND_TIMEOUT_USEC=15000000"]);
    script.bound = None;
    assert!(script.after(S).is_empty());
    assert!(script.until(60 * S).is_empty());
    assert!(script.state.deadline().is_never());
}

#[test]
fn ready_with_a_full_queue_arrives_later_and_before_the_end() {
    let mut script = Script { ready: true, ..Script::new(None) };
    script.fails = Some(Again::Soon);
    assert!(script.said().is_empty());
    assert_eq!(script.state.deadline(), script.now.after(RETRY));
    script.state.begin_stopping(4 * S);
    // As many tries as would turn the order around.
    assert!(script.until(3 * RETRY).is_empty());
    script.fails = None;
    let said = script.after(RETRY);
    assert_eq!(said, ["READY=1\nSTATUS=1 task", "STOPPING=1\nEXTEND_TIMEOUT_USEC=4000000"]);
    assert!(script.state.deadline().is_never());
}

#[test]
fn of_signs_and_texts_that_wait_only_the_newest_is_sent() {
    let mut script = Script::ready(Some(2 * S));
    script.fails = Some(Again::Soon);
    for number in 0..10 {
        script.status = format!("{number} tasks");
        assert!(script.after(S).is_empty());
    }
    script.fails = None;
    assert_eq!(script.after(RETRY), [PING, "STATUS=9 tasks"]);
    assert!(script.after(MS).is_empty());
}

#[test]
fn a_sign_that_could_not_be_sent_is_void_once_the_service_is_sick() {
    let mut script = Script::ready(Some(2 * S));
    script.fails = Some(Again::Soon);
    assert!(script.after(S).is_empty());
    (script.fails, script.sick) = (None, Some("gps silent"));
    assert!(script.after(RETRY).is_empty());
    assert_eq!(script.after(S), ["STATUS=sick: gps silent; 1 task"]);
}

#[test]
fn without_a_receiver_what_must_arrive_is_tried_with_each_next_message() {
    let mut script = Script { ready: true, ..Script::new(None) };
    script.fails = Some(Again::WithNext);
    assert!(script.said().is_empty());
    assert!(script.state.deadline().is_never());
    script.fails = None;
    assert!(script.after(S).is_empty(), "nothing is new");
    script.status = "2 tasks".to_owned();
    assert_eq!(script.after(S), ["READY=1\nSTATUS=1 task", "STATUS=2 tasks"]);
}

#[test]
fn a_status_that_met_no_receiver_comes_with_the_next_message() {
    let mut script = Script::ready(Some(10 * S));
    (script.sick, script.fails) = (Some("gps silent"), Some(Again::WithNext));
    assert!(script.after(S).is_empty());
    assert!(script.until(10 * S).is_empty());
    script.fails = None;
    assert!(script.until(60 * S).is_empty(), "nothing is new");
    script.state.begin_reload(None);
    let status = "STATUS=sick: gps silent; 1 task";
    assert_eq!(script.said(), ["RELOADING=1", status]);

    script.fails = Some(Again::WithNext);
    script.sick = None;
    script.state.end_reload();
    assert!(script.after(S).is_empty());
    script.fails = None;
    let well = ["READY=1", PING, "STATUS=1 task"].map(str::to_owned);
    let said: Vec<_> = script.until(10 * S).into_iter().map(|(_, text)| text).collect();
    assert_eq!(said[..3], well);
}

#[test]
fn a_receiver_that_comes_late_gets_ready_with_the_first_sign() {
    let mut script = Script { ready: true, ..Script::new(Some(10 * S)) };
    script.fails = Some(Again::WithNext);
    assert!(script.said().is_empty());
    script.fails = None;
    let ready = "READY=1\nSTATUS=1 task".to_owned();
    assert_eq!(script.until(5 * S), [(5 * S, ready), (5 * S, PING.to_owned())]);
}

#[test]
fn signs_go_on_while_the_service_stops_whatever_its_tasks_do() {
    let mut script = Script::ready(Some(10 * S));
    script.sick = Some("gps abandoned");
    let _ = script.after(S);
    script.state.begin_stopping(Duration::MAX);
    // A day, because the receiver refuses what is endless.
    let end = "STOPPING=1\nEXTEND_TIMEOUT_USEC=86400000000";
    assert_eq!(script.said(), [end]);
    script.state.begin_stopping(S);
    let both = [PING, "STATUS=1 task"].map(|text| (4 * S, text.to_owned()));
    assert_eq!(script.until(4 * S), both);
    assert_eq!(script.until(5 * S), [(5 * S, PING.to_owned())]);
}

#[test]
fn a_service_that_stops_before_it_is_ready_is_never_ready() {
    let mut script = Script::new(Some(10 * S));
    script.state.begin_stopping(S);
    script.ready = true;
    assert_eq!(script.said()[0], "STOPPING=1\nEXTEND_TIMEOUT_USEC=1000000");
    assert!(script.until(60 * S).is_empty());
}

#[test]
fn a_reload_is_told_with_its_moment_and_ends_with_the_last_guard() {
    let mut script = Script::ready(None);
    let beyond_32_bits = 5_000_000_000_000;
    script.state.begin_reload(Some(beyond_32_bits));
    assert_eq!(script.said(), ["RELOADING=1\nMONOTONIC_USEC=5000000000000"]);
    script.state.begin_reload(Some(1));
    script.state.end_reload();
    assert!(script.said().is_empty());
    script.state.end_reload();
    assert_eq!(script.said(), ["READY=1"]);
    script.state.begin_reload(None);
    assert_eq!(script.said(), ["RELOADING=1"]);
    script.state.begin_stopping(S);
    script.state.end_reload();
    assert_eq!(script.said(), ["STOPPING=1\nEXTEND_TIMEOUT_USEC=1000000"]);
}

#[test]
fn a_reload_before_the_service_is_ready_is_not_told() {
    let mut script = Script::new(None);
    script.state.begin_reload(Some(1));
    script.ready = true;
    assert_eq!(script.said(), ["READY=1\nSTATUS=1 task"]);
    script.state.end_reload();
    assert!(script.said().is_empty());
}

#[test]
fn a_tiny_period_is_no_flood() {
    let mut script = Script::ready(Some(Duration::from_micros(1)));
    assert_eq!(script.until(10 * MS).len(), 10);
}

#[test]
fn without_a_socket_nothing_is_due_but_the_hardware() {
    let mut state = ServiceState::new(false, Some(S), Some(5 * S));
    let status = || -> String { unreachable!("nobody reads it") };
    let facts = |sick| Facts { ready: true, start_bound: Some(S), sick, status: &status };
    let at = |secs: u32| RealTime::ZERO.after(secs * S);
    assert!(!state.pets(at(0), &facts(None)));
    assert_eq!(state.step(at(1), &facts(None)), None);
    assert!(state.pets(at(1), &facts(None)));
    assert_eq!(state.deadline(), at(6));
    assert!(!state.pets(at(6), &facts(Some("sick"))));
    assert!(state.pets(at(7), &facts(None)), "it is well again");
    state.begin_stopping(S);
    assert_eq!(state.step(at(12), &facts(Some("sick"))), None);
    assert!(state.pets(at(12), &facts(Some("sick"))), "until the last task is over");
}
