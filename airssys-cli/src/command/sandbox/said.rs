//! --output: what a program says comes through us, so that it can be counted.

use std::io::{self, Write};

use airssys_osl::process::{Output, Process};
use tokio::{
    io::AsyncReadExt as _,
    task::{JoinHandle, spawn_blocking},
};

/// How much is passed on at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// Passes on what a program says, as far as that comes through pipes, until its end or its bound.
pub(super) fn pass_on(process: &mut Process) -> Vec<JoinHandle<()>> {
    let stdout = process.stdout.take().map(|output| tokio::spawn(copy(output, io::stdout)));
    let stderr = process.stderr.take().map(|output| tokio::spawn(copy(output, io::stderr)));
    stdout.into_iter().chain(stderr).collect()
}

async fn copy<W: Write + 'static>(mut from: Output, to: fn() -> W) {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        // At its bound the program is killed, and its end says why.
        let Ok(length @ 1..) = from.read(&mut piece).await else { return };
        piece.truncate(length);
        let written = spawn_blocking(move || {
            let mut to = to();
            to.write_all(&piece).and_then(|()| to.flush())
        });
        // Where nobody listens any more, nobody listens to the program either.
        if !written.await.is_ok_and(|written| written.is_ok()) {
            return;
        }
    }
}
