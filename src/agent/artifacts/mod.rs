//! The artifacts of this node: fetched once, verified, unpacked, shared by all instances that use them, and cleared
//! away when none does.
//!
//! - `fetch`: one of them, from its address into its directory
//! - `unpack`: archives
//!
//! Each lies under its digest. It is unpacked beside that place and renamed, so that what lies there is whole; what
//! lies there after a restart is taken for verified.

mod fetch;
mod unpack;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};

use crate::{
    host::Host,
    model::{
        Moment,
        service::{ArtifactSpec, Digest},
    },
    plan::artifact::{self, Status, Step, decide},
    retry::Retry,
};
use fetch::Place;

/// Pauses between attempts to fetch.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What came of fetching one.
pub(super) struct Fetched {
    digest: Digest,
    result: Result<(), String>,
}

/// What there is, and what is being fetched.
pub(super) struct Artifacts {
    host: Host,
    directory: PathBuf,
    /// Whom to trust besides those that the host trusts.
    authority: Option<PathBuf>,
    known: BTreeMap<Digest, Status>,
    retries: BTreeMap<Digest, Retry>,
    under_way: FuturesUnordered<BoxFuture<'static, Fetched>>,
}

impl Artifacts {
    /// Those that lie in `directory`. What was being made there is removed. Servers are trusted by what the host
    /// trusts, and by the certificates in `authority`.
    pub(super) fn open(host: &Host, directory: PathBuf, authority: Option<PathBuf>) -> Self {
        let found = host.disk.list(&directory).unwrap_or_default();
        let mut known = BTreeMap::new();
        for path in found {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match Digest::try_from(name.into_owned()) {
                Ok(digest) => drop(known.insert(digest, Status::Present { unused_since: None })),
                Err(_) => clear(host, &path),
            }
        }
        Self {
            host: host.clone(),
            directory,
            authority,
            known,
            retries: BTreeMap::new(),
            under_way: FuturesUnordered::new(),
        }
    }

    /// Whether it lies there, whole.
    pub(super) fn is_present(&self, digest: &Digest) -> bool {
        matches!(self.known.get(digest), Some(Status::Present { .. }))
    }

    /// Why one does not lie there, in a word for programs and one for people.
    pub(super) fn trouble(&self, spec: &ArtifactSpec) -> (&'static str, String) {
        match self.known.get(&spec.sha256) {
            Some(Status::Failed { why, .. }) => (artifact::FAILED, why.clone()),
            _ => (
                artifact::FETCHING,
                format!("the artifact {} is being fetched", spec.origin()),
            ),
        }
    }

    /// Does what is due, where `wanted` are used or are to be. Returns when to do so again.
    pub(super) fn advance(
        &mut self,
        wanted: &BTreeMap<Digest, Option<ArtifactSpec>>,
        now: Moment,
    ) -> Option<Moment> {
        let (steps, wake) = decide(wanted, &self.known, now);
        for step in steps {
            match step {
                Step::Fetch(spec) => self.fetch(spec),
                Step::Idle(digest, unused_since) => {
                    self.known.insert(digest, Status::Present { unused_since });
                }
                Step::Collect(digest) => {
                    tracing::info!(%digest, "nothing uses the artifact any more: it is removed");
                    self.known.remove(&digest);
                    clear(&self.host, &self.directory.join(digest.as_str()));
                }
                Step::Forget(digest) => {
                    self.known.remove(&digest);
                    self.retries.remove(&digest);
                }
            }
        }
        wake
    }

    fn fetch(&mut self, spec: ArtifactSpec) {
        let digest = spec.sha256.clone();
        tracing::info!(origin = spec.origin(), %digest, "fetching an artifact");
        self.known.insert(digest.clone(), Status::Fetching);
        let made = self.host.disk.create_passage(&self.directory);
        let place = Place {
            target: self.directory.join(digest.as_str()),
            partial: self.directory.join(format!("partial-{digest}")),
            raw: self.directory.join(format!("raw-{digest}")),
        };
        let (host, authority) = (self.host.clone(), self.authority.clone());
        self.under_way.push(Box::pin(async move {
            let result = match made {
                Ok(()) => fetch::fetch(host, authority, spec, place).await,
                Err(error) => Err(format!("there is no directory for artifacts: {error}")),
            };
            Fetched { digest, result }
        }));
    }

