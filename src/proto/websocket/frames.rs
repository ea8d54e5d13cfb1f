//! Boundaries of a server's frames, so that a frame of ours can be sent between two of them.
//!
//! Only the header fields needed for that are read; the endpoints check everything else. After a frame that
//! no server may send, the boundaries are unknown for good.
//!
//! Source: RFC 6455 section 5.2, for what a header says, and sections 5.4 and 5.5, by which a control
//! frame may also stand between the fragments of a message.

/// A Close frame of a server that goes away: status 1001 (RFC 6455 sections 5.5.1 and 7.4.1).
pub const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xE9];

const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0F;
/// The longest payload whose length fits into the second byte, and that of a control frame.
const SHORT_LEN_MAX: u8 = 125;

/// The position in the frames of one server.
///
/// ```text
/// byte 0     FIN, 3 reserved bits, 4 bits of opcode      Payload(0) -> Length
/// byte 1     MASK, 7 bits of length                      Length -> Extended or Payload
/// 2 or 8     length, where those say 126 or 127          Extended -> Payload
/// payload                                                Payload
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frames {
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// This much of the payload is still to come; zero = a frame may begin.
    Payload(u64),
    /// The second byte is next.
    Length { is_control: bool },
    /// This many bytes of an extended length are still to come.
    Extended { left: u8, len: u64 },
    /// A Close frame has begun, after which nothing may be sent, or the boundaries are unknown.
    Over,
}

const _: () = assert!(
    size_of::<Frames>() == 16,
    "one for every tunnel that wants it"
);

impl Default for Frames {
    fn default() -> Self {
        Self {
            state: State::Payload(0),
        }
    }
}

impl Frames {
    /// Takes the next bytes of the server.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            self.state = match self.state {
                State::Payload(0) => of_first(*byte),
                State::Payload(left) => {
                    let taken =
                        usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    rest = rest.get(taken..).unwrap_or_default();
                    // `taken` is not more than `left`.
                    self.state = State::Payload(left.saturating_sub(taken as u64));
                    continue;
                }
                State::Length { is_control } => of_second(*byte, is_control),
                State::Extended { left, len } => of_length(*byte, left, len),
                State::Over => return,
            };
            rest = after;
        }
    }

    /// Notes `len` further bytes of the server that were not seen: they must belong to one payload, else the
    /// boundaries are unknown from here on.
    pub fn skip(&mut self, len: u64) {
        self.state = match self.state {
            state if len == 0 => state,
            State::Payload(left) => left.checked_sub(len).map_or(State::Over, State::Payload),
            State::Length { .. } | State::Extended { .. } | State::Over => State::Over,
        };
    }

    /// Returns how many of the next bytes may pass unseen.
    #[must_use]
    pub fn unseen_max(&self) -> u64 {
        match self.state {
            State::Payload(left) => left,
            State::Length { .. } | State::Extended { .. } => 0,
            State::Over => u64::MAX,
        }
    }

    /// Returns whether a control frame may come next.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.state == State::Payload(0)
    }
}

fn of_first(byte: u8) -> State {
    match byte & OPCODE {
        // Continuation, text, binary.
        0x0..=0x2 => State::Length { is_control: false },
        // Ping and pong come whole.
        0x9 | 0xA if byte & FIN != 0 => State::Length { is_control: true },
        // Close, reserved opcodes, and a fragment of a ping.
        _ => State::Over,
    }
}

fn of_second(byte: u8, is_control: bool) -> State {
    // Only the length: servers do not mask.
    match byte {
        0..=SHORT_LEN_MAX => State::Payload(u64::from(byte)),
        126 if !is_control => State::Extended { left: 2, len: 0 },
        127 if !is_control => State::Extended { left: 8, len: 0 },
        _ => State::Over,
    }
}

fn of_length(byte: u8, left: u8, len: u64) -> State {
    let len = len << 8 | u64::from(byte);
    match left {
        2.. => State::Extended {
            left: left - 1,
            len,
        },
        _ if len >> 63 == 1 => State::Over,
        _ => State::Payload(len),
    }
}

#[cfg(test)]
mod tests;
