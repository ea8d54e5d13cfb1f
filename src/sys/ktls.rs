//! Kernel TLS on a connected TCP socket (Documentation/networking/tls.rst of the kernel): attaching it,
//! setting keys for one direction at a time, and records that are not data.
//!
//! The meaning of keys and records is not known here.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd};

use ktls::CryptoInfo;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, TlsGetRecordType, getsockopt, recvmsg, setsockopt, sockopt,
};

use crate::proto::readiness::Readiness;

/// Space for the type of a record in the layout of cmsg(3).
const CMSG_SPACE_BYTES: usize = {
    // SAFETY: the macro computes from its argument alone.
    let space = unsafe { libc::CMSG_SPACE(1) };
    space as usize
};

/// A direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Sent data is sealed.
    Tx,
    /// Received data is opened.
    Rx,
}

impl Direction {
    fn option(self) -> libc::c_int {
        match self {
            Self::Tx => libc::TLS_TX,
            Self::Rx => libc::TLS_RX,
        }
    }
}

/// A record that is not data, opened by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlRecord {
    /// Its content type (RFC 8446 section 5.1).
    pub kind: u8,
    /// Bytes of its payload at the front of the buffer.
    pub len: usize,
}

/// Attaches TLS to a connected socket; without keys nothing changes yet. A second call is not an error.
///
/// # Errors
///
/// ENOENT when the kernel has no TLS, ENOTCONN when one side has ended already.
pub fn attach(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    match setsockopt(&fd, sockopt::TcpUlp::default(), b"tls") {
        Err(Errno::EEXIST) => Ok(()),
        result => result,
    }
}

/// Sets the kernel's keys of a direction, for the first time or as a replacement.
///
/// # Errors
///
/// ENOENT when the cipher is missing, EBUSY when there are keys and this kernel does not replace them.
pub fn set_keys(fd: BorrowedFd<'_>, direction: Direction, keys: &CryptoInfo) -> Result<(), Errno> {
    let name = direction.option();
    let size = libc::socklen_t::try_from(keys.size()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `as_ptr` and `size` describe one live structure behind the reference, of plain bytes
    // (linux/tls.h), which the kernel copies before the call returns.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_TLS, name, keys.as_ptr(), size) };
    Errno::result(result).map(drop)
}

/// Returns the sequence number of the next record the kernel will seal or open.
///
/// # Errors
///
/// The error of getsockopt(2); EBUSY or EINVAL when the kernel has no keys for that direction.
pub fn next_record(fd: BorrowedFd<'_>, direction: Direction) -> Result<u64, Errno> {
    let mut info = [0_u8; KEYS_LEN_MAX];
    let mut len = libc::socklen_t::try_from(size_of::<libc::tls_crypto_info>()).unwrap_or(0);
    // With room for the head only, the kernel returns version and cipher, and so the size.
    get_keys(fd, direction, &mut info, &mut len)?;
    let cipher = u16::from_ne_bytes([info[2], info[3]]);
    let size = match cipher {
        libc::TLS_CIPHER_AES_GCM_128 => size_of::<libc::tls12_crypto_info_aes_gcm_128>(),
        libc::TLS_CIPHER_AES_GCM_256 => size_of::<libc::tls12_crypto_info_aes_gcm_256>(),
        libc::TLS_CIPHER_CHACHA20_POLY1305 => {
            size_of::<libc::tls12_crypto_info_chacha20_poly1305>()
        }
        _ => return Err(Errno::EINVAL),
    };
    len = libc::socklen_t::try_from(size).map_err(|_| Errno::EINVAL)?;
    get_keys(fd, direction, &mut info, &mut len)?;
    // The sequence number is the last field of each of the three.
    let number = info.get(..size).and_then(<[u8]>::last_chunk::<8>);
    let number = number.map(|bytes| u64::from_be_bytes(*bytes));
    info.fill(0);
    std::hint::black_box(&mut info);
    number.ok_or(Errno::EINVAL)
}

/// The largest structure of keys.
const KEYS_LEN_MAX: usize = size_of::<libc::tls12_crypto_info_aes_gcm_256>();

fn get_keys(
    fd: BorrowedFd<'_>,
    direction: Direction,
    info: &mut [u8; KEYS_LEN_MAX],
    len: &mut libc::socklen_t,
) -> Result<(), Errno> {
    assert!(
        *len as usize <= KEYS_LEN_MAX,
        "no more than there is room for"
    );
    // SAFETY: `info` has room for `len` bytes, as was just checked, both references are live during
    // the call, and any bytes are a valid value of either.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_TLS,
            direction.option(),
            info.as_mut_ptr().cast(),
            len,
        )
    };
    Errno::result(result).map(drop)
}