    /// The next that was fetched, or could not be; none where nothing is under way. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Fetched> {
        self.under_way.next().await
    }

    /// Takes in what came of fetching one.
    pub(super) fn absorb(&mut self, fetched: Fetched, now: Moment) {
        let Fetched { digest, result } = fetched;
        let status = match result {
            Ok(()) => {
                tracing::info!(%digest, "an artifact was fetched, verified and unpacked");
                self.retries.remove(&digest);
                Status::Present { unused_since: None }
            }
            Err(why) => {
                tracing::warn!(%digest, why, "an artifact cannot be had; what runs goes on");
                let retry = self.retries.entry(digest.clone());
                let retry = retry.or_insert_with(|| Retry::new(RETRY.0, RETRY.1));
                Status::Failed {
                    why,
                    retry_at: now + retry.pause(&*self.host.entropy),
                }
            }
        };
        self.known.insert(digest, status);
    }
}

fn clear(host: &Host, path: &Path) {
    if let Err(error) = host.disk.take_back(path) {
        tracing::error!(path = %path.display(), %error, "cannot be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::quantity::Size;
    use sha2::Digest as _;

    fn spec(file: &Path, content: &[u8]) -> ArtifactSpec {
        let digest: String = sha2::Sha256::digest(content)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        ArtifactSpec {
            url: None,
            file: Some(file.display().to_string()),
            sha256: digest.try_into().unwrap(),
            max_size: Size::from_mebibytes(1),
        }
    }

    fn wanted(spec: &ArtifactSpec) -> BTreeMap<Digest, Option<ArtifactSpec>> {
        BTreeMap::from([(spec.sha256.clone(), Some(spec.clone()))])
    }

    async fn settle(
        artifacts: &mut Artifacts,
        wanted: &BTreeMap<Digest, Option<ArtifactSpec>>,
        now: Moment,
    ) {
        artifacts.advance(wanted, now);
        if let Some(fetched) = artifacts.next().await {
            artifacts.absorb(fetched, now);
        }
    }

    #[tokio::test]
    async fn one_is_fetched_kept_over_a_restart_and_cleared_away_when_unused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("app");
        std::fs::write(&file, "content").unwrap();
        let spec = spec(&file, b"content");
        let place = directory.path().join("artifacts");
        let host = Host::system();
        let now = Moment::default();
        let mut artifacts = Artifacts::open(&host, place.clone(), None);
        settle(&mut artifacts, &wanted(&spec), now).await;
        assert!(
            artifacts.is_present(&spec.sha256),
            "{:?}",
            artifacts.trouble(&spec)
        );
        let unpacked = place.join(spec.sha256.as_str()).join("app");
        assert_eq!(std::fs::read(&unpacked).unwrap(), b"content");

        // The next agent finds it, and clears away what was not finished.
        std::fs::create_dir(place.join("partial-x")).unwrap();
        let mut artifacts = Artifacts::open(&host, place.clone(), None);
        assert!(artifacts.is_present(&spec.sha256));
        assert!(!place.join("partial-x").exists());
        artifacts.advance(&BTreeMap::new(), now);
        assert!(unpacked.exists());
        artifacts.advance(&BTreeMap::new(), now + crate::plan::artifact::KEPT);
        assert!(!unpacked.exists() && !artifacts.is_present(&spec.sha256));
    }

    #[tokio::test]
    async fn what_is_not_as_it_should_be_is_said_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("app.tar.gz");
        let place = directory.path().join("artifacts");
        let now = Moment::default();
        let mut artifacts = Artifacts::open(&Host::system(), place.clone(), None);
        let cases: [(&[u8], &[u8], u64, &str); 3] = [
            (b"content", b"other", 1 << 20, "its SHA-256 is"),
            (b"content", b"content", 1 << 20, "gzip"),
            (&[0; 5_000], b"content", 4_000, "maxSize"),
        ];
        for (lies, said, most, why) in cases {
            std::fs::write(&file, lies).unwrap();
            let mut spec = spec(&file, said);
            spec.max_size = Size::from_bytes(most);
            artifacts.known.clear();
            settle(&mut artifacts, &wanted(&spec), now).await;
            let (reason, message) = artifacts.trouble(&spec);
            assert_eq!(reason, "ArtifactFailed");
            assert!(message.contains(why), "{message}");
            assert!(message.contains("app.tar.gz"), "{message}");
            assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
        }
    }
}
