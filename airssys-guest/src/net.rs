//! The network.

use std::net::SocketAddr;

use crate::{Error, host};

/// Connects to an address and hangs up: whether somebody listens there, and whether policy lets this component ask.
///
/// # Errors
///
/// * [`Denied`](crate::ErrorKind::Denied): policy said no; nothing was sent.
/// * [`Unavailable`](crate::ErrorKind::Unavailable): nobody listens, or the address cannot be reached.
/// * [`TimedOut`](crate::ErrorKind::TimedOut): no answer in the time that the host allows.
/// * [`Unsupported`](crate::ErrorKind::Unsupported): this host has no network.
pub fn connect(address: impl Into<SocketAddr>) -> Result<(), Error> {
    let address = address.into();
    host::connect(address).map_err(|failure| failure.cannot(format_args!("connect to {address}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, testing::Host};

    #[test]
    fn nobody_listens_who_was_not_granted() {
        let (host, address) = (Host::new(), ([127, 0, 0, 1], 80));
        assert_eq!(connect(address).map_err(|error| error.kind()), Err(ErrorKind::Denied));
        host.listen(address);
        assert!(connect(address).is_ok());
    }
}
