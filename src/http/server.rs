//! The listener: binding, and a shutdown that lets requests finish.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long requests in flight may take once the shutdown has begun.
const DRAIN: Duration = Duration::from_secs(10);

/// Why HTTP could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}; the setting http.listen names the address")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The listener failed.
    #[error("the HTTP listener on {address} failed: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
}

/// A bound listener.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds `listen`; port 0 takes a free port, which [`Server::address`] tells.
    pub async fn bind(listen: SocketAddr) -> Result<Self, ServerError> {
        let error = |source| ServerError::Bind { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        tracing::info!(%address, "listening");
        Ok(Self { listener, address })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until `shutdown`; then takes no more requests and returns when those in flight
    /// have finished, after 10 s at most.
    pub async fn run(self, router: Router, shutdown: CancellationToken) -> Result<(), ServerError> {
        let address = self.address;
        let serving =
            axum::serve(self.listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let overdue = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            served = serving => served.map_err(|source| ServerError::Listen { address, source }),
            () = overdue => {
                tracing::warn!(%address, "requests were still running {DRAIN:?} after the shutdown began");
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_taken_address_is_named_with_its_setting() {
        let first = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let message = Server::bind(first.address()).await.unwrap_err().to_string();
        assert!(
            message.contains(&first.address().to_string()) && message.contains("http.listen"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn requests_in_flight_finish_before_the_shutdown() {
        let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler = {
            let (begun, release) = (begun.clone(), release.clone());
            async move || {
                begun.notify_one();
                release.notified().await;
                "finished"
            }
        };
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(server.address()).await.unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(Router::new().route("/slow", get(handler)), shutdown.clone()));
        client.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        begun.notified().await;
        shutdown.cancel();
        release.notify_one();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("finished"), "{answer}");
        running.await.unwrap().unwrap();
    }
}
