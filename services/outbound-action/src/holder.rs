//! Holds the acknowledgements of a device until its message is full or the first has waited long enough (D-56). Pure:
//! time is an argument.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use domain::{
    delivery::{QueueEntry, build},
    identity::DeviceKey,
    phonebook::Bearer,
};

/// Octets of one record of an acknowledgement.
const RECORD_OCTETS: usize = 3;

/// Acknowledgements for one message (or more, when one alone is larger), each with what its owner needs to finish it.
pub struct Held<T> {
    pub device: DeviceKey,
    pub entries: Vec<(QueueEntry, T)>,
    records: usize,
    since: Instant,
}

/// Of one channel.
pub struct Holder<T> {
    hold: Duration,
    limit: usize,
    held: HashMap<DeviceKey, Held<T>>,
    /// Devices in the order of their first record; one whose message went early is skipped by its time.
    order: VecDeque<(Instant, DeviceKey)>,
}

impl<T> Holder<T> {
    pub fn new(channel: Bearer, hold: Duration) -> Self {
        Self { hold, limit: build::limit(channel), held: HashMap::new(), order: VecDeque::new() }
    }

    /// Adds an acknowledgement; what is full now comes back.
    pub fn add(&mut self, entry: QueueEntry, owner: T, now: Instant) -> Vec<Held<T>> {
        let acknowledgement = entry.acknowledgement.as_ref();
        let records = acknowledgement.map_or(0, |it| it.records.len() / RECORD_OCTETS);
        // A card has one profile, and so has what is held for it.
        let records_max = acknowledgement.map_or(1, |it| build::acknowledged_max(it.profile, self.limit));
        let device = entry.device;
        let mut full = Vec::new();
        // One that would not fit any more goes without the newcomer.
        if self.held.get(&device).is_some_and(|held| held.records + records > records_max) {
            full.extend(self.held.remove(&device));
        }
        let held = self.held.entry(device).or_insert_with(|| {
            self.order.push_back((now, device));
            Held { device, entries: Vec::new(), records: 0, since: now }
        });
        held.entries.push((entry, owner));
        held.records += records;
        if held.records >= records_max || self.hold.is_zero() {
            full.extend(self.held.remove(&device));
        }
        full
    }

    /// What has waited long enough.
    pub fn due(&mut self, now: Instant) -> Vec<Held<T>> {
        let mut due = Vec::new();
        while self.order.front().is_some_and(|(since, _)| *since + self.hold <= now) {
            let Some((since, device)) = self.order.pop_front() else { break };
            if self.held.get(&device).is_some_and(|held| held.since == since) {
                due.extend(self.held.remove(&device));
            }
        }
        due
    }

    /// When [`Self::due`] has something next, at the earliest.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.order.front().map(|(since, _)| *since + self.hold)
    }

    /// Everything: the process stops.
    pub fn drain(&mut self) -> Vec<Held<T>> {
        self.order.clear();
        self.held.drain().map(|(_, held)| held).collect()
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        delivery::{Acknowledgement, ActionId},
        identity::{DeviceId, Msisdn, SubscriberId},
        phonebook::Profile,
    };

    use super::*;

    fn entry(device: i64, records: usize) -> QueueEntry {
        entry_of(Profile::E2, device, records)
    }

    fn entry_of(profile: Profile, device: i64, records: usize) -> QueueEntry {
        QueueEntry {
            device: DeviceKey { subscriber: SubscriberId(device), device: DeviceId(device) },
            action: ActionId(1),
            msisdn: Msisdn::parse("441234567").unwrap(),
            channel: Bearer::Sms,
            acknowledgement: Some(Acknowledgement { profile, records: [0, 1, 0].repeat(records).into() }),
            is_secured: false,
            traces: Vec::new(),
        }
    }

    fn sizes(held: &[Held<()>]) -> Vec<(i64, usize)> {
        held.iter().map(|held| (held.device.device.0, held.entries.len())).collect()
    }

    #[test]
    fn entries_of_a_device_wait_for_each_other_until_the_first_is_due() {
        let start = Instant::now();
        let mut holder = Holder::new(Bearer::Sms, Duration::from_millis(200));
        for at in 0..5 {
            assert!(holder.add(entry(1, 1), (), start + Duration::from_millis(at * 10)).is_empty());
        }
        assert!(holder.add(entry(2, 1), (), start + Duration::from_millis(100)).is_empty());
        assert_eq!(holder.next_timeout(), Some(start + Duration::from_millis(200)));
        assert!(holder.due(start + Duration::from_millis(199)).is_empty());
        assert_eq!(sizes(&holder.due(start + Duration::from_millis(200))), [(1, 5)]);
        assert_eq!(sizes(&holder.due(start + Duration::from_millis(300))), [(2, 1)]);
        assert_eq!(holder.next_timeout(), None);
    }

    #[test]
    fn a_full_message_goes_at_once_and_the_next_begins_anew() {
        let start = Instant::now();
        let mut holder = Holder::new(Bearer::Sms, Duration::from_millis(200));
        assert!(holder.add(entry(1, 45), (), start).is_empty());
        assert_eq!(sizes(&holder.add(entry(1, 1), (), start)), [(1, 2)], "46 records of 3 octets fill 140");
        let later = start + Duration::from_millis(100);
        assert!(holder.add(entry(1, 40), (), later).is_empty());
        assert_eq!(sizes(&holder.add(entry(1, 10), (), later)), [(1, 1)]);
        assert!(holder.due(start + Duration::from_millis(200)).is_empty(), "the old time is not the new one's");
        assert_eq!(sizes(&holder.due(later + Duration::from_millis(200))), [(1, 1)]);
        assert_eq!(sizes(&holder.add(entry(1, 60), (), later)), [(1, 1)], "more than a message: by itself");
    }

    /// D-56: an acknowledgement of E1 is full with four results, a confirmation of E3 with one.
    #[test]
    fn a_message_is_full_as_its_profile_has_it() {
        let start = Instant::now();
        let mut holder = Holder::new(Bearer::Sms, Duration::from_millis(200));
        assert!(holder.add(entry_of(Profile::E1, 1, 3), (), start).is_empty());
        assert_eq!(sizes(&holder.add(entry_of(Profile::E1, 1, 2), (), start)), [(1, 1)]);
        assert_eq!(sizes(&holder.add(entry_of(Profile::E1, 1, 2), (), start)), [(1, 2)]);
        for _ in 0..2 {
            assert_eq!(sizes(&holder.add(entry_of(Profile::E3, 2, 1), (), start)), [(2, 1)]);
        }
    }
}
