//! Who plays: by its place each card has a bearer, a profile and a way to back up, so that all of them meet on one centre.

use domain::security::{TAR_DOWN, TAR_UP};
use link::configuration::Item;
use mobile::{
    Bearer, CardSecurity, Profile, Station, StationConfig,
    applet::{MENU_BACKUP_ASYNCHRONOUS, MENU_BACKUP_NORMAL, asynchronous, first, third},
};
use secured::{Algorithm, Spi, master::MasterKey};

/// How a card backs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Changes leave as they happen.
    Plain,
    /// As plain, each message in a secured packet.
    Secured,
    /// As plain, in the compact coding.
    Compact,
    /// When its owner asks: in blocks, with pauses in which the phone is the owner's.
    Asynchronous,
    /// When its owner asks: the same blocks without pauses.
    Normal,
}

/// What the card at a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    pub embodiment: Embodiment,
    pub mode: Mode,
    pub bearer: Bearer,
    /// Which of the cards with this profile, mode and bearer it is.
    turn: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Embodiment {
    First,
    Second,
    Third,
}

impl Embodiment {
    pub const ALL: [Self; 3] = [Self::First, Self::Second, Self::Third];

    /// What the centre and people call it (D-50).
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "E1",
            Self::Second => "E2",
            Self::Third => "E3",
        }
    }
}

impl Mode {
    pub const ALL: [Self; 5] = [Self::Plain, Self::Secured, Self::Compact, Self::Asynchronous, Self::Normal];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Secured => "secured",
            Self::Compact => "compact",
            Self::Asynchronous => "asynchronous",
            Self::Normal => "normal mode",
        }
    }
}

/// Half of the cards of a bearer are of the second embodiment, a quarter each of the others. What a small run must have
/// comes first.
const CAST: [(Embodiment, Mode); 16] = {
    use Embodiment::{First, Second, Third};
    use Mode::{Asynchronous, Compact, Normal, Plain, Secured};
    [
        (Second, Plain),
        (Second, Plain),
        (First, Plain),
        (Third, Plain),
        (Second, Secured),
        (First, Secured),
        (Third, Secured),
        (Second, Asynchronous),
        (First, Asynchronous),
        (Third, Asynchronous),
        (Second, Normal),
        (First, Normal),
        (Third, Normal),
        (Second, Compact),
        (Second, Plain),
        (Second, Secured),
    ]
};

/// Modes of CID 0x0D, and of a card that is set at provisioning: the centre counts the pause, the phone's timer, STATUS.
const VARIANTS: [u8; 3] = [0, 1, 2];
/// Entries in a message: four fill a short one; over IP there is room for more.
const BLOCKS_SMS: u8 = 4;
const BLOCKS_IP: u8 = 12;
/// Records that a compact message waits for: one comes with each status event (D-35).
const COMPACT_RECORDS: u8 = 14;
/// A pause, seconds: on the centre's clock, which is the real one, and on the phone's.
const PAUSE_CENTRE: u16 = 1;
const PAUSE_PHONE: u16 = 20;
pub const CARD_RECORDS: u8 = 110;
pub const CARD_EXTENSIONS: u8 = 30;

/// The card at this place: half of them on SMS, half on IP.
pub fn role(at: u32) -> Role {
    let bearer = if at.is_multiple_of(2) { Bearer::Sms } else { Bearer::Ip };
    let places = u32::try_from(CAST.len()).unwrap_or(u32::MAX);
    let (place, turn) = (at / 2 % places, at / 2 / places);
    let cast = usize::try_from(place).ok().and_then(|place| CAST.get(place));
    let (embodiment, mode) = cast.copied().unwrap_or((Embodiment::Second, Mode::Plain));
    Role { embodiment, mode, bearer, turn }
}

impl Role {
    /// A blank card for it: 14 octets of name, 110 records. The second embodiment has 30 more for long numbers; the others
    /// back up EF_ADN only.
    pub fn card(self, centre_number: &str, master_key: &MasterKey, iccid: &str) -> Station {
        Station::new(StationConfig {
            centre_isdn: centre_number.to_owned(),
            bearer: self.bearer,
            adn_records: CARD_RECORDS,
            ext1_records: if self.embodiment == Embodiment::Second { CARD_EXTENSIONS } else { 0 },
            profile: self.profile(),
            security: self.security(master_key, iccid),
            ..StationConfig::default()
        })
    }

