//! The text of a delivery receipt (SMPP 3.4 appendix B): `id:.. sub:.. dlvrd:.. submit date:.. done date:.. stat:.. err:.. text:..`.
//! Read tolerantly: keys in any case and order, missing ones empty, dates with or without seconds.

use crate::time;

/// A receipt. `id` names the message as its `submit_sm_resp` did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    pub id: String,
    /// Messages submitted and delivered; 1 and 0 or 1 for a single one.
    pub sub: u16,
    pub dlvrd: u16,
    /// Seconds since 1970 UTC; `None` when missing or not a date.
    pub submit_date: Option<i64>,
    pub done_date: Option<i64>,
    pub stat: Stat,
    /// Network error code, as the SMSC wrote it (at most 3 characters written).
    pub err: String,
    /// First 20 characters of the message.
    pub text: String,
}

/// Final and intermediate states (SMPP 3.4 5.2.28 and appendix B table B-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stat {
    Enroute,
    Delivered,
    Expired,
    Deleted,
    Undeliverable,
    Accepted,
    #[default]
    Unknown,
    Rejected,
}

impl Stat {
    /// The seven letters of the text format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enroute => "ENROUTE",
            Self::Delivered => "DELIVRD",
            Self::Expired => "EXPIRED",
            Self::Deleted => "DELETED",
            Self::Undeliverable => "UNDELIV",
            Self::Accepted => "ACCEPTD",
            Self::Unknown => "UNKNOWN",
            Self::Rejected => "REJECTD",
        }
    }

    /// The `message_state` of 5.2.28.
    #[must_use]
    pub const fn message_state(self) -> u8 {
        match self {
            Self::Enroute => 1,
            Self::Delivered => 2,
            Self::Expired => 3,
            Self::Deleted => 4,
            Self::Undeliverable => 5,
            Self::Accepted => 6,
            Self::Unknown => 7,
            Self::Rejected => 8,
        }
    }

    /// From a `message_state` optional parameter; numbers beyond the table are `Unknown`.
    #[must_use]
    pub const fn from_message_state(state: u8) -> Self {
        match state {
            1 => Self::Enroute,
            2 => Self::Delivered,
            3 => Self::Expired,
            4 => Self::Deleted,
            5 => Self::Undeliverable,
            6 => Self::Accepted,
            8 => Self::Rejected,
            _ => Self::Unknown,
        }
    }

    /// True when nothing more will happen to the message.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Enroute | Self::Accepted | Self::Unknown)
    }

    fn parse(word: &str) -> Self {
        [
            Self::Enroute,
            Self::Delivered,
            Self::Expired,
            Self::Deleted,
            Self::Undeliverable,
            Self::Accepted,
            Self::Rejected,
        ]
        .into_iter()
        .find(|stat| stat.as_str().eq_ignore_ascii_case(word))
        .unwrap_or_default()
    }
}

const KEYS: [&str; 8] = ["id:", "sub:", "dlvrd:", "submit date:", "done date:", "stat:", "err:", "text:"];

impl Receipt {
    /// Reads the body of a `deliver_sm` that is a receipt. `None` when there is no `id:` or no `stat:`.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        // ASCII by the standard; anything else can only be in `text`.
        let body: String = body.iter().take(1024).map(|octet| char::from(*octet)).collect();
        let lower = body.to_ascii_lowercase();
        let mut marks: Vec<(usize, usize)> = Vec::with_capacity(KEYS.len());
        for (key_index, key) in KEYS.iter().enumerate() {
            marks.extend(find_key(&lower, key).map(|at| (at, key_index)));
        }
        marks.sort_unstable();
        // Whatever looks like a key inside the quoted message belongs to the message.
        if let Some(text) = marks.iter().position(|(_, key)| *key == 7) {
            marks.truncate(text + 1);
        }
        let mut values = [""; 8];
        for (position, (at, key_index)) in marks.iter().enumerate() {
            let end = marks.get(position + 1).map_or(body.len(), |next| next.0);
            let value = body.get(at + KEYS.get(*key_index)?.len()..end).unwrap_or_default();
            *values.get_mut(*key_index)? = value.trim();
        }
        let [id, sub, dlvrd, submit_date, done_date, stat, err, text] = values;
        if id.is_empty() || stat.is_empty() {
            return None;
        }
        Some(Self {
            id: id.to_owned(),
            sub: sub.parse().unwrap_or_default(),
            dlvrd: dlvrd.parse().unwrap_or_default(),
            submit_date: time::parse_receipt_date(submit_date),
            done_date: time::parse_receipt_date(done_date),
            stat: Stat::parse(stat),
            err: err.to_owned(),
            text: text.to_owned(),
        })
    }

    /// Writes the body of a receipt; dates in UTC, missing ones as zeros.
    #[must_use]
    pub fn format(&self) -> String {
        let date = |seconds: Option<i64>| seconds.map_or_else(|| "0000000000".to_owned(), time::format_receipt_date);
        format!(
            "id:{} sub:{:03} dlvrd:{:03} submit date:{} done date:{} stat:{} err:{:0>3} text:{}",
            self.id,
            self.sub.min(999),
            self.dlvrd.min(999),
            date(self.submit_date),
            date(self.done_date),
            self.stat.as_str(),
            self.err.chars().take(3).collect::<String>(),
            self.text.chars().take(20).collect::<String>(),
        )
    }
}

/// Where a key stands as a word of its own.
fn find_key(lower: &str, key: &str) -> Option<usize> {
    lower.match_indices(key).map(|(at, _)| at).find(|at| *at == 0 || lower.as_bytes().get(at - 1) == Some(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_reads_back() {
        let receipt = Receipt {
            id: "00A1".into(),
            sub: 1,
            dlvrd: 1,
            submit_date: Some(1_700_000_040),
            done_date: Some(1_700_000_100),
            stat: Stat::Delivered,
            err: "000".into(),
            text: "hello".into(),
        };
        let body = receipt.format();
        assert_eq!(
            body,
            "id:00A1 sub:001 dlvrd:001 submit date:2311142214 done date:2311142215 stat:DELIVRD err:000 text:hello"
        );
        assert_eq!(Receipt::parse(body.as_bytes()), Some(receipt));
    }

    #[test]
    fn reads_what_other_smscs_write() {
        let receipt =
            Receipt::parse(b"id:7 submit date:231114221400 done date:x stat:undeliv err:27 Text:id:9 stat:DELIVRD");
        let receipt = receipt.expect("id and stat are there");
        assert_eq!((receipt.id.as_str(), receipt.stat, receipt.err.as_str()), ("7", Stat::Undeliverable, "27"));
        assert_eq!((receipt.submit_date, receipt.done_date), (Some(1_700_000_040), None));
        assert_eq!(receipt.text, "id:9 stat:DELIVRD");
        assert_eq!(Receipt::parse(b"Good morning"), None);
        assert_eq!(Receipt::parse(&[0xFF; 300]), None);
    }
}
