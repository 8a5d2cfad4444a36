//! Reservation of ports without races between concurrent tests.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

/// The range of ports. It is below Linux's range for outgoing connections (32768 and up by default), so that no
/// connection of the load generator occupies a port between its reservation and its use.
const RANGE: std::ops::Range<u16> = 23_000..32_000;

/// The address of the listeners that reserve ports. No other program uses it, and the kernel closes listeners even
/// after a kill -9.
const RESERVED_ON: Ipv4Addr = Ipv4Addr::new(127, 77, 77, 77);

/// The addresses on which a stage uses reserved ports.
const USED_ON: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];

/// Consecutive ports, which stay reserved until this value is dropped.
pub struct Ports {
    first: u16,
    _reservations: Vec<TcpListener>,
}

impl Ports {
    /// Reserves `count` consecutive ports.
    pub fn reserve(count: u16) -> Self {
        let span = RANGE.end - RANGE.start - count;
        let start = u16::try_from(random() % u64::from(span)).expect("less than the span");
        (0..span)
            .map(|step| RANGE.start + (start + step) % span)
            .find_map(|first| Self::try_reserve(first, count))
            .expect("consecutive free ports between 23000 and 32000")
    }

    fn try_reserve(first: u16, count: u16) -> Option<Self> {
        let reservations: Result<Vec<_>, _> = (first..first + count).map(reserve_one).collect();
        Some(Self { first, _reservations: reservations.ok()? })
    }

    /// Returns the port at `index`.
    pub fn at(&self, index: u16) -> u16 {
        self.first + index
    }
}

fn reserve_one(port: u16) -> std::io::Result<TcpListener> {
    let reservation = TcpListener::bind((RESERVED_ON, port))?;
    for host in USED_ON {
        drop(TcpListener::bind((host, port))?);
    }
    Ok(reservation)
}

/// Returns a random number from the standard library's hash seed.
pub fn random() -> u64 {
    RandomState::new().hash_one(0)
}
