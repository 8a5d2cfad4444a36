//! Reading with an upper limit on the length.

use std::io::{Error, Read, Result};

/// Reads to the end.
///
/// # Errors
/// Fails with the system's error, or if there are more than `most_bytes` bytes.
pub(super) fn read(from: impl Read, most_bytes: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most_bytes {
        return Err(Error::other(format!("it is longer than {most_bytes} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_too_many_is_refused() {
        assert_eq!(read(&b"four"[..], 4).unwrap(), b"four");
        assert_eq!(read(&b"fives"[..], 4).unwrap_err().to_string(), "it is longer than 4 bytes");
    }
}
