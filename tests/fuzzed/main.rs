//! What fuzzing has found is read again, and everything near it: each sample of `fuzz/corpus`, and samples that chance has
//! broken. `scripts/fuzz TARGET` looks for more, led by what the program does with them.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test reads files and panics"
)]

#[path = "../embedded_differential/dice.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod dice;
mod targets;

use std::{fs, path::PathBuf};

use dice::Dice;

/// How many broken samples are made of each.
const BROKEN: u64 = 60;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let content = |file: PathBuf| (file.clone(), fs::read(file).unwrap());
    files.into_iter().map(content).collect()
}

/// The sample with a few bytes changed, lost, or repeated, or a piece of another one in it.
fn broken(sample: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() as u64 + 1) as usize;
        let end = (at + dice.below(12) as usize).min(bytes.len());
        match dice.below(5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => {
                let from = dice.below(other.len() as u64 + 1) as usize;
                let to = (from + 20).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ => bytes.insert(at, dice.pick(b" \n\t:-{}[]\"'/%=&,!0129azAZ\0\x7f\xff")),
        }
    }
    bytes
}

#[test]
fn every_sample_of_the_corpora_and_what_is_near_it_is_read_or_refused() {
    for (name, target) in targets::TARGETS {
        let samples = corpus(name);
        assert!(!samples.is_empty(), "{name} has no corpus");
        let mut dice = Dice::new(8);
        for (file, sample) in &samples {
            let (_, other) = dice.pick(&samples);
            let near = (0..BROKEN).map(|_| broken(sample, &other, &mut dice));
            for bytes in std::iter::once(sample.clone()).chain(near) {
                let read = std::panic::catch_unwind(|| target(&bytes));
                assert!(
                    read.is_ok(),
                    "{name}, near {}: {}",
                    file.display(),
                    bytes.escape_ascii()
                );
            }
        }
    }
}
