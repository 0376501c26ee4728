//! The virtual mobile station against the vectors of the specification, driven by hand-fed time.

mod applet;
mod asynchronous;
mod asynchronous_centre;
mod asynchronous_phone;
mod backup;
mod buffers;
mod centre;
mod configuration;
mod first_backup;
mod first_card;
mod first_centre;
mod first_idle;
mod first_restore;
mod general;
mod hostile;
mod overtaking;
mod phone;
mod power;
mod restore;
mod rig;
mod rows;
mod tasks;
mod third_backup;
mod third_messages;
mod third_trigger;
mod world;
