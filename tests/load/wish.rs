//! What a request asks for, written in its target: `/BODY/FATE/SIZE/ID`.

use crate::harness::random::Random;

/// How the server ends an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Whole, and the connection stays.
    Calm,
    /// Whole, and the connection is closed behind it without a word before.
    Close,
    /// Whole, and the connection is closed a moment later.
    Linger,
    /// Closed in the middle of the body.
    CutBody,
    /// Reset in the middle of the body.
    ResetBody,
    /// Closed in the middle of the head.
    CutHead,
    /// Closed without a byte.
    Mute,
}

const FATES: [(&str, Fate); 7] = [
    ("calm", Fate::Calm),
    ("close", Fate::Close),
    ("linger", Fate::Linger),
    ("cut-body", Fate::CutBody),
    ("reset-body", Fate::ResetBody),
    ("cut-head", Fate::CutHead),
    ("mute", Fate::Mute),
];

impl Fate {
    /// Whether the answer is whole.
    pub(crate) fn is_whole(self) -> bool {
        matches!(self, Self::Calm | Self::Close | Self::Linger)
    }
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Whether the body is the id as text, over and over, which wrk's script can check too.
    pub(crate) text: bool,
    /// How it ends.
    pub(crate) fate: Fate,
    /// Bytes of the answer's body.
    pub(crate) size: usize,
    /// Which request this is; no two have the same.
    pub(crate) id: u64,
}

impl Wish {
    /// Chooses at random; `id` is also what the body is made of.
    pub(crate) fn choose(random: &mut Random, id: u64) -> Self {
        let fate = match random.between(0, 99) {
            0..70 => Fate::Calm,
            70..78 => Fate::Close,
            78..86 => Fate::Linger,
            86..90 => Fate::CutBody,
            90..93 => Fate::ResetBody,
            93..96 => Fate::CutHead,
            _ => Fate::Mute,
        };
        // A cut needs a body to cut.
        let least = if fate.is_whole() { 0 } else { 100 };
        let most = [least, 1000, 20_000, 200_000][random.between(0, 3)];
        Self {
            text: false,
            fate,
            size: random.between(least, most),
            id,
        }
    }

    /// Reads a target.
    pub(crate) fn parse(target: &str) -> Option<Self> {
        let mut parts = target.strip_prefix('/')?.split('/');
        let text = parts.next()? == "text";
        let fate = parts.next()?;
        let (_, fate) = FATES.into_iter().find(|(name, _)| *name == fate)?;
        Some(Self {
            text,
            fate,
            size: parts.next()?.parse().ok()?,
            id: parts.next()?.parse().ok()?,
        })
    }

    /// Writes the target.
    pub(crate) fn target(&self) -> String {
        let (name, _) = FATES
            .into_iter()
            .find(|(_, fate)| *fate == self.fate)
            .unwrap();
        let body = if self.text { "text" } else { "bytes" };
        format!("/{body}/{name}/{}/{}", self.size, self.id)
    }

    /// The body of the answer, another one for each request.
    pub(crate) fn body(&self) -> Vec<u8> {
        if self.text {
            let unit = format!("{:016}", self.id);
            return unit.repeat(self.size / 16).into_bytes();
        }
        Random::new(self.id).bytes(self.size)
    }
}

/// FNV-1a: what bodies are checked by when they are not at hand.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
