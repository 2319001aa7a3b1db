//! What a certificate says.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate, time::ASN1Time,
};

use crate::model::Timestamp;

/// What a certificate says of its owner, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The owner's name; empty where it has none.
    pub common_name: String,
    /// Host names and addresses at which its owner may be reached.
    pub names: Vec<String>,
    /// From when on it holds.
    pub begins: Timestamp,
    /// Until when.
    pub ends: Timestamp,
    /// Whether it may vouch for others.
    pub is_authority: bool,
}

impl Certificate {
    /// The first certificate in a PEM text.
    ///
    /// # Errors
    /// There is none, or it cannot be read; why.
    pub fn first(pem: &[u8]) -> Result<Self, String> {
        let der = CertificateDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
        Self::of(&der).ok_or_else(|| "it is no X.509 certificate".to_owned())
    }

    /// What a certificate says; none where it cannot be read.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let common_name = certificate.subject().iter_common_name().next();
        let common_name = common_name.and_then(|name| name.as_str().ok());
        let validity = certificate.validity();
        Some(Self {
            common_name: common_name.unwrap_or_default().to_owned(),
            names: names(&certificate),
            begins: timestamp(validity.not_before),
            ends: timestamp(validity.not_after),
            is_authority: certificate.is_ca(),
        })
    }
}

/// As logs and errors name it.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            common_name, ends, ..
        } = self;
        write!(f, "{common_name}, until {ends}")
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = alternatives.value.general_names.iter();
    names.filter_map(shown).collect()
}

fn shown(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string()),
            16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
            _ => None,
        },
        _ => None,
    }
}

fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_millis(time.timestamp().saturating_mul(1_000))
}
