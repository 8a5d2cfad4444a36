//! A client similar to browsers, with a pool of kept-alive connections and one retry if a server closes a used
//! connection.

use super::http::{Answer, Connection, Loss};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::timeout;

/// A client with a pool of connections to one address.
pub struct Client {
    address: SocketAddr,
    idle: Mutex<VecDeque<Connection>>,
}

/// The result of a request, and whether it needed a retry.
pub struct Exchange {
    pub result: Result<Answer, Loss>,
    pub retried: bool,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::default() }
    }

    /// Opens connections in advance.
    pub async fn warm_up(&self, connections: usize) {
        for _ in 0..connections {
            // A request opens a missing connection later, and records the failure.
            if let Ok(connection) = Connection::open(self.address).await {
                self.put_back(connection);
            }
        }
    }

    /// Requests a path; `limit` includes the retry.
    pub async fn get(&self, path: &str, limit: Duration) -> Exchange {
        let exchange = timeout(limit, self.get_with_retry(path)).await;
        exchange.unwrap_or(Exchange { result: Err(Loss::Timeout), retried: false })
    }

    /// Sends a request, and retries it once on a new connection if a used connection closes before the first byte of
    /// the response. On a new connection, that is a loss.
    async fn get_with_retry(&self, path: &str) -> Exchange {
        if let Some(connection) = self.take_open() {
            match self.get_on(connection, path).await {
                Err(loss) if loss.before_answer() => {}
                result => return Exchange { result, retried: false },
            }
            return Exchange { result: self.get_on_new_connection(path).await, retried: true };
        }
        Exchange { result: self.get_on_new_connection(path).await, retried: false }
    }

    async fn get_on_new_connection(&self, path: &str) -> Result<Answer, Loss> {
        self.get_on(Connection::open(self.address).await?, path).await
    }

    async fn get_on(&self, mut connection: Connection, path: &str) -> Result<Answer, Loss> {
        let answer = connection.get(path).await?;
        if answer.is_reusable() {
            self.put_back(connection);
        }
        Ok(answer)
    }

    /// Takes the connection that has been idle for the longest time, so that all connections are used in turn.
    fn take_open(&self) -> Option<Connection> {
        let mut idle = self.idle();
        std::iter::from_fn(|| idle.pop_front()).find(Connection::is_open)
    }

    fn put_back(&self, connection: Connection) {
        self.idle().push_back(connection);
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        self.idle.lock().expect("nothing panics while it holds the lock")
    }
}
