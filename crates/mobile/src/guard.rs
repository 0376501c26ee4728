//! Secured packets on the card (TS 102 225, D-08, D-120): a layer between whichever applet the card has and its bearers.
//!
//! The applet speaks plainly; what leaves it is put into packets, and what comes is opened before the applet sees it. The
//! keys and the counters are in EEPROM; the card is strict: a counter that is not higher than the last is refused, and so is
//! whatever comes plain.

use std::collections::VecDeque;

use bytes::Bytes;
use secured::{
    CardKeys, Fault, KeySet, Spi, Tar,
    bearer::{self, Capacity, Part},
    command::{self, Command, Header},
    counter,
    parameters::ProofOfReceipt,
    response::{self, Response, Status},
};
use sms::{Alphabet, Deliver, PID_SIM_DATA_DOWNLOAD, Submit, UserData, UserDataHeader};
use uicc::{
    applet::Applet,
    files::{EF_SMS, FileSystem, Path},
    proactive::{ProactiveCommand, TerminalResponse},
};

/// What a card is personalised with.
#[derive(Clone, Debug)]
pub struct CardSecurity {
    /// What packets have, and the least that is taken: [`Spi::INTEGRITY`] or [`Spi::CIPHER`].
    pub least: Spi,
    /// One or more versions; the first is used until the centre uses another.
    pub keys: Vec<CardKeys>,
    /// The centre's application, and this one.
    pub tar_up: Tar,
    pub tar_down: Tar,
}

/// An applet, behind the layer or (`None`) without it.
pub struct Guarded<A> {
    pub applet: A,
    // Most cards have none, and thousands of them live in one process.
    guard: Option<Box<Guard>>,
}

/// IP payloads of the layer's own that wait for the phone.
const ANSWERS_MAX: usize = 8;

struct Guard {
    least: Spi,
    tar_up: Tar,
    tar_down: Tar,
    versions: Vec<Version>,
    /// Which of them the card sends with.
    current: usize,
    /// The first of two messages from the centre: reference, number and octets.
    part: Option<(u8, u8, Vec<u8>)>,
    second: Second,
    /// Proofs of receipt for IP.
    answers: VecDeque<Bytes>,
    refused: u64,
}

/// The other half of a packet, as SMS-SUBMIT.
#[derive(Default)]
enum Second {
    #[default]
    Nothing,
    /// The phone has not reported on the first half yet.
    Waits(Vec<u8>),
    /// It is the next command.
    Due(Vec<u8>),
}

/// Keys with their counters, in EEPROM.
struct Version {
    keys: CardKeys,
    /// The last that was sent.
    sent: u64,
    /// The highest that was accepted.
    accepted: u64,
}

impl<A> Guarded<A> {
    pub fn new(applet: A, security: Option<CardSecurity>) -> Self {
        let guard = security.map(|CardSecurity { least, keys, tar_up, tar_down }| {
            Box::new(Guard {
                least,
                tar_up,
                tar_down,
                versions: keys.into_iter().map(|keys| Version { keys, sent: 0, accepted: 0 }).collect(),
                current: 0,
                part: None,
                second: Second::Nothing,
                answers: VecDeque::new(),
                refused: 0,
            })
        });
        Self { applet, guard }
    }

    /// Whether half of a message has still to leave.
    pub fn pending(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| !matches!(guard.second, Second::Nothing) || !guard.answers.is_empty())
    }

    /// Messages that were not taken: plain, forged, repeated.
    pub fn refused(&self) -> u64 {
        self.guard.as_ref().map_or(0, |guard| guard.refused)
    }
}

/// Application data that a message of an applet takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one short message.
    pub sms: usize,
    /// For what does not fit that and cannot be parted.
    pub sms_most: usize,
    pub ip: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sms: link::SMS_OCTETS, sms_most: link::SMS_OCTETS, ip: link::ip::PAYLOAD_OCTETS_MAX }
    }
}

impl CardSecurity {
    /// What is left to the applet.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let Some(keys) = self.keys.first() else { return Limits::default() };
        let Capacity { single, most } = Capacity::of_short_messages(self.least, &keys.up);
        // An SMS-SUBMIT of the applet's holds no more, whatever two packets take.
        let sms_most = most.min(link::SMS_OCTETS);
        Limits { sms: single, sms_most, ip: Capacity::of_ip(self.least, &keys.up).single }
    }
}

