//! The card's file system (TS 51.011 clauses 6 and 10): what exists, who may do what, and the octets.

/// DF and EF identifiers below the MF; for EFs directly below the MF the DF is 3F00 (S2-CF-05).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    pub df: u16,
    pub ef: u16,
}

/// The master file.
pub const MF: u16 = 0x3F00;
/// What a subscriber writes: phonebook, short messages.
pub const DF_TELECOM: u16 = 0x7F10;
/// The phonebook of a USIM that all applications share, below DF TELECOM (TS 31.102 4.4.2).
pub const DF_PHONEBOOK: u16 = 0x5F3A;
/// The application that is selected, by this identifier: here the one USIM (TS 102 221 8.3).
pub const ADF_USIM: u16 = 0x7FFF;

pub const EF_ADN: Path = Path { df: 0x7F10, ef: 0x6F3A };
pub const EF_EXT1: Path = Path { df: 0x7F10, ef: 0x6F4A };
pub const EF_SMS: Path = Path { df: 0x7F10, ef: 0x6F3C };
pub const EF_SMSP: Path = Path { df: 0x7F10, ef: 0x6F42 };
pub const EF_ICCID: Path = Path { df: 0x3F00, ef: 0x2FE2 };
pub const EF_IMSI: Path = Path { df: 0x7F20, ef: 0x6F07 };
pub const EF_PHASE: Path = Path { df: 0x7F20, ef: 0x6FAE };
pub const EF_SST: Path = Path { df: 0x7F20, ef: 0x6F38 };
pub const EF_MSISDN: Path = Path { df: 0x7F10, ef: 0x6F40 };
pub const EF_DIR: Path = Path { df: 0x3F00, ef: 0x2F00 };
pub const EF_PL: Path = Path { df: 0x3F00, ef: 0x2F05 };
pub const EF_ARR: Path = Path { df: 0x3F00, ef: 0x2F06 };
pub const EF_UST: Path = Path { df: ADF_USIM, ef: 0x6F38 };
pub const EF_AD: Path = Path { df: ADF_USIM, ef: 0x6FAD };
/// What the phonebook is made of; its files have identifiers of the card's own choice.
pub const EF_PBR: Path = Path { df: DF_PHONEBOOK, ef: 0x4F30 };
pub const EF_PBC: Path = Path { df: DF_PHONEBOOK, ef: 0x4F09 };
pub const EF_UID: Path = Path { df: DF_PHONEBOOK, ef: 0x4F21 };
pub const EF_PSC: Path = Path { df: DF_PHONEBOOK, ef: 0x4F22 };
pub const EF_CC: Path = Path { df: DF_PHONEBOOK, ef: 0x4F23 };
pub const EF_PUID: Path = Path { df: DF_PHONEBOOK, ef: 0x4F24 };
pub const EF_ANR: Path = Path { df: DF_PHONEBOOK, ef: 0x4F11 };
pub const EF_SNE: Path = Path { df: DF_PHONEBOOK, ef: 0x4F19 };
pub const EF_EMAIL: Path = Path { df: DF_PHONEBOOK, ef: 0x4F50 };

/// The DF that a DF lies in; the MF and an ADF count as lying in the MF.
#[must_use]
pub fn parent(df: u16) -> u16 {
    if df == DF_PHONEBOOK { DF_TELECOM } else { MF }
}

/// Why the file system did not do it; the card turns it into a status word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("no such file")]
    NotFound,
    #[error("record or offset out of range")]
    OutOfRange,
    #[error("the file kind does not fit the command")]
    WrongKind,
    #[error("wrong length: expected {expected}")]
    WrongLength { expected: usize },
}

/// Content of one elementary file.
#[derive(Clone, Debug)]
enum Content {
    /// Records of one length, back to back; the empty ones at the end take no memory.
    Linear {
        record_octets: u8,
        records: u8,
        octets: Vec<u8>,
    },
    Transparent(Vec<u8>),
}

const EMPTY_RECORD: [u8; 255] = [0xFF; 255];

/// The files of one card. An empty record is FF octets, as on a real card.
#[derive(Clone, Debug, Default)]
pub struct FileSystem {
    // A card has a dozen files: a sorted vector is smaller than a map, and there are tens of thousands of cards.
    files: Vec<(Path, Content)>,
    /// Further names, each with the file that it is: EF_ADN of DF TELECOM and of DF PHONEBOOK are one.
    names: Vec<(Path, Path)>,
}

impl FileSystem {
    /// An MF with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A linear fixed file of empty records (1 to 254 of them).
    pub fn add_linear(&mut self, path: Path, record_octets: u8, records: u8) {
        self.add(path, Content::Linear { record_octets, records, octets: Vec::new() });
    }

    /// A transparent file.
    pub fn add_transparent(&mut self, path: Path, content: Vec<u8>) {
        self.add(path, Content::Transparent(content));
    }

    /// A further name of a file that is there.
    pub fn add_name(&mut self, name: Path, file: Path) {
        self.names.retain(|(found, _)| *found != name);
        self.names.push((name, file));
        self.names.shrink_to_fit();
    }

    /// The file that this is a further name of, or the path itself.
    #[must_use]
    pub fn canonical(&self, path: Path) -> Path {
        self.names.iter().find(|(name, _)| *name == path).map_or(path, |(_, file)| *file)
    }

