//! The card behind its contacts: one command in, one response out (TS 51.011 clauses 8 and 9, T=0).

use bytes::Bytes;

use crate::{
    apdu::{ABSOLUTE, CLASS, StatusWord, instruction as ins},
    applet::Applet,
    files::{EF_ICCID, EF_IMSI, EF_PHASE, EF_SST, FileError, FileSystem, MF, Path},
    proactive::{Envelope, TerminalResponse, envelope},
};

/// Attempts at CHV1 before it is blocked.
const CHV_TRIES: u8 = 3;
/// The longest command: header of 5 and 255 octets of data.
const COMMAND_OCTETS_MAX: usize = 5 + 255;

/// A SIM with one applet.
pub struct Card<A> {
    pub applet: A,
    files: FileSystem,
    chv1: [u8; 8],
    chv1_tries: u8,
    /// What follows is volatile: gone after [`Self::reset`].
    chv1_verified: bool,
    df: u16,
    ef: Option<Path>,
    response: Vec<u8>,
    /// Encoded proactive command that the phone has been told of.
    command: Option<Vec<u8>>,
    command_number: u8,
    /// Fetched; its terminal response is awaited.
    command_fetched: bool,
}

impl<A: Applet> Card<A> {
    /// `chv1`: 4 to 8 digits, padded with FF.
    #[must_use]
    pub fn new(files: FileSystem, chv1: [u8; 8], applet: A) -> Self {
        Self {
            applet,
            files,
            chv1,
            chv1_tries: CHV_TRIES,
            chv1_verified: false,
            df: MF,
            ef: None,
            response: Vec::new(),
            command: None,
            command_number: 0,
            command_fetched: false,
        }
    }

    /// Carries out one command. Whatever the octets, the answer is data and a status word.
    pub fn transmit(&mut self, command: &[u8]) -> Vec<u8> {
        let (mut data, mut word) = match self.execute(command) {
            Ok(data) => (data, StatusWord::DONE),
            Err(word) => (Vec::new(), word),
        };
        // A proactive command is announced in place of 9000, whatever the command was.
        if word == StatusWord::DONE {
            word = self.announced().map_or(word, StatusWord::command_waits);
        }
        data.extend(word.0.to_be_bytes());
        data
    }

