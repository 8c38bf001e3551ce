//! The end of a wait in the I/O thread: a response has ended, or the client's time is over.

use super::{Control, IoThread};
use crate::http::loss::Loss;
use crate::http::pending::{Outgoing, Pending, Then};
use crate::http::record::{Record, delivered};
use crate::http::refusal::Refusal;
use crate::http::request_reader::Step;
use crate::http::waiting::Expired;
use crate::sys::stream;

impl<C: Control> IoThread<C> {
    /// Counts and logs a request whose response has ended. Then keeps, drains or closes its connection.
    pub(super) fn conclude_writing(&mut self, outgoing: Outgoing, loss: Option<Loss>) {
        let Outgoing {
            connection, queue, ..
        } = outgoing;
        let scoreboard = &self.engine.scoreboard;
        scoreboard.end_slow_response(queue.sent() - outgoing.sent_before, loss);
        let micros = outgoing.record.micros();
        let Record {
            request, mut facts, ..
        } = outgoing.record;
        if let Some(loss) = loss {
            let delivered = delivered(&connection, queue.sent());
            facts.limit_to(delivered);
            self.engine.log_cut(&request, loss, delivered);
        }
        if let Some(log) = &mut self.log {
            facts.log((log, None), scoreboard, &request, (micros, loss));
        }
        match (outgoing.then, loss) {
            (_, Some(Loss::ClientGone)) => {}
            // a `Crowded` connection is closed, because holding it open would free no room
            (_, Some(Loss::Crowded)) | (Then::Cut, None) => {
                stream::reset_on_close(connection.raw_fd());
            }
            (_, Some(_)) => {
                if let Some(held) = Pending::cut(connection, outgoing.ends_by_close) {
                    self.add(held);
                }
            }
            (Then::Keep(reader), None) => self.keep(connection, *reader),
            (Then::Close, None) => self.add(Pending::lingering(connection)),
        }
    }

    /// Ends the wait for a client whose time is over. `how` says what the client has left undone.
    pub(super) fn expire(&mut self, pending: Pending, how: Expired) {
        match (pending, how) {
            (Pending::Writing(outgoing), _) => {
                self.conclude_writing(*outgoing, Some(Loss::Stalled));
            }
            (Pending::Reading(incoming), Expired::Head | Expired::Body) => {
                let timeouts = &self.engine.settings.timeouts;
                let refusal = match incoming.reader.body_progress() {
                    Some((received, length)) => Refusal::slow_body(received, length, timeouts.body),
                    None => Refusal::slow_head(timeouts.head),
                };
                self.conclude_reading(incoming, Step::Refused(refusal));
                self.engine.inbox.end_reading();
            }
            (pending, _) => self.forget(&pending),
        }
    }
}
