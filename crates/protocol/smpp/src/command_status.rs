//! `command_status`: the complete table of SMPP 3.4 5.1.3 and SMPP 5.0 4.7.6, and what each means for a retry.
//! Names are those of the standard; 0xC0 to 0xC4 carry 5.0's (3.4 says `OPTPAR` for `TLV`), except that 0xC2 keeps
//! 3.4's `RINVPARLEN`.

/// The outcome of an operation as its 32-bit number. Zero is success.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CommandStatus(pub u32);

/// What a status means for the sender of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusClass {
    /// Accepted.
    Success,
    /// The same message may be accepted later, or on another link.
    Temporary,
    /// The same message will be refused again.
    Permanent,
}

impl CommandStatus {
    pub const ESME_ROK: Self = Self(0x00000000);
    pub const ESME_RINVMSGLEN: Self = Self(0x00000001);
    pub const ESME_RINVCMDLEN: Self = Self(0x00000002);
    pub const ESME_RINVCMDID: Self = Self(0x00000003);
    pub const ESME_RINVBNDSTS: Self = Self(0x00000004);
    pub const ESME_RALYBND: Self = Self(0x00000005);
    pub const ESME_RINVPRTFLG: Self = Self(0x00000006);
    pub const ESME_RINVREGDLVFLG: Self = Self(0x00000007);
    pub const ESME_RSYSERR: Self = Self(0x00000008);
    pub const ESME_RINVSRCADR: Self = Self(0x0000000A);
    pub const ESME_RINVDSTADR: Self = Self(0x0000000B);
    pub const ESME_RINVMSGID: Self = Self(0x0000000C);
    pub const ESME_RBINDFAIL: Self = Self(0x0000000D);
    pub const ESME_RINVPASWD: Self = Self(0x0000000E);
    pub const ESME_RINVSYSID: Self = Self(0x0000000F);
    pub const ESME_RCANCELFAIL: Self = Self(0x00000011);
    pub const ESME_RREPLACEFAIL: Self = Self(0x00000013);
    pub const ESME_RMSGQFUL: Self = Self(0x00000014);
    pub const ESME_RINVSERTYP: Self = Self(0x00000015);
    pub const ESME_RINVNUMDESTS: Self = Self(0x00000033);
    pub const ESME_RINVDLNAME: Self = Self(0x00000034);
    pub const ESME_RINVDESTFLAG: Self = Self(0x00000040);
    pub const ESME_RINVSUBREP: Self = Self(0x00000042);
    pub const ESME_RINVESMCLASS: Self = Self(0x00000043);
    pub const ESME_RCNTSUBDL: Self = Self(0x00000044);
    pub const ESME_RSUBMITFAIL: Self = Self(0x00000045);
    pub const ESME_RINVSRCTON: Self = Self(0x00000048);
    pub const ESME_RINVSRCNPI: Self = Self(0x00000049);
    pub const ESME_RINVDSTTON: Self = Self(0x00000050);
    pub const ESME_RINVDSTNPI: Self = Self(0x00000051);
    pub const ESME_RINVSYSTYP: Self = Self(0x00000053);
    pub const ESME_RINVREPFLAG: Self = Self(0x00000054);
    pub const ESME_RINVNUMMSGS: Self = Self(0x00000055);
    pub const ESME_RTHROTTLED: Self = Self(0x00000058);
    pub const ESME_RINVSCHED: Self = Self(0x00000061);
    pub const ESME_RINVEXPIRY: Self = Self(0x00000062);
    pub const ESME_RINVDFTMSGID: Self = Self(0x00000063);
    pub const ESME_RX_T_APPN: Self = Self(0x00000064);
    pub const ESME_RX_P_APPN: Self = Self(0x00000065);
    pub const ESME_RX_R_APPN: Self = Self(0x00000066);
    pub const ESME_RQUERYFAIL: Self = Self(0x00000067);
    pub const ESME_RINVTLVSTREAM: Self = Self(0x000000C0);
    pub const ESME_RTLVNOTALLWD: Self = Self(0x000000C1);
    pub const ESME_RINVPARLEN: Self = Self(0x000000C2);
    pub const ESME_RMISSINGTLV: Self = Self(0x000000C3);
    pub const ESME_RINVTLVVAL: Self = Self(0x000000C4);
    pub const ESME_RDELIVERYFAILURE: Self = Self(0x000000FE);
    pub const ESME_RUNKNOWNERR: Self = Self(0x000000FF);
    pub const ESME_RSERTYPUNAUTH: Self = Self(0x00000100);
    pub const ESME_RPROHIBITED: Self = Self(0x00000101);
    pub const ESME_RSERTYPUNAVAIL: Self = Self(0x00000102);
    pub const ESME_RSERTYPDENIED: Self = Self(0x00000103);
    pub const ESME_RINVDCS: Self = Self(0x00000104);
    pub const ESME_RINVSRCADDRSUBUNIT: Self = Self(0x00000105);
    pub const ESME_RINVDSTADDRSUBUNIT: Self = Self(0x00000106);
    pub const ESME_RINVBCASTFREQINT: Self = Self(0x00000107);
    pub const ESME_RINVBCASTALIAS_NAME: Self = Self(0x00000108);
    pub const ESME_RINVBCASTAREAFMT: Self = Self(0x00000109);
    pub const ESME_RINVNUMBCAST_AREAS: Self = Self(0x0000010A);
    pub const ESME_RINVBCASTCNTTYPE: Self = Self(0x0000010B);
    pub const ESME_RINVBCASTMSGCLASS: Self = Self(0x0000010C);
    pub const ESME_RBCASTFAIL: Self = Self(0x0000010D);
    pub const ESME_RBCASTQUERYFAIL: Self = Self(0x0000010E);
    pub const ESME_RBCASTCANCELFAIL: Self = Self(0x0000010F);
    pub const ESME_RINVBCAST_REP: Self = Self(0x00000110);
    pub const ESME_RINVBCASTSRVGRP: Self = Self(0x00000111);
    pub const ESME_RINVBCASTCHANIND: Self = Self(0x00000112);

