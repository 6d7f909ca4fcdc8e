//! Objects of a kind as they are, each time that they change: by a watch, or where that is not permitted, by asking again
//! and again; through lost connections, a server that restarts and versions that it has forgotten.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

/// How often it is asked where it must not be watched.
const POLL: Duration = Duration::from_millis(500);
/// How long the server keeps a watch open. A connection that is dead without saying so is noticed then.
const WATCH_SECONDS: u32 = 30;
/// How much later than that the end of a watch may come, and how long a first answer may take.
const GRACE: Duration = Duration::from_secs(5);
/// The first pause before another try; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What is looked at.
#[derive(Clone, Debug)]
pub enum Of {
    /// The one object of this name. To get it is enough of a permission.
    Name(&'static str),
    /// All that these select.
    All {
        /// A selector of labels; may be empty.
        labels: String,
        /// A selector of fields; may be empty.
        fields: String,
    },
}

/// All of them, each time that there is news. An error is told and then tried again, unless it is that nothing may be
/// seen, which is the end.
pub fn snapshots<K>(api: Api<K>, of: Of) -> impl Stream<Item = Result<Vec<K>, kube::Error>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mirror = Mirror { api, of, objects: BTreeMap::new(), next: Next::List, may_watch: true, pause: PAUSE };
    stream::unfold(mirror, |mut mirror| async move { Some((mirror.news().await?, mirror)) })
}

struct Mirror<K> {
    api: Api<K>,
    of: Of,
    /// By name.
    objects: BTreeMap<String, K>,
    next: Next<K>,
    may_watch: bool,
    pause: Duration,
}

/// What is done next.
enum Next<K> {
    /// All is asked for.
    List,
    /// All is asked for, after a while.
    ListLater(Duration),
    /// What has happened since this version is.
    Watch(String),
    /// What happens is heard.
    Hear(BoxStream<'static, Result<WatchEvent<K>, kube::Error>>),
    /// There is nothing to be seen.
    End,
}

impl<K> Mirror<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    async fn news(&mut self) -> Option<Result<Vec<K>, kube::Error>> {
        loop {
            match std::mem::replace(&mut self.next, Next::List) {
                Next::End => {
                    self.next = Next::End;
                    return None;
                }
                Next::ListLater(pause) => sleep(pause).await,
                Next::List => {
                    let listed = timeout(GRACE, self.list()).await;
                    let Ok(listed) = listed else {
                        self.next = Next::ListLater(self.longer());
                        continue;
                    };
                    match listed {
                        Ok(version) => {
                            self.next = if self.may_watch { Next::Watch(version) } else { Next::ListLater(POLL) };
                        }
                        Err(error) => {
                            let is_over = is(&error, 403) || is(&error, 404);
                            self.next = if is_over { Next::End } else { Next::ListLater(self.longer()) };
                            return Some(Err(error));
                        }
                    }
                    return Some(Ok(self.all()));
                }
                Next::Watch(version) => self.next = self.watch(version).await,
                Next::Hear(stream) => {
                    if self.hear(stream).await {
                        return Some(Ok(self.all()));
                    }
                }
            }
        }
    }

    fn all(&self) -> Vec<K> {
        self.objects.values().cloned().collect()
    }

    fn longer(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = LONGEST_PAUSE.min(pause * 2);
        pause
    }

    /// Asks for all; the version to watch from.
    async fn list(&mut self) -> Result<String, kube::Error> {
        let (objects, version) = match &self.of {
            Of::Name(name) => {
                let object = self.api.get(name).await?;
                let version = object.resource_version();
                (vec![object], version)
            }
            Of::All { labels, fields } => {
                let list = self.api.list(&ListParams::default().labels(labels).fields(fields)).await?;
                (list.items, list.metadata.resource_version)
            }
        };
        self.objects = objects.into_iter().map(|object| (object.name_any(), object)).collect();
        Ok(version.unwrap_or_default())
    }

    async fn watch(&mut self, version: String) -> Next<K> {
        let (labels, fields) = match &self.of {
            Of::Name(name) => (String::new(), format!("metadata.name={name}")),
            Of::All { labels, fields } => (labels.clone(), fields.clone()),
        };
        let parameters =
            WatchParams::default().labels(&labels).fields(&fields).timeout(WATCH_SECONDS).disable_bookmarks();
        match timeout(GRACE, self.api.watch(&parameters, &version)).await {
            Ok(Ok(stream)) => Next::Hear(stream.boxed()),
            Ok(Err(error)) if is(&error, 403) => {
                self.may_watch = false;
                Next::ListLater(POLL)
            }
            Ok(Err(_)) | Err(_) => Next::ListLater(self.longer()),
        }
    }

    /// Hears what happens next; whether that is news.
    async fn hear(&mut self, mut stream: BoxStream<'static, Result<WatchEvent<K>, kube::Error>>) -> bool {
        let limit = Duration::from_secs(WATCH_SECONDS.into()) + GRACE;
        let is_news = match timeout(limit, stream.next()).await {
            Ok(Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)))) => {
                self.objects.insert(object.name_any(), object);
                true
            }
            Ok(Some(Ok(WatchEvent::Deleted(object)))) => self.objects.remove(&object.name_any()).is_some(),
            Ok(Some(Ok(WatchEvent::Bookmark(_)))) => false,
            // It has ended, its version is forgotten, or the connection lost: what was missed is in the next list.
            Ok(None | Some(Err(_) | Ok(WatchEvent::Error(_)))) | Err(_) => {
                self.next = Next::ListLater(self.longer());
                return false;
            }
        };
        // Not when all is listed: a server that starts lists, and ends each watch at once.
        self.pause = PAUSE;
        self.next = Next::Hear(stream);
        is_news
    }
}

fn is(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
