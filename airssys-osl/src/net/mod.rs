//! The network: who may talk to whom.

pub mod address;
mod cidr;
mod host;

pub(crate) use self::host::parents;
pub use self::{
    cidr::Cidr,
    host::{Host, HostName},
};
