//! Card-holder verification: CHV1 and CHV2 (PIN and PIN2 of the UICC) with their UNBLOCK keys (TS 51.011 8.9 to 8.13, TS
//! 102 221 11.1.9 to 11.1.13).

use super::{Answered, Card, done};
use crate::{
    apdu::{Command, Dialect, Refusal, instruction as ins},
    applet::Applet,
};

/// Attempts before a CHV is blocked, and before its UNBLOCK key is.
const TRIES: u8 = 3;
const UNBLOCK_TRIES: u8 = 10;

/// One secret of the card's holder.
#[derive(Clone, Debug)]
pub(super) struct Chv {
    code: [u8; 8],
    unblock: [u8; 8],
    tries: u8,
    unblock_tries: u8,
    is_enabled: bool,
    is_verified: bool,
}

impl Chv {
    pub fn new(code: [u8; 8], unblock: [u8; 8], is_enabled: bool) -> Self {
        Self { code, unblock, tries: TRIES, unblock_tries: UNBLOCK_TRIES, is_enabled, is_verified: false }
    }

    /// After a reset nobody is verified.
    pub fn forget(&mut self) {
        self.is_verified = false;
    }

    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// A disabled CHV is asked of nobody, unless it is blocked.
    pub fn is_satisfied(&self) -> bool {
        self.tries > 0 && (self.is_verified || !self.is_enabled)
    }

    /// Status octets of CHV and UNBLOCK CHV: initialised, and the tries left.
    pub fn status(&self) -> [u8; 2] {
        [0x80 | self.tries, 0x80 | self.unblock_tries]
    }

    /// One attempt; [`Refusal`] with the tries left when it fails.
    fn attempt(&mut self, code: [u8; 8]) -> Result<(), Refusal> {
        if self.tries == 0 {
            return Err(Refusal::ChvBlocked);
        }
        if code == self.code {
            self.tries = TRIES;
            return Ok(());
        }
        self.tries -= 1;
        self.is_verified = false;
        Err(Refusal::WrongChv { tries_left: self.tries })
    }

    fn verify(&mut self, code: [u8; 8]) -> Result<(), Refusal> {
        self.must_be_enabled(true)?;
        self.attempt(code)?;
        self.is_verified = true;
        Ok(())
    }

    fn change(&mut self, old: [u8; 8], new: [u8; 8]) -> Result<(), Refusal> {
        self.verify(old)?;
        self.code = new;
        Ok(())
    }

    fn set_enabled(&mut self, code: [u8; 8], is_enabled: bool) -> Result<(), Refusal> {
        self.must_be_enabled(!is_enabled)?;
        self.attempt(code)?;
        self.is_enabled = is_enabled;
        self.is_verified = true;
        Ok(())
    }

    /// A new code with the UNBLOCK key; the CHV is enabled and verified afterwards.
    fn unblock(&mut self, key: [u8; 8], new: [u8; 8]) -> Result<(), Refusal> {
        if self.unblock_tries == 0 {
            return Err(Refusal::ChvBlocked);
        }
        if key != self.unblock {
            self.unblock_tries -= 1;
            return Err(Refusal::WrongChv { tries_left: self.unblock_tries });
        }
        *self = Self { is_verified: true, ..Self::new(new, self.unblock, true) };
        Ok(())
    }

    fn must_be_enabled(&self, is_enabled: bool) -> Result<(), Refusal> {
        if self.is_enabled == is_enabled { Ok(()) } else { Err(Refusal::ChvState) }
    }
}

impl<A: Applet> Card<A> {
    /// VERIFY, CHANGE, DISABLE, ENABLE and UNBLOCK CHV.
    pub(super) fn on_chv(&mut self, dialect: Dialect, command: &Command) -> Answered {
        let Command { instruction, p1, p2, data, .. } = *command;
        if p1 != 0 {
            return Err(Refusal::Parameters);
        }
        let is_unblock = instruction == ins::UNBLOCK_CHV;
        let (chv, is_first) = match (dialect, p2) {
            // UNBLOCK CHV1 is 00 on the SIM.
            (Dialect::Sim, 0x00) if is_unblock => (&mut self.chv1, true),
            (Dialect::Sim, 0x01) if !is_unblock => (&mut self.chv1, true),
            (Dialect::Sim, 0x02) | (Dialect::Uicc, 0x81) => (&mut self.chv2, false),
            (Dialect::Uicc, 0x01) => (&mut self.chv1, true),
            _ => return Err(Refusal::NoSuchChv),
        };
        if data.is_empty() && dialect == Dialect::Uicc && matches!(instruction, ins::VERIFY_CHV | ins::UNBLOCK_CHV) {
            // A question: how many tries are left?
            let tries_left = if is_unblock { chv.unblock_tries } else { chv.tries };
            return Err(if tries_left == 0 { Refusal::ChvBlocked } else { Refusal::WrongChv { tries_left } });
        }
        match instruction {
            ins::VERIFY_CHV => chv.verify(one_code(data)?)?,
            ins::CHANGE_CHV | ins::UNBLOCK_CHV => {
                let (old, new) = two_codes(data)?;
                if is_unblock { chv.unblock(old, new)? } else { chv.change(old, new)? }
            }
            _ if !is_first => return Err(Refusal::NoSuchChv),
            _ => chv.set_enabled(one_code(data)?, instruction == ins::ENABLE_CHV)?,
        }
        done()
    }
}

fn one_code(data: &[u8]) -> Result<[u8; 8], Refusal> {
    data.try_into().map_err(|_| Refusal::DataLength { expected: 8 })
}

fn two_codes(data: &[u8]) -> Result<([u8; 8], [u8; 8]), Refusal> {
    let wrong = Refusal::DataLength { expected: 16 };
    let (first, second) = data.split_at_checked(8).ok_or(wrong)?;
    Ok((first.try_into().map_err(|_| wrong)?, second.try_into().map_err(|_| wrong)?))
}
