//! Bytes that no client of ours would send, and connections that say nothing they should.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use baton_rpc::config::PORT_FLDB;
use baton_security::{ClientTls, Dialled};
use baton_tests::cell::{As, Cell};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tonic::transport::{Channel, Endpoint};

/// What an HTTP/2 client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection to `member` from an address that only this one uses: what the server writes about it into its log
/// is then found by that address, and not held back because of another one.
pub async fn tcp(cell: &Cell, member: &str, from: u8) -> Result<(TcpStream, IpAddr)> {
    let IpAddr::V4(address) = cell.machine(member)?.address else {
        bail!("only in a network of IPv4 is an address made up");
    };
    let [a, b, c, _] = address.octets();
    let own = IpAddr::V4(Ipv4Addr::new(a, b, c, from));
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(own, 0))?;
    let to = SocketAddr::new(cell.machine(member)?.address, PORT_FLDB);
    Ok((socket.connect(to).await?, own))
}

/// The same after TLS.
pub async fn tls(cell: &Cell, member: &str, tls: &ClientTls) -> Result<Dialled> {
    let to = SocketAddr::new(cell.machine(member)?.address, PORT_FLDB);
    Ok(tls.connect_any(TcpStream::connect(to).await?).await?)
}

/// gRPC on a connection on which nobody has greeted.
pub async fn grpc(cell: &Cell, member: &str) -> Result<Channel> {
    let stream = tls(cell, member, &cell.tls(As::Nobody)?).await?.stream;
    let mut only = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let stream = only.take();
        async move { stream.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)) }
    });
    let endpoint = Endpoint::from_static("https://baton.invalid");
    endpoint.connect_with_connector(connector).await.context("HTTP/2")
}

/// Says `bytes`, and hears everything until the other end closes. A reset is an end like another.
pub async fn say<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    if stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok() {
        let _ = stream.read_to_end(&mut heard).await;
    }
    heard
}

/// The frames of HTTP/2 in `bytes`: type and payload.
pub fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let (payload, after) = rest.split_at(length.min(rest.len()));
        frames.push((*kind, payload));
        bytes = after;
    }
    frames
}

/// The first message of a TLS 1.2 client: good in all but its age.
pub fn hello_of_tls12() -> Vec<u8> {
    let extensions: &[u8] = &[
        0, 10, 0, 4, 0, 2, 0, 23, // supported groups: secp256r1
        0, 11, 0, 2, 1, 0, // point formats: uncompressed
        0, 13, 0, 4, 0, 2, 4, 3, // signatures: ECDSA on P-256 with SHA-256
    ];
    let mut hello = vec![3, 3];
    hello.extend([7; 32]); // random
    hello.push(0); // no session
    hello.extend([0, 2, 0xc0, 0x2b]); // ECDHE-ECDSA-AES128-GCM-SHA256
    hello.extend([1, 0]); // no compression
    hello.extend(u16::try_from(extensions.len()).expect("a hello is short").to_be_bytes());
    hello.extend(extensions);
    let length = u32::try_from(hello.len()).expect("a hello is short").to_be_bytes();
    let handshake = [&[1, length[1], length[2], length[3]], hello.as_slice()].concat();
    let length = u16::try_from(handshake.len()).expect("a hello is short").to_be_bytes();
    [&[22, 3, 1, length[0], length[1]], handshake.as_slice()].concat()
}
