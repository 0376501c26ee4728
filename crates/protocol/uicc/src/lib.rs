//! The card: APDUs, file system, phonebook files, toolkit TLVs.
