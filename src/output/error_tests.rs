//! What a [`TaskError`] is made of, and what it keeps.

use super::*;

#[test]
fn every_kind_of_error_converts_by_question_mark() {
    fn io() -> TaskResult {
        Err(std::io::Error::new(std::io::ErrorKind::NotFound, "gone"))?
    }
    fn text() -> TaskResult {
        Err("text")?
    }
    fn owned() -> TaskResult {
        Err("owned".to_owned())?
    }
    fn boxed() -> TaskResult {
        Err(Box::<dyn Error + Send + Sync>::from("boxed"))?
    }
    fn out() -> Result<(), Box<dyn Error>> {
        text()?;
        Ok(())
    }
    assert!(io().unwrap_err().downcast_ref::<std::io::Error>().is_some());
    for (body, message) in
        [(text as fn() -> TaskResult, "text"), (owned, "owned"), (boxed, "boxed")]
    {
        assert_eq!(body().unwrap_err().to_string(), message);
    }
    assert_eq!(out().unwrap_err().to_string(), "text");
}

#[test]
#[allow(unused_qualifications, reason = "the prelude of Rust 1.75 has no size_of")]
fn a_task_error_is_one_pointer_wide() {
    assert_eq!(std::mem::size_of::<TaskError>(), std::mem::size_of::<usize>());
}

#[test]
fn a_delay_is_kept_beside_the_exit_code_and_clones_stay_as_they_are() {
    let delay = Duration::from_millis(1500);
    let error = TaskError::fail("busy").with_exit_code(3).retry_after(delay);
    let other = error.clone().retry_after(Duration::MAX).with_exit_code(4);
    assert_eq!((error.retry_delay(), error.exit_code()), (Some(delay), Some(3)));
    let longest = Some(Duration::from_nanos(u64::MAX));
    assert_eq!((other.retry_delay(), other.exit_code()), (longest, Some(4)));
    assert_eq!(other.to_string(), "busy");
    assert_eq!(TaskError::fail("busy").retry_delay(), None);
    // It asks for no delay, not for that of the backoff.
    let hasty = TaskError::fail("busy").retry_after(Duration::ZERO);
    assert!(hasty.retry_delay() < Some(Duration::from_millis(1)));
}

#[test]
fn an_exit_code_is_kept_and_never_zero() {
    assert_eq!(TaskError::fail("x").with_exit_code(3).exit_code(), Some(3));
    for (code, kept) in [(0, 1), (-1, 1), (66, 66), (255, 255), (256, 1)] {
        assert_eq!(TaskError::fail("x").with_exit_code(code).exit_code(), Some(kept));
    }
    let error = TaskError::fatal("shared");
    let with_code = error.clone().with_exit_code(9);
    assert!(with_code.is_fatal());
    assert_eq!((with_code.exit_code(), with_code.to_string()), (Some(9), "shared".to_owned()));
}