/// Sends one record of a type that is not data.
///
/// # Errors
///
/// The error of sendmsg(2); EAGAIN when it does not fit now.
pub fn send_control(fd: BorrowedFd<'_>, kind: u8, payload: &[u8]) -> Result<(), Errno> {
    let mut space = CmsgSpace([0; CMSG_SPACE_BYTES]);
    let mut piece = libc::iovec {
        iov_base: payload.as_ptr().cast_mut().cast(),
        iov_len: payload.len(),
    };
    // SAFETY: msghdr is plain data for which zeroes are valid (no name, no control data).
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = space.0.as_mut_ptr().cast();
    message.msg_controllen = CMSG_SPACE_BYTES as _;
    // SAFETY: `msg_control` points to CMSG_SPACE(1) live bytes, aligned as a cmsghdr by CmsgSpace.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: the macro computes from its argument alone.
    let len = unsafe { libc::CMSG_LEN(1) };
    // SAFETY: cmsghdr is plain data for which zeroes are valid.
    let mut filled: libc::cmsghdr = unsafe { std::mem::zeroed() };
    filled.cmsg_level = libc::SOL_TLS;
    filled.cmsg_type = libc::TLS_SET_RECORD_TYPE;
    filled.cmsg_len = len as _;
    // SAFETY: `header` is not null, because `space` holds more than a cmsghdr, it is aligned for one,
    // and nothing else refers to `space` here.
    unsafe { header.write(filled) };
    // SAFETY: `header` was just written and has room for one byte of data behind it.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: `data` points at that one byte, inside of `space`.
    unsafe { data.write(kind) };
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    loop {
        // SAFETY: every pointer of `message` is to a live value of this frame or to `payload`, which
        // sendmsg(2) only reads.
        let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags) };
        match Errno::result(sent) {
            Err(Errno::EINTR) => {}
            Ok(sent) if sent.unsigned_abs() == payload.len() => return Ok(()),
            // A record of two bytes is sent whole or not at all.
            Ok(_) => return Err(Errno::EIO),
            Err(errno) => return Err(errno),
        }
    }
}

/// Bytes for control data, aligned for a cmsghdr.
#[repr(C, align(8))]
struct CmsgSpace([u8; CMSG_SPACE_BYTES]);

const _: () = assert!(align_of::<CmsgSpace>() >= align_of::<libc::cmsghdr>());

/// Receives the next record if it is not data: the one at which recv(2) gave EIO and splice(2) EINVAL.
///
/// # Errors
///
/// EAGAIN if no record is complete; EPROTO if the next one is data after all; the error of recvmsg(2) for a
/// record that cannot be opened.
pub fn receive_control(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<ControlRecord, Errno> {
    let mut space = CmsgSpace([0; CMSG_SPACE_BYTES]);
    loop {
        let mut pieces = [IoSliceMut::new(&mut *buffer)];
        let received = recvmsg::<()>(
            fd.as_raw_fd(),
            &mut pieces,
            Some(&mut space.0[..]),
            MsgFlags::MSG_DONTWAIT,
        );
        let message = match received {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        let kind = message.cmsgs()?.find_map(|cmsg| {
            if let ControlMessageOwned::TlsGetRecordType(kind) = cmsg {
                Some(kind)
            } else {
                None
            }
        });
        let kind = match kind {
            Some(TlsGetRecordType::ChangeCipherSpec) => 20,
            Some(TlsGetRecordType::Alert) => 21,
            Some(TlsGetRecordType::Handshake) => 22,
            Some(TlsGetRecordType::Unknown(kind)) => kind,
            Some(TlsGetRecordType::ApplicationData | _) | None => return Err(Errno::EPROTO),
        };
        let len = message.bytes;
        return Ok(ControlRecord { kind, len });
    }
}

/// Clears the pending error of a socket, which would make the next send fail, and returns it.
pub fn take_error(fd: BorrowedFd<'_>) -> Option<Errno> {
    let error = getsockopt(&fd, sockopt::SocketError).ok()?;
    (error != 0).then(|| Errno::from_raw(error))
}

/// Returns whether the socket has room for a record and more: then records the kernel has sealed and not yet
/// queued go out with the next one. Arms the edge that reports room later.
#[must_use]
pub fn has_room(fd: BorrowedFd<'_>) -> bool {
    super::poll::now(fd).has(Readiness::WRITABLE)
}
