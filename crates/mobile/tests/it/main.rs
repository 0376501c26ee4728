//! The virtual mobile station against the vectors of the specification, driven by hand-fed time.

mod applet;
mod backup;
mod configuration;
mod hostile;
mod restore;
mod rig;
mod rows;
