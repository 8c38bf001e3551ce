//! Opens the sinks of the log thread.

use std::io;
use std::os::fd::OwnedFd;

use crate::log::settings::{Engine, FileEngine, LogThreadSettings};
use crate::sys::log_file::Backup;
use crate::sys::stdio;

use super::datagram::DatagramSink;
use super::file::FileSink;
use super::journal::JournalSink;
use super::pipe::PipeSink;
use super::sink::Sink;
use super::stream::StreamSink;
use super::syslog::{Packets, SyslogSink};

/// Opens the sink of an engine. `original` is descriptor 2 as it was before the log thread started.
///
/// # Errors
/// The error of opening the file, socket, descriptor or command.
pub(in crate::log) fn open(
    engine: &Engine,
    settings: &LogThreadSettings,
    original: &OwnedFd,
) -> io::Result<Box<dyn Sink>> {
    Ok(match engine {
        Engine::Stdio => return default(settings, original),
        Engine::Descriptor(1 | 2) => Box::new(StreamSink::of_log(original.try_clone()?)),
        Engine::Descriptor(number) => {
            let name = format!("log descriptor {number}");
            Box::new(StreamSink::new(name, stdio::duplicate(*number)?))
        }
        Engine::File(file) => Box::new(file_sink(file, settings)?),
        Engine::Socket { address, prefix } => Box::new(DatagramSink::open(address, prefix)?),
        Engine::Syslog(syslog) => Box::new(SyslogSink::local(syslog.clone())?),
        Engine::Rsyslog { address, syslog } => {
            let packets = Packets {
                size: settings.packet_size,
                split: settings.split_messages,
            };
            Box::new(SyslogSink::remote(address, syslog.clone(), packets)?)
        }
        Engine::Pipe(command) => Box::new(PipeSink::open(command, original.try_clone()?)?),
        Engine::Journal => Box::new(JournalSink::open()?),
    })
}

/// Opens the default sink, for lines that no logger takes: the default file, or `original` if there is none.
///
/// # Errors
/// Those of open(2).
pub(in crate::log) fn default(
    settings: &LogThreadSettings,
    original: &OwnedFd,
) -> io::Result<Box<dyn Sink>> {
    Ok(match &settings.default_file {
        Some(file) => Box::new(file_sink(file, settings)?),
        None => Box::new(StreamSink::of_log(original.try_clone()?)),
    })
}

fn file_sink(file: &FileEngine, settings: &LogThreadSettings) -> io::Result<FileSink> {
    let backup = file.backup.clone().unwrap_or(Backup::Dated);
    let rotation = (file.max_size, backup);
    FileSink::open(file.path.clone(), rotation, settings.ownership.clone())
}
