//! The rules written a second time, as naively as can be, and histories by chance that the machine
//! and this reference live through side by side.

mod by_hand;
mod chances;
mod closing;
mod drain;
mod groups;
mod groups_acts;
mod groups_model;
mod histories;
mod job;
mod model;
mod returns;
