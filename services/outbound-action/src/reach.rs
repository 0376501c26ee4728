//! Which devices have no IP session, and since when (D-69): after 60 s the short message takes its place, and after a
//! while IP is tried again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use domain::{
    identity::{DeviceKey, Timestamp},
    phonebook::Bearer,
};

/// Devices remembered at most; one that is not is tried by IP first.
const DEVICES_MAX: usize = 200_000;
/// After this long on SMS, IP is tried again.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Unreachable devices.
pub struct Reach {
    fallback: Duration,
    since: Mutex<HashMap<DeviceKey, Timestamp>>,
}

impl Reach {
    pub fn new(fallback: Duration) -> Self {
        Self { fallback, since: Mutex::default() }
    }

    /// The channel to use now for a device that prefers `preferred`.
    pub fn choose(&self, device: DeviceKey, preferred: Bearer, now: Timestamp) -> Bearer {
        if preferred == Bearer::Sms {
            return Bearer::Sms;
        }
        let mut since = self.lock();
        match since.get(&device).map(|since| now.since(*since)) {
            Some(away) if away >= self.fallback + FORGET_AFTER => {
                since.remove(&device);
                Bearer::Ip
            }
            Some(away) if away >= self.fallback => Bearer::Sms,
            _ => Bearer::Ip,
        }
    }

    /// No live session was found.
    pub fn missing(&self, device: DeviceKey, now: Timestamp) {
        let mut since = self.lock();
        if since.len() < DEVICES_MAX {
            since.entry(device).or_insert(now);
        }
    }

    /// A session took a message.
    pub fn found(&self, device: DeviceKey) {
        self.lock().remove(&device);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<DeviceKey, Timestamp>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
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
}
