//! The virtual mobile station against the vectors of the specification, driven by hand-fed time.

mod applet;
mod backup;
mod centre;
mod configuration;
mod hostile;
mod power;
mod restore;
mod rig;
mod rows;
mod tasks;
mod world;
