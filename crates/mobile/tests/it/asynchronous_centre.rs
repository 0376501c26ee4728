//! The centre's side of the asynchronous mode, as far as a card sees it: what is missing is asked for, the end is said.

use std::collections::BTreeMap;

use link::asynchronous::{Message, Variant, missing};

/// Of one session.
#[derive(Default)]
pub struct Centre {
    /// By block number.
    pub blocks: BTreeMap<u8, Vec<u8>>,
    /// Final messages.
    pub ends: usize,
    session: Option<(u8, u8, Variant)>,
}

impl Centre {
    /// Stores what was sent; `asks`: the countdown is over.
    pub fn take(&mut self, sent: &mut Vec<Vec<u8>>, asks: bool) -> Vec<Vec<u8>> {
        let before = self.blocks.len();
        let mut has_come = false;
        for message in sent.drain(..) {
            let Ok(Message::Blocks { session, total, first, variant, blocks, .. }) = Message::decode(&message) else {
                panic!("{message:02X?}");
            };
            self.session = Some((session, total, variant));
            self.blocks.extend((first..).zip(blocks.iter().map(|block| block.to_vec())));
            has_come = true;
        }
        let Some((session, total, variant)) = self.session else { return vec![] };
        let missing = missing(total, |block| self.blocks.contains_key(&block));
        let is_complete = missing.is_empty();
        if is_complete && has_come && (before < self.blocks.len() || self.ends == 0) {
            self.ends += 1;
            return vec![Message::Final { session, total, result: 0 }.encode()];
        }
        let is_asked = variant == Variant::ServerCountdown || self.blocks.contains_key(&total);
        if asks && is_asked && !is_complete {
            return vec![Message::Resume { session, total, missing }.encode()];
        }
        vec![]
    }
}
