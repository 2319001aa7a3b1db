//! The files in use, read again whenever they change.

use std::{convert::Infallible, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::{
    Certificate, Door, Error, Files,
    listener::Guarded,
    loaded::{Contents, Loaded},
};
use crate::{
    host::{Clock, Disk, Host, Listener},
    model::{Moment, Timestamp},
};

/// How often the files are looked at: new ones are in use soon enough for whoever waits for it, and a look is
/// three small reads.
const LOOK: Duration = Duration::from_secs(3);

/// From so long before its end on, a certificate's end is told, and then once a day.
const NOTICE: Duration = Duration::from_secs(14 * DAY.as_secs());
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What connections are secured by. Who has one uses what the files held when they were last in order.
pub struct Credentials {
    files: Files,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    current: ArcSwap<Loaded>,
}

impl Credentials {
    /// Those in `files`. An expired certificate is taken, and complained of: what runs must be looked after all
    /// the same.
    ///
    /// # Errors
    /// The files cannot be used.
    pub fn read(files: Files, host: &Host) -> Result<Arc<Self>, Error> {
        let contents = Contents::read(&files, &*host.disk)?;
        let loaded = Loaded::new(&files, contents, &host.clock)?;
        Ok(Arc::new(Self {
            files,
            disk: Arc::clone(&host.disk),
            clock: Arc::clone(&host.clock),
            current: ArcSwap::from_pointee(loaded),
        }))
    }

    /// Keeps them as the files are, until `stop`. Connections that are open stay so. Files that cannot be used
    /// change nothing, and are complained of.
    ///
    /// # Errors
    /// None.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) -> Result<(), Infallible> {
        let mut watch = Watch::default();
        while !stop.is_cancelled() {
            self.look(&mut watch);
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.clock.sleep(LOOK) => {}
            }
        }
        Ok(())
    }

    /// `listener`, letting in who comes to `door` in the right way. Without a certificate of ours it lets in
    /// nobody.
    pub fn guard(self: &Arc<Self>, listener: Box<dyn Listener>, door: Door) -> Box<dyn Listener> {
        Box::new(Guarded::new(listener, Arc::clone(self), door))
    }

    /// Whether there is a certificate of ours to show.
    pub fn has_certificate(&self) -> bool {
        self.files.own.is_some()
    }

    /// What is in use now.
    pub(super) fn current(&self) -> Arc<Loaded> {
        self.current.load_full()
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn look(&self, watch: &mut Watch) {
        match self.renewed() {
            Ok(None) => watch.complaint.clear(),
            Ok(Some(new)) => {
                let own = new.own.as_ref().map(Certificate::to_string);
                let own = own.unwrap_or_default();
                tracing::info!(authorities = %self.files.authorities, own, "new certificates are in use");
                self.current.store(Arc::new(new));
                *watch = Watch::default();
            }
            Err(error) => {
                let complaint = error.to_string();
                if complaint != watch.complaint {
                    tracing::warn!(
                        "new certificates are not used, and those before them stay in force: {error}"
                    );
                    watch.complaint = complaint;
                }
            }
        }
        let current = self.current.load();
        let (now, moment) = (self.clock.timestamp(), self.clock.now());
        if let (Some(own), Some(files)) = (&current.own, &self.files.own)
            && watch.next_notice.is_none_or(|next| moment >= next)
            && let Some(notice) = notice(own, now)
        {
            tracing::warn!(
                "the certificate in {} ({}) {notice}; a new one is used as soon as it is in its place",
                files.certificate,
                own.common_name
            );
            watch.next_notice = Some(moment + DAY);
        }
    }

    /// What the files hold now, where that is something new that can be used.
    fn renewed(&self) -> Result<Option<Loaded>, Error> {
        let current = self.current.load();
        let contents = Contents::read(&self.files, &*self.disk)?;
        if contents == current.contents {
            return Ok(None);
        }
        let new = Loaded::new(&self.files, contents, &self.clock)?;
        let now = self.clock.timestamp();
        let holds = |own: &Option<Certificate>| own.as_ref().is_none_or(|own| now < own.ends);
        match (&new.own, &self.files.own) {
            (Some(own), Some(files)) if !holds(&new.own) && holds(&current.own) => {
                Err(Error::Expired {
                    file: files.certificate.clone(),
                    since: own.ends,
                })
            }
            _ => Ok(Some(new)),
        }
    }
}

/// What was said of the files.
#[derive(Default)]
struct Watch {
    /// What is wrong with them, if anything is.
    complaint: String,
    /// When their end is told again.
    next_notice: Option<Moment>,
}

/// What is to be said of how long `certificate` holds; none where it is some while yet.
pub fn notice(certificate: &Certificate, now: Timestamp) -> Option<String> {
    let Certificate { begins, ends, .. } = certificate;
    if now >= *ends {
        Some(format!("expired at {ends}"))
    } else if now < *begins {
        Some(format!(
            "does not hold before {begins}, and it is {now} here"
        ))
    } else {
        (ends.since(now) < NOTICE).then(|| format!("expires at {ends}"))
    }
}
