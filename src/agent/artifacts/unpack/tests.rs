use std::io::Write as _;

use super::*;
use crate::host::LocalDisk;

/// A gzipped tar of files, by name and content; a content that begins with `->` is a link.
fn packed(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, content) in entries {
        let target = content.strip_prefix(b"->");
        let (kind, content) = match target {
            Some(_) => (b'2', &b""[..]),
            None => (b'0', *content),
        };
        let mut block = vec![0; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(b"0000755");
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[148..156].fill(b' ');
        block[156] = kind;
        if let Some(target) = target {
            block[157..157 + target.len()].copy_from_slice(target);
        }
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        tar.extend(block);
        tar.extend(content);
        tar.resize(tar.len().div_ceil(512) * 512, 0);
    }
    tar.extend([0; 1_024]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    gzip.finish().unwrap()
}

/// Unpacks bytes called `name` into `out` of a directory.
async fn unpack(name: &str, bytes: &[u8], most: u64) -> (tempfile::TempDir, Result<(), String>) {
    let directory = tempfile::tempdir().unwrap();
    let result = async {
        let (partial, target) = (
            directory.path().join("partial"),
            directory.path().join("out"),
        );
        let tree = LocalDisk.plant(&partial, &target).unwrap();
        let mut unpacking = Unpacking::begin(name, tree, most)?;
        for part in bytes.chunks(1_000) {
            unpacking.take(part)?;
        }
        let kept = directory.path().join("kept");
        std::fs::write(&kept, bytes).unwrap();
        let kept = (kept.as_path(), bytes.len() as u64);
        unpacking.finish(&LocalDisk, Some(kept)).await
    };
    let result = result.await;
    (directory, result)
}

#[tokio::test]
async fn an_archive_is_unpacked_as_it_was_packed() {
    let archive = packed(&[
        ("bin/app", b"run me"),
        ("app", b"->bin/app"),
        ("empty", b""),
    ]);
    let (directory, result) = unpack("app.tar.gz", &archive, 1 << 20).await;
    assert_eq!(result, Ok(()));
    let out = directory.path().join("out");
    assert_eq!(std::fs::read(out.join("app")).unwrap(), b"run me");
    assert_eq!(std::fs::read(out.join("empty")).unwrap(), b"");
    assert!(!directory.path().join("partial").exists());
}

#[tokio::test]
async fn what_leads_out_is_refused_and_leaves_nothing() {
    let attacks: [&[(&str, &[u8])]; 5] = [
        &[("../evil", b"x")],
        &[("/tmp/evil", b"x")],
        &[("l", b"->/etc"), ("l/evil", b"x")],
        &[("l", b"->.."), ("l/evil", b"x")],
        &[("d/l", b"->../../out-of-here")],
    ];
    for attack in attacks {
        let (directory, result) = unpack("app.tgz", &packed(attack), 1 << 20).await;
        assert!(result.is_err(), "{attack:?}");
        let left = std::fs::read_dir(directory.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "kept"), "{left:?}");
    }
}

#[tokio::test]
async fn what_grows_beyond_the_bound_is_refused() {
    let bomb = packed(&[("zeros", &[0; 3_000_000])]);
    assert!(bomb.len() < 50_000);
    let (_, result) = unpack("bomb.tar.gz", &bomb, 1_000_000).await;
    assert!(result.unwrap_err().contains("larger than"));
}

#[tokio::test]
async fn what_is_cut_off_is_refused() {
    let archive = packed(&[("app", &[7; 5_000])]);
    for cut in [10, archive.len() / 2, archive.len() - 1] {
        let (_, result) = unpack("app.tar.gz", &archive[..cut], 1 << 20).await;
        assert!(result.is_err(), "cut at {cut}");
    }
}

#[tokio::test]
async fn a_zip_is_unpacked_with_permissions() {
    let archive = zip(&[
        ("bin/app", &[b'a'; 100_000], 0o100_755),
        ("note", b"n", 0o100_644),
    ]);
    let (directory, result) = unpack("app.zip", &archive, 1 << 20).await;
    assert_eq!(result, Ok(()));
    let out = directory.path().join("out");
    assert_eq!(std::fs::read(out.join("bin/app")).unwrap(), [b'a'; 100_000]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |name: &str| {
            std::fs::metadata(out.join(name))
                .unwrap()
                .permissions()
                .mode()
        };
        assert_eq!((mode("bin/app") & 0o111, mode("note") & 0o111), (0o111, 0));
    }
    let (_, cut) = unpack("app.zip", &archive[..archive.len() - 30], 1 << 20).await;
    assert!(cut.is_err());
    let evil = zip(&[("../evil", b"x", 0o100_644)]);
    let (_, refused) = unpack("app.zip", &evil, 1 << 20).await;
    assert!(refused.unwrap_err().contains("leads out"));
    let link = zip(&[("l", b"/etc", 0o120_777)]);
    let (_, refused) = unpack("app.zip", &link, 1 << 20).await;
    assert!(refused.unwrap_err().contains("absolute"));
}

#[tokio::test]
async fn a_single_file_is_kept_as_it_is_and_can_be_executed() {
    let (directory, result) = unpack("app", b"#!/bin/sh\n", 1 << 20).await;
    assert_eq!(result, Ok(()));
    let file = directory.path().join("out/app");
    assert_eq!(std::fs::read(file).unwrap(), b"#!/bin/sh\n");
}

/// A zip archive of deflated entries with Unix permissions.
fn zip(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let (mut body, mut directory) = (Vec::new(), Vec::new());
    for (name, content, mode) in entries {
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
        deflate.write_all(content).unwrap();
        let packed = deflate.finish().unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let sizes = [crc.sum(), packed.len() as u32, content.len() as u32];
        let sizes: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
        let offset = body.len() as u32;
        let length = (name.len() as u16).to_le_bytes();
        let method = [20, 0, 0, 0, 8, 0, 0, 0, 0, 0];
        body.extend([&b"PK\x03\x04"[..], &method, &sizes, &length, &[0, 0]].concat());
        body.extend(name.as_bytes());
        body.extend(packed);
        directory.extend(
            [
                &b"PK\x01\x02\x14\x03"[..],
                &method,
                &sizes,
                &length,
                &[0; 2],
                &[0; 6],
            ]
            .concat(),
        );
        directory.extend((mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let length = (directory.len() as u32).to_le_bytes();
    let offset = (body.len() as u32).to_le_bytes();
    let end = [
        &b"PK\x05\x06"[..],
        &[0; 4],
        &count,
        &count,
        &length,
        &offset,
        &[0, 0],
    ]
    .concat();
    [body, directory, end].concat()
}
