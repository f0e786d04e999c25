//! The trace a caller says its request belongs to (W3C Trace Context).

use std::fmt;

/// Header and metadata key.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// A trace that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// The trace of a `traceparent`; none when it is malformed or says that the trace is not recorded.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let [version, trace, span, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        // Later versions may say more behind; the first may not.
        let known = version != "ff" && (version != "00" || parts.next().is_none());
        let whole = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
        if !known || !whole || span.bytes().all(|digit| digit == b'0') {
            return None;
        }
        let id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        sampled.then_some(Self(id.to_be_bytes()))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_whole_and_sampled_contexts_count() {
        let id = TraceId::parse(GOOD).expect("good").to_string();
        assert_eq!(id, "0af7651916cd43dd8448eb211c80319c");
        assert!(TraceId::parse(&GOOD.replacen("00", "01", 1).replace("-01", "-01-more")).is_some());
        for bad in [
            "",
            "00",
            &GOOD.replace("-01", "-00"),
            &GOOD.replace("-01", "-1"),
            &format!("{GOOD}-more"),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.to_uppercase(),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
        ] {
            assert_eq!(TraceId::parse(bad), None, "{bad}");
        }
    }
}
