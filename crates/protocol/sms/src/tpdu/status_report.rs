//! SMS-STATUS-REPORT (TS 23.040 9.2.2.3): what became of a SUBMIT.

use super::{bit, expect_type, set};
use crate::reader::Reader;
use crate::{Address, Malformed, TimeStamp};

/// The parameters after TP-ST, which the centre does not use, are kept as octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReport {
    /// More messages wait (TP-MMS on the wire is the opposite).
    pub more_messages: bool,
    /// TP-LP.
    pub loop_prevention: bool,
    /// TP-SRQ: the answer to a COMMAND.
    pub answers_command: bool,
    /// TP-UDHI of `parameters`.
    pub user_data_header: bool,
    /// TP-MR of the SUBMIT.
    pub message_reference: u8,
    /// TP-RA: the SUBMIT's destination.
    pub recipient: Address,
    /// TP-SCTS of the SUBMIT.
    pub time_stamp: TimeStamp,
    /// TP-DT: when it was delivered, or last tried.
    pub discharge_time: TimeStamp,
    /// TP-ST (TS 23.040 9.2.3.15).
    pub status: u8,
    /// TP-PI and what follows; empty when absent.
    pub parameters: Vec<u8>,
}

/// Octets of `parameters` that a TPDU can hold.
const PARAMETERS_MAX: usize = 145;

impl StatusReport {
    const TYPE: u8 = 2;

    /// TP-ST 00 to 1F: the transaction is complete, the message was delivered, forwarded or replaced.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.status < 0x20
    }

    /// TP-ST 20 to 3F: the centre still tries.
    #[must_use]
    pub fn is_still_trying(&self) -> bool {
        (0x20..0x40).contains(&self.status)
    }

    /// The TPDU's octets; parameters above 145 octets are left out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![
            Self::TYPE
                | set(!self.more_messages, bit::MORE_MESSAGES_NOT)
                | set(self.loop_prevention, bit::LOOP_PREVENTION)
                | set(self.answers_command, bit::STATUS_REPORT)
                | set(self.user_data_header, bit::USER_DATA_HEADER),
            self.message_reference,
        ];
        self.recipient.encode_into(&mut out);
        out.extend(self.time_stamp.0);
        out.extend(self.discharge_time.0);
        out.push(self.status);
        if self.parameters.len() <= PARAMETERS_MAX {
            out.extend_from_slice(&self.parameters);
        }
        out
    }

    /// # Errors
    /// [`Malformed`]: another type, a field cut short, more octets than a TPDU holds.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(octets);
        let first = reader.octet("first octet")?;
        expect_type(first, Self::TYPE)?;
        let message_reference = reader.octet("TP-MR")?;
        let recipient = Address::decode_from(&mut reader, "TP-RA")?;
        let time_stamp = TimeStamp(reader.array("TP-SCTS")?);
        let discharge_time = TimeStamp(reader.array("TP-DT")?);
        let status = reader.octet("TP-ST")?;
        let mut parameters = Vec::new();
        while !reader.is_empty() {
            parameters.push(reader.octet("parameters")?);
            if parameters.len() > PARAMETERS_MAX {
                let actual = parameters.len();
                return Err(Malformed::TooLong { field: "parameters", actual, max: PARAMETERS_MAX });
            }
        }
        Ok(Self {
            more_messages: first & bit::MORE_MESSAGES_NOT == 0,
            loop_prevention: first & bit::LOOP_PREVENTION != 0,
            answers_command: first & bit::STATUS_REPORT != 0,
            user_data_header: first & bit::USER_DATA_HEADER != 0,
            message_reference,
            recipient,
            time_stamp,
            discharge_time,
            status,
            parameters,
        })
    }
}
