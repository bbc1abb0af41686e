//! The only bridge between the synchronous engine and the async world: one thread owns the engine, bounded channels
//! lead in and out.
//!
//! Requests come in through one channel; each gets a channel of its own for what comes of it. After every step the
//! engine's events go out as they are, one shared buffer for all requests that had a part in the step: nothing is
//! copied. A reader that is gone is found before the next step, and its requests are cancelled. A reader that is slow
//! has a buffer of so many steps; when it is full its requests end, and nobody waits for it.

use crate::metrics::Metrics;
use limpid_engine::engine::{Engine, EventKind, Events, Request, RequestId, SubmitError};
use limpid_engine::trace::NoTrace;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::sync::{mpsc, oneshot};

/// Submissions that may be on their way to the engine's thread, which takes all of them before each step.
const MAX_COMMANDS: usize = 64;

enum Command {
    Submit(Submission),
    /// Cancel all there is, and what still comes, and say when that is done.
    EndAll(oneshot::Sender<()>),
}

/// Requests that are answered together: all of them are let in, or none is.
struct Submission {
    requests: Vec<Request>,
    steps: mpsc::Sender<Arc<Events>>,
    reply: oneshot::Sender<Result<Vec<RequestId>, SubmitError>>,
}

/// Where requests are handed in.
#[derive(Clone)]
pub(crate) struct EngineHandle {
    commands: mpsc::Sender<Command>,
}

/// Why requests were not let in.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Refusal {
    /// For what they ask, or because the queue is full.
    Submit(SubmitError),
    /// The engine has stopped.
    Stopped,
}

/// Why nothing more comes of requests that are not over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lost {
    /// The reader was slower than its buffer is long.
    TooSlow,
    Stopped,
}

/// What comes of requests that were let in. Dropping it cancels them.
pub(crate) struct Ticket {
    ids: Vec<RequestId>,
    n_open: usize,
    steps: mpsc::Receiver<Arc<Events>>,
    commands: mpsc::Sender<Command>,
}

impl EngineHandle {
    /// Gives an engine a thread of its own, which ends when all handles and tickets are gone, or with the engine.
    pub(crate) fn start(engine: Engine, metrics: Arc<Metrics>) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (sender, commands) = mpsc::channel(MAX_COMMANDS);
        let driver =
            Driver { engine, metrics, commands, readers: BTreeMap::new(), n_readers: 0, ends_all: false };
        let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || driver.run())?;
        Ok((Self { commands: sender }, thread))
    }

    /// Hands requests in and waits until they are let in or refused. So many steps wait for a slow reader.
    pub(crate) async fn submit(&self, requests: Vec<Request>, buffer_len: usize) -> Result<Ticket, Refusal> {
        let (steps, receiver) = mpsc::channel(buffer_len);
        let (reply, answer) = oneshot::channel();
        let submission = Command::Submit(Submission { requests, steps, reply });
        self.commands.send(submission).await.map_err(|_| Refusal::Stopped)?;
        let ids = answer.await.map_err(|_| Refusal::Stopped)?.map_err(Refusal::Submit)?;
        Ok(Ticket { n_open: ids.len(), ids, steps: receiver, commands: self.commands.clone() })
    }

    /// Ends all requests, and those that still come, as cancelled.
    pub(crate) async fn end_all(&self) {
        let (reply, done) = oneshot::channel();
        // A thread that has stopped has nothing to end.
        let _ = self.commands.send(Command::EndAll(reply)).await;
        let _ = done.await;
    }
}

impl Ticket {
    /// What happened in the next step that had a part of these requests; `None` when all of them are over.
    pub(crate) async fn next(&mut self) -> Result<Option<Arc<Events>>, Lost> {
        if self.n_open == 0 {
            return Ok(None);
        }
        let Some(step) = self.steps.recv().await else {
            return Err(if self.commands.is_closed() { Lost::Stopped } else { Lost::TooSlow });
        };
        let n_over = self.events(&step).filter(|(_, kind)| matches!(kind, EventKind::Finished(_))).count();
        self.n_open -= n_over;
        Ok(Some(step))
    }

    /// The events of a step that are about these requests, with which of them.
    pub(crate) fn events<'a>(&'a self, step: &'a Events) -> impl Iterator<Item = (usize, EventKind<'a>)> {
        step.iter().filter_map(|event| {
            let i = self.ids.iter().position(|id| *id == event.request)?;
            Some((i, event.kind))
        })
    }
}

