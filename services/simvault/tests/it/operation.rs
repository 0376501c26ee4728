//! Several links, silent cards, what stands in the logs.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use loadtest::{
    fleet::Phone,
    smsc::{Direction, Entry, Number, Outcome},
};
use mobile::Bearer;
use proto::centre::{self, restore_request::Selection};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    logs,
    rig::{Rig, msisdn, until, write},
};

/// Two links of one operator, and a card that never answers: the others get all of theirs, and as fast as without it,
/// measured in one run before, meanwhile and after.
#[tokio::test]
async fn a_silent_card_costs_the_others_nothing() {
    let rig = Rig::with(2, |_| {}).await;
    until("four links", async || rig.smsc.links().await == 4).await;
    let silent = rig.phone(80, Bearer::Sms).await;
    write(&silent, 1, "Before");
    rig.settled(&silent).await;
    let mut others = Vec::new();
    for at in 81..=86 {
        others.push(rig.phone(at, Bearer::Sms).await);
    }
    let before = act(&rig, &others, "Before").await;
    let number = Number::new(msisdn(80).as_bytes()).expect("number");
    rig.smsc.set_reachable(number, false).await;
    let all = Some(Selection::All(true));
    let request = centre::RestoreRequest { msisdn: msisdn(80), selection: all, ..Default::default() };
    let waiting = rig.commands.clone().restore(request).await.expect("restore").into_inner();
    write(&silent, 2, "Into the void");
    until("the silent card's messages wait at the SMSC", async || waiting_for(&rig, number) >= 2).await;
    let meanwhile = act(&rig, &others, "Meanwhile").await;
    // Its restore waits for it, alone; everything for the others was delivered.
    let actions = rig.actions(&msisdn(80), true).await;
    assert_eq!(actions.iter().filter(|action| action.action_id == waiting.action_id).count(), 1);
    assert!(waiting_for(&rig, number) >= 2);
    let undelivered = |entry: &&Entry| entry.msisdn != number && entry.outcome != Outcome::Delivered;
    until("the others have all of theirs", async || {
        !rig.smsc.ledger().entries().iter().any(|entry| undelivered(&entry))
    })
    .await;
    let entries = rig.smsc.ledger().entries();
    assert!(entries.iter().all(|entry| entry.msisdn == number || entry.attempts <= 1), "nothing was tried twice");
    // Reachable again: the SMSC hands over what it kept, and the restore goes on.
    rig.smsc.set_reachable(number, true).await;
    assert_eq!(rig.ended(&silent, waiting.action_id).await.state, "done");
    rig.settled(&silent).await;
    let after = act(&rig, &others, "After").await;
    println!("others: before {before:?}, meanwhile {meanwhile:?}, after {after:?}");
    assert!(meanwhile.took < before.took.max(after.took) * 3, "{before:?}, {meanwhile:?}, {after:?}");
    assert!(meanwhile.answered < before.answered.max(after.answered) * 3, "{before:?}, {meanwhile:?}, {after:?}");
    rig.stop().await;
}

/// What some phones did together.
#[derive(Debug)]
struct Act {
    /// From the first contact written to the last restore done.
    took: Duration,
    /// From a message's offer to the SMSC until the centre's answer, the median.
    answered: Duration,
}

/// All write eight contacts, wait for their acknowledgements, and are restored.
async fn act(rig: &Rig, phones: &[Arc<Phone>], name: &str) -> Act {
    let (began, earlier) = (Instant::now(), rig.fleet.latencies().len());
    for phone in phones {
        for record in 1..=8 {
            write(phone, record, &format!("{name} {record}"));
        }
    }
    for phone in phones {
        rig.settled(phone).await;
        assert_eq!(rig.restore(phone, 0, Selection::All(true)).await.state, "done");
    }
    let took = began.elapsed();
    let mut latencies = rig.fleet.latencies().split_off(earlier);
    latencies.sort_unstable();
    assert!(latencies.len() >= phones.len(), "every phone sent something: {}", latencies.len());
    Act { took, answered: latencies[latencies.len() / 2] }
}

