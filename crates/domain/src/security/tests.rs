//! Opening, sealing, counters and rotation against a card that has the same keys.

use bytes::Bytes;
use secured::{
    Algorithm, CardKeys, Spi,
    command::{self, Command},
    parameters::CounterMode,
    response::{self, Response, Status},
};

use super::{
    packet::{NotOpened, NotSealed, Opened, Refusal},
    *,
};
use crate::phonebook::{Bearer, DeviceState};

const ICCID: &str = "8949000000000000001";

fn keyring() -> Keyring {
    Keyring::from_setting(&"5A".repeat(32)).expect("a key")
}

fn security(level: Level) -> Security {
    let current = KeyVersion::new(1, Algorithm::Aes128, KeySource::Derived);
    Security { level, tar_up: TAR_UP, tar_down: TAR_DOWN, current, previous: None }
}

fn card(security: &Security) -> CardKeys {
    keyring().keys(ICCID, &security.current).expect("keys")
}

fn packet(security: &Security, counter: u64) -> Vec<u8> {
    let command = Command { spi: security.level.spi(), tar: TAR_UP, counter, data: vec![0x08, 1, 2] };
    command::seal(&command, &card(security).up).expect("sealed")
}

fn refused(security: &Security, packet: &[u8]) -> Option<&'static str> {
    match security.open(&keyring(), ICCID, packet) {
        Ok(_) => None,
        Err(NotOpened::Refused(refusal)) => Some(refusal.name()),
        Err(NotOpened::Keys(fault)) => Some(fault.name()),
    }
}

#[test]
fn what_the_card_seals_is_opened_and_what_the_centre_seals_the_card_opens() {
    for level in [Level::Integrity, Level::IntegrityAndCipher] {
        let security = security(level);
        let Ok(Opened { octets, stamp }) = security.open(&keyring(), ICCID, &packet(&security, 7)) else {
            panic!("not opened")
        };
        assert_eq!((octets, stamp), (Bytes::from_static(&[0x08, 1, 2]), Stamp { version: 1, counter: 7 }));
        let message: Vec<u8> = (0..98).collect();
        let sealed = security.seal(&keyring(), ICCID, Bearer::Sms, 9, &message).expect("sealed");
        let [one] = sealed.as_slice() else { panic!("{} messages", sealed.len()) };
        assert_eq!(one.user_data_header[..], [0x70, 0]);
        let command = command::open(&one.payload, &card(&security).down).expect("opened");
        assert_eq!((command.tar, command.counter, command.data), (TAR_DOWN, 9, message.clone()));
        let sealed = security.seal(&keyring(), ICCID, Bearer::Ip, 10, &message).expect("sealed");
        assert_eq!((sealed.len(), sealed[0].payload[0], sealed[0].user_data_header.len()), (1, 0xF0, 0));
        assert!(command::open(&sealed[0].payload[1..], &card(&security).down).is_ok());
    }
}

#[test]
fn the_capacity_is_what_is_sealed_in_one_message() {
    for (level, single) in [(Level::Integrity, 113), (Level::IntegrityAndCipher, 98)] {
        let security = security(level);
        let capacity = security.capacity(&keyring(), ICCID, Bearer::Sms).expect("keys");
        assert_eq!((capacity.single, capacity.most), (single, 242));
        let messages = |octets| security.seal(&keyring(), ICCID, Bearer::Sms, 1, &vec![1; octets]).map(|it| it.len());
        assert_eq!((messages(single), messages(single + 1), messages(242)), (Ok(1), Ok(2), Ok(2)));
        assert_eq!(messages(243), Err(NotSealed::TooLong { octets: 243 }));
        let capacity = security.capacity(&keyring(), ICCID, Bearer::Ip).expect("keys");
        let fits = |octets| security.seal(&keyring(), ICCID, Bearer::Ip, 1, &vec![1; octets]).is_ok();
        assert!(fits(capacity.single) && !fits(capacity.single + 1));
    }
}

/// Covers: S1-BK-05
#[test]
fn what_is_not_the_cards_own_is_refused() {
    let security = security(Level::IntegrityAndCipher);
    let good = packet(&security, 7);
    assert_eq!(refused(&security, &good), None);
    for bit in 0..good.len() * 8 {
        let mut forged = good.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(refused(&security, &forged).is_some(), "bit {bit}");
    }
    assert!((0..good.len()).all(|octets| refused(&security, &good[..octets]).is_some()));
    let made = |spi: Spi, tar, keys: &secured::KeySet| {
        command::seal(&Command { spi, tar, counter: 8, data: vec![0x08] }, keys).expect("sealed")
    };
    let keys = card(&security);
    assert_eq!(refused(&security, &made(Spi::CIPHER, TAR_DOWN, &keys.up)), Some("other_application"));
    assert_eq!(refused(&security, &made(Spi::INTEGRITY, TAR_UP, &keys.up)), Some("too_weak"));
    let unchecked = Spi { counter: CounterMode::Unchecked, ..Spi::CIPHER };
    assert_eq!(refused(&security, &made(unchecked, TAR_UP, &keys.up)), Some("too_weak"));
    assert_eq!(refused(&security, &made(Spi::CIPHER, TAR_UP, &keys.down)), Some("forged"), "reflected");
    let other = keyring().keys("8949000000000000002", &security.current).expect("keys");
    assert_eq!(refused(&security, &made(Spi::CIPHER, TAR_UP, &other.up)), Some("forged"), "another card's");
    let later = keyring().keys(ICCID, &KeyVersion { version: 2, ..security.current.clone() }).expect("keys");
    assert_eq!(refused(&security, &made(Spi::CIPHER, TAR_UP, &later.up)), Some("unknown_keys"));
}

