//! Static files: from the path of a request to an open file and the response's plan. No Python, and no sockets.
//!
//! ```text
//! path ─▶ sources ─▶ root (openat2) ─▶ variants ─▶ Served ─▶ conditional ─▶ Plan
//! ```
//!
//! * [`files::StaticFiles`] finds the file of a request. [`sources`] decides which of the configured directories can
//!   have it, [`root`] opens it, and [`variants`] looks for a compressed variant.
//! * [`conditional::plan`] decides by the conditions of the request what is sent: the file, ranges of it, or nothing.
//!
//! The parsers of headers are pure functions: [`accept_encoding`], [`entity_tag`], [`range`]. A file is opened before it
//! is examined, and the descriptor that was examined is the one that is sent.

pub mod accept_encoding;
pub mod conditional;
pub mod entity_tag;
pub mod expiry;
pub mod files;
pub mod hashed_name;
pub mod media_type;
pub mod multipart;
mod notice;
pub mod range;
pub mod redirect;
pub mod relative;
pub mod root;
pub mod settings;
pub mod sources;
pub mod time;
pub mod variants;
