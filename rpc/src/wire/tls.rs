//! The real wire: TLS over TCP, without a thread or a runtime of its own.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_security::{Channel, ClientTls, explain_io};
use baton_types::{CellId, EntryName, Error, Kind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::ClientConnection;

use super::Wire;
use crate::session::frame::{Assembly, Frame, Pool};

/// A payload up to this is copied to what is sent with it.
const SMALL_BYTES: usize = 8 << 10;

/// A connection to one server.
pub(super) struct TlsWire {
    on: String,
    tcp: TcpStream,
    tls: ClientConnection,
    channel: Channel,
    assembly: Assembly,
}

impl TlsWire {
    /// Shakes hands with the server `name` at the other end of `tcp`. Returns the id of its cell besides.
    ///
    /// # Errors
    /// `Denied`, `Expired`, `Version` or `Unreachable`.
    pub(super) fn shake(
        tcp: TcpStream,
        config: &ClientTls,
        name: &EntryName,
        pool: Arc<Pool>,
        deadline: Instant,
    ) -> Result<(TlsWire, CellId)> {
        let on = format!("server {name}");
        let explain = |e| explain_io(&on, e);
        let mut tls = config.connection(name)?;
        // A frame is taken whole: how much is under way is bounded by who sends, not here.
        tls.set_buffer_limit(None);
        while tls.is_handshaking() {
            pump(&tcp, &mut tls).map_err(explain)?;
            if tls.is_handshaking() && !ready(&tcp, &tls, deadline).map_err(explain)? {
                return Err(Error::new(Kind::Unreachable, on.clone()).because("it does not shake hands"));
            }
        }
        pump(&tcp, &mut tls).map_err(explain)?;
        let (channel, anchor) = config.proved(&tls, name)?;
        let wire = TlsWire {
            on,
            tcp,
            tls,
            channel,
            assembly: Assembly::new(pool),
        };
        Ok((wire, anchor.id()))
    }

    fn explain(&self, error: io::Error) -> Error {
        explain_io(&self.on, error)
    }

    /// A frame out of what was decrypted already.
    fn assembled(&mut self) -> Result<Option<Frame>> {
        loop {
            match self.tls.reader().read(self.assembly.room()) {
                Ok(0) => return Err(self.explain(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    if let Some(frame) = self.assembly.filled(count)? {
                        return Ok(Some(frame));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(self.explain(error)),
            }
        }
    }
}

impl Wire for TlsWire {
    fn send(&mut self, frames: &[Frame]) -> Result<()> {
        let mut writer = self.tls.writer();
        // What is small goes together into few records: each is sealed, and costs a header.
        let mut small = Vec::with_capacity(SMALL_BYTES);
        let written = frames.iter().try_for_each(|frame| {
            small.extend_from_slice(&frame.header.encode());
            small.extend_from_slice(&frame.meta);
            if frame.payload.len() <= SMALL_BYTES {
                small.extend_from_slice(&frame.payload);
                return Ok(());
            }
            writer.write_all(&small)?;
            small.clear();
            writer.write_all(&frame.payload)
        });
        written
            .and_then(|()| writer.write_all(&small))
            .and_then(|()| flush(&self.tcp, &mut self.tls))
            .map_err(|e| self.explain(e))
    }

    fn recv(&mut self, within: Duration) -> Result<Option<Frame>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(frame) = self.assembled()? {
                return Ok(Some(frame));
            }
            let has_more = pump(&self.tcp, &mut self.tls).map_err(|e| self.explain(e))?;
            if !has_more && within.is_zero() {
                return Ok(None);
            }
            if !has_more && !ready(&self.tcp, &self.tls, deadline).map_err(|e| self.explain(e))? {
                return self.assembled();
            }
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }

    fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    fn channel(&self) -> &Channel {
        &self.channel
    }
}

/// Moves what can be moved both ways; true if something came in.
fn pump(tcp: &TcpStream, tls: &mut ClientConnection) -> io::Result<bool> {
    flush(tcp, tls)?;
    let mut tcp_in = tcp;
    match tls.read_tls(&mut tcp_in) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => {
            tls.process_new_packets().map_err(io::Error::other)?;
            flush(tcp, tls)?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
        Err(error) => Err(error),
    }
}

fn flush(tcp: &TcpStream, tls: &mut ClientConnection) -> io::Result<()> {
    let mut tcp_out = tcp;
    while tls.wants_write() {
        match tls.write_tls(&mut tcp_out) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until something can be moved; false when the time is over.
fn ready(tcp: &TcpStream, tls: &ClientConnection, deadline: Instant) -> io::Result<bool> {
    let mut flags = PollFlags::IN;
    flags.set(PollFlags::OUT, tls.wants_write());
    wait(tcp.as_fd(), flags, deadline)
}

/// Waits for `flags` on `fd`; false when the time is over.
pub(super) fn wait(fd: BorrowedFd<'_>, flags: PollFlags, deadline: Instant) -> io::Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(io::Error::other)?;
    match poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&left)) {
        Ok(0) => Ok(false),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
