//! The SMSC simulator, the fleet of virtual cards, the ledger: demo, faults and load.
