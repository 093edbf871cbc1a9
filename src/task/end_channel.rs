//! A channel on which nothing is ever sent: it disconnects when something is over, for `select!`.

use std::convert::Infallible;

use crate::platform::sync::channel::{self, Receiver, Sender};

/// Made when somebody first asks for it, for few do.
#[derive(Default)]
pub(crate) struct EndChannel(Option<(Option<Sender<Infallible>>, Receiver<Infallible>)>);

impl EndChannel {
    /// It is over: wakes whoever waits.
    pub(crate) fn disconnect(&mut self) {
        if let Some((sender, _)) = &mut self.0 {
            *sender = None;
        }
    }

    pub(crate) fn receiver(&mut self, over: bool) -> Receiver<Infallible> {
        let (_, receiver) = self.0.get_or_insert_with(|| {
            let (sender, receiver) = channel::bounded(0);
            (Some(sender).filter(|_| !over), receiver)
        });
        receiver.clone()
    }
}
