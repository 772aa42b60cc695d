//! An address: `host[:port]`, kept as text and resolved by whoever dials it.
//!
//! Text, because a name may move to another machine and an entry must follow it, and because
//! administrators must read back what they typed.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::ADDRESS_BYTES_MAX;
use crate::{Error, Kind, Result};

/// Where a server can be dialled. `host`, `host:port`, `192.0.2.7:7401`, `[2001:db8::7]:7401`, `2001:db8::7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// Lower case, without brackets.
    host: String,
    port: Option<u16>,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// `Invalid`, saying what is wrong with it; `NameTooLong`.
    pub fn parse(text: &str) -> Result<Address> {
        let bad = |why: &str| {
            Error::new(Kind::Invalid, format!("address '{}'", text.escape_debug()))
                .because(why)
                .remedy("write host, host:port, or [IPv6]:port")
        };
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(Error::new(Kind::NameTooLong, "address")
                .because(format!("{} bytes, {ADDRESS_BYTES_MAX} at most", text.len())));
        }
        let (host, port) = split(text).ok_or_else(|| bad("not host[:port]"))?;
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(port)) if port > 0 => Some(port),
            Some(_) => return Err(bad("the port is not 1 to 65535")),
        };
        let host = match host.parse::<Ipv6Addr>() {
            Ok(v6) => v6.to_string(), // one spelling for one address
            Err(_) if host.contains(':') => return Err(bad("neither an IPv6 address nor host:port")),
            Err(_) => host.to_ascii_lowercase(),
        };
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || host.starts_with('-') || !host.bytes().all(is_name) {
            return Err(bad("not a host name or IP address"));
        }
        Ok(Address { host, port })
    }

    /// The host name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, or `default` if none was given.
    pub fn port_or(&self, default: u16) -> u16 {
        self.port.unwrap_or(default)
    }

    /// `host:port` for a resolver, IPv6 in brackets.
    pub fn with_port(&self, default: u16) -> String {
        let port = self.port_or(default);
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }
}

/// Host and port of `[v6]:port`, `[v6]`, `v6`, `host:port` or `host`.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match after {
            "" => Some((host, None)),
            _ => Some((host, Some(after.strip_prefix(':')?))),
        };
    }
    match text.matches(':').count() {
        1 => text.split_once(':').map(|(host, port)| (host, Some(port))),
        _ => Some((text, None)),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => f.pad(&self.with_port(port)),
            None => f.pad(&self.host),
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address> {
        Address::parse(text)
    }
}

impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Address> {
        Address::parse(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_printed_back() {
        for (text, host, port) in [
            ("fs1", "fs1", 7401),
            ("FS1.Example.org:99", "fs1.example.org", 99),
            ("192.0.2.7", "192.0.2.7", 7401),
            ("[2001:db8::7]:88", "2001:db8::7", 88),
            ("2001:DB8:0::7", "2001:db8::7", 7401),
            ("[::1]", "::1", 7401),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.host(), address.port_or(7401)), (host, port), "{text}");
            assert_eq!(Address::parse(&address.to_string()).unwrap(), address);
        }
        assert_eq!(Address::parse("::1").unwrap().with_port(7401), "[::1]:7401");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "", ":", ":1", "a:", "a:0", "a:65536", "a:b:c", "[a]:1", "[::1", "[::1]x", "a b", "a/b", "-a", "é",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Address::parse(&"a".repeat(261)).unwrap_err().kind, Kind::NameTooLong);
    }
}
