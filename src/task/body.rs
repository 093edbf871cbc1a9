//! [`Body`]: the user's closure, in one of its three kinds.

use std::sync::Arc;

use crate::output::error::{TaskError, TaskResult};
use crate::task::context::TaskContext;

/// The user's closure. It moves to the worker for each attempt and comes back with its report.
pub(crate) enum Body {
    Repeat(Box<dyn FnMut(&TaskContext) -> TaskResult + Send>),
    /// Empty once it has run.
    Once(Option<OnceBody>),
    Shared(Arc<SharedBody>),
}

type SharedBody = dyn Fn(&TaskContext) -> TaskResult + Send + Sync;
type OnceBody = Box<dyn FnOnce(&TaskContext) -> TaskResult + Send>;

impl Body {
    /// Returns another reference to a body that can run beside itself.
    pub(crate) fn share(&self) -> Option<Self> {
        match self {
            Self::Shared(body) => Some(Self::Shared(Arc::clone(body))),
            Self::Repeat(_) | Self::Once(_) => None,
        }
    }

    /// Runs one attempt. By reference, so that a body that panics is still there for its retry.
    pub(crate) fn run(&mut self, ctx: &TaskContext) -> TaskResult {
        match self {
            Self::Repeat(body) => body(ctx),
            Self::Once(body) => match body.take() {
                Some(body) => body(ctx),
                None => Err(TaskError::fatal("a body that runs once was started again")),
            },
            Self::Shared(body) => body(ctx),
        }
    }
}
