//! The machine: the standard library counts its processors, and tells nothing else.

use std::thread;

use crate::{
    os::Fault,
    system::{Cpu, Disk, Interface, Load, Memory},
};

pub(crate) fn cpu() -> Result<Cpu, Fault> {
    Ok(Cpu { count: thread::available_parallelism().map_err(Fault::Os)?.get(), model: None })
}

pub(crate) fn memory() -> Result<Memory, Fault> {
    Err(Fault::Unsupported)
}

pub(crate) fn load() -> Result<Load, Fault> {
    Err(Fault::Unsupported)
}

pub(crate) fn disks() -> Result<Vec<Disk>, Fault> {
    Err(Fault::Unsupported)
}

pub(crate) fn interfaces() -> Result<Vec<Interface>, Fault> {
    Err(Fault::Unsupported)
}

pub(crate) fn host_name() -> Result<String, Fault> {
    Err(Fault::Unsupported)
}
