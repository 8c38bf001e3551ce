//! Chunked bodies (RFC 9112 7.1): a strict decoder for requests, and the framing of a response's blocks.
//!
//! The decoder reads the framing byte by byte and stores no part of it. The result therefore does not depend on how the
//! input is split, and extensions and trailers use no memory.

use super::refusal::Refusal;
use super::text;

/// The end of a chunked response: the last chunk, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The bytes after the data of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The maximum number of digits in the size of a chunk, including leading zeros.
const MAX_SIZE_DIGITS: u8 = 16;

/// The maximum number of bytes of extensions in a body. No client needs them.
const MAX_EXTENSIONS: usize = 8 * 1024;

/// The maximum number of bytes of trailers.
const MAX_TRAILERS: usize = 8 * 1024;

/// Fields that must not be in a trailer: they describe the framing or the target of a message (RFC 9110, 6.5.1). A
/// proxy that merges trailers into the head would see another message.
const FORBIDDEN_TRAILERS: [&[u8]; 3] = [b"transfer-encoding", b"content-length", b"host"];

/// Length of the longest of [`FORBIDDEN_TRAILERS`].
const LONGEST_FORBIDDEN: usize = 17;

/// The maximum size of a chunk in bytes. It is the largest offset in a file, so the sum of two sizes does not overflow.
const MAX_SIZE: u64 = i64::MAX as u64;

/// Appends the head of a chunk of `len` bytes. The data and [`CHUNK_END`] must follow.
///
/// Appends nothing for `len` 0, since an empty chunk ends the body.
pub fn chunk_head(len: usize, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    if len == 0 {
        return;
    }
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    out.extend(
        (0..digits)
            .rev()
            .map(|digit| HEX[(len >> (4 * digit)) & 0xf]),
    );
    out.extend_from_slice(b"\r\n");
}

/// The piece that [`ChunkDecoder::next`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes of the body; never empty.
    Data(&'a [u8]),
    /// All input has been consumed and the body is not complete.
    More,
    /// The body is complete. The rest of the input belongs to the next request.
    Done,
}

/// The result of [`ChunkDecoder::decode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Number of input bytes that were consumed: all of them, unless the body ends earlier.
    pub consumed: usize,
    /// Whether the body is complete.
    pub done: bool,
}

/// Decodes a chunked request body.
///
/// After a refusal every further call returns the same refusal, since the end of the body is unknown.
#[derive(Debug, Clone)]
pub struct ChunkDecoder {
    state: State,
    /// The chunk size that is being read, and after it the number of data bytes that the chunk still has.
    left: u64,
    digits: u8,
    extensions: usize,
    trailers: usize,
    /// The first bytes of the name of the trailer field that is being read, in lower case.
    name: [u8; LONGEST_FORBIDDEN],
    /// Length of this name. The name may be longer than the field `name`.
    name_len: usize,
}

/// The position in the grammar before the next byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    /// After white space that follows the size or an extension. Only another extension may follow.
    Space,
    /// After `;`.
    NameStart,
    Name,
    /// After white space that follows the name of an extension.
    NameSpace,
    /// After `=`.
    ValueStart,
    Value,
    Quoted,
    QuotedPair,
    /// After the closing quote.
    QuotedEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    FinalLf,
    Done,
    Refused(Refusal),
}

const BAD_SIZE: Refusal = Refusal::bad("bad chunk size");
const BAD_EXTENSION: Refusal = Refusal::bad("bad chunk extension");
const BAD_END: Refusal = Refusal::bad("chunk data not followed by CRLF");
const BAD_TRAILER: Refusal = Refusal::bad("bad trailer");
const FORBIDDEN_TRAILER: Refusal = Refusal::bad("forbidden trailer field");
const EXTENSIONS_TOO_LARGE: Refusal = Refusal::bad("chunk extensions too large");
const TRAILERS_TOO_LARGE: Refusal = Refusal {
    status: 431,
    reason: "trailers too large",
};

