//! Who is let in, by address and by the minute.

use std::net::IpAddr;

use proptest::prelude::{prop_assert, proptest};

use super::*;
use baton_types::{Clock, ManualClock};

fn source(text: &str) -> Source {
    Source::of(text.parse::<IpAddr>().unwrap())
}

fn admission(connections: u32, connects_per_minute: u32) -> Admission {
    Admission::new(AdmissionLimits {
        connections,
        connects_per_minute,
        deny_seconds: 60,
        sources: 4,
    })
}

/// Connects and disconnects.
fn visit(admission: &mut Admission, clock: &ManualClock, source: Source) -> Result<(), Refusal> {
    admission.enter(clock.now(), source)?;
    admission.leave(source);
    Ok(())
}

#[test]
fn ipv6_host_has_one_source_and_mapped_ipv4_is_ipv4() {
    assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
    assert_eq!(source("::ffff:192.0.2.7"), source("192.0.2.7"));
    assert_ne!(source("192.0.2.7"), source("192.0.2.8"));
}

#[test]
fn twelve_connections_at_limit_five() {
    let mut admission = admission(5, 1_000);
    let clock = ManualClock::default();
    let (busy, other) = (source("192.0.2.7"), source("192.0.2.8"));
    let results: Vec<_> = (0..12).map(|_| admission.enter(clock.now(), busy)).collect();
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 5);
    assert_eq!(results[11], Err(Refusal::Connections));
    assert_eq!(admission.enter(clock.now(), other), Ok(()), "others do not suffer");
    admission.leave(busy);
    assert_eq!(admission.enter(clock.now(), busy), Ok(()));
    assert_eq!(admission.enter(clock.now(), busy), Err(Refusal::Connections));
}

#[test]
fn forty_connects_at_twenty_a_minute_then_let_in_again() {
    let mut admission = admission(100, 20);
    let clock = ManualClock::default();
    let busy = source("192.0.2.7");
    let results: Vec<_> = (0..40).map(|_| visit(&mut admission, &clock, busy)).collect();
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 20);
    assert!(results[20..].iter().all(|r| *r == Err(Refusal::TooOften)));
    clock.advance(60 * SECOND - 1);
    assert_eq!(visit(&mut admission, &clock, busy), Err(Refusal::TooOften));
    clock.advance(1);
    let results: Vec<_> = (0..40).map(|_| visit(&mut admission, &clock, busy)).collect();
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 20, "counted from nothing");
}

#[test]
fn burst_over_a_minutes_end_is_one_burst() {
    let mut admission = admission(100, 20);
    let clock = ManualClock::default();
    let busy = source("192.0.2.7");
    clock.advance(59 * SECOND);
    for _ in 0..15 {
        visit(&mut admission, &clock, busy).unwrap();
    }
    clock.advance(2 * SECOND);
    let let_in = (0..20)
        .take_while(|_| visit(&mut admission, &clock, busy).is_ok())
        .count();
    assert_eq!(let_in, 5, "59/60 of the 15 still count, rounded up");
}

#[test]
fn steady_visitor_below_the_limit_is_never_shut_out() {
    let mut admission = admission(100, 20);
    let clock = ManualClock::default();
    for _ in 0..1_000 {
        visit(&mut admission, &clock, source("192.0.2.7")).unwrap();
        clock.advance(4 * SECOND); // 15 a minute
    }
}

#[test]
fn table_is_bounded_and_forgets_the_quiet() {
    let mut admission = admission(5, 20);
    let clock = ManualClock::default();
    let sources: Vec<_> = (1..=5).map(|n| source(&format!("192.0.2.{n}"))).collect();
    admission.enter(clock.now(), sources[0]).unwrap(); // stays
    for source in &sources[1..4] {
        visit(&mut admission, &clock, *source).unwrap();
    }
    assert_eq!(admission.enter(clock.now(), sources[4]), Err(Refusal::Sources));
    assert_eq!(
        visit(&mut admission, &clock, sources[1]),
        Ok(()),
        "the known are served"
    );
    clock.advance(2 * MINUTE);
    assert_eq!(admission.enter(clock.now(), sources[4]), Ok(()));
    assert_eq!(admission.counts.len(), 2, "those with a connection");
}

#[test]
fn one_record_a_minute_for_each_source() {
    let mut admission = admission(5, 20);
    let clock = ManualClock::default();
    let (one, two) = (source("192.0.2.1"), source("192.0.2.2"));
    visit(&mut admission, &clock, one).unwrap();
    assert_eq!(admission.may_record(clock.now(), one), Some(0));
    for _ in 0..7 {
        assert_eq!(admission.may_record(clock.now(), one), None);
    }
    assert_eq!(
        admission.may_record(clock.now(), two),
        Some(0),
        "one that is not counted"
    );
    clock.advance(MINUTE);
    assert_eq!(admission.may_record(clock.now(), one), Some(7));
}

proptest! {
    /// Whatever comes in whatever order: never more connections than allowed, never more sources than remembered,
    /// and no more connects in a minute of the clock than the limit.
    #[test]
    fn prop_limits_hold(events in proptest::collection::vec((0..6u8, 0..3u8, 0..40u64), 0..400)) {
        let mut admission = admission(3, 10);
        let clock = ManualClock::default();
        let mut open = [0u32; 6];
        let mut admitted = HashMap::new();
        for (who, what, seconds) in events {
            let source = source(&format!("192.0.2.{who}"));
            let open = &mut open[usize::from(who)];
            match what {
                0 if *open > 0 => {
                    admission.leave(source);
                    *open -= 1;
                }
                1 => clock.advance(seconds * SECOND),
                _ if admission.enter(clock.now(), source).is_ok() => {
                    *open += 1;
                    let in_minute = admitted.entry((who, clock.now() / MINUTE)).or_insert(0);
                    *in_minute += 1;
                    // A source that was shut out and let in again within a minute has its count twice.
                    prop_assert!(*in_minute <= 20);
                }
                _ => {}
            }
            prop_assert!(*open <= 3);
            prop_assert!(admission.counts.len() <= 4);
        }
    }
}
