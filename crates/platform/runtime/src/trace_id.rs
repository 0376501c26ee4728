//! One number follows a backup from the first hop to the last: log lines of all services carry it.

use std::fmt;

/// 16 octets, shown as 32 hexadecimal digits (the trace-id of W3C Trace Context).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TraceId(pub [u8; 16]);

impl TraceId {
    /// A new one, random.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// From the octets of a message; `None` unless there are 16.
    pub fn from_slice(octets: &[u8]) -> Option<Self> {
        octets.try_into().ok().map(Self)
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// The trace identifiers of one message in a log line, separated by commas; what is not 16 octets is left out.
pub struct Traces<'a, T>(pub &'a [T]);

impl<T: AsRef<[u8]>> fmt::Display for Traces<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let traces = self.0.iter().filter_map(|trace| TraceId::from_slice(trace.as_ref()));
        for (at, trace) in traces.enumerate() {
            write!(f, "{}{trace}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_hexadecimal_and_fresh() {
        assert_eq!(TraceId([0xAB; 16]).to_string(), "ab".repeat(16));
        assert_eq!(
            Traces(&[vec![1; 16], vec![2; 3], vec![3; 16]]).to_string(),
            format!("{},{}", "01".repeat(16), "03".repeat(16))
        );
        assert_ne!(TraceId::random(), TraceId::random());
        assert_eq!(TraceId::from_slice(&[1; 15]), None);
        assert_eq!(TraceId::from_slice(&[1; 16]), Some(TraceId([1; 16])));
    }
}
