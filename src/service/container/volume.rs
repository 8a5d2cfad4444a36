//! What is mounted into a container.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::quantity::Bytes;

/// One entry of `volumes`.
#[derive(Clone, Debug, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(with = "Written")]
pub struct Volume {
    /// The path inside the container.
    pub target: String,
    /// Whether the container may not write.
    pub read_only: bool,
    /// What is mounted there.
    pub kind: VolumeKind,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// A path of the engine's host, with options as `z` and `rslave`; whether a directory is made where none is.
    Bind {
        /// The path.
        source: String,
        /// What stands behind the second colon, but `ro` and `rw`.
        options: Vec<String>,
        /// Whether a missing path becomes a directory.
        create_host_path: bool,
    },
    /// A volume of the engine, by its own name; without one a new one for each container.
    Volume {
        /// Its name.
        name: Option<String>,
        /// Whether a new volume stays empty where the image has files.
        nocopy: bool,
    },
    /// Memory.
    Tmpfs {
        /// The most that it holds.
        size: Option<Bytes>,
        /// The permissions of its root.
        mode: Option<u32>,
    },
}

/// An entry as it is written, for those who ask for its form.
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "its form is all that is wanted")]
enum Written {
    /// `[SOURCE:]TARGET[:OPTIONS]`
    Short(String),
    Long(Long),
}

/// The long form.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Long {
    /// What is mounted.
    #[serde(rename = "type")]
    kind: Type,
    /// The path of the engine's host, or the volume's name.
    source: Option<String>,
    /// The path inside the container.
    target: String,
    /// Whether the container may not write.
    #[serde(default)]
    read_only: bool,
    /// Options of a path of the host.
    bind: Option<BindOptions>,
    /// Options of a volume.
    volume: Option<VolumeOptions>,
    /// Options of memory.
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
    /// How mounts below it are told.
    propagation: Option<Propagation>,
    /// Whether a missing path becomes a directory.
    create_host_path: Option<bool>,
    /// `z` where several containers share it, `Z` where one has it alone.
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
    /// Whether a new volume stays empty where the image has files.
    #[serde(default)]
    nocopy: bool,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct TmpfsOptions {
    /// The most that it holds.
    size: Option<Bytes>,
    /// The permissions of its root.
    mode: Option<u32>,
}

impl Volume {
    /// Reads `[SOURCE:]TARGET[:OPTIONS]`.
    fn short(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("`{}` {why}", text.escape_debug());
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [target] => (None, *target, ""),
            [source, target] => (Some(*source), *target, ""),
            [source, target, options] => (Some(*source), *target, *options),
            _ => return Err(bad("has too many colons: write SOURCE:TARGET or SOURCE:TARGET:ro")),
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
                _ => return Err(bad("has an unknown option: write ro, rw, z, Z, nocopy or a propagation")),
            }
        }
        let kind = match source {
            Some(path) if path.starts_with('/') => {
                if others.iter().any(|option| option == "nocopy") {
                    return Err(bad("has nocopy, which is for a volume only: leave it out"));
                }
                VolumeKind::Bind { source: path.to_owned(), options: others, create_host_path: true }
            }
            Some(path) if path.is_empty() || path.starts_with(['.', '~']) => {
                return Err(bad("names no absolute path or volume: the engine may be on another host"));
            }
            name => {
                let nocopy = others.iter().any(|option| option == "nocopy");
                if others.len() > usize::from(nocopy) {
                    return Err(bad("has an option that is for a path of the host only"));
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
        Err(format!("the target `{}` is no absolute path: write /data", self.target.escape_debug()))
    }
}

/// A path inside as the engine writes it: without `.`, doubled slashes and a slash at its end.
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
            return Err("options of another type stand there: leave them out, or write that type".to_owned());
        }
        let kind = match long.kind {
            Type::Bind => {
                let source = long.source.filter(|path| path.starts_with('/'));
                let source =
                    source.ok_or("a bind needs its source, an absolute path of the engine's host")?;
                let (mut options, mut create_host_path) = (Vec::new(), true);
                if let Some(bind) = long.bind {
                    create_host_path = bind.create_host_path.unwrap_or(true);
                    if bind.selinux.is_some() && !create_host_path {
                        return Err(
                            "the engine takes selinux only where it may make the path: leave one out"
                                .to_owned(),
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
                return Err("memory has no source: leave it out".to_owned());
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
                f.write_str("\"SOURCE:TARGET\", or a table of type, source and target")
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
