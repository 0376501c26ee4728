//! SMPP: framer, PDUs and the session machine for both roles.