    fn profile(self) -> Profile {
        let asynchronous = self.blocks();
        match self.embodiment {
            // A scan of one entry per poll: a pass over the card at the usual 5 s takes nine minutes of its clock.
            Embodiment::First => {
                Profile::First(first::Settings { poll_seconds: 2, asynchronous, ..first::Settings::default() })
            }
            Embodiment::Second => Profile::Second,
            Embodiment::Third => Profile::Third(third::Settings { asynchronous, ..third::Settings::default() }),
        }
    }

    /// `None`: changes leave as they happen.
    fn blocks(self) -> Option<asynchronous::Settings> {
        let (mode, blocks, pause) = self.asynchronous()?;
        asynchronous::Settings::default().configured(mode, blocks, pause)
    }

    /// As in CID 0x0D: mode, blocks in a message, pause.
    fn asynchronous(self) -> Option<(u8, u8, u16)> {
        matches!(self.mode, Mode::Asynchronous | Mode::Normal).then(|| {
            let variant = usize::try_from(self.turn).ok().and_then(|turn| VARIANTS.get(turn % VARIANTS.len()));
            let mode = variant.copied().unwrap_or(0);
            let blocks = if self.bearer == Bearer::Sms { BLOCKS_SMS } else { BLOCKS_IP };
            (mode, blocks, if mode == 0 { PAUSE_CENTRE } else { PAUSE_PHONE })
        })
    }

    /// What the centre has to tell a card of the second embodiment; the others are made for their mode.
    pub fn configuration(self) -> Vec<Item> {
        if self.embodiment != Embodiment::Second {
            return Vec::new();
        }
        match self.mode {
            Mode::Plain | Mode::Secured => Vec::new(),
            Mode::Compact => vec![Item::Compact { on: true }, Item::RetryPreset(COMPACT_RECORDS)],
            Mode::Asynchronous | Mode::Normal => {
                let told = self.asynchronous().map(|(mode, blocks_per_message, delay)| Item::Asynchronous {
                    mode,
                    blocks_per_message,
                    delay,
                });
                told.into_iter().collect()
            }
        }
    }

    /// What the owner picks in the card's menu after having changed something.
    pub fn menu_item(self) -> Option<u8> {
        match self.mode {
            Mode::Asynchronous => Some(MENU_BACKUP_ASYNCHRONOUS),
            Mode::Normal => Some(MENU_BACKUP_NORMAL),
            Mode::Plain | Mode::Secured | Mode::Compact => None,
        }
    }

    /// Of a secured device, as the centre calls it: every other one is ciphered too.
    pub fn level(self) -> Option<&'static str> {
        self.least().map(|least| if least.is_ciphered { "integrity_and_cipher" } else { "integrity" })
    }

    fn least(self) -> Option<Spi> {
        let least = if self.turn.is_multiple_of(2) { Spi::CIPHER } else { Spi::INTEGRITY };
        (self.mode == Mode::Secured).then_some(least)
    }

    /// The keys that the card maker derives for this card.
    fn security(self, master_key: &MasterKey, iccid: &str) -> Option<CardSecurity> {
        let least = self.least()?;
        let keys = master_key.card_keys(iccid, KEY_VERSION, Algorithm::Aes128)?;
        Some(CardSecurity { least, keys: vec![keys], tar_up: TAR_UP, tar_down: TAR_DOWN })
    }
}

/// The centre's, unless it is told another.
const KEY_VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every way to back up that a profile has is played on both bearers, and of the lost cards are some of each.
    #[test]
    fn everybody_plays_and_everybody_loses_a_card() {
        let names = |places: &mut dyn Iterator<Item = u32>| {
            let role = |at| {
                let Role { embodiment, mode, bearer, .. } = role(at);
                (embodiment, mode, bearer == Bearer::Sms)
            };
            places.map(role).collect::<BTreeSet<_>>()
        };
        let all = names(&mut (0..32));
        assert_eq!(all.len(), 2 * (4 + 5 + 4));
        assert_eq!(names(&mut (0..300).step_by(5)), all, "the lost ones of the usual run");
        let first = names(&mut (0..8));
        assert!(Embodiment::ALL.iter().all(|each| first.contains(&(*each, Mode::Plain, true))));
    }

    #[test]
    fn a_secured_card_has_keys_and_a_card_with_blocks_its_settings() {
        let master = MasterKey::new([7; 32]);
        for at in 0..96 {
            let role = role(at);
            assert_eq!(role.security(&master, "8949000000000000001").is_some(), role.mode == Mode::Secured);
            assert_eq!(role.blocks().is_some(), role.menu_item().is_some());
            assert!(role.blocks().is_none_or(|settings| settings.defers_changes()));
        }
    }
}
