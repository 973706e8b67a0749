//! What was counted so far.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was counted so far. The members of `report.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// All lines, also the malformed ones.
    pub lines: u64,
    /// Lines that are not in Common or Combined Log Format, or whose request is not `METHOD target HTTP/x.y`.
    /// They are in no other count.
    pub malformed: u64,
    /// Requests whose path or query looks like an attack.
    pub suspicious: u64,
    /// Responses with a status of 400 or more.
    pub errors: u64,
    /// Their share of all well-formed lines, from 0 to 1.
    pub error_rate: f64,
    /// Responses by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests by method.
    pub methods: BTreeMap<String, u64>,
    /// Requests by hour in UTC: `2026-11-22T09`.
    pub hours: BTreeMap<String, u64>,
    /// Requests from before the hours that are kept.
    pub earlier: u64,
    /// The sizes of the bodies of the responses.
    pub bytes: Bytes,
    /// Requests by client.
    pub clients: Ranking,
    /// Requests by path.
    pub paths: Ranking,
}

/// The sizes of the bodies of the responses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bytes {
    /// All of them together.
    pub total: u64,
    /// The largest.
    pub max: u64,
    /// The median, by nearest rank.
    pub p50: u64,
    /// The 95th percentile, by nearest rank.
    pub p95: u64,
    /// By how much a percentile may be off, relative to itself. Those under 256 bytes are exact.
    pub relative_error: f64,
}

/// The most frequent names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// How many names are being counted.
    pub distinct: usize,
    /// By how much a count may be too low. Zero as long as every name could be kept.
    pub undercount: u64,
    /// The most frequent ones; of equally frequent ones, the first by name.
    pub top: Vec<Count>,
}

/// How often a name was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The name: a path, an address.
    pub name: String,
    /// How often.
    pub count: u64,
    /// Where it is from, if anybody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}
