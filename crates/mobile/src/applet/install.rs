//! Installation over the air (S1-ST-05): the package is in the card since it was made, a message makes the applet.
//!
//! The message is an INSTALL command [for install and make selectable] (ETSI TS 102 226 8.2.1.3.2, GlobalPlatform 11.5), sent
//! by the centre as class 2 data download. This card asks for no security of it; a real one would not take it plain.

use sms::{Address, Deliver};

use super::{
    Profile,
    inbox::{self, Received},
};

/// CLA, INS, P1 (for install, and make selectable), P2.
const INSTALL: [u8; 4] = [0x80, 0xE6, 0x0C, 0x00];
/// Application identifier without its last octet, which is the embodiment. F0: not registered, so nobody else's.
const APPLICATION: [u8; 7] = [0xF0, b'B', b'A', b'C', b'K', b'U', b'P'];

/// The application data that installs the applet of the profile.
#[must_use]
pub fn install_message(profile: &Profile) -> Vec<u8> {
    let identifier = [&APPLICATION[..], &[embodiment(profile)]].concat();
    let length = u8::try_from(identifier.len()).unwrap_or(u8::MAX);
    let mut data = Vec::new();
    // Load file, module, instance: all three by the same identifier.
    for _ in 0..3 {
        data.push(length);
        data.extend(&identifier);
    }
    // Privileges 00; parameters C9 of no length; no token.
    data.extend([0x01, 0x00, 0x02, 0xC9, 0x00, 0x00]);
    let mut message = INSTALL.to_vec();
    message.push(u8::try_from(data.len()).unwrap_or(u8::MAX));
    message.extend(data);
    message
}

/// Whether the SMS-DELIVER is the centre's order to install this profile's applet.
pub(super) fn is_wanted(tpdu: &[u8], centre: Option<&Address>, profile: &Profile) -> bool {
    let Ok(deliver) = Deliver::decode(tpdu) else { return false };
    inbox::read(&deliver, centre) == Received::Payload(install_message(profile))
}

fn embodiment(profile: &Profile) -> u8 {
    match profile {
        Profile::First(_) => 1,
        Profile::Second => 2,
        Profile::Third(_) => 3,
    }
}
