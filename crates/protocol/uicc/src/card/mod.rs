//! The card behind its contacts: one command in, one response out (TS 51.011 clauses 8 and 9; TS 102 221 clauses 10, 11).
//!
//! Start at [`Card::transmit`]. Files are found in `select`, read and written in `records`, described in `describe`; `chv` keeps
//! the secrets, `toolkit` the talk of applet and phone.

mod chv;
mod describe;
mod records;
mod select;
mod toolkit;

use bytes::Bytes;

use self::{chv::Chv, toolkit::Toolkit};
use crate::{
    apdu::{Command, Dialect, Refusal, StatusWord, instruction as ins},
    applet::Applet,
    files::{
        EF_AD, EF_ADN, EF_ARR, EF_DIR, EF_ICCID, EF_IMSI, EF_PHASE, EF_SST, EF_UST, FileError, FileSystem, MF, Path,
    },
};

/// Which commands the card knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Class A0 alone.
    #[default]
    Sim,
    /// Classes 00 and 80, and A0 for phones and tools of the second generation, as cards in the field do.
    Uicc,
}

/// What a card is personalised with, besides its files. Codes: 4 to 8 digits, padded with FF.
#[derive(Clone, Copy, Debug)]
pub struct Personalisation {
    pub kind: Kind,
    pub chv1: [u8; 8],
    pub is_chv1_enabled: bool,
    pub chv2: [u8; 8],
    pub unblock_chv1: [u8; 8],
    pub unblock_chv2: [u8; 8],
}

impl Default for Personalisation {
    fn default() -> Self {
        Self {
            kind: Kind::Sim,
            chv1: *b"1234\xFF\xFF\xFF\xFF",
            is_chv1_enabled: true,
            chv2: *b"5678\xFF\xFF\xFF\xFF",
            unblock_chv1: *b"12345678",
            unblock_chv2: *b"87654321",
        }
    }
}

/// A card with one applet.
pub struct Card<A> {
    pub applet: A,
    files: FileSystem,
    kind: Kind,
    chv1: Chv,
    chv2: Chv,
    /// INVALIDATE (DEACTIVATE FILE) has closed EF_ADN; no other file can be.
    is_adn_invalidated: bool,
    /// What follows is volatile: gone after [`Self::reset`].
    df: u16,
    /// By the name that it was selected by.
    ef: Option<Path>,
    /// Record pointer of the current EF.
    record: Option<u8>,
    is_application_active: bool,
    /// What waits for GET RESPONSE.
    response: Vec<u8>,
    toolkit: Toolkit,
}

/// What a command that was carried out leaves.
enum Answer {
    Data(Vec<u8>),
    /// For GET RESPONSE, because T=0 carries data one way only.
    Waits(Vec<u8>),
}

type Answered = Result<Answer, Refusal>;

/// Carried out, without data.
fn done() -> Answered {
    Ok(Answer::Data(Vec::new()))
}

impl<A: Applet> Card<A> {
    /// A classic SIM. `chv1`: 4 to 8 digits, padded with FF.
    #[must_use]
    pub fn new(files: FileSystem, chv1: [u8; 8], applet: A) -> Self {
        Self::personalised(files, &Personalisation { chv1, ..Personalisation::default() }, applet)
    }

    #[must_use]
    pub fn personalised(files: FileSystem, with: &Personalisation, applet: A) -> Self {
        Self {
            applet,
            files,
            kind: with.kind,
            chv1: Chv::new(with.chv1, with.unblock_chv1, with.is_chv1_enabled),
            chv2: Chv::new(with.chv2, with.unblock_chv2, true),
            is_adn_invalidated: false,
            df: MF,
            ef: None,
            record: None,
            is_application_active: false,
            response: Vec::new(),
            toolkit: Toolkit::default(),
        }
    }

    /// Carries out one command. Whatever the octets, the answer is data and a status word.
    pub fn transmit(&mut self, command: &[u8]) -> Vec<u8> {
        let dialect =
            if self.kind == Kind::Uicc && command.first() != Some(&CLASS_SIM) { Dialect::Uicc } else { Dialect::Sim };
        let (mut data, word) = match self.execute(command) {
            // A proactive command is announced in place of 9000, whatever the command was.
            Ok(Answer::Data(data)) => (data, self.announced().map_or(StatusWord::DONE, StatusWord::command_waits)),
            Ok(Answer::Waits(response)) => {
                let word = StatusWord::response_waits(dialect, response.len());
                self.response = response;
                (Vec::new(), word)
            }
            Err(refusal) => (Vec::new(), refusal.word(dialect)),
        };
        data.extend(word.0.to_be_bytes());
        data
    }

