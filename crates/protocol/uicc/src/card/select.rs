//! SELECT: by identifier, path and application identifier, and short file identifiers (TS 51.011 6.5, TS 102 221 8.4).

use super::{Answer, Answered, Card, done};
use crate::{
    apdu::Refusal,
    applet::Applet,
    files::{ADF_USIM, MF, Path, parent},
    profile,
};

/// What a file identifier leads to.
enum Found {
    Directory(u16),
    File(Path),
}

impl<A: Applet> Card<A> {
    /// SELECT of the SIM: always by identifier.
    pub(super) fn select_by_identifier(&mut self, data: &[u8]) -> Answered {
        let found = self.reach(identifier(data)?).ok_or(Refusal::FileNotFound)?;
        self.enter(found);
        Ok(Answer::Waits(match self.ef {
            None => self.describe_directory(),
            Some(path) => self.describe_file(path).ok_or(Refusal::FileNotFound)?,
        }))
    }

    /// SELECT of the UICC. P1: 00 identifier, 04 application, 08 path from the MF, 09 path from the current DF. P2: 0C no
    /// data; 04 and 00 the FCP template.
    pub(super) fn select(&mut self, p1: u8, p2: u8, data: &[u8]) -> Answered {
        if !matches!(p2, 0x00 | 0x04 | 0x0C) {
            return Err(Refusal::Parameters);
        }
        match p1 {
            0x00 if data.is_empty() => self.enter(Found::Directory(MF)),
            0x00 => {
                let found = self.reach(identifier(data)?).ok_or(Refusal::FileNotFound)?;
                self.enter(found);
            }
            0x04 => self.select_application(data)?,
            0x08 | 0x09 => self.select_path(if p1 == 0x08 { MF } else { self.df }, data)?,
            _ => return Err(Refusal::Parameters),
        }
        if p2 == 0x0C {
            return done();
        }
        Ok(Answer::Waits(match self.ef {
            None => self.directory_template(),
            Some(path) => self.file_template(path).ok_or(Refusal::FileNotFound)?,
        }))
    }

    /// A short file identifier within the current DF selects its file; 0: the current EF stays.
    pub(super) fn select_short(&mut self, short: u8) -> Result<(), Refusal> {
        if short == 0 {
            return Ok(());
        }
        let mut inside = self.files.paths().filter(|path| path.df == self.df);
        let path = inside.find(|path| profile::short_identifier(*path) == Some(short)).ok_or(Refusal::FileNotFound)?;
        drop(inside);
        self.enter(Found::File(path));
        Ok(())
    }

    /// P1 and P2 of READ and UPDATE BINARY: an offset of 15 bits, or a short file identifier and one of 8.
    pub(super) fn offset(&mut self, p1: u8, p2: u8) -> Result<u16, Refusal> {
        if p1 & 0x80 == 0 {
            return Ok(u16::from_be_bytes([p1, p2]));
        }
        if p1 & 0x60 != 0 || p1 & 0x1F == 0 {
            return Err(Refusal::Parameters);
        }
        self.select_short(p1 & 0x1F)?;
        Ok(u16::from(p2))
    }

    /// The MF, the current DF, its parent, its children and siblings, the EFs in it, and the active application.
    fn reach(&self, identifier: u16) -> Option<Found> {
        if identifier == ADF_USIM {
            return self.is_application_active.then_some(Found::Directory(ADF_USIM));
        }
        let path = Path { df: self.df, ef: identifier };
        if self.files.exists(path) {
            return Some(Found::File(path));
        }
        let up = parent(self.df);
        let is_near = identifier == MF
            || identifier == self.df
            || identifier == up
            || [self.df, up].contains(&parent(identifier));
        (is_near && self.files.has_directory(identifier)).then_some(Found::Directory(identifier))
    }

    /// Each identifier leads one level down; the last may be an EF.
    fn select_path(&mut self, from: u16, data: &[u8]) -> Result<(), Refusal> {
        let (identifiers, rest) = data.as_chunks::<2>();
        if identifiers.is_empty() || !rest.is_empty() {
            return Err(Refusal::DataLength { expected: 2 });
        }
        let mut found = Found::Directory(from);
        for (at, octets) in identifiers.iter().enumerate() {
            let Found::Directory(df) = found else { return Err(Refusal::FileNotFound) };
            let identifier = u16::from_be_bytes(*octets);
            let path = Path { df, ef: identifier };
            found = if identifier == ADF_USIM && at == 0 && self.is_application_active {
                Found::Directory(ADF_USIM)
            } else if self.files.exists(path) {
                Found::File(path)
            } else if identifier != ADF_USIM
                && identifier != MF
                && parent(identifier) == df
                && self.files.has_directory(identifier)
            {
                Found::Directory(identifier)
            } else {
                return Err(Refusal::FileNotFound);
            };
        }
        self.enter(found);
        Ok(())
    }

    /// By its AID, or the first 5 octets of it and more.
    fn select_application(&mut self, name: &[u8]) -> Result<(), Refusal> {
        if !(5..=16).contains(&name.len()) {
            return Err(Refusal::DataLength { expected: 16 });
        }
        if !profile::USIM_AID.starts_with(name) || !self.files.has_directory(ADF_USIM) {
            return Err(Refusal::FileNotFound);
        }
        self.is_application_active = true;
        self.enter(Found::Directory(ADF_USIM));
        Ok(())
    }

    /// Selecting a DF leaves no EF current, selecting an EF no record.
    fn enter(&mut self, found: Found) {
        self.record = None;
        match found {
            Found::Directory(df) => {
                self.df = df;
                self.ef = None;
            }
            Found::File(path) => {
                self.df = path.df;
                self.ef = Some(path);
            }
        }
    }
}

fn identifier(data: &[u8]) -> Result<u16, Refusal> {
    data.try_into().map(u16::from_be_bytes).map_err(|_| Refusal::DataLength { expected: 2 })
}
