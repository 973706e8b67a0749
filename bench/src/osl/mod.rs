//! What `cargo xtask bench osl` measures of the door, and how it is told.
//!
//! * [`decisions`]: policies of so many rules, and what is asked of them.
//! * [`files`], [`net`]: reads, writes and connections, decided and recorded, beside the same without a door.
//! * [`audit`]: what a record costs.
//! * [`figures`]: how long things take, and how it is told.
//!
//! Ours (`osl-ours`) and other engines of policy (`osl-peers`, a workspace of its own, which includes a part of this folder)
//! answer the very same questions.

pub mod audit;
pub mod decisions;
pub mod figures;
#[cfg(unix)]
pub mod files;
#[cfg(unix)]
pub mod net;

pub use figures::Failure;