impl Default for ChunkDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkDecoder {
    /// A decoder for a new body.
    pub fn new() -> ChunkDecoder {
        ChunkDecoder {
            state: State::Size,
            left: 0,
            digits: 0,
            extensions: 0,
            trailers: 0,
            name: [0; LONGEST_FORBIDDEN],
            name_len: 0,
        }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads up to the end of the next piece of data. Returns the number of consumed bytes of `input` (framing and
    /// data), and the piece.
    ///
    /// Call it again with the rest of the input until it returns [`Piece::More`] or [`Piece::Done`].
    ///
    /// # Errors
    /// The framing is malformed or exceeds a limit.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Piece<'a>), Refusal> {
        let mut used = 0;
        let mut rest = input;
        loop {
            match self.state {
                State::Done => return Ok((used, Piece::Done)),
                State::Refused(refusal) => return Err(refusal),
                State::Data if !rest.is_empty() => {
                    let take = usize::try_from(self.left)
                        .unwrap_or(usize::MAX)
                        .min(rest.len());
                    self.left = self.left.saturating_sub(take as u64);
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok((
                        used + take,
                        Piece::Data(rest.get(..take).unwrap_or_default()),
                    ));
                }
                _ => {}
            }
            let Some((&byte, after)) = rest.split_first() else {
                return Ok((used, Piece::More));
            };
            self.state = match self.step(byte) {
                Ok(state) => state,
                Err(refusal) => State::Refused(refusal),
            };
            used += 1;
            rest = after;
        }
    }

    /// Reads the part of `input` that belongs to the body. Passes the data to `sink`, in pieces and in order.
    ///
    /// # Errors
    /// The framing is malformed or exceeds a limit. Data before the malformed byte may have been passed to the sink.
    pub fn decode(
        &mut self,
        input: &[u8],
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Progress, Refusal> {
        let mut consumed = 0;
        loop {
            let (used, piece) = self.next(input.get(consumed..).unwrap_or_default())?;
            consumed += used;
            match piece {
                Piece::Data(data) => sink(data),
                Piece::More => {
                    return Ok(Progress {
                        consumed,
                        done: false,
                    });
                }
                Piece::Done => {
                    return Ok(Progress {
                        consumed,
                        done: true,
                    });
                }
            }
        }
    }

    /// The state that follows a byte of framing.
    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match self.state {
            State::Size => self.size(byte),
            State::SizeLf => self.size_line_end(byte),
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => {
                (self.left, self.digits) = (0, 0);
                Ok(State::Size)
            }
            State::DataCr | State::DataLf => Err(BAD_END),
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::FinalLf => self.trailer(byte),
            // `next` handles these states before it reads a byte
            State::Data | State::Done | State::Refused(_) => Ok(self.state),
            _ => self.extension(byte),
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, Refusal> {
        if let Some(digit) = text::hex_digit(byte) {
            let size = self
                .left
                .checked_mul(16)
                .and_then(|size| size.checked_add(u64::from(digit)));
            self.left = size.filter(|&size| size <= MAX_SIZE).ok_or(BAD_SIZE)?;
            self.digits += 1;
            return if self.digits <= MAX_SIZE_DIGITS {
                Ok(State::Size)
            } else {
                Err(BAD_SIZE)
            };
        }
        match byte {
            _ if self.digits == 0 => Err(BAD_SIZE),
            b'\r' => Ok(State::SizeLf),
            b';' | b' ' | b'\t' => self.extension(byte),
            _ => Err(BAD_SIZE),
        }
    }

    fn size_line_end(&mut self, byte: u8) -> Result<State, Refusal> {
        match byte {
            b'\n' if self.left == 0 => Ok(State::TrailerStart),
            b'\n' => Ok(State::Data),
            _ => Err(BAD_SIZE),
        }
    }

    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`
    fn extension(&mut self, byte: u8) -> Result<State, Refusal> {
        use State::{
            Name, NameSpace, NameStart, Quoted, QuotedEnd, QuotedPair, Size, SizeLf, Space, Value,
            ValueStart,
        };
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS {
            return Err(EXTENSIONS_TOO_LARGE);
        }
        Ok(match (self.state, byte) {
            (Quoted, b'"') => QuotedEnd,
            (Quoted, b'\\') => QuotedPair,
            (Quoted | QuotedPair, _) if !text::is_control(byte) => Quoted,
            (NameStart | Name, _) if text::is_token_byte(byte) => Name,
            (ValueStart | Value, _) if text::is_token_byte(byte) => Value,
            (ValueStart, b'"') => Quoted,
            (NameStart | ValueStart, b' ' | b'\t') => self.state,
            (Name | NameSpace, b'=') => ValueStart,
            (Name | NameSpace, b' ' | b'\t') => NameSpace,
            (Size | Space | Value | QuotedEnd, b' ' | b'\t') => Space,
            (Size | Space | Name | NameSpace | Value | QuotedEnd, b';') => NameStart,
            (Name | Value | QuotedEnd, b'\r') => SizeLf,
            _ => return Err(BAD_EXTENSION),
        })
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Refusal> {
        self.trailers += 1;
        if self.trailers > MAX_TRAILERS {
            return Err(TRAILERS_TOO_LARGE);
        }
        Ok(match (self.state, byte) {
            (State::TrailerStart, b'\r') => State::FinalLf,
            (State::FinalLf, b'\n') => State::Done,
            (State::TrailerStart | State::TrailerName, _) if text::is_token_byte(byte) => {
                if let Some(place) = self.name.get_mut(self.name_len) {
                    *place = byte.to_ascii_lowercase();
                }
                self.name_len += 1;
                State::TrailerName
            }
            (State::TrailerName, b':') => {
                let len = std::mem::take(&mut self.name_len);
                let name = self.name.get(..len).unwrap_or_default();
                if FORBIDDEN_TRAILERS.contains(&name) {
                    return Err(FORBIDDEN_TRAILER);
                }
                State::TrailerValue
            }
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, _) if !text::is_control(byte) => State::TrailerValue,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            _ => return Err(BAD_TRAILER),
        })
    }
}

#[cfg(test)]
mod tests;
