//! Compiles the protocols in `proto/`; needs no protoc.

use std::{env, error::Error, fs, io, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(protocols("proto")?, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // What the reflection service answers with.
    fs::write(
        out.join("descriptors.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;
    tonic_prost_build::configure().compile_fds(descriptors)?;

    // Their packages refer to each other, so that they need the modules that the include file has.
    let descriptors = protox::compile(protocols("proto/xds")?, ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".envoy.service.discovery.v3.DiscoveryResponse.resources")
        .include_file("standard.rs")
        .compile_fds(descriptors)?;
    Ok(())
}

/// The protocols that lie in a folder.
fn protocols(folder: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