impl Guard {
    /// A packet under the next counter of the keys in use.
    fn seal(&mut self, data: &[u8]) -> Option<(Vec<u8>, u8)> {
        let (spi, tar) = (self.least, self.tar_up);
        let version = self.versions.get_mut(self.current)?;
        version.sent += 1;
        let command = Command { spi, tar, counter: version.sent, data: data.to_vec() };
        let packet = command::seal(&command, &version.keys.up).ok()?;
        Some((packet, version.sent.to_be_bytes().last().copied().unwrap_or_default()))
    }

    /// The message of the applet as one or two.
    fn wrap(&mut self, tpdu: &[u8]) -> Option<Vec<u8>> {
        let submit = Submit::decode(tpdu).ok()?;
        let (packet, reference) = self.seal(submit.user_data.body())?;
        let mut parts = bearer::short_messages(bearer::IEI_COMMAND, &packet, reference)?.into_iter();
        let mut next = || {
            let Part { user_data_header, body } = parts.next()?;
            let header = UserDataHeader::decode(&user_data_header).ok()?;
            let user_data = UserData::new(Some(header), body, Alphabet::Octets).ok()?;
            Some(Submit { user_data, protocol_id: PID_SIM_DATA_DOWNLOAD, ..submit.clone() }.encode())
        };
        let first = next();
        self.second = next().map_or(Second::Nothing, Second::Waits);
        first
    }

    /// Whether the phone reports on a first half whose second follows.
    fn is_half_sent(&mut self, response: &TerminalResponse) -> bool {
        match std::mem::take(&mut self.second) {
            Second::Waits(tpdu) if response.is_success() => {
                self.second = Second::Due(tpdu);
                true
            }
            _ => false,
        }
    }

    /// What is in a short message from the centre; `None`: nothing to be read, or not yet.
    fn unwrap(&mut self, deliver: &Deliver) -> Option<Vec<u8>> {
        let body = deliver.user_data.body();
        let header = deliver.user_data.header().map(UserDataHeader::encode).unwrap_or_default();
        match *header.as_slice() {
            [bearer::IEI_COMMAND, 0] => self.open(body).ok(),
            [0, 3, reference, 2, number @ 1..=2, ref others @ ..]
                if number == 2 || *others == [bearer::IEI_COMMAND, 0] =>
            {
                let (earlier, octets) = match self.part.take() {
                    Some((of, earlier, octets)) if of == reference && earlier != number => (earlier, octets),
                    _ => {
                        self.part = Some((reference, number, body.to_vec()));
                        return None;
                    }
                };
                let packet = if earlier == 1 { [&octets[..], body].concat() } else { [body, &octets[..]].concat() };
                self.open(&packet).ok()
            }
            _ => {
                self.refused += 1;
                None
            }
        }
    }

    /// What is in an IP payload. What the centre wants to know of a failure is put among the answers.
    fn unwrap_ip(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let Some((&bearer::IP_COMMAND, packet)) = payload.split_first() else {
            self.refused += 1;
            return None;
        };
        self.open(packet).map_err(|failure| self.answer(packet, failure)).ok()
    }

    /// Opens a packet and uses up its counter (TS 102 225 5.1: keys, level, check, and only then the counter).
    fn open(&mut self, packet: &[u8]) -> Result<Vec<u8>, Status> {
        let opened = self.try_open(packet);
        self.refused += u64::from(opened.is_err());
        opened
    }

    fn try_open(&mut self, packet: &[u8]) -> Result<Vec<u8>, Status> {
        let header = Header::read(packet).map_err(|_| Status::UnidentifiedSecurityError)?;
        if header.tar != self.tar_down {
            return Err(Status::TarUnknown);
        }
        if !header.spi.suffices(self.least) {
            return Err(Status::InsufficientSecurityLevel);
        }
        let index = KeySet::index_of(header.kid);
        let at = self.versions.iter().position(|version| version.keys.down.index == index);
        let at = at.ok_or(Status::UnidentifiedSecurityError)?;
        let version = self.versions.get_mut(at).ok_or(Status::UnidentifiedSecurityError)?;
        let command = command::open(packet, &version.keys.down).map_err(|fault| match fault {
            Fault::CheckFailed => Status::CheckFailed,
            Fault::Blocks { .. } | Fault::Padding { .. } => Status::CipheringError,
            _ => Status::UnidentifiedSecurityError,
        })?;
        version.accepted =
            counter::check(header.spi.counter, version.accepted, command.counter).map_err(|refused| match refused {
                counter::Refused::Low => Status::CounterLow,
                counter::Refused::High => Status::CounterHigh,
                counter::Refused::Blocked => Status::CounterBlocked,
            })?;
        self.current = at;
        Ok(command.data)
    }

