//! The virtual mobile station: a SIM with the backup applet, and its phone.
