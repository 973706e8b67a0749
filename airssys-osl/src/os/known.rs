//! What is open, for a new policy to find: weak, because whoever opened it closes it.

use std::sync::Weak;

/// The least room that is made, so that a short list is not swept at each step.
const LEAST: usize = 4;

/// Adds to a list of what is alive. Who died is swept out when the list is full and at no other time; as much room is made
/// then as is in use, so that a sweep costs each addition the same, however many are alive.
pub(crate) fn add_weak<T: ?Sized>(list: &mut Vec<Weak<T>>, added: Weak<T>) {
    if list.len() == list.capacity() {
        list.retain(|known| known.strong_count() > 0);
        list.reserve(list.len().max(LEAST));
    }
    list.push(added);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_full_list_of_the_living_is_not_swept_at_each_addition() {
        let mut list = Vec::new();
        let mut alive: Vec<_> = (0..1000).map(Arc::new).collect();
        alive.iter().for_each(|one| add_weak(&mut list, Arc::downgrade(one)));
        let mut sweeps = 0;
        for one in &mut alive {
            let before = list.len();
            // One goes, one comes.
            *one = Arc::new(0);
            add_weak(&mut list, Arc::downgrade(one));
            sweeps += usize::from(list.len() != before + 1);
        }
        assert!((1..=2).contains(&sweeps), "{sweeps} sweeps");
        assert!(list.capacity() <= 4096, "{}", list.capacity());
    }

    #[test]
    fn a_list_of_the_dead_does_not_grow() {
        let mut list = Vec::new();
        for number in 0..10_000 {
            add_weak(&mut list, Arc::downgrade(&Arc::new(number)));
        }
        assert!(list.capacity() <= 2 * LEAST, "{}", list.capacity());
    }
}
