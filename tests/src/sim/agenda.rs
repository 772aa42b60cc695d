//! `Agenda`: what is going to happen, in the order of virtual time.
//!
//! Time stands still while something is carried out and jumps to the next item, so a minute of waiting costs
//! nothing. Items of one moment keep the order in which they were put down: no order is left to chance.

use std::collections::BTreeMap;

use baton_types::Time;

/// A queue by virtual time, in microseconds since the history began.
#[derive(Debug)]
pub struct Agenda<T> {
    now: Time,
    count: u64,
    items: BTreeMap<(Time, u64), T>,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Agenda {
            now: 0,
            count: 0,
            items: BTreeMap::new(),
        }
    }
}

impl<T> Agenda<T> {
    /// The virtual time: that of the item taken last.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Puts `item` down for `delay` from now.
    pub fn after(&mut self, delay: Time, item: T) {
        self.count += 1;
        self.items.insert((self.now + delay, self.count), item);
    }

    /// Takes the next item due by `until`; without one the time becomes `until`.
    pub fn next(&mut self, until: Time) -> Option<T> {
        match self.items.first_entry() {
            Some(entry) if entry.key().0 <= until => {
                self.now = entry.key().0;
                Some(entry.remove())
            }
            Some(_) | None => {
                self.now = self.now.max(until);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_by_time_then_by_order() {
        let mut agenda = Agenda::default();
        for (delay, item) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b')] {
            agenda.after(delay, item);
        }
        let mut seen = Vec::new();
        while let Some(item) = agenda.next(100) {
            seen.push((agenda.now(), item));
        }
        assert_eq!(seen, [(1, 'a'), (3, 'b'), (5, 'c'), (5, 'd')]);
        assert_eq!(agenda.now(), 100);
    }

    #[test]
    fn what_is_due_later_stays() {
        let mut agenda = Agenda::default();
        agenda.after(10, ());
        assert_eq!((agenda.next(9), agenda.now()), (None, 9));
        assert_eq!((agenda.next(10), agenda.now()), (Some(()), 10));
    }
}
