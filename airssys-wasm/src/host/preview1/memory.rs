//! The guest that calls: its memory, and its part of the host.

use std::ops::Range;

use wasmtime::{Caller, Extern, Memory, error::Context as _, format_err};

use super::errno::{Errno, Fault};
use crate::{host::Host, instance::State};

/// The most buffers of one call, as `IOV_MAX` of Linux.
const BUFFERS: u32 = 1024;

/// A module in a call of the host.
pub(super) struct Guest<'a> {
    caller: Caller<'a, State>,
    memory: Option<Memory>,
}

impl<'a> Guest<'a> {
    pub(super) fn new(caller: Caller<'a, State>) -> Self {
        Self { caller, memory: None }
    }

    pub(super) fn host(&mut self) -> &mut Host {
        &mut self.caller.data_mut().host
    }

    fn memory(&mut self) -> Result<Memory, Fault> {
        if let Some(memory) = self.memory {
            return Ok(memory);
        }
        let memory = match self.caller.get_export("memory") {
            Some(Extern::Memory(memory)) => memory,
            _ => return Err(Fault::Trap(format_err!("the module exports no memory"))),
        };
        Ok(*self.memory.insert(memory))
    }

    /// The bytes of a range, to be read.
    pub(super) fn bytes(&mut self, at: u32, len: u32) -> Result<&[u8], Fault> {
        let memory = self.memory()?;
        let bytes = memory.data(&self.caller).get(range(at, len)?);
        Ok(bytes.ok_or_else(out_of_bounds)?)
    }

    /// The bytes of a range, to be written.
    pub(super) fn bytes_mut(&mut self, at: u32, len: u32) -> Result<&mut [u8], Fault> {
        let memory = self.memory()?;
        let bytes = memory.data_mut(&mut self.caller).get_mut(range(at, len)?);
        Ok(bytes.ok_or_else(out_of_bounds)?)
    }

    pub(super) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.bytes_mut(at, size(bytes.len())?)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn write_u32(&mut self, at: u32, value: u32) -> Result<(), Fault> {
        self.write(at, &value.to_le_bytes())
    }

    pub(super) fn write_u64(&mut self, at: u32, value: u64) -> Result<(), Fault> {
        self.write(at, &value.to_le_bytes())
    }

    /// A path. WASI's strings are UTF-8.
    pub(super) fn string(&mut self, at: u32, len: u32) -> Result<String, Fault> {
        let bytes = self.bytes(at, len)?;
        Ok(str::from_utf8(bytes).map_err(|_| Errno::ILSEQ)?.to_owned())
    }

    /// The places of the buffers of a reading or a writing call, the empty ones left out. All are inside the memory.
    pub(super) fn buffers(&mut self, at: u32, count: u32) -> Result<Vec<(u32, u32)>, Fault> {
        if count > BUFFERS {
            return Err(Errno::INVAL.into());
        }
        let list = self.bytes(at, count * 8)?;
        let buffers: Vec<_> = list
            .chunks_exact(8)
            .map(|buffer| (u32_at(buffer, 0), u32_at(buffer, 4)))
            .filter(|(_, len)| *len > 0)
            .collect();
        for (at, len) in &buffers {
            self.bytes(*at, *len)?;
        }
        Ok(buffers)
    }
}

/// The number at an offset of a record that was read; 0 where the record is too short, which it never is.
pub(super) fn u32_at(record: &[u8], offset: usize) -> u32 {
    record.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// As [`u32_at`].
pub(super) fn u64_at(record: &[u8], offset: usize) -> u64 {
    record.get(offset..offset + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// The sum of two places in the guest's memory.
pub(super) fn offset(at: u32, by: usize) -> Result<u32, Fault> {
    let sum = u32::try_from(by).ok().and_then(|by| at.checked_add(by));
    Ok(sum.context("a pointer beyond the address space")?)
}

/// A length as the guest has it.
pub(super) fn size(len: usize) -> Result<u32, Fault> {
    u32::try_from(len).map_err(|_| Errno::OVERFLOW.into())
}

fn range(at: u32, len: u32) -> Result<Range<usize>, Fault> {
    let start = at as usize;
    Ok(start..start.checked_add(len as usize).context("a pointer beyond the address space")?)
}

fn out_of_bounds() -> wasmtime::Error {
    wasmtime::Trap::MemoryOutOfBounds.into()
}
