//! `wasi:sockets`: the sockets of `host/sockets`, in the words of 0.3.

#![expect(unreachable_pub, reason = "the generated bindings re-export what a resource stands for")]

mod convert;
mod lookup;
mod stream;
mod tcp;
mod udp;

use wasmtime::Result;

pub use self::{tcp::Tcp, udp::Udp};
use super::{super::Host, bindings::wasi::sockets::types};
use crate::host::sockets::SocketError;

impl types::Host for Host {
    fn convert_error_code(&mut self, error: SocketError) -> Result<types::ErrorCode> {
        match error {
            SocketError::Code(code) => Ok(code.into()),
            SocketError::Trap(error) => Err(error),
        }
    }
}
