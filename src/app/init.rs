//! `drainswap init`: writes a drainswap.toml from what this machine has.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::loaded_config::{LoadedConfig, refuse_errors};
use super::runtime_sockets::configured_socket;
use super::{App, print_as_is, typed};
use crate::adapters::docker::Endpoint;
use crate::adapters::environment;
use crate::adapters::haproxy_service::{Processes, Unit, unit_is_active};
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::cfg::Level;
use crate::cli::{Globals, Init};
use crate::model::image::ImageReference;
use crate::plan::LbQuorum;
use crate::settings::{
    DEFAULT_CONFIG, DEFAULT_FILE, DetectedBackend, DetectedServer, DetectedSetup, Settings, initial,
};
use crate::topology::{Topology, with_servers};

/// Writes or prints the settings file, and says what to do next. Touches nothing else.
pub(super) async fn init(globals: &Globals, wanted: &Init) -> Result<Exit, Error> {
    let file = wanted.file.as_deref().or(globals.settings.as_deref()).unwrap_or(Path::new(DEFAULT_FILE));
    if file != Path::new("-") && !wanted.force && file.symlink_metadata().is_ok() {
        return Err(Error::SettingsExist { path: file.display().to_string() });
    }
    // An existing settings file is not read.
    let mut typed = Globals { settings: None, ..globals.clone() };
    if wanted.defaults {
        write(file, &typed, None, wanted.force)?;
        return Ok(Exit::Done);
    }
    let processes = Rc::new(Processes::default());
    if typed.haproxy_config.is_empty() {
        typed.haproxy_config = running_files(&typed, &processes).await;
    }
    let app = App::new(Settings::typed(&typed), &typed);
    let loaded = app.load_config_among(processes).await?;
    refuse_errors(&loaded.document, &loaded.configuration)?;
    let looked = Box::pin(app.topology(&loaded)).await;
    write(file, &typed, Some(&found(&loaded, looked.as_ref().ok())), wanted.force)?;
    app.note(&next(file, &looked));
    Ok(Exit::Done)
}

/// Returns the files of the HAProxy that runs here and answers at the runtime socket in them. Returns none if there is
/// no such HAProxy, or if several run with different files.
async fn running_files(typed: &Globals, processes: &Rc<Processes>) -> Vec<PathBuf> {
    let mut running = Vec::new();
    for files in processes.started_with() {
        // Debian's package installs a haproxy.cfg that may be unused.
        if files == [Path::new(DEFAULT_CONFIG)] {
            continue;
        }
        let globals = Globals { haproxy_config: files.clone(), quiet: true, ..typed.clone() };
        // These files are read to find the right ones, without the notes of a command that works with them.
        let app = App::new(Settings::typed(&globals), &globals);
        let reading = app.load_config_among(Rc::clone(processes)).await;
        if reading.is_ok_and(|reading| reading.known.running.process.is_some()) {
            running.push(files);
        }
    }
    match (&running[..], Unit::installed()) {
        ([files], _) => files.clone(),
        // Debian's service has its own mount namespace, so its process can only be identified by its unit.
        ([], Some(unit)) if unit_is_active() => unit.invocation.files(),
        _ => Vec::new(),
    }
}

fn write(file: &Path, typed: &Globals, found: Option<&DetectedSetup>, force: bool) -> Result<(), Error> {
    let text = initial(typed, found).map_err(|error| Error::Page { reason: error.to_string() })?;
    if file == Path::new("-") {
        return print_as_is(&text);
    }
    let mut options = OpenOptions::new();
    options.write(true).create(force).create_new(!force).truncate(force);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), std::fs::create_dir_all);
    let written = made.and_then(|()| options.open(file)?.write_all(text.as_bytes()));
    written.map_err(|error| Error::NotWritten { path: file.display().to_string(), reason: error.to_string() })
}

/// Returns the next commands to type, or the problem to fix first.
fn next(file: &Path, looked: &Result<Topology, Error>) -> String {
    let is_printed = file == Path::new("-");
    let written = if is_printed { String::new() } else { format!("wrote {}\n", file.display()) };
    let is_found = is_printed || file == Path::new(DEFAULT_FILE);
    // All other flags are saved in the file.
    let settings = Some(file.to_owned()).filter(|_| !is_found);
    let typed = typed::command_line(&Globals { settings, ..Globals::default() });
    let topology = match looked {
        Ok(topology) => topology,
        Err(error) => {
            return format!(
                "{written}cannot inspect the running site: {error}\nOnce that is fixed:\n  {}",
                typed.command(&["status"])
            );
        }
    };
    let with_image = topology.backends.iter().find_map(|backend| {
        let container = backend.servers.iter().find_map(|server| server.container())?;
        let image: ImageReference = container.image_reference.parse().ok()?;
        Some((&backend.name, image.repository))
    });
    match with_image {
        Some((backend, repository)) => {
            let next = |what| typed.command(&[what, backend, "--image", &format!("{repository}:TAG")]);
            format!("{written}Next, with the tag to deploy:\n  {}\n  {}", next("plan"), next("deploy"))
        }
        None => format!(
            "{written}no container found behind any server; `{}` says why",
            typed.command(&["plan", "BACKEND", "--image", "REF"])
        ),
    }
}

impl App {
    /// Returns the containers behind every backend, as seen now.
    async fn topology(&self, loaded: &LoadedConfig) -> Result<Topology, Error> {
        let load_balancers = self.connect(loaded, Level::User).await?;
        let site = self.site(&loaded.configuration, &[], load_balancers).await?;
        let places = &self.settings.places;
        let (_, topology) = site.observe(&loaded.configuration, places, LbQuorum::Reachable).await?;
        Ok(topology)
    }
}

/// Collects the facts about this machine that the new file shows.
fn found(loaded: &LoadedConfig, topology: Option<&Topology>) -> DetectedSetup {
    let LoadedConfig { configuration, known, .. } = loaded;
    let endpoint = Endpoint::read(None, &environment::variables());
    let behind = |backend: &str, server: &str| {
        let Some(topology) = topology else { return "could not be inspected".to_owned() };
        let backend = topology.backend(backend);
        let found = backend.and_then(|it| it.servers.iter().find(|it| it.id.server == server));
        found.and_then(|server| server.container()).map_or_else(
            || "no container found".to_owned(),
            |container| format!("{}  {}", container.name, container.image_reference),
        )
    };
    let backends = with_servers(configuration).map(|proxy| DetectedBackend {
        name: proxy.name.clone(),
        servers: proxy
            .servers
            .iter()
            .map(|server| DetectedServer {
                name: server.name.clone(),
                address: server.address.to_string(),
                behind: behind(&proxy.name, &server.name),
            })
            .collect(),
    });
    DetectedSetup {
        socket: configured_socket(configuration, &known.running, Level::Admin)
            .ok()
            .map(|socket| socket.to_string()),
        master_socket: known.master().map(|socket| socket.to_string()),
        docker: endpoint.ok().map(|endpoint| endpoint.to_string()),
        backends: backends.collect(),
    }
}
