//! Every interleaving of the lock-free parts, as loom sees them.
//!
//! `RUSTFLAGS="--cfg airssys_loom" cargo test -p airssys-rt --lib --release models`

use std::sync::Arc;

use loom::thread;

use super::queue::{Pop, Queue, Reader};

struct Pair {
    queue: Queue,
    reader: Reader,
}

// SAFETY: in these models one thread at a time reads.
unsafe impl Sync for Pair {}

impl Pair {
    fn new() -> Arc<Self> {
        Arc::new(Self { queue: Queue::new(), reader: Reader::new() })
    }

    fn push(&self, value: Box<u32>) -> bool {
        // SAFETY: all values are boxes.
        unsafe { self.queue.push(value) }
    }

    fn pop(&self) -> Pop<Box<u32>> {
        // SAFETY: as above.
        unsafe { self.queue.pop(&self.reader) }
    }
}

#[test]
fn models_push_and_pop() {
    loom::model(|| {
        let pair = Pair::new();
        let senders: Vec<_> = [10, 20]
            .map(|base| {
                let pair = Arc::clone(&pair);
                thread::spawn(move || {
                    pair.push(Box::new(base));
                    pair.push(Box::new(base + 1));
                })
            })
            .into();
        let mut seen = Vec::new();
        while seen.len() < 4 {
            match pair.pop() {
                Pop::Item(value) => seen.push(*value),
                Pop::Empty | Pop::Busy => thread::yield_now(),
            }
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert!(matches!(pair.pop(), Pop::Empty));
        let of = |base| seen.iter().copied().filter(|value| value / 10 == base / 10).collect::<Vec<_>>();
        assert_eq!((of(10), of(20)), (vec![10, 11], vec![20, 21]));
    });
}
