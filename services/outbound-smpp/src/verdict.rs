//! What the SMSC's answer to a `submit_sm` means (SC-OC-04): one total table from `command_status` to the launch result.

use smpp::{CommandStatus, StatusClass};

/// What to do about a refused message, and about its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The link is to slow down; the message may go again.
    Throttled,
    /// The queue of this destination is full; the message may go again a little later.
    QueueFull,
    /// The message may be accepted later, or on another link.
    Temporary,
    /// The same message will be refused again.
    Permanent,
}

/// The table. `ESME_ROK` is no refusal and counts as temporary, should it ever come here.
#[must_use]
pub fn verdict(status: CommandStatus) -> Verdict {
    match status {
        CommandStatus::ESME_RTHROTTLED => Verdict::Throttled,
        CommandStatus::ESME_RMSGQFUL => Verdict::QueueFull,
        other => match other.class() {
            StatusClass::Success | StatusClass::Temporary => Verdict::Temporary,
            StatusClass::Permanent => Verdict::Permanent,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smpp::command_status::NAMES;

    #[test]
    fn every_status_of_the_standards_has_its_verdict() {
        let temporary = [
            "ESME_ROK",
            "ESME_RSYSERR",
            "ESME_RX_T_APPN",
            "ESME_RINVBNDSTS",
            "ESME_RSUBMITFAIL",
            "ESME_RDELIVERYFAILURE",
            "ESME_RUNKNOWNERR",
            "ESME_RSERTYPUNAVAIL",
        ];
        for (status, name) in NAMES {
            let expected = match *name {
                "ESME_RTHROTTLED" => Verdict::Throttled,
                "ESME_RMSGQFUL" => Verdict::QueueFull,
                name if temporary.contains(&name) => Verdict::Temporary,
                _ => Verdict::Permanent,
            };
            assert_eq!(verdict(*status), expected, "{name}");
        }
        // What a vendor means is unknown: a message given up too early is lost.
        assert_eq!(verdict(CommandStatus(0x0400)), Verdict::Temporary);
    }
}
