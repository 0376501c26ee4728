//! What a station is made of, what happens to it, what it does, and the files of its card.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use link::configuration::Bearer;
use uicc::files::{EF_ADN, EF_EXT1, EF_ICCID, EF_IMSI, EF_PHASE, EF_SMS, EF_SMSP, EF_SST, FileSystem};

use crate::{applet::Profile, bip::BipConfig, guard::CardSecurity, own_memory::OwnMemoryConfig};

/// What a station is made of.
#[derive(Clone, Debug)]
pub struct StationConfig {
    /// The centre's E.164 number, digits only: the address that service messages go to and come from (D-124).
    pub centre_isdn: String,
    pub bearer: Bearer,
    pub service_on: bool,
    /// What the card speaks with its centre (D-50), with the settings of that profile.
    pub profile: Profile,
    /// Without a card the station is a device that has only a memory of its own: a phone without one, a PDA (AS-GN-04).
    pub has_card: bool,
    /// An address book in the device itself, backed up by software of the device (AS-GN-03).
    pub own_memory: Option<OwnMemoryConfig>,
    /// Without an applet the card waits for the message that installs it (S1-ST-05).
    pub applet_installed: bool,
    /// Records of EF_ADN (1 to 254) and EF_EXT1.
    pub adn_records: u8,
    pub ext1_records: u8,
    /// Octets of the alpha identifier in EF_ADN; 14 makes records of 28 octets, and the first embodiment has no others (D-25).
    pub alpha_octets: u8,
    /// CHV1, padded with FF.
    pub chv1: [u8; 8],
    /// The shortest poll interval that the phone grants (D-34).
    pub poll_minimum: Duration,
    /// How its messages are secured; `None`: they are plain.
    pub security: Option<CardSecurity>,
    /// The phone reports a short message as sent at once, without waiting for [`Input::SmsSubmitResult`].
    pub immediate_result: bool,
    /// The card speaks the IP link itself, over a channel of the phone; `None`: the phone speaks it for its card (D-114).
    pub bip: Option<Box<BipConfig>>,
}

impl Default for StationConfig {
    fn default() -> Self {
        Self {
            centre_isdn: "447700900000".to_owned(),
            bearer: Bearer::Sms,
            service_on: true,
            profile: Profile::default(),
            has_card: true,
            own_memory: None,
            applet_installed: true,
            adn_records: 100,
            ext1_records: 20,
            alpha_octets: 14,
            chv1: *b"1234\xFF\xFF\xFF\xFF",
            poll_minimum: Duration::from_secs(1),
            security: None,
            immediate_result: false,
            bip: None,
        }
    }
}

/// What happens to a station.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// An SMS-DELIVER TPDU.
    SmsDeliver(Vec<u8>),
    /// What the network said to [`Output::SmsSubmit`].
    SmsSubmitResult {
        reference: u8,
        ok: bool,
    },
    /// Application data over IP.
    IpPayload(Bytes),
    /// [`Output::ChannelOpen`] has led to a connection, or not.
    ChannelOpened(bool),
    /// Octets over that connection.
    ChannelData(Bytes),
    /// It is gone.
    ChannelClosed,
    /// The user picks an item of the card's menu.
    MenuSelection(u8),
    /// The user picks an item of the device's own menu, numbered as the card's: a backup of its own memory.
    OwnMenuSelection(u8),
    /// A call is being set up (true), or its set-up is over. Meanwhile the phone neither polls nor fetches (S3-BK-05).
    CallSetUp(bool),
    /// What the user types when the phone is next switched on: CHV1, padded with FF.
    EnterChv1([u8; 8]),
    PowerOff,
    PowerOn,
}

/// What a station does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// An SMS-SUBMIT TPDU whose TP-MR is `reference`.
    SmsSubmit {
        reference: u8,
        tpdu: Vec<u8>,
    },
    IpPayload(Bytes),
    /// The card wants a TCP connection there; one at a time.
    ChannelOpen(SocketAddr),
    /// Octets for that connection.
    ChannelData(Bytes),
    ChannelClose,
    /// DISPLAY TEXT, or a short message for a person.
    Display(String),
}

/// Counted since the station was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Reported as sent.
    pub sms_sent: u64,
    pub sms_failed: u64,
    pub sms_received: u64,
    /// Class 2 for EF_SMS: stored, and refused because it is full.
    pub sms_stored: u64,
    pub sms_refused: u64,
    pub ip_sent: u64,
    pub ip_received: u64,
    /// REFRESH commands carried out.
    pub refreshes: u64,
    pub records_backed_up: u64,
    pub records_restored: u64,
    /// Error messages that the centre sent.
    pub errors_received: u64,
    /// Messages to a secured card that were plain, forged or repeated.
    pub insecure_refused: u64,
    /// Records left to the database checksum after all repeats (D-36).
    pub records_given_up: u64,
    /// Asynchronous backups that the centre has ended with success.
    pub backups_completed: u64,
    /// The longest time for which the phone was busy with its card's short messages without a pause (AS-GN-02).
    pub longest_blocked: Duration,
}

/// The files of a new card.
pub(crate) fn personalised(config: &StationConfig) -> FileSystem {
    let mut files = FileSystem::new();
    files.add_linear(EF_ADN, config.alpha_octets.min(241) + 14, config.adn_records.clamp(1, 254));
    files.add_linear(EF_EXT1, 13, config.ext1_records.clamp(1, 254));
    files.add_linear(EF_SMS, 176, 20);
    files.add_linear(EF_SMSP, 28, 1);
    files.add_transparent(EF_ICCID, vec![0x98, 0x10, 0x14, 0x30, 0x12, 0x11, 0x81, 0x15, 0x70, 0x02]);
    files.add_transparent(EF_IMSI, vec![0x08, 0x09, 0x10, 0x10, 0x10, 0x32, 0x54, 0x76, 0x98]);
    files.add_transparent(EF_PHASE, vec![0x03]);
    files.add_transparent(EF_SST, vec![0xFF; 10]);
    files
}
