use std::time::Duration;

use proptest::prelude::*;
use uicc::{
    channel::{ChannelStatus, LINK_DROPPED, OpenChannel},
    files::{EF_ADN, Path},
    proactive::{Envelope, Event, ProactiveCommand, TerminalResponse, TimerAction, envelope},
    tlv::MalformedTlv,
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
        (ProactiveCommand::MoreTime, "D0 09 8103010200 82028182"),
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
fn published_commands_of_other_cards() {
    let send = hex("D02A 8103011300 82028183 85064261636B7570 860791947112123254 8B0E 110004817788 00F6A70401020304");
    let Ok((1, ProactiveCommand::SendShortMessage { tpdu, .. })) = ProactiveCommand::decode(&send) else {
        panic!("with the address of a service centre");
    };
    assert_eq!(tpdu, hex("11 00 04 81 7788 00 F6 A7 04 01020304"));
    let refresh = hex("D014 8103010101 82028182 9209013F007F105F3A4F3A");
    let Ok((1, ProactiveCommand::Refresh { qualifier: 1, files })) = ProactiveCommand::decode(&refresh) else {
        panic!("with a path of three levels");
    };
    assert_eq!(files, [Path { df: 0x5F3A, ef: 0x4F3A }]);
    let unknown = hex("D009 8103012600 82028182");
    assert_eq!(ProactiveCommand::decode(&unknown), Err(MalformedTlv::UnknownCommand { kind: 0x26 }));
    let answer = TerminalResponse::to_unknown(&unknown).expect("details");
    assert_eq!((answer.command_type, answer.general_result), (0x26, 0x31));
    assert_eq!(TerminalResponse::to_unknown(&hex("D003 820281")), None);
}

/// The bearer independent protocol: commands, answers and events.
#[test]
fn channels_as_published() {
    let open = OpenChannel { buffer_octets: 0x0578, network: "internet".to_owned(), to: ([127, 0, 0, 1], 8080).into() };
    for (command, octets) in [
        (
            ProactiveCommand::OpenChannel(open.clone()),
            "D027 8103014001 82028182 350103 39020578 470908696E7465726E6574 3C03021F90 3E05217F000001",
        ),
        (ProactiveCommand::SendData { channel: 1, data: b"Hello".to_vec() }, "D010 8103014301 82028121 B60548656C6C6F"),
        (ProactiveCommand::ReceiveData { channel: 1, octets: 0xFF }, "D00C 8103014200 82028121 B701FF"),
        (ProactiveCommand::CloseChannel { channel: 1 }, "D009 8103014100 82028121"),
        (ProactiveCommand::GetChannelStatus, "D009 8103014400 82028182"),
    ] {
        assert_eq!(command.encode(1), hex(octets), "{command:?}");
        assert_eq!(ProactiveCommand::decode(&hex(octets)), Ok((1, command)));
    }
    let status = ChannelStatus { channel: 1, is_up: true, information: 0 };
    let opened = TerminalResponse {
        channel_status: Some(status),
        buffer_octets: Some(0x0578),
        ..TerminalResponse::to(1, &ProactiveCommand::OpenChannel(open), 0)
    };
    let got = TerminalResponse {
        data: Some(b"OK".to_vec()),
        data_length: Some(0),
        ..TerminalResponse::to(1, &ProactiveCommand::ReceiveData { channel: 1, octets: 2 }, 0)
    };
    let sent = ProactiveCommand::SendData { channel: 1, data: Vec::new() };
    let sent = TerminalResponse { data_length: Some(0xFF), ..TerminalResponse::to(1, &sent, 0) };
    let asked = TerminalResponse::to(1, &ProactiveCommand::GetChannelStatus, 0);
    let asked = TerminalResponse { channel_status: Some(status), ..asked };
    for (response, octets) in [
        (opened, "8103014001 82028281 830100 38028100 350103 39020578"),
        (sent, "8103014301 82028281 830100 B701FF"),
        (got, "8103014200 82028281 830100 B6024F4B B70100"),
        (asked, "8103014400 82028281 830100 38028100"),
    ] {
        assert_eq!(response.encode(), hex(octets), "{response:?}");
        assert_eq!(TerminalResponse::decode(&hex(octets)), Ok(response));
    }
    let available = Event::DataAvailable { status, octets: 16 };
    let octets = hex("D6 0E 990109 82028281 B8028100 B70110");
    assert_eq!(envelope::event_download(available), octets);
    assert_eq!(envelope::decode(&octets), Ok(Envelope::Event(available)));
    let dropped = Event::ChannelStatus(ChannelStatus { channel: 1, is_up: false, information: LINK_DROPPED });
    assert_eq!(envelope::decode(&envelope::event_download(dropped)), Ok(Envelope::Event(dropped)));
    assert!(envelope::decode(&hex("D6 07 990104 82028281")).is_err(), "an event that this card did not ask for");
}

#[test]
fn terminal_responses_as_published() {
    let poll = ProactiveCommand::PollInterval(Duration::from_secs(30));
    let mut granted = TerminalResponse::to(1, &poll, 0);
    granted.duration = Some(Duration::from_secs(30));
    assert_eq!(granted.encode(), hex("8103010300 82028281 830100 8402011E"));
    assert_eq!(TerminalResponse::decode(&granted.encode()), Ok(granted));
    let done = "8103011300 82028281 830100";
    assert!(TerminalResponse::decode(&hex(done)).expect("well-formed").is_success());
    let timer = TerminalResponse::decode(&hex("8103012702 82028281 830100 A40101 A503004103")).expect("well-formed");
    assert!(timer.is_success());
    let busy = TerminalResponse::decode(&hex("8103011300 82028281 83022001")).expect("well-formed");
    assert!(!busy.is_success());
    let refused = TerminalResponse::decode(&hex("8103011300 82028281 83023526")).expect("well-formed");
    assert!(!refused.is_success());
    assert_eq!(refused.additional, [0x26]);
}

#[test]
fn envelopes_as_published() {
    let tpdu = hex("04 04 81 7788 7F F6 22705200000000 04 10203040");
    let octets = hex("D1 22 82028381 8607 91947112123254 8B13 04048 177887FF622705200000000 0410203040");
    let service_centre = hex("91 947112123254");
    assert_eq!(envelope::sms_pp_download(&service_centre, &tpdu), octets);
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
