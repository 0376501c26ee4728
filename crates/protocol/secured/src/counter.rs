//! The counter against replay (TS 102 225 5.1.4), compared only after the packet's check held.

use crate::parameters::CounterMode;

/// The highest counter: whoever reaches it is blocked until there are new keys.
pub const MAX: u64 = 0xFF_FFFF_FFFF;

/// Why a counter is refused; the number is the status of a response packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("counter not higher than the stored one")]
    Low = 0x02,
    #[error("counter more than one higher than the stored one")]
    High = 0x03,
    #[error("counter blocked")]
    Blocked = 0x04,
}

/// What is to be stored now. The strict rule, as on a card: `stored` is the highest that was accepted.
///
/// # Errors
/// [`Refused`]; nothing is to be stored.
pub fn check(mode: CounterMode, stored: u64, received: u64) -> Result<u64, Refused> {
    match mode {
        CounterMode::None | CounterMode::Unchecked => return Ok(stored),
        CounterMode::Higher | CounterMode::OneHigher => {}
    }
    if stored >= MAX {
        return Err(Refused::Blocked);
    }
    if received <= stored {
        return Err(Refused::Low);
    }
    if mode == CounterMode::OneHigher && received > stored + 1 {
        return Err(Refused::High);
    }
    Ok(received.min(MAX))
}

/// What the centre keeps of the counters of a card, which short messages may overtake: those within 64 below the highest
/// are accepted too, each once (D-127).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The highest that was accepted; 0: none.
    pub highest: u64,
    /// Bit n: `highest - n` was accepted.
    pub seen: u64,
}

impl Window {
    /// Counters that are remembered.
    pub const SIZE: u64 = 64;

    /// The window with this counter in it.
    ///
    /// # Errors
    /// [`Refused::Low`] for one that was accepted before or is too old, [`Refused::Blocked`] at the end.
    pub fn accept(self, received: u64) -> Result<Self, Refused> {
        if self.highest >= MAX {
            return Err(Refused::Blocked);
        }
        if received == 0 {
            return Err(Refused::Low);
        }
        if received > self.highest {
            let ahead = received.min(MAX) - self.highest;
            let seen = if ahead < Self::SIZE { self.seen << ahead } else { 0 };
            return Ok(Self { highest: received.min(MAX), seen: seen | 1 });
        }
        let behind = self.highest - received;
        let bit = if behind < Self::SIZE { 1_u64 << behind } else { return Err(Refused::Low) };
        if self.seen & bit != 0 { Err(Refused::Low) } else { Ok(Self { seen: self.seen | bit, ..self }) }
    }
}