/// Messages that the SMSC keeps for a phone.
fn waiting_for(rig: &Rig, number: Number) -> usize {
    let is_kept = |entry: &&Entry| {
        entry.msisdn == number && entry.direction == Direction::MobileTerminated && entry.outcome == Outcome::Stored
    };
    rig.smsc.ledger().entries().iter().filter(is_kept).count()
}

/// Covers: PF-16
#[tokio::test]
async fn one_trace_leads_from_deliver_sm_to_submit_sm() {
    let rig = Rig::start().await;
    // A number whose masked form no other test has.
    let phone = rig.phone(9_999_999, Bearer::Sms).await;
    write(&phone, 1, "Alice");
    rig.settled(&phone).await;
    let arrived = logs::lines(&["message of 491*******99 arrived"]);
    assert_eq!(arrived.len(), 1, "the card sent one message: {:#?}", logs::lines(&["arrived"]));
    let trace = logs::hexadecimal_after(&arrived[0], "trace ");
    assert_eq!(trace.len(), 32);
    for hop in ["committed", "acknowledgement launched", "submitted"] {
        assert_eq!(logs::lines(&[hop, &trace]).len(), 1, "{hop}: {:#?}", logs::lines(&[&trace]));
    }
    // What is counted is there too, and numbers and names are nobody's business.
    assert!(logs::lines(&["Alice"]).is_empty());
    assert!(logs::lines(&[&msisdn(9_999_999)]).is_empty());
    rig.stop().await;
}

/// SMS, then IP, then SMS again: what is sent next follows the card's configuration.
#[tokio::test]
async fn a_card_moves_from_one_channel_to_the_other_and_back() {
    let rig = Rig::start().await;
    let phone = rig.phone(90, Bearer::Sms).await;
    let sent = || phone.with(|station| (station.statistics().sms_sent, station.statistics().ip_sent));
    write(&phone, 1, "By SMS");
    rig.settled(&phone).await;
    assert_eq!(sent().1, 0);
    for (record, bearer) in [(2, Bearer::Ip), (3, Bearer::Sms)] {
        let item = link::configuration::Item::Bearer(bearer);
        assert_eq!(rig.configure(&phone, &[item]).await.state, "done");
        assert_eq!(phone.with(|station| station.bearer()), bearer);
        let before = sent();
        write(&phone, record, "Moved");
        rig.settled(&phone).await;
        let after = sent();
        let (by_sms, by_ip) = (after.0 > before.0, after.1 > before.1);
        assert_eq!((by_sms, by_ip), (bearer == Bearer::Sms, bearer == Bearer::Ip));
        assert_eq!(rig.restore(&phone, 0, Selection::All(true)).await.state, "done");
    }
    rig.stop().await;
}

/// Another address of the same centre: hands connections on, and counts them.
async fn second_address(to: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let (address, connections) = (listener.local_addr().expect("address"), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut card, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut centre = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut card, &mut centre).await
            });
        }
    });
    (address, connections)
}

/// CID 0x03: the phone connects again, to the address that its card has now, and what is on its way is not lost.
#[tokio::test]
async fn a_card_with_a_new_address_of_the_centre_connects_there() {
    let rig = Rig::start().await;
    let (address, connections) = second_address(rig.cards).await;
    let phone = rig.phone(91, Bearer::Ip).await;
    write(&phone, 1, "Old address");
    rig.settled(&phone).await;
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    let item = link::configuration::Item::CentreIp(address);
    assert_eq!(rig.configure(&phone, &[item]).await.state, "done");
    assert_eq!(phone.with(|station| station.centre_ip()), Some(address));
    write(&phone, 2, "New address");
    rig.settled(&phone).await;
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    // And what the centre starts finds the card there.
    assert_eq!(rig.restore(&phone, 0, Selection::All(true)).await.state, "done");
    rig.stop().await;
}
