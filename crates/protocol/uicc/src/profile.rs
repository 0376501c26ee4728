//! The files of a new card: a classic SIM, and a UICC with a USIM and its phonebook (TS 51.011 10, TS 102 221 13, TS 31.102 4).
//!
//! To add a file: docs/recipes/add-a-card-file.md.

use crate::{
    card::Kind,
    files::{
        ADF_USIM, DF_PHONEBOOK, DF_TELECOM, EF_AD, EF_ADN, EF_ANR, EF_ARR, EF_CC, EF_DIR, EF_EMAIL, EF_EXT1, EF_ICCID,
        EF_IMSI, EF_MSISDN, EF_PBC, EF_PBR, EF_PHASE, EF_PL, EF_PSC, EF_PUID, EF_SMS, EF_SMSP, EF_SNE, EF_SST, EF_UID,
        EF_UST, FileSystem, MF, Path,
    },
    phonebook::{Contact, EXT1_OCTETS, encode_adn},
    tlv,
};

/// The USIM's name: 3GPP's RID, USIM, then the issuer's own octets (TS 101 220 annex E).
pub const USIM_AID: [u8; 16] =
    [0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0x07, 0x09, 0x00, 0x00];

/// ATR of the classic SIM: T=0, six historical octets.
pub const ATR_SIM: [u8; 9] = [0x3B, 0x16, 0x94, 0x53, 0x45, 0x54, 0x42, 0x00, 0x01];
/// ATR of the UICC (TS 102 221 6.3): T=0, global interface octets (T=15), SELECT by AID and EF_DIR in the historical octets.
pub const ATR_UICC: [u8; 22] = [
    0x3B, 0x9F, 0x96, 0x80, 0x1F, 0xC7, 0x80, 0x31, 0xE0, 0x73, 0xFE, 0x21, 0x1B, 0x57, b'S', b'I', b'M', b'V', b'L',
    b'T', b'1', 0xC8,
];

/// Records of EF_ARR (TS 102 221 9.2.4): conditions to read and to update, and to activate and deactivate.
pub const ACCESS_RULES: [&[u8]; 5] = [
    // 1: PIN 1, PIN 1; PIN 2.
    &[
        0x80, 0x01, 0x03, 0xA4, 0x06, 0x83, 0x01, 0x01, 0x95, 0x01, 0x08, 0x80, 0x01, 0x18, 0xA4, 0x06, 0x83, 0x01,
        0x81, 0x95, 0x01, 0x08,
    ],
    // 2: always, never.
    &[0x80, 0x01, 0x01, 0x90, 0x00, 0x80, 0x01, 0x02, 0x97, 0x00],
    // 3: always, ADM.
    &[0x80, 0x01, 0x01, 0x90, 0x00, 0x80, 0x01, 0x02, 0xA4, 0x06, 0x83, 0x01, 0x0A, 0x95, 0x01, 0x08],
    // 4: PIN 1, ADM.
    &[
        0x80, 0x01, 0x01, 0xA4, 0x06, 0x83, 0x01, 0x01, 0x95, 0x01, 0x08, 0x80, 0x01, 0x02, 0xA4, 0x06, 0x83, 0x01,
        0x0A, 0x95, 0x01, 0x08,
    ],
    // 5: always, PIN 1.
    &[0x80, 0x01, 0x01, 0x90, 0x00, 0x80, 0x01, 0x02, 0xA4, 0x06, 0x83, 0x01, 0x01, 0x95, 0x01, 0x08],
];
const RULE_OCTETS: u8 = 24;

/// What a new card is made with.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Records of EF_ADN and of EF_EXT1, 1 to 254.
    pub adn_records: u8,
    pub ext1_records: u8,
    /// Octets of the alpha identifier in EF_ADN, 0 to 241; 14 makes records of 28 octets.
    pub alpha_octets: u8,
    /// E.164 digits; empty: EF_MSISDN is.
    pub msisdn: String,
    /// As EF_ICCID has it.
    pub iccid: [u8; 10],
    /// As EF_IMSI has it.
    pub imsi: [u8; 9],
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            adn_records: 250,
            ext1_records: 20,
            alpha_octets: 14,
            msisdn: String::new(),
            iccid: [0x98, 0x10, 0x14, 0x30, 0x12, 0x11, 0x81, 0x15, 0x70, 0x02],
            imsi: [0x08, 0x09, 0x10, 0x10, 0x10, 0x32, 0x54, 0x76, 0x98],
        }
    }
}

impl Profile {
    /// The files of a card of this kind.
    #[must_use]
    pub fn files(&self, kind: Kind) -> FileSystem {
        let mut files = self.sim();
        if kind == Kind::Uicc {
            self.add_uicc(&mut files);
            self.add_phonebook(&mut files);
        }
        files
    }

    fn sim(&self) -> FileSystem {
        let mut files = FileSystem::new();
        let adn_octets = self.alpha_octets.min(241) + 14;
        files.add_linear(EF_ADN, adn_octets, self.adn_records.clamp(1, 254));
        files.add_linear(EF_EXT1, 13, self.ext1_records.clamp(1, 254));
        files.add_linear(EF_SMS, 176, 20);
        files.add_linear(EF_SMSP, 28, 1);
        files.add_linear(EF_MSISDN, 28, 1);
        let own = Contact { name: String::new(), number: format!("+{}", self.msisdn) };
        if let Some(coded) = encode_adn(&own, 14, &[]).ok().filter(|_| !self.msisdn.is_empty()) {
            put(&mut files, EF_MSISDN, 1, &coded.adn);
        }
        files.add_transparent(EF_ICCID, self.iccid.to_vec());
        files.add_transparent(EF_IMSI, self.imsi.to_vec());
        files.add_transparent(EF_PHASE, vec![0x03]);
        files.add_transparent(EF_SST, vec![0xFF; 10]);
        files
    }

