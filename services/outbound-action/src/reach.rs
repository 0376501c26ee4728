//! Which devices have no IP session, and since when (D-69): after 60 s the short message takes its place, and after a
//! while IP is tried again.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use domain::{
    identity::{DeviceKey, Timestamp},
    phonebook::Bearer,
};

use crate::metrics as names;

/// Devices remembered at most; the oldest are forgotten first, and one that is not remembered is tried by IP first.
const DEVICES_MAX: usize = 200_000;
/// After this long on SMS, IP is tried again.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Unreachable devices.
pub struct Reach {
    fallback: Duration,
    devices_max: usize,
    away: Mutex<Away>,
}

/// Since when each is away, and the same in order of time.
#[derive(Default)]
struct Away {
    since: HashMap<DeviceKey, Timestamp>,
    oldest: BTreeSet<(Timestamp, DeviceKey)>,
}

impl Away {
    fn remove(&mut self, device: DeviceKey) {
        if let Some(since) = self.since.remove(&device) {
            self.oldest.remove(&(since, device));
        }
    }

    /// Forgets whoever is away for `age` or longer, and then the oldest until there is room for one more; how many had to
    /// make room.
    fn make_room(&mut self, now: Timestamp, age: Duration, devices_max: usize) -> u64 {
        let mut early = 0;
        while let Some((since, device)) = self.oldest.first().copied() {
            let is_over = now.since(since) >= age;
            if !is_over && self.since.len() < devices_max {
                break;
            }
            early += u64::from(!is_over);
            self.remove(device);
        }
        early
    }
}

impl Reach {
    pub fn new(fallback: Duration) -> Self {
        Self { fallback, devices_max: DEVICES_MAX, away: Mutex::default() }
    }

    /// The channel to use now for a device that prefers `preferred`.
    pub fn choose(&self, device: DeviceKey, preferred: Bearer, now: Timestamp) -> Bearer {
        if preferred == Bearer::Sms {
            return Bearer::Sms;
        }
        let mut away = self.lock();
        match away.since.get(&device).map(|since| now.since(*since)) {
            Some(age) if age >= self.fallback + FORGET_AFTER => {
                away.remove(device);
                Bearer::Ip
            }
            Some(age) if age >= self.fallback => Bearer::Sms,
            _ => Bearer::Ip,
        }
    }

    /// No live session was found.
    pub fn missing(&self, device: DeviceKey, now: Timestamp) {
        let mut away = self.lock();
        if away.since.contains_key(&device) {
            return;
        }
        let early = away.make_room(now, self.fallback + FORGET_AFTER, self.devices_max);
        if early > 0 {
            metrics::counter!(names::REACH_FULL).increment(early);
        }
        away.since.insert(device, now);
        away.oldest.insert((now, device));
    }

    /// A session took a message.
    pub fn found(&self, device: DeviceKey) {
        self.lock().remove(device);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Away> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use domain::identity::{DeviceId, SubscriberId};

    use super::*;

    #[test]
    fn a_minute_without_a_session_means_sms_until_ip_is_tried_again() {
        let reach = Reach::new(Duration::from_secs(60));
        let device = DeviceKey { subscriber: SubscriberId(1), device: DeviceId(1) };
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        reach.missing(device, at(0));
        reach.missing(device, at(50));
        assert_eq!(reach.choose(device, Bearer::Ip, at(59)), Bearer::Ip);
        assert_eq!(reach.choose(device, Bearer::Ip, at(60)), Bearer::Sms);
        assert_eq!(reach.choose(device, Bearer::Sms, at(0)), Bearer::Sms);
        assert_eq!(reach.choose(device, Bearer::Ip, at(660)), Bearer::Ip, "tried again");
        reach.missing(device, at(700));
        reach.found(device);
        assert_eq!(reach.choose(device, Bearer::Ip, at(800)), Bearer::Ip);
    }
    #[test]
    fn a_full_map_forgets_the_oldest_and_the_fallback_goes_on() {
        let reach = Reach { devices_max: 100, ..Reach::new(Duration::from_secs(60)) };
        let device = |id| DeviceKey { subscriber: SubscriberId(id), device: DeviceId(id) };
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        for id in 0..250 {
            reach.missing(device(id), at(id));
        }
        assert_eq!(reach.choose(device(249), Bearer::Ip, at(309)), Bearer::Sms, "the last counts like the first");
        assert_eq!(reach.choose(device(149), Bearer::Ip, at(309)), Bearer::Ip, "forgotten");
        assert_eq!(reach.choose(device(150), Bearer::Ip, at(309)), Bearer::Sms);
        // Long after, all are over: one new one clears them, whether or not anybody asked for them.
        reach.missing(device(999), at(5000));
        let away = reach.lock();
        assert_eq!((away.since.len(), away.oldest.len()), (1, 1));
    }
}
