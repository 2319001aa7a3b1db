//! Making certificates: an authority of one's own, and what it issues.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use crate::model::Timestamp;

/// Clocks of hosts differ by no more: certificates hold from so long before they are made.
const EARLIER: Duration = Duration::from_secs(3_600);

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
#[error("no certificate can be made: {0}")]
pub struct Error(#[from] rcgen::Error);

/// A certificate and its key, in PEM.
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// A certificate that is wanted.
pub struct Order<'a> {
    /// The owner.
    pub common_name: &'a str,
    /// Names and addresses at which its owner is reached; of none it is no certificate for servers.
    pub hosts: &'a [String],
    /// How long it is to hold.
    pub lasts: Duration,
}

/// One who vouches for others.
pub struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// A new one of that name, which lasts as long; and what others know it by.
    ///
    /// # Errors
    /// The name cannot stand in a certificate.
    pub fn found(name: &str, lasts: Duration, now: Timestamp) -> Result<(Self, Pair), Error> {
        let mut params = params(name, &[], lasts, now)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pair = Pair {
            certificate: params.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        };
        Ok((Self(Issuer::new(params, key)), pair))
    }

    /// The one that was written down as `pair`.
    ///
    /// # Errors
    /// It is none.
    pub fn read(pair: &Pair) -> Result<Self, Error> {
        let key = KeyPair::from_pem(&pair.key)?;
        Ok(Self(Issuer::from_ca_cert_pem(&pair.certificate, key)?))
    }

    /// Issues a certificate.
    ///
    /// # Errors
    /// A name cannot stand in one.
    pub fn issue(&self, order: &Order<'_>, now: Timestamp) -> Result<Pair, Error> {
        let mut params = params(order.common_name, order.hosts, order.lasts, now)?;
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !order.hosts.is_empty() {
            let server = ExtendedKeyUsagePurpose::ServerAuth;
            params.extended_key_usages.push(server);
        }
        let key = KeyPair::generate()?;
        Ok(Pair {
            certificate: params.signed_by(&key, &self.0)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn params(
    name: &str,
    hosts: &[String],
    lasts: Duration,
    now: Timestamp,
) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or_default());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(EARLIER);
    params.not_after = epoch + now + lasts;
    Ok(params)
}