    /// True when the operation succeeded (`ESME_ROK`).
    #[must_use]
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// The standard's name (`ESME_RTHROTTLED`), or `None` for reserved and vendor-specific numbers.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        NAMES.binary_search_by_key(&self, |row| row.0).ok().and_then(|index| NAMES.get(index)).map(|row| row.1)
    }

    /// Whether to try again. Reserved and vendor-specific numbers (0x400 to 0x4FF) count as temporary: their meaning
    /// is unknown, the retry ladder is finite, and a message given up too early is lost.
    #[must_use]
    pub fn class(self) -> StatusClass {
        match self {
            Self::ESME_ROK => StatusClass::Success,
            // The peer or the link is at fault, not the message.
            Self::ESME_RSYSERR
            | Self::ESME_RMSGQFUL
            | Self::ESME_RTHROTTLED
            | Self::ESME_RX_T_APPN
            | Self::ESME_RINVBNDSTS
            | Self::ESME_RSUBMITFAIL
            | Self::ESME_RDELIVERYFAILURE
            | Self::ESME_RUNKNOWNERR
            | Self::ESME_RSERTYPUNAVAIL => StatusClass::Temporary,
            known if known.name().is_some() => StatusClass::Permanent,
            _ => StatusClass::Temporary,
        }
    }
}

impl std::fmt::Debug for CommandStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "command_status 0x{:08X}", self.0),
        }
    }
}

