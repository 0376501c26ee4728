//! The phonebook in the card's files: entries in EF_ADN, what of their numbers is over 20 digits in EF_EXT1; and what the
//! change counters of a USIM's phonebook say of them (TS 31.102 4.4.2.12).

use crate::{
    files::{EF_ADN, EF_CC, EF_EXT1, EF_PUID, EF_UID, FileError, FileSystem},
    phonebook::{Contact, EXT1_OCTETS, NotStorable, chain, decode_adn, encode_adn, extensions_needed},
};

/// Why an entry is not on the card; nothing of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    #[error(transparent)]
    Entry(#[from] NotStorable),
    #[error(transparent)]
    File(#[from] FileError),
}

/// Writes an entry as the card's own software does, with no access condition and no event. Gives the records of EF_EXT1 that
/// it needed. An empty name with an empty number is no entry: the record becomes free.
///
/// # Errors
/// [`NotStored`].
pub fn store(files: &mut FileSystem, record_number: u8, contact: &Contact) -> Result<Vec<u8>, NotStored> {
    let old = files.record(EF_ADN, record_number)?.to_vec();
    let alpha_octets = old.len().saturating_sub(crate::phonebook::ADN_FIXED_OCTETS);
    let used = chain(&old, |number| extension(files, number));
    let free: Vec<u8> = (1..=files.records(EF_EXT1).unwrap_or(0))
        .filter(|number| used.contains(number) || extension(files, *number).is_some_and(|octets| is_free(&octets)))
        .take(extensions_needed(&contact.number))
        .collect();
    let coded = encode_adn(contact, alpha_octets, &free)?;
    for number in used {
        files.set_record(EF_EXT1, number, &[0xFF; EXT1_OCTETS])?;
    }
    for (&number, octets) in free.iter().zip(&coded.extensions) {
        files.set_record(EF_EXT1, number, octets)?;
    }
    files.set_record(EF_ADN, record_number, &coded.adn)?;
    give_identifier(files, record_number)?;
    Ok(free)
}

/// The entries by record number.
#[must_use]
pub fn contacts(files: &FileSystem) -> Vec<(u8, Contact)> {
    let ext1 = |number: u8| extension(files, number);
    let records = 1..=files.records(EF_ADN).unwrap_or(0);
    records.filter_map(|number| Some((number, decode_adn(files.record(EF_ADN, number).ok()?, ext1)?))).collect()
}

/// EF_UID, EF_PUID and EF_CC, where the card has them: a new entry gets the next unique identifier, every change counts.
fn give_identifier(files: &mut FileSystem, record_number: u8) -> Result<(), FileError> {
    let is_new = files.record(EF_UID, record_number).is_ok_and(|identifier| identifier == [0, 0]);
    for (counter, counts) in [(EF_PUID, is_new), (EF_CC, files.exists(EF_CC))] {
        let Some(last) = files.binary(counter).ok().and_then(|octets| octets.try_into().ok()) else { continue };
        if counts {
            let next = u16::from_be_bytes(last).checked_add(1).unwrap_or(1);
            files.write(counter, 0, 0, &next.to_be_bytes())?;
            if counter == EF_PUID {
                files.write(EF_UID, record_number, 0, &next.to_be_bytes())?;
            }
        }
    }
    Ok(())
}

fn extension(files: &FileSystem, number: u8) -> Option<Vec<u8>> {
    files.record(EF_EXT1, number).ok().map(<[u8]>::to_vec)
}

/// No record type: FF, or 00 as cards come (TS 51.011 annex E), and nothing else in it.
fn is_free(record: &[u8]) -> bool {
    let Some((record_type, content)) = record.split_first() else { return false };
    matches!(record_type, 0x00 | 0xFF) && content.iter().all(|&octet| octet == 0xFF)
}