/// Who waits for a request.
struct Reader {
    /// Shared by the requests of one submission.
    submission: u64,
    steps: mpsc::Sender<Arc<Events>>,
}

/// The thread.
struct Driver {
    engine: Engine,
    metrics: Arc<Metrics>,
    commands: mpsc::Receiver<Command>,
    /// Of the requests that are not over.
    readers: BTreeMap<RequestId, Reader>,
    n_readers: u64,
    ends_all: bool,
}

impl Driver {
    fn run(mut self) {
        while self.take_commands() {
            let mut events = Events::default();
            self.cancel_unread(&mut events);
            self.engine.step(&mut events, &mut NoTrace);
            self.metrics.observe(&self.engine);
            if !events.is_empty() {
                let is_token = |kind: &EventKind<'_>| matches!(kind, EventKind::Token { .. });
                self.metrics.told(events.iter().filter(|event| is_token(&event.kind)).count());
                self.hand_out(events);
            }
        }
    }

    /// Takes what has come, and waits for it if there is nothing to do. False when nobody is left who could send.
    fn take_commands(&mut self) -> bool {
        if self.engine.is_idle() {
            match self.commands.blocking_recv() {
                Some(command) => self.take_command(command),
                None => return false,
            }
        }
        // A flood of them does not keep the engine from its step.
        for _ in 0..MAX_COMMANDS {
            match self.commands.try_recv() {
                Ok(command) => self.take_command(command),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return !self.engine.is_idle(),
            }
        }
        true
    }

    fn take_command(&mut self, command: Command) {
        match command {
            Command::Submit(submission) => self.submit(submission),
            Command::EndAll(reply) => {
                self.ends_all = true;
                let mut events = Events::default();
                for id in self.readers.keys().copied().collect::<Vec<_>>() {
                    self.engine.cancel(id, &mut events);
                }
                self.hand_out(events);
                // Who asked may have gone.
                let _ = reply.send(());
            }
        }
    }

    fn submit(&mut self, Submission { requests, steps, reply }: Submission) {
        let mut ids = Vec::with_capacity(requests.len());
        for request in requests {
            match self.engine.submit(request) {
                Ok(id) => ids.push(id),
                Err(error) => {
                    // Nobody was told of the others.
                    let mut untold = Events::default();
                    ids.iter().for_each(|&id| _ = self.engine.cancel(id, &mut untold));
                    // Who does not wait any more needs no answer.
                    let _ = reply.send(Err(error));
                    return;
                }
            }
        }
        self.n_readers += 1;
        for &id in &ids {
            self.readers.insert(id, Reader { submission: self.n_readers, steps: steps.clone() });
        }
        let mut events = Events::default();
        if reply.send(Ok(ids.clone())).is_err() || self.ends_all {
            ids.iter().for_each(|&id| _ = self.engine.cancel(id, &mut events));
            self.hand_out(events);
        }
    }

    /// Cancels the requests whose reader is gone.
    fn cancel_unread(&mut self, events: &mut Events) {
        for (&id, _) in self.readers.iter().filter(|(_, reader)| reader.steps.is_closed()) {
            self.engine.cancel(id, events);
        }
    }

    /// Sends a step to all who have a part in it.
    fn hand_out(&mut self, events: Events) {
        let events = Arc::new(events);
        let mut told = BTreeMap::new();
        for event in events.iter() {
            let Some(reader) = self.readers.get(&event.request) else { continue };
            told.entry(reader.submission).or_insert_with(|| reader.steps.clone());
            if let EventKind::Finished(finished) = event.kind {
                self.metrics.finished(finished);
                self.readers.remove(&event.request);
            }
        }
        for (submission, steps) in told {
            if let Err(TrySendError::Full(_)) = steps.try_send(events.clone()) {
                self.give_up(submission);
            }
        }
    }

    /// Ends the requests of a reader that is too slow. It has what its buffer holds, and then nothing.
    fn give_up(&mut self, submission: u64) {
        let is_of = |reader: &Reader| reader.submission == submission;
        let ids: Vec<_> =
            self.readers.iter().filter(|(_, reader)| is_of(reader)).map(|(id, _)| *id).collect();
        let mut events = Events::default();
        for id in &ids {
            self.engine.cancel(*id, &mut events);
            self.readers.remove(id);
        }
        for event in events.iter() {
            if let EventKind::Finished(finished) = event.kind {
                self.metrics.finished(finished);
            }
        }
        self.metrics.observe(&self.engine);
    }
}
