//! What SELECT and STATUS tell of a file: 22 or 15 octets on the SIM (TS 51.011 9.2.1), an FCP template on the UICC (TS 102
//! 221 11.1.1.3).

use super::{Access, Card, to_read, to_update};
use crate::{
    applet::Applet,
    files::{ADF_USIM, MF, Path},
    profile, tlv,
};

impl<A: Applet> Card<A> {
    /// The current DF for the SIM.
    pub(super) fn describe_directory(&self) -> Vec<u8> {
        let [high, low] = self.df.to_be_bytes();
        let kind = if self.df == MF { 0x01 } else { 0x02 };
        let count = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
        let directories = count(self.files.directories_in(self.df));
        let files = count(self.files.files_in(self.df));
        // The clock may stop, 13/8 MHz is enough; b8: CHV1 is disabled.
        let characteristics = 0x13 | if self.chv1.is_enabled() { 0 } else { 0x80 };
        let mut response =
            vec![0, 0, 0, 0, high, low, kind, 0, 0, 0, 0, 0, 9, characteristics, directories, files, 4, 0];
        response.extend(self.chv1.status());
        response.extend(self.chv2.status());
        response
    }

    /// An EF for the SIM.
    pub(super) fn describe_file(&self, path: Path) -> Option<Vec<u8>> {
        let [high, low] = path.ef.to_be_bytes();
        let own = self.files.canonical(path);
        let access = ((to_read(own) as u8) << 4) | to_update(own) as u8;
        let (size, structure, record_octets) = match self.files.record_octets(path) {
            Some(octets) => (usize::from(octets) * usize::from(self.files.records(path)?), 0x01, octets),
            None => (self.files.binary(path).ok()?.len(), 0x00, 0),
        };
        let [size_high, size_low] = u16::try_from(size).unwrap_or(u16::MAX).to_be_bytes();
        let status = u8::from(!self.is_invalidated(own));
        Some(vec![0, 0, size_high, size_low, high, low, 4, 0, access, 0xF0, 0x22, status, 2, structure, record_octets])
    }

    /// The current DF for the UICC.
    pub(super) fn directory_template(&self) -> Vec<u8> {
        let mut inside = Vec::new();
        tlv::push(&mut inside, 0x82, &[0x78, 0x21]);
        tlv::push(&mut inside, 0x83, &self.df.to_be_bytes());
        if self.df == ADF_USIM {
            tlv::push(&mut inside, 0x84, &profile::USIM_AID);
        }
        // UICC characteristics: as the SIM's, in TS 102 221 11.1.1.4.6.1.
        tlv::push(&mut inside, 0xA5, &[0x80, 0x01, 0x71]);
        tlv::push(&mut inside, 0x8A, &[0x05]);
        tlv::push(&mut inside, 0x8B, &[0x2F, 0x06, 0x03]);
        // Which PINs are enabled, in the order of the key references that follow.
        let enabled = if self.chv1.is_enabled() { 0xC0 } else { 0x40 };
        tlv::push(&mut inside, 0xC6, &[0x90, 0x01, enabled, 0x83, 0x01, 0x01, 0x83, 0x01, 0x81]);
        template(&inside)
    }

    /// STATUS with P2 = 01: the AID of the current application.
    pub(super) fn name_template(&self) -> Vec<u8> {
        let mut name = Vec::new();
        if self.is_application_active {
            tlv::push(&mut name, 0x84, &profile::USIM_AID);
        }
        name
    }

    /// An EF for the UICC.
    pub(super) fn file_template(&self, path: Path) -> Option<Vec<u8>> {
        let own = self.files.canonical(path);
        let mut inside = Vec::new();
        let size = match self.files.record_octets(path) {
            Some(octets) => {
                let records = self.files.records(path)?;
                tlv::push(&mut inside, 0x82, &[0x42, 0x21, 0, octets, records]);
                usize::from(octets) * usize::from(records)
            }
            None => {
                tlv::push(&mut inside, 0x82, &[0x41, 0x21]);
                self.files.binary(path).ok()?.len()
            }
        };
        tlv::push(&mut inside, 0x83, &path.ef.to_be_bytes());
        tlv::push(&mut inside, 0x8A, &[if self.is_invalidated(own) { 0x04 } else { 0x05 }]);
        let [high, low] = profile::rules_file(path).to_be_bytes();
        tlv::push(&mut inside, 0x8B, &[high, low, rule(own)]);
        tlv::push(&mut inside, 0x80, &u16::try_from(size).unwrap_or(u16::MAX).to_be_bytes());
        match profile::short_identifier(path) {
            Some(short) => tlv::push(&mut inside, 0x88, &[short << 3]),
            None => tlv::push(&mut inside, 0x88, &[]),
        }
        Some(template(&inside))
    }
}

fn template(inside: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    tlv::push(&mut octets, 0x62, inside);
    octets
}

/// The record of EF_ARR that says these conditions: [`profile::ACCESS_RULES`] in this order.
fn rule(path: Path) -> u8 {
    match (to_read(path), to_update(path)) {
        (Access::Chv1, Access::Chv1) => 1,
        (Access::Always, Access::Never) => 2,
        (Access::Always, Access::Administrative) => 3,
        (Access::Always, _) => 5,
        _ => 4,
    }
}