    /// A proof of receipt, if the packet asks for one and names keys to check it with.
    fn answer(&mut self, packet: &[u8], status: Status) {
        let Ok(header) = Header::read(packet) else { return };
        let index = KeySet::index_of(header.kid);
        let version = self.versions.iter().find(|version| version.keys.down.index == index);
        let Some(version) = version.filter(|_| header.spi.proof != ProofOfReceipt::None) else { return };
        let counter = command::open(packet, &version.keys.down).map_or(0, |command| command.counter);
        let response = Response { tar: header.tar, counter, status, data: Vec::new() };
        let Ok(sealed) = response::seal(&response, header.spi, &version.keys.down) else { return };
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push_back([&[bearer::IP_RESPONSE], sealed.as_slice()].concat().into());
        }
    }
}

impl<A: Applet> Applet for Guarded<A> {
    /// A message in EF_SMS is plain: it is nobody's (D-120).
    fn file_updated(&mut self, files: &mut FileSystem, path: Path, record_number: u8) {
        if self.guard.is_some() && path == EF_SMS {
            return;
        }
        self.applet.file_updated(files, path, record_number);
    }

    fn status(&mut self, files: &mut FileSystem) {
        self.applet.status(files);
    }

    /// Data that is longer than a short message goes the applet's other way in.
    fn sms_pp_download(&mut self, files: &mut FileSystem, tpdu: &[u8]) {
        let Some(guard) = &mut self.guard else { return self.applet.sms_pp_download(files, tpdu) };
        let Ok(deliver) = Deliver::decode(tpdu) else { return };
        let Some(octets) = guard.unwrap(&deliver) else { return };
        match UserData::from_octets(&octets) {
            Ok(user_data) => self.applet.sms_pp_download(files, &Deliver { user_data, ..deliver }.encode()),
            Err(_) => self.applet.ip_received(files, &octets),
        }
    }

    fn timer_expired(&mut self, files: &mut FileSystem, timer_id: u8) {
        self.applet.timer_expired(files, timer_id);
    }

    fn menu_selected(&mut self, files: &mut FileSystem, item_id: u8) {
        self.applet.menu_selected(files, item_id);
    }

    fn next_command(&mut self, files: &mut FileSystem) -> Option<ProactiveCommand> {
        let Some(guard) = &mut self.guard else { return self.applet.next_command(files) };
        match std::mem::take(&mut guard.second) {
            Second::Due(tpdu) => return Some(ProactiveCommand::SendShortMessage { alpha: None, tpdu }),
            other => guard.second = other,
        }
        match self.applet.next_command(files)? {
            ProactiveCommand::SendShortMessage { alpha, tpdu } => {
                // What no packet takes leaves as it is, and the centre refuses it.
                let tpdu = guard.wrap(&tpdu).unwrap_or(tpdu);
                Some(ProactiveCommand::SendShortMessage { alpha, tpdu })
            }
            other => Some(other),
        }
    }

    /// The applet hears of its message when both halves have left, or one could not.
    fn terminal_response(&mut self, files: &mut FileSystem, response: &TerminalResponse) {
        if let Some(guard) = &mut self.guard
            && guard.is_half_sent(response)
        {
            return;
        }
        self.applet.terminal_response(files, response);
    }

    fn ip_received(&mut self, files: &mut FileSystem, payload: &[u8]) {
        let Some(guard) = &mut self.guard else { return self.applet.ip_received(files, payload) };
        if let Some(octets) = guard.unwrap_ip(payload) {
            self.applet.ip_received(files, &octets);
        }
    }

    fn next_ip_payload(&mut self) -> Option<Bytes> {
        let Some(guard) = &mut self.guard else { return self.applet.next_ip_payload() };
        if let Some(answer) = guard.answers.pop_front() {
            return Some(answer);
        }
        let payload = self.applet.next_ip_payload()?;
        let (packet, _) = guard.seal(&payload)?;
        Some([&[bearer::IP_COMMAND], packet.as_slice()].concat().into())
    }

    fn reset(&mut self, files: &mut FileSystem) {
        if let Some(guard) = &mut self.guard {
            (guard.part, guard.second) = (None, Second::Nothing);
            guard.answers.clear();
        }
        self.applet.reset(files);
    }
}
