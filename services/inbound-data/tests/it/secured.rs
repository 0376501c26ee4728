//! Secured packets at the service's own door: counters and writes of one commit, keys that cannot be had, replies.

use bytes::Bytes;
use domain::{
    phonebook::{AccountState, Bearer},
    security::{KeySource, KeyVersion, Keyring, Level, Security, TAR_DOWN, TAR_UP},
};
use proto::inbound::{InboundMessage, Outcome};
use secured::{
    Algorithm, CardKeys, Spi,
    command::{self, Command},
    response::{self, Response, Status},
};

use crate::harness::{Card, Centre, adn, sms, start_with, view};

const MASTER: &str = "00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF";
/// Reason 0E (D-11).
const REFUSED: (Outcome, u32) = (Outcome::Refused, 0x0E);

async fn start(master: &str) -> Centre {
    start_with(std::sync::Arc::default(), |config| {
        config.master_key = runtime::config::Secret::new(master);
    })
    .await
}

fn security() -> Security {
    let current = KeyVersion::new(1, Algorithm::Aes128, KeySource::Derived);
    Security { level: Level::Integrity, tar_up: TAR_UP, tar_down: TAR_DOWN, current, previous: None }
}

fn keys(number: u32) -> CardKeys {
    let keyring = Keyring::from_setting(MASTER).unwrap();
    keyring.keys(&view(number).device.iccid, &security().current).unwrap()
}

fn packet(number: u32, counter: u64, data: Vec<u8>) -> InboundMessage {
    let command = Command { spi: Spi::INTEGRITY, tar: TAR_UP, counter, data };
    let packet = command::seal(&command, &keys(number).up).unwrap();
    InboundMessage { user_data_header: Bytes::from_static(&[0x70, 0]), ..sms(number, packet) }
}

async fn answer(centre: &mut Centre, message: InboundMessage) -> (Outcome, u32) {
    centre.clock.advance(std::time::Duration::from_secs(1));
    centre.edge.ingest(vec![message]).await[0]
}

/// Covers: S1-BK-05
#[tokio::test]
async fn a_packet_is_opened_and_its_counter_used_up_with_what_it_did() {
    let mut centre = start(MASTER).await;
    centre.subscriber_with(1, |view| view.state.security = Some(security()));
    let mut card = Card::default();
    let first = packet(1, 7, card.backup(1, &adn("Anna")));
    assert_eq!(answer(&mut centre, first.clone()).await, (Outcome::Stored, 0));
    assert_eq!(centre.record(1, 1), Some(adn("Anna")));
    assert_eq!(centre.state(1).security.unwrap().current.window.highest, 7);
    centre.until("its answer is queued", |centre| !centre.queue.entries().is_empty()).await;
    assert!(centre.queue.entries()[0].is_secured, "its answer is read with the device before it leaves");
    // The network repeats what it has no answer for: the first answer again, and nothing is done twice.
    assert_eq!(answer(&mut centre, first.clone()).await, (Outcome::Duplicate, 0));
    assert_eq!(answer(&mut centre, packet(1, 8, card.backup(1, &adn("Berta")))).await, (Outcome::Stored, 0));
    let journal = centre.store.tables().journal.len();
    for refused in [first, packet(2, 9, card.backup(1, &adn("Eve"))), sms(1, card.backup(1, &adn("Eve")))] {
        let as_number_1 = InboundMessage { originator: sms(1, vec![]).originator, ..refused };
        assert_eq!(answer(&mut centre, as_number_1).await, REFUSED);
    }
    {
        let tables = centre.store.tables();
        assert_eq!((tables.journal.len(), tables.notices.len(), tables.dead_letters.len()), (journal, 0, 0));
        assert_eq!(tables.billing.len(), 6, "every signal is billed (D-64)");
    }
    assert_eq!(centre.record(1, 1), Some(adn("Berta")));
    assert!(centre.errors.lock().unwrap().is_empty(), "nothing is answered to what may be forged");
    centre.stop().await;
}

/// The same octets behind F0, in a frame of the card's link.
fn on_ip(counter: u64, message: &InboundMessage) -> InboundMessage {
    InboundMessage {
        bearer: proto::inbound::Bearer::Ip.into(),
        user_data_header: Bytes::new(),
        payload: [&[0xF0], &message.payload[..]].concat().into(),
        reference: Some(counter),
        device_id: view(1).device.key.device.0,
        ..message.clone()
    }
}

