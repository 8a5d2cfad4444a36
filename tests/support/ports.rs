//! Reserving ports without a race between tests that run at the same time.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

/// Below the range from which Linux takes the ports of outgoing connections (32768 and up by default), so that no
/// connection of the load generator sits on a port between its reservation and its use.
const RANGE: std::ops::Range<u16> = 23_000..32_000;

/// A reservation is a listener on this address, which nobody else uses: the kernel frees it even after a kill -9.
const RESERVED_ON: Ipv4Addr = Ipv4Addr::new(127, 77, 77, 77);

/// The addresses on which a reserved port is free for the stage.
const USED_ON: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];

/// Neighbouring ports, reserved as long as this lives.
pub struct Ports {
    first: u16,
    _reservations: Vec<TcpListener>,
}

impl Ports {
    /// Reserves `count` neighbours.
    pub fn reserve(count: u16) -> Self {
        let span = RANGE.end - RANGE.start - count;
        let start = u16::try_from(random() % u64::from(span)).expect("less than the span");
        (0..span)
            .map(|step| RANGE.start + (start + step) % span)
            .find_map(|first| Self::try_reserve(first, count))
            .expect("neighbouring free ports between 23000 and 32000")
    }

    fn try_reserve(first: u16, count: u16) -> Option<Self> {
        let reservations: Result<Vec<_>, _> = (first..first + count).map(reserve_one).collect();
        Some(Self { first, _reservations: reservations.ok()? })
    }

    /// The port at `index`.
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

/// A random number, from the seed that the standard library takes from the system.
pub fn random() -> u64 {
    RandomState::new().hash_one(0)
}
