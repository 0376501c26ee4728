//! A card that speaks on IP itself, over a channel of its phone (BIP): the centre sees no difference.

use mobile::{Bearer, BipConfig, Station, StationConfig};
use proto::centre::{self, restore_request::Selection};

use crate::rig::{Rig, card_settings, held, ip_key, msisdn, new_account, write, write_long};

/// Backed up, changed, restored by a push of the centre; then once more over a centre that was restarted.
#[tokio::test]
async fn the_card_itself_speaks_the_ip_framing() {
    let mut rig = Rig::start().await;
    let account = centre::NewAccount { personalised: true, ..new_account(3, Bearer::Ip) };
    rig.subscribe(account).await;
    let bip = BipConfig { msisdn: msisdn(3), key: ip_key(3), centre: rig.cards, network: "internet".to_owned() };
    let phone = rig.switch_on(3, Station::new(StationConfig { bip: Some(bip.into()), ..card_settings(Bearer::Ip) }));
    for record in 1..=12 {
        write(&phone, record, &format!("Name {record}"));
    }
    write_long(&phone, 20, "Long");
    rig.settled(&phone).await;
    let (before, moment) = (held(&phone), runtime::clock::now());
    write(&phone, 3, "Other");
    rig.settled(&phone).await;
    assert_eq!(rig.restore(&phone, moment, Selection::All(true)).await.state, "done");
    assert_eq!(held(&phone), before);
    rig.restart_centre().await;
    write(&phone, 4, "After");
    rig.settled(&phone).await;
    assert_eq!(phone.with(|station| station.statistics()).sms_sent, 0);
    rig.stop().await;
}
