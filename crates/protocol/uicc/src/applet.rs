//! What an applet on the card sees: file updates, polls, envelopes, and its turn to give the phone a command.

use bytes::Bytes;

use crate::{
    files::{FileSystem, Path},
    proactive::{Event, ProactiveCommand, TerminalResponse},
};

/// Hooks of a toolkit applet (TS 102 241 in spirit). The card calls them; none may block or panic.
pub trait Applet {
    /// UPDATE RECORD (or UPDATE BINARY: record 0) by the phone has been carried out (S2-BK-01).
    fn file_updated(&mut self, files: &mut FileSystem, path: Path, record_number: u8);
    /// STATUS: the phone's poll (S2-PR-02).
    fn status(&mut self, files: &mut FileSystem);
    /// ENVELOPE (SMS-PP download): a complete SMS-DELIVER TPDU.
    fn sms_pp_download(&mut self, files: &mut FileSystem, tpdu: &[u8]);
    /// ENVELOPE (timer expiration).
    fn timer_expired(&mut self, files: &mut FileSystem, timer_id: u8);
    /// ENVELOPE (menu selection).
    fn menu_selected(&mut self, files: &mut FileSystem, item_id: u8);
    /// ENVELOPE (event download). Only cards that use channels of the phone listen to these.
    fn event(&mut self, _files: &mut FileSystem, _event: Event) {}
    /// The command that waits for the phone, if any. The card announces it by 91xx, keeps its encoding until FETCH and
    /// does not ask again before [`Self::terminal_response`].
    fn next_command(&mut self, files: &mut FileSystem) -> Option<ProactiveCommand>;
    /// The phone's answer to the command that it fetched last.
    fn terminal_response(&mut self, files: &mut FileSystem, response: &TerminalResponse);
    /// Application data that came over IP: the phone speaks the frame for its card (D-114).
    fn ip_received(&mut self, files: &mut FileSystem, payload: &[u8]);
    /// Application data that is to leave over IP, once.
    fn next_ip_payload(&mut self) -> Option<Bytes>;
    /// Power comes back after it was off: what is not in EEPROM is gone.
    fn reset(&mut self, files: &mut FileSystem);
}
