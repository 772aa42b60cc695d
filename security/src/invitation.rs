//! An invitation: all that a newcomer needs to join a cell, as one word to copy.
//!
//! ```text
//! baton1- base64url( u8 kind │ cell id 16 │ pin 32 │ secret 32 │ text cell │ text principal
//!                    │ u8 members × ( text name │ u8 addresses × text ) │ checksum 4 )
//! text = u16 length, little-endian, bytes; checksum = the first 4 bytes of blake3 of all before it
//! ```
//! The pin lets the newcomer know the cell, the secret lets the cell know the newcomer; keys never travel. The
//! checksum tells a typo from an invitation that is over. The cell keeps only the secret's hash.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use baton_types::limits::{ADDRESSES_MAX, MEMBERS_MAX};
use baton_types::record::InvitationKind;
use baton_types::{Address, CellId, CellName, EntryName, Error, Kind, PrincipalName, Result};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::key::Fingerprint;

/// What every invitation begins with; the digit is the format's.
const PREFIX: &str = "baton1-";
/// Five members with sixteen of the longest addresses each take 29 KiB.
const TEXT_BYTES_MAX: usize = 32 << 10;
const CHECKSUM_BYTES: usize = 4;

/// What a newcomer shows once: 32 random bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// `Io` when the machine has no randomness to give.
    pub fn random() -> Result<Secret> {
        let mut secret = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(secret.as_mut())
            .map_err(|_| Error::new(Kind::Io, "secret").because("the machine has no randomness to give"))?;
        Ok(Secret(secret))
    }

    /// The secret in these bytes, as a newcomer sends it.
    ///
    /// # Errors
    /// `Invalid` unless there are exactly 32.
    pub fn from_slice(bytes: &[u8]) -> Result<Secret> {
        let bad =
            |_| Error::new(Kind::Invalid, "invitation's secret").because(format!("{} bytes, not 32", bytes.len()));
        bytes.try_into().map(|bytes| Secret(Zeroizing::new(bytes))).map_err(bad)
    }

    /// Its bytes, for the wire.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the cell keeps of it. A plain hash will do: nobody guesses 32 random bytes.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(self.0.as_ref()).as_bytes()
    }
}

/// Never the bytes.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where a member of the location database answers, and by which name TLS must find it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Its machine's name in the cell.
    pub name: EntryName,
    /// Best first.
    pub addresses: Vec<Address>,
}

/// What an invitation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationCode {
    /// What joining makes.
    pub kind: InvitationKind,
    /// Who the newcomer will be.
    pub principal: PrincipalName,
    /// The cell.
    pub cell: CellName,
    /// Its id.
    pub id: CellId,
    /// Its authority's key.
    pub pin: Fingerprint,
    /// Whom to ask.
    pub members: Vec<Contact>,
    /// What to show.
    pub secret: Secret,
}

