//! Cuts frames out of a stream of octets by `command_length` (SMPP 3.4 3.2). Memory: at most one incomplete frame.

/// Smallest frame: a header alone.
pub const COMMAND_LENGTH_MIN: usize = 16;
/// Largest `command_length` that can be configured.
pub const COMMAND_LENGTH_LIMIT: usize = 64 * 1024;

/// `command_length` is outside the range: the stream cannot be cut any more, the link must close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("command_length {command_length} is outside 16..={max}")]
pub struct CommandLengthInvalid {
    pub command_length: u32,
    pub max: usize,
    /// `sequence_number` of the header, if it had arrived; 0 otherwise.
    pub sequence_number: u32,
}

/// Give it octets as they arrive; it hands out whole frames in order.
#[derive(Debug)]
pub struct Framer {
    /// Start of a frame whose end has not arrived; shorter than `command_length_max`.
    partial: Vec<u8>,
    command_length_max: usize,
}

impl Framer {
    /// `command_length_max` in octets is brought into 16..=65,536.
    #[must_use]
    pub fn new(command_length_max: usize) -> Self {
        Self {
            partial: Vec::new(),
            command_length_max: command_length_max.clamp(COMMAND_LENGTH_MIN, COMMAND_LENGTH_LIMIT),
        }
    }

    /// The next whole frame of `partial + input`, header included, and what is left of `input`. `Ok(None)`: all input
    /// is taken and the frame is not complete yet. Call again with the rest until `None`.
    ///
    /// # Errors
    /// [`CommandLengthInvalid`]: the rest of the stream has no meaning.
    pub fn next_frame<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Frame<'a>>, CommandLengthInvalid> {
        if self.partial.is_empty() {
            return self.frame_in_place(input);
        }
        self.take(input, 4);
        let Some(length) = self.command_length(&self.partial)? else { return Ok(None) };
        self.take(input, length);
        if self.partial.len() < length {
            return Ok(None);
        }
        Ok(Some(Frame::Joined(std::mem::take(&mut self.partial))))
    }

    /// Octets held back for an incomplete frame.
    #[must_use]
    pub fn buffered_octets(&self) -> usize {
        self.partial.len()
    }

    fn frame_in_place<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Frame<'a>>, CommandLengthInvalid> {
        let whole: &'a [u8] = input;
        if let Some(length) = self.command_length(whole)?
            && let Some((frame, rest)) = whole.split_at_checked(length)
        {
            *input = rest;
            return Ok(Some(Frame::InPlace(frame)));
        }
        self.partial.extend_from_slice(input);
        *input = &[];
        Ok(None)
    }

    /// Moves octets from `input` until `partial` has `total`.
    fn take(&mut self, input: &mut &[u8], total: usize) {
        let missing = total.saturating_sub(self.partial.len()).min(input.len());
        let (taken, rest) = input.split_at(missing);
        self.partial.extend_from_slice(taken);
        *input = rest;
    }

    fn command_length(&self, octets: &[u8]) -> Result<Option<usize>, CommandLengthInvalid> {
        let Some(head) = octets.first_chunk::<4>() else { return Ok(None) };
        let command_length = u32::from_be_bytes(*head);
        match usize::try_from(command_length) {
            Ok(length) if (COMMAND_LENGTH_MIN..=self.command_length_max).contains(&length) => Ok(Some(length)),
            _ => {
                let sequence_number =
                    octets.get(12..16).and_then(|octets| octets.try_into().ok()).map_or(0, u32::from_be_bytes);
                Err(CommandLengthInvalid { command_length, max: self.command_length_max, sequence_number })
            }
        }
    }
}

/// One whole frame, borrowed from the input where it arrived in one piece.
#[derive(Debug)]
pub enum Frame<'a> {
    InPlace(&'a [u8]),
    Joined(Vec<u8>),
}

impl std::ops::Deref for Frame<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::InPlace(octets) => octets,
            Self::Joined(octets) => octets,
        }
    }
}
