//! SMS-SUBMIT (TS 23.040 9.2.2.2): from the phone or card to the centre.

use super::{bit, expect_type, set};
use crate::reader::Reader;
use crate::{Address, DataCoding, Malformed, ProtocolId, TimeStamp, UserData, ValidityPeriod};

/// The nine fields of the source's Table 1 are all here: message type (the type itself), reject duplicates, validity
/// period format, reply path, message reference, destination, protocol identifier, data coding, user data length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submit {
    /// TP-RD.
    pub reject_duplicates: bool,
    /// TP-RP.
    pub reply_path: bool,
    /// TP-SRR.
    pub status_report_request: bool,
    /// TP-MR.
    pub message_reference: u8,
    /// TP-DA: the centre's number.
    pub destination: Address,
    /// TP-PID.
    pub protocol_id: ProtocolId,
    /// TP-DCS.
    pub data_coding: DataCoding,
    /// TP-VPF and TP-VP.
    pub validity_period: Option<ValidityPeriod>,
    /// TP-UDHI, TP-UDL and TP-UD.
    pub user_data: UserData,
}

impl Submit {
    const TYPE: u8 = 1;

    /// The TPDU's octets, at most 164.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let format = match self.validity_period {
            None => 0x00,
            Some(ValidityPeriod::Enhanced(_)) => 0x08,
            Some(ValidityPeriod::Relative(_)) => 0x10,
            Some(ValidityPeriod::Absolute(_)) => 0x18,
        };
        let mut out = vec![
            Self::TYPE
                | format
                | set(self.reject_duplicates, bit::REJECT_DUPLICATES)
                | set(self.status_report_request, bit::STATUS_REPORT)
                | set(self.user_data.has_header(), bit::USER_DATA_HEADER)
                | set(self.reply_path, bit::REPLY_PATH),
            self.message_reference,
        ];
        self.destination.encode_into(&mut out);
        out.extend([self.protocol_id.0, self.data_coding.0]);
        match self.validity_period {
            None => {}
            Some(ValidityPeriod::Relative(value)) => out.push(value),
            Some(ValidityPeriod::Enhanced(octets) | ValidityPeriod::Absolute(TimeStamp(octets))) => out.extend(octets),
        }
        self.user_data.encode_into(self.data_coding, &mut out);
        out
    }

    /// # Errors
    /// [`Malformed`]: another type, a field cut short, a length above the standard's.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(octets);
        let first = reader.octet("first octet")?;
        expect_type(first, Self::TYPE)?;
        let message_reference = reader.octet("TP-MR")?;
        let destination = Address::decode_from(&mut reader, "TP-DA")?;
        let protocol_id = ProtocolId(reader.octet("TP-PID")?);
        let data_coding = DataCoding(reader.octet("TP-DCS")?);
        let validity_period = match first & 0x18 {
            0x00 => None,
            0x10 => Some(ValidityPeriod::Relative(reader.octet("TP-VP")?)),
            0x08 => Some(ValidityPeriod::Enhanced(reader.array("TP-VP")?)),
            _ => Some(ValidityPeriod::Absolute(TimeStamp(reader.array("TP-VP")?))),
        };
        let user_data = UserData::decode_from(&mut reader, first & bit::USER_DATA_HEADER != 0, data_coding)?;
        reader.finish("SUBMIT")?;
        Ok(Self {
            reject_duplicates: first & bit::REJECT_DUPLICATES != 0,
            reply_path: first & bit::REPLY_PATH != 0,
            status_report_request: first & bit::STATUS_REPORT != 0,
            message_reference,
            destination,
            protocol_id,
            data_coding,
            validity_period,
            user_data,
        })
    }
}
