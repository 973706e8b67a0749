use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MS: u64 = TICK_NANOS;

/// What is due at `now`, in order.
fn due(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
    let mut all = Vec::new();
    wheel.advance(now, |due| all.push(due));
    sort(&mut all);
    all.into_iter().map(|due| due.value).collect()
}

/// Checks that a timer armed at tick `from` for `at` waits for tick `tick`, alone.
fn check(from: u64, at: u64, tick: u64) {
    let mut wheel = Wheel::new();
    assert_eq!(due(&mut wheel, from), [0; 0]);
    wheel.arm(at, 1);
    assert_eq!(wheel.next(), tick);
    if tick > from {
        assert_eq!(due(&mut wheel, tick - 1), [0; 0], "early");
        assert_eq!(wheel.next(), tick);
    }
    assert_eq!(due(&mut wheel, tick), [1], "late");
    assert_eq!(wheel.next(), NEVER);
}

#[test]
fn deadlines_are_rounded_up_to_ticks() {
    check(0, 1, 1);
    check(0, MS, 1);
    check(0, MS + 1, 2);
    check(7, 8 * MS - 1, 8);
}

#[test]
fn deadlines_on_every_level() {
    for level in 0..LEVELS as u32 - 1 {
        for tick in [(1_u64 << (BITS * level)) - 1, 1 << (BITS * level), (1 << (BITS * level)) + 1] {
            check(0, tick * MS, tick);
            check(1 << 20, (tick + (1 << 20)) * MS, tick + (1 << 20));
        }
    }
}

#[test]
fn a_past_deadline_is_due_at_once() {
    check(0, 0, 0);
    check(100, 0, 100);
    check(100, 99 * MS + 1, 100);
}

#[test]
fn centuries_are_just_far() {
    let century = 100 * 365 * 24 * 3_600 * 1_000;
    check(0, century * MS, century);
    check(5 * century, u64::MAX, u64::MAX / MS + 1);
}

#[test]
fn equal_deadlines_come_in_the_order_of_arming() {
    let mut wheel = Wheel::new();
    // The first from a coarser level than the others, which are armed when the time has come nearer.
    wheel.arm(5_000 * MS, 1);
    assert_eq!(due(&mut wheel, 4_990), [0; 0]);
    wheel.arm(5_000 * MS, 2);
    wheel.arm(5_000 * MS - 1, 0);
    wheel.arm(5_000 * MS, 3);
    assert_eq!(due(&mut wheel, 5_000), [0, 1, 2, 3]);
}

#[test]
fn a_stale_key_is_harmless() {
    let mut wheel = Wheel::new();
    let fired = wheel.arm(MS, 1);
    assert_eq!(due(&mut wheel, 1), [1]);
    let cancelled = wheel.arm(2 * MS, 2);
    assert_eq!(wheel.cancel(cancelled), Some(2));
    // In the same place as both.
    let armed = wheel.arm(3 * MS, 3);
    for stale in [fired, cancelled] {
        assert_eq!(wheel.get_mut(stale), None);
        assert_eq!(wheel.cancel(stale), None);
    }
    assert_eq!(wheel.get_mut(armed), Some(&mut 3));
    assert_eq!(due(&mut wheel, 3), [3]);
}

#[test]
fn after_a_cancellation_there_is_one_look_too_many() {
    let mut wheel = Wheel::new();
    let keys: Vec<_> = (1..=1_000).map(|n| wheel.arm(n * 70 * MS, n as u32)).collect();
    wheel.arm(3_600_000 * MS, 0);
    keys.into_iter().for_each(|key| assert!(wheel.cancel(key).is_some()));
    assert_eq!(wheel.next(), 3_600_000, "no two share a bucket with one that is still armed");

    let early = wheel.arm(3_599_999 * MS, 0);
    wheel.cancel(early);
    assert_eq!(wheel.next(), 3_599_999);
    assert_eq!(due(&mut wheel, 3_599_999), [0; 0]);
    assert_eq!(wheel.next(), 3_600_000);
}

#[test]
fn an_entry_is_a_cache_line() {
    assert!(slab::size_of_entry::<crate::timer::driver::Fire>() <= 64);
}

