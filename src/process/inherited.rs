//! Sockets on which systemd listens for us (socket activation): each belongs to the `bind` with its address.

use std::io;
use std::os::fd::OwnedFd;

use socket2::{Socket, Type};

use crate::config::Bind;
use crate::sys::inherited::descriptors;

/// Inherited sockets that no `bind` has taken yet.
#[derive(Debug, Default)]
pub(super) struct Inherited(Vec<Inheritance>);

#[derive(Debug)]
struct Inheritance {
    /// Name in the socket unit.
    name: String,
    /// Its address, or why it cannot be used.
    bind: Result<Bind, &'static str>,
    socket: Socket,
}

impl Inherited {
    /// Takes the inherited descriptors. To be called before a second thread starts.
    pub(super) fn take_all() -> Self {
        let inheritance = |(name, descriptor): (String, OwnedFd)| {
            let socket = Socket::from(descriptor);
            let bind = bind_of(&socket).unwrap_or(Err("is no socket"));
            Inheritance { name, bind, socket }
        };
        Self(descriptors().into_iter().map(inheritance).collect())
    }

    /// Takes the sockets that listen on `bind`.
    pub(super) fn take(&mut self, bind: &Bind) -> Vec<Socket> {
        let of_bind = |inheritance: &mut Inheritance| inheritance.bind.as_ref() == Ok(bind);
        let taken = self.0.extract_if(.., of_bind);
        taken.map(|inheritance| inheritance.socket).collect()
    }

    /// Reports descriptors that no listener uses; they are closed.
    pub(super) fn report_leftovers(self) {
        for Inheritance { name, bind, .. } in self.0 {
            match bind {
                Ok(address) => tracing::warn!(
                    name,
                    %address,
                    "systemd handed over a socket that no listener has in its bind; it is closed"
                ),
                Err(why) => tracing::warn!(
                    name,
                    why,
                    "systemd handed over a descriptor that longsplice cannot listen on; it is closed"
                ),
            }
        }
    }
}

fn bind_of(socket: &Socket) -> io::Result<Result<Bind, &'static str>> {
    let address = socket.local_addr()?;
    if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
        return Ok(Err("is no stream socket that listens"));
    }
    let inet = address.as_socket().map(Bind::Inet);
    let unix = || {
        address
            .as_pathname()
            .map(|path| Bind::Unix(path.to_owned()))
    };
    Ok(inet
        .or_else(unix)
        .ok_or("has neither an IP address nor a path"))
}
