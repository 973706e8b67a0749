//! The public face of the runtime. Time is virtual throughout: it moves on when nothing else can happen.

mod actor;
mod call;
mod mailbox;
mod monitor;
mod observe;
mod retained;
mod stage;
mod supervisor;
mod timer;
mod tree;
