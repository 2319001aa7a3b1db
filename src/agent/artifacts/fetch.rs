//! Fetches one artifact: from its address, through its digest, into its directory.

use std::{
    future::poll_fn,
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, Uri, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};

use super::unpack::{MOST_GROWTH, Unpacking};
use crate::{
    host::{Host, Tree},
    model::service::ArtifactSpec,
    tls,
};

/// So much of a local file is read at a time.
const CHUNK: usize = 64 * 1024;

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 5;

/// A server that says nothing for this long has failed.
const SILENCE: Duration = Duration::from_secs(30);

/// The name of what is kept until it is complete.
const KEPT: &str = "archive";

/// Where an artifact and its parts lie.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Where it will lie.
    pub(super) target: PathBuf,
    /// Where it is unpacked.
    pub(super) partial: PathBuf,
    /// Where it is kept as it comes, if that is needed.
    pub(super) raw: PathBuf,
}

/// What is fetched, on its way.
struct Passage {
    digest: Sha256,
    size: u64,
    most: u64,
    unpacking: Unpacking,
    kept: Option<Box<dyn Tree>>,
    /// Why it cannot be unpacked. Said only if it is what it should be: otherwise that is the reason.
    broken: Option<String>,
}

/// Fetches it; its server is trusted by `authority` too. Why it cannot be had, in words for people.
pub(super) async fn fetch(
    host: Host,
    authority: Option<PathBuf>,
    spec: ArtifactSpec,
    place: Place,
) -> Result<(), String> {
    let from = |why: String| format!("the artifact {}: {why}", spec.origin());
    let carried = carry(&host, authority.as_deref(), &spec, &place).await;
    carried.map_err(from)
}

async fn carry(
    host: &Host,
    authority: Option<&Path>,
    spec: &ArtifactSpec,
    place: &Place,
) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("there is no room for it: {error}");
    let most = spec.max_size.bytes();
    let tree = host.disk.plant(&place.partial, &place.target);
    let grown = most.saturating_mul(MOST_GROWTH);
    let unpacking = Unpacking::begin(spec.name(), tree.map_err(cannot)?, grown)?;
    let kept = match unpacking.wants_all() {
        true => {
            let mut tree = host.disk.plant(&place.raw, &place.raw).map_err(cannot)?;
            tree.file(KEPT.as_ref(), false).map_err(cannot)?;
            Some(tree)
        }
        false => None,
    };
    let mut passage = Passage {
        digest: Sha256::new(),
        size: 0,
        most,
        unpacking,
        kept,
        broken: None,
    };
    match (&spec.url, &spec.file) {
        (Some(url), _) => download(host, authority, url, &mut passage).await?,
        (None, Some(file)) => read(host, file, &mut passage).await?,
        (None, None) => return Err("it has no address".to_owned()),
    }
    let digest: String = passage
        .digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if digest != spec.sha256.as_str() {
        return Err(format!(
            "its SHA-256 is {digest}, and the manifest says {}",
            spec.sha256
        ));
    }
    if let Some(broken) = passage.broken {
        return Err(broken);
    }
    let kept = place.raw.join(KEPT);
    let kept = passage
        .kept
        .is_some()
        .then_some((kept.as_path(), passage.size));
    passage.unpacking.finish(&*host.disk, kept).await
}

impl Passage {
    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.size += bytes.len() as u64;
        if self.size > self.most {
            return Err(format!("it is larger than {} bytes (maxSize)", self.most));
        }
        self.digest.update(bytes);
        if let Some(kept) = &mut self.kept {
            kept.append(bytes)
                .map_err(|error| format!("it cannot be kept: {error}"))?;
        }
        if self.broken.is_none() {
            self.broken = self.unpacking.take(bytes).err();
        }
        Ok(())
    }
}

/// Reads a file of the host, and lets others go on between the parts.
async fn read(host: &Host, path: &str, passage: &mut Passage) -> Result<(), String> {
    let file = host.disk.open(path.as_ref());
    let file = file.map_err(|error| format!("it cannot be read: {error}"))?;
    let file = file.ok_or("there is no such file on this host")?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = file.read_at(passage.size, &mut buffer);
        match read.map_err(|error| format!("it cannot be read: {error}"))? {
            0 => return Ok(()),
            read => passage.take(&buffer[..read])?,
        }
        tokio::task::yield_now().await;
    }
}

