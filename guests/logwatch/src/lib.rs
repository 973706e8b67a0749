//! What the components of logwatch say to each other.
//!
//! * [`Record`]: one parsed line, from `parser` to `stats`, in a few fixed bytes: there is one for every line.
//! * [`Snapshot`]: what was counted so far, from `stats` to `report`, as JSON.
//! * [`subject`]: what their messages are about.
//! * [`calendar`]: dates and hours, as numbers and as text.

pub mod calendar;
mod record;
mod snapshot;

pub use record::Record;
pub use snapshot::{Bytes, Count, Ranking, Snapshot};

/// The subjects of the messages.
pub mod subject {
    /// One line of a log, without its end.
    pub const LINE: &str = "line";
    /// One [`Record`](super::Record).
    pub const RECORD: &str = "record";
    /// A line that is no record. It has no content.
    pub const MALFORMED: &str = "malformed";
    /// Asks for the [`Snapshot`](super::Snapshot), as JSON.
    pub const SNAPSHOT: &str = "snapshot";
    /// Asks for the country of an address.
    pub const LOCATE: &str = "locate";
}
