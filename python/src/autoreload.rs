//! `py-autoreload`: sends the files of the loaded modules to the master, which watches these files.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use ruwsgi::ipc::{AppSpec, Watching};

use crate::worker::Worker;

/// Maximum number of files per message. Such a message is far below the maximum size of a packet.
const FILES_PER_MESSAGE: usize = 64;

/// Returns the files that are not in `known`, split into messages, and adds them to `known`. The files are those of the
/// loaded modules, except ignored modules, and the configured Python files.
pub fn files(py: Python<'_>, spec: &AppSpec, known: &mut HashSet<String>) -> Vec<Vec<String>> {
    let Some(watching) = &spec.watching else {
        return Vec::new();
    };
    let mut found = loaded(py, watching).unwrap_or_default();
    let programs = spec.wsgi_file.iter().chain(&spec.imports);
    found.extend(programs.filter(|name| name.ends_with(".py")).cloned());
    let absolute = found.into_iter().filter_map(|name| {
        let path = std::path::absolute(name).ok()?;
        path.into_os_string().into_string().ok()
    });
    let new: Vec<String> = absolute.filter(|path| known.insert(path.clone())).collect();
    new.chunks(FILES_PER_MESSAGE)
        .map(<[String]>::to_vec)
        .collect()
}

fn loaded(py: Python<'_>, watching: &Watching) -> PyResult<Vec<String>> {
    let modules = py.import("sys")?.getattr("modules")?;
    // the dictionary is copied, because another thread may import modules meanwhile
    let modules = modules.cast::<PyDict>()?.copy()?;
    let mut files = Vec::new();
    for (name, module) in &modules {
        let name: String = name.extract().unwrap_or_default();
        if watching.ignored.contains(&name) {
            continue;
        }
        let file = module.getattr("__file__").and_then(|it| it.extract());
        if let Ok(file) = file {
            files.push(file);
        }
    }
    Ok(files)
}

/// Starts a thread in the worker that sends the files of modules loaded later, at the interval of `py-autoreload`. Does
/// nothing without `py-autoreload`.
pub fn start(worker: &Arc<Worker>) {
    let Some(watching) = &worker.spec.watching else {
        return;
    };
    let pause = Duration::from_millis(watching.every_ms.max(100));
    let worker = worker.clone();
    let started = std::thread::Builder::new()
        .name("autoreload".into())
        .spawn(move || send_new_files(&worker, pause));
    if let Err(error) = started {
        tracing::warn!(
            "py-autoreload: the thread that reports modules loaded later cannot be started, so they are not watched: {error}"
        );
    }
}

fn send_new_files(worker: &Worker, pause: Duration) {
    let mut known = HashSet::new();
    while !worker.is_leaving() {
        for files in Python::attach(|py| files(py, &worker.spec, &mut known)) {
            worker.send(&ruwsgi::ipc::FromWorker::Files(files));
        }
        std::thread::sleep(pause);
    }
}