    /// Power off and on again.
    pub fn reset(&mut self) {
        self.chv1_verified = false;
        self.df = MF;
        self.ef = None;
        self.response.clear();
        self.command = None;
        self.command_fetched = false;
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

    /// Application data that the phone received over IP for its card.
    pub fn ip_received(&mut self, payload: &[u8]) {
        self.applet.ip_received(&mut self.files, payload);
    }

    /// Application data that the card wants sent over IP.
    pub fn next_ip_payload(&mut self) -> Option<Bytes> {
        self.applet.next_ip_payload()
    }

    /// Whether a proactive command waits for FETCH; the phone learns of it by 91xx.
    pub fn has_command(&mut self) -> bool {
        self.announced().is_some()
    }

    fn execute(&mut self, command: &[u8]) -> Result<Vec<u8>, StatusWord> {
        let Some((&[class, instruction, p1, p2, p3], data)) = command.split_first_chunk::<5>() else {
            return Err(StatusWord::wrong_length(0));
        };
        if class != CLASS {
            return Err(StatusWord::WRONG_CLASS);
        }
        if command.len() > COMMAND_OCTETS_MAX || (!data.is_empty() && data.len() != usize::from(p3)) {
            return Err(StatusWord::wrong_length(data.len()));
        }
        let response = std::mem::take(&mut self.response);
        let expected = if p3 == 0 { 256 } else { usize::from(p3) };
        match instruction {
            ins::SELECT => self.select(data),
            ins::STATUS => {
                self.applet.status(&mut self.files);
                exactly(self.directory_response(), expected)
            }
            ins::GET_RESPONSE => exactly(response, expected),
            ins::READ_RECORD => self.read_record(p1, p2, expected),
            ins::UPDATE_RECORD => self.update_record(p1, p2, data),
            ins::READ_BINARY => self.read_binary(u16::from_be_bytes([p1, p2]), expected),
            ins::UPDATE_BINARY => self.update_binary(u16::from_be_bytes([p1, p2]), data),
            ins::VERIFY_CHV => self.verify_chv(p2, data),
            ins::TERMINAL_PROFILE => Ok(Vec::new()),
            ins::FETCH => self.fetch(expected),
            ins::TERMINAL_RESPONSE => self.terminal_response(data),
            ins::ENVELOPE => self.envelope(data),
            _ => Err(StatusWord::UNKNOWN_INSTRUCTION),
        }
    }

    /// Reachable are the MF, the DFs below it, and the EFs of the current DF (TS 51.011 6.5).
    fn select(&mut self, data: &[u8]) -> Result<Vec<u8>, StatusWord> {
        let Ok(identifier) = <[u8; 2]>::try_from(data) else { return Err(StatusWord::wrong_length(2)) };
        let identifier = u16::from_be_bytes(identifier);
        if identifier == MF || identifier >> 8 == 0x7F {
            if !self.files.has_directory(identifier) {
                return Err(StatusWord::FILE_NOT_FOUND);
            }
            self.df = identifier;
            self.ef = None;
            self.response = self.directory_response();
        } else {
            let path = Path { df: self.df, ef: identifier };
            self.response = self.file_response(path).ok_or(StatusWord::FILE_NOT_FOUND)?;
            self.ef = Some(path);
        }
        Err(StatusWord::response_waits(self.response.len()))
    }

    /// Response data for MF and DFs: 22 octets.
    fn directory_response(&self) -> Vec<u8> {
        let [high, low] = self.df.to_be_bytes();
        let kind = if self.df == MF { 0x01 } else { 0x02 };
        let files = u8::try_from(self.files.files_in(self.df)).unwrap_or(u8::MAX);
        let tries = 0x80 | self.chv1_tries;
        let mut response = vec![0, 0, 0, 0, high, low, kind, 0, 0, 0, 0, 0, 9, 0x93, 2, files, 4, 0];
        response.extend([tries, 0x8A, 0x83, 0x8A]);
        response
    }

    /// Response data for EFs: 15 octets.
    fn file_response(&self, path: Path) -> Option<Vec<u8>> {
        let [high, low] = path.ef.to_be_bytes();
        let access = ((to_read(path) as u8) << 4) | to_update(path) as u8;
        let (size, structure, record_octets) = match self.files.record_octets(path) {
            Some(octets) => (usize::from(octets) * usize::from(self.files.records(path)?), 0x01, octets),
            None => (self.files.binary(path).ok()?.len(), 0x00, 0),
        };
        let [size_high, size_low] = u16::try_from(size).unwrap_or(u16::MAX).to_be_bytes();
        Some(vec![0, 0, size_high, size_low, high, low, 4, 0, access, 0xF0, 0x22, 1, 2, structure, record_octets])
    }

    fn read_record(&self, record_number: u8, mode: u8, expected: usize) -> Result<Vec<u8>, StatusWord> {
        let path = self.accessible(mode, to_read)?;
        let record = self.files.record(path, record_number).map_err(word)?;
        exactly(record.to_vec(), expected)
    }

    fn update_record(&mut self, record_number: u8, mode: u8, data: &[u8]) -> Result<Vec<u8>, StatusWord> {
        let path = self.accessible(mode, to_update)?;
        self.files.set_record(path, record_number, data).map_err(word)?;
        self.applet.file_updated(&mut self.files, path, record_number);
        Ok(Vec::new())
    }

    fn read_binary(&self, offset: u16, expected: usize) -> Result<Vec<u8>, StatusWord> {
        let path = self.accessible(ABSOLUTE, to_read)?;
        let content = self.files.binary(path).map_err(word)?;
        let start = usize::from(offset);
        let part = content.get(start..start + expected).ok_or(StatusWord::OUT_OF_RANGE)?;
        Ok(part.to_vec())
    }

    fn update_binary(&mut self, offset: u16, data: &[u8]) -> Result<Vec<u8>, StatusWord> {
        let path = self.accessible(ABSOLUTE, to_update)?;
        self.files.write(path, 0, offset, data).map_err(word)?;
        self.applet.file_updated(&mut self.files, path, 0);
        Ok(Vec::new())
    }

    /// The selected EF, if the access condition for `how` is met.
    fn accessible(&self, mode: u8, how: fn(Path) -> Access) -> Result<Path, StatusWord> {
        if mode != ABSOLUTE {
            return Err(StatusWord::WRONG_PARAMETERS);
        }
        let path = self.ef.ok_or(StatusWord::NO_EF_SELECTED)?;
        let is_met = match how(path) {
            Access::Always => true,
            Access::Chv1 => self.chv1_verified,
            Access::Administrative | Access::Never => false,
        };
        if is_met { Ok(path) } else { Err(StatusWord::ACCESS_NOT_FULFILLED) }
    }

    fn verify_chv(&mut self, number: u8, data: &[u8]) -> Result<Vec<u8>, StatusWord> {
        let Ok(chv) = <[u8; 8]>::try_from(data) else { return Err(StatusWord::wrong_length(8)) };
        if number != 1 {
            return Err(StatusWord::WRONG_PARAMETERS);
        }
        if self.chv1_tries == 0 {
            return Err(StatusWord::CHV_BLOCKED);
        }
        if chv == self.chv1 {
            self.chv1_tries = CHV_TRIES;
            self.chv1_verified = true;
            return Ok(Vec::new());
        }
        self.chv1_tries -= 1;
        self.chv1_verified = false;
        Err(if self.chv1_tries == 0 { StatusWord::CHV_BLOCKED } else { StatusWord::ACCESS_NOT_FULFILLED })
    }

    /// Length of the proactive command that waits; asks the applet for one when none does.
    fn announced(&mut self) -> Option<usize> {
        if self.command_fetched {
            return None;
        }
        if self.command.is_none() {
            let command = self.applet.next_command(&mut self.files)?;
            self.command_number = self.command_number % 0xFE + 1;
            self.command = Some(command.encode(self.command_number));
        }
        self.command.as_ref().map(Vec::len)
    }

    fn fetch(&mut self, expected: usize) -> Result<Vec<u8>, StatusWord> {
        let command = self.command.clone().ok_or(StatusWord::TECHNICAL_PROBLEM)?;
        let command = exactly(command, expected)?;
        self.command_fetched = true;
        Ok(command)
    }

    fn terminal_response(&mut self, data: &[u8]) -> Result<Vec<u8>, StatusWord> {
        let response = TerminalResponse::decode(data).map_err(|_| StatusWord::TECHNICAL_PROBLEM)?;
        if !self.command_fetched || response.number != self.command_number {
            return Err(StatusWord::TECHNICAL_PROBLEM);
        }
        self.command = None;
        self.command_fetched = false;
        self.applet.terminal_response(&mut self.files, &response);
        Ok(Vec::new())
    }

    fn envelope(&mut self, data: &[u8]) -> Result<Vec<u8>, StatusWord> {
        match envelope::decode(data).map_err(|_| StatusWord::TECHNICAL_PROBLEM)? {
            Envelope::SmsPpDownload { tpdu } => self.applet.sms_pp_download(&mut self.files, &tpdu),
            Envelope::TimerExpiration { timer_id } => self.applet.timer_expired(&mut self.files, timer_id),
            Envelope::MenuSelection { item } => self.applet.menu_selected(&mut self.files, item),
        }
        Ok(Vec::new())
    }
}

/// P3 says how much is expected; another length is 67xx with the right one.
fn exactly(data: Vec<u8>, expected: usize) -> Result<Vec<u8>, StatusWord> {
    if data.len() == expected { Ok(data) } else { Err(StatusWord::wrong_length(data.len())) }
}

/// Access conditions by their nibble (TS 51.011 9.3). Nobody here can fulfil ADM: the card's own software writes those.
#[derive(Clone, Copy)]
enum Access {
    Always = 0x0,
    Chv1 = 0x1,
    Administrative = 0x4,
    Never = 0xF,
}

/// Identification is read by everybody, what is the subscriber's after CHV1 (TS 51.011 10.1 to 10.5).
fn to_read(path: Path) -> Access {
    if path.df == MF || path == EF_PHASE { Access::Always } else { Access::Chv1 }
}

fn to_update(path: Path) -> Access {
    match path {
        EF_ICCID => Access::Never,
        EF_IMSI | EF_PHASE | EF_SST => Access::Administrative,
        _ => Access::Chv1,
    }
}

fn word(error: FileError) -> StatusWord {
    match error {
        FileError::NotFound => StatusWord::FILE_NOT_FOUND,
        FileError::OutOfRange => StatusWord::OUT_OF_RANGE,
        FileError::WrongKind => StatusWord::FILE_KIND_INCONSISTENT,
        FileError::WrongLength { expected } => StatusWord::wrong_length(expected),
    }
}
