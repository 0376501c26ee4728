//! DELIVER-REPORT and SUBMIT-REPORT (TS 23.040 9.2.2.1a, 9.2.2.2a), the answers in RP-ACK and RP-ERROR.
//!
//! Which of the two RP messages carries one shows in the second octet: a TP-FCS is 80 to FF, a TP-PI below 80.

use super::{bit, expect_type, set};
use crate::reader::Reader;
use crate::{DataCoding, Malformed, ProtocolId, TimeStamp, UserData};

/// TP-FCS values of interest (TS 23.040 9.2.3.22).
pub mod failure_cause {
    /// The protocol identifier is not supported.
    pub const PROTOCOL_ID_NOT_SUPPORTED: u8 = 0x80;
    /// The data coding is not supported.
    pub const DATA_CODING_NOT_SUPPORTED: u8 = 0x90;
    /// Every slot of EF_SMS is used.
    pub const SIM_SMS_STORAGE_FULL: u8 = 0xD0;
    /// No room in the phone.
    pub const MEMORY_CAPACITY_EXCEEDED: u8 = 0xD3;
    /// The card answered 93 00.
    pub const SIM_TOOLKIT_BUSY: u8 = 0xD4;
    /// The card refused the download.
    pub const SIM_DATA_DOWNLOAD_ERROR: u8 = 0xD5;
    pub const UNSPECIFIED: u8 = 0xFF;
}

/// The phone's answer to a DELIVER.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliverReport {
    /// TP-FCS in RP-ERROR, `None` in RP-ACK.
    pub failure_cause: Option<u8>,
    pub protocol_id: Option<ProtocolId>,
    pub data_coding: Option<DataCoding>,
    pub user_data: Option<UserData>,
}

/// The centre's answer to a SUBMIT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubmitReport {
    /// TP-FCS in RP-ERROR, `None` in RP-ACK.
    pub failure_cause: Option<u8>,
    /// TP-SCTS: when the centre took the SUBMIT.
    pub time_stamp: TimeStamp,
    pub protocol_id: Option<ProtocolId>,
    pub data_coding: Option<DataCoding>,
    pub user_data: Option<UserData>,
}

const HAS_PROTOCOL_ID: u8 = 1;
const HAS_DATA_CODING: u8 = 2;
const HAS_USER_DATA: u8 = 4;

impl DeliverReport {
    const TYPE: u8 = 0;

    /// The TPDU's octets.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = head(Self::TYPE, self.failure_cause, &self.user_data);
        out.push(indicator(self.protocol_id, self.data_coding, &self.user_data));
        tail(self.protocol_id, self.data_coding, &self.user_data, &mut out);
        out
    }

    /// # Errors
    /// [`Malformed`]: another type, a field cut short, a length above the standard's.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(octets);
        let first = reader.octet("first octet")?;
        expect_type(first, Self::TYPE)?;
        let failure_cause = decode_failure_cause(&mut reader)?;
        // TS 23.040 lets an old phone answer with the first octet alone.
        let indicator = if reader.is_empty() { 0 } else { reader.octet("TP-PI")? };
        let (protocol_id, data_coding, user_data) = decode_tail(&mut reader, indicator, first)?;
        reader.finish("DELIVER-REPORT")?;
        Ok(Self { failure_cause, protocol_id, data_coding, user_data })
    }
}

impl SubmitReport {
    const TYPE: u8 = 1;

    /// The TPDU's octets.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = head(Self::TYPE, self.failure_cause, &self.user_data);
        out.push(indicator(self.protocol_id, self.data_coding, &self.user_data));
        out.extend(self.time_stamp.0);
        tail(self.protocol_id, self.data_coding, &self.user_data, &mut out);
        out
    }

    /// # Errors
    /// [`Malformed`]: another type, a field cut short, a length above the standard's.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(octets);
        let first = reader.octet("first octet")?;
        expect_type(first, Self::TYPE)?;
        let failure_cause = decode_failure_cause(&mut reader)?;
        let indicator = reader.octet("TP-PI")?;
        let time_stamp = TimeStamp(reader.array("TP-SCTS")?);
        let (protocol_id, data_coding, user_data) = decode_tail(&mut reader, indicator, first)?;
        reader.finish("SUBMIT-REPORT")?;
        Ok(Self { failure_cause, time_stamp, protocol_id, data_coding, user_data })
    }
}

fn head(message_type: u8, failure_cause: Option<u8>, user_data: &Option<UserData>) -> Vec<u8> {
    let header = user_data.as_ref().is_some_and(UserData::has_header);
    let mut out = vec![message_type | set(header, bit::USER_DATA_HEADER)];
    // Below 80 it would be read as TP-PI.
    out.extend(failure_cause.map(|cause| cause | 0x80));
    out
}

fn indicator(protocol_id: Option<ProtocolId>, data_coding: Option<DataCoding>, user_data: &Option<UserData>) -> u8 {
    set(protocol_id.is_some(), HAS_PROTOCOL_ID)
        | set(data_coding.is_some(), HAS_DATA_CODING)
        | set(user_data.is_some(), HAS_USER_DATA)
}

fn tail(
    protocol_id: Option<ProtocolId>,
    data_coding: Option<DataCoding>,
    user_data: &Option<UserData>,
    out: &mut Vec<u8>,
) {
    out.extend(protocol_id.map(|value| value.0));
    out.extend(data_coding.map(|value| value.0));
    if let Some(user_data) = user_data {
        user_data.encode_into(data_coding.unwrap_or_default(), out);
    }
}

fn decode_failure_cause(reader: &mut Reader<'_>) -> Result<Option<u8>, Malformed> {
    match reader.peek() {
        Some(octet) if octet >= 0x80 => reader.octet("TP-FCS").map(Some),
        _ => Ok(None),
    }
}

type Tail = (Option<ProtocolId>, Option<DataCoding>, Option<UserData>);

fn decode_tail(reader: &mut Reader<'_>, indicator: u8, first: u8) -> Result<Tail, Malformed> {
    let mut optional = |mask: u8, field| {
        if indicator & mask != 0 { reader.octet(field).map(Some) } else { Ok(None) }
    };
    let protocol_id = optional(HAS_PROTOCOL_ID, "TP-PID")?.map(ProtocolId);
    let data_coding = optional(HAS_DATA_CODING, "TP-DCS")?.map(DataCoding);
    let user_data = if indicator & HAS_USER_DATA != 0 {
        let has_header = first & bit::USER_DATA_HEADER != 0;
        Some(UserData::decode_from(reader, has_header, data_coding.unwrap_or_default())?)
    } else {
        None
    };
    Ok((protocol_id, data_coding, user_data))
}
