//! Receives messages of vassals. The messages are not trusted, because a vassal's user may send anything over its
//! channel.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::ipc::{FromVassal, HandedOverSocket};
use crate::sys::{deferred_close, packet};

/// Maximum length of a sentence that the emperor keeps, bytes.
const MAX_SENTENCE: usize = 2_000;
/// Maximum length of a traceback that the emperor keeps, bytes.
const MAX_TRACEBACK: usize = 16_000;
/// Maximum length of the address of a socket, bytes.
const MAX_ADDRESS: usize = 200;
/// Maximum length of the path of a socket's file, bytes (PATH_MAX).
const MAX_PATH: usize = 4_096;

/// The result of a read from a vassal's channel.
pub(in crate::emperor) enum Received {
    /// A message, and the descriptors that it carries.
    Message(FromVassal, Vec<OwnedFd>),
    /// No known message; a vassal of another version may send messages that this version does not know.
    Nothing,
    /// The channel is closed or broken.
    Closed,
}

/// Receives one message, and shortens its texts to their maximum lengths.
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

/// Shortens the texts in a message. The emperor keeps these texts and shows them to users.
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

/// Cuts a text after at most `max` bytes at a character boundary, and appends `…` to a cut text.
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
