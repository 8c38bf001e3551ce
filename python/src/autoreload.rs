//! `py-autoreload`: tells the master which files the application consists of; it watches them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use ruwsgi::ipc::{AppSpec, Watching};

use crate::worker::Worker;

/// Files of one message: far less than a packet may hold.
const AT_ONCE: usize = 64;

/// The files of the modules that are loaded, those that are ignored left out, in messages of a good size.
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
    new.chunks(AT_ONCE).map(<[String]>::to_vec).collect()
}

fn loaded(py: Python<'_>, watching: &Watching) -> PyResult<Vec<String>> {
    let modules = py.import("sys")?.getattr("modules")?;
    // a copy: an import may be under way in another thread
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

/// In a worker: tells of modules that are loaded later, now and then.
pub fn start(worker: &Arc<Worker>) {
    let Some(watching) = &worker.spec.watching else {
        return;
    };
    let pause = Duration::from_millis(watching.every_ms.max(100));
    let worker = worker.clone();
    let started = std::thread::Builder::new()
        .name("autoreload".into())
        .spawn(move || tell(&worker, pause));
    if let Err(error) = started {
        tracing::warn!("py-autoreload: modules that are loaded later are not watched: {error}");
    }
}

fn tell(worker: &Worker, pause: Duration) {
    let mut known = HashSet::new();
    while !worker.is_leaving() {
        for files in Python::attach(|py| files(py, &worker.spec, &mut known)) {
            worker.send(&ruwsgi::ipc::FromWorker::Files(files));
        }
        std::thread::sleep(pause);
    }
}
