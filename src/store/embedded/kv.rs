//! Range, put and delete, on their own or inside a transaction.

use std::{cmp::Ordering, sync::Arc};

use bytes::Bytes;
use etcd_client::{
    SortOrder, SortTarget,
    proto::{
        PbDeleteRequest, PbDeleteResponse, PbKeyValue, PbPutRequest, PbPutResponse, PbRangeRequest,
        PbRangeResponse, PbResponseHeader,
    },
};

use super::{
    interval::Interval,
    lease::Leases,
    mvcc::{Map, Version, Write},
    refusal::Refusal,
};

/// What a client sees of a version; of a deletion the key and its revision.
pub(super) fn key_value(version: &Version) -> PbKeyValue {
    PbKeyValue {
        key: version.key.to_vec(),
        create_revision: version.create_revision,
        mod_revision: version.mod_revision,
        version: version.version,
        value: version.value.as_deref().unwrap_or_default().to_vec(),
        lease: version.lease,
    }
}

/// A header that says the revision; the server fills in who it is.
pub(super) fn at(revision: i64) -> Option<PbResponseHeader> {
    Some(PbResponseHeader {
        revision,
        ..PbResponseHeader::default()
    })
}

/// What is wrong with a range request whatever the map holds.
pub(super) fn check_range(request: &PbRangeRequest) -> Result<(), Refusal> {
    check_key(&request.key)
}

/// What is wrong with a put whatever the map holds.
pub(super) fn check_put(request: &PbPutRequest) -> Result<(), Refusal> {
    check_key(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(())
}

/// What is wrong with a deletion whatever the map holds.
pub(super) fn check_delete(request: &PbDeleteRequest) -> Result<(), Refusal> {
    check_key(&request.key)
}

fn check_key(key: &[u8]) -> Result<(), Refusal> {
    if key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    Ok(())
}

/// Whether a revision can be read while `head` is the newest.
pub(super) fn check_revision(revision: i64, map: &Map, head: i64) -> Result<(), Refusal> {
    if revision > head {
        return Err(Refusal::FutureRevision);
    }
    if revision < map.compacted() {
        return Err(Refusal::Compacted);
    }
    Ok(())
}

/// Reads keys; `head` is the newest revision the reader may see.
pub(super) fn range(
    map: &Map,
    head: i64,
    request: &PbRangeRequest,
) -> Result<PbRangeResponse, Refusal> {
    let revision = if request.revision > 0 {
        check_revision(request.revision, map, head)?;
        request.revision
    } else {
        head
    };
    let interval = Interval::new(&request.key, &request.range_end);
    let mut response = PbRangeResponse {
        header: at(head),
        ..PbRangeResponse::default()
    };
    if request.count_only {
        response.count = count(map.range(&interval, revision).count());
        return Ok(response);
    }
    let mut found: Vec<_> = map.range(&interval, revision).collect();
    // The filters do not change the count, nor does the limit.
    response.count = count(found.len());
    let limit = usize::try_from(request.limit)
        .ok()
        .filter(|limit| *limit > 0);
    let bounds = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    let is_ordered = request.sort_order != SortOrder::None as i32;
    if let Some(limit) = limit
        && !is_ordered
        && bounds == [0; 4]
    {
        // One more than asked for tells whether there is more. As in etcd, a sort target without an
        // order sorts only what the limit left.
        found.truncate(limit.saturating_add(1));
    }
    found.retain(|version| {
        let within = |value, min, max| (min == 0 || value >= min) && (max == 0 || value <= max);
        within(version.mod_revision, bounds[0], bounds[1])
            && within(version.create_revision, bounds[2], bounds[3])
    });
    let target = SortTarget::try_from(request.sort_target).unwrap_or(SortTarget::Key);
    if request.sort_order == SortOrder::Descend as i32 {
        found.sort_by(|a, b| compare(target, b, a));
    } else if is_ordered || target != SortTarget::Key {
        found.sort_by(|a, b| compare(target, a, b));
    }
    if let Some(limit) = limit
        && found.len() > limit
    {
        found.truncate(limit);
        response.more = true;
    }
    response.kvs = found
        .into_iter()
        .map(|version| key_value(version))
        .collect();
    if request.keys_only {
        for kv in &mut response.kvs {
            kv.value.clear();
        }
    }
    Ok(response)
}

/// The order of two versions by what a request sorts by.
fn compare(target: SortTarget, a: &Version, b: &Version) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}

/// Sets a key.
pub(super) fn put(
    write: &mut Write<'_>,
    leases: &Leases,
    request: &PbPutRequest,
) -> Result<PbPutResponse, Refusal> {
    if request.lease != 0 && leases.get(request.lease).is_none() {
        return Err(Refusal::LeaseNotFound);
    }
    let previous = write.map().get(&request.key, write.head()).cloned();
    let mut value = Bytes::copy_from_slice(&request.value);
    let mut lease = request.lease;
    if request.ignore_value || request.ignore_lease {
        let previous = previous.as_ref().ok_or(Refusal::KeyNotFound)?;
        if request.ignore_value {
            value = previous.value.clone().unwrap_or_default();
        }
        if request.ignore_lease {
            lease = previous.lease;
        }
    }
    write.put(Bytes::copy_from_slice(&request.key), value, lease);
    let previous = previous.filter(|_| request.prev_kv);
    Ok(PbPutResponse {
        header: at(write.head()),
        prev_kv: previous.as_deref().map(key_value),
    })
}

/// Deletes keys.
pub(super) fn delete(write: &mut Write<'_>, request: &PbDeleteRequest) -> PbDeleteResponse {
    let deleted = write.delete(&Interval::new(&request.key, &request.range_end));
    let prev_kvs = deleted.iter().filter(|_| request.prev_kv);
    PbDeleteResponse {
        header: at(write.head()),
        deleted: count(deleted.len()),
        prev_kvs: prev_kvs.map(Arc::as_ref).map(key_value).collect(),
    }
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
