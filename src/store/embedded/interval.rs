//! Ranges of keys as etcd spells them: a key and a range end.

use std::ops::Bound;

/// The keys a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    start: Vec<u8>,
    end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// `start` is the only key.
    Start,
    /// Every key from `start` on.
    Open,
    /// The keys below this one.
    Before(Vec<u8>),
}

impl Interval {
    /// From a request's `key` and `range_end`: no end means the key alone, a single zero byte every
    /// key from it on.
    pub(super) fn new(key: &[u8], range_end: &[u8]) -> Self {
        let end = match range_end {
            [] => End::Start,
            [0] => End::Open,
            end => End::Before(end.to_vec()),
        };
        Self {
            start: key.to_vec(),
            end,
        }
    }

    /// One key.
    pub(super) fn key(key: &[u8]) -> Self {
        Self::new(key, &[])
    }

    /// Whether no key can lie in it.
    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.end, End::Before(end) if *end <= self.start)
    }

    /// Whether `key` lies in it.
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Start => key == self.start,
            End::Open => key >= self.start.as_slice(),
            End::Before(end) => (self.start.as_slice()..end).contains(&key),
        }
    }

    /// The bounds for an ordered map. Only for intervals that are not empty.
    pub(super) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let start = self.start.as_slice();
        let end = match &self.end {
            End::Start => Bound::Included(start),
            End::Open => Bound::Unbounded,
            End::Before(end) => Bound::Excluded(end.as_slice()),
        };
        (Bound::Included(start), end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_one_key_or_an_open_range_or_a_half_open_range() {
        let one = Interval::key(b"b");
        assert!(one.contains(b"b") && !one.contains(b"ba") && !one.contains(b"a"));
        let open = Interval::new(b"b", b"\0");
        assert!(open.contains(b"b") && open.contains(b"\xff\xff") && !open.contains(b"a"));
        let range = Interval::new(b"b", b"d");
        assert!(range.contains(b"b") && range.contains(b"cz") && !range.contains(b"d"));
        assert!(Interval::new(b"d", b"b").is_empty() && Interval::new(b"d", b"d").is_empty());
        assert!(!Interval::new(b"d", b"b").contains(b"c"));
    }
}
