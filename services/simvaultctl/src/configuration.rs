//! Configuration items as operators write them: names of settings, or a CID with its octets (D-12).

use std::net::SocketAddr;

use link::{
    configuration::{Bearer, IsdnAddress, Item},
    monitor::MonitorRow,
};
use proto::centre;

use crate::notation;

/// Shown below the help of `configure`.
pub const HELP: &str = "\
Items:
  service=on|off           whether the card backs up
  bearer=sms|ip            channel of its messages
  poll=NORMAL,FAST         poll intervals in seconds, such as poll=5,1
  blocks=WHO,COUNT,DELAY[,HOURS]
                           backups in blocks with pauses. WHO counts the pauses: centre, timer, status, or normal (none);
                           COUNT blocks per message; DELAY seconds, 0: as the centre has set; every HOURS, 1 to 15
  retry=EVENTS             status events before a backup is sent, such as retry=5
  compact=on|off           compact messages in both directions where they are shorter
  centre=NUMBER            the centre's number, international, digits only
  centre-ip=ADDRESS:PORT   the centre's IP address
  monitor-rows=COUNT       size of the monitor table
  row=INDEX:DF/EF:FIRST-LAST@OFFSET+OCTETS   a monitor row, such as row=0:7F10/6F3A:1-254@0+28
  resync=all|INDEX         the card backs up everything (or a row) again
  clear=all|INDEX          the card forgets its checksums
  CID=HEX                  any other, such as 0C=05";

/// One item.
pub fn item(text: &str) -> Result<centre::ConfigurationItem, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?}: expected NAME=VALUE or CID=HEX"))?;
    let wrong = |expected: &str| format!("{name}: {value:?} is not {expected}");
    let item = match name {
        "service" => Item::ServiceState { on: on_or_off(value).ok_or_else(|| wrong("on or off"))? },
        "bearer" => Item::Bearer(match value {
            "sms" => Bearer::Sms,
            "ip" => Bearer::Ip,
            _ => return Err(wrong("sms or ip")),
        }),
        "poll" => {
            let intervals = value.split_once(',').and_then(|(normal, fast)| Some((octet(normal)?, octet(fast)?)));
            let intervals = intervals.filter(|(normal, fast)| *normal > 0 && *fast > 0);
            let (normal_seconds, fast_seconds) = intervals.ok_or_else(|| wrong("two intervals of 1 to 255 s"))?;
            Item::PollIntervals { normal_seconds, fast_seconds }
        }
        "blocks" => blocks(value).ok_or_else(|| wrong("WHO,COUNT,DELAY or WHO,COUNT,DELAY,HOURS, see below"))?,
        "retry" => Item::RetryPreset(octet(value).ok_or_else(|| wrong("a number of 0 to 255"))?),
        "compact" => Item::Compact { on: on_or_off(value).ok_or_else(|| wrong("on or off"))? },
        "centre" => Item::CentreIsdn(
            IsdnAddress::new(0x91, value).ok_or_else(|| wrong("a number of 1 to 20 digits, without +"))?,
        ),
        "centre-ip" => {
            let address: SocketAddr =
                value.parse().map_err(|_| wrong("an address and port, such as 192.0.2.1:7000"))?;
            Item::CentreIp(address)
        }
        "monitor-rows" => Item::MonitorTableSize(octet(value).ok_or_else(|| wrong("a number of 0 to 255"))?),
        "row" => monitor_row(value)?,
        "resync" => Item::Resynchronise { index: all_or_index(value).ok_or_else(|| wrong("all or a row index"))? },
        "clear" => Item::ClearChecksums { index: all_or_index(value).ok_or_else(|| wrong("all or a row index"))? },
        cid => return raw(cid, value),
    };
    let encoded = item.encode();
    Ok(centre::ConfigurationItem { cid: encoded.cid.into(), data: encoded.data })
}

/// Name and value of a setting, as [`item`] reads them; octets that mean nothing are shown as they are.
pub fn shown(cid: u32, data: &[u8]) -> (String, String) {
    let hexadecimal = || data.iter().map(|octet| format!("{octet:02X}")).collect::<String>();
    let decoded = u8::try_from(cid).ok().and_then(|cid| Item::decode(cid, data).ok());
    let (name, value) = match decoded {
        Some(Item::ServiceState { on }) => ("service", if on { "on" } else { "off" }.to_owned()),
        Some(Item::Bearer(Bearer::Sms)) => ("bearer", "sms".to_owned()),
        Some(Item::Bearer(Bearer::Ip)) => ("bearer", "ip".to_owned()),
        Some(Item::PollIntervals { normal_seconds, fast_seconds }) => {
            ("poll", format!("{normal_seconds},{fast_seconds}"))
        }
        Some(Item::Asynchronous { mode, blocks_per_message, delay }) => {
            let who = WHO.get(usize::from(mode & 0x03)).copied().unwrap_or_default();
            ("blocks", format!("{who},{blocks_per_message},{delay},{}", mode >> 4))
        }
        Some(Item::RetryPreset(events)) => ("retry", events.to_string()),
        Some(Item::Compact { on }) => ("compact", if on { "on" } else { "off" }.to_owned()),
        Some(Item::CentreIsdn(address)) => ("centre", address.digits()),
        Some(Item::CentreIp(address)) => ("centre-ip", address.to_string()),
        _ => return (format!("{cid:02X}"), hexadecimal()),
    };
    (name.to_owned(), value)
}

