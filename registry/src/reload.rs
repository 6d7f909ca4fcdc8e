//! SIGHUP: the settings are read again, as a whole. Either all of them are good and those that can change do, or
//! nothing does.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};

use kitbag_registry::Service;
use kitbag_registry::log::Log;
use kitbag_registry::tls::Tls;

use crate::cli::Task;
use crate::config::{Config, RELOADED, Setting, load};

/// What makes a change happen, once all the others are known to be possible too.
pub(crate) type Change<'a> = Box<dyn FnOnce() + Send + 'a>;
/// Reads what the settings name, and says why it cannot be used, or how to go over to it.
pub(crate) type Part<'a> = Box<dyn Fn(&Config) -> Result<Change<'a>, String> + Send + Sync + 'a>;

/// What SIGHUP does.
pub(crate) struct Reload<'a> {
    arguments: Vec<OsString>,
    settings: Vec<Setting>,
    parts: Vec<Part<'a>>,
}

impl<'a> Reload<'a> {
    /// `arguments` are those of the program, `settings` what came of them.
    pub(crate) fn new(arguments: Vec<OsString>, settings: Vec<Setting>) -> Self {
        Self { arguments, settings, parts: Vec::new() }
    }

    /// Something that can change.
    pub(crate) fn with(mut self, part: impl Fn(&Config) -> Result<Change<'a>, String> + Send + Sync + 'a) -> Self {
        self.parts.push(Box::new(part));
        self
    }

    /// Reads the settings, and goes over to them.
    pub(crate) fn run(&mut self) {
        match self.change() {
            Ok(changed) if changed.is_empty() => tracing::info!("the settings are read again"),
            Ok(changed) => {
                let (now, later): (Vec<_>, Vec<_>) =
                    changed.into_iter().partition(|name| RELOADED.contains(&name.as_str()));
                if !now.is_empty() {
                    tracing::info!("the settings are read again: {} changed", quoted(&now));
                }
                if !later.is_empty() {
                    tracing::warn!("{} changed, which takes a restart", quoted(&later));
                }
            }
            Err(reason) => tracing::error!("the settings stay as they are: {reason}"),
        }
    }

    fn change(&mut self) -> Result<Vec<String>, String> {
        let loaded = load(&self.arguments).map_err(|error| error.to_string().trim_end().to_owned())?;
        let Task::Serve(config) = loaded.task else { return Ok(Vec::new()) };
        let changes: Vec<Change<'_>> = self.parts.iter().map(|part| part(&config)).collect::<Result<_, _>>()?;
        for change in changes {
            change();
        }
        let mut changed = Vec::new();
        for (held, new) in self.settings.iter_mut().zip(loaded.settings) {
            if held.values != new.values {
                changed.push(new.name.clone());
                // What takes a restart is still what this instance was started with.
                if RELOADED.contains(&new.name.as_str()) {
                    *held = new;
                }
            }
        }
        Ok(changed)
    }
}

/// The log as a part that can change.
pub(crate) fn log_part<'a>(log: &'a Log) -> impl Fn(&Config) -> Result<Change<'a>, String> + Send + Sync + 'a {
    move |config| {
        let settings = config.log();
        kitbag_registry::log::check_filter(&settings.filter).map_err(|error| error.to_string())?;
        Ok(Box::new(move || {
            if let Err(error) = log.change(&settings) {
                tracing::error!("the log stays as it is: {error}");
            }
        }))
    }
}

/// How often a client may ask. As long as that stays the same, so does what each has left.
pub(crate) fn throttle_part<'a>(
    service: &'a Service,
    config: &Config,
) -> impl Fn(&Config) -> Result<Change<'a>, String> + Send + Sync + 'a {
    let rate = |config: &Config| (config.requests_per_client, config.request_burst);
    let held = Arc::new(Mutex::new(rate(config)));
    move |config| {
        let (held, rate, throttle) = (Arc::clone(&held), rate(config), config.throttle());
        Ok(Box::new(move || {
            let before = std::mem::replace(&mut *held.lock().unwrap_or_else(PoisonError::into_inner), rate);
            if before != rate {
                service.throttle.store(throttle);
            }
        }))
    }
}

/// The files that say who may pull.
pub(crate) fn access_part<'a>(
    service: &'a Service,
) -> impl Fn(&Config) -> Result<Change<'a>, String> + Send + Sync + 'a {
    move |_| {
        let Some(access) = &service.access else { return Ok(Box::new(|| ())) };
        let renewed = access.read().map_err(|error| error.to_string())?;
        Ok(Box::new(move || access.renew(renewed)))
    }
}

/// The certificate and its key.
pub(crate) fn tls_part<'a>(tls: Option<Arc<Tls>>) -> impl Fn(&Config) -> Result<Change<'a>, String> + Send + Sync + 'a {
    move |_| {
        let Some(tls) = tls.clone() else { return Ok(Box::new(|| ())) };
        let renewed = tls.read().map_err(|error| error.to_string())?;
        Ok(Box::new(move || tls.renew(renewed)))
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
