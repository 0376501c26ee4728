//! The virtual mobile station against the vectors of the specification, driven by hand-fed time.

mod applet;
mod backup;
mod buffers;
mod centre;
mod configuration;
mod general;
mod hostile;
mod overtaking;
mod phone;
mod power;
mod restore;
mod rig;
mod rows;
mod tasks;
mod world;