/// Who counts the pauses of a backup in blocks, by the mode of CID 0x0D.
const WHO: [&str; 4] = ["centre", "timer", "status", "normal"];

fn blocks(value: &str) -> Option<Item> {
    let mut parts = value.split(',');
    let (who, count, delay) = (parts.next()?, octet(parts.next()?)?, parts.next()?);
    let hours = parts.next().map_or(Some(0), octet).filter(|hours| *hours <= 15)?;
    let variant = (0..).zip(WHO).find_map(|(mode, name)| (name == who).then_some(mode))?;
    let delay = delay.trim().parse().ok()?;
    let is_whole = parts.next().is_none() && count > 0;
    is_whole.then_some(Item::Asynchronous { mode: variant | hours << 4, blocks_per_message: count, delay })
}

fn raw(cid: &str, value: &str) -> Result<centre::ConfigurationItem, String> {
    let unknown = || format!("{cid:?} is neither a known item nor a CID of two hexadecimal digits");
    let number = u8::from_str_radix(cid, 16).ok().filter(|_| cid.len() == 2).ok_or_else(unknown)?;
    let data = notation::octets(value)?;
    Item::decode(number, &data).map_err(|error| error.to_string())?;
    Ok(centre::ConfigurationItem { cid: number.into(), data })
}

fn monitor_row(value: &str) -> Result<Item, String> {
    let row = notation::monitor_row(value)?;
    let small = |field: &str, number: u32, max: u32| {
        u8::try_from(number)
            .ok()
            .filter(|_| number <= max)
            .ok_or_else(|| format!("row: {field} {number} exceeds {max}"))
    };
    let two =
        |field: &str, number: u32| u16::try_from(number).map_err(|_| format!("row: {field} {number} exceeds 65535"));
    Ok(Item::MonitorRow {
        index: small("index", row.index, 254)?,
        row: MonitorRow {
            df: two("DF", row.df)?,
            ef: two("EF", row.ef)?,
            record_offset: small("first record", row.record_offset, 254)?,
            record_count: small("number of records", row.record_count, 254)?,
            data_offset: two("offset", row.data_offset)?,
            data_octets: small("octets", row.data_octets, 137)?,
        },
    })
}

fn on_or_off(value: &str) -> Option<bool> {
    match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn all_or_index(value: &str) -> Option<Option<u8>> {
    if value == "all" { Some(None) } else { octet(value).filter(|index| *index < 255).map(Some) }
}

fn octet(value: &str) -> Option<u8> {
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_cids_become_items() {
        let written = |text: &str| {
            let item = item(text).unwrap();
            (item.cid, item.data.to_vec())
        };
        assert_eq!(written("service=on"), (1, vec![1]));
        assert_eq!(written("bearer=ip"), (4, vec![1]));
        assert_eq!(written("poll=5,1"), (0x0B, vec![5, 1]));
        assert_eq!(written("blocks=centre,3,0"), (0x0D, vec![0, 3, 0, 0]));
        assert_eq!(written("blocks=status,2,300,15"), (0x0D, vec![0xF2, 2, 1, 44]));
        assert_eq!(written("resync=all"), (0x0A, vec![0xFF]));
        assert_eq!(written("row=0:7F10/6F3A:1-100@0+28"), (6, vec![0, 0x7F, 0x10, 0x6F, 0x3A, 0, 100, 0, 0, 28]));
        assert_eq!(written("0C=05"), (0x0C, vec![5]));
        assert_eq!(written("centre=441234567").1.len(), 12);
        assert_eq!(written("centre-ip=192.0.2.1:7000").1.len(), 19);
    }

    #[test]
    fn a_setting_is_shown_as_it_is_typed() {
        for text in [
            "service=off",
            "bearer=ip",
            "poll=5,1",
            "retry=7",
            "centre=441234567",
            "centre-ip=192.0.2.1:7000",
            "blocks=timer,2,3,0",
        ] {
            let item = item(text).unwrap();
            let (name, value) = shown(item.cid, &item.data);
            assert_eq!(format!("{name}={value}"), text);
        }
        assert_eq!(shown(0x04, &[9]), ("04".to_owned(), "09".to_owned()));
    }

    #[test]
    fn what_no_card_would_accept_is_refused_before_it_is_sent() {
        for (text, part) in [
            ("service", "NAME=VALUE"),
            ("service=yes", "on or off"),
            ("poll=0,1", "1 to 255 s"),
            ("bearrer=ip", "neither a known item"),
            ("99=00", "CID 99 is unknown"),
            ("01=0001", "expected 1"),
            ("row=0:7F10/6F3A:1-100@0+138", "octets 138 exceeds 137"),
        ] {
            let error = item(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
