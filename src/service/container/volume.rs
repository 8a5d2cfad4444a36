//! The mounts of a container.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::quantity::Bytes;

/// An entry of `volumes`.
#[derive(Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(with = "VolumeForm")]
pub struct Volume {
    /// The path inside the container.
    pub target: String,
    pub read_only: bool,
    pub kind: VolumeKind,
}

/// The kind of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// A path on the engine's host.
    Bind {
        source: String,
        /// The options after the second colon except `ro` and `rw`, such as `z` and `rslave`.
        options: Vec<String>,
        /// Whether the engine creates a directory if the path does not exist.
        create_host_path: bool,
    },
    /// A volume by its name on the engine, or a new anonymous volume for each container.
    Volume {
        name: Option<String>,
        /// Whether a new volume stays empty even if the image has files at its path.
        nocopy: bool,
    },
    /// A file system in memory.
    Tmpfs {
        /// The maximum size.
        size: Option<Bytes>,
        /// The permissions of the root directory.
        mode: Option<u32>,
    },
}

/// A mount in the short or the long form.
// Only for the JSON Schema: the implementation of `Deserialize` below parses entries.
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its JSON Schema is used")]
#[schemars(rename = "Written")]
enum VolumeForm {
    /// `[SOURCE:]TARGET[:OPTIONS]`
    Short(String),
    Long(Long),
}

/// The long form of an entry.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Long {
    /// The type of the mount.
    #[serde(rename = "type")]
    kind: Type,
    /// The path on the engine's host, or the volume's name.
    source: Option<String>,
    /// The path inside the container.
    target: String,
    /// Whether the mount is read-only.
    #[serde(default)]
    read_only: bool,
    /// Options of a bind mount.
    bind: Option<BindOptions>,
    /// Options of a volume.
    volume: Option<VolumeOptions>,
    /// Options of a tmpfs mount.
    tmpfs: Option<TmpfsOptions>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Type {
    Bind,
    Volume,
    Tmpfs,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct BindOptions {
    /// The mount propagation.
    propagation: Option<Propagation>,
    /// Whether the engine creates a directory if the path does not exist.
    create_host_path: Option<bool>,
    /// The `SELinux` label: `z` if several containers share the path, `Z` if only this container uses it.
    selinux: Option<Selinux>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Propagation {
    Shared,
    Slave,
    Private,
    Rshared,
    Rslave,
    Rprivate,
}

#[derive(Deserialize, schemars::JsonSchema)]
enum Selinux {
    #[serde(rename = "z")]
    Shared,
    #[serde(rename = "Z")]
    Private,
}

impl Propagation {
    fn word(&self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Slave => "slave",
            Self::Private => "private",
            Self::Rshared => "rshared",
            Self::Rslave => "rslave",
            Self::Rprivate => "rprivate",
        }
    }
}

impl Selinux {
    fn word(&self) -> &'static str {
        match self {
            Self::Shared => "z",
            Self::Private => "Z",
        }
    }
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct VolumeOptions {
    /// Whether a new volume stays empty even if the image has files at its path.
    #[serde(default)]
    nocopy: bool,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct TmpfsOptions {
    /// The maximum size.
    size: Option<Bytes>,
    /// The permissions of the root directory.
    mode: Option<u32>,
}

impl Volume {
    /// Parses `[SOURCE:]TARGET[:OPTIONS]`.
    fn short(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("invalid volume `{}`: {why}", text.escape_debug());
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [target] => (None, *target, ""),
            [source, target] => (Some(*source), *target, ""),
            [source, target, options] => (Some(*source), *target, *options),
            _ => return Err(bad("expected SOURCE:TARGET or SOURCE:TARGET:ro")),
        };
        let mut read_only = false;
        let mut others = Vec::new();
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => read_only = true,
                "rw" => read_only = false,
                "z" | "Z" | "nocopy" | "shared" | "slave" | "private" | "rshared" | "rslave" | "rprivate" => {
                    others.push(option.to_owned());
                }
                _ => return Err(bad("unknown option, expected ro, rw, z, Z, nocopy or a propagation")),
            }
        }
        let kind = match source {
            Some(path) if path.starts_with('/') => {
                if others.iter().any(|option| option == "nocopy") {
                    return Err(bad("nocopy is only allowed for a volume"));
                }
                VolumeKind::Bind { source: path.to_owned(), options: others, create_host_path: true }
            }
            Some(path) if path.is_empty() || path.starts_with(['.', '~']) => {
                return Err(bad(
                    "expected an absolute path or a volume name: the engine may be on another host",
                ));
            }
            name => {
                let nocopy = others.iter().any(|option| option == "nocopy");
                if others.len() > usize::from(nocopy) {
                    return Err(bad("an option is only allowed for a path on the host"));
                }
                VolumeKind::Volume { name: name.map(str::to_owned), nocopy }
            }
        };
        Self { target: target.to_owned(), read_only, kind }.checked()
    }

    fn checked(self) -> Result<Self, String> {
        if self.target.starts_with('/') {
            return Ok(Self { target: clean(&self.target), ..self });
        }
        Err(format!(
            "invalid target `{}`: expected an absolute path such as /data",
            self.target.escape_debug()
        ))
    }
}

/// Normalizes a path inside the container as the engine does: resolves `.` and `..`, and removes doubled and trailing
/// slashes.
#[must_use]
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

impl TryFrom<Long> for Volume {
    type Error = String;

    fn try_from(long: Long) -> Result<Self, String> {
        let is_other = |kind: Type, given: bool| given && long.kind != kind;
        if is_other(Type::Bind, long.bind.is_some())
            || is_other(Type::Volume, long.volume.is_some())
            || is_other(Type::Tmpfs, long.tmpfs.is_some())
        {
            return Err("the options belong to another type: remove them, or change the type".to_owned());
        }
        let kind = match long.kind {
            Type::Bind => {
                let source = long.source.filter(|path| path.starts_with('/'));
                let source =
                    source.ok_or("a bind mount needs a source: an absolute path on the engine's host")?;
                let (mut options, mut create_host_path) = (Vec::new(), true);
                if let Some(bind) = long.bind {
                    create_host_path = bind.create_host_path.unwrap_or(true);
                    if bind.selinux.is_some() && !create_host_path {
                        return Err(
                            "selinux cannot be combined with create_host_path = false: remove one".to_owned()
                        );
                    }
                    options.extend(bind.selinux.map(|label| label.word().to_owned()));
                    options.extend(bind.propagation.map(|propagation| propagation.word().to_owned()));
                }
                VolumeKind::Bind { source, options, create_host_path }
            }
            Type::Volume => VolumeKind::Volume {
                name: long.source,
                nocopy: long.volume.is_some_and(|options| options.nocopy),
            },
            Type::Tmpfs if long.source.is_some() => {
                return Err("a tmpfs mount has no source: remove it".to_owned());
            }
            Type::Tmpfs => {
                let (size, mode) = long.tmpfs.map_or((None, None), |options| (options.size, options.mode));
                VolumeKind::Tmpfs { size, mode }
            }
        };
        Self { target: long.target, read_only: long.read_only, kind }.checked()
    }
}

impl<'de> Deserialize<'de> for Volume {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Volume;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"SOURCE:TARGET\", or a table with type, source and target")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Volume, E> {
                Volume::short(text).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Volume, A::Error> {
                let long = Long::deserialize(MapAccessDeserializer::new(map))?;
                long.try_into().map_err(serde::de::Error::custom)
            }
        }
        deserializer.deserialize_any(Forms)
    }
}