    /// The octets of a record, 1 the first.
    ///
    /// # Errors
    /// No such file or record, or a transparent file.
    pub fn record(&self, path: Path, record_number: u8) -> Result<&[u8], FileError> {
        let Content::Linear { record_octets, records, octets } = self.content(path)? else {
            return Err(FileError::WrongKind);
        };
        let span = span(*record_octets, *records, record_number)?;
        let empty = EMPTY_RECORD.get(..usize::from(*record_octets)).ok_or(FileError::OutOfRange);
        octets.get(span).map_or(empty, Ok)
    }

    /// Replaces a whole record; no access condition is asked: this is the way of the card's own software.
    ///
    /// # Errors
    /// No such file or record, a transparent file, or octets of another length.
    pub fn set_record(&mut self, path: Path, record_number: u8, octets: &[u8]) -> Result<(), FileError> {
        let expected = usize::from(self.record_octets(path).ok_or_else(|| self.missing(path))?);
        if octets.len() != expected {
            return Err(FileError::WrongLength { expected });
        }
        self.write(path, record_number, 0, octets)
    }

    /// Replaces part of a record, or of a transparent file with record number 0.
    ///
    /// # Errors
    /// No such file or record, the wrong kind of file, or octets beyond its end; then nothing is written.
    pub fn write(&mut self, path: Path, record_number: u8, offset: u16, octets: &[u8]) -> Result<(), FileError> {
        let path = self.canonical(path);
        let content = self.files.iter_mut().find(|(found, _)| *found == path).map(|(_, content)| content);
        let target = match (content.ok_or(FileError::NotFound)?, record_number) {
            (Content::Transparent(target), 0) => target.as_mut_slice(),
            (Content::Linear { record_octets, records, octets }, 1..) => {
                let span = span(*record_octets, *records, record_number)?;
                if octets.len() < span.end {
                    octets.resize(span.end, 0xFF);
                }
                octets.get_mut(span).ok_or(FileError::OutOfRange)?
            }
            _ => return Err(FileError::WrongKind),
        };
        let start = usize::from(offset);
        let part = target.get_mut(start..start + octets.len()).ok_or(FileError::OutOfRange)?;
        part.copy_from_slice(octets);
        Ok(())
    }

    /// Octets of a record; `None`: no linear file there.
    #[must_use]
    pub fn record_octets(&self, path: Path) -> Option<u8> {
        match self.content(path) {
            Ok(Content::Linear { record_octets, .. }) => Some(*record_octets),
            _ => None,
        }
    }

    /// How many records; `None`: no linear file there.
    #[must_use]
    pub fn records(&self, path: Path) -> Option<u8> {
        match self.content(path) {
            Ok(Content::Linear { records, .. }) => Some(*records),
            _ => None,
        }
    }

    /// The octets of a transparent file.
    ///
    /// # Errors
    /// No such file, or one of records.
    pub fn binary(&self, path: Path) -> Result<&[u8], FileError> {
        match self.content(path)? {
            Content::Transparent(octets) => Ok(octets),
            Content::Linear { .. } => Err(FileError::WrongKind),
        }
    }

    /// Whether the DF exists: a file lies in it. The MF always does.
    #[must_use]
    pub fn has_directory(&self, df: u16) -> bool {
        df == MF || self.paths().any(|path| path.df == df)
    }

    /// Whether the EF exists.
    #[must_use]
    pub fn exists(&self, path: Path) -> bool {
        self.content(path).is_ok()
    }

    /// Number of EFs directly in the DF.
    #[must_use]
    pub fn files_in(&self, df: u16) -> usize {
        self.paths().filter(|path| path.df == df).count()
    }

    /// Number of DFs directly in the DF; an ADF is in none.
    #[must_use]
    pub fn directories_in(&self, df: u16) -> usize {
        let mut inside: Vec<u16> = self.paths().map(|path| path.df).collect();
        inside.sort_unstable();
        inside.dedup();
        inside.into_iter().filter(|&found| found != MF && found != ADF_USIM && parent(found) == df).count()
    }

    /// All EFs by all their names.
    pub fn paths(&self) -> impl Iterator<Item = Path> {
        self.files.iter().map(|(path, _)| *path).chain(self.names.iter().map(|(name, _)| *name))
    }

    fn add(&mut self, path: Path, content: Content) {
        self.files.retain(|(found, _)| *found != path);
        self.files.push((path, content));
        self.files.shrink_to_fit();
    }

    fn content(&self, path: Path) -> Result<&Content, FileError> {
        let path = self.canonical(path);
        self.files.iter().find(|(found, _)| *found == path).map(|(_, content)| content).ok_or(FileError::NotFound)
    }

    fn missing(&self, path: Path) -> FileError {
        if self.exists(path) { FileError::WrongKind } else { FileError::NotFound }
    }
}

/// Octets of record `record_number` (from 1) within the file.
fn span(record_octets: u8, records: u8, record_number: u8) -> Result<std::ops::Range<usize>, FileError> {
    if record_number == 0 || record_number > records {
        return Err(FileError::OutOfRange);
    }
    let start = usize::from(record_number - 1) * usize::from(record_octets);
    Ok(start..start + usize::from(record_octets))
}
