//! Message assembler (SC-OC-01): a launch as the `submit_sm` of its link (D-59, D-117, D-120).

use std::time::Duration;

use edge::link::LinkSettings;
use proto::outbound::Launch;
use smpp::{Address, ESM_CLASS_UDHI, REGISTERED_DELIVERY_FINAL, SubmitSm, Text, TextTooLong};

/// What a link puts into every message.
#[derive(Clone, Debug)]
pub struct Template {
    source_addr: Address,
    service_type: Text<5>,
}

/// A launch that no `submit_sm` can carry, however often it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("the number is not 1 to 20 digits")]
    Number,
    #[error("the user data header is {0} octets, at most 139 fit")]
    Header(usize),
    #[error("protocol identifier or data coding is no octet")]
    Field,
}

impl Template {
    /// # Errors
    /// A text of the settings does not fit its field.
    pub fn new(link: &LinkSettings) -> Result<Self, TextTooLong> {
        Ok(Self {
            source_addr: Address::new(link.source_ton, link.source_npi, &link.source_address)?,
            service_type: Text::new(&link.service_type)?,
        })
    }

    /// The `submit_sm`: number TON 1, NPI 1; UDHI when there is a user data header; coding and protocol identifier as
    /// given; the validity period relative, so that clocks need not agree.
    ///
    /// # Errors
    /// [`Unfit`] when a field cannot carry its value.
    pub fn submit(&self, launch: &Launch) -> Result<SubmitSm, Unfit> {
        let digits = launch.msisdn.as_bytes();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Unfit::Number);
        }
        let mut message = SubmitSm {
            service_type: self.service_type,
            source_addr: self.source_addr,
            destination_addr: Address::international(digits).map_err(|_| Unfit::Number)?,
            protocol_id: u8::try_from(launch.protocol_id).map_err(|_| Unfit::Field)?,
            data_coding: u8::try_from(launch.data_coding).map_err(|_| Unfit::Field)?,
            priority_flag: u8::try_from(launch.priority.min(3)).unwrap_or(3),
            registered_delivery: if launch.registered_delivery { REGISTERED_DELIVERY_FINAL } else { 0 },
            ..SubmitSm::default()
        };
        if launch.validity_seconds > 0 {
            let validity = Duration::from_secs(launch.validity_seconds.into());
            message.validity_period = smpp::time::format_relative(validity);
        }
        let header = &launch.user_data_header;
        if header.is_empty() {
            message.set_payload(launch.payload.clone());
            return Ok(message);
        }
        let length =
            u8::try_from(header.len()).ok().filter(|length| *length <= 139).ok_or(Unfit::Header(header.len()))?;
        let mut body = Vec::with_capacity(1 + header.len() + launch.payload.len());
        body.push(length);
        body.extend_from_slice(header);
        body.extend_from_slice(&launch.payload);
        message.esm_class = ESM_CLASS_UDHI;
        message.set_payload(body.into());
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Template {
        let link =
            LinkSettings { source_address: "7788".into(), source_ton: 0, source_npi: 1, ..LinkSettings::default() };
        Template::new(&link).expect("fits")
    }

    fn launch() -> Launch {
        Launch {
            msisdn: "491721217212".into(),
            payload: vec![1, 2, 3].into(),
            protocol_id: 0x7F,
            data_coding: 0xF6,
            validity_seconds: 300,
            ..Launch::default()
        }
    }

    /// Covers: SC-OC-01
    #[test]
    fn a_launch_becomes_the_submit_sm_of_its_link() {
        let plain = template().submit(&launch()).expect("fits");
        assert_eq!(plain.source_addr, Address::new(0, 1, "7788").unwrap());
        assert_eq!(plain.destination_addr, Address::international("491721217212").unwrap());
        assert_eq!((plain.esm_class, plain.protocol_id, plain.data_coding), (0, 0x7F, 0xF6));
        assert_eq!((plain.registered_delivery, plain.priority_flag), (0, 0));
        assert_eq!(plain.validity_period.as_str(), Some("000000000500000R"));
        assert_eq!(plain.payload()[..], [1, 2, 3]);

        let secured = Launch {
            user_data_header: vec![0x70, 0x00].into(),
            registered_delivery: true,
            validity_seconds: 0,
            priority: 9,
            ..launch()
        };
        let secured = template().submit(&secured).expect("fits");
        assert_eq!((secured.esm_class, secured.registered_delivery, secured.priority_flag), (0x40, 1, 3));
        assert!(secured.validity_period.as_bytes().is_empty());
        assert_eq!(secured.payload()[..], [2, 0x70, 0x00, 1, 2, 3]);
    }

    #[test]
    fn what_never_fits_is_refused_for_good() {
        let unfit = |launch: &Launch| template().submit(launch).err();
        assert_eq!(unfit(&Launch { msisdn: String::new(), ..launch() }), Some(Unfit::Number));
        assert_eq!(unfit(&Launch { msisdn: "+49".into(), ..launch() }), Some(Unfit::Number));
        assert_eq!(unfit(&Launch { msisdn: "1".repeat(21), ..launch() }), Some(Unfit::Number));
        assert_eq!(unfit(&Launch { data_coding: 256, ..launch() }), Some(Unfit::Field));
        assert_eq!(unfit(&Launch { user_data_header: vec![0; 140].into(), ..launch() }), Some(Unfit::Header(140)));
    }
}
