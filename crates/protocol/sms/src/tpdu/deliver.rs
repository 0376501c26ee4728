//! SMS-DELIVER (TS 23.040 9.2.2.1): from the centre to the phone or card.

use super::{bit, expect_type, set};
use crate::reader::Reader;
use crate::{Address, DataCoding, Malformed, ProtocolId, TimeStamp, UserData};

/// A message on its way to a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// More messages wait (TP-MMS on the wire is the opposite).
    pub more_messages: bool,
    /// TP-LP.
    pub loop_prevention: bool,
    /// TP-RP.
    pub reply_path: bool,
    /// TP-SRI.
    pub status_report_indication: bool,
    /// TP-OA.
    pub originator: Address,
    /// TP-PID.
    pub protocol_id: ProtocolId,
    /// TP-DCS.
    pub data_coding: DataCoding,
    /// TP-SCTS.
    pub time_stamp: TimeStamp,
    /// TP-UDHI, TP-UDL and TP-UD.
    pub user_data: UserData,
}

impl Deliver {
    const TYPE: u8 = 0;

    /// The TPDU's octets, at most 164.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![
            Self::TYPE
                | set(!self.more_messages, bit::MORE_MESSAGES_NOT)
                | set(self.loop_prevention, bit::LOOP_PREVENTION)
                | set(self.status_report_indication, bit::STATUS_REPORT)
                | set(self.user_data.has_header(), bit::USER_DATA_HEADER)
                | set(self.reply_path, bit::REPLY_PATH),
        ];
        self.originator.encode_into(&mut out);
        out.extend([self.protocol_id.0, self.data_coding.0]);
        out.extend(self.time_stamp.0);
        self.user_data.encode_into(self.data_coding, &mut out);
        out
    }

    /// # Errors
    /// [`Malformed`]: another type, a field cut short, a length above the standard's.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(octets);
        let deliver = Self::decode_from(&mut reader)?;
        reader.finish("DELIVER")?;
        Ok(deliver)
    }

    /// As in a record of EF_SMS: filled up with FF behind the TPDU (TS 51.011 10.5.3).
    ///
    /// # Errors
    /// As [`Self::decode`]; other octets than FF behind it are too many.
    pub fn decode_padded(octets: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(octets);
        let deliver = Self::decode_from(&mut reader)?;
        while reader.peek() == Some(0xFF) {
            reader.octet("filling")?;
        }
        reader.finish("DELIVER")?;
        Ok(deliver)
    }

    fn decode_from(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let first = reader.octet("first octet")?;
        expect_type(first, Self::TYPE)?;
        let originator = Address::decode_from(reader, "TP-OA")?;
        let protocol_id = ProtocolId(reader.octet("TP-PID")?);
        let data_coding = DataCoding(reader.octet("TP-DCS")?);
        let time_stamp = TimeStamp(reader.array("TP-SCTS")?);
        let user_data = UserData::decode_from(reader, first & bit::USER_DATA_HEADER != 0, data_coding)?;
        Ok(Self {
            more_messages: first & bit::MORE_MESSAGES_NOT == 0,
            loop_prevention: first & bit::LOOP_PREVENTION != 0,
            reply_path: first & bit::REPLY_PATH != 0,
            status_report_indication: first & bit::STATUS_REPORT != 0,
            originator,
            protocol_id,
            data_coding,
            time_stamp,
            user_data,
        })
    }
}
