//! [`Body`]: the user's closure, in one of its three kinds.

use std::sync::Arc;

use crate::output::error::{TaskError, TaskResult};
use crate::platform::user_value::UserValue;
use crate::task::context::TaskContext;
use crate::vocabulary::plan::BodyKind;

/// The user's closure. It moves to the worker for each attempt and comes back with its report.
pub(crate) enum Body {
    Repeat(UserValue<Box<RepeatBody>>),
    /// `None` inside once it has run.
    Once(UserValue<Box<OnceBody>>),
    Shared(Arc<UserValue<Box<SharedBody>>>),
}

type RepeatBody = dyn FnMut(&TaskContext) -> TaskResult + Send;
type OnceBody = dyn FnOnce(&TaskContext) -> TaskResult + Send;
type SharedBody = dyn Fn(&TaskContext) -> TaskResult + Send + Sync;

impl Body {
    pub(crate) fn repeat(body: impl FnMut(&TaskContext) -> TaskResult + Send + 'static) -> Self {
        Self::Repeat(UserValue::new(Box::new(body)))
    }

    pub(crate) fn once(body: impl FnOnce(&TaskContext) -> TaskResult + Send + 'static) -> Self {
        Self::Once(UserValue::new(Box::new(body)))
    }

    pub(crate) fn shared(
        body: impl Fn(&TaskContext) -> TaskResult + Send + Sync + 'static,
    ) -> Self {
        Self::Shared(Arc::new(UserValue::new(Box::new(body))))
    }

    pub(crate) const fn kind(&self) -> BodyKind {
        match self {
            Self::Repeat(_) => BodyKind::Repeat,
            Self::Once(_) => BodyKind::Once,
            Self::Shared(_) => BodyKind::Shared,
        }
    }

    /// Returns another reference to a body that can run beside itself.
    pub(crate) fn share(&self) -> Option<Self> {
        match self {
            Self::Shared(body) => Some(Self::Shared(Arc::clone(body))),
            Self::Repeat(_) | Self::Once(_) => None,
        }
    }

    /// Drops a body that needs no drop on this thread, whichever that is.
    pub(crate) fn drop_here(self) {
        match self {
            Self::Repeat(mut body) => drop(body.take()),
            Self::Once(mut body) => drop(body.take()),
            Self::Shared(body) => drop(Arc::try_unwrap(body).ok().and_then(|mut it| it.take())),
        }
    }

    /// Runs one attempt. The body is taken by reference, so that it is still there for a retry
    /// after a panic.
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
