//! Ranges of keys, and reading them whole: in pages, at one revision.

use std::fmt;

use etcd_client::{GetOptions, GetResponse, KeyValue};

use super::{Entry, Error, Listing, Store, failure::Failure};

/// Keys of the first page. Also bounds what is asked for before the size of the values is known.
const FIRST_PAGE: i64 = 128;

/// Bytes that later pages aim at. The client library accepts 4 MiB.
const PAGE_BYTES: usize = 1 << 20;

/// No page has more keys than this, however small they are.
const LONGEST_PAGE: i64 = 8192;

/// How often a listing begins again because the revision it reads was compacted under it.
const RESTARTS: usize = 5;

/// A range of keys: from `start` to before `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The first key.
    pub(super) start: Vec<u8>,
    /// The end in etcd's way: empty for the one key `start`, `\0` for all keys from `start` on.
    pub(super) end: Vec<u8>,
}

impl Range {
    /// The one key `key`.
    pub(super) fn key(key: &str) -> Self {
        Self {
            start: key.into(),
            end: Vec::new(),
        }
    }

    /// Every key under `prefix` if that ends in a slash; every key at all if it is empty; else the
    /// one key.
    pub(super) fn of(prefix: &str) -> Self {
        match prefix.strip_suffix('/') {
            // '0' is the character after '/'.
            Some(above) => Self {
                start: prefix.into(),
                end: format!("{above}0").into(),
            },
            None if prefix.is_empty() => Self {
                start: vec![0],
                end: vec![0],
            },
            None => Self::key(prefix),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", String::from_utf8_lossy(&self.start))
    }
}

impl Entry {
    /// The entry, as the client library has it; none for a key that is not text, which is not one of
    /// ours.
    pub(super) fn of(kv: KeyValue) -> Option<Self> {
        let (create_revision, mod_revision) = (kv.create_revision(), kv.mod_revision());
        let (key, value) = kv.into_key_value();
        Some(Self {
            key: String::from_utf8(key).ok()?,
            value: value.into(),
            create_revision,
            mod_revision,
        })
    }
}

/// Everything in `ranges` at one revision. The first page is read linearizably and fixes it.
pub(super) async fn list(store: &Store, ranges: &[Range]) -> Result<Listing, Error> {
    for _ in 0..RESTARTS {
        if let Some(listing) = list_once(store, ranges).await? {
            return Ok(listing);
        }
    }
    Err(Error::Unavailable {
        endpoints: store.names(),
        cause: "it is compacted faster than it can be read".to_owned(),
    })
}

/// The same; none when the revision was compacted meanwhile.
async fn list_once(store: &Store, ranges: &[Range]) -> Result<Option<Listing>, Error> {
    let mut entries = Vec::new();
    let mut revision = 0;
    let mut limit = FIRST_PAGE;
    for range in ranges {
        let mut start = range.start.clone();
        loop {
            let mut page = match read_page(store, &start, &range.end, limit, revision).await {
                Ok(page) => page,
                // Even values of the largest size fit one by one.
                Err(Failure::TooLarge) if limit > 1 => {
                    limit = (limit / 8).max(1);
                    continue;
                }
                Err(Failure::Compacted) => return Ok(None),
                Err(failure) => return Err(store.error(failure, format_args!("to read {range}"))),
            };
            if revision == 0 {
                revision = page.header().map_or(0, |header| header.revision());
            }
            let kvs = page.take_kvs();
            let bytes: usize = kvs.iter().map(|kv| kv.key().len() + kv.value().len()).sum();
            let next = kvs.last().map(|kv| [kv.key(), &[0]].concat());
            limit = next_limit(limit, kvs.len(), bytes);
            entries.extend(kvs.into_iter().filter_map(Entry::of));
            match next {
                Some(next) if page.more() => start = next,
                _ => break,
            }
        }
    }
    Ok(Some(Listing { entries, revision }))
}

async fn read_page(
    store: &Store,
    start: &[u8],
    end: &[u8],
    limit: i64,
    revision: i64,
) -> Result<GetResponse, Failure> {
    let options = GetOptions::new()
        .with_range(end)
        .with_limit(limit)
        .with_revision(revision);
    let read = |client: etcd_client::Client| {
        let options = options.clone();
        async move { client.kv_client().get(start, Some(options)).await }
    };
    store.attempt(true, read).await.result
}

/// How many keys the next page may have, after one of `keys` keys and `bytes` bytes: as many as fit
/// if they are like those, but no more than eight times as many at once.
fn next_limit(limit: i64, keys: usize, bytes: usize) -> i64 {
    let fit = PAGE_BYTES * keys / bytes.max(1);
    let fit = i64::try_from(fit).unwrap_or(LONGEST_PAGE);
    fit.clamp(1, limit.saturating_mul(8)).min(LONGEST_PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_in_a_slash_and_anything_else_is_one_key() {
        let prefix = Range::of("/a/b/");
        assert_eq!(
            (&*prefix.start, &*prefix.end),
            (&b"/a/b/"[..], &b"/a/b0"[..])
        );
        assert_eq!(Range::of("/a/b"), Range::key("/a/b"));
        assert_eq!(Range::of("").end, [0]);
    }

    #[test]
    fn pages_grow_with_small_values_and_shrink_with_large_ones() {
        assert_eq!(next_limit(128, 128, 128 * 100), 1024, "at most eightfold");
        assert_eq!(next_limit(1024, 1024, 1024 * 1024), 1024);
        assert_eq!(next_limit(LONGEST_PAGE, 8192, 8192), LONGEST_PAGE);
        assert_eq!(next_limit(128, 2, 2 << 20), 1);
        assert_eq!(next_limit(128, 0, 0), 1, "nothing came, nothing follows");
    }
}