/// Covers: S1-BK-05
#[tokio::test]
async fn on_ip_the_packets_counter_holds_whatever_the_frames_is() {
    let mut centre = start(MASTER).await;
    centre.subscriber_with(1, |view| view.state.security = Some(security()));
    let mut card = Card::default();
    let first = packet(1, 7, card.backup(1, &adn("Anna")));
    assert_eq!(answer(&mut centre, on_ip(1, &first)).await, (Outcome::Stored, 0));
    assert_eq!(centre.record(1, 1), Some(adn("Anna")));
    assert_eq!(answer(&mut centre, on_ip(2, &packet(1, 8, card.backup(1, &adn("Berta"))))).await, (Outcome::Stored, 0));
    assert_eq!(answer(&mut centre, on_ip(3, &first)).await, REFUSED, "a replay in a new frame");
    assert_eq!(answer(&mut centre, first).await, REFUSED, "nor by the other bearer");
    let mut forged = on_ip(4, &packet(1, 9, card.backup(1, &adn("Eve"))));
    forged.payload = forged.payload.iter().enumerate().map(|(at, octet)| octet ^ u8::from(at == 30)).collect();
    assert_eq!(answer(&mut centre, forged).await, REFUSED);
    let plain = InboundMessage { payload: card.backup(1, &adn("Eve")).into(), ..on_ip(5, &packet(1, 10, vec![8])) };
    assert_eq!(answer(&mut centre, plain).await, REFUSED);
    assert_eq!(centre.record(1, 1), Some(adn("Berta")));
    // The card's word on a packet of the centre changes nothing; one that is not its own is refused.
    let response = Response { tar: TAR_DOWN, counter: 5, status: Status::CounterLow, data: Vec::new() };
    let sealed = response::seal(&response, security().spi_down(Bearer::Ip), &keys(1).down).unwrap();
    let receipt =
        |keys: &[u8]| InboundMessage { payload: [&[0xF1], keys].concat().into(), ..on_ip(6, &sms(1, vec![])) };
    assert_eq!(answer(&mut centre, receipt(&sealed)).await, (Outcome::Stored, 0));
    assert_eq!(answer(&mut centre, receipt(&sealed[..sealed.len() - 1])).await, REFUSED);
    assert_eq!(centre.store.tables().journal.len(), 2);
    centre.stop().await;
}

#[tokio::test]
async fn without_keys_the_network_keeps_the_message() {
    for (master, source) in
        [("", KeySource::Derived), (MASTER, KeySource::Awaited), (MASTER, KeySource::Wrapped(vec![0x5A; 72].into()))]
    {
        let mut centre = start(master).await;
        centre.subscriber_with(1, |view| {
            let current = KeyVersion::new(1, Algorithm::Aes128, source.clone());
            view.state.security = Some(Security { current, ..security() });
        });
        let message = packet(1, 7, Card::default().backup(1, &adn("Anna")));
        assert_eq!(answer(&mut centre, message).await.0, Outcome::Retry, "{source:?}");
        assert!(centre.store.tables().billing.is_empty());
        centre.stop().await;
    }
}

#[tokio::test]
async fn an_error_message_to_a_secured_card_is_a_packet() {
    let mut centre = start(MASTER).await;
    centre.subscriber_with(1, |view| {
        view.state.security = Some(security());
        view.subscriber.state = AccountState::Suspended;
    });
    assert_eq!(answer(&mut centre, packet(1, 7, vec![0x08, 0, 1])).await, (Outcome::Refused, 0x0A));
    centre.until("the error is launched", |centre| !centre.errors.lock().unwrap().is_empty()).await;
    let launch = centre.errors.lock().unwrap()[0].clone();
    assert_eq!(launch.user_data_header[..], [0x70, 0]);
    let command = command::open(&launch.payload, &keys(1).down).unwrap();
    assert_eq!((command.tar, command.data[0] & 0xF8), (TAR_DOWN, 0x48));
    assert!(command.counter > 0);
    // What a device without keys sends as a packet is nothing.
    centre.subscriber(2);
    assert_eq!(answer(&mut centre, packet(2, 1, vec![0x08])).await, REFUSED);
    centre.stop().await;
}