    /// Power off and on again.
    pub fn reset(&mut self) {
        self.chv1.forget();
        self.chv2.forget();
        self.df = MF;
        self.ef = None;
        self.record = None;
        self.is_application_active = false;
        self.response.clear();
        self.toolkit = Toolkit::default();
        self.applet.reset(&mut self.files);
    }

    #[must_use]
    pub fn files(&self) -> &FileSystem {
        &self.files
    }

    /// The card's own software may write without an access condition: personalisation.
    pub fn files_mut(&mut self) -> &mut FileSystem {
        &mut self.files
    }

    /// The card's own software has written a record: the applet has the same event as after UPDATE RECORD.
    pub fn announce_change(&mut self, path: Path, record_number: u8) {
        self.applet.file_updated(&mut self.files, path, record_number);
    }

    /// Application data that the phone received over IP for its card.
    pub fn ip_received(&mut self, payload: &[u8]) {
        self.applet.ip_received(&mut self.files, payload);
    }

    /// Application data that the card wants sent over IP.
    pub fn next_ip_payload(&mut self) -> Option<Bytes> {
        self.applet.next_ip_payload()
    }

    fn execute(&mut self, octets: &[u8]) -> Answered {
        let command = Command::read(octets).ok_or(match octets.len() {
            0..5 => Refusal::DataLength { expected: 0 },
            length => Refusal::DataLength { expected: length - 5 },
        })?;
        let response = std::mem::take(&mut self.response);
        if command.instruction == ins::GET_RESPONSE {
            return self.get_response(&command, response);
        }
        match (command.class, self.kind) {
            (CLASS_SIM, _) => self.sim(&command),
            (0x00 | 0x80, Kind::Uicc) => self.uicc(&command),
            // The class octet says another logical channel (TS 102 221 10.1.1).
            (0x01..=0x03 | 0x40..=0x4F | 0x81..=0x83 | 0xC0..=0xCF, Kind::Uicc) => Err(Refusal::LogicalChannel),
            _ => Err(Refusal::Class),
        }
    }

    /// What was not fetched with its own length waits on.
    fn get_response(&mut self, command: &Command, response: Vec<u8>) -> Answered {
        let is_known = command.class == CLASS_SIM || (self.kind == Kind::Uicc && matches!(command.class, 0x00 | 0x80));
        if !is_known {
            return Err(Refusal::Class);
        }
        if command.expected != Some(response.len()) || response.is_empty() {
            let available = response.len();
            self.response = response;
            return Err(Refusal::Expected { available });
        }
        Ok(Answer::Data(response))
    }

    /// Class A0 (TS 51.011 table 9).
    fn sim(&mut self, command: &Command) -> Answered {
        let Command { instruction, p1, p2, data, .. } = *command;
        match instruction {
            ins::SELECT => self.select_by_identifier(data),
            ins::STATUS => {
                let response = exactly(self.describe_directory(), command)?;
                self.applet.status(&mut self.files);
                Ok(response)
            }
            ins::READ_RECORD => self.read_record(p1, p2, command),
            ins::UPDATE_RECORD => self.update_record(Dialect::Sim, p1, p2, data),
            ins::READ_BINARY => self.read_binary(u16::from_be_bytes([p1, p2]), command, Dialect::Sim),
            ins::UPDATE_BINARY => self.update_binary(u16::from_be_bytes([p1, p2]), data),
            ins::SEEK => self.seek(p2, data),
            ins::VERIFY_CHV | ins::CHANGE_CHV | ins::DISABLE_CHV | ins::ENABLE_CHV | ins::UNBLOCK_CHV => {
                self.on_chv(Dialect::Sim, command)
            }
            ins::INVALIDATE | ins::REHABILITATE => self.set_valid(instruction == ins::REHABILITATE),
            _ => self.toolkit_command(command),
        }
    }

