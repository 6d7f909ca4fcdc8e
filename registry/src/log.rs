//! The log: what is written, how, and where to. It can be changed while the registry runs.
//!
//! Everything goes by `tracing` to stderr. Lines of the access log (target [`ACCESS`]) are a part of it that has its own
//! switch and sampling, because there is one per request; they are formatted by `lines` and gathered by `sink`.

mod lines;
mod sink;

use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::format::{self, JsonFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt as layer, reload};

use crate::access::ACCESS;
use crate::error::Error;
use lines::Lines;
use sink::Sink;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: `2026-11-21T12:00:00.000000Z  INFO kitbag_registry: stopping`.
    #[default]
    Text,
    /// For programs: an object on each line.
    Json,
}

/// What is logged.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The filter of everything but the access log.
    pub filter: String,
    /// How it is written. Cannot be changed later.
    pub format: Format,
    /// Whether requests are logged.
    pub access: bool,
    /// Which part of them.
    pub sample: Sample,
}

/// The part of the requests that is logged, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample(u64);

/// The running log. What is gathered is written when this is dropped.
#[derive(Debug)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    sampler: Arc<Sampler>,
    sink: Arc<Sink>,
}

/// Decides about each request.
#[derive(Debug)]
struct Sampler {
    step: AtomicU64,
    sum: AtomicU32,
}

/// Starts the log of this process on stderr.
///
/// # Errors
/// [`Error::LogFilter`]; [`Error::Start`] when there is no thread for it, or a log already.
pub fn start(settings: &Settings) -> Result<Log, Error> {
    let (log, subscriber) = make(settings, Box::new(io::stderr()), io::stderr().is_terminal())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|error| Error::Start(io::Error::other(error)))?;
    let sink = Arc::clone(&log.sink);
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        sink.flush();
        shown(panic);
    }));
    Ok(log)
}

/// A log to any output, and what has to be made the subscriber for it.
///
/// # Errors
/// As for [`start`].
pub fn make(
    settings: &Settings,
    output: Box<dyn Write + Send>,
    colours: bool,
) -> Result<(Log, impl tracing::Subscriber + Send + Sync + use<>), Error> {
    let (filter, handle) = reload::Layer::new(filter(settings)?);
    let sampler = Arc::new(Sampler { step: AtomicU64::new(settings.sample.0), sum: AtomicU32::new(0) });
    let sink = Sink::start(output).map_err(Error::Start)?;
    let base = layer::layer().with_writer(sink::Writer(Arc::clone(&sink))).with_ansi(colours);
    let lines = match settings.format {
        Format::Text => base.event_format(Lines::text(format::format(), Arc::clone(&sampler))).boxed(),
        Format::Json => base
            .fmt_fields(JsonFields::new())
            .event_format(Lines::json(format::json().flatten_event(true), Arc::clone(&sampler)))
            .boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    Ok((Log { filter: handle, sampler, sink }, subscriber))
}

/// Whether a filter can be used.
///
/// # Errors
/// [`Error::LogFilter`].
pub fn check_filter(text: &str) -> Result<(), Error> {
    parsed(text).map(|_| ())
}

impl Log {
    /// Logs by other settings from here on, but in the same format.
    ///
    /// # Errors
    /// [`Error::LogFilter`]; then nothing has changed.
    pub fn change(&self, settings: &Settings) -> Result<(), Error> {
        let filter = filter(settings)?;
        self.filter.reload(filter).map_err(|error| Error::Start(io::Error::other(error)))?;
        self.sampler.step.store(settings.sample.0, Ordering::Relaxed);
        Ok(())
    }

    /// Writes what is gathered. Gives up soon when nobody reads it.
    pub fn flush(&self) {
        self.sink.flush();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.sink.flush();
    }
}

fn parsed(text: &str) -> Result<EnvFilter, Error> {
    EnvFilter::try_new(text).map_err(|error| Error::LogFilter { text: text.to_owned(), reason: error.to_string() })
}

fn filter(settings: &Settings) -> Result<EnvFilter, Error> {
    let access = if settings.access { "info" } else { "off" };
    let directive = |error| Error::LogFilter { text: ACCESS.to_owned(), reason: format!("{error}") };
    let directive: Directive = format!("{ACCESS}={access}")
        .parse()
        .map_err(|error: tracing_subscriber::filter::ParseError| directive(error))?;
    Ok(parsed(&settings.filter)?.add_directive(directive))
}

impl Sampler {
    /// Whether this request is logged. Spreads them evenly, and needs no randomness for it.
    fn pick(&self) -> bool {
        match u32::try_from(self.step.load(Ordering::Relaxed)) {
            Ok(step) => self.sum.fetch_add(step, Ordering::Relaxed).checked_add(step).is_none(),
            Err(_) => true,
        }
    }
}

impl Sample {
    /// Every request.
    pub const ALL: Self = Self(Self::ONE);
    const ONE: u64 = 1 << 32;
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.trim().parse::<f64>().ok();
        let part = match text.split_once('/') {
            Some((part, whole)) => number(part).zip(number(whole)).map(|(part, whole)| part / whole),
            None => number(text),
        };
        match part {
            // Rounded up, so that of ten requests at `0.1` one is logged.
            Some(part) if (0.0..=1.0).contains(&part) => Ok(Self((part * Self::ONE as f64).ceil() as u64)),
            _ => Err("write a part from 0 to 1, for example `0.1` or `1/100`".to_owned()),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

#[cfg(test)]
mod tests;
