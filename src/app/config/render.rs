//! `drainswap config render`: prints the backends of the described services.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::{App, print_as_is, print_object};
use crate::app::error::{Error, nearest};
use crate::app::exit::Exit;
use crate::cfg::Version;
use crate::cli::{Output, Templates};
use crate::service::Service;
use crate::service::render::{TEMPLATE, TEMPLATE_NAME, render};

/// A rendered backend.
pub(super) struct Rendered<'s> {
    pub service: &'s str,
    pub backend: &'s str,
    pub text: String,
}

impl App {
    pub(super) async fn config_render(
        &self,
        wanted: &[String],
        templates: &Templates,
    ) -> Result<Exit, Error> {
        let version = self.version().await;
        let rendered = self.render(wanted, templates, version)?;
        match self.output {
            Output::Text => {
                let texts: Vec<&str> = rendered.iter().map(|it| it.text.as_str()).collect();
                print_as_is(&texts.join("\n"))?;
            }
            Output::Json => {
                let service = |it: &Rendered<'_>| json!({ "service": it.service, "backend": it.backend, "text": it.text });
                let services: Vec<_> = rendered.iter().map(service).collect();
                print_object(&json!({ "version": 1, "services": services }))?;
            }
        }
        Ok(Exit::Done)
    }

    /// Renders these services, or all that drainswap.toml describes.
    pub(super) fn render(
        &self,
        wanted: &[String],
        templates: &Templates,
        version: Version,
    ) -> Result<Vec<Rendered<'_>>, Error> {
        self.settings.described()?;
        let services = &self.settings.services;
        if services.is_empty() {
            return Err(Error::NoServices);
        }
        if let Some(name) = wanted.iter().find(|name| !services.contains_key(*name)) {
            let known: Vec<String> = services.keys().cloned().collect();
            return Err(Error::NoService { name: name.clone(), nearest: nearest(name, &known), known });
        }
        let template = self.template(templates)?;
        let wanted = services.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name));
        let mut backends: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, service) in wanted.clone() {
            let backend = service.backend.as_deref().unwrap_or(name);
            if let Some(other) = backends.insert(backend, name) {
                let services = [other.to_owned(), name.clone()];
                return Err(Error::SameBackend { services, backend: backend.to_owned() });
            }
        }
        wanted
            .map(|(name, service): (&String, &Service)| {
                let text = render(name, service, &template, version)?;
                let backend = service.backend.as_deref().unwrap_or(name);
                Ok(Rendered { service: name, backend, text })
            })
            .collect()
    }

    fn template(&self, templates: &Templates) -> Result<String, Error> {
        let Some(folder) = templates.templates.as_ref().or(self.settings.templates.as_ref()) else {
            return Ok(TEMPLATE.to_owned());
        };
        let path = folder.join(TEMPLATE_NAME);
        std::fs::read_to_string(&path)
            .map_err(|error| Error::Template { path: path.display().to_string(), reason: error.to_string() })
    }
}
