//! Receives the messages of vassals, which are not trusted: a vassal's user may send anything over its channel.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::ipc::{FromVassal, HandedOverSocket};
use crate::sys::{deferred_close, packet};

/// The longest sentence that is kept, bytes.
const MAX_SENTENCE: usize = 2_000;
/// The longest traceback that is kept, bytes.
const MAX_TRACEBACK: usize = 16_000;
/// The longest address of a socket, bytes.
const MAX_ADDRESS: usize = 200;
/// The longest path of a socket's file, bytes (PATH_MAX).
const MAX_PATH: usize = 4_096;

/// The result of a read.
pub(in crate::emperor) enum Received {
    /// A message and its descriptors.
    Message(FromVassal, Vec<OwnedFd>),
    /// Nothing that is understood; a vassal of another version may send more.
    Nothing,
    /// The channel is closed or broken.
    Closed,
}

/// Receives one message and shortens its texts.
pub(in crate::emperor) fn receive(channel: BorrowedFd<'_>) -> Received {
    let (mut bytes, mut fds) = (Vec::new(), Vec::new());
    match packet::recv(channel, &mut bytes, &mut fds) {
        Ok(1..) => match serde_json::from_slice::<FromVassal>(&bytes) {
            Ok(mut message) => {
                shorten(&mut message);
                Received::Message(message, fds)
            }
            Err(_) => {
                deferred_close::close(fds);
                Received::Nothing
            }
        },
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Received::Nothing,
        Ok(0) | Err(_) => {
            deferred_close::close(fds);
            Received::Closed
        }
    }
}

/// Shortens the texts of a message that are kept and shown to users.
fn shorten(message: &mut FromVassal) {
    match message {
        FromVassal::Failed {
            reason, traceback, ..
        } => {
            truncate(reason, MAX_SENTENCE);
            truncate(traceback, MAX_TRACEBACK);
        }
        FromVassal::ReloadFailed(failure) => {
            truncate(&mut failure.sentence, MAX_SENTENCE);
            truncate(&mut failure.traceback, MAX_TRACEBACK);
        }
        FromVassal::Sockets { kept, .. } => {
            for HandedOverSocket { name, file } in kept {
                truncate(name, MAX_ADDRESS);
                file.take_if(|file| file.path.as_os_str().len() > MAX_PATH);
            }
        }
        _ => {}
    }
}

/// Cuts a text after at most `max` bytes, between two characters.
fn truncate(text: &mut String, max: usize) {
    if text.len() > max {
        let is_boundary = |at: &usize| text.is_char_boundary(*at);
        let end = (0..=max).rev().find(is_boundary).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_are_cut_between_characters() {
        let mut text = "é".repeat(MAX_SENTENCE);
        truncate(&mut text, 5);
        assert_eq!(text, "éé…");
        truncate(&mut text, 7);
        assert_eq!(text, "éé…");
    }
}
