//! The backend and the image to deploy.

use std::path::PathBuf;

use clap::Args;

use crate::model::image::ImageReference;

/// The backend and the image to deploy.
#[derive(Args, Debug)]
pub struct DeployGoal {
    /// The backend whose deploy to plan
    pub backend: String,
    /// The image, by tag or digest [default: the one in the service's description in drainswap.toml]
    #[arg(long, value_name = "REF", env = "DRAINSWAP_IMAGE")]
    pub image: Option<ImageReference>,
}

/// The backend and the image to deploy, or a saved plan.
#[derive(Args, Debug)]
pub struct DeployOrPlan {
    /// The backend to deploy; leave it out with --plan FILE, which names it
    #[arg(required_unless_present = "plan")]
    pub backend: Option<String>,
    /// The image, by tag or digest [default: the one in the service's description in drainswap.toml]
    #[arg(long, value_name = "REF", env = "DRAINSWAP_IMAGE")]
    pub image: Option<ImageReference>,
    /// Apply the plan that `plan --save` wrote to FILE (- for stdin), or refuse and list everything that has changed
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Refuse the plan file unless its SHA-256 is this one, which `plan --save` printed
    #[arg(long, value_name = "SHA256", requires = "plan", value_parser = digest)]
    pub approved: Option<String>,
}

/// Parses 64 hexadecimal digits, as `sha256sum` prints them, with or without `sha256:` in front.
fn digest(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() == 64 && digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(digits.to_ascii_lowercase());
    }
    Err("expected the 64 hexadecimal digits of a SHA-256".to_owned())
}
