//! The proxy as SOCKS 5 has it (RFC 1928): connections by name or address, without a user.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use super::{Refusal, Way, part, tunnel};
use crate::limits::EGRESS_HEAD_TIMEOUT;

const VERSION: u8 = super::SOCKS;
const NO_USER: u8 = 0;
const NO_METHOD: u8 = 0xff;

// What an answer says.
const DONE: u8 = 0;
const FAILED: u8 = 1;
const NOT_ALLOWED: u8 = 2;
const NO_SUCH_HOST: u8 = 4;
const REFUSED: u8 = 5;
const LATE: u8 = 6;
const NO_SUCH_COMMAND: u8 = 7;
const NO_SUCH_ADDRESS: u8 = 8;

/// What is asked for, or the last word to who asks in vain.
type Asked = Result<String, Vec<u8>>;

/// Serves a connection that begins with `asked`.
pub(super) async fn attend(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    mut asked: Vec<u8>,
    way: &Way,
) -> io::Result<()> {
    let authority = match timeout(EGRESS_HEAD_TIMEOUT, read(&mut client, &mut asked)).await?? {
        Ok(authority) => authority,
        Err(word) => return part(client, &word).await,
    };
    match way.connect(&authority, 0).await {
        Ok(server) => {
            client.write_all(&reply(DONE)).await?;
            tunnel(client, server, &asked).await
        }
        Err(refusal) => part(client, &reply(code(refusal))).await,
    }
}

/// Reads a greeting and a request; what came behind them stays in `asked`.
async fn read(client: &mut (impl AsyncRead + AsyncWrite + Unpin), asked: &mut Vec<u8>) -> io::Result<Asked> {
    let [_, count] = take(client, asked).await?;
    let methods = take_many(client, asked, count.into()).await?;
    if !methods.contains(&NO_USER) {
        return Ok(Err(vec![VERSION, NO_METHOD]));
    }
    client.write_all(&[VERSION, NO_USER]).await?;
    let [version, command, _, kind] = take(client, asked).await?;
    let host = match kind {
        1 => Ipv4Addr::from(take::<4>(client, asked).await?).to_string(),
        3 => {
            let [length] = take(client, asked).await?;
            // What is no text is no host: the connector says so.
            String::from_utf8_lossy(&take_many(client, asked, length.into()).await?).into_owned()
        }
        4 => format!("[{}]", Ipv6Addr::from(take::<16>(client, asked).await?)),
        _ => return Ok(Err(reply(NO_SUCH_ADDRESS))),
    };
    let port = u16::from_be_bytes(take(client, asked).await?);
    Ok(match (version, command) {
        (VERSION, 1) => Ok(format!("{host}:{port}")),
        (VERSION, _) => Err(reply(NO_SUCH_COMMAND)),
        _ => Err(reply(FAILED)),
    })
}

/// Takes the first bytes that were asked, reading more where there are fewer.
async fn take<const N: usize>(
    client: &mut (impl AsyncRead + Unpin),
    asked: &mut Vec<u8>,
) -> io::Result<[u8; N]> {
    let bytes = take_many(client, asked, N).await?;
    bytes.try_into().map_err(|_| io::ErrorKind::UnexpectedEof.into())
}

async fn take_many(
    client: &mut (impl AsyncRead + Unpin),
    asked: &mut Vec<u8>,
    count: usize,
) -> io::Result<Vec<u8>> {
    while asked.len() < count {
        if client.read_buf(asked).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(asked.drain(..count).collect())
}

/// An answer, with no address: programs do not look at it.
fn reply(code: u8) -> Vec<u8> {
    vec![VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

fn code(refusal: Refusal) -> u8 {
    match refusal {
        Refusal::NotGranted => NOT_ALLOWED,
        Refusal::NoHost | Refusal::Unknown => NO_SUCH_HOST,
        Refusal::Late => LATE,
        Refusal::Busy => FAILED,
        Refusal::Failed => REFUSED,
    }
}
