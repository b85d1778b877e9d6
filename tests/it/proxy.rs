//! A TCP proxy that can hold back what a client sends, lose what the server answers, and cut connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A proxy before one server.
pub struct Proxy {
    /// Where clients find it.
    pub url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_stalled: AtomicBool,
    held_back: AtomicUsize,
    loses_answers: AtomicBool,
    lost: AtomicUsize,
    cut: Notify,
}

impl Proxy {
    /// A proxy before the server at `url` (`http://host:port`).
    pub async fn start(url: &str) -> Self {
        let server = url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let ((client_read, client_write), (server_read, server_write)) =
                    (client.into_split(), server.into_split());
                let state = shared.clone();
                tokio::spawn(async move {
                    // Each closes its half when it ends; a cut ends both at once.
                    tokio::select! {
                        ((), ()) = async { tokio::join!(
                            answer(server_read, client_write, &state),
                            forward(client_read, server_write, &state),
                        ) } => {}
                        () = state.cut.notified() => {}
                    }
                });
            }
        });
        Self { url, state }
    }

    /// From now on what clients send is held back, or passes again.
    pub fn stall(&self, is_stalled: bool) {
        self.state.held_back.store(0, Ordering::SeqCst);
        self.state.is_stalled.store(is_stalled, Ordering::SeqCst);
    }

    /// Bytes held back since the last change.
    pub fn held_back(&self) -> usize {
        self.state.held_back.load(Ordering::SeqCst)
    }

    /// From now on the connection ends where an answer should come, or answers pass again.
    pub fn lose_answers(&self, loses_answers: bool) {
        self.state.lost.store(0, Ordering::SeqCst);
        self.state.loses_answers.store(loses_answers, Ordering::SeqCst);
    }

    /// Answers lost since the last change.
    pub fn lost(&self) -> usize {
        self.state.lost.load(Ordering::SeqCst)
    }

    /// Ends every connection, in the middle of whatever it carries.
    pub fn cut(&self) {
        self.state.cut.notify_waiters();
    }
}

/// Passes on what the client sends. What comes while stalled is never passed on: that connection is lost.
async fn forward(
    mut client: tokio::net::tcp::OwnedReadHalf,
    mut server: tokio::net::tcp::OwnedWriteHalf,
    state: &State,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = client.read(&mut buffer).await {
        if state.is_stalled.load(Ordering::SeqCst) {
            state.held_back.fetch_add(length, Ordering::SeqCst);
            // Held until the client gives up or dies; the server then sees a connection that ended too early.
            while let Ok(1..) = client.read(&mut buffer).await {}
            return;
        }
        if server.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), server.shutdown()).await;
}

/// Passes on what the server answers.
async fn answer(
    mut server: tokio::net::tcp::OwnedReadHalf,
    mut client: tokio::net::tcp::OwnedWriteHalf,
    state: &State,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = server.read(&mut buffer).await {
        if state.loses_answers.load(Ordering::SeqCst) {
            state.lost.fetch_add(1, Ordering::SeqCst);
            return;
        }
        if client.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
