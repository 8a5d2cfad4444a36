//! The progress of a pull, computed from the engine's messages about each layer.

use std::collections::HashMap;

use bollard::models::CreateImageInfo;

use crate::ports::PullProgress;

/// The sum over the layers of one pull.
#[derive(Clone, Debug, Default)]
pub struct Layers(HashMap<String, PullProgress>);

impl Layers {
    /// Processes a message, and returns the progress of the pull. Only downloads count; extraction has its own
    /// numbers.
    pub fn add(&mut self, message: &CreateImageInfo) -> PullProgress {
        if let Some(id) = &message.id {
            let detail = message.progress_detail.clone().unwrap_or_default();
            let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
            let status = message.status.as_deref();
            let is_retrying = status.is_some_and(|status| status.starts_with("Retrying in "));
            if let Some(layer) = self.0.get_mut(id) {
                layer.is_retrying = is_retrying;
            }
            match status {
                Some("Downloading") => {
                    let received = number(detail.current).unwrap_or(0);
                    let expected = number(detail.total).unwrap_or(received).max(received);
                    self.0.insert(id.clone(), PullProgress { received, expected, is_retrying });
                }
                Some("Download complete" | "Verifying Checksum" | "Pull complete") => {
                    if let Some(layer) = self.0.get_mut(id) {
                        layer.received = layer.expected;
                    }
                }
                _ => {}
            }
        }
        self.0.values().fold(PullProgress::default(), |sum, layer| PullProgress {
            received: sum.received.saturating_add(layer.received),
            expected: sum.expected.saturating_add(layer.expected),
            is_retrying: sum.is_retrying || layer.is_retrying,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_downloads_are_summed() {
        let mut layers = Layers::default();
        let mut add = |json: &str| layers.add(&serde_json::from_str(json).unwrap());
        add(r#"{"status":"Pulling from mobile","id":"v2"}"#);
        add(r#"{"status":"Downloading","id":"a","progressDetail":{"current":10,"total":100}}"#);
        let both = add(r#"{"status":"Downloading","id":"b","progressDetail":{"current":5,"total":50}}"#);
        assert_eq!(both, PullProgress { received: 15, expected: 150, is_retrying: false });
        let broken = add(r#"{"status":"Retrying in 5 seconds","id":"b"}"#);
        assert_eq!(broken, PullProgress { is_retrying: true, ..both });
        assert_eq!(
            add(r#"{"status":"Downloading","id":"b","progressDetail":{"current":5,"total":50}}"#),
            both
        );
        add(r#"{"status":"Download complete","id":"a","progressDetail":{}}"#);
        let end = add(r#"{"status":"Extracting","id":"a","progressDetail":{"current":1,"total":900}}"#);
        assert_eq!(end, PullProgress { received: 105, expected: 150, is_retrying: false });
    }

    #[test]
    fn impossible_sizes_do_not_overflow() {
        let mut layers = Layers::default();
        let mut sum = PullProgress::default();
        for id in ["a", "b", "c"] {
            let detail = format!(r#"{{"current":{0},"total":{0}}}"#, i64::MAX);
            let json = format!(r#"{{"status":"Downloading","id":"{id}","progressDetail":{detail}}}"#);
            sum = layers.add(&serde_json::from_str(&json).unwrap());
        }
        assert_eq!((sum.received, sum.expected), (u64::MAX, u64::MAX));
    }
}
