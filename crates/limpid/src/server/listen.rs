//! Connections: how many, how slow, and how they end.

use super::client::Client;
use super::{App, app};
use crate::error::CliError;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

/// A request's line and headers together, and how long they may take to come.
const MAX_HEADER_BYTES: usize = 64 << 10;
const MAX_HEADER_TIME: Duration = Duration::from_secs(30);

/// A client that takes nothing for so long is gone.
const MAX_WRITE_TIME: Duration = Duration::from_secs(60);

/// After a failed `accept`: the system is out of something that others give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Once all requests were cancelled, their last words need no longer.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the system may hold of an answer that its client does not read. Connections take it over from the listener.
const SEND_BUFFER_BYTES: u32 = 256 << 10;

/// Connections that the system keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// A socket to listen with.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that is started again finds its port taken otherwise, for a minute.
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How to listen.
pub(crate) struct Listen {
    pub(crate) max_connections: usize,
    /// How long requests may go on after the end was asked for.
    pub(crate) grace: Duration,
}

/// Serves until `stop` is done; then lets what goes on come to its end, for as long as the grace lasts, cancels the
/// rest and tells its clients.
pub(crate) async fn listen(
    listener: TcpListener,
    state: Arc<App>,
    how: Listen,
    stop: impl Future<Output = ()>,
) -> Result<(), CliError> {
    let router = app(state.clone());
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(MAX_HEADER_TIME).max_buf_size(MAX_HEADER_BYTES);
    let (graceful, places) = (GracefulShutdown::new(), Arc::new(Semaphore::new(how.max_connections)));
    tokio::pin!(stop);
    loop {
        // Who finds no place waits in the system's queue.
        let accepted = async {
            let place = places.clone().acquire_owned().await.expect("it is never closed");
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_of_connection(&error) => continue,
            Err(_) => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Tokens are small, and each is waited for. Where the option is missing they come a little later.
        let _ = stream.set_nodelay(true);
        let client = Client::new(stream);
        let io = TokioIo::new(Box::pin(patient(client.clone())));
        let service = router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(client.clone());
            request
        });
        let service = TowerToHyperService::new(service);
        let connection = graceful.watch(builder.serve_connection(io, service));
        tokio::spawn(async move {
            // What goes wrong with a connection is its client's business.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    end(graceful, &state, how.grace).await;
    Ok(())
}

/// A stream on which a write fails that makes no progress.
fn patient(client: Client) -> TimeoutStream<Client> {
    let mut stream = TimeoutStream::new(client);
    stream.set_write_timeout(Some(MAX_WRITE_TIME));
    stream
}

/// An error that says nothing about the listener.
fn is_of_connection(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

async fn end(graceful: GracefulShutdown, state: &App, grace: Duration) {
    let all_done = graceful.shutdown();
    tokio::pin!(all_done);
    if tokio::time::timeout(grace, &mut all_done).await.is_err() {
        if let Some(ready) = state.ready.get() {
            ready.engine.end_all().await;
        }
        // Who does not read even now is cut off.
        let _ = tokio::time::timeout(LAST_WORDS, all_done).await;
    }
}
