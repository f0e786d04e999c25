//! The trace a caller says its request belongs to (W3C Trace Context).

use std::fmt;

use crate::spans::{self, SpanId};

/// Header and metadata key.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// A trace that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// Sixteen bytes, not all 0.
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// As it travels.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// Where in a recorded trace a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub id: TraceId,
    /// The caller's span, below which the request's own stands; none where the trace begins here.
    pub parent: Option<SpanId>,
}

impl TraceContext {
    /// That of a request with this header; of one without, if chance has it.
    pub(crate) fn of(header: Option<&str>) -> Option<Self> {
        header.map_or_else(spans::root, Self::parse)
    }

    /// That of a `traceparent`; none when it is malformed or says that the trace is not recorded.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let [version, trace, span, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        // Later versions may say more behind; the first may not.
        let known = version != "ff" && (version != "00" || parts.next().is_none());
        let whole = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
        if !known || !whole {
            return None;
        }
        let id = TraceId::new(u128::from_str_radix(trace, 16).ok()?.to_be_bytes())?;
        let parent = SpanId::new(u64::from_str_radix(span, 16).ok()?.to_be_bytes())?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        sampled.then_some(Self { id, parent: Some(parent) })
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
        let context = TraceContext::parse(GOOD).expect("good");
        assert_eq!(context.id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        let parent = 0xb7ad_6b71_6920_3331_u64.to_be_bytes();
        assert_eq!(context.parent.map(SpanId::to_bytes), Some(parent));
        assert!(TraceContext::parse(&GOOD.replacen("00", "01", 1).replace("-01", "-01-more")).is_some());
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
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }
}
