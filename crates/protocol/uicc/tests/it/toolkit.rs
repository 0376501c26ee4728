use std::time::Duration;

use proptest::prelude::*;
use uicc::{
    files::EF_ADN,
    proactive::{Envelope, ProactiveCommand, TerminalResponse, TimerAction, envelope},
};

use super::hex;

#[test]
fn proactive_commands_as_published() {
    let menu = vec![(1, "Backup now".to_owned()), (2, "Restore".to_owned())];
    let cases = [
        (
            ProactiveCommand::SendShortMessage {
                alpha: Some(b"Backup".to_vec()),
                tpdu: hex("11 00 04 81 7788 00 F6 A7 04 01020304"),
            },
            // The published example also names the service centre (86), which this card leaves to the phone.
            "D0 21 8103011300 82028183 85064261636B7570 8B0E 1100048177880 0F6A70401020304",
        ),
        (ProactiveCommand::PollInterval(Duration::from_secs(30)), "D0 0D 8103010300 82028182 8402011E"),
        (ProactiveCommand::PollingOff, "D0 09 8103010400 82028182"),
        (
            ProactiveCommand::TimerManagement { timer_id: 1, action: TimerAction::Start(Duration::from_secs(300)) },
            "D0 11 8103012700 82028182 A40101 A503005000",
        ),
        (
            ProactiveCommand::TimerManagement { timer_id: 1, action: TimerAction::GetValue },
            "D0 0C 8103012702 82028182 A40101",
        ),
        (ProactiveCommand::SetUpEventList { events: vec![3, 4, 5, 9] }, "D0 0F 8103010500 82028182 990403040509"),
        (
            ProactiveCommand::Refresh { qualifier: 1, files: vec![EF_ADN] },
            "D0 12 8103010101 82028182 9207013F007F106F3A",
        ),
        (
            ProactiveCommand::DisplayText { text: "Backup done".to_owned() },
            "D0 17 8103012181 82028102 8D0C044261636B757020646F6E65",
        ),
        (
            ProactiveCommand::SetUpMenu { title: "Phonebook".to_owned(), items: menu },
            "D0 2B 8103012500 82028182 850950686F6E65626F6F6B 8F0B014261636B7570206E6F77 8F0802526573746F7265",
        ),
    ];
    for (command, octets) in cases {
        assert_eq!(command.encode(1), hex(octets), "{command:?}");
        assert_eq!(ProactiveCommand::decode(&hex(octets)), Ok((1, command)));
    }
}

#[test]
fn terminal_responses_as_published() {
    let poll = ProactiveCommand::PollInterval(Duration::from_secs(30));
    let mut granted = TerminalResponse::to(1, &poll, 0);
    granted.duration = Some(Duration::from_secs(30));
    assert_eq!(granted.encode(), hex("8103010300 82028281 830100 8402011E"));
    assert_eq!(TerminalResponse::decode(&granted.encode()), Ok(granted));
    let refused = TerminalResponse::decode(&hex("8103011300 82028281 83023526")).expect("well-formed");
    assert!(!refused.is_success());
    assert_eq!(refused.additional, [0x26]);
}

#[test]
fn envelopes_as_published() {
    let tpdu = hex("04 04 81 7788 7F F6 22705200000000 04 10203040");
    let octets = hex("D1 22 82028381 8607 91947112123254 8B13 04048 177887FF622705200000000 0410203040");
    let service_centre = hex("91 947112123254");
    assert_eq!(envelope::sms_pp_download(&service_centre, &tpdu).len(), octets.len());
    assert_eq!(envelope::decode(&octets), Ok(Envelope::SmsPpDownload { tpdu }));
    assert_eq!(envelope::menu_selection(1), hex("D3 07 82020181 900101"));
    assert_eq!(envelope::timer_expiration(1, Duration::from_secs(300)), hex("D7 0C 82028281 A40101 A503005000"));
}

proptest! {
    #[test]
    fn any_octets_are_a_command_or_an_error(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _outcome = ProactiveCommand::decode(&octets);
        let _outcome = TerminalResponse::decode(&octets);
        let _outcome = envelope::decode(&octets);
    }
}
