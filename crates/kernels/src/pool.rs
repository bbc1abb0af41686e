//! The thread pool of the forward pass: persistent workers that spin briefly and then park.
//!
//! A forward pass hands over a few hundred times; a parked thread takes 30 us to wake, a spinning one a tenth of a
//! microsecond. So a worker that has nothing to do spins for about as long as the work between two operations takes,
//! and parks only when the model is idle: a forward pass wakes it once.
//!
//! Where another process wants the same core, the system takes the core from a worker in the middle of its work for
//! milliseconds, while all others wait for it. A worker that finds this has happened stays away for a while, in
//! proportion to the time that it cost: the others do its share. (Workers are not pinned: SPEED.md has the figures.)

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often an idle worker looks for work before it parks: roughly 50 us.
const SPINS_BEFORE_PARKING: u32 = 20_000;

/// A worker that let the others wait longer than this, and than the operation took, has lost its core to somebody.
const LATE: Duration = Duration::from_micros(500);

/// It then stays away for this many times as long as they waited; so all such waits together take 6 % of the time.
const TIMES_AWAY: u32 = 16;
const MAX_AWAY: Duration = Duration::from_millis(100);

/// Runs one operation at a time on all its threads; the calling thread is one of them.
pub struct ThreadPool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One operation at a time, also when several threads share the pool.
    turn: Mutex<()>,
}

/// A borrowed operation, with its lifetime erased: see the SAFETY comment in `for_each`.
#[derive(Clone, Copy)]
struct Job {
    run: *const (dyn Fn(usize) + Sync),
    n_items: usize,
}

struct Shared {
    /// Counts up by one when an operation opens and when it closes: odd while workers may join.
    phase: AtomicU32,
    job: std::cell::UnsafeCell<Option<Job>>,
    next_item: AtomicUsize,
    /// Workers that are inside the current operation, or about to find out that it is closed.
    n_joined: AtomicUsize,
    /// When the current operation opened, and when no item of it was left, in ns since `start`.
    opened: AtomicU64,
    closed: AtomicU64,
    start: Instant,
    panicked: AtomicBool,
    stop: AtomicBool,
    n_parked: Mutex<usize>,
    wake: Condvar,
}

// SAFETY: `job` is written by `for_each` only while the phase is even and `n_joined` is 0. A worker reads it only
// between raising `n_joined`, then finding the phase odd, and lowering `n_joined`. All of these are sequentially
// consistent: either the worker sees the phase closed, or `for_each` sees it joined and waits. The pointer in it is to
// something `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for Shared {}

impl ThreadPool {
    /// `n_threads` counts the calling thread: 0 and 1 start no worker.
    pub fn new(n_threads: usize) -> Self {
        let shared = Arc::new(Shared {
            phase: AtomicU32::new(0),
            job: std::cell::UnsafeCell::new(None),
            next_item: AtomicUsize::new(0),
            n_joined: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            start: Instant::now(),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            n_parked: Mutex::new(0),
            wake: Condvar::new(),
        });
        // A system that refuses a thread leaves a smaller pool: slower, and the same bytes.
        let workers = (1..n_threads)
            .map_while(|i| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new().name(format!("limpid-{i}")).spawn(move || work(&shared)).ok()
            })
            .collect();
        Self { shared, workers, turn: Mutex::new(()) }
    }

    pub fn n_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `run(item)` once for every item in `0..n_items`, each on whichever thread is free, and returns when all
    /// have returned. A worker that the system has not let run in the meantime is not waited for: its share is done by
    /// the others. A panic in `run` is passed on to the caller after all threads have stopped. `run` must not call
    /// `for_each` of the same pool.
    pub fn for_each(&self, n_items: usize, run: &(dyn Fn(usize) + Sync)) {
        if self.workers.is_empty() || n_items <= 1 {
            (0..n_items).for_each(run);
            return;
        }
        let _turn = self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. `for_each` does not return before the phase is closed and `n_joined` is 0,
        // that is before every worker is done with `run`; nor does it unwind before, since `claim` catches panics.
        let run: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(run) };
        let job = Job { run, n_items };
        // SAFETY: the phase is even and `n_joined` is 0 (the last call waited for it, and `turn` keeps others out).
        unsafe { *shared.job.get() = Some(job) };
        shared.next_item.store(0, Ordering::Relaxed);
        shared.opened.store(shared.now(), Ordering::Relaxed);
        shared.phase.fetch_add(1, Ordering::SeqCst);
        // A worker parks under this lock after a last look at the phase, so none can miss the change.
        if *shared.lock_parked() > 0 {
            shared.wake.notify_all();
        }
        claim(shared, job);
        shared.closed.store(shared.now(), Ordering::Relaxed);
        shared.phase.fetch_add(1, Ordering::SeqCst);
        let mut spins = 0;
        while shared.n_joined.load(Ordering::SeqCst) > 0 {
            pause(&mut spins);
        }
        if shared.panicked.swap(false, Ordering::Relaxed) {
            panic!("a thread of the pool panicked");
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(self.shared.lock_parked());
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches panics of its jobs; one that died all the same has nothing left to tell.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn lock_parked(&self) -> std::sync::MutexGuard<'_, usize> {
        self.n_parked.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// How long a worker that has done its part of operation `phase` stays away, if at all.
    fn time_away(&self, phase: u32) -> Option<Duration> {
        if self.phase.load(Ordering::SeqCst) == phase {
            return None;
        }
        let (opened, closed) = (self.opened.load(Ordering::Relaxed), self.closed.load(Ordering::Relaxed));
        let took = Duration::from_nanos(closed.saturating_sub(opened));
        let late = Duration::from_nanos(self.now().saturating_sub(closed));
        (late > LATE + took).then(|| MAX_AWAY.min(late * TIMES_AWAY))
    }
}

