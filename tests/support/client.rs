//! A client as browsers are: a pool of kept-alive connections, and one retry where a server closed a used one.

use super::http::{Answer, Connection, Loss};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::timeout;

/// The pool of connections to one address.
pub struct Client {
    address: SocketAddr,
    idle: Mutex<VecDeque<Connection>>,
}

/// What became of a request, and whether it took a second try.
pub struct Exchange {
    pub result: Result<Answer, Loss>,
    pub retried: bool,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::default() }
    }

    /// Opens connections before they are needed.
    pub async fn warm_up(&self, connections: usize) {
        for _ in 0..connections {
            // One that fails now is opened, and its loss recorded, when a request needs it.
            if let Ok(connection) = Connection::open(self.address).await {
                self.put_back(connection);
            }
        }
    }

    /// Asks for a path; `limit` includes the retry.
    pub async fn get(&self, path: &str, limit: Duration) -> Exchange {
        let exchange = timeout(limit, self.get_with_retry(path)).await;
        exchange.unwrap_or(Exchange { result: Err(Loss::Timeout), retried: false })
    }

    /// A request that dies before the first byte of the answer, on a connection that carried others before, is sent
    /// once more on a new one. On a new connection the same is a loss.
    async fn get_with_retry(&self, path: &str) -> Exchange {
        if let Some(connection) = self.take_open() {
            match self.get_on(connection, path).await {
                Err(loss) if loss.before_answer() => {}
                result => return Exchange { result, retried: false },
            }
            return Exchange { result: self.get_anew(path).await, retried: true };
        }
        Exchange { result: self.get_anew(path).await, retried: false }
    }

    async fn get_anew(&self, path: &str) -> Result<Answer, Loss> {
        self.get_on(Connection::open(self.address).await?, path).await
    }

    async fn get_on(&self, mut connection: Connection, path: &str) -> Result<Answer, Loss> {
        let answer = connection.get(path).await?;
        if answer.is_reusable() {
            self.put_back(connection);
        }
        Ok(answer)
    }

    /// The connection that has been idle longest, so that all of them are used in turn.
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