/// Downloads it, and follows redirects; never from a protected connection to one that is not.
async fn download(
    host: &Host,
    authority: Option<&Path>,
    url: &str,
    passage: &mut Passage,
) -> Result<(), String> {
    let mut uri: Uri = url
        .parse()
        .map_err(|error| format!("no address: {error}"))?;
    for _ in 0..=MOST_REDIRECTS {
        match ask(host, authority, &uri, passage).await? {
            None => return Ok(()),
            Some(location) => {
                let next = resolve(&uri, &location)?;
                if uri.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                    return Err(format!("{uri} redirects to {next}, which is not protected"));
                }
                uri = next;
            }
        }
    }
    Err(format!("it redirects more than {MOST_REDIRECTS} times"))
}

/// The address that `location` means, where `base` said so.
fn resolve(base: &Uri, location: &str) -> Result<Uri, String> {
    let wrong = |error: http::Error| format!("it redirects to `{location}`: {error}");
    if location.contains("://") {
        return location
            .parse()
            .map_err(|error: http::uri::InvalidUri| wrong(error.into()));
    }
    let path = match location.starts_with('/') {
        true => location.to_owned(),
        false => {
            let mut way: Vec<&str> = base.path().split('/').collect();
            way.pop();
            for step in location.split('/') {
                match step {
                    "." => {}
                    ".." if way.len() > 1 => drop(way.pop()),
                    ".." => {}
                    step => way.push(step),
                }
            }
            way.join("/")
        }
    };
    let mut parts = base.clone().into_parts();
    let path = path
        .parse()
        .map_err(|error: http::uri::InvalidUri| wrong(error.into()))?;
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|error| wrong(error.into()))
}

/// Asks for `uri`, and passes on what comes; or where it is instead.
async fn ask(
    host: &Host,
    authority: Option<&Path>,
    uri: &Uri,
    passage: &mut Passage,
) -> Result<Option<String>, String> {
    let name = uri.host().ok_or("its address has no host")?;
    let bare = name.trim_matches(['[', ']']);
    let is_protected = uri.scheme_str() == Some("https");
    let port = uri
        .port_u16()
        .unwrap_or(if is_protected { 443 } else { 80 });
    let connecting = async {
        let stream = host.network.connect(bare, port).await;
        let stream = stream.map_err(|error| format!("{name}:{port} cannot be reached: {error}"))?;
        match is_protected {
            true => tls::protect(host, authority, bare, stream).await,
            false => Ok(stream),
        }
    };
    let stream = within(host, connecting).await??;
    let shaking = http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = within(host, shaking)
        .await?
        .map_err(|error| error.to_string())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or(name, |authority| authority.as_str());
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(
            header::USER_AGENT,
            concat!("quaestor/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new());
    let request = request.map_err(|error| format!("cannot be asked for: {error}"))?;
    let mut connection = std::pin::pin!(connection);
    let work = async {
        let answer = within(host, sender.send_request(request)).await?;
        let answer = answer.map_err(|error| format!("{uri} does not answer: {error}"))?;
        let status = answer.status();
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            let location = answer.headers().get(header::LOCATION);
            let location = location.and_then(|location| location.to_str().ok());
            let location = location.ok_or(format!("{uri} redirects to nowhere"))?;
            return Ok(Some(location.to_owned()));
        }
        if status != StatusCode::OK {
            return Err(format!("{uri} answers {status}"));
        }
        receive(host, answer.into_body(), passage)
            .await
            .map(|()| None)
    };
    let mut work = std::pin::pin!(work);
    let mut is_closed = false;
    // The connection does the work; it may end before all of what came is taken in.
    poll_fn(|cx| {
        if !is_closed && Pin::as_mut(&mut connection).poll(cx).is_ready() {
            is_closed = true;
        }
        Pin::as_mut(&mut work).poll(cx)
    })
    .await
}

async fn receive(host: &Host, mut body: Incoming, passage: &mut Passage) -> Result<(), String> {
    while let Some(frame) = within(host, body.frame()).await? {
        let frame = frame.map_err(|error| format!("it broke off: {error}"))?;
        if let Some(bytes) = frame.data_ref() {
            passage.take(bytes)?;
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// What comes of `future`, if that is not too long in coming.
async fn within<T>(host: &Host, future: impl Future<Output = T>) -> Result<T, String> {
    tokio::select! {
        biased;
        result = future => Ok(result),
        () = host.clock.sleep(SILENCE) => Err(format!("nothing came for {SILENCE:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_followed_as_browsers_do() {
        let base: Uri = "http://a.example:8080/x/y?z".parse().unwrap();
        let cases = [
            ("https://b.example/c", "https://b.example/c"),
            ("/c", "http://a.example:8080/c"),
            ("c", "http://a.example:8080/x/c"),
            ("../c", "http://a.example:8080/c"),
            ("../../c?d", "http://a.example:8080/c?d"),
        ];
        for (location, expected) in cases {
            assert_eq!(
                resolve(&base, location).unwrap().to_string(),
                expected,
                "{location}"
            );
        }
    }
}
