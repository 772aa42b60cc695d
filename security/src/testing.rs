//! What the tests of this crate share: cells with everything made on the spot.

use std::path::Path;
use std::sync::Arc;

use baton_types::{CellId, CellName, Clock, EntryName, ManualClock, PrincipalName, ServerId, Timestamp};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, SanType, date_time_ymd};
use rustls_pki_types::CertificateDer;

use crate::{Authority, ChannelBinding, Credential, HostTls, Key, Place, Request, Subject};

/// 30 days.
pub const LIFETIME: u64 = 30 * 86_400;

/// 2027-01-15T08:00:00Z.
pub fn date() -> Timestamp {
    Timestamp(1_800_000_000 * 1_000_000_000)
}

/// A clock that stands at [`date`].
pub fn clock() -> ManualClock {
    let clock = ManualClock::default();
    clock.set_date(date());
    clock
}

/// `seconds` after [`date`].
pub fn after(seconds: i64) -> Timestamp {
    Timestamp(date().0 + seconds * 1_000_000_000)
}

pub fn name(name: &str) -> EntryName {
    EntryName::parse(name).unwrap()
}

pub fn principal(name: &str) -> PrincipalName {
    PrincipalName::parse(name).unwrap()
}

pub fn user(name: &str) -> Subject {
    Subject::User(principal(name))
}

pub fn host(machine: &str) -> Subject {
    Subject::Host {
        name: name(machine),
        server: None,
    }
}

pub fn server(machine: &str, id: ServerId) -> Subject {
    Subject::Host {
        name: name(machine),
        server: Some(id),
    }
}

/// A binding that stands for one connection.
pub fn binding(connection: u8) -> ChannelBinding {
    ChannelBinding([connection; 32])
}

/// A cell's authority, and its clock.
pub struct Cell {
    pub authority: Authority,
    pub clock: ManualClock,
}

impl Cell {
    pub fn new(name: &str) -> Cell {
        let name = CellName::parse(name).unwrap();
        Cell {
            authority: Authority::create(&name, CellId::random(), date()).unwrap(),
            clock: clock(),
        }
    }

    pub fn example() -> Cell {
        Cell::new("example.org")
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    pub fn credential(&self, subject: &Subject) -> Credential {
        let key = Key::generate().unwrap();
        let request = Request::parse(&key.request().unwrap()).unwrap();
        let certificate = self
            .authority
            .issue(&request, subject, self.clock.date(), LIFETIME)
            .unwrap();
        Credential::new(self.authority.anchor().clone(), certificate, key).unwrap()
    }

    /// A machine with its credential in `directory`.
    pub fn host_tls(&self, directory: &Path, machine: &str) -> Arc<HostTls> {
        let place = Place::host(directory.join(machine));
        self.credential(&host(machine)).save(&place).unwrap();
        Arc::new(HostTls::load(place, self.clock()).unwrap())
    }

    /// A certificate that [`Authority::issue`] would not make: a good one for these URIs, then changed.
    pub fn crooked(
        &self,
        uris: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> (CertificateDer<'static>, Key) {
        let key = Key::generate().unwrap();
        let mut params = good_params(uris);
        change(&mut params);
        let request = Request::parse(&key.request().unwrap()).unwrap();
        (self.authority.sign_anything(&params, &request), key)
    }
}

/// Of a user's certificate with these URIs.
pub fn good_params(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2027, 1, 1);
    params.not_after = date_time_ymd(2027, 2, 1);
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = uris
        .iter()
        .map(|uri| SanType::URI((*uri).try_into().unwrap()))
        .collect();
    params
}