/// Takes items of the current job until none is left.
fn claim(shared: &Shared, job: Job) {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // SAFETY: `for_each` keeps the closure alive until every thread has left `claim`.
        let run = unsafe { &*job.run };
        loop {
            let item = shared.next_item.fetch_add(1, Ordering::Relaxed);
            if item >= job.n_items {
                return;
            }
            run(item);
        }
    }));
    if result.is_err() {
        shared.panicked.store(true, Ordering::Relaxed);
    }
}

/// A worker's life.
fn work(shared: &Shared) {
    let mut last = 0;
    while let Some(phase) = wait_for_operation(shared, last) {
        let mut away = None;
        shared.n_joined.fetch_add(1, Ordering::SeqCst);
        if shared.phase.load(Ordering::SeqCst) == phase {
            // SAFETY: joined, and the phase is still open: `for_each` has written `job` and waits for `n_joined`.
            if let Some(job) = unsafe { *shared.job.get() } {
                claim(shared, job);
                away = shared.time_away(phase);
            }
        }
        shared.n_joined.fetch_sub(1, Ordering::SeqCst);
        if let Some(away) = away {
            std::thread::sleep(away);
        }
        last = phase;
    }
}

/// Spins, then parks, until an operation is open that is not the `last` one. `None` when the pool is dropped.
fn wait_for_operation(shared: &Shared, last: u32) -> Option<u32> {
    let open = || {
        let phase = shared.phase.load(Ordering::SeqCst);
        (phase % 2 == 1 && phase != last).then_some(phase)
    };
    let mut spins = 0;
    loop {
        if shared.stop.load(Ordering::SeqCst) {
            return None;
        }
        if let Some(phase) = open() {
            return Some(phase);
        }
        if spins < SPINS_BEFORE_PARKING {
            pause(&mut spins);
            continue;
        }
        let mut n_parked = shared.lock_parked();
        *n_parked += 1;
        while open().is_none() && !shared.stop.load(Ordering::SeqCst) {
            n_parked = shared.wake.wait(n_parked).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        *n_parked -= 1;
    }
}

/// One turn of a spinning loop; now and then the processor is offered to others, who may hold what we wait for.
fn pause(spins: &mut u32) {
    *spins += 1;
    if spins.is_multiple_of(512) { std::thread::yield_now() } else { std::hint::spin_loop() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_runs_once_for_any_thread_count() {
        for n_threads in [0, 1, 2, 3, 5] {
            let pool = ThreadPool::new(n_threads);
            for n_items in [0, 1, 2, 7, 100, 1000] {
                let counts: Vec<AtomicUsize> = (0..n_items).map(|_| AtomicUsize::new(0)).collect();
                pool.for_each(n_items, &|i| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn workers_wake_up_after_parking() {
        let pool = ThreadPool::new(3);
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let sum = AtomicUsize::new(0);
            pool.for_each(10, &|i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 45);
        }
    }

    #[test]
    fn a_worker_that_lost_its_core_stays_away_for_a_while() {
        let pool = ThreadPool::new(2);
        let caller = std::thread::current().id();
        let is_caller = || std::thread::current().id() == caller;
        let both = std::sync::Barrier::new(2);
        let is_done = AtomicBool::new(false);
        pool.for_each(2, &|_| {
            both.wait();
            if !is_caller() {
                std::thread::sleep(Duration::from_millis(20));
                is_done.store(true, Ordering::Relaxed);
            }
        });
        assert!(is_done.into_inner(), "every item has returned");
        let start = Instant::now();
        let n_by_worker = AtomicUsize::new(0);
        for _ in 0..100 {
            pool.for_each(8, &|_| {
                n_by_worker.fetch_add(usize::from(!is_caller()), Ordering::Relaxed);
            });
        }
        if start.elapsed() < MAX_AWAY / 2 {
            assert_eq!(n_by_worker.load(Ordering::Relaxed), 0);
        }
        std::thread::sleep(2 * MAX_AWAY);
        pool.for_each(2, &|_| {
            both.wait(); // Only two threads get past it.
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = ThreadPool::new(2);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.for_each(8, &|i| assert_ne!(i, 5, "on purpose"));
        }));
        assert!(panicked.is_err());
        let sum = AtomicUsize::new(0);
        pool.for_each(4, &|i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 6);
    }
}
