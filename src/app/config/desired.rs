//! Computes the new haproxy.cfg: the file that changes, with its new bytes.

use std::path::{Path, PathBuf};

use super::super::App;
use super::super::loaded_config::LoadedConfig;
use crate::adapters::haproxy_service::KnownService;
use crate::app::error::Error;
use crate::cfg::{self, ConfigChange, Configuration, Document, Environment, SourceFile, edit};
use crate::cli::DesiredConfigArgs;

/// The configuration before and after, and the one file that differs.
pub(super) struct DesiredConfig {
    /// The file that changes, as it is named.
    pub target: PathBuf,
    pub new_bytes: Vec<u8>,
    pub old: (Document, Configuration),
    pub new: (Document, Configuration),
    /// The effect of the change on a running HAProxy.
    pub change: ConfigChange,
    /// The facts about the HAProxy that runs the old file.
    pub known: KnownService,
}

impl DesiredConfig {
    pub fn old_bytes(&self) -> &[u8] {
        let is_target = |file: &&cfg::File| *file.path == *self.target;
        self.old.0.files.iter().find(is_target).map_or(&[], |file| &file.bytes)
    }

    pub fn is_changed(&self) -> bool {
        self.old_bytes() != self.new_bytes
    }
}

impl App {
    /// Renders the services into their backends, or reads the file of `--from`.
    pub(super) async fn desired_config(&self, wanted: &DesiredConfigArgs) -> Result<DesiredConfig, Error> {
        let LoadedConfig { document, configuration, known, .. } = self.load_config().await?;
        let old = (document, configuration);
        if wanted.target.is_some() {
            // A target outside the configuration is always an error, whatever changes.
            target(&old.0, wanted)?;
        }
        let (path, new_bytes) = match &wanted.from {
            Some(from) => {
                let unreadable = |error: std::io::Error| Error::Candidate {
                    path: from.display().to_string(),
                    reason: error.to_string(),
                };
                (target(&old.0, wanted)?, std::fs::read(from).map_err(unreadable)?)
            }
            None => self.with_services(&old.0, wanted)?,
        };
        let file = |file: &cfg::File| {
            let bytes = if *file.path == *path { new_bytes.clone() } else { file.bytes.clone() };
            SourceFile { path: file.path.to_path_buf(), bytes }
        };
        let files: Vec<SourceFile> = old.0.files.iter().map(file).collect();
        let known = known.with_files(&files);
        let environment = Environment { variables: known.variables.clone(), ..old.0.environment.clone() };
        let document = cfg::read(files, &environment);
        let configuration = cfg::interpret(&document);
        let new = (document, configuration);
        let change = ConfigChange::between(&old, &new);
        Ok(DesiredConfig { target: path, new_bytes, old, new, change, known })
    }

    /// Returns the file with the services' backends in it. An existing backend is changed in place.
    fn with_services(
        &self,
        document: &Document,
        wanted: &DesiredConfigArgs,
    ) -> Result<(PathBuf, Vec<u8>), Error> {
        let environment = &document.environment;
        let rendered = self.render(&wanted.services, &wanted.templates, environment.version)?;
        let mut edits = Vec::new();
        let mut changed = None;
        for section in &rendered {
            let file = SourceFile { path: PathBuf::new(), bytes: section.text.clone().into_bytes() };
            let text = cfg::read(vec![file], environment);
            match document.replace_section("backend", section.backend, &text) {
                Ok(found) => edits.extend(found),
                Err(cfg::EditError::NoSection { .. }) => {
                    let path = target(document, wanted)?;
                    let index = document.files.iter().position(|file| *file.path == *path);
                    edits
                        .extend(index.and_then(|index| document.add_section(index, section.text.as_bytes())));
                }
                Err(error) => return Err(error.into()),
            }
        }
        for edit in &edits {
            let path = document.files[edit.file].path.to_path_buf();
            if changed.replace(path.clone()).is_some_and(|other| other != path) {
                return Err(Error::SeveralFiles);
            }
        }
        let path = changed.map_or_else(|| target(document, wanted), Ok)?;
        if let Some(named) = wanted.target.as_ref().filter(|named| **named != path) {
            let (target, found) = (named.display().to_string(), path.display().to_string());
            return Err(Error::OtherTarget { target, found });
        }
        let file = document.files.iter().find(|file| *file.path == *path);
        let bytes = file.map_or_else(Vec::new, |file| edit::apply(&file.bytes, &edits));
        Ok((path, bytes))
    }
}

/// Returns the file of `--target`, or the only one of the configuration.
fn target(document: &Document, wanted: &DesiredConfigArgs) -> Result<PathBuf, Error> {
    let paths: Vec<&Path> = document.files.iter().map(|file| &*file.path).collect();
    let known = || paths.iter().map(|path| path.display().to_string()).collect();
    match (&wanted.target, paths.as_slice()) {
        (Some(target), _) if paths.contains(&target.as_path()) => Ok(target.clone()),
        (Some(target), _) => {
            Err(Error::NotAFile { path: Some(target.display().to_string()), known: known() })
        }
        (None, [only]) => Ok(only.to_path_buf()),
        (None, _) => Err(Error::NotAFile { path: None, known: known() }),
    }
}
