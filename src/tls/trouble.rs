//! Why a connection was not secured: who, which file, what to do.

use std::{io, time::Duration};

use tokio_rustls::rustls::{
    AlertDescription as Alert, CertificateError as Fault, Error, pki_types::UnixTime,
};

use super::{Certificate, Files};
use crate::model::Timestamp;

/// What went wrong when we called `host`, showing `own`; errors of another kind stay as they are.
pub(super) fn of_call(
    error: io::Error,
    host: &str,
    files: &Files,
    own: Option<&Certificate>,
) -> io::Error {
    let text = match library(&error) {
        Some(Error::InvalidCertificate(fault)) => {
            let authorities = &files.authorities;
            match fault {
                Fault::ExpiredContext { not_after, .. } => format!(
                    "the certificate of {host} expired at {}: it needs a new one",
                    time(not_after)
                ),
                Fault::NotValidYetContext {
                    not_before,
                    time: now,
                } => format!(
                    "the certificate of {host} does not hold before {}, and it is {} here: one of the clocks is wrong",
                    time(not_before),
                    time(now)
                ),
                Fault::UnknownIssuer | Fault::BadSignature => format!(
                    "the certificate of {host} was issued by none of the authorities in {authorities}: \
                     name the file of the one that issued it"
                ),
                Fault::NotValidForNameContext { presented, .. } => format!(
                    "the certificate of {host} is for {}, not for {host}: it needs one that names it \
                     (`quaestor pki issue --san {host}`)",
                    names(presented)
                ),
                Fault::InvalidPurposeContext { .. } => format!(
                    "the certificate of {host} is not one for servers: those for operators and clients are not"
                ),
                fault => format!("the certificate of {host} is of no use: {fault}"),
            }
        }
        Some(Error::AlertReceived(alert)) => refused(*alert, host, files, own),
        Some(Error::InvalidMessage(_)) => format!("{host} speaks no TLS there"),
        Some(error) => format!("the connection to {host} cannot be secured: {error}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!(
                "{host} closed the connection before it was secured: maybe it speaks no TLS there"
            )
        }
        None => return error,
    };
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

/// What it means that `host` has turned us away.
fn refused(alert: Alert, host: &str, files: &Files, own: Option<&Certificate>) -> String {
    let (Some(own), Some(shown)) = (own, &files.own) else {
        return match alert {
            Alert::NoApplicationProtocol => no_http2(host),
            _ => {
                let authorities = files.authorities.flag;
                let [certificate, key] = ["-cert", "-key"].map(|of| authorities.replace("-ca", of));
                format!(
                    "{host} wants a certificate: name one of yours, with {certificate} and {key}"
                )
            }
        };
    };
    let shown = format!("our certificate in {} ({own})", shown.certificate);
    match alert {
        Alert::CertificateExpired => {
            format!("{host} does not take {shown}: it has expired, or does not hold yet")
        }
        Alert::UnknownCA => {
            format!("{host} does not take {shown}: it was issued by no authority that counts there")
        }
        Alert::UnsupportedCertificate => {
            format!("{host} does not take {shown}: it is not one for clients")
        }
        Alert::NoApplicationProtocol => no_http2(host),
        Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::CertificateRequired
        | Alert::CertificateRevoked
        | Alert::AccessDenied => format!("{host} does not take {shown}; its log says why"),
        alert => format!("{host} will not secure the connection ({alert:?}); its log may say why"),
    }
}

fn no_http2(host: &str) -> String {
    format!("{host} speaks no HTTP/2 there, and so no gRPC")
}

/// Why a caller was turned away.
pub(super) fn of_caller(error: &io::Error, files: &Files) -> String {
    let ours = || {
        let own = files.own.as_ref().map(|own| own.certificate.to_string());
        own.unwrap_or_default()
    };
    match library(error) {
        Some(Error::NoCertificatesPresented) => {
            "it has shown no certificate, as everybody must here: it has to name one, with --tls-cert and --tls-key if \
             it is a program of ours"
                .to_owned()
        }
        Some(Error::InvalidCertificate(fault)) => match fault {
            Fault::ExpiredContext { not_after, .. } => {
                format!("its certificate expired at {}: it needs a new one", time(not_after))
            }
            Fault::NotValidYetContext { not_before, time: now } => format!(
                "its certificate does not hold before {}, and it is {} here: one of the clocks is wrong",
                time(not_before),
                time(now)
            ),
            Fault::UnknownIssuer | Fault::BadSignature => format!(
                "its certificate was issued by none of the authorities in {}",
                files.authorities
            ),
            Fault::InvalidPurposeContext { .. } => "its certificate is not one for clients".to_owned(),
            fault => format!("its certificate is of no use: {fault}"),
        },
        Some(Error::AlertReceived(Alert::UnknownCA)) => format!(
            "it does not know the authority of our certificate in {}",
            ours()
        ),
        Some(Error::AlertReceived(Alert::CertificateExpired)) => {
            format!("it says that our certificate in {} does not hold now", ours())
        }
        Some(Error::AlertReceived(Alert::BadCertificate)) => format!(
            "it says that our certificate in {} is wrong, most likely as it does not name the host that was called",
            ours()
        ),
        Some(Error::InvalidMessage(_)) => {
            "it speaks no TLS: a program of ours has to be told the authorities, with --tls-ca".to_owned()
        }
        Some(error) => error.to_string(),
        None => match error.kind() {
            io::ErrorKind::TimedOut => "it did not show in time who it is".to_owned(),
            io::ErrorKind::UnexpectedEof => {
                "it closed the connection before it was secured".to_owned()
            }
            _ => error.to_string(),
        },
    }
}

/// The library's error within one of the system's.
fn library(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn time(time: &UnixTime) -> Timestamp {
    Timestamp::from_millis(0) + Duration::from_secs(time.as_secs())
}

/// The names in a certificate; the library writes them as `DnsName("a")` and `IpAddress(1.2.3.4)`.
fn names(presented: &[String]) -> String {
    let name = |name: &String| {
        let inner = name
            .split_once('(')
            .and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    match presented {
        [] => "no host at all".to_owned(),
        names => names.iter().map(name).collect::<Vec<_>>().join(", "),
    }
}
