//! What `cargo xtask bench osl` measures of the door, and how it is told.
//!
//! * [`decisions`]: policies of so many rules, and what is asked of them.
//! * [`figures`]: how long things take, and how it is told.
//!
//! Ours (`osl-ours`) and other engines of policy (`osl-peers`, a workspace of its own, which includes a part of this folder)
//! answer the very same questions.

pub mod decisions;
pub mod figures;

pub use figures::Failure;
