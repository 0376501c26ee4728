//! Messages of the virtual reader, however the connection cuts them.

use proptest::prelude::*;
use uicc::vpcd::{Framer, Request, frame};

use super::hex;

fn requests(framer: &mut Framer) -> Vec<Request> {
    std::iter::from_fn(|| framer.next_request()).collect()
}

#[test]
fn controls_and_commands() {
    let mut framer = Framer::default();
    framer.push(&hex("000100 000101 000102 000104 000107 0000 0005A0C000000F 00"));
    let command = Request::Command(hex("A0C000000F").into());
    let expected = [
        Request::PowerOff,
        Request::PowerOn,
        Request::Reset,
        Request::AnswerToReset,
        Request::Unknown,
        Request::Unknown,
        command.clone(),
    ];
    assert_eq!(requests(&mut framer), expected);
    framer.push(&hex("05A0C0"));
    assert_eq!(requests(&mut framer), []);
    framer.push(&hex("00000F"));
    assert_eq!(requests(&mut framer), [command]);
    assert_eq!(frame(&hex("9F16")), hex("0002 9F16"));
}

proptest! {
    #[test]
    fn cuts_do_not_matter(octets in proptest::collection::vec(any::<u8>(), 0..600), at in 0_usize..600) {
        let (mut whole, mut cut) = (Framer::default(), Framer::default());
        whole.push(&octets);
        let (first, second) = octets.split_at(at.min(octets.len()));
        cut.push(first);
        let mut found = requests(&mut cut);
        cut.push(second);
        found.extend(requests(&mut cut));
        prop_assert_eq!(found, requests(&mut whole));
    }
}
