//! The backup applets that a card may have: one for each profile of the mobile side (G-12).
//!
//! [`first`], [`second`] and [`third`] are the embodiments; [`CardApplet`] is whichever the card has, or the place where one
//! is installed over the air. All share `carrier` (the way out), the first and the third also `inbox` (EF_SMS, the way in).

pub mod asynchronous;
pub(crate) mod carrier;
pub mod first;
mod inbox;
mod install;
pub(crate) mod originator;
pub mod second;
pub mod third;

use std::net::SocketAddr;

use bytes::Bytes;
use link::configuration::Bearer;
use uicc::{
    applet::Applet,
    files::{FileSystem, Path},
    proactive::{ProactiveCommand, TerminalResponse},
};

pub use install::install_message;
pub use second::{
    BackupApplet, MENU_BACKUP, MENU_BACKUP_ASK, MENU_BACKUP_ASYNCHRONOUS, MENU_BACKUP_NORMAL, MENU_RESTORE,
    default_monitor_table, memory,
};

use crate::guard::Limits;
use memory::{Configuration, Counts, Route};

/// What a card speaks with its centre (D-50), with the settings of that profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    First(first::Settings),
    #[default]
    Second,
    Third(third::Settings),
}

/// What the card is told at provisioning, whatever its profile.
#[derive(Clone, Debug)]
pub struct Provisioning {
    pub service_on: bool,
    pub route: Route,
    /// What is left of a message inside a secured packet.
    pub limits: Limits,
}

/// The applet on the card.
// One of them lives in every station for as long as it does: a box would save nothing.
#[allow(clippy::large_enum_variant)]
pub enum CardApplet {
    /// Not there yet: an installation message makes it (S1-ST-05).
    Absent {
        profile: Profile,
        provisioning: Provisioning,
    },
    First(first::FirstApplet),
    Second(BackupApplet),
    Third(third::ThirdApplet),
}

impl CardApplet {
    /// The applet of a new card with these files.
    #[must_use]
    pub fn new(profile: Profile, provisioning: Provisioning, files: &FileSystem) -> Self {
        let Provisioning { service_on, route, limits } = provisioning;
        match profile {
            Profile::First(settings) => {
                let mut applet = first::FirstApplet::new(settings, service_on, route, files);
                applet.limit_to(limits);
                Self::First(applet)
            }
            Profile::Second => {
                let Route { bearer, centre_isdn, centre_ip } = route;
                let configuration =
                    Configuration { service_on, centre_isdn, centre_ip, bearer, ..Configuration::default() };
                let mut applet = BackupApplet::new(configuration, default_monitor_table(files));
                applet.limit_to(limits);
                Self::Second(applet)
            }
            Profile::Third(settings) => {
                let mut applet = third::ThirdApplet::new(settings, service_on, route, files);
                applet.limit_to(limits);
                Self::Third(applet)
            }
        }
    }

    /// Anything queued, unsent or unacknowledged, or a restore under way.
    #[must_use]
    pub fn pending(&self) -> bool {
        match self {
            Self::Absent { .. } => false,
            Self::First(applet) => applet.pending(),
            Self::Second(applet) => applet.pending(),
            Self::Third(applet) => applet.pending(),
        }
    }

    /// Where messages go now.
    #[must_use]
    pub fn bearer(&self) -> Bearer {
        match self {
            Self::Absent { provisioning, .. } => provisioning.route.bearer,
            Self::First(applet) => applet.eeprom().route.bearer,
            Self::Second(applet) => applet.eeprom().configuration.bearer,
            Self::Third(applet) => applet.eeprom().route.bearer,
        }
    }

    /// The centre's address on IP as the card has it; only the second embodiment can be told one (CID 0x03).
    #[must_use]
    pub fn centre_ip(&self) -> Option<SocketAddr> {
        let Self::Second(applet) = self else { return None };
        let eeprom = applet.eeprom();
        match &eeprom.acknowledgement {
            Some(acknowledgement) => acknowledgement.route.centre_ip,
            None => eeprom.configuration.centre_ip,
        }
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        match self {
            Self::Absent { .. } => Counts::default(),
            Self::First(applet) => applet.eeprom().counts,
            Self::Second(applet) => applet.eeprom().counts,
            Self::Third(applet) => applet.eeprom().counts,
        }
    }

    /// The backups in blocks, where the card makes any.
    #[must_use]
    pub fn asynchronous(&self) -> Option<&asynchronous::AsynchronousBackup> {
        match self {
            Self::Absent { .. } => None,
            Self::First(applet) => applet.eeprom().asynchronous.as_ref().map(|it| &it.backup),
            Self::Second(applet) => Some(&applet.eeprom().asynchronous),
            Self::Third(applet) => applet.eeprom().asynchronous.as_ref().map(|it| &it.backup),
        }
    }

    fn installed(&mut self) -> Option<&mut dyn Applet> {
        match self {
            Self::Absent { .. } => None,
            Self::First(applet) => Some(applet),
            Self::Second(applet) => Some(applet),
            Self::Third(applet) => Some(applet),
        }
    }

    /// Makes the applet if the message says so, and has it back up what is on the card already: the first embodiment does
    /// so by its scan, the third by the flags that it begins with.
    fn install(&mut self, files: &FileSystem, tpdu: &[u8]) {
        let Self::Absent { profile, provisioning } = self else { return };
        if install::is_wanted(tpdu, provisioning.route.destination().as_ref(), profile) {
            *self = Self::new(profile.clone(), provisioning.clone(), files);
            if let Self::Second(applet) = self {
                applet.scan_all();
            }
        }
    }
}

impl Applet for CardApplet {
    fn file_updated(&mut self, files: &mut FileSystem, path: Path, record_number: u8) {
        if let Some(applet) = self.installed() {
            applet.file_updated(files, path, record_number);
        }
    }

    fn status(&mut self, files: &mut FileSystem) {
        if let Some(applet) = self.installed() {
            applet.status(files);
        }
    }

    fn sms_pp_download(&mut self, files: &mut FileSystem, tpdu: &[u8]) {
        match self.installed() {
            Some(applet) => applet.sms_pp_download(files, tpdu),
            None => self.install(files, tpdu),
        }
    }

    fn timer_expired(&mut self, files: &mut FileSystem, timer_id: u8) {
        if let Some(applet) = self.installed() {
            applet.timer_expired(files, timer_id);
        }
    }

    fn menu_selected(&mut self, files: &mut FileSystem, item_id: u8) {
        if let Some(applet) = self.installed() {
            applet.menu_selected(files, item_id);
        }
    }

    fn next_command(&mut self, files: &mut FileSystem) -> Option<ProactiveCommand> {
        self.installed()?.next_command(files)
    }

    fn terminal_response(&mut self, files: &mut FileSystem, response: &TerminalResponse) {
        if let Some(applet) = self.installed() {
            applet.terminal_response(files, response);
        }
    }

    fn ip_received(&mut self, files: &mut FileSystem, payload: &[u8]) {
        if let Some(applet) = self.installed() {
            applet.ip_received(files, payload);
        }
    }

    fn next_ip_payload(&mut self) -> Option<Bytes> {
        self.installed()?.next_ip_payload()
    }

    fn reset(&mut self, files: &mut FileSystem) {
        if let Some(applet) = self.installed() {
            applet.reset(files);
        }
    }
}
