//! Trying several addresses, after RFC 8305: one after the other, and beside each other where one is slow.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// Orders addresses so that the families take turns, beginning with that of the first. Within a family the order stays.
pub(super) fn interleave<T>(
    items: impl IntoIterator<Item = T>,
    is_first_family: impl Fn(&T) -> bool,
) -> Vec<T> {
    let (first, second): (Vec<T>, Vec<T>) = items.into_iter().partition(is_first_family);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::new();
    loop {
        match (first.next(), second.next()) {
            (None, None) => return ordered,
            (one, other) => ordered.extend([one, other].into_iter().flatten()),
        }
    }
}

/// Runs attempts until one succeeds. The next one starts when the one before has failed, or has taken `delay`.
///
/// The others are dropped. Where all fail, the failure is that of the one which started first; without an attempt
/// there is nothing.
pub(super) async fn race<T, E, F>(
    attempts: impl IntoIterator<Item = F>,
    delay: Duration,
) -> Option<Result<T, E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = attempts.into_iter().peekable();
    let mut running: Vec<(usize, Pin<Box<F>>)> = Vec::new();
    let mut failure: Option<(usize, E)> = None;
    let mut started = 0;
    let mut next = pin!(sleep(Duration::ZERO));
    poll_fn(move |cx| {
        loop {
            let before = running.len();
            if let Poll::Ready(won) = poll_all(&mut running, &mut failure, cx) {
                return Poll::Ready(Some(Ok(won)));
            }
            let none_failed = !running.is_empty() && running.len() == before;
            // A timer costs a wake-up of whoever sleeps on it: none is set where there is nothing to start.
            if none_failed && (waiting.peek().is_none() || next.as_mut().poll(cx).is_pending()) {
                return Poll::Pending;
            }
            match waiting.next() {
                Some(attempt) => running.push((started, Box::pin(attempt))),
                None if running.is_empty() => {
                    return Poll::Ready(failure.take().map(|(_, error)| Err(error)));
                }
                None => return Poll::Pending,
            }
            started += 1;
            next.as_mut().reset(Instant::now() + delay);
        }
    })
    .await
}

fn poll_all<T, E, F>(
    running: &mut Vec<(usize, Pin<Box<F>>)>,
    failure: &mut Option<(usize, E)>,
    cx: &mut Context<'_>,
) -> Poll<T>
where
    F: Future<Output = Result<T, E>>,
{
    let mut won = None;
    running.retain_mut(|(number, attempt)| {
        if won.is_some() {
            return true;
        }
        match attempt.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(value)) => {
                won = Some(value);
                false
            }
            Poll::Ready(Err(error)) => {
                if failure.as_ref().is_none_or(|(first, _)| *number < *first) {
                    *failure = Some((*number, error));
                }
                false
            }
        }
    });
    won.map_or(Poll::Pending, Poll::Ready)
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    const DELAY: Duration = Duration::from_millis(250);

    #[test]
    fn families_take_turns() {
        let order = |text: &str| {
            let first = text.chars().next().is_none_or(char::is_uppercase);
            interleave(text.chars(), |letter| letter.is_uppercase() == first).into_iter().collect::<String>()
        };
        assert_eq!(order("ABCxyz"), "AxByCz");
        assert_eq!(order("xABy"), "xAyB");
        assert_eq!(order("ABC"), "ABC");
        assert_eq!(order("xABC"), "xABC");
        assert_eq!(order(""), "");
    }

    /// Each attempt: how long it takes, in milliseconds, and whether it succeeds. Returns who won or failed first, when,
    /// and when each attempt began.
    async fn run(attempts: &[(u64, bool)]) -> (Option<Result<usize, usize>>, u64, Vec<u64>) {
        let start = Instant::now();
        let now = move || (Instant::now() - start).as_millis() as u64;
        let begun = Rc::new(RefCell::new(Vec::new()));
        let attempts = attempts.iter().enumerate().map(|(number, (takes, succeeds))| {
            let begun = Rc::clone(&begun);
            async move {
                begun.borrow_mut().push(now());
                sleep(Duration::from_millis(*takes)).await;
                if *succeeds { Ok(number) } else { Err(number) }
            }
        });
        let result = race(attempts, DELAY).await;
        (result, now(), begun.take())
    }

    #[tokio::test(start_paused = true)]
    async fn attempts() {
        assert_eq!(run(&[(10, true), (1, true)]).await, (Some(Ok(0)), 10, vec![0]));
        assert_eq!(run(&[(10, false), (5, true)]).await, (Some(Ok(1)), 15, vec![0, 10]));
        assert_eq!(run(&[(9_000, true), (5, true)]).await, (Some(Ok(1)), 255, vec![0, 250]));
        assert_eq!(run(&[(300, true), (9_000, true)]).await, (Some(Ok(0)), 300, vec![0, 250]));
        assert_eq!(
            run(&[(9_000, false), (9_000, false), (1, false)]).await,
            (Some(Err(0)), 9_250, vec![0, 250, 500])
        );
        assert_eq!(run(&[(1, false), (1, false)]).await, (Some(Err(0)), 2, vec![0, 1]));
        assert_eq!(run(&[]).await, (None, 0, vec![]));
    }
}