#[test]
fn a_burst_is_given_back() {
    let mut wheel = Wheel::new();
    for round in 1..=2 {
        for n in 0..10_000 {
            wheel.arm(round * MS, n);
        }
        assert!((10_000..10_256).contains(&wheel.slab.capacity()));
        assert_eq!(due(&mut wheel, round).len(), 10_000);
        assert!(wheel.slab.capacity() <= 4_096);
    }
}

#[test]
fn clearing_hands_everything_out() {
    let mut wheel = Wheel::new();
    let deadlines = [0, MS, 64 * MS, 1 << 50, u64::MAX];
    for at in deadlines {
        wheel.arm(at, at);
    }
    let mut all = Vec::new();
    wheel.clear(|at| all.push(at));
    all.sort_unstable();
    assert_eq!(all, deadlines);
    assert_eq!(wheel.next(), NEVER);
}

#[derive(Clone, Debug)]
enum Step {
    /// A deadline this far from the last look, in nanoseconds; it may be past.
    Arm(i64),
    /// The timer that was armed as the n-th of all, whatever became of it.
    Cancel(usize),
    /// Lets so many ticks pass.
    Advance(u64),
    /// Goes to where the wheel says.
    Jump,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ms = MS as i64;
    let delay = prop_oneof![
        // The same tick, and the one before and after it.
        -2 * ms..2 * ms,
        (-3..3_i64).prop_map(move |ticks| ticks * ms),
        (0..70_i64).prop_map(move |ticks| ticks * ms),
        // Where a bucket of some level ends.
        (0..6_u32, -1..2_i64).prop_map(move |(level, off)| ((1 << (BITS * level)) + off) * ms),
        0..10_000 * ms,
        0..i64::MAX / 64,
    ];
    let ticks = prop_oneof![0..3_u64, 0..200_u64, 0..300_000_u64, 0..40_000_000_u64];
    let step = prop_oneof![
        6 => delay.prop_map(Step::Arm),
        2 => any::<prop::sample::Index>().prop_map(|index| Step::Cancel(index.index(64))),
        2 => ticks.prop_map(Step::Advance),
        2 => Just(Step::Jump),
    ];
    prop::collection::vec(step, 1..100)
}

proptest! {
    #[test]
    fn a_wheel_is_a_sorted_map(steps in steps()) {
        let mut wheel = Wheel::new();
        let mut model = BTreeMap::new();
        let mut keys = Vec::new();
        let mut now = 0_u64;
        for step in steps {
            match step {
                Step::Arm(delay) => {
                    let number = keys.len() as u32;
                    let at = (now * MS).saturating_add_signed(delay);
                    keys.push((wheel.arm(at, number), (at, number)));
                    model.insert((at, number), number);
                }
                Step::Cancel(nth) => {
                    if let Some((key, place)) = keys.get(nth) {
                        let expected = model.remove(place);
                        prop_assert_eq!(wheel.get_mut(*key).copied(), expected);
                        prop_assert_eq!(wheel.cancel(*key), expected);
                    }
                    continue;
                }
                Step::Advance(ticks) => now += ticks,
                Step::Jump if wheel.next() == NEVER => {}
                Step::Jump => now = now.max(wheel.next()),
            }
            let first = model.keys().next().map_or(NEVER, |(at, _)| tick_of(*at));
            prop_assert!(wheel.next() <= first.max(now), "it would sleep past {}", first);
            if matches!(step, Step::Advance(_) | Step::Jump) {
                let later = model.split_off(&(now * MS, u32::MAX));
                let expected: Vec<_> = std::mem::replace(&mut model, later).into_values().collect();
                prop_assert_eq!(due(&mut wheel, now), expected);
                prop_assert!(wheel.next() > now);
            }
        }
        let mut left = Vec::new();
        wheel.clear(|number| left.push(number));
        prop_assert_eq!(left.len(), model.len());
    }

    /// Where nothing is cancelled, the wheel says exactly when to look.
    #[test]
    fn no_look_is_for_nothing(delays in prop::collection::vec(0..50_000_000 * MS, 1..50)) {
        let mut wheel = Wheel::new();
        for at in &delays {
            wheel.arm(*at, 0);
        }
        let mut ticks: Vec<_> = delays.into_iter().map(tick_of).collect();
        ticks.sort_unstable();
        ticks.dedup();
        for tick in ticks {
            prop_assert_eq!(wheel.next(), tick);
            prop_assert!(!due(&mut wheel, tick).is_empty());
        }
    }
}
