//! Reads the requests of uwsgi connections: one packet, then a body of CONTENT_LENGTH bytes.

use crate::http::refusal::Refusal;
use crate::http::request::BlockError;
use crate::http::request_reader::{RequestReader, Step, begin_body};
use crate::http::settings::Limits;
use crate::protocol::uwsgi::{self, Head};

impl RequestReader {
    #[inline]
    pub(super) fn uwsgi_packet(&mut self, limits: &Limits) -> Step {
        let text = &self.request.text;
        let Some(head) = Head::parse(text) else {
            return Step::More;
        };
        if let Some(foreign) = uwsgi::looks_like(text) {
            return Step::Refused(Refusal::foreign_protocol(&foreign));
        }
        if head.modifier1 == 100 {
            return Step::Refused(Refusal::pong());
        }
        if head.modifier1 != 0 && head.modifier1 != 30 {
            return Step::Refused(Refusal::modifier(head.modifier1));
        }
        let end = uwsgi::HEADER + head.size;
        if text.len() < end {
            return Step::More;
        }
        if head.size > limits.buffer_size {
            let block = &text[uwsgi::HEADER..end];
            return Step::Refused(Refusal::block_too_large(block, limits.buffer_size));
        }
        if head.size == 0 {
            return Step::Refused(Refusal::bad_packet("the uwsgi packet has no variables"));
        }
        self.request.modifier1 = head.modifier1;
        self.request.modifier2 = head.modifier2;
        let names_application = limits.names_application;
        match self
            .request
            .read_block(uwsgi::HEADER, head.size, names_application)
        {
            Ok(()) => self.uwsgi_body(end, limits),
            Err(BlockError::Malformed(why)) => Step::Refused(Refusal::bad_packet(&format!(
                "the uwsgi packet is malformed: {why}"
            ))),
            Err(BlockError::TwoLengths) => Step::Refused(Refusal::bad_packet(
                "the uwsgi packet has two different values of CONTENT_LENGTH",
            )),
            Err(BlockError::Forbidden(name)) => Step::Refused(Refusal::forbidden_variable(name)),
        }
    }

    /// Begins the body. The body bytes that have already arrived begin at `start` of the received text.
    #[inline]
    fn uwsgi_body(&mut self, start: usize, limits: &Limits) -> Step {
        let length = match self.request.content_length() {
            None => 0,
            Some(value) => match uwsgi::content_length(value) {
                Ok(length) => length,
                Err(_) => {
                    return Step::Refused(Refusal::bad_packet("CONTENT_LENGTH is not a number"));
                }
            },
        };
        let rest = &self.request.text[start..];
        if length == 0 {
            self.surplus = !rest.is_empty();
            return Step::Complete;
        }
        match begin_body(length, rest, limits) {
            Ok((stage, taken)) => {
                self.surplus = rest.len() > taken;
                self.stage = stage;
                self.complete_if_body_is()
            }
            Err(refusal) => Step::Refused(refusal),
        }
    }
}