    /// EF_DIR, EF_ARR, EF_PL, and the USIM, whose files are those of the SIM where they mean the same.
    fn add_uicc(&self, files: &mut FileSystem) {
        let mut application = Vec::new();
        tlv::push(&mut application, 0x4F, &USIM_AID);
        tlv::push(&mut application, 0x50, b"USIM");
        let mut entry = Vec::new();
        tlv::push(&mut entry, 0x61, &application);
        files.add_linear(EF_DIR, 32, 1);
        put(files, EF_DIR, 1, &entry);
        files.add_linear(EF_ARR, RULE_OCTETS, 5);
        for (number, rule) in (1..).zip(ACCESS_RULES) {
            put(files, EF_ARR, number, rule);
        }
        for df in [DF_TELECOM, EF_IMSI.df, ADF_USIM, DF_PHONEBOOK] {
            files.add_name(Path { df, ef: RULES_BELOW }, EF_ARR);
        }
        // English, and no second choice.
        files.add_transparent(EF_PL, vec![b'e', b'n', 0xFF, 0xFF]);
        // Services 10 (SMS), 12 (SMSP), 21 (MSISDN), 28 (data download), 33 (always 1): the phonebook is the global one.
        files.add_transparent(EF_UST, vec![0x00, 0x0A, 0x10, 0x08, 0x01]);
        // Normal operation; the MNC has 2 digits.
        files.add_transparent(EF_AD, vec![0x00, 0x00, 0x00, 0x02]);
        for own in [EF_IMSI, EF_SMS, EF_SMSP, EF_MSISDN] {
            files.add_name(Path { df: ADF_USIM, ef: own.ef }, own);
        }
    }

    /// One set of type-1 files: record n of each belongs to entry n. EF_ADN and EF_EXT1 are those of DF TELECOM.
    fn add_phonebook(&self, files: &mut FileSystem) {
        let records = self.adn_records.clamp(1, 254);
        files.add_name(ADN_OF_SET, EF_ADN);
        files.add_name(EXT1_OF_SET, EF_EXT1);
        files.add_linear(EF_PBC, 2, records);
        files.add_linear(EF_UID, 2, records);
        for number in 1..=records {
            put(files, EF_PBC, number, &[0, 0]);
            put(files, EF_UID, number, &[0, 0]);
        }
        files.add_linear(EF_ANR, 15, records);
        files.add_linear(EF_SNE, self.alpha_octets.clamp(1, 241), records);
        files.add_linear(EF_EMAIL, 40, records);
        files.add_transparent(EF_PSC, vec![0, 0, 0, 1]);
        files.add_transparent(EF_CC, vec![0, 0]);
        files.add_transparent(EF_PUID, vec![0, 0]);
        let (mut type_1, mut type_3) = (Vec::new(), Vec::new());
        for (tag, path) in
            [(0xC0, ADN_OF_SET), (0xC5, EF_PBC), (0xC3, EF_SNE), (0xC4, EF_ANR), (0xC9, EF_UID), (0xCA, EF_EMAIL)]
        {
            reference(&mut type_1, tag, path);
        }
        reference(&mut type_3, 0xC2, EXT1_OF_SET);
        let mut record = Vec::new();
        tlv::push(&mut record, 0xA8, &type_1);
        tlv::push(&mut record, 0xAA, &type_3);
        files.add_linear(EF_PBR, 64, 1);
        put(files, EF_PBR, 1, &record);
    }
}

/// EF_ADN and EF_EXT1 as the phonebook's first set names them.
pub const ADN_OF_SET: Path = Path { df: DF_PHONEBOOK, ef: 0x4F3A };
pub const EXT1_OF_SET: Path = Path { df: DF_PHONEBOOK, ef: 0x4F4A };
/// EF_ARR below the MF.
const RULES_BELOW: u16 = 0x6F06;

/// Short file identifiers, each unique within its DF; a file that is not here has none.
pub(crate) fn short_identifier(path: Path) -> Option<u8> {
    const IMSI_OF_USIM: Path = Path { df: ADF_USIM, ef: EF_IMSI.ef };
    Some(match path {
        EF_DIR => 0x1E,
        EF_ICCID => 0x02,
        EF_PL => 0x05,
        EF_ARR => 0x06,
        IMSI_OF_USIM => 0x07,
        EF_AD => 0x03,
        EF_UST => 0x04,
        ADN_OF_SET => 0x02,
        EF_PBC => 0x04,
        EXT1_OF_SET => 0x06,
        EF_SNE => 0x08,
        EF_ANR => 0x09,
        EF_UID => 0x0A,
        EF_EMAIL => 0x0B,
        _ => return None,
    })
}

/// The EF_ARR that an EF's security attributes name.
pub(crate) fn rules_file(path: Path) -> u16 {
    if path.df == MF { EF_ARR.ef } else { RULES_BELOW }
}

/// An object of EF_PBR: identifier, and short identifier where there is one.
fn reference(octets: &mut Vec<u8>, tag: u8, path: Path) {
    let mut value = path.ef.to_be_bytes().to_vec();
    value.extend(short_identifier(path));
    tlv::push(octets, tag, &value);
}

/// Writes the beginning of a record that this module has made room for.
fn put(files: &mut FileSystem, path: Path, record_number: u8, octets: &[u8]) {
    files.write(path, record_number, 0, octets).expect("the file has just been made with room for it");
}

/// A record of EF_EXT1 is as long as the standard says.
const _: () = assert!(EXT1_OCTETS == 13);