impl std::fmt::Display for CommandStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// Every status of the standards with its name, ascending.
pub const NAMES: &[(CommandStatus, &str)] = &[
    (CommandStatus::ESME_ROK, "ESME_ROK"),
    (CommandStatus::ESME_RINVMSGLEN, "ESME_RINVMSGLEN"),
    (CommandStatus::ESME_RINVCMDLEN, "ESME_RINVCMDLEN"),
    (CommandStatus::ESME_RINVCMDID, "ESME_RINVCMDID"),
    (CommandStatus::ESME_RINVBNDSTS, "ESME_RINVBNDSTS"),
    (CommandStatus::ESME_RALYBND, "ESME_RALYBND"),
    (CommandStatus::ESME_RINVPRTFLG, "ESME_RINVPRTFLG"),
    (CommandStatus::ESME_RINVREGDLVFLG, "ESME_RINVREGDLVFLG"),
    (CommandStatus::ESME_RSYSERR, "ESME_RSYSERR"),
    (CommandStatus::ESME_RINVSRCADR, "ESME_RINVSRCADR"),
    (CommandStatus::ESME_RINVDSTADR, "ESME_RINVDSTADR"),
    (CommandStatus::ESME_RINVMSGID, "ESME_RINVMSGID"),
    (CommandStatus::ESME_RBINDFAIL, "ESME_RBINDFAIL"),
    (CommandStatus::ESME_RINVPASWD, "ESME_RINVPASWD"),
    (CommandStatus::ESME_RINVSYSID, "ESME_RINVSYSID"),
    (CommandStatus::ESME_RCANCELFAIL, "ESME_RCANCELFAIL"),
    (CommandStatus::ESME_RREPLACEFAIL, "ESME_RREPLACEFAIL"),
    (CommandStatus::ESME_RMSGQFUL, "ESME_RMSGQFUL"),
    (CommandStatus::ESME_RINVSERTYP, "ESME_RINVSERTYP"),
    (CommandStatus::ESME_RINVNUMDESTS, "ESME_RINVNUMDESTS"),
    (CommandStatus::ESME_RINVDLNAME, "ESME_RINVDLNAME"),
    (CommandStatus::ESME_RINVDESTFLAG, "ESME_RINVDESTFLAG"),
    (CommandStatus::ESME_RINVSUBREP, "ESME_RINVSUBREP"),
    (CommandStatus::ESME_RINVESMCLASS, "ESME_RINVESMCLASS"),
    (CommandStatus::ESME_RCNTSUBDL, "ESME_RCNTSUBDL"),
    (CommandStatus::ESME_RSUBMITFAIL, "ESME_RSUBMITFAIL"),
    (CommandStatus::ESME_RINVSRCTON, "ESME_RINVSRCTON"),
    (CommandStatus::ESME_RINVSRCNPI, "ESME_RINVSRCNPI"),
    (CommandStatus::ESME_RINVDSTTON, "ESME_RINVDSTTON"),
    (CommandStatus::ESME_RINVDSTNPI, "ESME_RINVDSTNPI"),
    (CommandStatus::ESME_RINVSYSTYP, "ESME_RINVSYSTYP"),
    (CommandStatus::ESME_RINVREPFLAG, "ESME_RINVREPFLAG"),
    (CommandStatus::ESME_RINVNUMMSGS, "ESME_RINVNUMMSGS"),
    (CommandStatus::ESME_RTHROTTLED, "ESME_RTHROTTLED"),
    (CommandStatus::ESME_RINVSCHED, "ESME_RINVSCHED"),
    (CommandStatus::ESME_RINVEXPIRY, "ESME_RINVEXPIRY"),
    (CommandStatus::ESME_RINVDFTMSGID, "ESME_RINVDFTMSGID"),
    (CommandStatus::ESME_RX_T_APPN, "ESME_RX_T_APPN"),
    (CommandStatus::ESME_RX_P_APPN, "ESME_RX_P_APPN"),
    (CommandStatus::ESME_RX_R_APPN, "ESME_RX_R_APPN"),
    (CommandStatus::ESME_RQUERYFAIL, "ESME_RQUERYFAIL"),
    (CommandStatus::ESME_RINVTLVSTREAM, "ESME_RINVTLVSTREAM"),
    (CommandStatus::ESME_RTLVNOTALLWD, "ESME_RTLVNOTALLWD"),
    (CommandStatus::ESME_RINVPARLEN, "ESME_RINVPARLEN"),
    (CommandStatus::ESME_RMISSINGTLV, "ESME_RMISSINGTLV"),
    (CommandStatus::ESME_RINVTLVVAL, "ESME_RINVTLVVAL"),
    (CommandStatus::ESME_RDELIVERYFAILURE, "ESME_RDELIVERYFAILURE"),
    (CommandStatus::ESME_RUNKNOWNERR, "ESME_RUNKNOWNERR"),
    (CommandStatus::ESME_RSERTYPUNAUTH, "ESME_RSERTYPUNAUTH"),
    (CommandStatus::ESME_RPROHIBITED, "ESME_RPROHIBITED"),
    (CommandStatus::ESME_RSERTYPUNAVAIL, "ESME_RSERTYPUNAVAIL"),
    (CommandStatus::ESME_RSERTYPDENIED, "ESME_RSERTYPDENIED"),
    (CommandStatus::ESME_RINVDCS, "ESME_RINVDCS"),
    (CommandStatus::ESME_RINVSRCADDRSUBUNIT, "ESME_RINVSRCADDRSUBUNIT"),
    (CommandStatus::ESME_RINVDSTADDRSUBUNIT, "ESME_RINVDSTADDRSUBUNIT"),
    (CommandStatus::ESME_RINVBCASTFREQINT, "ESME_RINVBCASTFREQINT"),
    (CommandStatus::ESME_RINVBCASTALIAS_NAME, "ESME_RINVBCASTALIAS_NAME"),
    (CommandStatus::ESME_RINVBCASTAREAFMT, "ESME_RINVBCASTAREAFMT"),
    (CommandStatus::ESME_RINVNUMBCAST_AREAS, "ESME_RINVNUMBCAST_AREAS"),
    (CommandStatus::ESME_RINVBCASTCNTTYPE, "ESME_RINVBCASTCNTTYPE"),
    (CommandStatus::ESME_RINVBCASTMSGCLASS, "ESME_RINVBCASTMSGCLASS"),
    (CommandStatus::ESME_RBCASTFAIL, "ESME_RBCASTFAIL"),
    (CommandStatus::ESME_RBCASTQUERYFAIL, "ESME_RBCASTQUERYFAIL"),
    (CommandStatus::ESME_RBCASTCANCELFAIL, "ESME_RBCASTCANCELFAIL"),
    (CommandStatus::ESME_RINVBCAST_REP, "ESME_RINVBCAST_REP"),
    (CommandStatus::ESME_RINVBCASTSRVGRP, "ESME_RINVBCASTSRVGRP"),
    (CommandStatus::ESME_RINVBCASTCHANIND, "ESME_RINVBCASTCHANIND"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_ascends_and_classes_are_sane() {
        assert!(NAMES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(CommandStatus(0x58).name(), Some("ESME_RTHROTTLED"));
        assert_eq!(CommandStatus(0x58).class(), StatusClass::Temporary);
        assert_eq!(CommandStatus(0x0B).class(), StatusClass::Permanent);
        assert_eq!(CommandStatus(0x412).class(), StatusClass::Temporary);
        assert_eq!(CommandStatus(0x412).to_string(), "command_status 0x00000412");
    }
}