    /// Classes 00 and 80 (TS 102 221 table 10.5).
    fn uicc(&mut self, command: &Command) -> Answered {
        let Command { class, instruction, p1, p2, data, .. } = *command;
        let own_class = match instruction {
            ins::STATUS
            | ins::TERMINAL_PROFILE
            | ins::ENVELOPE
            | ins::FETCH
            | ins::TERMINAL_RESPONSE
            | ins::TERMINAL_CAPABILITY => 0x80,
            _ => 0x00,
        };
        if class != own_class {
            return Err(Refusal::Class);
        }
        match instruction {
            ins::SELECT => self.select(p1, p2, data),
            ins::STATUS => self.status(command),
            ins::READ_RECORD => {
                self.select_short(p2 >> 3)?;
                self.read_record(p1, p2 & 0x07, command)
            }
            ins::UPDATE_RECORD => {
                self.select_short(p2 >> 3)?;
                self.update_record(Dialect::Uicc, p1, p2 & 0x07, data)
            }
            ins::READ_BINARY => {
                let offset = self.offset(p1, p2)?;
                self.read_binary(offset, command, Dialect::Uicc)
            }
            ins::UPDATE_BINARY => {
                let offset = self.offset(p1, p2)?;
                self.update_binary(offset, data)
            }
            ins::SEEK => {
                self.select_short(p2 >> 3)?;
                self.search(p1, p2 & 0x07, data)
            }
            ins::VERIFY_CHV | ins::CHANGE_CHV | ins::DISABLE_CHV | ins::ENABLE_CHV | ins::UNBLOCK_CHV => {
                self.on_chv(Dialect::Uicc, command)
            }
            ins::INVALIDATE | ins::REHABILITATE => self.set_valid(instruction == ins::REHABILITATE),
            ins::MANAGE_CHANNEL => Err(Refusal::LogicalChannel),
            ins::TERMINAL_CAPABILITY => done(),
            _ => self.toolkit_command(command),
        }
    }

    /// STATUS of the UICC: P2 says what is wanted.
    fn status(&mut self, command: &Command) -> Answered {
        let response = match (command.p1, command.p2) {
            (0..=2, 0x00) => exactly(self.directory_template(), command)?,
            (0..=2, 0x01) => exactly(self.name_template(), command)?,
            (0..=2, 0x0C) => Answer::Data(Vec::new()),
            _ => return Err(Refusal::Parameters),
        };
        self.applet.status(&mut self.files);
        Ok(response)
    }

    /// The selected EF by its own path, if the access condition for `how` is met.
    fn accessible(&self, how: fn(Path) -> Access) -> Result<Path, Refusal> {
        let path = self.files.canonical(self.ef.ok_or(Refusal::NoEfSelected)?);
        if self.is_invalidated(path) {
            return Err(Refusal::Invalidated);
        }
        if self.is_met(how(path)) { Ok(path) } else { Err(Refusal::AccessCondition) }
    }

    fn is_met(&self, condition: Access) -> bool {
        match condition {
            Access::Always => true,
            Access::Chv1 => self.chv1.is_satisfied(),
            Access::Chv2 => self.chv2.is_satisfied(),
            Access::Administrative | Access::Never => false,
        }
    }

    /// INVALIDATE and REHABILITATE: EF_ADN, with CHV2 (TS 51.011 10.5.1); the other files' condition is ADM.
    fn set_valid(&mut self, is_valid: bool) -> Answered {
        let path = self.files.canonical(self.ef.ok_or(Refusal::NoEfSelected)?);
        if path != EF_ADN || !self.is_met(Access::Chv2) {
            return Err(Refusal::AccessCondition);
        }
        if self.is_adn_invalidated != is_valid {
            return Err(Refusal::Invalidated);
        }
        self.is_adn_invalidated = !is_valid;
        done()
    }

    /// `path`: the file's own.
    fn is_invalidated(&self, path: Path) -> bool {
        self.is_adn_invalidated && path == EF_ADN
    }
}

/// Class of every command of the SIM.
const CLASS_SIM: u8 = crate::apdu::CLASS;

/// Le says how much is expected; another length is 67xx or 6Cxx with the right one.
fn exactly(data: Vec<u8>, command: &Command) -> Answered {
    if command.expected == Some(data.len()) {
        Ok(Answer::Data(data))
    } else {
        Err(Refusal::Expected { available: data.len() })
    }
}

/// Access conditions by their nibble (TS 51.011 9.3). Nobody here can fulfil ADM: the card's own software writes those.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Always = 0x0,
    Chv1 = 0x1,
    Chv2 = 0x2,
    Administrative = 0x4,
    Never = 0xF,
}

/// Identification is read by everybody, what is the subscriber's after CHV1 (TS 51.011 10.1 to 10.5).
fn to_read(path: Path) -> Access {
    if path.df == MF || path == EF_PHASE || path == EF_AD { Access::Always } else { Access::Chv1 }
}

fn to_update(path: Path) -> Access {
    match path {
        EF_ICCID | EF_ARR => Access::Never,
        EF_IMSI | EF_PHASE | EF_SST | EF_DIR | EF_UST | EF_AD | crate::files::EF_PBR => Access::Administrative,
        _ => Access::Chv1,
    }
}

impl From<FileError> for Refusal {
    fn from(error: FileError) -> Self {
        match error {
            FileError::NotFound => Self::FileNotFound,
            FileError::OutOfRange => Self::RecordNotFound,
            FileError::WrongKind => Self::FileKind,
            FileError::WrongLength { expected } => Self::DataLength { expected },
        }
    }
}
