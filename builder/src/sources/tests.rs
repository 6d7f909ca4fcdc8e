use std::collections::BTreeMap;
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;

/// A network of a few addresses.
#[derive(Default)]
struct Fake {
    pages: BTreeMap<String, &'static str>,
    asked: Mutex<Vec<String>>,
}

impl Remote for Fake {
    fn get(&self, url: &str) -> Result<Box<dyn Read>, String> {
        self.asked.lock().unwrap().push(url.to_owned());
        let page = self.pages.get(url).ok_or("it answers 404")?;
        Ok(Box::new(page.as_bytes()))
    }

    fn mirrors(&self) -> Result<Vec<String>, String> {
        Ok(vec!["http://one/".to_owned(), "http://two/".to_owned()])
    }

    fn wheel(&self, pin: &str, dir: &Path) -> Result<PathBuf, String> {
        self.asked.lock().unwrap().push(pin.to_owned());
        let page = self.pages.get(pin).ok_or("no such wheel")?;
        std_fs::write(dir.join("it.whl"), page).unwrap();
        Ok(dir.join("it.whl"))
    }
}

fn source() -> Source {
    Source {
        file: "a.tar".to_owned(),
        sha256: canonical::sha256_hex(b"right"),
        urls: vec!["https://up/a.tar".to_owned()],
        debian: Some("pool/a.tar".to_owned()),
        pypi: Some("a==1".to_owned()),
        strip: 1,
        unpack: None,
        exclude: Vec::new(),
    }
}

struct Room {
    dir: TempDir,
    remote: Fake,
    refused: Mutex<Vec<String>>,
}

impl Room {
    fn new(pages: &[(&str, &'static str)]) -> Self {
        let pages = pages.iter().map(|(address, page)| ((*address).to_owned(), *page)).collect();
        let remote = Fake { pages, asked: Mutex::default() };
        Self { dir: tempfile::tempdir().unwrap(), remote, refused: Mutex::default() }
    }

    fn put(&self, path: &str, content: &str) {
        let path = self.dir.path().join(path);
        std_fs::create_dir_all(path.parent().unwrap()).unwrap();
        std_fs::write(path, content).unwrap();
    }

    fn fetch(&self, offline: bool) -> Result<String, SourceError> {
        let refused = |message: String| self.refused.lock().unwrap().push(self.plain(&message));
        let fetcher = Fetcher {
            directories: vec![self.dir.path().join("mine")],
            cache: self.dir.path().join("cache"),
            remote: (!offline).then_some(&self.remote as &dyn Remote),
            refused: &refused,
            interrupt: &Interrupt::default(),
        };
        let found = fetcher.fetch(&source())?;
        assert_eq!(std_fs::read_to_string(&found.path).unwrap(), "right");
        Ok(self.plain(&found.path.display().to_string()))
    }

    fn plain(&self, text: &str) -> String {
        text.replace(&self.dir.path().display().to_string(), "")
    }

    fn cached(&self) -> Vec<String> {
        fs::list(&self.dir.path().join("cache")).unwrap_or_default()
    }
}

#[test]
fn origins_are_asked_in_their_order() {
    let all = Room::new(&[("https://up/a.tar", "right")]);
    all.put("mine/a.tar", "right");
    all.put("cache/a.tar", "right");
    assert_eq!(all.fetch(false).unwrap(), "/mine/a.tar");

    let cached = Room::new(&[("https://up/a.tar", "right")]);
    cached.put("cache/a.tar", "right");
    assert_eq!(cached.fetch(false).unwrap(), "/cache/a.tar");
    assert!(cached.remote.asked.lock().unwrap().is_empty());

    let upstream = Room::new(&[("https://up/a.tar", "right"), ("http://one/pool/a.tar", "right")]);
    assert_eq!(upstream.fetch(false).unwrap(), "/cache/a.tar");
    assert_eq!(*upstream.remote.asked.lock().unwrap(), ["https://up/a.tar"]);

    let wheel = Room::new(&[("a==1", "right")]);
    assert_eq!(wheel.fetch(false).unwrap(), "/cache/a.tar");
    assert_eq!(
        *wheel.remote.asked.lock().unwrap(),
        ["https://up/a.tar", "http://one/pool/a.tar", "http://two/pool/a.tar", "a==1"]
    );
    assert_eq!(wheel.cached(), ["a.tar"]);
}

#[test]
fn what_has_another_hash_is_kept_aside_and_the_next_origin_asked() {
    let room = Room::new(&[("https://up/a.tar", "wrong"), ("http://two/pool/a.tar", "right")]);
    room.put("cache/a.tar", "broken");
    assert_eq!(room.fetch(false).unwrap(), "/cache/a.tar");
    assert_eq!(room.cached(), ["a.tar", "a.tar.rejected-8810ad581e59", "a.tar.rejected-f526795c9539"]);
    let refused = room.refused.lock().unwrap().join("\n");
    insta::assert_snapshot!(refused, @"
        `a.tar` refused, from download cache `/cache`: it has SHA-256 f526795c95399cea27c055c842c3d6ab018ed0fa4f66f701c28ab22dec28237b; kept as `/cache/a.tar.rejected-f526795c9539`
        `a.tar` refused, from https://up/a.tar: it has SHA-256 8810ad581e59f2bc3928b261707a71308f7e139eb04820366dc4d5c18d980225; kept as `/cache/a.tar.rejected-8810ad581e59`
        ");
}

#[test]
fn a_file_of_the_users_is_refused_where_it_is() {
    let room = Room::new(&[]);
    room.put("mine/a.tar", "wrong");
    let error = room.fetch(true).unwrap_err();
    assert!(error.wrong_hash);
    insta::assert_snapshot!(room.plain(&error.to_string()), @"
        cannot get `a.tar` (SHA-256 27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9):
            directory `/mine`: it has SHA-256 8810ad581e59f2bc3928b261707a71308f7e139eb04820366dc4d5c18d980225
            download cache `/cache`: it is not there
            https://up/a.tar: not asked, because of --offline
            apt's mirror, `pool/a.tar`: not asked, because of --offline
            pip, `a==1`: not asked, because of --offline
        ");
    assert!(room.dir.path().join("mine/a.tar").exists());
    assert!(room.cached().is_empty());
}

#[test]
fn each_origin_is_named_with_its_reason() {
    let room = Room::new(&[("a==1", "wrong")]);
    let error = room.fetch(false).unwrap_err();
    insta::assert_snapshot!(room.plain(&error.to_string()), @"
        cannot get `a.tar` (SHA-256 27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9):
            directory `/mine`: it is not there
            download cache `/cache`: it is not there
            https://up/a.tar: it answers 404
            apt's mirror, `pool/a.tar`: it answers 404
            pip, `a==1`: it has SHA-256 8810ad581e59f2bc3928b261707a71308f7e139eb04820366dc4d5c18d980225; kept as `/cache/a.tar.rejected-8810ad581e59`
        ");
    assert_eq!(room.cached(), ["a.tar.rejected-8810ad581e59"]);
}
