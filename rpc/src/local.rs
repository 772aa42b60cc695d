//! Conversations within one machine: messages over a local socket, and the open files that they are about.
//!
//! ```text
//! u32 length, little-endian │ message, prost          descriptors ride with the first byte
//! ```
//! Both ends block: there are few of them, each on a thread of its own. The kernel says who is at the other end.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use baton_types::limits::{LOCAL_DESCRIPTORS_MAX, LOCAL_MESSAGE_BYTES_MAX};
use baton_types::{Error, Kind, Result};
use prost::Message;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

const HEAD_BYTES: usize = 4;

/// One end of a conversation.
#[derive(Debug)]
pub struct Line {
    stream: UnixStream,
}

/// Who is at the other end, by the kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The process that connected.
    pub pid: u32,
    /// As whom.
    pub uid: u32,
    /// In which group first of all.
    pub gid: u32,
}

impl Line {
    /// By way of `stream`.
    pub fn new(stream: UnixStream) -> Line {
        Line { stream }
    }

    /// To the daemon that listens at `socket`.
    ///
    /// # Errors
    /// `Unreachable` when nobody listens there; `Denied`.
    pub fn connect(socket: &Path) -> Result<Line> {
        let on = || socket.display().to_string();
        UnixStream::connect(socket).map(Line::new).map_err(|e| match e.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                Error::new(Kind::Unreachable, on()).because("no daemon listens there")
            }
            _ => Error::io(on(), e),
        })
    }

    /// Bounds the wait for the rest of a message whose start has come, and for room to send; not for an answer.
    ///
    /// # Errors
    /// What the system says.
    pub fn bound(&self, wait: Duration) -> Result<()> {
        self.stream.set_write_timeout(Some(wait)).map_err(failed)
    }

    /// Who is at the other end.
    ///
    /// # Errors
    /// What the system says.
    pub fn peer(&self) -> Result<Peer> {
        let peer = socket_peercred(&self.stream).map_err(|e| failed(e.into()))?;
        Ok(Peer {
            pid: peer.pid.as_raw_nonzero().get().unsigned_abs(),
            uid: peer.uid.as_raw(),
            gid: peer.gid.as_raw(),
        })
    }

    /// Sends `message` and what it is about.
    ///
    /// # Errors
    /// `Limit` for a message or a number of descriptors over the limit; what the system says.
    pub fn send(&mut self, message: &impl Message, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        let len = message.encoded_len();
        if len > LOCAL_MESSAGE_BYTES_MAX || descriptors.len() > LOCAL_DESCRIPTORS_MAX {
            return Err(limit(len));
        }
        let mut bytes = Vec::with_capacity(HEAD_BYTES + len);
        bytes.extend((len as u32).to_le_bytes());
        bytes.extend(message.encode_to_vec());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LOCAL_DESCRIPTORS_MAX))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(limit(len));
        }
        let sent = rustix::io::retry_on_intr(|| {
            sendmsg(&self.stream, &[IoSlice::new(&bytes)], &mut beside, SendFlags::NOSIGNAL)
        })
        .map_err(|e| failed(e.into()))?;
        self.stream.write_all(&bytes[sent..]).map_err(failed)
    }

    /// The next message, and what it is about; `None` when the other end is gone.
    ///
    /// # Errors
    /// `Limit` or `Invalid` for what is no message; what the system says.
    pub fn receive<M: Message + Default>(&mut self) -> Result<Option<(M, Vec<OwnedFd>)>> {
        let mut head = [0; HEAD_BYTES];
        let (read, descriptors) = self.receive_some(&mut head)?;
        if read == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut head[read..]).map_err(failed)?;
        let len = u32::from_le_bytes(head) as usize;
        if len > LOCAL_MESSAGE_BYTES_MAX {
            return Err(limit(len));
        }
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).map_err(failed)?;
        let message =
            M::decode(bytes.as_slice()).map_err(|e| Error::new(Kind::Invalid, WHAT).because(e.to_string()))?;
        Ok(Some((message, descriptors)))
    }

    fn receive_some(&self, head: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LOCAL_DESCRIPTORS_MAX))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received =
            rustix::io::retry_on_intr(|| recvmsg(&self.stream, &mut [IoSliceMut::new(head)], &mut beside, flags))
                .map_err(|e| failed(e.into()))?;
        let mut descriptors = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        Ok((received.bytes, descriptors))
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

const WHAT: &str = "local socket";

fn failed(error: std::io::Error) -> Error {
    Error::io(WHAT, error)
}

fn limit(len: usize) -> Error {
    Error::new(Kind::Limit, WHAT).because(format!(
        "a message of {len} bytes; {LOCAL_MESSAGE_BYTES_MAX} at most, and {LOCAL_DESCRIPTORS_MAX} descriptors"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_proto::v1;

    fn pair() -> (Line, Line) {
        let (one, other) = UnixStream::pair().unwrap();
        (Line::new(one), Line::new(other))
    }

    fn question(name: &[u8]) -> v1::ClientLsMount {
        v1::ClientLsMount { name: name.to_vec() }
    }

    #[test]
    fn descriptors_arrive_with_their_message() {
        let (mut one, mut other) = pair();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"the file itself").unwrap();
        one.send(&question(b"a"), &[]).unwrap();
        one.send(&question(b"b"), &[file.as_fd()]).unwrap();
        let (first, none) = other.receive::<v1::ClientLsMount>().unwrap().unwrap();
        assert_eq!((first.name.as_slice(), none.len()), (&b"a"[..], 0));
        let (second, mut descriptors) = other.receive::<v1::ClientLsMount>().unwrap().unwrap();
        assert_eq!(second.name, b"b");
        let copy = std::fs::File::from(descriptors.pop().unwrap());
        assert_eq!(copy.metadata().unwrap().len(), 15);
        drop(one);
        assert!(other.receive::<v1::ClientLsMount>().unwrap().is_none());
    }

    #[test]
    fn the_kernel_says_who_asks() {
        let (one, _other) = pair();
        let peer = one.peer().unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert_eq!(peer.uid, rustix::process::getuid().as_raw());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let (mut one, mut other) = pair();
        assert_eq!(
            one.send(&question(&vec![0; LOCAL_MESSAGE_BYTES_MAX + 1]), &[])
                .unwrap_err()
                .kind,
            Kind::Limit
        );
        one.stream.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert_eq!(other.receive::<v1::ClientLsMount>().unwrap_err().kind, Kind::Limit);
        let (mut one, mut other) = pair();
        one.stream.write_all(&[3, 0, 0, 0, 0xff, 0xff, 0xff]).unwrap();
        assert_eq!(other.receive::<v1::ClientLsMount>().unwrap_err().kind, Kind::Invalid);
    }

    #[test]
    fn nobody_listening_is_unreachable() {
        let directory = tempfile::tempdir().unwrap();
        let error = Line::connect(&directory.path().join("none.sock")).unwrap_err();
        assert_eq!(error.kind, Kind::Unreachable);
    }
}
