//! `timer_slack`: which waits may end late, and by how much.
//!
//! Section `The next attempt` of `guide::rules`.

use core::time::Duration;

use crate::machine::tests::rig::{ms, task, Rig};
use crate::machine::Input;
use crate::vocabulary::answer::Return;

fn slack(span: Duration) -> Rig {
    Rig::with(|limits| limits.timer_slack = span)
}

#[test]
fn delays_retries_and_intervals_that_end_within_the_slack_end_together() {
    let mut rig = slack(ms(50));
    for (name, at) in [("failed", 1), ("done", 2)] {
        rig.at(ms(at));
        rig.run(task(name).repeat_after(ms(20)));
    }
    rig.submit(task("later").initial_delay(ms(73))).whatever();
    rig.at(ms(5)).returns("failed", Return::Failed).has("* failed/1 retry in 20ms, failed");
    rig.at(ms(8)).returns("done", Return::Ok).has("* done/1 pause for 20ms");
    // The first has been due for all of the slack, and the last is due just now.
    let orders = rig.due_at(ms(75));
    for start in ["start later/1", "start failed/2", "start done/2"] {
        orders.has(start);
    }
}

#[test]
fn whatever_is_due_starts_at_any_wake_up_and_nothing_before_it_is_due() {
    for (wakes, orders) in [(59, ""), (60, "start t/1"), (109, "start t/1")] {
        let mut rig = slack(ms(50));
        rig.submit(task("t").initial_delay(ms(60))).whatever();
        assert_eq!(rig.deadline().since_start(), ms(110));
        rig.at(ms(wakes)).input(Input::TimerDue).gives(orders);
    }
}

/// Each of them is served when the other is, however far the one is from the other.
#[test]
fn grids_within_the_slack_of_each_other_share_one_wake_up_in_each_period() {
    for apart in [0, 1, 24, 25, 49, 50] {
        let mut rig = slack(ms(50));
        for (name, at) in [("a", 0), ("b", apart)] {
            rig.at(ms(at));
            rig.run(task(name).every(ms(100)));
        }
        for name in ["a", "b"] {
            rig.returns(name, Return::Ok).whatever();
        }
        for period in 1..5_u32 {
            let orders = rig.due_at(ms(100) * period + ms(50));
            for name in ["a", "b"] {
                orders.has(&alloc::format!("start {name}/{}", period + 1));
                rig.claim(name).whatever();
                rig.returns(name, Return::Ok).whatever();
            }
        }
    }
}

#[test]
fn the_grid_of_every_does_not_move_with_late_starts() {
    let mut rig = slack(ms(50));
    rig.at(ms(3));
    rig.run(task("t").every(ms(100)));
    // The points of its grid are at 3, 103, 203 and 303 ms.
    for (attempt, returns, starts) in [(2, 10, 153), (3, 160, 253), (4, 260, 353)] {
        rig.at(ms(returns)).returns("t", Return::Ok).whatever();
        rig.due_at(ms(starts)).gives(&alloc::format!("start t/{attempt}"));
        rig.claim("t").whatever();
    }
}

#[test]
fn neither_deadlines_nor_graces_nor_expiries_are_late() {
    let mut rig = slack(ms(1000));
    rig.run(task("t").timeout(ms(25)).grace(ms(10)));
    rig.submit(task("patient").initial_delay(ms(30))).whatever();
    rig.due_at(ms(25)).gives("tell t/1 timeout until 35ms");
    rig.told("t").whatever();
    let orders = rig.due_at(ms(35));
    orders.has("abandon t/1");
    orders.has("start patient/1");

    let mut rig = Rig::with(|limits| {
        (limits.timer_slack, limits.max_concurrent) = (ms(1000), Some(1));
    });
    rig.run(task("first"));
    rig.submit(task("t").expires_in(ms(5))).whatever();
    rig.due_at(ms(5)).has("deliver t: rejected(expired)");
}

/// Without an interval, the next attempt follows immediately.
#[test]
fn the_millisecond_between_two_starts_is_not_late() {
    let mut rig = slack(ms(1000));
    rig.run(task("t").always());
    rig.returns("t", Return::Ok).whatever();
    rig.due_at(ms(1)).gives("start t/2");
}

#[test]
fn looks_are_not_late() {
    let mut rig = slack(ms(1000));
    rig.run(task("t").watched(ms(40)));
    rig.look_at(ms(10), "t", true).gives("");
}
