//! The phonebook as a person uses it: EF_ADN with numbers of over 20 digits chained into EF_EXT1.

use uicc::{
    files::{EF_ADN, EF_EXT1, Path},
    phonebook::{Contact, NotStorable, chain, decode_adn, encode_adn, extensions_needed},
};

use crate::Station;

/// Why a contact was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContactError {
    #[error(transparent)]
    NotStorable(#[from] NotStorable),
    /// Switched off, or no such record.
    #[error("the card refused record {record_number}")]
    Refused { record_number: u8 },
}

impl Station {
    /// The entries of the phonebook, by record number, as the card holds them.
    pub fn contacts(&mut self) -> Vec<(u8, Contact)> {
        let extensions = self.all_records(EF_EXT1);
        let ext1 = |number: u8| extensions.get(usize::from(number).checked_sub(1)?).cloned();
        let records = self.all_records(EF_ADN);
        (1..=u8::MAX).zip(records).filter_map(|(number, record)| Some((number, decode_adn(&record, ext1)?))).collect()
    }

    /// Writes a contact into EF_ADN, the digits beyond 20 into free EF_EXT1 records; those of the old content are freed.
    ///
    /// # Errors
    /// [`ContactError`]; nothing is changed unless the card itself refuses half-way.
    pub fn write_contact(&mut self, record_number: u8, contact: &Contact) -> Result<(), ContactError> {
        let refused = ContactError::Refused { record_number };
        let old = self.chain_of(record_number).ok_or(refused)?;
        let free: Vec<u8> = (1..=u8::MAX)
            .zip(self.all_records(EF_EXT1))
            .filter(|(number, octets)| is_free_extension(octets) || old.contains(number))
            .map(|(number, _)| number)
            .take(extensions_needed(&contact.number))
            .collect();
        let coded = encode_adn(contact, self.alpha_octets(), &free)?;
        for (&number, octets) in free.iter().zip(&coded.extensions) {
            self.write_record(EF_EXT1, number, octets).ok_or(refused)?;
        }
        self.write_record(EF_ADN, record_number, &coded.adn).ok_or(refused)?;
        old.into_iter()
            .filter(|number| !free.contains(number))
            .try_for_each(|number| self.erase(EF_EXT1, number))
            .ok_or(refused)
    }

    /// Empties the EF_ADN record and frees its EF_EXT1 records. False: switched off, or no such record.
    pub fn delete_contact(&mut self, record_number: u8) -> bool {
        let Some(old) = self.chain_of(record_number) else { return false };
        let erased = self.erase(EF_ADN, record_number);
        erased.and_then(|()| old.into_iter().try_for_each(|number| self.erase(EF_EXT1, number))).is_some()
    }

    fn chain_of(&mut self, record_number: u8) -> Option<Vec<u8>> {
        let record = self.read_record(EF_ADN, record_number)?;
        let extensions = self.all_records(EF_EXT1);
        Some(chain(&record, |number| extensions.get(usize::from(number).checked_sub(1)?).cloned()))
    }

    fn erase(&mut self, path: Path, record_number: u8) -> Option<()> {
        let octets = self.card.files().record_octets(path)?;
        self.write_record(path, record_number, &vec![0xFF; usize::from(octets)])
    }

    fn write_record(&mut self, path: Path, record_number: u8, octets: &[u8]) -> Option<()> {
        self.update_record(path, record_number, octets).then_some(())
    }

    pub(crate) fn all_records(&mut self, path: Path) -> Vec<Vec<u8>> {
        let records = self.card.files().records(path).unwrap_or(0);
        (1..=records).map_while(|number| self.read_record(path, number)).collect()
    }
}

/// No record type: FF, or 00 as cards come (TS 51.011 annex E), and nothing else in it.
fn is_free_extension(record: &[u8]) -> bool {
    let Some((record_type, content)) = record.split_first() else { return false };
    matches!(record_type, 0x00 | 0xFF) && content.iter().all(|&octet| octet == 0xFF)
}
