//! What takes long and has nothing to compute, carried on beside those that answer requests.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use tokio::sync::mpsc;

/// The trial of a version, until its client was told what came of it.
pub(super) type Trial<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Carries on what is handed over, all at once, as long as it is polled. Dropped, it drops what is under way.
pub(super) async fn carry_on(mut begun: mpsc::UnboundedReceiver<Trial<'_>>) {
    let mut all: Vec<Trial<'_>> = Vec::new();
    poll_fn(|cx| {
        let is_over = loop {
            match begun.poll_recv(cx) {
                Poll::Ready(Some(trial)) => all.push(trial),
                Poll::Ready(None) => break true,
                Poll::Pending => break false,
            }
        };
        all.retain_mut(|trial| trial.as_mut().poll(cx).is_pending());
        if is_over && all.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn many_are_carried_on_side_by_side() {
        let (hand_over, begun) = mpsc::unbounded_channel::<Trial<'_>>();
        let (mut ends, mut told) = (Vec::new(), Vec::new());
        for _ in 0..9 {
            let ((end, ended), (tell, hear)) = (oneshot::channel::<()>(), oneshot::channel::<()>());
            let trial = async move {
                let _ = ended.await;
                let _ = tell.send(());
            };
            assert!(hand_over.send(Box::pin(trial)).is_ok());
            ends.push(end);
            told.push(hear);
        }
        drop(hand_over);
        let last_first = async {
            while let (Some(end), Some(hear)) = (ends.pop(), told.pop()) {
                end.send(()).unwrap();
                hear.await.unwrap();
            }
        };
        tokio::join!(carry_on(begun), last_first);
    }
}