#[test]
fn without_its_keys_nothing_is_refused_for_good() {
    let security = security(Level::Integrity);
    let good = packet(&security, 7);
    let open = |keyring: &Keyring, security: &Security| security.open(keyring, ICCID, &good).map(|_| ());
    assert_eq!(open(&Keyring::default(), &security), Err(NotOpened::Keys(KeyFault::NoMasterKey)));
    let source = keyring().keep(ICCID, 1, Algorithm::Aes128, &[7; 64]).expect("kept");
    let current = KeyVersion::new(1, Algorithm::Aes128, source);
    let kept = Security { current, ..security.clone() };
    let other = Keyring::from_setting(&"5B".repeat(32)).expect("a key");
    assert_eq!(open(&other, &kept), Err(NotOpened::Keys(KeyFault::Unopened)));
    assert_eq!(open(&keyring(), &kept), Err(NotOpened::Refused(Refusal::Forged)), "kept keys are others");
    assert_eq!(open(&keyring(), &kept.for_new_card()), Err(NotOpened::Keys(KeyFault::Awaited)));
    assert_eq!(open(&keyring(), &security.for_new_card()), Ok(()));
    assert!(keyring().keep(ICCID, 1, Algorithm::Aes256, &[7; 64]).is_err(), "keys of another length");
    assert!(Keyring::from_setting("5A").is_err() && Keyring::from_setting("").is_ok());
}

#[test]
fn each_counter_is_accepted_once_within_the_window() {
    let mut security = security(Level::Integrity);
    let stamp = |counter| Stamp { version: 1, counter };
    assert!(!security.accept(stamp(0)) && security.accept(stamp(100)));
    for counter in (37..100).rev() {
        assert!(security.is_new(stamp(counter)) && security.accept(stamp(counter)), "{counter}");
        assert!(!security.is_new(stamp(counter)) && !security.accept(stamp(counter)), "{counter} again");
    }
    assert!(!security.accept(stamp(36)), "too old");
    assert!(!security.accept(Stamp { version: 2, counter: 101 }), "no such keys");
}

#[test]
fn a_rotation_takes_what_was_under_way_until_the_card_is_heard_under_the_new_keys() {
    let mut security = security(Level::Integrity);
    assert!(security.accept(Stamp { version: 1, counter: 5 }));
    let old = packet(&security, 6);
    security.rotate(KeyVersion::new(2, Algorithm::Aes256, KeySource::Derived), true);
    assert_eq!(refused(&security, &old), None);
    assert!(!security.is_new(Stamp { version: 1, counter: 5 }), "a replay is a replay");
    assert!(security.accept(Stamp { version: 1, counter: 6 }));
    assert!(security.accept(Stamp { version: 2, counter: 1 }));
    assert_eq!((refused(&security, &old), security.previous.clone()), (Some("unknown_keys"), None));
    security.rotate(KeyVersion::new(3, Algorithm::Aes256, KeySource::Derived), false);
    assert!(security.version(2).is_none(), "given up at once");
}

#[test]
fn a_proof_of_receipt_is_opened_on_ip_alone() {
    let security = security(Level::IntegrityAndCipher);
    let response = Response { tar: TAR_DOWN, counter: 4, status: Status::CounterLow, data: Vec::new() };
    let spi = security.spi_down(Bearer::Ip);
    let sealed = response::seal(&response, spi, &card(&security).down).expect("sealed");
    assert_eq!(security.open_response(&keyring(), ICCID, Bearer::Ip, &sealed), Ok(response));
    assert!(security.open_response(&keyring(), ICCID, Bearer::Sms, &sealed).is_err(), "none was asked for");
    let mut forged = sealed;
    forged[8] ^= 1;
    assert!(security.open_response(&keyring(), ICCID, Bearer::Ip, &forged).is_err());
}

#[test]
fn the_stored_form_is_read_as_it_was_written() {
    for level in [Level::None, Level::Integrity, Level::IntegrityAndCipher] {
        for algorithm in Algorithm::ALL {
            let mut security = security(level);
            assert!(security.accept(Stamp { version: 1, counter: 1 << 39 }));
            let sources = [KeySource::Derived, KeySource::Awaited, KeySource::Wrapped(vec![9; 136].into())];
            for source in sources {
                security.rotate(KeyVersion::new(security.current.version + 1, algorithm, source), true);
                let state = DeviceState { security: Some(security.clone()), ..DeviceState::default() };
                assert_eq!(DeviceState::from_octets(state.to_octets(), 0, 0), Ok(state.clone()));
                assert_eq!(state.required_security().is_some(), level != Level::None);
                let mut cut = state.to_octets();
                cut.truncate(cut.len() - 1);
                assert!(DeviceState::from_octets(cut, 0, 0).is_err());
            }
        }
    }
    assert_eq!(DeviceState::default().to_octets()[0], 0x01, "a plain device is stored as ever");
    assert_eq!(Level::from_name("integrity"), Some(Level::Integrity));
}

#[test]
fn the_floor_of_counters_follows_the_time() {
    let day = |days: i64| Timestamp(START_OF_2024_MICROS + days * 86_400_000_000);
    assert_eq!((counter_floor(Timestamp(0)), counter_floor(day(0)), counter_floor(day(1))), (0, 0, 8_640_000));
    assert!(counter_floor(day(100 * 365)) < secured::counter::MAX / 2);
    assert_eq!(counter_floor(Timestamp(i64::MAX)), secured::counter::MAX / 2);
}
