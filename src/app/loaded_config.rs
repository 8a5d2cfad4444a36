//! haproxy.cfg and the HAProxy that runs it, as a command reads them.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use super::App;
use super::contained::hide_own_network;
use super::runtime_sockets::stats_socket;
use crate::adapters::haproxy::address::SocketAddress;
use crate::adapters::haproxy_service::{
    ExecError, KnownService, Processes, Running, ServiceSource, Unit, listed,
};
use crate::adapters::{config_files, environment, haproxy_binary};
use crate::app::error::Error;
use crate::cfg::{
    self, Build, Configuration, Document, Environment, Level, Problem, Severity, SourceFile, Version,
};

/// haproxy.cfg as it was read.
pub(super) struct LoadedConfig {
    /// The files, byte for byte.
    pub document: Document,
    /// The interpreted files.
    pub configuration: Configuration,
    /// The facts about the HAProxy that runs the files.
    pub known: KnownService,
    /// What was read from `/proc` for that.
    pub processes: Rc<Processes>,
}

/// Reads the files, and asks the binary about the conditions that only it can decide. A condition that is true may
/// reveal others.
fn decided(files: &[SourceFile], mut environment: Environment, binary: &Path) -> Document {
    /// The most conditions to query the binary for: each query starts a process.
    const MOST: usize = 64;
    let mut asked = BTreeSet::new();
    loop {
        let document = cfg::read(files.to_vec(), &environment);
        let Some(build) = &mut environment.build else { return document };
        let new: BTreeSet<_> = document.questions.difference(&asked).cloned().collect();
        if new.is_empty() || asked.len() + new.len() > MOST {
            return document;
        }
        let answers = haproxy_binary::answers(binary, environment.version, &new);
        asked.extend(new);
        build.answers.extend(answers);
    }
}

impl App {
    /// Reads haproxy.cfg and identifies the HAProxy that runs it.
    pub(super) async fn load_config(&self) -> Result<LoadedConfig, Error> {
        self.load_config_among(Rc::default()).await
    }

    /// Reads haproxy.cfg and identifies the HAProxy that runs it among these processes.
    pub(super) async fn load_config_among(&self, processes: Rc<Processes>) -> Result<LoadedConfig, Error> {
        let (files, known) = self.files(&processes).await?;
        let build = haproxy_binary::build(&known.service.binary);
        if self.settings.haproxy.is_some() && build.is_none() {
            let reason = "it does not answer -vv as HAProxy does".to_owned();
            return Err(ExecError { binary: known.service.binary.display().to_string(), reason }.into());
        }
        let document = decided(&files, self.environment(&known, build), &known.service.binary);
        if let Some(question) = document.questions.first() {
            self.undecided.call_once(|| {
                self.note(&format!(
                    "note: cannot decide {question} in a condition of .if, which counts as false: HAProxy may run something else. \
                     Name the binary that runs with --haproxy"
                ));
            });
        }
        let mut configuration = cfg::interpret(&document);
        if let Some(contained) = &known.running.container {
            // The container can replace this file with anything, so drainswap does not write it.
            configuration.server_state_file = None;
            if !contained.process.shares_network {
                self.note_own_network(&hide_own_network(&mut configuration), contained);
            }
        }
        Ok(LoadedConfig { document, configuration, known, processes })
    }

    /// Returns the files of haproxy.cfg, and what is known about the HAProxy that runs them.
    async fn files(&self, processes: &Processes) -> Result<(Vec<SourceFile>, KnownService), Error> {
        let here = config_files::read(&self.settings.haproxy_config);
        if let Some(found) = self.in_container(here.as_deref().unwrap_or_default(), processes).await? {
            let known = self.known_in_container(&found).await;
            return Ok((found.files, known));
        }
        let files = match here {
            Err(error) if !self.settings.is_config_named && self.settings.sockets.is_empty() => {
                self.refuse_where_a_container_is_meant(error.to_string(), processes).await?;
                return Err(error.into());
            }
            files => files?,
        };
        let known = self.known(&files, processes).await;
        Ok((files, known))
    }

    /// Returns the version that haproxy.cfg is read as, even if it cannot be read.
    pub(super) async fn version(&self) -> Version {
        let processes = Processes::default();
        let known = match self.files(&processes).await {
            Ok((_, known)) => known,
            Err(_) => self.known(&[], &processes).await,
        };
        let build = haproxy_binary::build(&known.service.binary);
        self.environment(&known, build).version
    }

    /// Returns the environment that haproxy.cfg is read with: the service's variables, and the version of `--as`, of
    /// the named binary, of the running HAProxy, or of the installed one, in this order.
    fn environment(&self, known: &KnownService, build: Option<Build>) -> Environment {
        let installed = build.as_ref().and_then(|build| build.version.parse().ok());
        let named = installed.filter(|_| self.settings.haproxy.is_some());
        let version = self.settings.read_as.or(named).or(known.running.version).or(installed);
        let version = version.unwrap_or(haproxy_binary::NEWEST);
        // A binary of another version, or of a container, may have other build options.
        let is_its_own = known.running.container.is_none() || self.settings.haproxy.is_some();
        let build = build.filter(|_| installed == Some(version) && is_its_own);
        Environment { build, ..Environment::new(known.variables.clone(), version) }
    }

    /// Identifies the HAProxy that runs these files, or notes once that this is impossible.
    async fn known(&self, files: &[SourceFile], processes: &Processes) -> KnownService {
        let paths = &self.settings.haproxy_config;
        let listed = listed(paths);
        let unit = Unit::installed().filter(|unit| unit.invocation.reads(&listed));
        let running = Running::find(&self.first_sockets(files, unit.as_ref()), &listed, processes).await;
        let known = KnownService::new(paths, files, self.settings.haproxy.as_deref(), unit, running);
        if let (Some(reason), ServiceSource::Settings) = (&known.running.unidentified, &known.service.source)
        {
            self.unidentified.call_once(|| {
                self.note(&format!(
                    "note: cannot identify the HAProxy that answers ({reason}). The files are read as given and checked with {}; \
                     a master socket is only used if --master-socket names it",
                    known.service.binary.display()
                ));
            });
        }
        known
    }

    /// Returns the sockets that may lead to the HAProxy, before its environment is known. Errors in them are reported
    /// where they are used.
    pub(super) fn first_sockets(&self, files: &[SourceFile], unit: Option<&Unit>) -> Vec<SocketAddress> {
        if !self.settings.sockets.is_empty() {
            return self.named_sockets().unwrap_or_default();
        }
        let variables = unit.map_or_else(environment::variables, |unit| unit.environment.clone());
        let version = self.settings.read_as.unwrap_or(haproxy_binary::NEWEST);
        let document = cfg::read(files.to_vec(), &Environment::new(variables, version));
        let configuration = cfg::interpret(&document);
        stats_socket(&configuration, Level::User).into_iter().collect()
    }
}

/// Refuses a configuration that HAProxy would not start with. The error shows each problem with its line and a caret.
pub(super) fn refuse_errors(document: &Document, configuration: &Configuration) -> Result<(), Error> {
    if !configuration.has_errors() {
        return Ok(());
    }
    let errors = configuration.problems.iter().filter(|problem| problem.severity == Severity::Error);
    let problems: Vec<Problem> = errors.cloned().collect();
    let shown = cfg::reports(&problems, document);
    Err(Error::Configuration { problems, shown })
}
