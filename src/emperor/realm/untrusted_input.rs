//! How far a vassal is trusted: its process is its user's, who may say whatever he likes over its channel.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::emperor::realm::Vassal;
use crate::ipc::{FromVassal, Kept};
use crate::sys::{deferred_close, packet, process};

/// The longest sentence that is kept and told, bytes.
const LONGEST_SENTENCE: usize = 2_000;
/// The longest traceback.
const LONGEST_TRACEBACK: usize = 16_000;
/// The longest address of a socket that is kept.
const LONGEST_NAME: usize = 200;

/// The longest path of its file, as in the kernel.
const LONGEST_PATH: usize = 4_096;

/// What came over a channel.
pub(super) enum Word {
    /// This, with the descriptors beside it.
    Said(FromVassal, Vec<OwnedFd>),
    /// Nothing that is understood: a program of another version may say more.
    Nothing,
    /// The other end is gone, or as good as gone.
    End,
}

/// Receives what a vassal says.
pub(super) fn receive(channel: BorrowedFd<'_>) -> Word {
    let (mut bytes, mut fds) = (Vec::new(), Vec::new());
    match packet::recv(channel, &mut bytes, &mut fds) {
        Ok(1..) => match serde_json::from_slice::<FromVassal>(&bytes) {
            Ok(mut message) => {
                shorten(&mut message);
                Word::Said(message, fds)
            }
            Err(_) => {
                deferred_close::close(fds);
                Word::Nothing
            }
        },
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Word::Nothing,
        Ok(0) | Err(_) => {
            deferred_close::close(fds);
            Word::End
        }
    }
}

/// Shortens what is kept and told to others.
fn shorten(message: &mut FromVassal) {
    match message {
        FromVassal::Failed {
            reason, traceback, ..
        } => {
            clip(reason, LONGEST_SENTENCE);
            clip(traceback, LONGEST_TRACEBACK);
        }
        FromVassal::ReloadFailed(failure) => {
            clip(&mut failure.sentence, LONGEST_SENTENCE);
            clip(&mut failure.traceback, LONGEST_TRACEBACK);
        }
        FromVassal::Sockets { kept, .. } => {
            for Kept { name, file } in kept {
                clip(name, LONGEST_NAME);
                file.take_if(|file| file.path.as_os_str().len() > LONGEST_PATH);
            }
        }
        _ => {}
    }
}

fn clip(text: &mut String, most: usize) {
    if text.len() > most {
        let is_end = |at: &usize| text.is_char_boundary(*at);
        let end = (0..=most).rev().find(is_end).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
}

impl Vassal {
    /// No ruwsgi does that: the process is killed, and what follows is as after any failure.
    pub(super) fn distrust(&mut self, what: &str) {
        self.hang_up();
        let Some(pid) = self.state.pid() else { return };
        self.last_words = Some(format!("killed, because it {what}").into());
        self.told = false;
        if let Err(error) = process::kill_hard(pid) {
            let name = &self.found.name;
            tracing::error!("vassal {name} (pid {pid}): cannot be killed: {error}");
        }
    }

    /// Hears it no more.
    pub(super) fn hang_up(&mut self) {
        // what it has sent and nobody has received goes with it
        deferred_close::close(self.channel.take().into_iter().collect());
        self.asked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_are_cut_between_letters() {
        let mut text = "é".repeat(LONGEST_SENTENCE);
        clip(&mut text, 5);
        assert_eq!(text, "éé…");
        clip(&mut text, 7);
        assert_eq!(text, "éé…");
    }
}
