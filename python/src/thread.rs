//! A serving thread: waits at the gate for a complete request, gives it to the application, settles the answer.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use pyo3::prelude::*;
use ruwsgi::log::request_log::{RequestLog, Served};
use ruwsgi::sys::clock::monotonic_micros;
use ruwsgi::sys::{process, stream};

use crate::exchange::Exchange;
use crate::gate::{Gate, Next};
use crate::intake::Connection;
use crate::load::Apps;
use crate::outlet::Flow;
use crate::parked::Parked;
use crate::worker::{Phase, Worker};
use crate::wsgi::{Outcome, Server};

/// Serves until the worker has retired. Enters the interpreter once for each request.
pub fn run(py: Python<'_>, worker: &Worker, apps: &Apps, core: u32, errors: &Py<PyAny>) {
    let mut server = match Server::new(py, worker, core, errors) {
        Ok(server) => server,
        Err(error) => {
            tracing::error!(
                "worker {} cannot set up thread {core}: {error}",
                worker.slot
            );
            worker.exit_asked.store(true, Relaxed);
            worker.bell.ring();
            return;
        }
    };
    let mut gate = Gate::new(worker, core);
    let mut log = RequestLog::new(&worker.spec.serving.request_lines, process::Pid::own());
    let mut settling = None;
    loop {
        let next = py.detach(|| {
            if let Some((connection, outcome)) = settling.take() {
                settle(
                    worker, core, &server, &mut gate, &mut log, connection, outcome,
                );
                mind_size(worker);
            }
            let next = gate.next();
            if let Next::Request(connection) = &next {
                server.open(worker, &gate.intake, connection);
            }
            next
        });
        match next {
            Next::Request(connection) => {
                let outcome = server.serve(py, worker, core, &mut gate.intake, apps);
                if outcome.exit {
                    worker.exit_asked.store(true, Relaxed);
                    worker.bell.ring();
                }
                settling = Some((connection, outcome));
            }
            // Python's own handlers run on the main thread, between requests as in them
            Next::Interrupted => {
                if let Err(error) = py.check_signals() {
                    tracing::warn!("a signal handler raised between two requests: {error}");
                }
            }
            Next::Retired => break,
        }
    }
    gate.leave();
}

/// Sends what is left of an answer, logs the request, and lets the connection go where it belongs.
fn settle(
    worker: &Worker,
    core: u32,
    server: &Server,
    gate: &mut Gate<'_>,
    log: &mut Option<RequestLog>,
    mut connection: Connection,
    outcome: Outcome,
) {
    let mut exchange = server.responder().get().exchange_detached();
    let flow = exchange.settle();
    let started = account(worker, core, &exchange);
    if let Some(log) = log {
        write_log(
            worker,
            core,
            log,
            gate,
            &connection,
            &exchange,
            outcome,
            started,
        );
    }
    connection.served += 1;
    let keep = exchange.keeps_alive();
    if exchange.cut {
        stream::reset_on_close(std::os::fd::AsRawFd::as_raw_fd(&connection.fd));
    }
    let outlet = std::mem::take(&mut exchange.outlet);
    exchange.close();
    drop(exchange);
    match flow {
        Flow::Broken => drop(worker.unwatch(connection)),
        Flow::Blocked => {
            let next = keep.then(|| Box::new(gate.take_intake()));
            worker.park(Parked::writing(worker.unwatch(connection), outlet, next));
        }
        Flow::Done if keep => gate.keep(connection),
        Flow::Done if gate.intake.surplus => {
            worker.park(Parked::lingering(worker.unwatch(connection)))
        }
        Flow::Done => drop(worker.unwatch(connection)),
    }
}

/// The last request may have made the worker as large as `reload-on-rss` allows: it begins no other one. The master sees
/// most growth coming and has another worker ready before; a fast leak it does not.
fn mind_size(worker: &Worker) {
    let serving = &worker.spec.serving;
    let Some(limit) = serving.resident_limit else {
        return;
    };
    // the peak costs one system call, and says whether the size is worth the three it takes to read it
    if process::own_peak() < limit
        || monotonic_micros() < worker.born + serving.min_lifetime_ms * 1000
        || worker.is_leaving()
    {
        return;
    }
    let size = process::memory(process::Pid::own()).map_or(0, |memory| memory.resident);
    if size >= limit {
        worker.advance(Phase::Retiring);
        worker.large.store(true, SeqCst);
        worker.bell.ring();
    }
}

/// Writes the request off on the scoreboard; returns when it began.
fn account(worker: &Worker, core: u32, exchange: &Exchange) -> u64 {
    let Some(row) = worker.board.thread(worker.row, core) else {
        return 0;
    };
    let started = row.busy_since.load(Relaxed);
    row.busy_since.store(0, Relaxed);
    add(&row.running_us, monotonic_micros().saturating_sub(started));
    add(&row.sent, exchange.head_len + exchange.body_len);
    // what was given up at its deadline is cut off by us
    if exchange.broken && exchange.head.code() != 504 {
        add(&row.write_errors, 1);
    }
    started
}

/// Adds to a counter that only this thread writes: cheaper than an atomic addition.
fn add(counter: &std::sync::atomic::AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed) + amount, Relaxed);
}

#[allow(clippy::too_many_arguments)]
fn write_log(
    worker: &Worker,
    core: u32,
    log: &mut RequestLog,
    gate: &Gate<'_>,
    connection: &Connection,
    exchange: &Exchange,
    outcome: Outcome,
    started: u64,
) {
    let result = ruwsgi::log::request_line::Outcome {
        status: exchange.head.code(),
        micros: monotonic_micros().saturating_sub(started),
        head: exchange.head_len,
        body: exchange.body_len,
        sendfile: exchange.by_sendfile,
        broken: exchange.broken,
    };
    if !log.picks(&result) {
        return;
    }
    let peer = connection
        .peer
        .map(|peer| peer.ip().to_string())
        .unwrap_or_default();
    log.write(
        &gate.intake.request,
        &Served {
            app: outcome.app,
            worker: worker.slot,
            worker_requests: worker.board.worker_requests(worker.row),
            total_requests: worker.board.total_requests(),
            remote_addr: peer.as_bytes(),
            outcome: result,
            headers: exchange.head.count,
            blocks: exchange.blocks,
            core,
            remark: "",
        },
    );
}

/// Begins a request on the scoreboard.
pub fn begin(worker: &Worker, core: u32, gate_request: &crate::request::Request) {
    let Some(row) = worker.board.thread(worker.row, core) else {
        return;
    };
    add(&row.requests, 1);
    let mut note = [0u8; ruwsgi::shared::scoreboard::NOTE];
    let len = gate_request.describe(&mut note);
    row.note(&note[..len]);
    row.vars.store(gate_request.vars.len() as u32, Relaxed);
    row.block.store(gate_request.block_len as u32, Relaxed);
    row.busy_since.store(monotonic_micros(), Relaxed);
}