impl InvitationCode {
    /// Reads one, as it was pasted: spaces and line breaks do not count.
    ///
    /// # Errors
    /// `Invalid`, telling what is no invitation at all from one that was copied wrongly.
    pub fn parse(text: &str) -> Result<InvitationCode> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(bad(&format!("{} bytes, {TEXT_BYTES_MAX} at most", text.len())));
        }
        let word: Zeroizing<String> = Zeroizing::new(text.split_ascii_whitespace().collect());
        let code = word.strip_prefix(PREFIX).ok_or_else(|| {
            bad(&format!("it does not begin with {PREFIX}"))
                .remedy("copy the whole of what 'baton cell invite' printed")
        })?;
        let mistyped = || bad("copied wrongly: its checksum does not fit").remedy("copy all of it, once more");
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(code).map_err(|_| mistyped())?);
        let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(mistyped)?;
        if checksum != &self::checksum(body) {
            return Err(mistyped());
        }
        let code = decode(&mut Reader(body))?;
        code.check()?;
        Ok(code)
    }

    /// Writes it as one word.
    ///
    /// # Errors
    /// `Invalid` when it does not fit together, so that it could not be read back.
    pub fn encode(&self) -> Result<Zeroizing<String>> {
        self.check()?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(TEXT_BYTES_MAX));
        bytes.push(kind_number(self.kind));
        bytes.extend(self.id.0.as_bytes());
        bytes.extend(self.pin.0);
        bytes.extend(self.secret.as_bytes());
        put_text(&mut bytes, self.cell.as_str());
        put_text(&mut bytes, self.principal.as_str());
        bytes.push(self.members.len() as u8); // checked: at most five
        for member in &self.members {
            put_text(&mut bytes, member.name.as_str());
            bytes.push(member.addresses.len() as u8); // checked: at most sixteen
            member
                .addresses
                .iter()
                .for_each(|address| put_text(&mut bytes, &address.to_string()));
        }
        let checksum = checksum(&bytes);
        bytes.extend(checksum);
        let mut word = Zeroizing::new(String::with_capacity(TEXT_BYTES_MAX));
        word.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut word);
        Ok(word)
    }

    fn check(&self) -> Result<()> {
        let is_machine = self.principal.as_host().is_some();
        let wants_machine = match self.kind {
            InvitationKind::Host | InvitationKind::Member => true,
            InvitationKind::User => false,
        };
        if is_machine != wants_machine {
            return Err(bad(&format!("{} is not what it is for", self.principal)));
        }
        if !(1..=MEMBERS_MAX).contains(&self.members.len()) {
            return Err(bad(&format!(
                "{} members to ask, 1 to {MEMBERS_MAX} wanted",
                self.members.len()
            )));
        }
        match self
            .members
            .iter()
            .find(|member| !(1..=ADDRESSES_MAX).contains(&member.addresses.len()))
        {
            Some(member) => Err(bad(&format!(
                "member {} has {} addresses",
                member.name,
                member.addresses.len()
            ))),
            None => Ok(()),
        }
    }
}

fn decode(reader: &mut Reader<'_>) -> Result<InvitationCode> {
    let kind = match reader.take(1)? {
        [1] => InvitationKind::Host,
        [2] => InvitationKind::Member,
        [3] => InvitationKind::User,
        _ => return Err(bad("of a kind that this version does not know").remedy("upgrade this machine first")),
    };
    let id = CellId::from_slice(reader.take(16)?)?;
    let pin = Fingerprint(reader.array()?);
    let secret = Secret::from_slice(reader.take(32)?)?;
    let cell = CellName::parse(reader.text()?)?;
    let principal = PrincipalName::parse(reader.text()?)?;
    let mut members = Vec::new();
    for _ in 0..reader.count(MEMBERS_MAX)? {
        let name = EntryName::parse(reader.text()?)?;
        let count = reader.count(ADDRESSES_MAX)?;
        let addresses = (0..count)
            .map(|_| Address::parse(reader.text()?))
            .collect::<Result<_>>()?;
        members.push(Contact { name, addresses });
    }
    match reader.0 {
        [] => Ok(InvitationCode {
            kind,
            principal,
            cell,
            id,
            pin,
            members,
            secret,
        }),
        _ => Err(bad("there is something after its end")),
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| bad("shorter than it says"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| bad("shorter than it says"))
    }

    fn count(&mut self, max: usize) -> Result<usize> {
        match self.array::<1>()? {
            [count] if usize::from(count) <= max => Ok(count.into()),
            [count] => Err(bad(&format!("a list of {count}, {max} at most"))),
        }
    }

    fn text(&mut self) -> Result<&'a str> {
        let len = u16::from_le_bytes(self.array()?);
        std::str::from_utf8(self.take(len.into())?).map_err(|_| bad("a name that is not text"))
    }
}

/// Names and addresses are at most 260 bytes.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn kind_number(kind: InvitationKind) -> u8 {
    match kind {
        InvitationKind::Host => 1,
        InvitationKind::Member => 2,
        InvitationKind::User => 3,
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..] = *blake3::hash(body).as_bytes();
    [a, b, c, d]
}

fn bad(why: &str) -> Error {
    Error::new(Kind::Invalid, "invitation").because(why)
}

#[cfg(test)]
mod tests;
